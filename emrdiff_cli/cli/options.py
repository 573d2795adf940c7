"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["GTiff", "ENVI", "COG"]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Srf = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|CSV|metadata|estimate",
        help="The MSI's response, by which bands are marked covered or extrapolated [the files' wavelengths "
        "and FWHM, else estimated from the pair].",
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
    ),
]
HrMsi = Annotated[Path, typer.Argument(metavar="HR_MSI", help="High-resolution multispectral image.")]


def format_of(output: Path) -> Format:
    """The format that an output's name asks for."""
    from emrdiff_cli.raster.spec import driver_of

    return driver_of(output)
