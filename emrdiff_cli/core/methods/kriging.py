"""Area-to-point kriging of the residual that the scene-wide map leaves of the LR-HSI (Kyriakidis 2004).

The residual is a Gaussian process of a pixel's place, its colour and its MSI (see Covariance). An LR pixel is an
area, the mean of its HR pixels under the PSF, and so are its covariates: materials that are mixed in it are told
apart by the features of their colours, as a regression on the mixed colour cannot. A block of LR pixels is solved
with a halo around it for the weights alpha = (K + nugget I)^-1 y; the prediction at HR is linear in the features,
with weights that are kept at nodes and are linear between them.
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

from emrdiff_cli.core.methods.colour_kernel import ColourKernel, centre_of, neighbourhood_of
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.texture import texture_share
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from emrdiff_cli.core.side_by_side import side_by_side

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

BLOCK = 8  # LR pixels along a side that are solved together,
_HALO = 6  # with so many around them
NODE_SPACING = 4  # LR pixels between nodes
_SAMPLED = 16  # blocks by which the slopes' prior and the nuggets are chosen
_LEAST_SPREAD = 1e-30


@dataclass(frozen=True)
class KrigingData:
    """The residual at LR and its covariates.

    `residual` (k, h, w); `spread` (k,), the channels' standard deviations in the LR-HSI; `msi` (m, h, w) along
    axes of unit variance; `features` of colour (n, h, w), the means of the HR pixels' under the PSF;
    `whitening` (n, n), to features whose products are the colour kernel; `valid` (h, w); `overlap`, the correlation
    of white HR texture between LR pixels by their distance along rows and along columns (core.texture);
    `brightness` (h, w), the MSI's, 1 in the mean.
    """

    residual: Floats
    spread: Floats
    msi: Floats
    features: Floats
    whitening: Doubles
    valid: NDArray[np.bool_]
    overlap: tuple[Doubles, Doubles]
    brightness: Floats


class Kriged(NamedTuple):
    """The predictor: `weights` (rows, columns, n, k) of the features at nodes, `slopes` (k, m, h, w) at LR.

    `texture` (k,): the share of each channel's nugget that is texture of the HR scene, not noise; `shape`
    (k, h, w), the slopes on the brightness at LR.
    """

    weights: Field
    slopes: Field
    texture: Field
    shape: Field


def krige(data: KrigingData, covariance: Covariance = USUAL, sampled: int = _SAMPLED) -> Kriged:
    """The predictor of the residual from the valid LR pixels; nuggets and texture are told by so many blocks."""
    return predictor(GaussianProcess.likeliest(data, covariance, sampled), sampled)


def predictor(field: GaussianProcess, sampled: int = _SAMPLED) -> Kriged:
    """The predictor of a field's residual."""
    data = field.data
    k, (height, width) = len(data.residual), data.valid.shape
    nodes = (-(-height // NODE_SPACING), -(-width // NODE_SPACING))
    weights = np.zeros((*nodes, len(data.features), k), np.float32)
    slopes = np.zeros((k, len(data.msi), height, width), np.float32)
    shape = np.zeros((k, height, width), np.float32)

    def predict(corner: tuple[int, int]) -> None:
        block = field.block(*corner)
        if not len(block.places):
            return
        alpha = block.alpha(field.nuggets) * field.spread
        for row, col in _nodes_in(*corner, nodes):
            at_node = block.feature_weights(_node_place(row), _node_place(col), alpha)
            weights[row, col] = data.whitening.T @ at_node
        slopes[:, :, *block.core] = block.slopes(alpha)
        if field.covariance.shape_sill:
            shape[:, *block.core] = block.shape(alpha)

    side_by_side(predict, corners(data.valid))
    return Kriged(weights, slopes, field.texture(sampled).astype(np.float32), shape)


@dataclass(frozen=True)
class GaussianProcess:
    """The data under a covariance whose slopes have one `slope_prior` (sill, range); `nuggets` (k,), inflated."""

    data: KrigingData
    covariance: Covariance
    slope_prior: tuple[float, float]
    nuggets: Doubles

    @classmethod
    def likeliest(
        cls, data: KrigingData, covariance: Covariance = USUAL, sampled: int = _SAMPLED
    ) -> GaussianProcess:
        """The slopes' prior under which the channels together are likeliest, and each channel's nugget.

        By about so many blocks spread over the scene.
        """
        tried = [cls(data, covariance, prior, np.empty(0)) for prior in covariance.slopes]
        found = [process.deviances(sampled) for process in tried]
        best = int(np.argmin([deviance.min(axis=0).sum() for deviance in found]))
        nuggets = np.take(covariance.nuggets, found[best].argmin(axis=0))
        return cls(
            data, covariance, covariance.slopes[best], np.asarray(covariance.nugget_inflation * nuggets)
        )

    @property
    def spread(self) -> Floats:
        """Standard deviations (k,) that nothing is divided by zero by."""
        return np.maximum(self.data.spread, _LEAST_SPREAD)

    def block(self, top: int, left: int, halo: int = _HALO) -> Block:
        """The valid LR pixels of the block at (top, left) and of its halo."""
        data, (height, width) = self.data, self.data.valid.shape
        around = (
            slice(max(0, top - halo), top + BLOCK + halo),
            slice(max(0, left - halo), left + BLOCK + halo),
        )
        rows, cols = np.nonzero(data.valid[around])
        rows, cols = rows + around[0].start, cols + around[1].start
        return Block(
            covariance=self.covariance,
            slope_prior=self.slope_prior,
            core=(slice(top, min(top + BLOCK, height)), slice(left, min(left + BLOCK, width))),
            window=data.valid[around].shape,
            places=np.stack([rows, cols], axis=1).astype(np.float64),
            residual=(data.residual[:, rows, cols] / self.spread[:, None]).astype(np.float64),
            msi=data.msi[:, rows, cols].astype(np.float64),
            features=data.whitening @ data.features[:, rows, cols],
            brightness=data.brightness[rows, cols].astype(np.float64),
        )

    def deviances(self, sampled: int = _SAMPLED) -> Doubles:
        """Minus twice the log likelihood (nuggets, k) of each channel, its variance profiled out."""
        nuggets = np.array(self.covariance.nuggets)[:, None]
        chosen = corners(self.data.valid)

        def of_block(corner: tuple[int, int]) -> tuple[Doubles, Doubles, int]:
            """Squares y' (K + nugget I)^-1 y (nuggets, k), log determinants (nuggets,), and the count of pixels."""
            block = self.block(*corner)
            if not len(block.places):
                return np.zeros((len(nuggets), len(self.data.residual))), np.zeros(len(nuggets)), 0
            variances, directions = linalg.eigh(block.covariance_matrix())
            noisy = np.maximum(variances, 0) + nuggets
            squares = (1 / noisy) @ np.square(block.residual @ directions).T
            return squares, np.log(noisy).sum(axis=1), len(variances)

        found = side_by_side(of_block, chosen[:: max(1, len(chosen) // sampled)])
        squares, logs, count = (sum(parts) for parts in zip(*found, strict=True))
        return np.asarray(count * np.log(np.maximum(squares, 1e-300)) + logs[:, None])

    def texture(self, sampled: int = _SAMPLED) -> Doubles:
        """The share (k,) of each channel's nugget that is texture, from half as many blocks."""
        share = np.ones(len(self.nuggets))
        told = self.nuggets > self.covariance.nugget_inflation * self.covariance.exact_nugget
        if told.any():
            chosen = corners(self.data.valid)
            blocks = [self.block(*corner) for corner in chosen[:: max(1, len(chosen) // (sampled // 2))]]
            share[told] = texture_share(blocks, self.nuggets, self.data.overlap, self.covariance)[told]
        return share


@dataclass(frozen=True)
class Factor:
    """The Cholesky factor (N, N) of K + nugget I, and the `channels` (k,) that have that nugget."""

    channels: NDArray[np.bool_]
    lower: Doubles

    def solve(self, right: Doubles) -> Doubles:
        """(K + nugget I)^-1 times (N, j)."""
        return np.asarray(linalg.cho_solve((self.lower, True), right, check_finite=False))

    def whiten(self, right: Doubles) -> Doubles:
        """L^-1 times (N, j), with L L' = K + nugget I."""
        return np.asarray(linalg.solve_triangular(self.lower, right, lower=True, check_finite=False))


@dataclass(frozen=True)
class Block:
    """N LR pixels solved together: `places` (N, 2), `residual` (k, N), `msi` (m, N), `features` (n, N).

    The residual is in units of the spread, the features are whitened. The predictor is for the pixels in `core`;
    `window` is the shape of block and halo.
    """

    covariance: Covariance
    slope_prior: tuple[float, float]
    core: tuple[slice, slice]
    window: tuple[int, ...]
    places: Doubles
    residual: Doubles
    msi: Doubles
    features: Doubles
    brightness: Doubles

    def in_core(self) -> NDArray[np.bool_]:
        """Which of the pixels (N,) the predictor is for."""
        rows, cols = self.core
        row, col = self.places.T
        return np.asarray((row >= rows.start) & (row < rows.stop) & (col >= cols.start) & (col < cols.stop))

    def covariance_matrix(self) -> Doubles:
        """K (N, N), without a nugget."""
        prior, (sill, reach) = self.covariance, self.slope_prior
        slopes = sill * self._correlation(reach) + prior.common_slope_sill
        return np.asarray(
            prior.colour_sill * self._correlation(prior.colour_range) * (self.features.T @ self.features)
            + slopes * (self.msi.T @ self.msi)
            + self._ground(self.brightness) * self._correlation(prior.ground_range)
        )

    def _ground(self, brightness: Doubles) -> Doubles | float:
        """Sills (N, M) of the processes of the ground and of shape, with pixels of a brightness (M,)."""
        prior = self.covariance
        if not prior.shape_sill:
            return prior.ground_sill
        return np.asarray(prior.ground_sill + prior.shape_sill * np.outer(self.brightness, brightness))

    def _correlation(self, reach: float) -> Doubles:
        if len(self.places) == self.window[0] * self.window[1]:
            return _correlation_in_window(*self.window, reach)
        return _correlation(self.places, self.places, reach)

    def factors(self, nuggets: Doubles) -> Iterator[Factor]:
        """A factorisation for each value among the channels' nuggets (k,)."""
        covariance = self.covariance_matrix()
        for nugget in np.unique(nuggets):
            noisy = covariance.copy()
            noisy.flat[:: len(noisy) + 1] += nugget
            lower, _ = linalg.cho_factor(noisy, lower=True, overwrite_a=True, check_finite=False)
            yield Factor(nuggets == nugget, lower)

    def alpha(self, nuggets: Doubles) -> Doubles:
        """The weights (N, k) of the LR pixels: (K + nugget I)^-1 y."""
        weights = np.empty_like(self.residual.T)
        for factor in self.factors(nuggets):
            weights[:, factor.channels] = factor.solve(self.residual[factor.channels].T)
        return weights

    def feature_weights(self, row: float, col: float, alpha: Doubles) -> Doubles:
        """The weights (n, k) of the whitened features at a place."""
        prior = self.covariance
        near = _correlation(np.array([[row, col]]), self.places, prior.colour_range)
        return np.asarray(prior.colour_sill * (self.features * near) @ alpha)

    def covariance_with(
        self, rows: Doubles, cols: Doubles, features: Doubles, msi: Doubles, brightness: Doubles
    ) -> Doubles:
        """The covariance (N, H W) with HR pixels at `rows` (H,), `cols` (W,), of such whitened features and MSI."""
        prior, (sill, reach) = self.covariance, self.slope_prior

        def near(sigma: float) -> Doubles:
            by_row = np.exp(-0.5 * np.square((self.places[:, :1] - rows) / sigma))
            by_col = np.exp(-0.5 * np.square((self.places[:, 1:] - cols) / sigma))
            return np.asarray((by_row[:, :, None] * by_col[:, None]).reshape(len(self.places), -1))

        result = self.features.T @ features
        result *= prior.colour_sill * near(prior.colour_range)
        result += (sill * near(reach) + prior.common_slope_sill) * (self.msi.T @ msi)
        return np.asarray(result + self._ground(brightness) * near(prior.ground_range))

    def slopes(self, alpha: Doubles) -> Doubles:
        """The slopes (k, m, rows, columns) of the core's pixels."""
        sill, reach = self.slope_prior
        near = sill * self._core_correlation(reach) + self.covariance.common_slope_sill
        return np.stack([self._in_core((near * band) @ alpha) for band in self.msi], axis=1)

    def shape(self, alpha: Doubles) -> Doubles:
        """The slopes (k, rows, columns) of the core's pixels on their brightness."""
        near = self.covariance.shape_sill * self._core_correlation(self.covariance.ground_range)
        return self._in_core((near * self.brightness) @ alpha)

    def _core_correlation(self, reach: float) -> Doubles:
        rows, cols = np.mgrid[self.core]
        own = np.stack([rows.ravel(), cols.ravel()], axis=1).astype(np.float64)
        return _correlation(own, self.places, reach)

    def _in_core(self, values: Doubles) -> Doubles:
        """Values (n, k) of the core's n pixels as (k, rows, columns)."""
        rows, cols = self.core
        return values.T.reshape(-1, rows.stop - rows.start, cols.stop - cols.start)


def kriged_by_colour(
    kernel: ColourKernel, weights: Floats, neighbourhood: Field, hr_msi: Floats, rows: Taps, cols: Taps
) -> Field:
    """The prediction (k, H, W) from the colours of a tile's MSI (m, H, W), the weights linear between nodes.

    `rows` and `cols` are the tile's LR -> HR, `neighbourhood` the scene's.
    """
    around = neighbourhood_of(neighbourhood, rows, cols)
    result = np.empty((weights.shape[3], *hr_msi.shape[1:]), np.float32)
    for across in _cells(rows, weights.shape[0]):
        for down in _cells(cols, weights.shape[1]):
            features = kernel(hr_msi[:, across.part, down.part], around[:, across.part, down.part])
            corners = [weights[row, col] for row in across.nodes for col in down.nodes]
            at_corners = features.reshape(len(features), -1).T @ np.concatenate(corners, axis=1)
            shares = [a[:, None] * d for a in across.shares for d in down.shares]
            at_corners = at_corners.reshape(*features.shape[1:], 4, -1)
            result[:, across.part, down.part] = np.einsum("ahw,hwak->khw", np.stack(shares), at_corners)
    return result


@dataclass(frozen=True)
class ColourTerm:
    """The kriged prediction from colour of a scene.

    `weights` (rows, columns, n, k) of the kernel's features at nodes; `neighbourhood` (m, 2 h, 2 w), the MSI's;
    `at_lr` (k, h, w) the prediction, degraded.
    """

    kernel: ColourKernel
    weights: Field
    neighbourhood: Field
    at_lr: Field

    def predict(self, msi: Floats, rows: Taps, cols: Taps) -> Field:
        """The prediction (k, H, W) for a tile's MSI (m, H, W); `rows` and `cols` are its LR -> HR."""
        return kriged_by_colour(self.kernel, self.weights, self.neighbourhood, msi, rows, cols)

    def detail(self, msi: Floats, rows: Taps, cols: Taps) -> Floats:
        """The part of the prediction that is lost at LR."""
        return np.asarray(self.predict(msi, rows, cols) - apply_taps(self.at_lr, rows, cols))


class _Cell(NamedTuple):
    """Pixels along an axis between the same two nodes, and the shares of both nodes in each."""

    part: slice
    nodes: tuple[int, int]
    shares: tuple[Field, Field]


def _cells(taps: Taps, count: int) -> Iterator[_Cell]:
    place = np.clip((centre_of(taps) - _node_place(0)) / NODE_SPACING, 0, count - 1)
    first = np.minimum(place.astype(np.intp), max(0, count - 2))
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(first)], strict=True):
        node = int(first[start])
        share = (place[start:stop] - node).astype(np.float32)
        yield _Cell(slice(start, stop), (node, min(node + 1, count - 1)), (1 - share, share))


def corners(valid: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The top left pixels of a scene's blocks."""
    height, width = valid.shape
    return list(product(range(0, height, BLOCK), range(0, width, BLOCK)))


def _nodes_in(top: int, left: int, nodes: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The nodes in the block at (top, left)."""
    rows, cols = (
        range(first // NODE_SPACING, min((first + BLOCK) // NODE_SPACING, count))
        for first, count in zip((top, left), nodes, strict=True)
    )
    yield from product(rows, cols)


def _node_place(number: int) -> float:
    """The place of a node along an axis, in LR pixels."""
    return number * NODE_SPACING + (NODE_SPACING - 1) / 2


@lru_cache(maxsize=16)
def _correlation_in_window(height: int, width: int, reach: float) -> Doubles:
    """The correlation of all pixels of a window, which most blocks have in common."""
    places = np.argwhere(np.ones((height, width), bool)).astype(np.float64)
    return _correlation(places, places, reach)


def _correlation(one: Doubles, other: Doubles, reach: float) -> Doubles:
    """(N, M): Gaussians, of sigma `reach`, of the distances between places."""
    return np.asarray(np.exp(-0.5 / reach**2 * cdist(one, other, "sqeuclidean")))
