"""Detail by a regression in Gaussian windows around each LR pixel, and back-projection (`glp-local`).

The window is chosen on the pair, by Wald's protocol.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.back_projection import consistent
from emrdiff_cli.core.methods.detail_injection import DetailInjection, LocalWindow
from emrdiff_cli.core.methods.end_point import (
    SceneToFit,
    fit_glp,
    local_regression,
    regress,
    ridge_regressions,
)
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import find_basis

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_WINDOW_SIGMAS = (0.75, 1.0, 1.5, 2.5)
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_LEAST_GAIN = 0.01  # share of the squared error that a window must take away to be worth its noise
_WINDOW_CHANNELS = 12  # leading components on which windows are chosen


def fit_glp_local(scene: SceneToFit) -> DetailInjection:
    """The scene-wide map's detail and that of local slopes, in the window that is best on the pair itself."""
    window = choose_window(replace(scene.lr, hsi=_leading(scene.lr)))
    return _with_window(scene, window)


def choose_window(scene: LrScene) -> LocalWindow | None:
    """The window that does best in Wald's test on the pair itself; None where none gains over the scene's map."""
    test = _WaldTest.of(scene)
    if test is None:
        return None

    errors = {
        LocalWindow(sigma, ridge): test.squared_error(slopes)
        for sigma in _WINDOW_SIGMAS
        for ridge, slopes in zip(_RIDGES, test.slopes(sigma), strict=True)
    }
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] < (1 - _LEAST_GAIN) * test.squared_error(None) else None


@dataclass(frozen=True)
class _WaldTest:
    """Wald's test on a pair: both degraded once more, by 2 instead of the ratio so that pixels enough are left."""

    scene: LrScene
    lower: SceneToFit

    @classmethod
    def of(cls, scene: LrScene) -> _WaldTest | None:
        """The test on an LR scene; None with too few pixels."""
        height, width = scene.valid.shape
        halves = AxisPlacement(2.0, 0.0)
        fewer = math.ceil(height / 2), math.ceil(width / 2)
        resampling = Resampling.between(halves, halves, fewer, (height, width))

        def strips() -> Iterator[Strip]:
            yield Strip(0, scene.msi, scene.valid)

        seen = observe_msi(strips, resampling.down)
        if seen.covered.sum() < 4 * (len(scene.msi) + 1):
            return None
        lower = LrScene(apply_taps(scene.hsi, *resampling.down), seen.msi_at_lr, seen.covered)
        return cls(scene, SceneToFit(lower, strips, resampling, regress(lower)))

    def slopes(self, sigma: float) -> Iterator[Field]:
        """The local slopes in windows of a sigma, by ridge: what the window weighs is the same for all."""
        lr = self.lower.lr
        return ridge_regressions(self.lower.linear.unexplained, lr.msi, lr.valid, sigma, _RIDGES)

    def squared_error(self, slopes: Field | None) -> float:
        """Of the LR-HSI fused by local slopes from the degraded pair, summed over the valid pixels."""
        fused = _with_slopes(self.lower, slopes).tile(self.scene.msi, *self.lower.resampling.up).values
        left = (fused - self.scene.hsi)[:, self.scene.valid]
        return float(np.square(left, dtype=np.float64).sum())


def _with_window(scene: SceneToFit, window: LocalWindow | None) -> DetailInjection:
    """The detail with the window's slopes (None: zero), back-projected."""
    if window is None:
        return _with_slopes(scene, None)
    lr = scene.lr
    slopes = local_regression(scene.linear.unexplained, lr.msi, lr.valid, window, scene.large)
    return _with_slopes(scene, slopes, window)


def _with_slopes(
    scene: SceneToFit, slopes: Field | None, window: LocalWindow | None = None
) -> DetailInjection:
    """The detail with local slopes (None: zero), back-projected."""
    if slopes is None:
        slopes = scene.large.zeros((len(scene.linear.unexplained), *scene.lr.msi.shape))
    return consistent(replace(fit_glp(scene), local_slopes=slopes, window=window), scene)


def _leading(scene: LrScene) -> Field:
    """The leading components (j, h, w) of the channels."""
    lr, valid = scene.hsi, scene.valid
    size = min(_WINDOW_CHANNELS, len(lr), int(valid.sum()) - 1)
    if size == len(lr):
        return lr
    return find_basis(lr[:, valid], size).project(lr)
