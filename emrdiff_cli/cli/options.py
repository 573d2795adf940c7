"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["GTiff", "ENVI"]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
LrHsi = Annotated[Path, typer.Argument(metavar="LR_HSI", help="Low-resolution cube.")]
HrMsi = Annotated[Path, typer.Argument(metavar="HR_MSI", help="High-resolution multispectral image.")]
