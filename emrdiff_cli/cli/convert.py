"""`emrdiff convert`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from emrdiff_cli.cli import panels
from emrdiff_cli.cli.options import (
    AsJson,
    Mask,
    OutputFormat,
    Overviews,
    Overwrite,
    Qml,
    Quiet,
    Stac,
    asked_mask,
    format_of,
)
from emrdiff_cli.cli.progress import progress
from emrdiff_cli.conversion.datasets import DatasetName
from emrdiff_cli.core.sensor.orientation import OrientationName

_Variable = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The image in a .mat file [the only one in 3-D].", rich_help_panel=panels.READ
    ),
]
_BandAxis = Annotated[
    Literal["auto", "1", "2", "3"],
    typer.Option(
        help="Axis of the bands, in the order of Matlab's size() [by length].", rich_help_panel=panels.READ
    ),
]
_Orientation = Annotated[
    OrientationName | None,
    typer.Option(
        help="How to turn a .mat file's image, counterclockwise [the data set's, else as stored].",
        rich_help_panel=panels.READ,
    ),
]
_Pan = Annotated[
    bool,
    typer.Option(
        "--pan", help="PRISMA: the panchromatic band instead of the cube.", rich_help_panel=panels.READ
    ),
]
_Resolution = Annotated[
    float | None,
    typer.Option(
        metavar="METRES",
        help="Sentinel-2 and Landsat: the grid that is written, 10, 20 or 60; 15 (level 1, its PAN's) or 30 "
        "[10, 30].",
        rich_help_panel=panels.READ,
    ),
]
_Bands = Annotated[
    str | None,
    typer.Option(
        metavar="all|all60|NAMES",
        help="Sentinel-2 and Landsat: bands, coarser ones kriged from the grid's own; all: up to 20 or 30 m; "
        "all60: those of 60 m too; or names such as B3,B4,B8,B11 [the grid's own; with a PAN all].",
        rich_help_panel=panels.READ,
    ),
]
_Extent = Annotated[
    Path | None,
    typer.Option(
        metavar="RASTER",
        help="Cut to the ground of this raster, of any CRS, and 4 of its pixels around it [the whole input].",
        rich_help_panel=panels.READ,
    ),
]
_Wavelengths = Annotated[
    str | None,
    typer.Option(
        metavar="RANGE|CSV",
        help="Centres in nm: START:STOP:STEP, or a CSV: centre, FWHM if known [the data set's].",
        rich_help_panel=panels.DECLARED,
    ),
]
_Nodata = Annotated[
    float | None,
    typer.Option(
        help="Value of invalid pixels; may be nan [nan for floats, a raster's own].",
        rich_help_panel=panels.DECLARED,
        metavar="VALUE",
    ),
]
_Crs = Annotated[
    str | None,
    typer.Option(
        metavar="EPSG:N|WKT",
        help="CRS, for inputs without one; with --transform.",
        rich_help_panel=panels.DECLARED,
    ),
]
_Transform = Annotated[
    str | None,
    typer.Option(
        metavar="a,b,c,d,e,f",
        help="Pixel corner to world: x = a col + b row + c, y = d, e, f.",
        rich_help_panel=panels.DECLARED,
    ),
]


def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="Product (HDF5, netCDF), .mat file, folder of PNGs, or raster."),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="GeoTIFF or ENVI data file.")],
    dataset: Annotated[
        DatasetName,
        typer.Option(
            help="Whose conventions; generic: none [told by the contents].", rich_help_panel=panels.READ
        ),
    ] = "auto",
    variable: _Variable = None,
    band_axis: _BandAxis = "auto",
    orientation: _Orientation = None,
    pan: _Pan = False,
    mask: Mask = None,
    resolution: _Resolution = None,
    bands: _Bands = None,
    extent: _Extent = None,
    wavelengths: _Wavelengths = None,
    nodata: _Nodata = None,
    crs: _Crs = None,
    transform: _Transform = None,
    output_format: OutputFormat = None,
    overviews: Overviews = None,
    stac: Stac = None,
    qml: Qml = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a raster that all commands read of a product, a .mat file (any version), band PNGs, GeoTIFF or ENVI.

    Products as delivered, told by what they hold: PRISMA L1, L2B, L2C and L2D (.he5: both detectors by
    wavelength, float32, holes by the error matrices; --pan: the 5 m band), EMIT L2A reflectance and L1B radiance
    (.nc, put on the ground by their lookup table), AVIRIS-3 and -5 orthorectified (.nc), NEON AOP (.h5), Tanager
    ortho (.h5); with place, wavelengths, FWHM, bad bands, scale and nodata.

    Sentinel-2 (SAFE) and Landsat (folder), which all commands read in their bands of 10 and 30 m, with the coarser
    bands (--bands, --resolution) and cut to a scene (--extent: that part alone is read, of EMIT too; of the other
    HDF5 and netCDF, .mat and PNGs the whole).

    Of the others values and their type stay. Known: ICVL (wavelengths from the file; turned upright), Harvard
    (420-720 nm; pixels with lbl = 0 become nodata), Chikusei (.mat: wavelengths of the release, no
    georeference, give --crs and --transform; ENVI copy: all kept) and CAVE (folder of 31 PNGs, 400-700 nm).

    Examples:
    ```
    emrdiff convert PRS_L2D_STD_20240402102837_20240402102842_0001.he5 prisma.tif
    emrdiff convert EMIT_L2A_RFL_001_20220827T060753_2223904_013.nc emit.tif
    emrdiff convert S2.SAFE msi.tif --mask cloud,cirrus,shadow
    emrdiff convert S2.SAFE msi.tif --bands all --extent enmap/
    emrdiff convert 4cam_0411-1640-1.mat icvl.tif
    emrdiff convert balloons_ms balloons.bsq
    emrdiff convert scene.mat scene.tif --variable cube --wavelengths 400:1000:5
    emrdiff convert pavia.mat pavia.tif --wavelengths centres.csv --band-axis 3
    ```
    """
    from emrdiff_cli.conversion import convert as conversion

    options = conversion.ConversionOptions(
        dataset=dataset,
        variable=variable,
        band_axis=None if band_axis == "auto" else int(band_axis),
        orientation=orientation,
        pan=pan,
        mask=asked_mask(mask),
        resolution=resolution,
        bands=bands,
        extent=extent,
        wavelengths=wavelengths,
        nodata=nodata,
        crs=crs,
        transform=transform,
        driver=output_format or format_of(output),
        overviews=overviews,
        stac=stac,
        qml=qml,
        overwrite=overwrite,
    )
    with progress("convert", quiet) as report:
        done = conversion.convert(source, output, options, report)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(done)))
    elif not quiet:
        typer.echo(
            f"{done.output}: {done.bands} bands of {done.height} x {done.width}, {done.dtype}", err=True
        )
    for note in () if quiet else done.notes:
        typer.echo(f"Note: {note}", err=True)
