"""Spectral response functions: how an MSI's bands weigh the bands of an HSI; given, or estimated from a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError

FWHM_PER_SIGMA = 2.355

LEAST_PIXELS = 32  # valid LR pixels that an estimate needs

_PENALTIES = tuple(10.0**power for power in range(-5, 2))  # of roughness, as a share of the HSI's variance
_AS_GOOD = 1.001  # times the least cross-validated error: penalties that do as well
_BLOCKS = 4  # along each side of the pair, every other one in a fold
_NARROWEST = 0.25  # of the usual spacing: bands that are nearer count as that far apart
_RIDGE = 1e-9  # share of the HSI's variance that makes the equations definite
_ITERATIONS = 30  # a band, at most

Floats = NDArray[np.float64]
Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SpectralResponse:
    """Responses of m MSI bands: `values` is (m, n) at the ascending `wavelengths_nm` (n,)."""

    names: tuple[str, ...]
    wavelengths_nm: NDArray[np.float64]
    values: NDArray[np.float64]

    def centres_nm(self) -> tuple[float, ...]:
        """Each band's response-weighted mean wavelength."""
        weighted = self.values @ self.wavelengths_nm / self.values.sum(axis=1)
        return tuple(float(v) for v in weighted)

    def fwhm_nm(self) -> tuple[float, ...]:
        """Each band's width between the outermost wavelengths at half of its maximum."""
        half = self.values >= 0.5 * self.values.max(axis=1, keepdims=True)
        return tuple(float(np.ptp(self.wavelengths_nm[row])) for row in half)


@dataclass(frozen=True)
class FittedResponse:
    """MSI = scale x (`matrix` x HSI) + offset, for m MSI and B HSI bands.

    `matrix` (m, B) is 0 or more, its rows sum to 1, or are 0 where an MSI band follows nothing; `scale` (m,);
    `residual` (m,) is the share of an MSI band's variance at LR that is left, 1 - R^2.
    """

    matrix: Floats
    scale: Floats
    residual: Floats


def sampled_response(response: SpectralResponse, hsi_wavelengths_nm: Sequence[float]) -> Floats:
    """The response (m, B) at the HSI's wavelengths: 0 beyond its own."""
    at = np.asarray(hsi_wavelengths_nm, dtype=np.float64)
    rows = [np.interp(at, response.wavelengths_nm, row, left=0.0, right=0.0) for row in response.values]
    return np.stack(rows)


def srf_matrix(response: SpectralResponse, hsi_wavelengths_nm: Sequence[float]) -> Floats:
    """The (m, B) matrix S with MSI = S x HSI; each row sums to 1 over the HSI bands used.

    Raises InputError when an MSI band sees none of the HSI's bands.
    """
    sampled = sampled_response(response, hsi_wavelengths_nm)
    sums = sampled.sum(axis=1)
    for name, total in zip(response.names, sums, strict=True):
        if total <= 0:
            low, high = min(hsi_wavelengths_nm), max(hsi_wavelengths_nm)
            raise InputError(
                f"MSI band {name} sees none of the HSI's bands ({low:.0f}-{high:.0f} nm): "
                "give the response of a sensor within that range"
            )
    return np.asarray(sampled / sums[:, None])


def gaussian_response(
    centres_nm: Sequence[float], fwhm_nm: Sequence[float], names: Sequence[str] | None = None
) -> SpectralResponse:
    """Gaussian bands from centre wavelengths and FWHM (sigma = FWHM / 2.355), sampled each nm."""
    low = min(c - 2 * f for c, f in zip(centres_nm, fwhm_nm, strict=True))
    high = max(c + 2 * f for c, f in zip(centres_nm, fwhm_nm, strict=True))
    at = np.arange(np.floor(low), np.ceil(high) + 1)
    centres = np.asarray(centres_nm, dtype=np.float64)[:, None]
    sigmas = np.asarray(fwhm_nm, dtype=np.float64)[:, None] / FWHM_PER_SIGMA
    values: NDArray[Any] = np.exp(-0.5 * ((at - centres) / sigmas) ** 2)
    labels = tuple(names) if names is not None else tuple(f"{c:.0f} nm" for c in centres_nm)
    return SpectralResponse(labels, at, values)


def estimate_response(
    hsi: Field,
    msi: Field,
    valid: Mask,
    wavelengths_nm: Sequence[float] | None = None,
    used: Mask | None = None,
) -> FittedResponse:
    """The response that a pair at LR tells: HSI (B, h, w), MSI (m, h, w), where both are `valid` (h, w).

    Least squares with weights of 0 or more, an offset and a penalty on the second differences of the response
    along `wavelengths_nm` (else along the bands). The penalty is the largest whose error, cross-validated
    over two halves of the pair and averaged over the MSI bands, is within 0.1 % of the least. Bands that are
    not `used` (B,), or constant, get weight 0. Needs LEAST_PIXELS valid pixels; raises ValueError below.
    """
    if valid.sum() < LEAST_PIXELS:
        raise ValueError(f"{valid.sum()} valid pixels: {LEAST_PIXELS} or more are needed")
    bands, targets = hsi[:, valid].astype(np.float64), msi[:, valid].astype(np.float64)
    chosen = np.flatnonzero(_varied(bands) & (True if used is None else used))
    matrix = np.zeros((len(targets), len(bands)))
    at = np.asarray(range(len(bands)) if wavelengths_nm is None else wavelengths_nm, np.float64)
    targets = np.where(_varied(targets)[:, None], targets, 0.0)
    if chosen.size:
        roughness = _roughness(at[chosen])
        penalty = _choose_penalty(bands[chosen], targets, _folds(valid), roughness)
        matrix[:, chosen] = _solve(_moments(bands[chosen], targets), roughness, penalty)
    scale = matrix.sum(axis=1)
    left = _share_left(matrix, _moments(bands, targets))
    return FittedResponse(matrix / np.where(scale > 0, scale, 1.0)[:, None], scale, left)


