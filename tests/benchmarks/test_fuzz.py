"""The fuzz in short, and that it sees what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.strangers.door import Door
from tests.benchmarks.strangers.worker import KINDS, faults_of, kind_of
from tests.support.rasters import pixels, write_tif


def fuzzed(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks.fuzz", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.slow
def test_forty_cases(tmp_path: Path) -> None:
    """Stopped half way and gone on with: nothing is found, and no case is run twice."""
    journal = tmp_path / "journal"
    for count in (20, 40):
        ended = fuzzed("--count", count, "--seed", 1, "--journal", journal)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert f"| all | {count} | 0 |" in ended.stdout
    outcomes = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [outcome["ended"] for outcome in outcomes] == list(range(40))
    assert {outcome["kind"] for outcome in outcomes} == set(KINDS)


def test_a_case_is_known_by_its_number(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert {kind_of(number, list(KINDS)) for number in range(40)} == set(KINDS)
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        with capfd.disabled():
            faults = faults_of("csv", 0, number, tmp_path / str(number))
        assert faults == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("def read_info(path): return 1 // 0", "exit code 1"),
        ("def read_info(path): raise KeyboardInterrupt", "exit code 130"),
        ("def read_info(path): raise MemoryError('Unable to allocate 9 GiB')", "too much memory"),
    ],
)
def test_faults_are_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    broken: str,
    said: str,
) -> None:
    names: dict[str, object] = {}
    exec(broken, names)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emrdiff_cli.report.inspection.read_info", names["read_info"])
    write_tif(tmp_path / "a.tif", pixels(1, 2, 3))
    emrdiff = Door()
    with capfd.disabled():
        assert emrdiff.record("a.tif") is None
    assert said in "\n".join(emrdiff.faults)
