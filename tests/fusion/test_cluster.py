"""Tile rows on dask.distributed: the same output, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, ClassVar, cast

import dask
import numpy as np
import pytest
import torch

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import EmrdiffError, InputError, ModelError, UsageError, WriteError
from emrdiff_cli.fusion import cluster
from emrdiff_cli.fusion.cluster import ClusterOptions, Workers, workers_of
from emrdiff_cli.fusion.fusing import FusionReport, fuse
from emrdiff_cli.fusion.job import worker_sampler
from emrdiff_cli.fusion.journal import Journal
from emrdiff_cli.fusion.options import FusionSettings
from emrdiff_cli.fusion.prepared_scene import PreparedScene, prepare_scene
from emrdiff_cli.fusion.sampler import choose_device, gpu_count
from emrdiff_cli.fusion.tile_rows import TileRow, sample_rows, tiling_over
from emrdiff_cli.fusion.worker import MakeSampler, SceneTask, sample_row, task_of
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.raster_info import Window
from tests.support import held_rows as held
from tests.support.front_door import Run
from tests.support.pairs import write_pair
from tests.support.places import ROOT
from tests.support.random_model import save_random_model
from tests.support.rasters import read_back
from tests.support.resumed_runs import OLD, TILES, beside, rows_kept
from tests.support.samplers import Fake, Image, of_position, settings

DASK = [sys.executable, "-m", "dask"]
LONG = 200  # seconds, which nothing here takes unless it has failed
Pair = tuple[Path, Path]


def make_fake(_number: int) -> Fake:
    return Fake(settings(), of_position)


def die(_tile: TileInputs, _corner: tuple[int, int]) -> Image:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def make_deadly(_number: int) -> Fake:
    return Fake(settings(), die)


def make_picky(_number: int) -> Fake:
    def estimate(tile: TileInputs, corner: tuple[int, int]) -> Image:
        if corner[0] > 20:
            raise InputError("too far down")
        return of_position(tile, corner)

    return Fake(settings(), estimate)


def make_starved(_number: int) -> Fake:
    def estimate(_tile: TileInputs, _corner: tuple[int, int]) -> Image:
        raise MemoryError

    return Fake(settings(), estimate)


def make_stale(_number: int) -> Fake:
    def estimate(_tile: TileInputs, _corner: tuple[int, int]) -> Image:
        raise TimeoutError(110, "Connection timed out")

    return Fake(settings(), estimate)


def wait_until(there: Callable[[], bool], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait for a condition while a process runs; fails where it ends, or nothing comes of it for long."""
    deadline = time.monotonic() + LONG
    while not there():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def dask_cluster(
    folder: Path, workers: int, *packages: Path
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler with workers, each a process by itself: its address, and the processes, the scheduler's first.

    The workers have the tests' modules, and packages from further folders before all others.
    """
    path = os.pathsep.join(map(str, [*packages, ROOT]))
    environment = {**os.environ, "PYTHONPATH": path}
    quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "env": environment, "cwd": folder}
    contact = folder / "scheduler.json"
    contact.unlink(missing_ok=True)
    rest = ["--scheduler-file", str(contact), "--no-dashboard"]
    command = [*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", *rest]
    processes = [subprocess.Popen(command, **quiet)]
    command = [*DASK, "worker", "--nthreads", "1", "--no-nanny", "--memory-limit", "0", *rest]
    try:
        processes += [subprocess.Popen(command, **quiet) for _ in range(workers)]
        # Its last character is there when all of it is.
        wait_until(lambda: contact.exists() and contact.read_text().endswith("}"), processes[0])
        yield json.loads(contact.read_text())["address"], processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, lr_holes=[(3, 5)])


@pytest.fixture(scope="module")
def local() -> Iterator[Workers]:
    """Two workers of this machine, beside a process that has dask's port; a row that kills one is not repeated."""
    with (
        socket() as other,
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
    ):
        with suppress(OSError):  # then something else has it
            other.bind(("127.0.0.1", 8787))
        with workers_of(ClusterOptions("local", 2), "cpu") as workers:
            assert workers is not None
            yield workers


def prepared(pair: Any) -> PreparedScene:
    return prepare_scene(pair, "glp", make_fake(0))


# The same output


@pytest.mark.slow
def test_workers_give_the_rows_that_this_process_gives(local: Workers, pair: Pair) -> None:
    with open_pair(*pair) as opened:
        scene, area = prepared(opened), Window(0, 0, 64, 72)
        tiling = tiling_over(area, opened, settings(), TILES)
        counts: dict[str, list[int]] = {"here": [], "there": []}

        def watch(where: str, tiles: int, seconds: float) -> None:
            assert seconds >= 0
            counts[where].append(tiles)

        rest = (scene, tiling, tiling.rows, 2)
        here = list(sample_rows(make_fake(0), *rest, partial(watch, "here")))
        there = list(local.sample_rows(make_fake, *rest, partial(watch, "there")))
    np.testing.assert_array_equal(there, here)
    assert sum(counts["there"]) == sum(counts["here"]) == len(tiling.tiles)
    assert len(counts["there"]) == len(tiling.rows)


@pytest.mark.slow
def test_a_fusion_by_workers_writes_the_same_bytes_and_either_goes_on_with_the_others(
    local: Workers, tmp_path: Path, pair: Pair
) -> None:
    output = tmp_path / "out.tif"
    options = replace(TILES, register="auto", overwrite=True)

    def go(make: MakeSampler, there: bool, resume: bool = False) -> FusionReport:
        sampling = partial(local.sample_rows, make) if there else None
        return fuse(*pair, output, "glp", make(0), replace(options, resume=resume), sampling=sampling)

    go(make_fake, there=False)
    whole = output.read_bytes()
    go(make_fake, there=True)
    assert output.read_bytes() == whole
    for there in (True, False):
        with pytest.raises(InputError, match="too far down") as ended:
            go(make_picky, there)
        assert there == bool(re.search(r"\(worker tcp://127.0.0.1:\d+\)$", str(ended.value)))
        assert output.read_bytes() == whole
        assert 0 < len(rows_kept(output)) < 5
        report = go(make_fake, not there, resume=True)
        assert any("resumed" in note for note in report.notes)
        assert output.read_bytes() == whole
        assert beside(output) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (make_starved, EmrdiffError, r"a single tile of 16 x 16 pixels does not fit .* \(worker tcp:"),
        (make_stale, InputError, r"Connection timed out \(worker tcp:"),
    ],
)
def test_what_fails_on_a_worker_is_said_in_one_line(
    local: Workers, tmp_path: Path, pair: Pair, make: MakeSampler, error: type[EmrdiffError], said: str
) -> None:
    output = tmp_path / "out.tif"
    with pytest.raises(error, match=said):
        fuse(*pair, output, "glp", make_fake(0), TILES, sampling=partial(local.sample_rows, make))
    assert beside(output) == []


