"""Area-to-point kriging of what the scene-wide map leaves of the LR-HSI, over the ground and the MSI's colour.

What a pixel has beyond the map is taken for a Gaussian process of its place and its colour: alike where pixels
are near each other and look alike. An LR pixel is an area, the mean of its HR pixels under the PSF, and enters as
that (Kyriakidis 2004): so the pixels that are mixed in it are told apart by their colours, as a regression on the
mixed colour cannot. A pixel's colour is its own and, for less, that of its surroundings. Solved in blocks of LR
pixels, each with those around it; evaluated as functions of colour whose weights vary slowly over the ground.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import cdist

from emrdiff_cli.core.colour_kernel import ColourKernel, centre_of, context_of
from emrdiff_cli.core.resampling import Taps
from emrdiff_cli.core.side_by_side import side_by_side

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

# The covariance, in units of each channel's variance in the LR-HSI: settled on CAVE's train scenes and the sample.
_COLOUR = 0.4  # variance of the part that goes with colour and place
_COLOUR_GROUND = 5.0  # its range (sigma) on the ground, LR pixels
# Variance and range of slopes that change over the ground: the likeliest of these.
_SLOPES = ((0.003, 2.0), (0.03, 4.0), (0.1, 8.0))
_COMMON_SLOPE = 0.14  # and of those that a block has in common
_SMOOTH = 0.03  # variance of what goes with the place alone
_SMOOTH_GROUND = 2.0
# Variance of the noise: the likeliest of these for each channel,
_NUGGETS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
_CAUTION = 2.0  # times this, since the covariance is not quite the scene's

_BLOCK = 8  # LR pixels solved together,
_HALO = 6  # with so many around them
_NODE = 4  # LR pixels between the places where weights in colour are known
_TRIED = 16  # blocks on which the noise is estimated


class Kriged(NamedTuple):
    """The predictor: `weights` (rows, columns, n, k) of the functions of colour at nodes, `slopes` (k, m, h, w)."""

    weights: Field
    slopes: Field


def krige(
    values: Floats, unit: Floats, msi: Floats, functions: Floats, whitening: Doubles, valid: NDArray[np.bool_]
) -> Kriged:
    """The predictor of values (k, h, w), of which channels have the standard deviation `unit` (k,) in the LR-HSI.

    From the valid LR pixels, their MSI (m, h, w), with unit variances, and their functions of colour (n, h, w).
    """
    scene = _Scene(values, np.maximum(unit, 1e-30), msi, functions, whitening, valid)
    chosen, nuggets = _choose_covariance(scene)
    k, (height, width) = len(values), valid.shape
    nodes = (-(-height // _NODE), -(-width // _NODE))
    weights = np.zeros((*nodes, len(functions), k), np.float32)
    slopes = np.zeros((k, len(msi), height, width), np.float32)

    def put_in(corner: tuple[int, int]) -> None:
        block = scene.block(*corner, chosen)
        if not len(block.places):
            return
        solved = block.solve(nuggets) * scene.unit
        for row, col in _nodes_in(*corner, nodes):
            weights[row, col] = whitening.T @ block.colour_weights(_node_place(row), _node_place(col), solved)
        block.add_slopes(slopes, solved)

    side_by_side(put_in, product(range(0, height, _BLOCK), range(0, width, _BLOCK)))
    return Kriged(weights, slopes)


@dataclass(frozen=True)
class _Scene:
    """What is kriged (k, h, w), the standard deviations of its channels, and what it goes with."""

    values: Floats
    unit: Floats
    msi: Floats
    functions: Floats
    whitening: Doubles
    valid: NDArray[np.bool_]

    def block(self, top: int, left: int, slopes: tuple[float, float]) -> _Block:
        """The LR pixels from (top, left) on, with the valid ones around, with slopes of a variance and range."""
        height, width = self.valid.shape
        around = (
            slice(max(0, top - _HALO), top + _BLOCK + _HALO),
            slice(max(0, left - _HALO), left + _BLOCK + _HALO),
        )
        rows, cols = np.nonzero(self.valid[around])
        rows, cols = rows + around[0].start, cols + around[1].start
        return _Block(
            slopes,
            (slice(top, min(top + _BLOCK, height)), slice(left, min(left + _BLOCK, width))),
            self.valid[around].shape,
            np.stack([rows, cols], axis=1).astype(np.float64),
            (self.values[:, rows, cols] / self.unit[:, None]).astype(np.float64),
            self.msi[:, rows, cols].astype(np.float64),
            self.whitening @ self.functions[:, rows, cols],
        )


@dataclass(frozen=True)
class _Block:
    """LR pixels solved together: `places` (N, 2), values (k, N), MSI (m, N), functions of colour (n, N)."""

    slopes: tuple[float, float]
    core: tuple[slice, slice]
    window: tuple[int, ...]
    places: Doubles
    values: Doubles
    msi: Doubles
    functions: Doubles

    def covariance(self) -> Doubles:
        """(N, N), without noise."""
        variance, ground = self.slopes
        slopes = variance * self._near(ground) + _COMMON_SLOPE
        return np.asarray(
            _COLOUR * self._near(_COLOUR_GROUND) * (self.functions.T @ self.functions)
            + slopes * (self.msi.T @ self.msi)
            + _SMOOTH * self._near(_SMOOTH_GROUND)
        )

    def _near(self, sigma: float) -> Doubles:
        if len(self.places) == self.window[0] * self.window[1]:
            return _near_in_window(*self.window, sigma)
        return _near(self.places, self.places, sigma)

    def solve(self, nuggets: Doubles) -> Doubles:
        """(N, k): what each pixel counts, with each channel's noise (k,)."""
        covariance, solved = self.covariance(), np.empty_like(self.values.T)
        for nugget in np.unique(nuggets):
            alike = nuggets == nugget
            noisy = covariance.copy()
            noisy.flat[:: len(noisy) + 1] += nugget
            factor = linalg.cho_factor(noisy, lower=True, overwrite_a=True, check_finite=False)
            solved[:, alike] = linalg.cho_solve(factor, self.values[alike].T, check_finite=False)
        return solved

    def colour_weights(self, row: float, col: float, solved: Doubles) -> Doubles:
        """(n, k): the weights of the functions of colour at a place."""
        near = _near(np.array([[row, col]]), self.places, _COLOUR_GROUND)
        return np.asarray(_COLOUR * (self.functions * near) @ solved)

    def add_slopes(self, slopes: Field, solved: Doubles) -> None:
        """Put in the slopes of the block's own pixels."""
        rows, cols = np.mgrid[self.core]
        own, (variance, ground) = np.stack([rows.ravel(), cols.ravel()], axis=1), self.slopes
        counted = variance * _near(own.astype(np.float64), self.places, ground) + _COMMON_SLOPE
        for band, msi in enumerate(self.msi):
            slopes[:, band, *self.core] = ((counted * msi) @ solved).T.reshape(-1, *rows.shape)


