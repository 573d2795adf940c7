"""Classical hyperspectral-multispectral fusion, from the papers: SFIM, CNMF and HySure.

All take the pair as float arrays in any one unit, the LR-HSI Y (B, h, w) and the HR-MSI Z (m, H, W), and the
maps between their grids; those that use the spectral response take it as R (m, B), rows summing to one. They
return the HR-HSI X (B, H, W) in the same unit. The degradation is the caller's own (`resampling.down`), edges
included: nothing is taken as circular. No pixel may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from emrdiff_cli.core.sensor.observation import Resampling
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]
Step = Callable[[Field], Field]

_GAIN_LIMIT = 10.0  # of SFIM's modulation, which has no bound where the synthetic band is dark
_DARK = 1e-3  # share of a synthetic band's mean below which nothing is modulated
_TINY = 1e-9  # keeps divisors positive
_FLOOR = 1e-6  # multiplicative updates never leave zero, so none starts there


def sfim_hs(lr_hsi: Floats, hr_msi: Floats, resampling: Resampling) -> Field:
    """Smoothing-filter-based intensity modulation for hypersharpening: X_b = (Y_b up) P_b / (P_b down up).

    The modulation is Liu's (Int. J. Remote Sensing 21, 2000); P_b, the combination of the MSI's bands that is
    nearest to band b at LR in the least-squares sense, is the synthetic band of Selva et al. (IEEE JSTARS 8,
    2015). Gains are limited to 0..10, and 1 where P_b is all but dark.
    """
    at_lr = apply_taps(hr_msi, *resampling.down)
    weights, *_ = np.linalg.lstsq(_pixels(at_lr).T, _pixels(lr_hsi).T, rcond=None)
    synthetic = np.tensordot(weights.T, hr_msi, axes=1)
    smooth = apply_taps(np.tensordot(weights.T, at_lr, axes=1), *resampling.up)
    dark = np.maximum(_DARK * np.abs(synthetic).mean(axis=(1, 2), keepdims=True), _TINY)
    gain = np.where(smooth > dark, synthetic / np.maximum(smooth, dark), 1.0)
    fused = apply_taps(lr_hsi, *resampling.up) * np.clip(gain, 0.0, _GAIN_LIMIT)
    return np.asarray(fused, np.float32)


def cnmf(
    lr_hsi: Floats,
    hr_msi: Floats,
    srf: Floats,
    resampling: Resampling,
    *,
    endmembers: int = 30,
    sum_to_one: float = 0.01,
    inner: int = 200,
    outer: int = 10,
    tolerance: float = 0.01,
    seed: int = 0,
) -> Field:
    """Coupled non-negative matrix factorisation (Yokoya, Yairi and Iwasaki, IEEE TGRS 50, 2012): X = W H.

    Y = W (H down) is unmixed for the endmembers W (B, k), then Z = (R W) H for the abundances H (k, H, W), in
    turn, each by `inner` multiplicative updates from where the other left off. The first W is found by VCA
    (`seed`), the first H is upsampled. `sum_to_one` weighs the abundances' sum, in units of the LR-HSI's
    maximum. Stops when a turn lessens the misfit to both images by less than `tolerance` of it, at most after
    `outer` turns. R W stays as it is while H is found, R being known. Negative values are taken as zero.
    """
    lr, msi, unit = _in_unit(np.maximum(lr_hsi, 0), np.maximum(hr_msi, 0))
    response = srf.astype(np.float32)
    y, z = _pixels(lr), _pixels(msi)
    spectra = np.maximum(_vca(y, min(endmembers, *y.shape), seed), _FLOOR)
    count = spectra.shape[1]
    coarse = np.full((count, y.shape[1]), 1 / count, np.float32)
    coarse = _abundances(y, spectra, coarse, sum_to_one, inner)
    spectra, coarse = _unmixed(y, spectra, coarse, sum_to_one, inner)
    fine = _pixels(apply_taps(coarse.reshape(count, *lr.shape[1:]), *resampling.up))
    fine = np.maximum(fine, _FLOOR)
    misfit = np.inf
    for turn in range(outer):
        if turn:
            spectra, coarse = _unmixed(y, spectra, coarse, sum_to_one, inner)
        fine = _abundances(z, response @ spectra, fine, sum_to_one, inner)
        coarse = _pixels(apply_taps(fine.reshape(count, *msi.shape[1:]), *resampling.down))
        last = misfit
        misfit = _rms(y - spectra @ coarse) + _rms(z - response @ spectra @ fine)
        if misfit >= (1 - tolerance) * last:
            break
    return np.asarray(spectra @ fine * unit, np.float32).reshape(-1, *msi.shape[1:])


def hysure(
    lr_hsi: Floats,
    hr_msi: Floats,
    srf: Floats,
    resampling: Resampling,
    *,
    subspace: int = 15,
    smoothness: float = 1e-4,
    msi_weight: float = 1.0,
    penalty: float = 1e-3,
    iterations: int = 200,
    tolerance: float = 1e-5,
) -> Field:
    """HySure (Simoes, Bioucas-Dias, Almeida and Chanussot, IEEE TGRS 53, 2015): X = E V in a subspace E (B, p).

    E are the LR-HSI's leading singular vectors. V (p, H, W) minimises 1/2 |Y - E (V down)|^2 + msi_weight/2
    |Z - R E V|^2 + smoothness * vector total variation of V, values in units of the LR-HSI's maximum. Solved
    by the paper's SALSA (ADMM in copies of V and of its gradient, with `penalty`), stopped when V changes by
    less than `tolerance` of itself. Every step is exact: the paper's FFTs, which take the scene as circular,
    give way to the singular vectors of the degradation's two axes, and to cosine transforms for the gradient
    (zero across the edges).
    """
    lr, msi, unit = _in_unit(lr_hsi, hr_msi)
    basis = _leading_vectors(_pixels(lr), subspace)
    coefficients = np.tensordot(basis.T, lr, axes=1)
    fit_hsi = _hsi_step(coefficients, *resampling.down, penalty)
    fit_msi = _msi_step(msi, srf.astype(np.float32) @ basis, msi_weight, penalty)
    merge = _merge_step(*msi.shape[1:])
    v = np.asarray(apply_taps(coefficients, *resampling.up), np.float32)
    slope = _gradient(v)
    hsi_dual, msi_dual, slope_dual = np.zeros_like(v), np.zeros_like(v), np.zeros_like(slope)
    for _ in range(iterations):
        by_hsi = fit_hsi(v - hsi_dual)
        by_msi = fit_msi(v - msi_dual)
        by_slope = _shrunk(slope - slope_dual, smoothness / penalty)
        last = v
        v = merge(by_hsi + hsi_dual + by_msi + msi_dual + _gradient_adjoint(by_slope + slope_dual))
        slope = _gradient(v)
        hsi_dual += by_hsi - v
        msi_dual += by_msi - v
        slope_dual += by_slope - slope
        if np.linalg.norm(v - last) <= tolerance * np.linalg.norm(v):
            break
    return np.asarray(np.tensordot(basis, v, axes=1) * unit, np.float32)


def _in_unit(lr_hsi: Floats, hr_msi: Floats) -> tuple[Field, Field, np.float32]:
    """Both images in units of the LR-HSI's maximum, and that maximum."""
    unit = np.float32(max(float(np.abs(lr_hsi).max()), _TINY))
    return (lr_hsi / unit).astype(np.float32), (hr_msi / unit).astype(np.float32), unit


