"""`emrdiff check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from emrdiff_cli.cli.options import AsJson, HrMsi, LrHsi, Quiet, Srf
from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import InputError

if TYPE_CHECKING:
    from emrdiff_cli.core.sensor.coverage import MsiBandCoverage
    from emrdiff_cli.pair.check import Check, PsfCheck, RasterCheck, ShiftCheck


def check(
    lr_hsi: LrHsi, hr_msi: HrMsi, srf: Srf = None, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Look at a pair before it is fused: how well the two fit, and what their misfit will cost.

    Reports grids, displacement, PSF, bands and holes. Exit code 3 where fusing the pair makes no sense.

    Examples:
    ```
    emrdiff check lr_hsi.hdr hr_msi.tif
    emrdiff check lr_hsi.hdr hr_msi.tif --json | jq .shift
    emrdiff check lr_hsi.hdr hr_msi.tif --srf estimate
    ```
    """
    from emrdiff_cli.pair import check as checking

    with progress("check", quiet) as report:
        result = checking.check(lr_hsi, hr_msi, srf, report)
    if as_json:
        typer.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        _print(result)
    if not result.usable:
        raise typer.Exit(InputError.exit_code)


def _print(result: Check) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "LR-HSI", "HR-MSI", title="Each", title_justify="left")
    for label, cells in _of_each(result).items():
        table.add_row(label, *cells)
    pair = Table("", "", title="Pair", title_justify="left", show_header=False)
    for label, text in _of_the_pair(result).items():
        pair.add_row(label, text)
    console = Console()
    console.print(table, pair, markup=False)
    lines = [("Problem", line) for line in result.problems]
    lines += [("Warning", line) for line in result.warnings] + [("Note", line) for line in result.notes]
    for kind, line in lines:
        console.print(f"{kind}: {line}", markup=False, highlight=False, soft_wrap=True)
    verdict = "ready to be fused" if result.usable else "fusing this pair makes no sense"
    console.print(verdict, markup=False, highlight=False)


def _of_each(result: Check) -> dict[str, tuple[str, str]]:
    rasters = (result.lr_hsi, result.hr_msi)
    rows = [_raster_rows(raster) for raster in rasters]
    return {label: (rows[0][label], rows[1][label]) for label in rows[0]}


def _raster_rows(raster: RasterCheck) -> dict[str, str]:
    return {
        "CRS": raster.crs or "none",
        "acquired": raster.acquired or "not recorded",
        "in common": _percent(raster.overlap),
        "nodata": _percent(raster.nodata_share),
        "saturated": _percent(raster.saturated_share),
        "bad bands": _bands(raster.bad_bands, "not recorded"),
        "dead bands": _bands(raster.dead_bands),
        "constant bands": _bands(raster.constant_bands),
        "saturated bands": _bands(raster.saturated_bands),
    }


def _of_the_pair(result: Check) -> dict[str, str]:
    ratio, phase = result.ratio, result.sampling_phase_hr_px
    rows = {
        "CRS": "the same" if result.crs_agree else "different",
        "ratio": "-" if ratio is None else f"{ratio[0]:.6g} x {ratio[1]:.6g} (rows x columns)",
        "sampling phase": "-" if phase is None else f"{phase[0]:+.3f}, {phase[1]:+.3f} HR pixels",
        "displacement": "-" if result.shift is None else _shift(result.shift),
        "PSF": "-" if result.psf is None else _psf(result.psf),
    }
    if result.wald_ratio is not None:
        rows["costs"] = (
            f"PSNR lost by not minding it, tried on the pair degraded by {result.wald_ratio[0]:.3g}"
        )
    for band in result.coverage:
        where = "" if band.wavelength_nm is None else f" ({band.wavelength_nm:.0f} nm)"
        rows[f"MSI band {band.band}{where}"] = f"HSI bands {_bands(band.hsi_bands)}{_fit(band)}"
    if result.uncovered_bands is not None:
        by = {"correlation": "correlation at LR", "estimate": "the response estimated at LR"}.get(
            result.coverage_by or "", result.coverage_by
        )
        rows["under no MSI band"] = f"{len(result.uncovered_bands)} HSI bands (by {by})"
    return rows


def _fit(band: MsiBandCoverage) -> str:
    if band.residual is None or band.scale is None:
        return ""
    return f"; response x {band.scale:.4g} leaves {band.residual:.2%} unexplained"


def _shift(shift: ShiftCheck) -> str:
    if not shift.confidence or shift.standard_error_lr_px is None:
        return f"cannot be told (R2 {shift.r2_after:.3f}, by chance {shift.r2_chance:.3f})"
    (down, right), hr = shift.standard_error_lr_px, (abs(shift.rows_hr_px), abs(shift.cols_hr_px))
    return (
        f"{abs(shift.rows_lr_px):.3f} \u00b1 {down:.3f} {'up' if shift.rows_lr_px < 0 else 'down'}, "
        f"{abs(shift.cols_lr_px):.3f} \u00b1 {right:.3f} {'left' if shift.cols_lr_px < 0 else 'right'} "
        f"would put the LR-HSI right (LR pixels; {hr[0]:.2f}, {hr[1]:.2f} HR pixels); confidence "
        f"{shift.confidence:.2f}, R2 {shift.r2_before:.3f} to {shift.r2_after:.3f}{_cost(shift.cost_db)}"
    )


def _psf(psf: PsfCheck) -> str:
    return (
        f"FWHM {psf.fwhm_hr_px:.2f} \u00b1 {psf.standard_error_hr_px:.2f} HR pixels, assumed "
        f"{psf.assumed_fwhm_hr_px:.2f}{_cost(psf.cost_db)}"
    )


def _cost(decibels: float | None) -> str:
    return "" if decibels is None else f"; costs {decibels:.2f} dB"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _bands(bands: tuple[int, ...] | None, unknown: str = "-") -> str:
    from emrdiff_cli.core.band_numbers import numbered

    return unknown if bands is None else numbered(bands)
