"""Runs of fusion that are resumed: how they are tiled, what they keep and what lies beside their output."""

from __future__ import annotations

from pathlib import Path

from emrdiff_cli.fusion.fusing import FusionOptions
from emrdiff_cli.fusion.journal import Journal

TILES = FusionOptions(tile=16, overlap=4, batch_size=2)
OLD = b"what was there"


def beside(output: Path) -> list[str]:
    """What lies beside an output besides it, its header and the inputs."""
    usual = {output.name, output.with_suffix(".hdr").name, "lr.tif", "msi.tif"}
    return sorted(path.name for path in output.parent.iterdir() if path.name not in usual)


def rows_kept(output: Path) -> list[Path]:
    return sorted(Journal(output).folder.glob("row-*[0-9]"))
