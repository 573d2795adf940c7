"""The table of metrics of a fused raster against its inputs: a new one is a record here and its function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from emrdiff_cli.core.metrics.cube import Scores
from emrdiff_cli.core.metrics.metric import Metric


@dataclass(frozen=True)
class Agreement:
    """Figures that the metrics follow from: the scores at LR, D_sR by MSI band, and the SRF's RMSE (NaN: none)."""

    at_lr: Scores
    d_sr: tuple[float | None, ...]
    srf_rmse: float

    @property
    def d_lambda_k(self) -> float | None:
        """1 - Q2n at LR; None where that is undefined."""
        q2n = self.at_lr.overall["q2n"]
        return None if q2n is None else 1 - q2n

    @property
    def d_sr_mean(self) -> float | None:
        """Mean of D_sR over the MSI bands that have one; None without any."""
        known = [value for value in self.d_sr if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def hqnr_msi(self) -> float | None:
        """(1 - D_lambda) (1 - D_sR), 1 for no distortion; None where either is undefined."""
        spectral, spatial = self.d_lambda_k, self.d_sr_mean
        return None if spectral is None or spatial is None else (1 - spectral) * (1 - spatial)


@dataclass(frozen=True, kw_only=True)
class ConsistencyMetric(Metric):
    """A metric of a fused raster against its inputs; `value` is None where it is undefined."""

    value: Callable[[Agreement], float | None]


_TABLE = (
    ConsistencyMetric(
        key="spectral_rmse",
        name="spectral: RMSE at LR",
        unit="data units",
        better="lower",
        convention="RMSE over the common good bands, the fused cube through the PSF against the LR-HSI",
        meaning="the usual size of what the cube, seen as the LR-HSI sees, differs from it by; 0 is none",
        value=lambda seen: seen.at_lr.overall["rmse"],
    ),
    ConsistencyMetric(
        key="spectral_sam_deg",
        name="spectral: SAM at LR",
        unit="degrees",
        better="lower",
        convention="mean spectral angle in degrees, the fused cube through the PSF against the LR-HSI",
        meaning="the mean angle between the LR-HSI's spectra and the cube's, seen as the LR-HSI sees; 0 is none",
        decimals=2,
        value=lambda seen: seen.at_lr.overall["sam_deg"],
    ),
    ConsistencyMetric(
        key="d_lambda_k",
        name="spectral: D_lambda_K, 1 - Q2n at LR",
        unit="",
        better="lower",
        convention="1 - Q2n of the fused cube through the PSF against the LR-HSI, 32 x 32 blocks of LR pixels",
        meaning="how unlike the LR-HSI and the cube, seen as it sees, are in blocks of all bands; 0 is identical",
        decimals=4,
        value=lambda seen: seen.d_lambda_k,
    ),
    ConsistencyMetric(
        key="d_sr_mean",
        name="spatial: mean D_sR",
        unit="",
        better="lower",
        convention="mean over MSI bands of 1 - R^2, each regressed on the fused bands under its response",
        meaning="the share of the MSI's variance that the fused bands under it do not have; 0 is none",
        decimals=4,
        value=lambda seen: seen.d_sr_mean,
    ),
    ConsistencyMetric(
        key="srf_rmse",
        name="SRF: RMSE against the MSI",
        unit="data units",
        better="lower",
        convention="RMSE over the MSI's bands, the response applied to the fused cube against the MSI",
        meaning="the usual size of what the cube, seen as the MSI sees, differs from it by; 0 is none",
        value=lambda seen: seen.srf_rmse if math.isfinite(seen.srf_rmse) else None,
    ),
    ConsistencyMetric(
        key="hqnr_msi",
        name="HQNR_MSI",
        unit="",
        better="higher",
        convention="(1 - D_lambda_K)(1 - mean D_sR)",
        meaning="both kinds of agreement in one number; 1 is full agreement",
        decimals=4,
        value=lambda seen: seen.hqnr_msi,
    ),
)
METRICS: Mapping[str, ConsistencyMetric] = {metric.key: metric for metric in _TABLE}
"""Every metric by its key, in the order in which they are shown."""
KEYS = tuple(METRICS)
