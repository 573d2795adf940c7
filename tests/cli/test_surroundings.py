"""What a command is started in: names that are no UTF-8, closed or full streams, Ctrl-C while it begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.front_door import Run
from tests.support.pairs import write_pair
from tests.support.rasters import pixels, read_back, write_tif

COMMAND = [sys.executable, "-m", "emrdiff_cli"]


def test_a_name_that_is_not_utf8_is_said(tmp_path: Path, emrdiff: Run) -> None:
    path = tmp_path / os.fsdecode(b"l\xffr.tif")
    write_tif(tmp_path / "a.tif", pixels(2, 4, 5)).rename(path)
    for command in (
        ("info", path),
        ("tile", path, tmp_path / "tiles"),
        ("quicklook", path, tmp_path / "q.png"),
    ):
        ended = emrdiff(*command)
        assert ended.code == 2
        assert "l\\udcffr.tif': is not UTF-8" in ended.err
        assert len(ended.err.splitlines()) == 1


@pytest.mark.slow
def test_closed_streams_get_no_raster_in_their_place(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    for number, closed in enumerate(("2>&-", ">&-", "2>&- >&- <&-")):
        output = tmp_path / f"o{number}.tif"
        words = [*COMMAND, "fuse", *map(str, pair), str(output), "--method", "glp", "--register", "off"]
        ended = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *words], check=False, timeout=100)
        assert ended.returncode == 0
        np.testing.assert_array_equal(read_back(output), read_back(tmp_path / "o0.tif"))


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.05, 0.2, 0.4])
def test_ctrl_c_while_it_begins_is_no_traceback(tmp_path: Path, after: float) -> None:
    pair = write_pair(tmp_path)
    words = [*COMMAND, "fuse", *map(str, pair), str(tmp_path / "o.tif"), "--method", "kriging"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    # Python itself, before the program's first line, may still end with a traceback of its own.
    assert process.returncode in (130, -signal.SIGINT) or "site" in said
    assert "emrdiff_cli" not in said
    assert not (tmp_path / "o.tif").exists()


def test_an_error_that_nobody_foresaw_is_one_line(
    tmp_path: Path, emrdiff: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(2, 4, 5))
    monkeypatch.setattr("emrdiff_cli.report.inspection.read_info", lambda path: 1 // 0)
    ended = emrdiff("info", raster)
    assert ended.code == 1
    assert ended.err.startswith("Error: a fault of emrdiff itself")
    assert "ZeroDivisionError" in ended.err
    assert "Traceback" not in ended.err
