"""`emrdiff evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import UsageError

if TYPE_CHECKING:
    from emrdiff_cli.core.metrics import Scores
    from emrdiff_cli.evaluation import Evaluation

_ROWS = {
    "psnr_db": ("PSNR, mean of bands", "dB"),
    "psnr_global_db": ("PSNR, one MSE", "dB"),
    "psnr_band_peak_db": ("PSNR, peak by band", "dB"),
    "sam_deg": ("SAM", "degrees"),
    "ergas": ("ERGAS", ""),
    "ssim": ("SSIM", ""),
    "cc": ("CC", ""),
    "rmse": ("RMSE", "data units"),
}


def evaluate(
    fused: Annotated[Path, typer.Argument(metavar="FUSED", help="Raster to score.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Raster taken as the truth.")],
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="LR_HSI", help="Also score bicubic upsampling of this LR-HSI; gives the ratio."),
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option(metavar="L", help="Peak of PSNR and SSIM [1 for reflectance, else the maximum]."),
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(metavar="R", help="Ratio of ERGAS [from --baseline or FUSED's tags].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a header and a row for each image.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")] = False,
) -> None:
    """Score FUSED against REFERENCE on their common ground: PSNR, SAM, ERGAS, SSIM, CC, RMSE.

    Georeferenced rasters are compared where they overlap, bands by their wavelengths; pixels invalid in
    either are left out.

    Examples:
    ```
    emrdiff evaluate fused.tif hr_hsi.tif --baseline lr_hsi.hdr
    emrdiff evaluate fused.tif hr_hsi.tif --json -q | jq .psnr_db
    ```
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    from emrdiff_cli import evaluation

    with progress("evaluate", quiet) as report:
        result = evaluation.evaluate(
            fused, reference, baseline=baseline, peak=peak, ratio=ratio, report=report
        )
    if as_json:
        typer.echo(json.dumps(result.record(), allow_nan=False))
    elif as_csv:
        _print_csv(result)
    else:
        _print_table(result)
    for note in () if quiet else result.all_notes():
        typer.echo(f"Note: {note}", err=True)


def _columns(result: Evaluation) -> dict[str, Scores]:
    columns = {"fused": result.scores}
    if result.baseline is not None:
        columns["bicubic"] = result.baseline
    return columns


def _print_table(result: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = _columns(result)
    table = Table("metric", "unit")
    for name in columns:
        table.add_column(name, justify="right")
    for key, (name, unit) in _ROWS.items():
        table.add_row(name, unit, *(_figure(scores.overall[key]) for scores in columns.values()))
    console = Console()
    console.print(table)
    console.print(_convention(result), markup=False, highlight=False, soft_wrap=True)


def _figure(value: float | None) -> str:
    """Six significant digits; infinity for identical data, a dash where undefined."""
    return "-" if value is None else f"{value:#.6g}"


def _convention(result: Evaluation) -> str:
    scores = result.scores
    ratio = "unknown" if scores.ratio is None else f"{scores.ratio:.6g} ({result.ratio_source})"
    return (
        f"peak {scores.peak:.6g} ({result.peak_source}), ratio {ratio}, {len(scores.bands)} bands, "
        f"{scores.valid_pixels} valid pixels, {scores.dropped_pixels} dropped"
    )


def _print_csv(result: Evaluation) -> None:
    """Print the figures in full precision; empty where undefined, `inf` for identical data."""
    import csv
    import sys

    shared = [result.scores.peak, result.scores.ratio]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        ["method", "raster", "reference", *_ROWS, "peak", "ratio", "bands", "valid_pixels", "dropped_pixels"]
    )
    for name, scores in _columns(result).items():
        raster = result.fused if name == "fused" else result.baseline_path
        counts = [len(scores.bands), scores.valid_pixels, scores.dropped_pixels]
        figures = [scores.overall[key] for key in _ROWS]
        writer.writerow([name, raster, result.reference, *figures, *shared, *counts])
