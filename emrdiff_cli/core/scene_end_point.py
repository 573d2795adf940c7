"""A scene's end point, fitted on its LR pixels: the basis, the maps, and the window chosen on the pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.colour_kernel import degraded_functions, learn_kernel, observe_context, unit_axes
from emrdiff_cli.core.degradation import degradation_taps
from emrdiff_cli.core.end_point import (
    RIDGES,
    WINDOW_SIGMAS,
    EndPointFields,
    LocalWindow,
    Method,
    back_projected,
    colour_prediction,
    evaluate_tile,
    local_detail,
    local_regression,
    regress,
)
from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.kriging import krige
from emrdiff_cli.core.observation import LrScene, Resampling, Strip, Strips, degrade_strip, observe_msi
from emrdiff_cli.core.resampling import apply_taps, chain, cubic_upsampler
from emrdiff_cli.core.subspace import Basis, find_basis, identity_basis
from emrdiff_cli.scene import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_LEAST_GAIN = 0.01  # share of the squared error that a window must take away to be worth its noise
_NARROWEST = 1e-6  # of the MSI's largest axis' variance: a narrower one is noise
_WINDOW_CHANNELS = 12  # leading components on which windows are chosen


@dataclass(frozen=True)
class SceneEndPoint:
    """A scene's end point: the spectral basis, its fields, the LR-HSI outside the basis, the window chosen."""

    basis: Basis
    fields: EndPointFields
    outside: Field | None
    window: LocalWindow | None


def choose_basis(scene: LrScene, subspace: int, used: NDArray[np.bool_] | None = None) -> Basis:
    """The leading directions of the LR-HSI's valid pixels; `subspace` 0, or B, keeps all bands.

    Bands that are not `used` (B,; None: all are) lie outside of the directions.
    """
    if subspace in (0, len(scene.hsi)):
        return identity_basis(len(scene.hsi))
    return find_basis(scene.hsi[:, scene.valid], subspace, used)


def find_end_point(
    scene: LrScene,
    strips: Strips,
    resampling: Resampling,
    method: Method,
    basis: Basis,
) -> SceneEndPoint:
    """Fit the end point on the LR pixels, in the coefficients of a basis."""
    lr = basis.project(scene.hsi)
    outside = None if basis.is_identity else scene.hsi - basis.expand(lr)
    fields = regress(lr, scene.msi, scene.valid, method)
    if method == "kriging":
        fields = _kriged(fields, scene, strips, resampling)
        return SceneEndPoint(basis, fields, outside, None)
    if method != "glp-local":
        return SceneEndPoint(basis, fields, outside, None)
    window = choose_window(replace(scene, hsi=_leading(lr, scene.valid)))
    fields = _with_window(fields, scene, window, strips, resampling)
    return SceneEndPoint(basis, fields, outside, window)


def choose_window(scene: LrScene) -> LocalWindow | None:
    """The window that does best in Wald's test on the pair itself; None where none gains over the scene's map."""
    test = _WaldTest.of(scene)
    if test is None:
        return None

    def error(window: LocalWindow | None) -> float:
        return float(np.square(test.error(window), dtype=np.float64).sum())

    errors = {w: error(w) for w in (LocalWindow(s, r) for s in WINDOW_SIGMAS for r in RIDGES)}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] < (1 - _LEAST_GAIN) * error(None) else None


@dataclass(frozen=True)
class _WaldTest:
    """Wald's test on a pair: both degraded once more, by 2 instead of the ratio so that pixels enough are left."""

    scene: LrScene
    lower: LrScene
    fields: EndPointFields
    resampling: Resampling

    @classmethod
    def of(cls, scene: LrScene) -> _WaldTest | None:
        """The test on an LR scene; None with too few pixels."""
        height, width = scene.valid.shape
        halves = AxisPlacement(2.0, 0.0)
        rows, cols = ((math.ceil(side / 2), side) for side in (height, width))
        resampling = Resampling(
            up=(cubic_upsampler(halves, *rows), cubic_upsampler(halves, *cols)),
            down=(degradation_taps("wald", halves, *rows), degradation_taps("wald", halves, *cols)),
        )
        seen = observe_msi(lambda: iter([Strip(0, scene.msi, scene.valid)]), resampling.down)
        if seen.covered.sum() < 4 * (len(scene.msi) + 1):
            return None
        lower = LrScene(apply_taps(scene.hsi, *resampling.down), seen.msi_at_lr, seen.covered)
        return cls(scene, lower, regress(lower.hsi, lower.msi, lower.valid, "glp-local"), resampling)

    def error(self, window: LocalWindow | None) -> Floats:
        """What a window makes of the degraded pair less the LR-HSI, (k, n) at the n valid pixels."""

        def strips() -> Iterator[Strip]:
            yield Strip(0, self.scene.msi, self.scene.valid)

        fitted = _with_window(self.fields, self.lower, window, strips, self.resampling)
        fused = evaluate_tile(fitted, self.scene.msi, *self.resampling.up).values
        return np.asarray((fused - self.scene.hsi)[:, self.scene.valid])


