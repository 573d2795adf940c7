"""Runs of fusion that get in each other's way, and disks and files that fail them: nothing is lost."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.errors import RasterioIOError

from emrdiff_cli.errors import UsageError, WriteError
from emrdiff_cli.fusion.fusing import fuse
from emrdiff_cli.fusion.journal import Journal
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.runtime.sole_run import sole_run
from tests.support.pairs import write_pair
from tests.support.resumed_runs import (
    FORMATS,
    OLD,
    TILES,
    Pair,
    beside,
    code_of,
    contents,
    fake,
    go,
    in_a_child,
    interrupt,
)

Failing = Callable[[Any, Exception | None], Any]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, lr_holes=[(3, 5)], msi_holes=np.s_[:, 40:42, 10:20])


# Beside each other


def test_two_runs_on_a_target_are_refused(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    with sole_run(output), pytest.raises(UsageError, match=f"by another run .process {os.getpid()}."):
        go(pair, output)
    go(pair, output)
    assert beside(output) == []


def test_what_a_killed_run_left_is_swept(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    gone = in_a_child(lambda: None)
    assert gone == 0
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [f".out.tif.part-{dead.pid}{end}" for end in ("", ".hdr", ".aux.xml", ".draft.ovr.tmp")]
    others = [f".out.tif.part-{os.getppid()}", f".other.tif.part-{dead.pid}", ".out.tif.part-x"]
    for name in (*left, *others):
        (tmp_path / name).write_text("left")
    (tmp_path / ".out.tif.lock").write_text(f"process {dead.pid}\n")
    # A run on another output sweeps it too; a lock of a process that runs, or of another program, it leaves.
    (tmp_path / ".else.tif.lock").write_text(f"process {dead.pid}\n")
    for name, text in ((".held.tif.lock", f"process {os.getppid()}\n"), (".foreign.lock", "")):
        (tmp_path / name).write_text(text)
        others.append(name)
    go(pair, output)
    assert beside(output) == sorted(others)


def link(lock: Path, mine: Path) -> None:
    lock.symlink_to(mine)


def second_name(lock: Path, mine: Path) -> None:
    lock.hardlink_to(mine)


@pytest.mark.parametrize("make", [link, second_name])
def test_a_lock_is_neither_followed_nor_emptied_where_it_is_none(
    pair: Pair, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    mine, lock = tmp_path / "mine.txt", tmp_path / ".out.tif.lock"
    mine.write_text("years of work")
    make(lock, mine)
    with pytest.raises(WriteError, match="is no lock of a run"):
        go(pair, tmp_path / "out.tif")
    assert mine.read_text() == "years of work"
    assert lock.exists()


@pytest.mark.parametrize("foreign", ["notes.txt", "row-00001/deeper.txt", "row-one", ".row-00000.part-1.bak"])
@pytest.mark.parametrize("sampler", [True, False])
def test_a_folder_that_is_no_journal_is_left_alone(
    tmp_path: Path, pair: Pair, foreign: str, sampler: bool
) -> None:
    output = tmp_path / "out.tif"
    theirs = Journal(output).folder / foreign
    theirs.parent.mkdir(parents=True)
    for path in (theirs, Journal(output).folder / "run.json"):
        path.write_bytes(OLD)
    with pytest.raises(WriteError, match=f"{theirs.relative_to(tmp_path).parts[1]}, which is no journal's"):
        fuse(*pair, output, "glp", fake() if sampler else None, replace(TILES, overwrite=True))
    assert theirs.read_bytes() == (Journal(output).folder / "run.json").read_bytes() == OLD
    assert not output.exists()


def test_a_link_in_the_journals_place_is_left_alone(tmp_path: Path, pair: Pair) -> None:
    output, theirs = tmp_path / "out.tif", tmp_path / "theirs"
    theirs.mkdir()
    Journal(output).folder.symlink_to(theirs)
    with pytest.raises(WriteError, match="is no journal's folder"):
        go(pair, output)
    assert Journal(output).folder.is_symlink()


# Faults


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "name"), FORMATS)
@pytest.mark.parametrize("sampled", [True, False])
def test_a_full_disk_at_any_point(tmp_path: Path, driver: Driver, name: str, sampled: bool) -> None:
    pair = write_pair(tmp_path, 40, 44)
    output, chance = tmp_path / name, random.Random(name)
    sampler = fake() if sampled else None
    options = replace(TILES, overwrite=True, driver=driver)
    fuse(*pair, output, "glp", sampler, options)
    size, whole = output.stat().st_size, contents(output)
    output.with_suffix(".hdr").unlink(missing_ok=True)
    output.write_bytes(OLD)
    for limit in (1, *(chance.randrange(size) for _ in range(4)), size - 1):
        said, say = os.pipe()

        def limited(most: int = limit, say: int = say) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            try:
                fuse(*pair, output, "glp", sampler, replace(options, resume=True))
            except WriteError as error:
                os.write(say, str(error).encode())
                raise

        assert in_a_child(limited) == 4
        message = os.read(said, 10000).decode()
        os.close(said)
        os.close(say)
        assert output.name in message
        assert "disk full" in message or "File too large" in message
        assert "\n" not in message
        assert output.read_bytes() == OLD
        assert [name for name in beside(output) if not name.endswith(".journal")] == []
    fuse(*pair, output, "glp", sampler, replace(options, resume=True))
    assert contents(output) == whole
    assert beside(output) == []


def faults(monkeypatch: pytest.MonkeyPatch, what: str) -> Iterator[Callable[[], bool]]:
    """Let the first, second, ... call of a kind fail; each time whether it came to that can be asked."""
    for number in range(1, 1000):
        left = number

        def failing(real: Any, error: Exception | None) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left != 0:
                    return real(*args, **kwargs)
                if error is not None:
                    raise error
                return None

            return call

        with monkeypatch.context() as patched:
            patched.setattr(*_fault(what, failing))
            yield lambda: left <= 0  # noqa: B023 (asked before the next)
        if left > 0:
            return


def _fault(what: str, failing: Failing) -> tuple[Any, str, Any]:
    """Where a kind of call is made, by which name, and what fails in its place."""
    match what:
        case "read":
            return RasterReader, "_read_indexes", _reading(failing)
        case "write":
            return VerifiedWriter, "__enter__", _entering(failing, RasterioIOError("Write failed"))
        case "silent write":
            return VerifiedWriter, "__enter__", _entering(failing, None)
        case "rename":
            return Path, "replace", failing(Path.replace, OSError(5, "Input/output error"))
    return os, "fsync", failing(os.fsync, OSError(28, "No space left on device"))


def _reading(failing: Failing) -> Any:
    real = RasterReader._read_indexes

    def read(self: RasterReader, method: Any, *rest: Any) -> Any:
        return real(self, failing(method, RasterioIOError("Read failed")), *rest)

    return read


def _entering(failing: Failing, error: Exception | None) -> Any:
    real = VerifiedWriter.__enter__

    def enter(self: Any) -> Any:
        real(self)
        self._dataset = _Faulty(self._dataset, failing(self._dataset.write, error))
        return self

    return enter


class _Faulty:
    """A dataset with another way to write."""

    def __init__(self, dataset: Any, write: Any) -> None:
        self._dataset, self.write = dataset, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read", "write", "silent write", "rename", "sync"])
@pytest.mark.parametrize(("driver", "name"), FORMATS)
@pytest.mark.parametrize("sampled", [True, False])
def test_whatever_fails_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, driver: Driver, name: str, sampled: bool
) -> None:
    pair, output = write_pair(tmp_path, 28, 28), tmp_path / name
    sampler = fake() if sampled else None
    options = replace(TILES, overwrite=True, driver=driver)
    fuse(*pair, output, "glp", sampler, options)
    whole = contents(output)
    old = [OLD, b"and its header"][: len(whole)]
    failed = 0
    for struck in faults(monkeypatch, what):
        for path, content in zip((output, output.with_suffix(".hdr")), old, strict=False):
            path.write_bytes(content)
        code = code_of(lambda: fuse(*pair, output, "glp", sampler, options))
        left = contents(output)
        # The very last sync is of the folder, after the output was put in place.
        in_place = code == 0 or (what == "sync" and left == whole)
        assert left == (whole if in_place else old)
        assert (code != 0) <= struck()
        assert code in ((0, 3, 4) if what == "read" else (0, 4))
        assert [name for name in beside(output) if not name.endswith(".journal")] == []
        failed += code != 0
    assert failed >= (1 if what in ("write", "silent write") else 2 if sampled else 1)
    output.write_bytes(OLD)
    fuse(*pair, output, "glp", sampler, replace(options, resume=True))
    assert contents(output) == whole


@pytest.mark.slow
def test_a_journal_that_cannot_be_read_is_computed_again(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    go(pair, output)
    whole = output.read_bytes()
    interrupt(pair, output)
    real = Path.read_bytes
    for broken in range(1, 7):
        left = broken

        def read(path: Path) -> bytes:
            nonlocal left
            left -= path.name.startswith("row-")
            if left == 0 and path.name.startswith("row-"):
                raise OSError(5, "Input/output error")
            return real(path)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", read)
            go(pair, output, resume=True)
        assert output.read_bytes() == whole
        interrupt(pair, output)


def test_a_failure_of_the_writer_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the sampler would have gone on for long: there are 16 rows of tiles."""

    def fail(*_: object) -> None:
        raise WriteError("the disk is gone")

    monkeypatch.setattr(VerifiedWriter, "append_stored", fail)
    sampler = fake()
    with pytest.raises(WriteError, match="the disk is gone"):
        go(write_pair(tmp_path, 192, 24), tmp_path / "out.tif", sampler)
    assert len({row for batch in sampler.batches for row, _ in batch}) <= 12
