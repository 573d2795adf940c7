"""Use case: a fused raster against the LR-HSI and HR-MSI it was made from -> how well it agrees with them.

Three parts. Spectral consistency: the fused cube seen through the PSF against the LR-HSI. Spatial: how much of
each MSI band the fused bands under its response leave unexplained, `d_sr` = 1 - R^2 of the regression. SRF
consistency: the response applied to the fused cube against the MSI. `hqnr_msi` = (1 - d_lambda_k)(1 - mean d_sr),
with `d_lambda_k` = 1 - Q2n, is named for what it is: published QNR and HQNR are defined for one pan band.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.consistency import JointMoments
from emrdiff_cli.core.metrics.consistency_metrics import METRICS, Agreement
from emrdiff_cli.core.metrics.cube import Scores, score
from emrdiff_cli.core.sensor.coverage import covered_by_response
from emrdiff_cli.core.sensor.degradation import DegradedImage
from emrdiff_cli.core.sensor.srf import LEAST_PIXELS, estimate_response, gaussian_response, srf_matrix
from emrdiff_cli.errors import InputError
from emrdiff_cli.evaluation.common_ground import common_area, match_bands
from emrdiff_cli.evaluation.full_reference import plain, versions
from emrdiff_cli.evaluation.recorded_pair import RecordedPair, lr_on_grid, psf_sigmas
from emrdiff_cli.pair.pair import PairReader, open_pair, recorded_nodata
from emrdiff_cli.pair.spectral_coverage import choose_response, registered
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.raster.reading import RasterReader, bounded_cache, open_raster
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.float64]
Field = NDArray[np.float32]

_STRIP_VALUES = 8 * 2**20
_CACHE_MEGABYTES = 256

_Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Consistency:
    """How a fused raster agrees with its inputs; `overall` has every metric by its key, None where undefined.

    `spectral_rmse_by_band` is by LR-HSI band of `bands` (from 1), `d_sr` and `srf_rmse_by_band` by MSI band. RMSE
    in data units. `lr_pixels` and `hr_pixels` are those compared, `q2n_blocks` the 32 x 32 blocks of the former.
    `shift_lr_px`: the LR-HSI's move, down and right, and `psf_sigma_px`: of the PSF's Gaussian along rows and
    columns in MSI pixels, as the fused raster records them; else no move, and FWHM = the ratio (`psf_assumed`).
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
        }


@dataclass(frozen=True)
class _Response:
    """MSI = matrix (m, B) x HSI + offset (m,), and where that is from."""

    matrix: Floats
    offset: Floats
    source: str


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
    with ExitStack() as stack:
        stack.enter_context(bounded_cache(_CACHE_MEGABYTES))
        reader = stack.enter_context(open_raster(Path(fused)))
        invalid = recorded_nodata(reader.info.tags)
        pair = stack.enter_context(open_pair(Path(lr_hsi), Path(hr_msi), src_nodata=invalid))
        view = _View(RecordedPair.of(pair, reader.info), reader)
        response = _response(view, srf)
        sums = _sum_up(view, response, report)
        paths = {"fused": reader.info.path, "lr_hsi": pair.lr_info.path, "hr_msi": pair.msi_info.path}
        sha256 = {role: file_sha256(path) for role, path in paths.items()} if hashes else {}
        return _result(view, response, sums, sha256)


