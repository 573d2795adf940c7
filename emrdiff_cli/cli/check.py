"""`emrdiff check`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from emrdiff_cli.cli.options import (
    AsJson,
    HrMsi,
    LrHsi,
    Mask,
    Overwrite,
    Quiet,
    SrcNodata,
    Srf,
    asked_mask,
    numbers,
)
from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import InputError

if TYPE_CHECKING:
    from emrdiff_cli.core.sensor.coverage import MsiBandCoverage
    from emrdiff_cli.core.sensor.radiometry import BandRadiometry
    from emrdiff_cli.pair.check_result import (
        BlockCheck,
        Check,
        FieldCheck,
        GroupCheck,
        PsfCheck,
        RasterCheck,
        ShiftCheck,
    )

_SAME = 0.02  # LR pixels between moves that are the same to a reader


def check(
    lr_hsi: LrHsi,
    hr_msi: HrMsi,
    src_nodata: SrcNodata = None,
    mask: Mask = None,
    srf: Srf = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="Draw the displacement of each block of the scene as an arrow over the MSI."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look at a pair before it is fused: how well the two fit, and what their misfit will cost.

    Reports grids, displacement (of all, of each detector's bands and of each block), PSF, bands and holes, and what
    of it `fuse` puts right. Exit code 3 where fusing the pair makes no sense.

    Examples:
    ```
    emrdiff check lr_hsi.hdr hr_msi.tif
    emrdiff check lr_hsi.hdr hr_msi.tif --picture arrows.png
    emrdiff check lr_hsi.hdr hr_msi.tif --json | jq .shift
    emrdiff check lr_hsi.hdr hr_msi.tif --srf estimate
    ```
    """
    from emrdiff_cli.pair import check as checking
    from emrdiff_cli.report.displacement_picture import check_picture

    if picture is not None:
        check_picture(picture, [lr_hsi, hr_msi], overwrite)
    with progress("check", quiet) as report:
        invalid = numbers("src_nodata", src_nodata)
        result = checking.check(lr_hsi, hr_msi, srf, report, invalid, asked_mask(mask))
    if picture is not None:
        result = _drawn(result, picture)
    if as_json:
        typer.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        _print(result)
    if not result.usable:
        raise typer.Exit(InputError.exit_code)


def _drawn(result: Check, output: Path) -> Check:
    """Draw the blocks, or say in a warning why that cannot be."""
    from emrdiff_cli.report.displacement_picture import LocalDisplacement, draw_displacements

    if not result.blocks or result.hr_window is None or result.ratio is None:
        line = f"{output} was not drawn: the pair does not tell the displacement of any block"
        return replace(result, warnings=(*result.warnings, line))
    blocks = [LocalDisplacement(*b.centre_hr_px, b.rows_lr_px, b.cols_lr_px) for b in result.blocks]
    ratio = math.sqrt(result.ratio[0] * result.ratio[1])
    draw_displacements(Path(result.hr_msi.path), result.hr_window, ratio, blocks, output)
    return result


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
        "masked": _masked(raster),
        "saturated": _percent(raster.saturated_share),
        "bad bands": _bands(raster.bad_bands, "not recorded"),
        "dead bands": _bands(raster.dead_bands),
        "constant bands": _bands(raster.constant_bands),
        "saturated bands": _bands(raster.saturated_bands),
    }


def _masked(raster: RasterCheck) -> str:
    told = (f"{name} {share:.2%}" for name, share in (raster.masked_shares or {}).items())
    return ", ".join(told) or "-"


def _of_the_pair(result: Check) -> dict[str, str]:
    ratio, phase = result.ratio, result.sampling_phase_hr_px
    rows = {
        "CRS": "the same" if result.crs_agree else "different",
        "ratio": "-" if ratio is None else f"{ratio[0]:.6g} x {ratio[1]:.6g} (rows x columns)",
        "sampling phase": "-" if phase is None else f"{phase[0]:+.3f}, {phase[1]:+.3f} HR pixels",
        "displacement": "-" if result.shift is None else _shift(result.shift),
        "PSF": "-" if result.psf is None else _psf(result.psf),
        "field": "-" if result.shift is None or not result.shift.confidence else _field(result.field),
    }
    for group in result.groups:
        rows[f"{group.name} bands"] = _group(group)
    if len(result.blocks) > 1:
        rows["blocks"] = _blocks_of(result.blocks)
    if result.wald_ratio is not None:
        rows["costs"] = (
            f"PSNR lost by not minding it, tried on the pair degraded by {result.wald_ratio[0]:.3g}"
        )
    for band in result.coverage:
        where = "" if band.wavelength_nm is None else f" ({band.wavelength_nm:.0f} nm)"
        rows[f"MSI band {band.band}{where}"] = f"HSI bands {_bands(band.hsi_bands)}{_fit(band)}"
    for line in result.radiometry:
        rows[f"radiometry {line.band}"] = _radiometry(line)
    if result.uncovered_bands is not None:
        by = {"correlation": "correlation at LR", "estimate": "the response estimated at LR"}.get(
            result.coverage_by or "", result.coverage_by
        )
        rows["under no MSI band"] = f"{len(result.uncovered_bands)} HSI bands (by {by})"
    return rows


