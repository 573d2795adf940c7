"""Runs of fusion that are resumed: how they are tiled, stopped and killed, what they keep and leave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import EmrdiffError
from emrdiff_cli.fusion.fusing import FusionOptions, FusionReport, fuse
from emrdiff_cli.fusion.journal import Journal
from tests.support.samplers import Fake, Image, of_position, settings

TILES = FusionOptions(tile=16, overlap=4, batch_size=2)
OLD = b"what was there"
FORMATS = [("GTiff", "out.tif"), ("ENVI", "out.bsq"), ("COG", "cog.tif")]
Pair = tuple[Path, Path]


def beside(output: Path) -> list[str]:
    """Names of the files beside an output, but for its header and the inputs."""
    usual = {output.name, output.with_suffix(".hdr").name, "lr.tif", "msi.tif"}
    return sorted(path.name for path in output.parent.iterdir() if path.name not in usual)


def rows_kept(output: Path) -> list[Path]:
    return sorted(Journal(output).folder.glob("row-*[0-9]"))


def fake(estimate: Any = of_position, **changes: Any) -> Fake:
    """A sampler of the position, from an end point that takes little time."""
    return Fake(settings(**{"end_point": "glp", **changes}), estimate)


def go(pair: Pair, output: Path, sampler: Fake | None = None, **changes: Any) -> FusionReport:
    options = replace(TILES, overwrite=True, **changes)
    return fuse(*pair, output, "glp", sampler or fake(), options)


def interrupted(after: int) -> Fake:
    """A sampler that is interrupted at a tile below so many rows."""

    def estimate(tile: TileInputs, corner: tuple[int, int]) -> Image:
        if corner[0] >= after:
            raise KeyboardInterrupt
        return of_position(tile, corner)

    return fake(estimate)


def interrupt(pair: Pair, output: Path, after: int = 30, **changes: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(pair, output, interrupted(after), **changes)


def contents(output: Path) -> list[bytes]:
    files = [output, output.with_suffix(".hdr")]
    return [path.read_bytes() for path in files if path.exists()]


def code_of(work: Callable[[], object]) -> int:
    """The exit code that a command would end with."""
    try:
        work()
    except EmrdiffError as error:
        return error.exit_code
    return 0


def in_a_child(work: Callable[[], object], delay: float | None = None) -> int:
    """Run in a forked process, killed after `delay`: its exit code, an error's own; minus the signal's number."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = code_of(work)
        finally:
            os._exit(code)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
