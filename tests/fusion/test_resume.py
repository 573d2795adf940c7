"""Runs that are killed, interrupted or disturbed: what is resumed is what would have been; nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import RasterioIOError

from emrdiff_cli import __version__
from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import EmrdiffError, InputError, OutputExistsError, UsageError, WriteError
from emrdiff_cli.fusion.fusing import FusionReport, fuse
from emrdiff_cli.fusion.journal import Journal
from emrdiff_cli.fusion.sampler import ModelSampler
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.runtime.sole_run import sole_run
from emrdiff_cli.zoo import WEIGHTS
from tests.support.pairs import write_pair
from tests.support.random_model import save_random_model
from tests.support.resumed_runs import OLD, TILES, beside, rows_kept
from tests.support.samplers import Fake, Image, of_position, settings

FORMATS = [("GTiff", "out.tif"), ("ENVI", "out.bsq"), ("COG", "cog.tif")]
Pair = tuple[Path, Path]
Failing = Callable[[Any, Exception | None], Any]


def fake(estimate: Any = of_position, **changes: Any) -> Fake:
    return Fake(settings(**changes), estimate)


def go(pair: Pair, output: Path, sampler: Fake | None = None, **changes: Any) -> FusionReport:
    options = replace(TILES, overwrite=True, **changes)
    return fuse(*pair, output, "glp", sampler or fake(), options)


def slow(tile: TileInputs, corner: tuple[int, int]) -> Image:
    """As `of_position`, with time enough to be killed in."""
    time.sleep(0.005)
    return of_position(tile, corner)


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


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, lr_holes=[(3, 5)], msi_holes=np.s_[:, 40:42, 10:20])


# Resumed


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "name"), FORMATS)
def test_a_run_killed_at_any_moment_is_resumed_to_the_same_bytes(
    tmp_path: Path, pair: Pair, driver: str, name: str
) -> None:
    output, chance = tmp_path / name, random.Random(name)
    started = time.monotonic()
    go(pair, output, fake(slow), driver=driver)
    seconds = time.monotonic() - started
    whole = contents(output)
    for _ in range(5):
        output.with_suffix(".hdr").unlink(missing_ok=True)
        output.write_bytes(OLD)
        delay = chance.uniform(0, seconds)
        killed = in_a_child(lambda: go(pair, output, fake(slow), driver=driver), delay)
        if killed == -signal.SIGKILL:
            assert output.read_bytes() in (OLD, whole[0])
        go(pair, output, driver=driver, resume=True)
        assert contents(output) == whole
        assert beside(output) == []


def test_only_the_missing_rows_are_computed(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    first, again = fake(), fake()
    go(pair, output, first)
    whole = output.read_bytes()
    interrupt(pair, output)
    assert output.read_bytes() == whole
    assert beside(output) == [".out.tif.journal"]
    done = len(rows_kept(output))
    report = go(pair, output, again, resume=True)
    assert f"resumed: {done} of 5 tile rows were done" in report.notes
    rows = [{row for row, _ in batch} for batch in again.batches]
    assert 0 < done < 5
    assert again.batches == first.batches[-len(rows) :]
    assert len(set.union(*rows)) == 5 - done
    assert output.read_bytes() == whole
    assert beside(output) == []


def test_a_calibration_of_the_archive_and_bounds_are_resumed(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    left, top = 383472.37, 5818302.35
    changes: dict[str, Any] = {"bounds": (left + 90, top - 450, left + 400, top - 30), "register": "off"}
    go(pair, output, **changes)
    whole = output.read_bytes()
    interrupt(pair, output, **changes)
    go(pair, output, resume=True, **changes)
    assert output.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "moved"])
def test_a_damaged_row_is_computed_again(tmp_path: Path, pair: Pair, damage: str) -> None:
    output = tmp_path / "out.tif"
    go(pair, output)
    whole = output.read_bytes()
    interrupt(pair, output, after=40)
    rows = rows_kept(output)
    content = bytearray(rows[1].read_bytes())
    content[-50] ^= 1
    changed: dict[str, bytes | bytearray] = {
        "cut": content[:-1],
        "flipped": content,
        "empty": b"",
        "moved": rows[0].read_bytes(),
    }
    rows[1].write_bytes(changed[damage])
    sampler = fake()
    go(pair, output, sampler, resume=True)
    assert len({row for batch in sampler.batches for row, _ in batch}) == 5 - (len(rows) - 1)
    assert output.read_bytes() == whole


@pytest.mark.parametrize("name", ["run.json", "scene.npz"])
def test_a_damaged_record_starts_the_run_anew(tmp_path: Path, pair: Pair, name: str) -> None:
    output = tmp_path / "out.tif"
    go(pair, output)
    whole = output.read_bytes()
    interrupt(pair, output)
    path = Journal(output).folder / name
    path.write_bytes(path.read_bytes()[:-100])
    report = go(pair, output, resume=True)
    assert any("nothing to resume" in note for note in report.notes)
    assert output.read_bytes() == whole


def test_a_scene_that_another_version_kept_is_prepared_again(tmp_path: Path, pair: Pair) -> None:
    output, expected = tmp_path / "out.tif", tmp_path / "expected.tif"
    go(pair, expected)
    interrupt(pair, output)
    folder = Journal(output).folder
    with np.load(folder / "scene.npz") as kept:
        renamed = {name.replace("end.fitted", "fields"): array for name, array in kept.items()}
    np.savez(folder / "scene.npz", **renamed)
    record = json.loads((folder / "run.json").read_text())
    record["scene"] = hashlib.sha256((folder / "scene.npz").read_bytes()).hexdigest()
    (folder / "run.json").write_text(json.dumps(record))
    assert "tile rows were done" in " ".join(go(pair, output, resume=True).notes)
    assert output.read_bytes() == expected.read_bytes()


def test_nothing_to_resume_is_said(tmp_path: Path, pair: Pair) -> None:
    for sampler in (fake(), None):
        options = replace(TILES, overwrite=True, resume=True)
        report = fuse(*pair, tmp_path / "out.tif", "glp", sampler, options)
        assert any("nothing to resume" in note for note in report.notes)


def test_an_interruption_before_the_first_row_leaves_nothing(tmp_path: Path, pair: Pair) -> None:
    interrupt(pair, tmp_path / "out.tif", after=0)
    assert beside(tmp_path / "out.tif") == []


def test_a_disk_that_is_full_at_once_leaves_nothing(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(WriteError, match="cannot be written: No space left on device"):
        go(pair, tmp_path / "out.tif")
    assert beside(tmp_path / "out.tif") == []


def test_an_unfinished_run_is_not_lost_unasked(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    kept = rows_kept(output)
    for sampler in (fake(), None):
        with pytest.raises(OutputExistsError, match="--resume to go on with it, --overwrite to start anew"):
            fuse(*pair, output, "glp", sampler, TILES)
    assert rows_kept(output) == kept
    sampler = fake()
    go(pair, output, sampler)
    assert len({row for batch in sampler.batches for row, _ in batch}) == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"overlap": 2}, r"--overlap 4 \(now 2\)"),
        ({"tile": 32}, r"--tile 16 \(now 32\)"),
        ({"dtype": "float32"}, r"--dtype int16 \(now float32\)"),
        ({"driver": "ENVI"}, r"--format GTiff \(now ENVI\)"),
        ({"creation_options": {"COMPRESS": "LZW"}}, "--co"),
        ({"register": "off"}, r"--register auto \(now off\)"),
        ({"srf": "estimate"}, "--srf automatic"),
        ({"bounds": (0.0, 0.0, 1.0, 1.0)}, r"--bounds none \(now 0.0 0.0 1.0 1.0\)"),
    ],
)
def test_another_option_is_refused_by_name(
    tmp_path: Path, pair: Pair, changes: dict[str, Any], said: str
) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    kept = rows_kept(output)
    with pytest.raises(UsageError, match=said):
        go(pair, output, resume=True, **changes)
    assert rows_kept(output) == kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"change": 1e-3}, "another model"),
        ({"seed": 1}, r"--seed 0 \(now 1\)"),
        ({"steps": 2}, r"--steps 5 \(now 2\)"),
    ],
)
def test_another_sampler_of_the_same_configuration_is_refused(
    tmp_path: Path, pair: Pair, other: dict[str, Any], said: str
) -> None:
    """Its own identity tells, whatever the caller says of it."""
    folder, output = save_random_model(tmp_path / "model"), tmp_path / "out.tif"

    def sampler(change: float = 0.0, seed: int = 0, steps: int | None = None) -> ModelSampler:
        model = load_model(folder / WEIGHTS)
        model.network.heads[0].get_parameter("weight").add_(change)
        return ModelSampler(model, torch.device("cpu"), seed, steps)

    options = replace(TILES, tile=32, overlap=8)
    first = sampler()

    class Interrupted:
        config, calibration, identity = first.config, first.calibration, first.identity

        def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Image]:
            if corners[0][0] > 0:
                raise KeyboardInterrupt
            return first(tiles, corners)

    with pytest.raises(KeyboardInterrupt):
        fuse(*pair, output, "emrdiff", Interrupted(), options)
    kept = rows_kept(output)
    with pytest.raises(UsageError, match=said):
        fuse(*pair, output, "emrdiff", sampler(**other), replace(options, resume=True))
    assert rows_kept(output) == kept
    report = fuse(*pair, output, "emrdiff", sampler(steps=5), replace(options, resume=True))
    assert any(note.startswith("resumed: ") for note in report.notes)


def test_a_journal_of_another_format_is_refused(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    record = Journal(output).folder / "run.json"
    content = json.loads(record.read_text())
    content["key"]["version"] = f"{__version__}, journal 1"
    record.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="another version"):
        go(pair, output, resume=True)


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


def test_what_a_kill_leaves_of_a_journal_is_removed(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    folder = Journal(output).folder
    folder.mkdir()
    for name in ("scene.npz", "row-00000", "row-123456", ".row-00001.part-99", ".run.json.part-99"):
        (folder / name).write_bytes(OLD)
    go(pair, output)
    assert beside(output) == []


def test_another_network_or_method_is_refused(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    with pytest.raises(UsageError, match="another model"):
        go(pair, output, fake(kappa=1.0), resume=True)
    with pytest.raises(UsageError, match="another --method"):
        fuse(*pair, output, "glp", None, replace(TILES, resume=True))


@pytest.mark.parametrize("which", [0, 1])
def test_another_input_is_refused(tmp_path: Path, pair: Pair, which: int) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    with rasterio.open(pair[which], "r+") as dataset:
        values = dataset.read(1)
        values[-1, -1] += 1
        dataset.write(values, 1)
    with pytest.raises(UsageError, match=("another LR-HSI", "another HR-MSI")[which]):
        go(pair, output, resume=True)


def test_an_input_is_known_by_name_size_and_time_of_change(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    state = pair[1].stat()
    shutil.copy2(pair[1], tmp_path / "copy.tif")
    (tmp_path / "copy.tif").replace(pair[1])
    os.utime(pair[1], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(UsageError, match="another HR-MSI"):
        go(pair, output, resume=True)
    os.utime(pair[1], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert any(note.startswith("resumed: ") for note in go(pair, output, resume=True).notes)


def test_no_input_is_read_for_its_identity(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with a sampler reads the rasters by windows alone: no whole file goes through a hash."""
    digest, hashed = hashlib.file_digest, []

    def watched(file: Any, *rest: Any) -> Any:
        hashed.append(Path(file.name).name)
        return digest(file, *rest)

    monkeypatch.setattr(hashlib, "file_digest", watched)
    go(pair, tmp_path / "out.tif")
    assert not {path.name for path in pair} & set(hashed)