@pytest.mark.slow
def test_a_full_disk_ends_it_and_leaves_the_workers(
    local: Workers, tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WriteError("no space left")

    go = partial(fuse, *pair, tmp_path / "out.tif", "glp", make_fake(0), TILES)
    sampling = partial(local.sample_rows, make_fake)
    monkeypatch.setattr(Journal, "keep", full)
    with pytest.raises(WriteError, match="no space left"):
        go(sampling=sampling)
    assert beside(tmp_path / "out.tif") == []
    monkeypatch.undo()
    go(sampling=sampling)


# What may be lost


@contextmanager
def held_rows(arguments: Sequence[object], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own, whose workers hold rows until there are words in the folder."""
    folder.mkdir()
    lines = ["import sys", "from emrdiff_cli.fusion import cluster"]
    lines += ["cluster._PRELOADED.append('tests.support.held_rows')"]
    lines += [f"sys.argv = {['emrdiff', *map(str, arguments)]!r}"]
    lines += ["from emrdiff_cli.cli.app import main", "if __name__ == '__main__': main()"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        held.FOLDER: str(folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def waiting(folder: Path, word: str) -> list[int]:
    """The workers that have taken a row that waits for this word."""
    return [int(path.name.removeprefix(f"{word}-")) for path in folder.glob(f"{word}-*")]


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing_and_ctrl_c_leaves_what_was_done(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, model = write_pair(tmp_path, 128, 24), save_random_model(tmp_path / "model")
    alone, folder, scratch = tmp_path / "alone.tif", tmp_path / "its", tmp_path / "scratch"
    options = ["--model", model, "--dtype", "float32", "--overwrite", "--json", "-q", "--tile", 16]
    options += ["--overlap", 4, "--steps", 2, "--batch-size", 3, "--precision", "fp32"]
    ended = emrdiff("fuse", *pair, alone, *options)
    assert ended.code == 0, ended
    for made in (folder, scratch):
        made.mkdir()
    output = folder / "out.tif"
    output.write_bytes(OLD)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.chdir(folder)

    words = tmp_path / "words"
    command = ["fuse", *pair, output, *options, "--scheduler", "local", "--workers", 2]
    with held_rows(command, words) as process:
        wait_until(lambda: waiting(words, "go") != [], process)
        assert len(list(scratch.glob("*/*/worker-*.dirlock"))) == 2
        before = len(rows_kept(output))
        assert 0 < before < 5
        os.kill(waiting(words, "go")[0], signal.SIGKILL)
        (words / "go").touch()
        wait_until(lambda: waiting(words, "go on") != [] and len(rows_kept(output)) > before, process)
        os.killpg(process.pid, signal.SIGINT)
        (words / "go on").touch()
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (130, "", "Interrupted.\n")
    assert output.read_bytes() == OLD
    assert beside(output) == [".out.tif.journal"]
    wait_until(lambda: not any(scratch.iterdir()))

    ended = emrdiff(*command[:-4], "--resume")
    assert (ended.code, ended.err) == (0, "")
    assert any(note.startswith("resumed: ") for note in json.loads(ended.out)["notes"])
    np.testing.assert_allclose(read_back(output), read_back(alone), rtol=1e-5, atol=1e-6)
    assert beside(output) == []


class Starting:
    """In place of a LocalCluster: one whose start is slow and interrupted, and then perhaps fails."""

    seen: ClassVar[list[str]] = []
    fails = False

    def __init__(self, **_: object) -> None:
        warnings.warn("taking a surprisingly long time", stacklevel=1)
        signal.raise_signal(signal.SIGINT)
        if self.fails:
            raise RuntimeError("Nanny failed to start.") from OSError("no port")
        self.seen.append("started")

    def __enter__(self) -> Starting:
        return self

    def __exit__(self, *_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        self.seen.append("stopped")


def test_ctrl_c_while_workers_start_or_stop_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.LocalCluster", Starting)
    monkeypatch.setattr("distributed.Client", lambda *_, **__: nullcontext())
    with pytest.raises(KeyboardInterrupt), workers_of(ClusterOptions("local", 1), "cpu"):
        Starting.seen.append("used")
    assert Starting.seen == ["started", "stopped"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_row_that_is_done_has_time_to_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.ones((1, 2, 3), np.float32)

    class Slow:
        def done(self) -> bool:
            return True

        def result(self, timeout: float) -> tuple[Any, float]:
            if timeout < 60:
                raise TimeoutError
            return values, 1.5

    class Empty:
        def nthreads(self) -> dict[str, int]:
            return {}

    monkeypatch.setattr(cluster, "_PATIENCE", -1)
    workers: Any = Workers(cast(Any, Empty()))
    assert workers._result(cluster._Pending(TileRow(0, ()), cast(Any, Slow()))) == (values, 1.5)


@pytest.mark.slow
def test_a_row_that_kills_its_worker_is_one_line(local: Workers, tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    with pytest.raises(EmrdiffError, match=r"tile row 0: each worker that took it died: .* --batch-size"):
        fuse(*pair, output, "glp", make_fake(0), TILES, sampling=partial(local.sample_rows, make_deadly))
    assert beside(output) == []


@pytest.mark.slow
def test_a_manifest_by_a_scheduler_and_what_happens_when_that_is_lost(
    emrdiff: Run, tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_random_model(tmp_path / "model")
    manifest = tmp_path / "pairs.csv"
    rows = ["lr.tif,msi.tif,a.tif,", "lr.tif,none.tif,b.tif,", "lr.tif,msi.tif,c.tif,glp"]
    manifest.write_text("\n".join(["lr_hsi,hr_msi,output,method", *rows, ""]))
    monkeypatch.setattr(cluster, "_ARRIVE", LONG)
    options = ("--model", model, "--tile", 16, "--overlap", 4, "--batch-size", 2)
    assert emrdiff("fuse", *pair, tmp_path / "one.tif", *options, "-q").code == 0
    with dask_cluster(tmp_path, 1) as (address, processes):
        command = ("fuse", "--manifest", manifest, *options, "--keep-going", "--scheduler", address, "-q")
        ended = emrdiff(*command)
        assert ended.code == 3, ended
        lines = [json.loads(line) for line in ended.out.splitlines()]
        assert [line["status"] for line in lines] == ["done", "failed", "done"]
        assert [line.get("method") for line in lines] == ["emrdiff", None, "glp"]
        np.testing.assert_allclose(read_back(tmp_path / "a.tif"), read_back(tmp_path / "one.tif"), atol=1)

        monkeypatch.setattr(cluster, "_LOOK", 0.1)
        monkeypatch.setattr(cluster, "_PATIENCE", 0.2)
        output = tmp_path / "out.tif"
        with workers_of(ClusterOptions(address), "cpu") as workers:
            assert workers is not None
            workers._client._timeout = 1  # for the scheduler to come back
            again = partial(fuse, *pair, output, "glp", make_fake(0), TILES)
            with pytest.raises(EmrdiffError, match=r"no worker has been left .* --resume"):
                again(sampling=partial(workers.sample_rows, make_deadly))
            processes[0].kill()
            for _ in range(2):
                with pytest.raises(EmrdiffError, match=r"connection to the scheduler was lost: .* --resume"):
                    again(sampling=partial(workers.sample_rows, make_fake))
                wait_until(lambda: workers._client.status == "closed")
    assert [name for name in beside(output) if name.startswith(".")] == []


@pytest.mark.slow
def test_a_scheduler_that_is_no_use_is_one_line(
    emrdiff: Run, tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT", 1)
    model = save_random_model(tmp_path / "model")
    command = ("fuse", *pair, tmp_path / "out.tif", "--model", model, "--scheduler")
    ended = emrdiff(*command, "tcp://127.0.0.1:9")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
    assert "no scheduler answers at tcp://127.0.0.1:9 within 1 s" in ended.err
    monkeypatch.setattr(cluster, "_CONNECT", LONG)
    monkeypatch.setattr(cluster, "_ARRIVE", 1)
    with dask_cluster(tmp_path, 0) as (address, _):
        ended = emrdiff(*command, address)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
        assert f"no worker came to {address} within 1 s: start some with `dask worker" in ended.err
    monkeypatch.setattr(cluster, "_ARRIVE", LONG)
    (tmp_path / "old/emrdiff-0.0.7.dist-info").mkdir(parents=True)
    (tmp_path / "old/emrdiff-0.0.7.dist-info/METADATA").write_text("Name: emrdiff\nVersion: 0.0.7\n")
    with dask_cluster(tmp_path, 1, tmp_path / "old") as (address, _):
        ended = emrdiff(*command, address)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
        assert "has emrdiff 0.0.7, not " in ended.err
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.slow
def test_workers_that_do_not_start_are_one_line(tmp_path: Path, pair: Pair) -> None:
    model = save_random_model(tmp_path / "model")
    arguments = (
        "fuse",
        *pair,
        tmp_path / "out.tif",
        "--model",
        model,
        "--scheduler",
        "local",
        "--workers",
        1,
    )
    before = "from emrdiff_cli.fusion import cluster; cluster._PRELOADED = ['emrdiff_cli.not_there']"
    ended = after(before, *arguments)
    assert ended.returncode == 1, ended
    assert ended.stderr.splitlines()[-1].startswith(
        "Error: the workers did not start (No module named 'emrdiff_cli.not_there')"
    )
    assert not (tmp_path / "out.tif").exists()


def after(line: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own in which a line of Python came first."""
    lines = [line, "import sys", f"sys.argv = {['emrdiff', *map(str, arguments)]!r}"]
    lines += ["from emrdiff_cli.cli.app import main", "main()"]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=LONG
    )


# Other machines


def shared(pair: Pair) -> SceneTask:
    with open_pair(*pair) as opened:
        tiling = tiling_over(Window(0, 0, 64, 72), opened, settings(), TILES)
        return task_of(prepared(opened), tiling, 2, make_fake)


@pytest.mark.parametrize("which", [0, 1])
def test_an_input_that_is_another_on_the_workers_machine_is_refused(pair: Pair, which: int) -> None:
    task = shared(pair)
    row = task.tiling.rows[1]
    values, _ = sample_row(task, row, 0)
    assert np.abs(values).max() > 0
    os.utime(pair[which], (1, 1))
    with pytest.raises(InputError, match=f"{pair[which].name}: differs in size or time of change"):
        sample_row(task, row, 0)
    pair[which].unlink()
    with pytest.raises(InputError, match=f"{pair[which].name}: no such file"):
        sample_row(task, row, 0)


def test_another_version_on_the_workers_machine_is_refused(pair: Pair) -> None:
    task = replace(shared(pair), version="0.0.7")
    with pytest.raises(EmrdiffError, match=r"is not 0.0.7, which asked: install the same"):
        sample_row(task, task.tiling.rows[0], 0)


def test_another_model_on_the_workers_machine_is_refused(tmp_path: Path) -> None:
    folder = save_random_model(tmp_path / "model")
    with pytest.raises(ModelError, match="is not the model that was chosen"):
        worker_sampler(str(folder), "0" * 64, FusionSettings(device="cpu"), 0)


def test_workers_share_out_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [gpu_count(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == [2, 2, 1, 0]
    assert [str(choose_device("auto", number)) for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(choose_device("cuda:1", 2)) == "cuda:1"
    assert str(choose_device("cpu", 1)) == "cpu"


# Usage


@pytest.mark.parametrize(
    ("scheduler", "workers", "said"),
    [
        ("127.0.0.1:8786", None, "must be local or tcp://HOST:PORT"),
        ("tcp://head", None, "must be local or tcp://HOST:PORT"),
        ("tcp://head:8786", 2, "are for --scheduler local"),
        (None, 2, "are for --scheduler local"),
    ],
)
def test_what_is_no_scheduler_is_refused(scheduler: str | None, workers: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ClusterOptions(scheduler, workers)


def test_a_method_without_a_model_has_nothing_to_share_out(emrdiff: Run, pair: Pair, tmp_path: Path) -> None:
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp", "--scheduler", "local")
    assert (ended.code, "--method glp has none" in ended.err) == (2, True)


def test_without_the_extra_one_line_says_what_to_install(
    emrdiff: Run, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hidden in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, hidden, None)
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--scheduler", "local")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended
    assert "pip install emrdiff[cluster]" in ended.err
