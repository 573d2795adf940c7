"""The table of full-reference metrics: a new one is a record here and its function.

L is the stated peak, r the resolution ratio; sums run in float64, nothing is quantised, and a pixel counts
only where all compared bands of both cubes are valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emrdiff_cli.core.metrics import hypercomplex, quality_index, similarity
from emrdiff_cli.core.metrics.decibels import psnr_db
from emrdiff_cli.core.metrics.metric import Metric
from emrdiff_cli.core.metrics.pixelwise import Cube, Floats, PixelSums
from emrdiff_cli.core.metrics.windows import Mask

_NEAR_ZERO = 1e-6  # share of L under which a band's mean makes its relative error meaningless


class WindowScore(Protocol):
    """A score of windows wholly inside valid data, summed tile by tile; `count` are the windows so far."""

    count: int

    def update(self, fused: Cube, reference: Cube, valid: Mask, core: tuple[int, int]) -> None:
        """Score the windows that start in the upper left `core` of a tile (bands, rows, columns)."""

    def means(self) -> Floats:
        """Mean over the windows by band, or a single one for all bands; NaN without a window."""


@dataclass(frozen=True)
class Windows:
    """Windows of a metric: `start` begins their score for a number of bands and L.

    They reach `reach` pixels beyond a tile's core; results give their number in a band under `counted`.
    `needs_peak`: L must be known before the first tile.
    """

    start: Callable[[int, float], WindowScore]
    reach: int
    counted: str
    needs_peak: bool = False


@dataclass(frozen=True)
class Evidence:
    """Sums over the valid pixels, the means of the metric's own windows (empty without), L, and r if known."""

    sums: PixelSums
    window_means: Floats
    peak: float
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class FullReferenceMetric(Metric):
    """A metric of a fused cube against a reference: `by_band` (bands,), `overall` or both, NaN where undefined.

    Without `overall` it is the mean over the bands, without `by_band` it does not exist for one band.
    `undefined` and `infinite` are the reasons a user is told; a metric that is not by band tells it of NaN alone.
    """

    by_band: Callable[[Evidence], Floats] | None = None
    overall: Callable[[Evidence], float] | None = None
    undefined: str | None = None
    infinite: str | None = None
    needs_ratio: bool = False
    windows: Windows | None = None

    def value(self, evidence: Evidence) -> float:
        """The score over all bands; NaN where it is undefined."""
        if self.overall is not None:
            return self.overall(evidence)
        return math.nan if self.by_band is None else mean(self.by_band(evidence))


def mean(values: Floats) -> float:
    """Mean of the defined, finite values; infinity where there are only identical bands, else NaN."""
    finite = values[np.isfinite(values)]
    if finite.size:
        return float(finite.mean())
    return math.inf if np.isinf(values).any() else math.nan


def _mse(seen: Evidence) -> Floats:
    return np.asarray(seen.sums.squared_error / seen.sums.count)


def _rmse(seen: Evidence) -> Floats:
    return np.sqrt(_mse(seen))


def _overall_mse(seen: Evidence) -> float:
    return mean(_rmse(seen) ** 2)


def _psnr_band_peak(seen: Evidence) -> Floats:
    top = seen.sums.reference_maximum
    return np.asarray(psnr_db(np.where(top > 0, top, math.nan), _mse(seen)), np.float64)


def _ergas(seen: Evidence) -> Floats:
    level = np.abs(seen.sums.mean[1])
    relative = np.where(level > _NEAR_ZERO * seen.peak, _rmse(seen) / level, math.nan)
    return np.asarray(relative * (math.nan if seen.ratio is None else 100 / seen.ratio))


def _correlation(seen: Evidence) -> Floats:
    return np.asarray(seen.sums.co / np.sqrt(seen.sums.m2[0] * seen.sums.m2[1]))


def _window_means(seen: Evidence) -> Floats:
    return seen.window_means


