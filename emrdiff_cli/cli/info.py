"""`emrdiff info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def info(
    raster: Annotated[
        Path, typer.Argument(metavar="RASTER", help="GeoTIFF, COG or ENVI file (data file or .hdr).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the lists in full.")] = False,
) -> None:
    """Show what is known of a raster: size, CRS, grid, wavelengths, bad bands, nodata and scale.

    Examples:
    ```
    emrdiff info scene.tif
    emrdiff info cube.hdr --json | jq .wavelengths_nm
    ```
    """
    from emrdiff_cli.report.inspection import inspect

    summary = inspect(raster)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), allow_nan=False))
    else:
        typer.echo("\n".join(summary.to_lines()))