def fit_response(matrix: Floats, hsi: Field, msi: Field, valid: Mask) -> FittedResponse:
    """Fit a known response (m, B), scaled by 0 or more, to a pair at LR: its scale and the share it leaves."""
    sums = matrix.sum(axis=1, keepdims=True)
    rows = np.asarray(matrix / np.where(sums > 0, sums, 1.0), np.float64)
    targets = msi[:, valid].astype(np.float64)
    moments = _moments(hsi[:, valid].astype(np.float64), targets)
    power = np.einsum("mb,bc,mc->m", rows, moments.hsi, rows)
    product = np.einsum("mb,bm->m", rows, moments.both)
    scale = np.where(power > 0, np.maximum(product, 0) / np.where(power > 0, power, 1.0), 0.0)
    return FittedResponse(rows, scale, _share_left(rows * scale[:, None], moments))


@dataclass(frozen=True)
class _Moments:
    """Means of products of values without their means: HSI (B, B), HSI and MSI (B, m), MSI (m,)."""

    hsi: Floats
    both: Floats
    msi: Floats


def _moments(bands: Floats, targets: Floats) -> _Moments:
    count = max(bands.shape[1], 1)
    x = bands - bands.sum(axis=1, keepdims=True) / count
    y = targets - targets.sum(axis=1, keepdims=True) / count
    return _Moments(x @ x.T / count, x @ y.T / count, np.square(y).sum(axis=1) / count)


def _varied(values: Floats) -> Mask:
    """The rows of (n, pixels) that are not of one value, but for rounding."""
    return np.asarray(np.ptp(values, axis=1) > 1e-6 * np.abs(values).max(axis=1))


def _share_left(weights: Floats, moments: _Moments) -> Floats:
    """The share of each MSI band's variance that weights (m, B) leave; 1 where it has none."""
    rest = _unexplained(weights, moments)
    lit = moments.msi > 0
    return np.where(lit, np.maximum(rest, 0) / np.where(lit, moments.msi, 1.0), 1.0)


def _unexplained(weights: Floats, moments: _Moments) -> Floats:
    """Each MSI band's mean squared error (m,), its offset the best one."""
    explained = 2 * np.einsum("mb,bm->m", weights, moments.both)
    return np.asarray(moments.msi - explained + np.einsum("mb,bc,mc->m", weights, moments.hsi, weights))


def _folds(valid: Mask) -> Mask:
    """One half of the valid pixels (n,): every other block, or every other pixel where that is no half."""
    rows, cols = np.nonzero(valid)
    height, width = valid.shape
    fold = (rows * _BLOCKS // height + cols * _BLOCKS // width) % 2 == 1
    halves = 0.25 <= float(fold.mean()) <= 0.75
    return np.asarray(fold if halves else np.arange(rows.size) % 2 == 1)


def _choose_penalty(bands: Floats, targets: Floats, fold: Mask, roughness: Floats) -> float:
    halves = [_moments(bands[:, half], targets[:, half]) for half in (fold, ~fold)]
    errors = np.zeros((len(_PENALTIES), len(targets)))
    for seen, unseen in (halves, halves[::-1]):
        errors += [_unexplained(_solve(seen, roughness, penalty), unseen) for penalty in _PENALTIES]
    least = errors.min(axis=0)
    lit = least > 0
    if not lit.any():
        return _PENALTIES[0]
    curve = (errors[:, lit] / least[lit]).mean(axis=1)
    return _PENALTIES[int(np.flatnonzero(curve <= _AS_GOOD * curve.min()).max())]


def _solve(moments: _Moments, roughness: Floats, penalty: float) -> Floats:
    """Weights (m, B), 0 or more, of least squared error plus penalised roughness."""
    size = len(moments.hsi)
    unit = float(np.trace(moments.hsi)) / size or 1.0
    equations = moments.hsi / unit + penalty * roughness + _RIDGE * np.eye(size)
    factor = np.linalg.cholesky(equations).T
    sides = np.linalg.solve(factor.T, moments.both / unit)
    return np.stack([_non_negative(factor, side) for side in sides.T])


def _non_negative(factor: Field, side: Field) -> Floats:
    # A third of a second to load, and few pairs need their response estimated.
    from scipy.optimize import lsq_linear, nnls

    try:
        return np.asarray(nnls(factor, side, maxiter=_ITERATIONS * len(factor))[0])
    except RuntimeError:
        # The active set may go round in circles on equations that are nearly singular.
        return np.asarray(lsq_linear(factor, side, (0, np.inf)).x)


def _roughness(at: Floats) -> Floats:
    """The integral of the squared second derivative along `at`, as a (B, B) form; unit: the usual spacing."""
    order = np.argsort(at, kind="stable")
    steps = np.diff(at[order])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0
    steps = np.maximum(steps / usual, _NARROWEST)
    before, after = steps[:-1], steps[1:]
    rows = np.arange(len(before))
    second = np.zeros((len(before), len(at)))
    weight = np.sqrt((before + after) / 2)
    second[rows, order[:-2]] = weight * 2 / (before * (before + after))
    second[rows, order[1:-1]] = -weight * 2 / (before * after)
    second[rows, order[2:]] = weight * 2 / (after * (before + after))
    return second.T @ second
