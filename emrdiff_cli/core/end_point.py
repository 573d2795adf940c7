"""The end of the chain: an observation of the HR-HSI made from both inputs, without training.

`bicubic`: the LR-HSI upsampled (the paper's). `glp`: plus the MSI's detail through one least-squares map of
the scene (GLP hypersharpening, Selva et al. 2015). `glp-local`: plus the detail that a regression in Gaussian
windows around each LR pixel explains, then back-projection. `kriging`: in its place, what area-to-point kriging
over the ground and the MSI's colour finds (core.kriging). All work on k channels: bands, or coefficients of a
subspace. Everything scene-wide is a field at LR resolution; a tile is evaluated from those alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.config import EndPoint
from emrdiff_cli.core.colour_kernel import ColourKernel
from emrdiff_cli.core.kriging import kriged_by_colour
from emrdiff_cli.core.resampling import Taps, apply_taps, chain
from emrdiff_cli.errors import InputError

Method = EndPoint
Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

WINDOW_SIGMAS = (0.75, 1.0, 1.5, 2.5)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_BACK_PROJECTIONS = 3
_RANK_TOLERANCE = 1e-6
_ROUNDING = 1e-6  # of the mean: a smaller spread is float32 rounding
_CHUNK = 16  # channels whose window moments are held at once


@dataclass(frozen=True)
class LocalWindow:
    """The local regression's Gaussian window (sigma in LR pixels) and ridge (share of the MSI's variance)."""

    sigma: float
    ridge: float


@dataclass(frozen=True)
class EndPointFields:
    """What a tile's end point is computed from; all (..., h, w) at LR resolution.

    `base` (k) is upsampled as it is; `slopes` (k, m) and `local_slopes` (k, m, h, w) map the detail that
    the MSI lost at LR, Z - (Z down) up, with `msi` (m) = Z down; `unexplained` (k) is what the scene-wide map
    leaves of the LR-HSI. Kriged: the parts of the kernel in colour, the weights of its functions, the MSI's
    `context` for them, and `colour_at_lr` (k), what they put in, degraded.
    """

    base: Field
    msi: Field
    slopes: NDArray[np.float32]
    unexplained: Field
    local_slopes: Field | None = None
    kernel_axes: Field | None = None
    kernel_landmarks: Field | None = None
    kernel_level: Field | None = None
    kernel_weights: Field | None = None
    context: Field | None = None
    colour_at_lr: Field | None = None


@dataclass(frozen=True)
class EndPointTile:
    """A tile's end point, the detail in it and the part of that which is not the scene's map's; (k, H, W) each.

    `msi_detail` (m, H, W) is what the MSI lost at LR; `refinement` what an archive's detail filter adds, None
    without one.
    """

    values: Field
    detail: Field
    local_detail: Field
    msi_detail: Floats
    refinement: Field | None = None

    @property
    def refined(self) -> Field:
        """The end point with its refinement."""
        return self.values if self.refinement is None else self.values + self.refinement


def regress(lr: Floats, msi: Floats, valid: NDArray[np.bool_], method: Method) -> EndPointFields:
    """Fit the scene-wide map of an LR image (k, h, w) on the MSI at LR (m, h, w) over the valid pixels.

    For `bicubic` the slopes are zero, but what they would leave unexplained is still reported.
    Raises InputError with too few valid LR pixels to fit.
    """
    bands = len(msi)
    needed = 2 * (bands + 1)
    if valid.sum() < needed:
        raise InputError(
            f"{valid.sum()} valid LR pixels lie wholly on valid MSI pixels: {needed} or more are needed to relate "
            f"{bands} MSI bands to the LR-HSI; look at the overlap and the nodata of both with `emrdiff check`"
        )
    slopes, intercept = fit_linear(msi[:, valid], lr[:, valid])
    explained = np.tensordot(slopes, msi, axes=1) + intercept[:, None, None]
    used = np.zeros_like(slopes) if method == "bicubic" else slopes
    return EndPointFields(
        base=np.asarray(lr, np.float32),
        msi=np.asarray(msi, np.float32),
        slopes=used,
        unexplained=(lr - explained).astype(np.float32),
    )


def fit_linear(inputs: Floats, targets: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least-squares slopes (k, m) and intercepts (k,) of targets (k, n) on inputs (m, n); constant inputs get 0."""
    mean, spread = _mean_and_spread(inputs)
    scaled = (inputs.astype(np.float64) - mean[:, None]) / spread[:, None]
    centre = targets.mean(axis=1, dtype=np.float64)
    solution, *_ = np.linalg.lstsq(scaled.T, (targets - centre[:, None]).T, rcond=_RANK_TOLERANCE)
    slopes = solution.T / spread
    return slopes.astype(np.float32), (centre - slopes @ mean).astype(np.float32)