def _with_window(
    fields: EndPointFields,
    scene: LrScene,
    window: LocalWindow | None,
    strips: Strips,
    resampling: Resampling,
) -> EndPointFields:
    """The fields with the local window's slopes (none: zero) and back-projection."""
    slopes = np.zeros((*fields.slopes.shape, *scene.valid.shape), np.float32)
    if window is not None:
        slopes = local_regression(fields.unexplained, scene.msi, scene.valid, window)
    return _consistent(replace(fields, local_slopes=slopes), scene, strips, resampling)


def _kriged(fields: EndPointFields, scene: LrScene, strips: Strips, resampling: Resampling) -> EndPointFields:
    """The fields with what kriging makes of the unexplained part, and back-projection."""
    context = observe_context(strips, resampling.up)
    kernel = learn_kernel(strips, context, resampling)
    functions = degraded_functions(kernel, context, strips, resampling)
    pixels = fields.msi[:, scene.valid].astype(np.float64)
    axes = unit_axes(pixels, _NARROWEST).astype(np.float32)
    centred = fields.msi - fields.msi[:, scene.valid].mean(axis=1)[:, None, None]
    unit = fields.base[:, scene.valid].std(axis=1, dtype=np.float64)
    along = np.tensordot(axes, centred, axes=1)
    found = krige(fields.unexplained, unit, along, functions, kernel.whitening(), scene.valid)
    fields = replace(
        fields,
        local_slopes=np.einsum("kjhw,jb->kbhw", found.slopes, axes),
        kernel_axes=kernel.axes,
        kernel_landmarks=kernel.landmarks,
        kernel_level=kernel.level,
        kernel_weights=found.weights,
        context=context,
    )
    return _consistent(fields, scene, strips, resampling)


def _consistent(
    fields: EndPointFields, scene: LrScene, strips: Strips, resampling: Resampling
) -> EndPointFields:
    """The fields with what they put in, degraded, and back-projection."""
    local, colour = _degraded_detail(fields, strips, resampling)
    if fields.kernel_weights is not None:
        fields = replace(fields, colour_at_lr=colour)
        there_and_back = [chain(up, down) for up, down in zip(resampling.up, resampling.down, strict=True)]
        local += colour - apply_taps(colour, *there_and_back)
    return back_projected(fields, local, resampling.up, resampling.down, scene.valid)


def _degraded_detail(fields: EndPointFields, strips: Strips, resampling: Resampling) -> tuple[Floats, Field]:
    """What the local slopes and the regressions by colour put in, degraded: (k, h, w) each."""
    local, colour = np.zeros_like(fields.base), np.zeros_like(fields.base)
    for top, values, valid in strips():
        up = resampling.up_part(Window(top, 0, values.shape[1], values.shape[2]))
        detail = values - apply_taps(fields.msi, *up)
        local += degrade_strip(local_detail(fields, detail, *up) * valid, top, *resampling.down)
        if fields.kernel_weights is not None:
            predicted = colour_prediction(fields, values, *up) * valid
            colour += degrade_strip(predicted, top, *resampling.down)
    return local, colour


def _leading(lr: Field, valid: NDArray[np.bool_]) -> Field:
    """An LR image's leading components, on which the window is chosen."""
    size = min(_WINDOW_CHANNELS, len(lr), int(valid.sum()) - 1)
    if size == len(lr):
        return lr
    return find_basis(lr[:, valid], size).project(lr)