def _choose_covariance(scene: _Scene) -> tuple[tuple[float, float], Doubles]:
    """The slopes' variance and range, and each channel's noise (k,), under which the channels are likeliest."""
    found = [_likelihoods(scene, slopes) for slopes in _SLOPES]
    best = int(np.argmin([likelihood.min(axis=0).sum() for likelihood in found]))
    nuggets = np.take(_NUGGETS, found[best].argmin(axis=0))
    return _SLOPES[best], np.asarray(_CAUTION * nuggets)


def _likelihoods(scene: _Scene, slopes: tuple[float, float]) -> Doubles:
    """Minus twice the log likelihood of each channel under each noise, whatever its variance, on some blocks."""
    height, width = scene.valid.shape
    corners = list(product(range(0, height, _BLOCK), range(0, width, _BLOCK)))
    nuggets = np.array(_NUGGETS)[:, None]

    def of_block(corner: tuple[int, int]) -> tuple[Doubles, Doubles, int]:
        """Squares (nuggets, k) in units of the covariance's, logarithms of its determinants, and pixels."""
        block = scene.block(*corner, slopes)
        if not len(block.places):
            return np.zeros((len(nuggets), len(scene.values))), np.zeros(len(nuggets)), 0
        variances, directions = linalg.eigh(block.covariance())
        noisy = np.maximum(variances, 0) + nuggets
        return (1 / noisy) @ np.square(block.values @ directions).T, np.log(noisy).sum(axis=1), len(variances)

    found = side_by_side(of_block, corners[:: max(1, len(corners) // _TRIED)])
    squares, logs, count = (sum(parts) for parts in zip(*found, strict=True))
    return np.asarray(count * np.log(np.maximum(squares, 1e-300)) + logs[:, None])


def kriged_by_colour(
    kernel: ColourKernel, weights: Floats, context: Field, hr_msi: Floats, rows: Taps, cols: Taps
) -> Field:
    """What the functions of colour make (k, H, W) of a tile's MSI (m, H, W), their weights linear between nodes.

    `rows` and `cols` are the tile's LR -> HR, `context` the scene's.
    """
    around = context_of(context, rows, cols)
    result = np.empty((weights.shape[3], *hr_msi.shape[1:]), np.float32)
    for across in _cells(rows, weights.shape[0]):
        for down in _cells(cols, weights.shape[1]):
            values = kernel(hr_msi[:, across.part, down.part], around[:, across.part, down.part])
            corners = [weights[row, col] for row in across.nodes for col in down.nodes]
            at_corners = values.reshape(len(values), -1).T @ np.concatenate(corners, axis=1)
            shares = [a[:, None] * d for a in across.shares for d in down.shares]
            at_corners = at_corners.reshape(*values.shape[1:], 4, -1)
            result[:, across.part, down.part] = np.einsum("ahw,hwak->khw", np.stack(shares), at_corners)
    return result


class _Cell(NamedTuple):
    """Pixels along an axis between the same two nodes, and what each of these counts for them."""

    part: slice
    nodes: tuple[int, int]
    shares: tuple[Field, Field]


def _cells(taps: Taps, count: int) -> Iterator[_Cell]:
    place = np.clip((centre_of(taps) - _node_place(0)) / _NODE, 0, count - 1)
    first = np.minimum(place.astype(np.intp), max(0, count - 2))
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(first)], strict=True):
        node = int(first[start])
        share = (place[start:stop] - node).astype(np.float32)
        yield _Cell(slice(start, stop), (node, min(node + 1, count - 1)), (1 - share, share))


def _nodes_in(top: int, left: int, nodes: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The nodes that lie in the block at (top, left)."""
    rows, cols = (
        range(first // _NODE, min((first + _BLOCK) // _NODE, count))
        for first, count in zip((top, left), nodes, strict=True)
    )
    yield from product(rows, cols)


def _node_place(number: int) -> float:
    """The place of a node along an axis, in LR pixels."""
    return number * _NODE + (_NODE - 1) / 2


@lru_cache(maxsize=16)
def _near_in_window(height: int, width: int, sigma: float) -> Doubles:
    """The same between all pixels of a window: most blocks have the same."""
    places = np.argwhere(np.ones((height, width), bool)).astype(np.float64)
    return _near(places, places, sigma)


def _near(one: Doubles, other: Doubles, sigma: float) -> Doubles:
    """(N, M): Gaussians of the distances between places."""
    return np.asarray(np.exp(-0.5 / sigma**2 * cdist(one, other, "sqeuclidean")))
