"""A scene's end point, fitted on its LR pixels: the basis, the maps, and the window chosen on the pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.colour_regression import COLOUR_WINDOWS
from emrdiff_cli.core.degradation import degradation_taps
from emrdiff_cli.core.end_point import (
    RIDGES,
    WINDOW_SIGMAS,
    EndPointFields,
    EndPointTile,
    LocalWindow,
    Method,
    back_projected,
    colour_prediction,
    evaluate_tile,
    local_detail,
    local_regression,
    regress,
    with_colour,
)
from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.observation import LrScene, Resampling, Strip, Strips, degrade_strip, observe_msi
from emrdiff_cli.core.resampling import apply_taps, chain, cubic_upsampler
from emrdiff_cli.core.subspace import Basis, find_basis, identity_basis
from emrdiff_cli.scene import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_LEAST_GAIN = 0.01  # share of the squared error that a window must take away to be worth its noise
_WINDOW_CHANNELS = 12  # leading components on which windows are chosen
_MAP_RIDGE = (
    30.0  # times channels over pixels, of each channel's own power: small scenes must not be learned by heart
)
_LOCAL_ALONE: Floats = np.eye(1 + len(COLOUR_WINDOWS))[0]
_TOWARDS_EQUAL = (
    0.1  # of the mean squared error, as if it were each regression's own beside the errors they share
)


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
    if method not in ("glp-local", "glp-stacked"):
        return SceneEndPoint(basis, fields, outside, None)
    leading = replace(scene, hsi=_leading(lr, scene.valid))
    window = choose_window(leading)
    if method == "glp-local":
        fields = _with_windows(fields, scene, window, _LOCAL_ALONE, strips, resampling)
        return SceneEndPoint(basis, fields, outside, window)
    shares = choose_shares(leading, window)
    detail_map = fit_detail_map(replace(scene, hsi=lr), window, shares)
    fields = replace(_with_windows(fields, scene, window, shares, strips, resampling), detail_map=detail_map)
    return SceneEndPoint(basis, fields, outside, window)


def choose_window(scene: LrScene) -> LocalWindow | None:
    """The window that does best in Wald's test on the pair itself; None where none gains over the scene's map."""
    test = _WaldTest.of(scene)
    if test is None:
        return None

    def error(window: LocalWindow | None) -> float:
        return float(np.square(test.error(window, _LOCAL_ALONE), dtype=np.float64).sum())

    errors = {w: error(w) for w in (LocalWindow(s, r) for s in WINDOW_SIGMAS for r in RIDGES)}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] < (1 - _LEAST_GAIN) * error(None) else None


def choose_shares(scene: LrScene, window: LocalWindow | None) -> Floats:
    """What the regression in the local window, and those by colour, count in their mean: shares >= 0 of 1.

    Those that make the error of the mean least in the same test, drawn towards equal ones; the local window alone
    where there are too few pixels for a test.
    """
    test = _WaldTest.of(scene)
    if test is None:
        return _LOCAL_ALONE
    errors = np.stack([test.error(window, alone).ravel() for alone in np.eye(len(_LOCAL_ALONE))])
    products = errors.astype(np.float64) @ errors.T
    products += _TOWARDS_EQUAL * np.trace(products) / len(products) * np.eye(len(products))
    if not products.any():
        return _LOCAL_ALONE
    shares = np.maximum(np.linalg.solve(products, np.ones(len(products))), 0)
    return np.asarray(shares / shares.sum())


def fit_detail_map(scene: LrScene, window: LocalWindow | None, shares: Floats) -> Field | None:
    """(k, k): what the detail of all channels has to add to each one's in the same test; None without a test.

    Ridge regression, the firmer the fewer pixels there are for a channel.
    """
    test = _WaldTest.of(scene)
    if test is None:
        return None
    tile, valid = test.fused(window, shares), scene.valid
    detail = tile.detail[:, valid].astype(np.float64)
    left = (scene.hsi - tile.values)[:, valid].astype(np.float64)
    scale = np.sqrt(np.maximum(np.square(detail).sum(axis=1), 1e-30))
    normal = (detail @ detail.T) / np.outer(scale, scale)
    normal += _MAP_RIDGE * len(detail) / valid.sum() * np.eye(len(detail))
    solved = np.linalg.solve(normal, (left @ detail.T / scale).T).T / scale
    return np.asarray(solved, np.float32)


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

    def fused(self, window: LocalWindow | None, shares: Floats) -> EndPointTile:
        """The end point of the degraded pair on the LR grid."""

        def strips() -> Iterator[Strip]:
            yield Strip(0, self.scene.msi, self.scene.valid)

        fitted = _with_windows(self.fields, self.lower, window, shares, strips, self.resampling)
        return evaluate_tile(fitted, self.scene.msi, *self.resampling.up)

    def error(self, window: LocalWindow | None, shares: Floats) -> Floats:
        """What is fused less the LR-HSI, (k, n) at the n valid pixels."""
        return np.asarray((self.fused(window, shares).values - self.scene.hsi)[:, self.scene.valid])


def _with_windows(
    fields: EndPointFields,
    scene: LrScene,
    window: LocalWindow | None,
    shares: Floats,
    strips: Strips,
    resampling: Resampling,
) -> EndPointFields:
    """The fields with the local window's slopes (none: zero), regressions by colour, and back-projection.

    `shares` is what the local window and each of the windows in colour count.
    """
    slopes = np.zeros((*fields.slopes.shape, *scene.valid.shape), np.float32)
    if window is not None:
        slopes = np.float32(shares[0]) * local_regression(fields.unexplained, scene.msi, scene.valid, window)
    fields = replace(fields, local_slopes=slopes)
    if shares[1:].any():
        fields = with_colour(fields, shares[1:], scene.valid)
    local, colour = _degraded_detail(fields, strips, resampling)
    if shares[1:].any():
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
        if fields.colour_shares is not None:
            predicted = colour_prediction(fields, values, *up) * valid
            colour += degrade_strip(predicted, top, *resampling.down)
    return local, colour


def _leading(lr: Field, valid: NDArray[np.bool_]) -> Field:
    """An LR image's leading components, on which the window is chosen."""
    size = min(_WINDOW_CHANNELS, len(lr), int(valid.sum()) - 1)
    if size == len(lr):
        return lr
    return find_basis(lr[:, valid], size).project(lr)
