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
from emrdiff_cli.core.methods.end_point import SceneToFit, fit_glp, local_regression, regress
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

    def error(window: LocalWindow | None) -> float:
        return float(np.square(test.error(window), dtype=np.float64).sum())

    errors = {w: error(w) for w in (LocalWindow(s, r) for s in _WINDOW_SIGMAS for r in _RIDGES)}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] < (1 - _LEAST_GAIN) * error(None) else None


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

    def error(self, window: LocalWindow | None) -> Floats:
        """The LR-HSI fused by a window from the degraded pair, less the LR-HSI: (k, n) at the n valid pixels."""
        fused = _with_window(self.lower, window).tile(self.scene.msi, *self.lower.resampling.up).values
        return np.asarray((fused - self.scene.hsi)[:, self.scene.valid])


def _with_window(scene: SceneToFit, window: LocalWindow | None) -> DetailInjection:
    """The detail with the window's slopes (None: zero), back-projected."""
    lr, unexplained = scene.lr, scene.linear.unexplained
    if window is None:
        slopes = scene.large.zeros((len(unexplained), *lr.msi.shape))
    else:
        slopes = local_regression(unexplained, lr.msi, lr.valid, window, scene.large)
    return consistent(replace(fit_glp(scene), local_slopes=slopes, window=window), scene)


def _leading(scene: LrScene) -> Field:
    """The leading components (j, h, w) of the channels."""
    lr, valid = scene.hsi, scene.valid
    size = min(_WINDOW_CHANNELS, len(lr), int(valid.sum()) - 1)
    if size == len(lr):
        return lr
    return find_basis(lr[:, valid], size).project(lr)
