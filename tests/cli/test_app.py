"""The command's ends: errors of the operating system in one line, results that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.front_door import Run
from tests.support.rasters import pixels, write_tif


def test_an_error_of_the_operating_system_is_one_line(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(2, 4, 5))

    def broken(*_given: object) -> None:
        raise OSError(5, "Input/output error", "a.tif")

    monkeypatch.setattr("emrdiff_cli.conversion.convert._spec", broken)
    ended = emrdiff("convert", raster, tmp_path / "out.tif", "-q")
    assert ended == (4, "", "Error: a.tif: Input/output error\n")


@pytest.mark.parametrize("arguments", [("info", "--json"), ("info",), ("--version",)])
def test_results_that_cannot_be_written_are_an_error_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(2, 4, 5))
    given = [*arguments, *([] if "--version" in arguments else [str(raster)])]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "emrdiff_cli", *given],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=100,
        )
    assert (ended.returncode, ended.stderr) == (4, "Error: No space left on device\n")


def test_a_reader_that_is_gone_ends_the_command_without_a_word(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(2, 4, 5))
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "emrdiff_cli", "info", str(raster)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=100,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")