@pytest.mark.parametrize("which", [0, 1])
def test_an_input_that_is_replaced_meanwhile_is_refused(tmp_path: Path, pair: Pair, which: int) -> None:
    output = tmp_path / "out.tif"
    output.write_bytes(OLD)

    def swap(tile: TileInputs, corner: tuple[int, int]) -> Image:
        shutil.copy(pair[which], tmp_path / "swapped.tif")
        (tmp_path / "swapped.tif").replace(pair[which])
        return of_position(tile, corner)

    with pytest.raises(InputError, match=f"{pair[which].name}: was changed while it was read"):
        go(pair, output, fake(swap))
    assert output.read_bytes() == OLD


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


# Faults


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "name"), FORMATS)
@pytest.mark.parametrize("sampled", [True, False])
def test_a_full_disk_at_any_point(tmp_path: Path, driver: Driver, name: str, sampled: bool) -> None:
    pair = write_pair(tmp_path)
    output, chance = tmp_path / name, random.Random(name)
    sampler = fake() if sampled else None
    options = replace(TILES, overwrite=True, driver=driver)
    fuse(*pair, output, "glp", sampler, options)
    size, whole = output.stat().st_size, contents(output)
    output.with_suffix(".hdr").unlink(missing_ok=True)
    output.write_bytes(OLD)
    for limit in (1, *(chance.randrange(size) for _ in range(10)), size - 1):
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
    pair, output = write_pair(tmp_path, 32, 36), tmp_path / name
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


