"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from emrdiff_cli.cli import completion, panels
from emrdiff_cli.errors import UsageError
from emrdiff_cli.pair.modes import AskedGeometry, Register
from emrdiff_cli.products.mask_classes import AskedMask

Format = Literal["GTiff", "ENVI", "COG"]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress and no notes on stderr.", rich_help_panel=panels.SAID),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel=panels.SAID)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is there.", rich_help_panel=panels.WRITTEN)
]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=panels.COMPUTING)
]
NumThreads = Annotated[
    int | None,
    typer.Option(
        *("--num-threads", "-j"),
        min=1,
        metavar="N",
        help="Threads on the CPU [OMP_NUM_THREADS, else the cores].",
        rich_help_panel=panels.COMPUTING,
    ),
]
Srf = Annotated[
    str | None,
    typer.Option(
        metavar="RESPONSE",
        autocompletion=completion.responses,
        help="The MSI's response, by which bands are marked covered or extrapolated: a sensor's NAME[:BANDS], a "
        "CSV, a SAFE, metadata or estimate [a SAFE's own, else the files' wavelengths and FWHM, else "
        "estimated from the pair].",
        rich_help_panel=panels.GEOMETRY,
    ),
]
LrHsi = Annotated[Path, typer.Argument(metavar="LR_HSI", help="Low-resolution cube.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        "--of",
        help="Format of the output [ENVI for .bsq, .bil, .bip, .dat, .img; else GTiff].",
        rich_help_panel=panels.WRITTEN,
    ),
]
Overviews = Annotated[
    bool | None,
    typer.Option(
        "--overviews/--no-overviews",
        help="Overviews inside a GeoTIFF [in a COG, and above 2,000 pixels on a side].",
        rich_help_panel=panels.BESIDE,
    ),
]
Stac = Annotated[
    str | None,
    typer.Option(
        "--stac",
        metavar="auto|TIME",
        help="Also write OUTPUT.stac.json, a STAC item; auto: of the time that the input tells; else of this day, "
        "time or START/END (ISO 8601, UTC).",
        rich_help_panel=panels.BESIDE,
    ),
]
Qml = Annotated[
    bool,
    typer.Option(
        "--qml",
        help="Also write OUTPUT.qml, by which QGIS shows true colours, stretched.",
        rich_help_panel=panels.BESIDE,
    ),
]
HrMsi = Annotated[Path, typer.Argument(metavar="HR_MSI", help="High-resolution multispectral image.")]
Registration = Annotated[
    Register,
    typer.Option(
        "--register",
        help="auto: find displacement (up to 40 LR pixels) and PSF on the pair, and use them where significant; "
        "shift: the displacement alone; full: both as found; off: the pair as it lies.",
        rich_help_panel=panels.GEOMETRY,
    ),
]
Shift = Annotated[
    str | None,
    typer.Option(
        metavar="DOWN,RIGHT",
        help="Move the LR-HSI by so many of its pixels, in place of what is found.",
        rich_help_panel=panels.GEOMETRY,
    ),
]
PsfFwhm = Annotated[
    str | None,
    typer.Option(
        metavar="ROWS[,COLS]",
        help="FWHM of the LR-HSI's PSF in MSI pixels, in place of what is found.",
        rich_help_panel=panels.GEOMETRY,
    ),
]


SrcNodata = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE|LR,MSI",
        help="Stored value that is nodata in this run, besides what the files declare; two: of each raster, one of "
        "them may be none.",
        rich_help_panel=panels.READ,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS,...",
        autocompletion=completion.mask_classes,
        help="Pixels to leave out by the products' own masks, which `info` lists: cloud, dilated-cloud, cirrus, "
        "haze, shadow, snow, water; of one raster of a pair alone lr:CLASS or msi:CLASS.",
        rich_help_panel=panels.READ,
    ),
]


def format_of(output: Path) -> Format:
    """The format that an output's name asks for."""
    from emrdiff_cli.raster.spec import driver_of

    return driver_of(output)


def numbers(name: str, text: str | None) -> Any:
    """The numbers of an option of fusion by its field's name, as a manifest's cell gives them; UsageError."""
    from emrdiff_cli.fusion.options import OPTIONS

    option = OPTIONS[name]
    try:
        return None if text is None else option.cell(text, Path())
    except ValueError as error:
        raise UsageError(f"{option.flag} {text}: must be {error}") from error


def asked_mask(text: str | None) -> AskedMask:
    """The classes of `--mask`; none without it. Raises UsageError."""
    return () if text is None else tuple(numbers("mask", text))


def asked_geometry(register: Register, shift: str | None, psf_fwhm: str | None) -> AskedGeometry:
    """The geometry that the options of a command ask for. Raises UsageError."""
    from emrdiff_cli.fusion.options import FusionOptions

    asked = AskedGeometry(register, numbers("shift", shift), numbers("psf_fwhm", psf_fwhm))
    FusionOptions(**asked._asdict())
    return asked