class _View:
    """The fused raster on the pair's common area, in the LR-HSI's bands that both have and none marks bad."""

    def __init__(self, recorded: RecordedPair, fused: RasterReader) -> None:
        self.pair, self.move, self.reader = recorded.pair, recorded.move, fused
        self.placed = recorded.known
        pair = self.pair
        self._area, self._msi_area, placed = common_area(fused.info, pair.msi_info)
        matched, told = match_bands(fused.info, pair.lr_info)
        bad = {*pair.lr_info.bands.bad, *(b for b, a in matched.items() if a in fused.info.bands.bad)}
        self.lr = lr_on_grid(pair)
        dead = np.flatnonzero(~np.isfinite(self.lr).any(axis=(1, 2)))
        self.bands = [b for b in matched if b not in bad and b not in dead]
        if not self.bands:
            raise InputError(f"{fused.info.path}: has no good band in common with {pair.lr_info.path}")
        self._fused_bands = [matched[b] for b in self.bands]
        self.notes = (*pair.notes, *recorded.notes, *placed, *told)

    def strips(self) -> Iterator[tuple[int, Field, Field]]:
        """Rows of the common area: where they begin, the fused bands and the MSI; NaN where invalid."""
        area = self.pair.alignment.hr_window
        step = max(1, min(256, _STRIP_VALUES // (len(self.bands) * area.width)))
        for top in range(0, area.height, step):
            window = Window(top, 0, min(step, area.height - top), area.width)
            msi, valid = self.pair.read_msi(window)
            yield top, self._read(window), np.where(valid, msi, np.nan)

    def _read(self, window: Window) -> Field:
        """The fused bands of a window of the pair's common area; NaN beyond the fused raster."""
        hr, msi, own = self.pair.alignment.hr_window, self._msi_area, self._area
        values = np.full((len(self.bands), window.height, window.width), np.nan, np.float32)
        first, last = max(hr.row + window.row, msi.row), min(hr.row + window.rows.stop, msi.rows.stop)
        left, right = max(hr.col, msi.col), min(hr.cols.stop, msi.cols.stop)
        if last > first and right > left:
            there = Window(own.row + first - msi.row, own.col + left - msi.col, last - first, right - left)
            rows = slice(first - hr.row - window.row, last - hr.row - window.row)
            values[:, rows, left - hr.col : right - hr.col] = self.reader.read(there, self._fused_bands)
        return values


@dataclass(frozen=True)
class _Sums:
    """Both passes at once: the fused cube at LR, moments of fused and MSI bands, squared errors of the SRF."""

    degraded: DegradedImage
    moments: JointMoments
    squared_error: Floats


def _sum_up(view: _View, response: _Response, report: _Report) -> _Sums:
    bands, msi_bands, height = len(view.bands), len(response.matrix), view.pair.alignment.hr_window.height
    degraded = DegradedImage(bands, view.pair.resampling.down, np.float64)
    moments, squared_error = JointMoments(bands + msi_bands), np.zeros(msi_bands)
    for top, fused, msi in view.strips():
        whole = np.asarray(np.isfinite(fused).all(axis=0))
        degraded.add(top, fused, whole)
        valid = whole & np.isfinite(msi).all(axis=0)
        seen, sharp = fused[:, valid].astype(np.float64), msi[:, valid].astype(np.float64)
        moments.add(np.concatenate([seen, sharp]))
        errors = response.matrix @ seen + response.offset[:, None] - sharp
        squared_error += np.square(errors).sum(axis=1)
        report(top + fused.shape[1], height, "rows")
    return _Sums(degraded, moments, squared_error)


def _result(view: _View, response: _Response, sums: _Sums, sha256: Mapping[str, str]) -> Consistency:
    at_lr = score(sums.degraded.masked_mean(), view.lr[view.bands], 1.0, metrics=("rmse", "sam_deg", "q2n"))
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
        notes=(*view.notes, *_notes(at_lr, d_sr, count)),
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


def _response(view: _View, srf: str | None) -> _Response:
    """The MSI's response on the bands of the LR-HSI that are compared."""
    pair, bands = view.pair, view.bands
    choice = choose_response(srf, pair.lr_info, pair.msi_info)
    hsi, msi = pair.lr_info.bands.take(bands), pair.msi_info.bands
    table, source = choice.response, f"srf {choice.name}"
    recorded = hsi.wavelengths_nm is not None and msi.wavelengths_nm is not None and msi.fwhm_nm is not None
    if choice.kind in ("automatic", "metadata") and recorded:
        table = gaussian_response(msi.wavelengths_nm or (), msi.fwhm_nm or ())
        source = "Gaussians of the files' wavelengths and FWHM"
    if table is None:
        return _estimated(pair, bands, view.placed)
    matrix = srf_matrix(table, hsi.wavelengths_nm or ())
    return _Response(matrix, np.zeros(len(matrix)), source)


def _estimated(pair: PairReader, bands: list[int], placed: bool) -> _Response:
    """The response estimated at LR, with its scale and offset."""
    seen = registered(pair, placed)
    count = int(seen.valid.sum())
    if count < LEAST_PIXELS:
        raise InputError(f"{count} valid LR pixels, an estimate of the SRF needs {LEAST_PIXELS}: give --srf")
    good = [b for b in range(pair.lr_info.bands.count) if b not in set(pair.lr_info.bands.bad)]
    at = pair.lr_info.bands.wavelengths_nm or tuple(range(pair.lr_info.bands.count))
    used = np.array([b in set(bands) for b in good])
    found = estimate_response(seen.hsi, seen.msi, seen.valid, [at[b] for b in good], used)
    matrix = (found.matrix * found.scale[:, None])[:, used]
    means = [image[:, seen.valid].mean(axis=1, dtype=np.float64) for image in (seen.hsi[used], seen.msi)]
    return _Response(matrix, means[1] - matrix @ means[0], "estimated from the pair at LR, with an offset")