def _mean_and_spread(values: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each row; infinite for a row that is constant but for rounding."""
    mean = values.mean(axis=1, dtype=np.float64)
    spread = values.std(axis=1, dtype=np.float64)
    return mean, np.where(spread > _ROUNDING * np.abs(mean), spread, np.inf)


def local_regression(
    unexplained: Floats, msi: Floats, valid: NDArray[np.bool_], window: LocalWindow
) -> Field:
    """Slopes (k, m, h, w) of the unexplained part on the MSI's anomalies, in a window around each LR pixel."""
    moments = _MsiMoments(msi, valid, window)
    chunks = [
        moments.slopes(unexplained[start : start + _CHUNK]) for start in range(0, len(unexplained), _CHUNK)
    ]
    return np.concatenate(chunks).astype(np.float32)


def back_projected(
    fields: EndPointFields,
    local_detail_at_lr: Floats,
    up: tuple[Taps, Taps],
    down: tuple[Taps, Taps],
    valid: NDArray[np.bool_],
) -> EndPointFields:
    """Add to the base what three rounds of G <- G + (Y - G down) up sum up to.

    `local_detail_at_lr` (k, h, w) is the detail that windows put in, degraded. Only that needs the HR image;
    the rounds themselves run at LR, since degrading what was upsampled is one map from LR to LR.
    """
    rows, cols = (chain(first, second) for first, second in zip(up, down, strict=True))

    def there_and_back(image: Floats) -> Floats:
        return apply_taps(image, rows, cols)

    lost = fields.msi - there_and_back(fields.msi)
    degraded = there_and_back(fields.base) + np.tensordot(fields.slopes, lost, axes=1) + local_detail_at_lr
    remainder = np.where(valid, fields.base - degraded, 0.0).astype(np.float32)
    correction = np.zeros_like(remainder)
    for _ in range(_BACK_PROJECTIONS):
        correction += remainder
        remainder = np.where(valid, remainder - there_and_back(remainder), 0.0).astype(np.float32)
    return replace(fields, base=fields.base + correction)


def evaluate_tile(fields: EndPointFields, hr_msi: Floats, rows: Taps, cols: Taps) -> EndPointTile:
    """The end point of the tile that `rows` and `cols` (LR -> HR, the tile's part) cover; hr_msi is (m, H, W)."""
    detail = hr_msi - apply_taps(fields.msi, rows, cols)
    local = local_detail(fields, detail, rows, cols)
    if fields.colour_at_lr is not None:
        local += colour_prediction(fields, hr_msi, rows, cols) - apply_taps(fields.colour_at_lr, rows, cols)
    injected = np.tensordot(fields.slopes, detail, axes=1) + local
    values = apply_taps(fields.base, rows, cols) + injected
    return EndPointTile(values.astype(np.float32), injected.astype(np.float32), local, detail)


def local_detail(fields: EndPointFields, detail: Floats, rows: Taps, cols: Taps) -> Field:
    """What the local slopes make of the MSI's detail (m, H, W): (k, H, W), zero without slopes."""
    result = np.zeros((len(fields.base), *detail.shape[1:]), np.float32)
    if fields.local_slopes is not None:
        for band, lost in enumerate(detail):
            result += apply_taps(fields.local_slopes[:, band], rows, cols) * lost
    return result


def colour_prediction(fields: EndPointFields, hr_msi: Floats, rows: Taps, cols: Taps) -> Field:
    """What goes with an HR pixel's colour (k, H, W); zero unless kriged."""
    axes, landmarks, level = fields.kernel_axes, fields.kernel_landmarks, fields.kernel_level
    weights, context = fields.kernel_weights, fields.context
    if axes is None or landmarks is None or level is None or weights is None or context is None:
        return np.zeros((len(fields.base), *hr_msi.shape[1:]), np.float32)
    return kriged_by_colour(ColourKernel(axes, landmarks, level), weights, context, hr_msi, rows, cols)


class _MsiMoments:
    """Weighted window moments of the MSI around each LR pixel, and the regression on them."""

    def __init__(self, msi: Floats, valid: NDArray[np.bool_], window: LocalWindow) -> None:
        self._window = window
        self._valid = valid.astype(np.float64)
        mean, spread = _mean_and_spread(msi[:, valid])
        varied = np.isfinite(spread)[:, None, None]
        self._centred = np.where(valid & varied, msi - mean[:, None, None], 0.0)
        self._total = np.maximum(self._mean(np.ones_like(self._valid)), 1e-12)
        self.mean = np.stack([self._mean(z) for z in self._centred]) / self._total
        count = len(msi)
        covariance = np.empty((*valid.shape, count, count))
        for i in range(count):
            for j in range(i + 1):
                product = self._mean(self._centred[i] * self._centred[j]) / self._total
                covariance[..., i, j] = covariance[..., j, i] = product - self.mean[i] * self.mean[j]
        variance = np.where(np.isfinite(spread), spread, 1.0) ** 2
        self._ridged = covariance + window.ridge * np.diag(variance)

    def slopes(self, values: Floats) -> Floats:
        """(k, m, h, w): the ridge regression of values (k, h, w) on the MSI's anomalies."""
        means = np.stack([self._mean(v) for v in values]) / self._total
        products = np.stack(
            [
                [self._mean(z * v) / self._total - mz * mv for v, mv in zip(values, means, strict=True)]
                for z, mz in zip(self._centred, self.mean, strict=True)
            ]
        )
        solved: Floats = np.linalg.solve(self._ridged, products.transpose(2, 3, 0, 1))
        return np.asarray(solved.transpose(3, 2, 0, 1))

    def _mean(self, values: Floats) -> Floats:
        weighted = values * self._valid
        return np.asarray(
            ndimage.gaussian_filter(weighted, self._window.sigma, mode="constant", truncate=3.0)
        )
