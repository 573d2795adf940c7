"""A CSV file that several writers append to: one header, whole rows, and nothing of a write that failed."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.errors import UsageError
from emrdiff_cli.evaluation.score_table import ScoreTable
from tests.support.front_door import in_a_process
from tests.support.rasters import write_tif


def test_writers_at_the_same_time_leave_whole_rows_and_one_header(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"

    def write(writer: int) -> None:
        table = ScoreTable(path, ["writer", "row", "text"])
        for row in range(20):
            table.append([[writer, row, "x, " * writer]])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    header, *rows = csv.reader(path.read_text().splitlines())
    assert header == ["writer", "row", "text"]
    assert sorted(rows) == sorted([str(w), str(r), "x, " * w] for w in range(8) for r in range(20))


def test_a_last_line_without_an_end_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("a,b\n1,2")
    ScoreTable(path, ["a", "b"]).append([[3, 4]])
    assert path.read_text() == "a,b\n1,2\n3,4\n"


def test_text_that_a_spreadsheet_would_run_is_guarded(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    ScoreTable(path, ["a", "b"]).append(
        [["=1+1", "+a"], ["-x.tif", "@SUM(A1)"], [-1.5, "-1.5"], ["\t=1", "a=b"], ["-inf", None]]
    )
    _, *rows = csv.reader(path.read_text().splitlines())
    assert rows == [
        ["'=1+1", "'+a"],
        ["'-x.tif", "'@SUM(A1)"],
        ["-1.5", "-1.5"],
        ["'\t=1", "a=b"],
        ["-inf", ""],
    ]


def test_columns_that_change_before_the_rows_come_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    table = ScoreTable(path, ["a", "b"])
    path.write_text("a,c\n")
    with pytest.raises(UsageError, match="has 2 columns"):
        table.append([[3, 4]])
    assert path.read_text() == "a,c\n"


@pytest.mark.slow
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.tif", np.ones((1, 12, 12), np.float32))
    path = tmp_path / "scores.csv"
    arguments = ("evaluate", raster, raster, "--csv", path, "--metrics", "rmse", "-q")
    assert in_a_process(*arguments).code == 0
    before = path.read_bytes()
    ended = in_a_process(*arguments, limit=len(before) + 20)
    assert (ended.code, path.read_bytes()) == (4, before)
    assert ended.err.count("\n") == 1
    assert "cannot be appended to" in ended.err
