"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emrdiff_cli.errors import UsageError

Format = Literal["GTiff", "ENVI"]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
LrHsi = Annotated[Path, typer.Argument(metavar="LR_HSI", help="Low-resolution cube.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--format", "-f", "--of", help="Format of the output [ENVI for .bsq, .dat, .img; else GTiff]."
    ),
]
HrMsi = Annotated[Path, typer.Argument(metavar="HR_MSI", help="High-resolution multispectral image.")]


def format_of(output: Path) -> Format:
    """The format that an output's name asks for."""
    if output.suffix.lower() == ".hdr":
        raise UsageError(
            f"{output}: name the data file, e.g. {output.with_suffix('.bsq').name}; its header goes beside it"
        )
    return "ENVI" if output.suffix.lower() in (".bsq", ".dat", ".img") else "GTiff"
