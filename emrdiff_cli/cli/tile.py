"""`emrdiff tile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrdiff_cli.cli import panels
from emrdiff_cli.cli.options import Mask, PsfFwhm, Registration, Shift, asked_geometry, asked_mask
from emrdiff_cli.cli.progress import progress


def tile(
    rasters: Annotated[
        list[Path],
        typer.Argument(metavar="RASTER", help="One, or the LR-HSI and the HR-MSI of one area, in any order."),
    ],
    out_dir: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Folder for the tiles; made if need be.")
    ],
    size: Annotated[
        int,
        typer.Option(
            min=1,
            help="Tile size in pixels of the finest raster.",
            rich_help_panel=panels.WRITTEN,
            metavar="N",
        ),
    ] = 256,
    overlap: Annotated[
        int,
        typer.Option(
            min=0,
            help="Least overlap of neighbours, in the same pixels.",
            rich_help_panel=panels.WRITTEN,
            metavar="N",
        ),
    ] = 32,
    register: Registration = "auto",
    shift: Shift = None,
    psf_fwhm: PsfFwhm = None,
    mask: Mask = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the tiles that are there.", rich_help_panel=panels.WRITTEN),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes.", rich_help_panel=panels.SAID)
    ] = False,
) -> None:
    """Cut rasters into georeferenced, overlapping GeoTIFF tiles with all their metadata.

    All tiles are of one size, the last ones end at the edge. Those of a pair cover the same ground and
    start on whole LR pixels; their sizes may differ by an LR pixel. How the LR-HSI lies, and its PSF, are found
    once on the whole pair and recorded in its tiles, so that `emrdiff fuse` takes each as the whole would be.
    Beside them lies index.geojson, with footprints for any GIS and what `emrdiff stitch` needs.

    Examples:
    ```
    emrdiff tile cube.tif tiles/ --size 512 --overlap 64
    emrdiff tile lr_hsi.hdr hr_msi.tif tiles/ --size 240 --overlap 40
    ```
    """
    from emrdiff_cli.fusion.pair_tiles import cut_tiles

    asked = asked_geometry(register, shift, psf_fwhm)
    with progress("Cutting tiles", quiet) as report:
        done = cut_tiles(
            rasters,
            out_dir,
            size=size,
            overlap=overlap,
            overwrite=overwrite,
            asked=asked,
            mask=asked_mask(mask),
            report=report,
        )
    if not quiet:
        for note in done.notes:
            typer.echo(f"Note: {note}", err=True)
        for warning in done.warnings:
            typer.echo(f"Warning: {warning}", err=True)