def _radiometry(line: BandRadiometry) -> str:
    return (
        f"MSI band {line.band} = {line.gain:.4g} x LR-HSI under the response {line.offset:+.4g}; leaves "
        f"{line.residual:.2%}"
    )


def _fit(band: MsiBandCoverage) -> str:
    if band.residual is None or band.scale is None:
        return ""
    return f"; response x {band.scale:.4g} leaves {band.residual:.2%} unexplained"


def _shift(shift: ShiftCheck) -> str:
    if not shift.confidence or shift.standard_error_lr_px is None:
        return f"cannot be told (R2 {shift.r2_after:.3f}, by chance {shift.r2_chance:.3f})"
    hr = abs(shift.rows_hr_px), abs(shift.cols_hr_px)
    return (
        f"{_move((shift.rows_lr_px, shift.cols_lr_px), shift.standard_error_lr_px)} "
        f"would put the LR-HSI right (LR pixels; {hr[0]:.2f}, {hr[1]:.2f} HR pixels); confidence "
        f"{shift.confidence:.2f}, R2 {shift.r2_before:.3f} to {shift.r2_after:.3f}{_cost(shift.cost_db)}"
        f"; {_undone(shift)}"
    )


def _undone(shift: ShiftCheck) -> str:
    """Whether `fuse` undoes the displacement; it moves by another one where bands or places lie apart."""
    (down, right), found = shift.used_lr_px, (shift.rows_lr_px, shift.cols_lr_px)
    if not (down or right):
        return "left by fuse"
    same = math.hypot(down - found[0], right - found[1]) < _SAME
    return "undone by fuse" if same else f"fuse moves it by {down:+.3f} down, {right:+.3f} right"


def _psf(psf: PsfCheck) -> str:
    rows, cols = psf.by_axis_hr_px
    return (
        f"FWHM {psf.fwhm_hr_px:.2f} \u00b1 {psf.standard_error_hr_px:.2f} HR pixels ({rows:.2f} x {cols:.2f}, rows "
        f"x columns; {'a Gaussian' if psf.gaussian else 'no Gaussian'}), assumed {psf.assumed_fwhm_hr_px:.2f}"
        f"{_cost(psf.cost_db)}; {'used by fuse' if psf.used else 'fuse uses the one that is assumed'}"
    )


def _field(field: FieldCheck | None) -> str:
    if field is None:
        return "none that would explain more of the MSI than one displacement for all"
    return (
        f"{'quadratic, ' if field.quadratic else ''}scale {field.scale[0]:.5f} x {field.scale[1]:.5f} (rows x "
        f"columns), rotation {field.rotation_degrees:+.3f} degrees counterclockwise, shear {field.shear:+.5f}, up "
        f"to {field.corners_lr_px:.2f} LR pixels in the corners; leaves {field.unexplained_after:.2%} of the MSI "
        f"unexplained, one displacement for all {field.unexplained_before:.2%}; undone by fuse"
    )


def _group(group: GroupCheck) -> str:
    how = "undone by fuse" if group.elsewhere else "not significant"
    return (
        f"{_bands(group.bands)}: {_move((group.rows_lr_px, group.cols_lr_px), group.standard_error_lr_px)} "
        f"would put them on the {group.against} bands (LR pixels); {how}"
    )


def _blocks_of(blocks: Sequence[BlockCheck]) -> str:
    down, right = ([getattr(block, axis) for block in blocks] for axis in ("rows_lr_px", "cols_lr_px"))
    error = median(max(block.standard_error_lr_px) for block in blocks)
    return (
        f"{len(blocks)}, each by itself displaced by {min(down):+.3f} to {max(down):+.3f} down and "
        f"{min(right):+.3f} to {max(right):+.3f} right (LR pixels, \u00b1 {error:.3f})"
    )


def _move(by: tuple[float, float], errors: tuple[float, float]) -> str:
    return (
        f"{abs(by[0]):.3f} \u00b1 {errors[0]:.3f} {'up' if by[0] < 0 else 'down'}, "
        f"{abs(by[1]):.3f} \u00b1 {errors[1]:.3f} {'left' if by[1] < 0 else 'right'}"
    )


def _cost(decibels: float | None) -> str:
    return "" if decibels is None else f"; costs {decibels:.2f} dB"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _bands(bands: tuple[int, ...] | None, unknown: str = "-") -> str:
    from emrdiff_cli.core.band_numbers import numbered

    return unknown if bands is None else numbered(bands)