def test_a_failure_of_the_writer_ends_the_run(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the sampler would have gone on for long."""

    def fail(*_: object) -> None:
        raise WriteError("the disk is gone")

    monkeypatch.setattr(VerifiedWriter, "append", fail)
    sampler = fake()
    with pytest.raises(WriteError, match="the disk is gone"):
        go(pair, tmp_path / "out.tif", sampler)
    assert len({row for batch in sampler.batches for row, _ in batch}) <= 4


# Through the front door


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Pair, bytes]:
    """A command without its output, its inputs, and what it comes to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    pair, model = write_pair(folder, lr_holes=[(3, 5)]), save_random_model(folder / "model")
    command = [sys.executable, "-m", "emrdiff_cli", "fuse", *map(str, pair), "--model", str(model)]
    command += ["--tile", "16", "--overlap", "4", "--steps", "30", "--batch-size", "3", "--overwrite"]
    assert subprocess.run([*command, str(folder / "out.tif"), "-q"], check=False).returncode == 0
    return command, pair, (folder / "out.tif").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_command_is_resumed_with_a_network(
    tmp_path: Path, uninterrupted: tuple[list[str], Pair, bytes], number: signal.Signals
) -> None:
    command, _, whole = uninterrupted
    output = tmp_path / "out.tif"
    output.write_bytes(OLD)
    with subprocess.Popen([*command, str(output)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while len(rows_kept(output)) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), err
    assert "Traceback" not in err
    assert output.read_bytes() == OLD
    if number == signal.SIGINT:
        assert beside(output) == [".out.tif.journal"]
    ended = subprocess.run([*command, str(output), "--resume"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Note: resumed: " in ended.stderr
    assert output.read_bytes() == whole
    assert beside(output) == []
