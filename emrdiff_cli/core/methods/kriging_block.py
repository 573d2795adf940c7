"""A block of LR pixels of area-to-point kriging: its covariance, factorised, and what its weights predict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from emrdiff_cli.core.methods.covariance import Covariance

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
BLOCK = 8  # LR pixels along a side that are solved together
_ENOUGH = 2e-3  # nugget from which single precision is enough to solve a block for its weights


@dataclass(frozen=True)
class Factor:
    """The Cholesky factor (N, N) of K + nugget I, and the `channels` (k,) that have that nugget."""

    channels: NDArray[np.bool_]
    lower: Floats

    def solve(self, right: Floats) -> Floats:
        """(K + nugget I)^-1 times (N, j)."""
        (potrs,) = linalg.get_lapack_funcs(("potrs",), (self.lower,))
        solved, _ = potrs(self.lower, self._own(right), lower=True)
        return np.asarray(solved)

    @property
    def log_determinant(self) -> float:
        """Logarithm of the determinant of K + nugget I."""
        return 2 * float(np.log(self.lower.diagonal()).sum())

    def whiten(self, right: Floats) -> Floats:
        """L^-1 times (N, j), with L L' = K + nugget I."""
        right = self._own(right)
        return np.asarray(linalg.solve_triangular(self.lower, right, lower=True, check_finite=False))

    def _own(self, right: Floats) -> Floats:
        return right.astype(self.lower.dtype, copy=False)


@dataclass(frozen=True)
class Block:
    """N LR pixels solved together: `places` (N, 2), `residual` (k, N), `msi` (m, N), `features` (n, N).

    The residual is in units of the spread, the features are whitened. The predictor is for the pixels in `core`;
    `window` is the part of the scene that block and halo take.
    """

    covariance: Covariance
    slope_prior: tuple[float, float]
    core: tuple[slice, slice]
    window: tuple[slice, slice]
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

    def covariance_matrix(self, precision: np.dtype[Any] = _DOUBLE) -> Floats:
        """K (N, N), without a nugget."""
        prior, (sill, reach) = self.covariance, self.slope_prior
        own = (self.features, self.msi, self.brightness)
        features, msi, brightness = (np.asarray(part, precision) for part in own)
        result: Floats = features.T @ features
        result *= self._processes(_Process(prior.colour_range, prior.colour_sill), precision)
        slopes: Floats = msi.T @ msi
        slopes *= self._processes(_Process(reach, sill, prior.common_slope_sill), precision)
        result += slopes
        if not prior.shape_sill:
            result += self._processes(_Process(prior.ground_range, prior.ground_sill), precision)
            return np.asarray(result)
        near = self._processes(_Process(prior.ground_range), precision)
        return np.asarray(result + self._ground(brightness, brightness) * near, precision)

    def _ground(self, one: Floats, other: Floats) -> Floats | float:
        """Sills (N, M) of the processes of the ground and of shape, of pixels of a brightness (N,) and (M,)."""
        prior = self.covariance
        if not prior.shape_sill:
            return prior.ground_sill
        return np.asarray(prior.ground_sill + prior.shape_sill * np.outer(one, other))

    def _processes(self, process: _Process, precision: np.dtype[Any]) -> Floats:
        """The process (N, N) between all pixels."""
        shape = _shape_of(self.window)
        if len(self.places) == shape[0] * shape[1]:
            return _in_window(shape, process, precision)
        return process.between(self.places, self.places).astype(precision)

    def factors(self, nuggets: Doubles, enough: float = np.inf) -> Iterator[Factor]:
        """A factorisation for each value among the channels' nuggets (k,); from `enough` on in single precision."""
        distinct = np.unique(nuggets)
        precise = bool(distinct[0] < enough)
        covariance = self.covariance_matrix(_DOUBLE if precise else _SINGLE)
        for nugget in distinct:
            if precise and nugget >= enough:
                covariance, precise = covariance.astype(np.float32), False
            noisy = covariance.copy()
            noisy.flat[:: len(noisy) + 1] += nugget
            yield Factor(nuggets == nugget, _cholesky(noisy))

    def alpha(self, nuggets: Doubles) -> Doubles:
        """The weights (N, k) of the LR pixels: (K + nugget I)^-1 y."""
        weights = np.empty_like(self.residual.T)
        for factor in self.factors(nuggets, _ENOUGH):
            weights[:, factor.channels] = factor.solve(self.residual[factor.channels].T)
        return weights

    def feature_weights(self, places: Doubles, alpha: Floats) -> Floats:
        """The weights (n, p, k) of the whitened features at places (p, 2), in the precision of `alpha`."""
        prior = self.covariance
        near = self._near(places, _Process(prior.colour_range, prior.colour_sill), alpha.dtype)
        weighted = near.T[:, :, None] * alpha[:, None]
        found = self.features.astype(alpha.dtype, copy=False) @ weighted.reshape(len(alpha), -1)
        return found.reshape(len(self.features), len(places), -1)

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
        return np.asarray(result + self._ground(self.brightness, brightness) * near(prior.ground_range))

    def slopes(self, alpha: Floats) -> Floats:
        """The slopes (k, m, rows, columns) of the core's pixels, in the precision of `alpha`."""
        sill, reach = self.slope_prior
        near = self._near_core(_Process(reach, sill, self.covariance.common_slope_sill), alpha.dtype)
        of_bands = self.msi.astype(alpha.dtype, copy=False)[:, None] * near
        found = of_bands.reshape(-1, len(alpha)) @ alpha
        return self._in_core(found.reshape(len(self.msi), len(near), -1).transpose(2, 0, 1))

    def shape(self, alpha: Floats) -> Floats:
        """The slopes (k, rows, columns) of the core's pixels on their brightness."""
        prior = self.covariance
        near = self._near_core(_Process(prior.ground_range, prior.shape_sill), alpha.dtype)
        return self._in_core(((near * self.brightness) @ alpha).T)

    def _near_core(self, process: _Process, dtype: np.dtype[Any]) -> Floats:
        """The process (n, N) of the core's pixels with all."""
        rows, cols = np.mgrid[self.core]
        return self._near(np.stack([rows.ravel(), cols.ravel()], axis=1), process, dtype)

    def _near(self, places: NDArray[Any], process: _Process, dtype: np.dtype[Any]) -> Floats:
        """The process (p, N) of places (p, 2) with the pixels."""
        shape = _shape_of(self.window)
        if len(self.places) < shape[0] * shape[1]:
            return process.between(places.astype(np.float64), self.places).astype(dtype)
        within = places - np.array([part.start for part in self.window])
        return _with_window(shape, tuple(map(tuple, within.tolist())), process, dtype)

    def _in_core(self, values: Floats) -> Floats:
        """Values (..., n) of the core's n pixels as (..., rows, columns)."""
        return values.reshape(*values.shape[:-1], *_shape_of(self.core))


