"""`emrdiff stitch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrdiff_cli.cli import panels
from emrdiff_cli.cli.options import OutputFormat, Overviews, Overwrite, Qml, Quiet, Stac, format_of
from emrdiff_cli.cli.progress import progress


def stitch(
    tile_dir: Annotated[
        Path, typer.Argument(metavar="TILE_DIR", help="Folder of tiles, as made by `emrdiff tile`.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Raster to write.")],
    output_format: OutputFormat = None,
    overviews: Overviews = None,
    stac: Stac = None,
    qml: Qml = False,
    raster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose tiles, if the folder holds those of two rasters.",
            rich_help_panel=panels.READ,
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Index of the tiles; default: index.geojson in the folder.",
            rich_help_panel=panels.READ,
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Blend tiles back into one raster; untouched tiles give the original, to the last bit.

    Tiles may have been processed in between, to another number of bands or dtype too, as long as all were
    processed alike and kept their names and sizes.

    Examples:
    ```
    emrdiff stitch tiles/ cube.tif
    emrdiff stitch tiles/ msi.bsq --raster hr_msi
    emrdiff stitch fused/ fused.tif --index tiles/index.geojson --raster hr_msi
    ```
    """
    from emrdiff_cli.tiles import tiles

    with progress("Stitching tiles", quiet) as report:
        tiles.stitch(
            tile_dir,
            output,
            index=index,
            raster=raster,
            driver=output_format or format_of(output),
            overviews=overviews,
            stac=stac,
            qml=qml,
            overwrite=overwrite,
            report=report,
        )
