"""A linear filter that brings an end point's detail closer to the truth, fitted on an archive.

An MSI's detail is put into every band as sharp, and as well registered, as the MSI is; a sensor's bands are not,
each in its own way. What that leaves is, to a good part, linear in the band's own detail and the MSI's around a
pixel. How sharp an estimate does best goes with the brightness, since dark pixels are noisier; and of a lens that
magnifies each wavelength a little differently, bands are displaced in proportion to the distance from its axis.

Scenes of one camera differ in all this, least in what a band's own detail tells, and a pair does not tell how: the
MSI's share is held back, and the whole a little (`python -m tests.benchmarks.filter_transfer`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.detail_injection import EndPointTile
from emrdiff_cli.core.sensor.resampling import Taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_DARK = 0.1  # of the mean brightness, added to each pixel's


@dataclass(frozen=True)
class FilterInputs:
    """Inputs of the filter on a tile: `detail` (k, H, W) as injected, `msi` (m, H, W), the MSI's, and its place.

    `brightness` (H, W) is the logarithm of the MSI's, relative to the scene's mean; `rows` (H,) and `cols` (W,)
    are distances from the centre of the sensor's frame, that of the LR pixels, in LR pixels.
    """

    detail: Floats
    msi: Floats
    brightness: Floats
    rows: Floats
    cols: Floats

    @classmethod
    def of(cls, tile: EndPointTile, hr_msi: Floats, msi_at_lr: Floats, up: tuple[Taps, Taps]) -> FilterInputs:
        """The inputs of a tile, `hr_msi` (m, H, W); `msi_at_lr` (m, h, w), and `up` the tile's part of LR -> HR."""
        usual = np.maximum(msi_at_lr, 0).mean(axis=(1, 2))
        relative = np.maximum(hr_msi, 0) / np.where(usual > 0, usual, np.inf)[:, None, None]
        rows, cols = (taps.centres() - (taps.n_in - 1) / 2 for taps in up)
        return cls(tile.detail, tile.msi_detail, np.log(relative.mean(axis=0) + _DARK), rows, cols)

    def parts(self, count: int) -> Iterator[tuple[Field, Field]]:
        """The filter's `count` inputs, (k, H, W) of the channels and (m, H, W) of the MSI: see `input_count`."""
        return zip(self._parts(self.detail, count), self._parts(self.msi, count), strict=True)

    def _parts(self, image: Floats, count: int) -> Iterator[Field]:
        side = math.isqrt(count - 1)
        yield from _shifts(image, side)
        around = list(_shifts(image, 3))
        above, left, right, below = (around[tap] for tap in (1, 3, 5, 7))
        sharpness = above + below + left + right - 4 * image
        yield np.asarray(sharpness * self.brightness, np.float32)
        if count > side * side + 1:
            outwards = (below - above) * self.rows[:, None] + (right - left) * self.cols
            yield np.asarray(outwards / 2, np.float32)


@dataclass(frozen=True)
class DetailSample:
    """A scene's inputs and what its end point leaves, `residual` (k, H, W); `scored` (H, W)."""

    inputs: FilterInputs
    residual: Floats
    scored: NDArray[np.bool_]


@dataclass(frozen=True)
class Holding:
    """How a fit is held back: ridges, shares of an input's own power, of the band's and of the MSI's.

    `trust`: the share of what fits the archive's scenes that is expected of others.
    """

    own_ridge: float = 1e-4
    msi_ridge: float = 3e-3
    trust: float = 0.85


_USUAL = Holding()


def input_count(side: int, lateral: bool) -> int:
    """Inputs of an image: side x side taps, the Laplacian by brightness and, if `lateral`, the radial slope."""
    return side * side + (2 if lateral else 1)


def fit_detail_filter(samples: Iterable[DetailSample], side: int, lateral: bool = False) -> Field:
    """(k, 1 + m, n): ridge regression of each channel's residual on the n inputs of its detail and of the MSI's.

    Every scene weighs by the inverse of its residual's power in the channel, so that quiet ones count too.
    """
    count = input_count(side, lateral)
    return solve_detail_filter((detail_products(sample, count) for sample in samples), count)


def solve_detail_filter(products: Iterable[Floats], count: int, holding: Holding = _USUAL) -> Field:
    """(k, 1 + m, n): the filter of scenes whose `detail_products` of n = `count` inputs an image are given."""
    sums: Floats | None = None
    for of_scene in products:
        sums = of_scene if sums is None else sums + of_scene
    if sums is None:
        raise ValueError("no scene to fit a detail filter on")
    ridge = np.full(sums.shape[-1] - 1, holding.msi_ridge)
    ridge[:count] = holding.own_ridge
    solved = [_solve(both[:-1, :-1], both[:-1, -1], ridge).reshape(-1, count) for both in sums]
    return np.float32(holding.trust) * np.stack(solved)


def apply_detail_filter(weights: Field, inputs: FilterInputs) -> Field:
    """The filter's (k, 1 + m, n) answer (k, H, W), edges replicated."""
    result = np.zeros(inputs.detail.shape, np.float32)
    for number, (own, msi) in enumerate(inputs.parts(weights.shape[2])):
        result += weights[:, 0, number, None, None] * own
        result += np.tensordot(weights[:, 1:, number], msi, axes=1)
    return result


def detail_products(sample: DetailSample, count: int) -> Floats:
    """(k, N + 1, N + 1): sums of products of a channel's N inputs and its residual, over the residual's power.

    N = n (1 + m), `count` = n inputs of the channel's detail first, then of each MSI band's.
    """
    own, msi = zip(*sample.inputs.parts(count), strict=True)
    of_msi = [part[band][sample.scored] for band in range(len(msi[0])) for part in msi]
    products = []
    for channel, left in enumerate(sample.residual):
        of_channel = [part[channel][sample.scored] for part in own]
        x = np.stack([*of_channel, *of_msi, left[sample.scored]]).astype(np.float64)
        both = x @ x.T
        products.append(both / max(both[-1, -1], 1e-30))
    return np.stack(products)


def _shifts(image: Floats, side: int) -> Iterator[Floats]:
    """The image (c, H, W) as each tap sees it, row by row of taps, its edges replicated."""
    reach, (height, width) = side // 2, image.shape[1:]
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    for row in range(side):
        for col in range(side):
            yield padded[:, row : row + height, col : col + width]


def _solve(products: Floats, right: Floats, ridge: Floats) -> Field:
    scale = np.sqrt(np.maximum(np.diag(products), 1e-30))
    normal = products / np.outer(scale, scale) + np.diag(ridge)
    return np.asarray(np.linalg.solve(normal, right / scale) / scale, np.float32)
