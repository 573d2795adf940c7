"""Use case: a fused raster against the LR-HSI and HR-MSI it was made from -> how well it agrees with them.

Three parts. Spectral consistency: the fused cube seen through the PSF against the LR-HSI. Spatial: how much of
each MSI band the fused bands under its response leave unexplained, `d_sr` = 1 - R^2 of the regression. SRF
consistency: the response applied to the fused cube against the MSI. `hqnr_msi` = (1 - d_lambda_k)(1 - mean d_sr),
with `d_lambda_k` = 1 - Q2n, is named for what it is: published QNR and HQNR are defined for one pan band.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.consistency import JointMoments
from emrdiff_cli.core.metrics.consistency_metrics import METRICS, Agreement
from emrdiff_cli.core.metrics.cube import Scores, score
from emrdiff_cli.core.sensor.coverage import covered_by_response
from emrdiff_cli.core.sensor.degradation import DegradedImage
from emrdiff_cli.evaluation.full_reference import plain, versions
from emrdiff_cli.evaluation.levels import Levels
from emrdiff_cli.evaluation.pair_view import PairView, Response, msi_response, opened_view
from emrdiff_cli.evaluation.recorded_pair import psf_sigmas
from emrdiff_cli.raster.identity import file_sha256

if TYPE_CHECKING:
    from emrdiff_cli.evaluation.pair_evidence import PairEvidence

Floats = NDArray[np.float64]

_Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Consistency:
    """How a fused raster agrees with its inputs; `overall` has every metric by its key, None where undefined.

    `spectral_rmse_by_band` is by LR-HSI band of `bands` (from 1), `d_sr` and `srf_rmse_by_band` by MSI band. RMSE
    in data units. `lr_pixels` and `hr_pixels` are those compared, `q2n_blocks` the 32 x 32 blocks of the former.
    `shift_lr_px`: the LR-HSI's move, down and right, and `psf_sigma_px`: of the PSF's Gaussian along rows and
    columns in MSI pixels, as the fused raster records them; else no move, and FWHM = the ratio (`psf_assumed`).
    `evidence`: what the pair tells of each method, where that was asked for.
    """

    fused: Path
    lr_hsi: Path
    hr_msi: Path
    overall: Mapping[str, float | None]
    spectral_rmse_by_band: tuple[float | None, ...]
    d_sr: tuple[float | None, ...]
    srf_rmse_by_band: tuple[float | None, ...]
    bands: tuple[int, ...]
    ratio: float
    shift_lr_px: tuple[float, float]
    psf_sigma_px: tuple[float, float]
    psf_assumed: bool
    srf: str
    lr_pixels: int
    hr_pixels: int
    q2n_blocks: int
    notes: tuple[str, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    evidence: PairEvidence | None = None

    def record(self) -> dict[str, object]:
        """All of it as plain values for JSON."""
        return {
            "fused": str(self.fused),
            "lr_hsi": str(self.lr_hsi),
            "hr_msi": str(self.hr_msi),
            **{key: plain(value) for key, value in self.overall.items()},
            "per_band": {"spectral_rmse": list(self.spectral_rmse_by_band)},
            "per_msi_band": {"d_sr": list(self.d_sr), "srf_rmse": list(self.srf_rmse_by_band)},
            "bands": list(self.bands),
            "ratio": self.ratio,
            "protocol": "wald" if self.psf_assumed else None,
            "shift_lr_px": list(self.shift_lr_px),
            "psf_sigma_px": list(self.psf_sigma_px),
            "srf": self.srf,
            "lr_pixels": self.lr_pixels,
            "hr_pixels": self.hr_pixels,
            "q2n_blocks": self.q2n_blocks,
            "notes": list(self.notes),
            "sha256": dict(self.sha256),
            **versions(),
            **({} if self.evidence is None else self.evidence.record()),
        }


def check_consistency(
    fused: Path | str,
    lr_hsi: Path | str,
    hr_msi: Path | str,
    *,
    srf: str | None = None,
    hashes: bool = False,
    report: _Report = lambda done, total, note: None,
) -> Consistency:
    """Hold a fused raster against its inputs where all three are valid; `srf` as `choose_response` takes it.

    The pair is taken in the geometry that the fused raster records, as it lies where that records none. By
    default the response is that of the wavelengths and FWHM in the files, else estimated from the pair.
    Raises UsageError, InputError, GridError.
    """
    with opened_view(Path(fused), Path(lr_hsi), Path(hr_msi)) as view:
        response = msi_response(view, srf)
        sums = _sum_up(view, response, report)
        lr, msi = view.pair.lr_info, view.pair.msi_info
        paths = {"fused": view.reader.info.path, "lr_hsi": lr.path, "hr_msi": msi.path}
        sha256 = {role: file_sha256(path) for role, path in paths.items()} if hashes else {}
        return _result(view, response, sums, sha256)


@dataclass(frozen=True)
class _Sums:
    """Both passes at once: the fused cube at LR, moments of fused and MSI bands, squared errors of the SRF.

    `levels`: of the fused cube by the response, and of the MSI.
    """

    degraded: DegradedImage
    moments: JointMoments
    squared_error: Floats
    levels: Levels


def _sum_up(view: PairView, response: Response, report: _Report) -> _Sums:
    bands, msi_bands, height = len(view.bands), len(response.matrix), view.pair.alignment.hr_window.height
    degraded = DegradedImage(bands, view.pair.resampling.down, np.float64)
    moments, squared_error, levels = JointMoments(bands + msi_bands), np.zeros(msi_bands), Levels()
    for top, fused, msi in view.strips():
        whole = np.asarray(np.isfinite(fused).all(axis=0))
        degraded.add(top, fused, whole)
        valid = whole & np.isfinite(msi).all(axis=0)
        seen, sharp = fused[:, valid].astype(np.float64), msi[:, valid].astype(np.float64)
        moments.add(np.concatenate([seen, sharp]))
        by_response = response.matrix @ seen + response.offset[:, None]
        levels.add(by_response[:, None], sharp[:, None])
        squared_error += np.square(by_response - sharp).sum(axis=1)
        report(top + fused.shape[1], height, "rows")
    return _Sums(degraded, moments, squared_error, levels)


def _result(view: PairView, response: Response, sums: _Sums, sha256: Mapping[str, str]) -> Consistency:
    seen_at_lr, lr = sums.degraded.masked_mean(), view.lr[view.bands]
    at_lr = score(seen_at_lr, lr, 1.0, metrics=("rmse", "sam_deg", "q2n"))
    levels = Levels()
    levels.add(seen_at_lr, lr)
    units = levels.notes("the LR-HSI's") or sums.levels.notes("the MSI's")
    count, bands = sums.moments.count, len(view.bands)
    under = covered_by_response(response.matrix)
    d_sr = tuple(sums.moments.unexplained(bands + m, list(seen)) for m, seen in enumerate(under))
    mse = sums.squared_error / count if count else np.full(len(under), np.nan)
    seen = Agreement(at_lr, d_sr, float(np.sqrt(mse.mean())))
    return Consistency(
        fused=view.reader.info.path,
        lr_hsi=view.pair.lr_info.path,
        hr_msi=view.pair.msi_info.path,
        overall={key: metric.value(seen) for key, metric in METRICS.items()},
        spectral_rmse_by_band=at_lr.per_band["rmse"],
        d_sr=d_sr,
        srf_rmse_by_band=tuple(plain(float(value)) for value in np.sqrt(mse)),
        bands=tuple(b + 1 for b in view.bands),
        ratio=view.pair.alignment.ratio,
        shift_lr_px=view.move,
        psf_sigma_px=psf_sigmas(view.pair),
        psf_assumed=view.pair.psf.axes is None,
        srf=response.source,
        lr_pixels=at_lr.valid_pixels,
        hr_pixels=count,
        q2n_blocks=at_lr.windows["q2n_blocks"],
        notes=(*view.notes, *units, *_notes(at_lr, d_sr, count)),
        sha256=sha256,
    )


def _notes(at_lr: Scores, d_sr: tuple[float | None, ...], count: int) -> Iterator[str]:
    if not at_lr.valid_pixels:
        yield "spectral consistency is null: no LR pixel is valid and wholly on valid fused pixels"
    elif not at_lr.windows["q2n_blocks"]:
        yield "d_lambda_k and hqnr_msi are null: no block of 32 x 32 LR pixels lies wholly inside valid data"
    if not count:
        yield "spatial and SRF consistency are null: no pixel is valid in the fused raster and the MSI"
        return
    for band, value in enumerate(d_sr, 1):
        if value is None:
            yield f"d_sr leaves out MSI band {band}: it is constant, or no fused band lies under its response"