def _pixels(image: Floats) -> Floats:
    """(k, H, W) -> (k, H W)."""
    return image.reshape(len(image), -1)


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _leading_vectors(pixels: Floats, count: int) -> Field:
    """(B, count): the left singular vectors of pixels (B, n) with the largest singular values."""
    vectors, *_ = np.linalg.svd(pixels.astype(np.float64) @ pixels.T)
    return np.asarray(vectors[:, :count], np.float32)


def _vca(pixels: Floats, count: int, seed: int) -> Field:
    """Vertex component analysis (Nascimento and Bioucas-Dias, IEEE TGRS 43, 2005) of pixels (B, n): (B, count).

    In its form for a high signal-to-noise ratio: pixels are projected on the signal's subspace, then on the
    plane at right angles to their mean, where those of one endmember's shading coincide.
    """
    rng = np.random.default_rng(seed)
    reduced = _leading_vectors(pixels, count).T @ pixels
    along_mean = reduced.mean(axis=1) @ reduced
    projected = reduced / np.maximum(along_mean, max(1e-6 * along_mean.max(), _TINY))
    found = np.zeros((count, count))
    found[-1, 0] = 1.0
    chosen = []
    for number in range(count):
        direction = rng.normal(size=count)
        direction -= found @ (np.linalg.pinv(found) @ direction)
        chosen.append(int(np.abs(direction @ projected).argmax()))
        found[:, number] = projected[:, chosen[-1]]
    return np.asarray(pixels[:, chosen], np.float32)


