"""`emrdiff quicklook`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from emrdiff_cli.cli import panels
from emrdiff_cli.cli.options import AsJson, Mask, Overwrite, Quiet, asked_mask
from emrdiff_cli.errors import UsageError


def quicklook(
    raster: Annotated[Path, typer.Argument(metavar="RASTER", help="GeoTIFF, COG or ENVI file.")],
    output: Annotated[Path, typer.Argument(metavar="PNG", help="Picture to write.")],
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B",
            help="Bands, from 1; a single one is drawn in grey.",
            rich_help_panel=panels.WRITTEN,
        ),
    ] = None,
    wavelengths: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="In nm: the bands nearest to these.", rich_help_panel=panels.WRITTEN
        ),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", help="Longer side of the picture, at most.", rich_help_panel=panels.WRITTEN
        ),
    ] = 1024,
    stretch: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH",
            help="Percentiles drawn darkest and brightest.",
            rich_help_panel=panels.WRITTEN,
        ),
    ] = (2.0, 98.0),
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw RASTER as a PNG: three bands, stretched, with a scale bar; what is invalid is transparent.

    Without --bands and --wavelengths: the header's default bands, else those nearest to 650, 550 and 450 nm.

    Examples:
    ```
    emrdiff quicklook fused.tif fused.png
    emrdiff quicklook cube.hdr infrared.png --wavelengths 850,650,550 --size 2048
    ```
    """
    from emrdiff_cli.report.quicklook import quicklook as draw

    if bands is not None and wavelengths is not None:
        raise UsageError("--bands and --wavelengths exclude each other: choose one")
    result = draw(
        raster,
        output,
        bands=None if bands is None else [_whole_number(text) for text in bands.split(",")],
        wavelengths_nm=None
        if wavelengths is None
        else [_nanometres(text) for text in wavelengths.split(",")],
        size=size,
        percentiles=stretch,
        mask=asked_mask(mask),
        overwrite=overwrite,
    )
    if as_json:
        typer.echo(json.dumps(result.record(), allow_nan=False))
    elif not quiet:
        typer.echo(
            f"{result.output}: {result.width} x {result.height} pixels, {result.legend}; "
            f"scale bar {result.scale_bar}",
            err=True,
        )


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--bands: {text!r} is no band number: give one, or three as 30,20,10") from None


def _nanometres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"--wavelengths: {text!r} is no wavelength in nm: give one, or three as 650,550,450")
    return value
