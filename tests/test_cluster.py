"""Tile rows on dask.distributed: the same output, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

import dask
import numpy as np
import pytest
import torch
from front_door import Run, front_door
from random_model import save_random_model
from rasters import emrdiff as in_a_process
from rasters import read_back
from test_fusion import Fake, Image, of_position, settings, write_pair
from test_resume import OLD, TILES, beside, rows_kept

from emrdiff_cli import cluster
from emrdiff_cli.cluster import ClusterOptions, Workers, workers_of
from emrdiff_cli.core.conditioning import TileInputs
from emrdiff_cli.errors import EmrdiffError, InputError, ModelError, UsageError
from emrdiff_cli.fusion import fuse
from emrdiff_cli.fusion_job import FusionSettings, worker_sampler
from emrdiff_cli.pairing import open_pair
from emrdiff_cli.prepared_scene import PreparedScene, prepare_scene
from emrdiff_cli.sampling import choose_device, gpu_count
from emrdiff_cli.scene import Window
from emrdiff_cli.tile_rows import sample_rows, tiling_over
from emrdiff_cli.tile_worker import Share, sample_row, share_of

DASK = [sys.executable, "-m", "dask"]
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


def answers(port: int) -> bool:
    with socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def dask_cluster(
    folder: Path, workers: int, *packages: Path
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler with workers, each a process by itself: its address, and the processes, the scheduler's first.

    The workers have the tests' modules, and packages from further folders before all others.
    """
    path = os.pathsep.join(map(str, [*packages, Path(__file__).parent]))
    environment = {**os.environ, "PYTHONPATH": path}
    quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "env": environment, "cwd": folder}
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, quick = f"tcp://127.0.0.1:{port}", ["--no-dashboard"]
    command = [*DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port), *quick]
    processes = [subprocess.Popen(command, **quiet)]
    command = [*DASK, "worker", address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0", *quick]
    try:
        processes += [subprocess.Popen(command, **quiet) for _ in range(workers)]
        deadline = time.monotonic() + 60
        while not answers(port):
            assert processes[0].poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield address, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, lr_holes=[(3, 5)])