def _cholesky(matrix: Floats) -> Floats:
    """The factor (N, N), of which the lower triangle counts; the matrix is lost. Raises LinAlgError."""
    (potrf,) = linalg.get_lapack_funcs(("potrf",), (matrix,))
    # The upper triangle of the transpose, which LAPACK takes as it lies.
    lower, failed = potrf(matrix.T, lower=True, overwrite_a=True, clean=False)
    if failed:
        raise np.linalg.LinAlgError(f"the leading minor of order {failed} is not positive definite")
    return np.asarray(lower)


@dataclass(frozen=True)
class _Process:
    """A covariance of the distance: a Gaussian of sigma `reach` LR pixels times `sill`, and what is `common`."""

    reach: float
    sill: float = 1.0
    common: float = 0.0

    def between(self, one: Doubles, other: Doubles) -> Doubles:
        """(N, M): of places (N, 2) and (M, 2)."""
        down, across = (np.square(one[:, None, axis] - other[:, axis]) for axis in (0, 1))
        apart = down + across
        return np.asarray(self.sill * np.exp(-0.5 / self.reach**2 * apart) + self.common)


def _shape_of(part: tuple[slice, slice]) -> tuple[int, int]:
    rows, cols = (axis.stop - axis.start for axis in part)
    return rows, cols


@lru_cache(maxsize=48)
def _in_window(shape: tuple[int, int], process: _Process, precision: np.dtype[Any]) -> Floats:
    """The process between all pixels of a window, which most blocks have in common."""
    places = np.argwhere(np.ones(shape, bool)).astype(np.float64)
    return process.between(places, places).astype(precision)


@lru_cache(maxsize=48)
def _with_window(
    shape: tuple[int, int], places: tuple[tuple[float, ...], ...], process: _Process, dtype: np.dtype[Any]
) -> Floats:
    """The process of some places with all pixels of a window."""
    every = np.argwhere(np.ones(shape, bool)).astype(np.float64)
    return process.between(np.array(places, np.float64), every).astype(dtype)