_TABLE = (
    FullReferenceMetric(
        key="psnr_db",
        name="PSNR, mean of bands",
        unit="dB",
        better="higher",
        convention="mean over bands of 10 log10(L^2 / MSE_b)",
        meaning="how small the errors are against the peak, band by band: 6 dB more is half the error",
        decimals=2,
        by_band=lambda seen: np.asarray(psnr_db(seen.peak, _mse(seen)), np.float64),
        infinite="identical in both cubes",
    ),
    FullReferenceMetric(
        key="psnr_global_db",
        name="PSNR, one MSE",
        unit="dB",
        better="higher",
        convention="10 log10(L^2 / MSE), one MSE over the cube",
        meaning="how small the errors are against the peak, in one sum, where large ones decide; more is better",
        decimals=2,
        overall=lambda seen: float(psnr_db(seen.peak, _overall_mse(seen))),
    ),
    FullReferenceMetric(
        key="psnr_band_peak_db",
        name="PSNR, peak by band",
        unit="dB",
        better="higher",
        convention="mean over bands of 10 log10(L_b^2 / MSE_b), L_b the band's own maximum of the reference",
        meaning="how small they are against each band's own maximum, dark bands too; more is better",
        decimals=2,
        by_band=_psnr_band_peak,
        undefined="the reference's maximum is not above 0",
    ),
    FullReferenceMetric(
        key="sam_deg",
        name="SAM",
        unit="degrees",
        better="lower",
        convention="mean over pixels, both norms > 0, of arccos(clip(cos, -1, 1)) in degrees",
        meaning="the mean angle between spectra: errors of their shape, whatever their brightness; 0 is none",
        decimals=2,
        overall=lambda seen: seen.sums.mean_angle(),
        undefined="no pixel has a spectrum other than 0 in both cubes",
    ),
    FullReferenceMetric(
        key="ergas",
        name="ERGAS",
        unit="",
        better="lower",
        convention="(100 / r) sqrt(mean over bands of (RMSE_b / mean of the reference's band b)^2)",
        meaning="the errors relative to each band's mean, in percent, divided by the ratio; 0 is none",
        decimals=3,
        by_band=_ergas,
        overall=lambda seen: math.sqrt(mean(_ergas(seen) ** 2)),
        undefined="the reference's mean is near 0",
        needs_ratio=True,
    ),
    FullReferenceMetric(
        key="ssim",
        name="SSIM",
        unit="",
        better="higher",
        convention="mean over bands; 11 x 11 Gaussian window, sigma 1.5, K 0.01 and 0.03, range L, valid area",
        meaning="how alike local structure is in the bands, in small windows; 1 is identical",
        decimals=4,
        by_band=_window_means,
        undefined="no 11 x 11 window lies wholly inside valid data",
        windows=Windows(similarity.Similarity, similarity.WINDOW - 1, "ssim_windows", needs_peak=True),
    ),
    FullReferenceMetric(
        key="uiqi",
        name="UIQI",
        unit="",
        better="higher",
        convention="mean over bands of Wang and Bovik's index in 32 x 32 windows at every pixel, valid area",
        meaning="how alike local mean, contrast and structure are, in larger windows; 1 is identical",
        decimals=4,
        by_band=_window_means,
        undefined="no 32 x 32 window lies wholly inside valid data",
        windows=Windows(
            lambda bands, peak: quality_index.QualityIndex(bands), quality_index.WINDOW - 1, "uiqi_windows"
        ),
    ),
    FullReferenceMetric(
        key="q2n",
        name="Q2n",
        unit="",
        better="higher",
        convention="hypercomplex quality index in whole 32 x 32 blocks side by side from the upper left",
        meaning="how alike blocks are, a pixel's whole spectrum taken as one number; 1 is identical",
        decimals=4,
        overall=lambda seen: float(seen.window_means[0]),
        undefined="no 32 x 32 block lies wholly inside valid data",
        windows=Windows(lambda bands, peak: hypercomplex.HypercomplexIndex(), 0, "q2n_blocks"),
    ),
    FullReferenceMetric(
        key="cc",
        name="CC",
        unit="",
        better="higher",
        convention="mean over bands of the correlation coefficient",
        meaning="how well the bands' patterns follow the reference's, whatever gain and offset; 1 is exactly",
        decimals=4,
        by_band=_correlation,
        undefined="constant in one of the cubes",
    ),
    FullReferenceMetric(
        key="rmse",
        name="RMSE",
        unit="data units",
        better="lower",
        convention="over the cube, in data units",
        meaning="the usual size of an error, in the units of the data; 0 is none",
        by_band=_rmse,
        overall=lambda seen: math.sqrt(_overall_mse(seen)),
    ),
)
METRICS: Mapping[str, FullReferenceMetric] = {metric.key: metric for metric in _TABLE}
"""Every metric by its key, in the order in which scores are shown."""