@pytest.fixture(scope="module")
def local() -> Iterator[Workers]:
    """Two workers of this machine; a row that kills one is not given to another."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        workers_of(ClusterOptions("local", 2), "cpu") as workers,
    ):
        assert workers is not None
        yield workers


def prepared(pair: Any) -> PreparedScene:
    return prepare_scene(pair, "glp", make_fake(0))


# The same output


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


def test_a_fusion_by_workers_writes_the_same_bytes_moved_and_resumed(
    local: Workers, tmp_path: Path, pair: Pair
) -> None:
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    options = replace(TILES, coregister=True, overwrite=True)
    fuse(*pair, one, "glp", make_fake(0), options)
    whole = one.read_bytes()
    with pytest.raises(InputError, match=r"too far down \(worker tcp://127.0.0.1:\d+\)"):
        fuse(*pair, one, "glp", make_fake(0), options, sampling=partial(local.sample_rows, make_picky))
    assert one.read_bytes() == whole
    assert 0 < len(rows_kept(one)) < 5
    by_workers = partial(local.sample_rows, make_fake)
    report = fuse(*pair, one, "glp", make_fake(0), replace(options, resume=True), sampling=by_workers)
    assert any("resumed" in note for note in report.notes)
    fuse(*pair, two, "glp", make_fake(0), options, sampling=by_workers)
    assert one.read_bytes() == two.read_bytes() == whole


# What may be lost


def descendants(process: int) -> list[int]:
    """The workers that a command has started."""
    lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    own = [int(child) for children in lists for child in children.split()]
    return [pid for pid in own if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """A command without its output, and what it comes to without workers."""
    folder = tmp_path_factory.mktemp("by_one")
    pair, model = write_pair(folder, 128, 72), save_random_model(folder / "model")
    arguments = ["fuse", *map(str, pair), "--model", str(model), "--dtype", "float32", "--overwrite"]
    arguments += ["--tile", "16", "--overlap", "4", "--steps", "20", "--batch-size", "3"]
    assert in_a_process(*arguments, folder / "out.tif", "-q").code == 0
    return arguments, folder / "out.tif"


def begun(arguments: Sequence[object], output: Path) -> subprocess.Popen[str]:
    """A command in a session of its own, which has done a tile row or two, and has some left of 10."""
    command = [sys.executable, "-m", "emrdiff_cli", *map(str, arguments), str(output)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline, already = time.monotonic() + 90, len(rows_kept(output))
    while len(rows_kept(output)) <= already:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert len(rows_kept(output)) < 9
    return process


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")
def test_a_worker_that_is_killed_changes_nothing_and_ctrl_c_leaves_what_was_done(
    tmp_path: Path, by_one: tuple[list[str], Path]
) -> None:
    arguments, expected = by_one
    output = tmp_path / "out.tif"
    output.write_bytes(OLD)
    command = [*arguments, "--scheduler", "local", "--workers", 2]
    with begun(command, output) as process:
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (130, "Interrupted.")
    assert "Traceback" not in err
    assert output.read_bytes() == OLD
    assert beside(output) == [".out.tif.journal"]

    with begun([*command, "--resume"], output) as process:
        workers = descendants(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert err.splitlines()[-1].startswith("Note: resumed: ")
    assert "Traceback" not in err
    np.testing.assert_allclose(read_back(output), read_back(expected), rtol=1e-5, atol=1e-6)
    assert beside(output) == []


def test_a_row_that_kills_its_worker_is_one_line(local: Workers, tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    with pytest.raises(EmrdiffError, match=r"tile row 0: each worker that took it died: .* --batch-size"):
        fuse(*pair, output, "glp", make_fake(0), TILES, sampling=partial(local.sample_rows, make_deadly))
    assert beside(output) == []


def test_a_manifest_by_a_scheduler_and_what_happens_when_that_is_lost(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = save_random_model(tmp_path / "model")
    manifest = tmp_path / "pairs.csv"
    rows = ["lr.tif,msi.tif,a.tif,", "lr.tif,none.tif,b.tif,", "lr.tif,msi.tif,c.tif,glp"]
    manifest.write_text("\n".join(["lr_hsi,hr_msi,output,method", *rows, ""]))
    run = front_door(monkeypatch, capfd)
    options = ("--model", model, "--tile", 16, "--overlap", 4, "--batch-size", 2)
    assert run("fuse", *pair, tmp_path / "one.tif", *options, "-q").code == 0
    with dask_cluster(tmp_path, 1) as (address, processes):
        command = ("fuse", "--manifest", manifest, *options, "--keep-going", "--scheduler", address, "-q")
        ended = run(*command)
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
            rest = (output, "glp", make_fake(0), TILES)
            with pytest.raises(EmrdiffError, match=r"no worker has been left .* --resume"):
                fuse(*pair, *rest, sampling=partial(workers.sample_rows, make_deadly))
            processes[0].kill()
            with pytest.raises(EmrdiffError, match=r"connection to the scheduler was lost: .* --resume"):
                fuse(*pair, *rest, sampling=partial(workers.sample_rows, make_fake))
    assert [name for name in beside(output) if name.startswith(".")] == []


def test_a_scheduler_that_is_no_use_is_one_line(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT", 1)
    monkeypatch.setattr(cluster, "_ARRIVE", 1)
    run: Run = front_door(monkeypatch, capfd)
    model = save_random_model(tmp_path / "model")
    command = ("fuse", *pair, tmp_path / "out.tif", "--model", model, "--scheduler")
    ended = run(*command, "tcp://127.0.0.1:9")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
    assert "no scheduler answers at tcp://127.0.0.1:9 within 1 s" in ended.err
    with dask_cluster(tmp_path, 0) as (address, _):
        ended = run(*command, address)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
        assert f"no worker came to {address} within 1 s: start some with `dask worker" in ended.err
    monkeypatch.setattr(cluster, "_ARRIVE", 60)
    (tmp_path / "old/emrdiff-0.0.7.dist-info").mkdir(parents=True)
    (tmp_path / "old/emrdiff-0.0.7.dist-info/METADATA").write_text("Name: emrdiff\nVersion: 0.0.7\n")
    with dask_cluster(tmp_path, 1, tmp_path / "old") as (address, _):
        ended = run(*command, address)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
        assert "has emrdiff 0.0.7, not " in ended.err
    assert not (tmp_path / "out.tif").exists()


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
    before = "from emrdiff_cli import cluster; cluster._PRELOADED = ['emrdiff_cli.not_there']"
    ended = after(before, *arguments)
    assert ended.returncode == 1, ended
    assert ended.stderr.splitlines()[-1].startswith("Error: the workers did not start (")
    assert not (tmp_path / "out.tif").exists()


def after(line: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own in which a line of Python came first."""
    lines = [line, "import sys", f"sys.argv = {['emrdiff', *map(str, arguments)]!r}"]
    lines += ["from emrdiff_cli.cli.app import main", "main()"]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=100
    )


# Other machines


def shared(pair: Pair) -> Share:
    with open_pair(*pair) as opened:
        tiling = tiling_over(Window(0, 0, 64, 72), opened, settings(), TILES)
        return share_of(prepared(opened), tiling, 2, make_fake)


@pytest.mark.parametrize("which", [0, 1])
def test_an_input_that_is_another_on_the_workers_machine_is_refused(pair: Pair, which: int) -> None:
    share = shared(pair)
    row = share.tiling.rows[1]
    values, _ = sample_row(share, row, 0)
    assert np.abs(values).max() > 0
    os.utime(pair[which], (1, 1))
    with pytest.raises(InputError, match=f"{pair[which].name}: differs in size or time of change"):
        sample_row(share, row, 0)
    pair[which].unlink()
    with pytest.raises(InputError, match=f"{pair[which].name}: no such file"):
        sample_row(share, row, 0)


def test_another_version_on_the_workers_machine_is_refused(pair: Pair) -> None:
    share = replace(shared(pair), version="0.0.7")
    with pytest.raises(EmrdiffError, match=r"is not 0.0.7, which asked: install the same"):
        sample_row(share, share.tiling.rows[0], 0)


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


def test_a_method_without_a_model_has_nothing_to_share_out(emrdiff_: Run, pair: Pair, tmp_path: Path) -> None:
    ended = emrdiff_("fuse", *pair, tmp_path / "out.tif", "--method", "glp", "--scheduler", "local")
    assert (ended.code, "--method glp has none" in ended.err) == (2, True)


@pytest.fixture
def emrdiff_(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return front_door(monkeypatch, capfd)


def test_without_the_extra_one_line_says_what_to_install(pair: Pair, tmp_path: Path) -> None:
    hidden = "import sys; sys.modules.update(dask=None, distributed=None)"
    ended = after(hidden, "fuse", *pair, tmp_path / "out.tif", "--scheduler", "local")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended
    assert "pip install emrdiff[cluster]" in ended.stderr
