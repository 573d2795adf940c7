"""A scene's end point, fitted on its LR pixels: the basis, the maps, and the window chosen on the pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.degradation import degradation_taps
from emrdiff_cli.core.end_point import (
    RIDGES,
    WINDOW_SIGMAS,
    EndPointFields,
    LocalWindow,
    Method,
    back_projected,
    evaluate_tile,
    local_detail,
    local_regression,
    regress,
)
from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.observation import LrScene, Resampling, Strip, Strips, degrade_strip, observe_msi
from emrdiff_cli.core.resampling import apply_taps, cubic_upsampler
from emrdiff_cli.core.subspace import Basis, find_basis, identity_basis
from emrdiff_cli.scene import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_LEAST_GAIN = 0.01  # share of the squared error that a window must take away to be worth its noise
_WINDOW_CHANNELS = 12  # leading components on which the local window is chosen


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
    if method != "glp-local":
        return SceneEndPoint(basis, fields, outside, None)
    window = choose_window(replace(scene, hsi=_leading(lr, scene.valid)))
    fields = _with_local_map(fields, scene, window, strips, resampling)
    return SceneEndPoint(basis, fields, outside, window)


def choose_window(scene: LrScene) -> LocalWindow | None:
    """The window that does best in Wald's test on the pair itself; None where none gains over the scene's map.

    Both are degraded once more, by 2 instead of the ratio so that pixels enough are left, fused, and compared
    with the LR-HSI; pixels count where they are valid.
    """
    height, width = scene.valid.shape
    halves = AxisPlacement(2.0, 0.0)
    rows, cols = ((math.ceil(side / 2), side) for side in (height, width))
    resampling = Resampling(
        up=(cubic_upsampler(halves, *rows), cubic_upsampler(halves, *cols)),
        down=(degradation_taps("wald", halves, *rows), degradation_taps("wald", halves, *cols)),
    )

    def strips() -> Iterator[Strip]:
        yield Strip(0, scene.msi, scene.valid)

    seen = observe_msi(strips, resampling.down)
    if seen.covered.sum() < 4 * (len(scene.msi) + 1):
        return None
    lower = LrScene(apply_taps(scene.hsi, *resampling.down), seen.msi_at_lr, seen.covered)
    fields = regress(lower.hsi, lower.msi, lower.valid, "glp-local")

    def error(window: LocalWindow | None) -> float:
        fitted = _with_local_map(fields, lower, window, strips, resampling)
        fused = evaluate_tile(fitted, scene.msi, *resampling.up).values
        return float(np.square((fused - scene.hsi)[:, scene.valid], dtype=np.float64).sum())

    errors = {w: error(w) for w in (LocalWindow(s, r) for s in WINDOW_SIGMAS for r in RIDGES)}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] < (1 - _LEAST_GAIN) * error(None) else None


def _with_local_map(
    fields: EndPointFields,
    scene: LrScene,
    window: LocalWindow | None,
    strips: Strips,
    resampling: Resampling,
) -> EndPointFields:
    """The fields with the window's local slopes (none: zero) and back-projection."""
    if window is None:
        slopes = np.zeros((*fields.slopes.shape, *scene.valid.shape), np.float32)
        injected: Floats = np.zeros_like(fields.base)
    else:
        slopes = local_regression(fields.unexplained, scene.msi, scene.valid, window)
        injected = _degrade_local_detail(replace(fields, local_slopes=slopes), strips, resampling)
    return back_projected(fields, slopes, injected, resampling.up, resampling.down, scene.valid)


def _degrade_local_detail(fields: EndPointFields, strips: Strips, resampling: Resampling) -> Floats:
    total = np.zeros_like(fields.base)
    for top, values, valid in strips():
        up = resampling.up_part(Window(top, 0, values.shape[1], values.shape[2]))
        detail = values - apply_taps(fields.msi, *up)
        total += degrade_strip(local_detail(fields, detail, *up) * valid, top, *resampling.down)
    return total


def _leading(lr: Field, valid: NDArray[np.bool_]) -> Field:
    """An LR image's leading components, on which the window is chosen."""
    size = min(_WINDOW_CHANNELS, len(lr), int(valid.sum()) - 1)
    if size == len(lr):
        return lr
    return find_basis(lr[:, valid], size).project(lr)