def _unmixed(
    pixels: Floats, spectra: Floats, abundances: Floats, sum_to_one: float, updates: int
) -> tuple[Floats, Floats]:
    """Spectra (B, k) and abundances (k, n) after alternating updates of both towards pixels (B, n)."""
    for _ in range(updates):
        shares = abundances @ abundances.T
        spectra = spectra * (pixels @ abundances.T) / (spectra @ shares + _TINY)
        abundances = _abundances(pixels, spectra, abundances, sum_to_one, 1)
    return spectra, abundances


def _abundances(
    pixels: Floats, spectra: Floats, abundances: Floats, sum_to_one: float, updates: int
) -> Floats:
    """Abundances (k, n) after multiplicative updates (Lee and Seung, 2001) towards pixels (B, n).

    The sum to one is one more band, which is `sum_to_one` in every pixel and endmember.
    """
    target = spectra.T @ pixels + sum_to_one**2
    gram = spectra.T @ spectra + sum_to_one**2
    for _ in range(updates):
        abundances = abundances * target / (gram @ abundances + _TINY)
    return abundances


def _hsi_step(coefficients: Field, rows: Taps, cols: Taps, penalty: float) -> Step:
    """The V nearest to a given one that fits the LR-HSI's coefficients: minimises the first term + penalty/2 |.|^2.

    E is orthonormal and V down is A V C^T, a matrix for each axis, so that the singular vectors of A and C
    diagonalise the step.
    """
    (row_vectors, row_gains), (col_vectors, col_gains) = _right_singular(rows), _right_singular(cols)
    gains = row_gains[:, None] ** 2 * col_gains**2
    share = gains / (gains + np.float32(penalty))
    a, c = (axis.matrix(0, axis.n_in).astype(np.float32) for axis in (rows, cols))
    pull = a.T @ coefficients @ c / np.float32(penalty)

    def step(near: Field) -> Field:
        aim = near + pull
        seen = row_vectors @ aim @ col_vectors.T
        return np.asarray(aim - row_vectors.T @ (share * seen) @ col_vectors, np.float32)

    return step


def _right_singular(axis: Taps) -> tuple[Field, Field]:
    """Right singular vectors (n_out, n_in) of one axis of the degradation, and its singular values."""
    _, gains, vectors = np.linalg.svd(axis.matrix(0, axis.n_in), full_matrices=False)
    return vectors.astype(np.float32), gains.astype(np.float32)


def _msi_step(msi: Field, response: Floats, weight: float, penalty: float) -> Step:
    """The V nearest to a given one that fits the MSI: minimises the second term + penalty/2 |.|^2."""
    normal = weight * response.T @ response + penalty * np.eye(response.shape[1])
    inverse = np.linalg.inv(normal)
    pull = np.tensordot((weight * inverse @ response.T).astype(np.float32), msi, axes=1)
    keep = (penalty * inverse).astype(np.float32)
    return lambda near: np.asarray(pull + np.tensordot(keep, near, axes=1), np.float32)


def _merge_step(height: int, width: int) -> Step:
    """Solves 2 V + (gradient adjoint)(gradient) V = given, which the cosine transform diagonalises."""
    rows, cols = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in (height, width))
    divisor = (2 + rows[:, None] + cols).astype(np.float32)

    def step(given: Field) -> Field:
        spectrum = dctn(given, axes=(1, 2), norm="ortho") / divisor
        return np.asarray(idctn(spectrum, axes=(1, 2), norm="ortho"), np.float32)

    return step


def _gradient(image: Field) -> Field:
    """(2, p, H, W): differences to the next row and to the next column, zero past the last."""
    result = np.zeros((2, *image.shape), np.float32)
    np.subtract(image[:, 1:], image[:, :-1], out=result[0, :, :-1])
    np.subtract(image[:, :, 1:], image[:, :, :-1], out=result[1, :, :, :-1])
    return result


def _gradient_adjoint(slope: Field) -> Field:
    """(p, H, W): the transposed gradient of (2, p, H, W)."""
    result = np.zeros(slope.shape[1:], np.float32)
    result[:, 1:] += slope[0, :, :-1]
    result[:, :-1] -= slope[0, :, :-1]
    result[:, :, 1:] += slope[1, :, :, :-1]
    result[:, :, :-1] -= slope[1, :, :, :-1]
    return result


def _shrunk(slope: Field, threshold: float) -> Field:
    """Vector soft threshold: each pixel's gradients, over all channels and both directions, shortened as one."""
    length = np.sqrt(np.square(slope).sum(axis=(0, 1)))
    kept = np.maximum(1 - threshold / np.maximum(length, _TINY), 0)
    return np.asarray(slope * kept, np.float32)
