"""Training under torchrun: the model of one process, files of one process, and what a death among them leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emrdiff_cli.cli.app import main
from emrdiff_cli.report.page import REPORT
from emrdiff_cli.training.loop import STATE
from emrdiff_cli.version import __version__
from emrdiff_cli.zoo import CARD, TRAINING, VALIDATED, WEIGHTS
from tests.support.scenes import textured, write_cube, write_srf

pytestmark = pytest.mark.slow

# A process's work in a group: it imports what could keep the group, as an optimizer does when it steps (with
# much else), and the first has more to do.
MEMBER = """
import sys, time
from pathlib import Path
from torch import ones
from emrdiff_cli.training.process_group import assembled_group
written = Path(sys.argv[1])
with assembled_group() as group:
    import torch.distributed.nn.functional
    assert group.total(ones(1)) == 2
    if group.leads:
        time.sleep(0.5)
        written.touch()
assert written.exists(), "left before the first"
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in names if "gloo" in name], names
"""
FILES = sorted([WEIGHTS, CARD, TRAINING, REPORT, VALIDATED])
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Rounding decides on which side of a kink an activation lies, and from there on two trainings part: few
# activations and short steps keep that rare, and small.
MODEL = ("levels=2", "width=4", "subspace=2", "steps=2", "end_point=bicubic", "detail_filter=0")
STEADY = ("learning_rate=1e-4", "warmup=2", "validate_every=20")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with a hole, so that the shares of a batch do not weigh the same."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "archive").mkdir()
    for number in range(3):
        cube = textured(8, 32, 32, number)
        if number == 0:
            cube[:, :20, 4:24] = np.nan
        write_cube(folder / "archive" / f"{number}.tif", cube)
    write_srf(folder / "srf.csv")
    return folder


def words(data: Path, *options: object) -> list[str]:
    source = ("--archive", data / "archive", "--ratio", 4, "--srf", data / "srf.csv", "--device", "cpu")
    settings = [word for setting in (*MODEL, *STEADY) for word in ("--set", setting)]
    return ["train", *map(str, (*source, *settings, "--patch", 8, *options))]


def started_by_two(data: Path, *options: object) -> subprocess.Popen[str]:
    command = [*TORCHRUN, "-m", "emrdiff_cli", *words(data, *options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def trained_by_one(monkeypatch: pytest.MonkeyPatch, data: Path, *options: object) -> int:
    monkeypatch.setattr(sys, "argv", ["emrdiff", *words(data, *options)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_two_processes_train_what_one_does_and_the_first_alone_writes(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--iterations", 20, "--batch", 2)
    ended = ended_members("-m", "emrdiff_cli", *words(data, "-o", tmp_path / "two", *options))
    assert [code for code, _ in ended] == [0, 0], ended
    said_by_two = "".join(err for _, err in ended)
    assert trained_by_one(monkeypatch, data, "-o", tmp_path / "one", *options) == 0
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    assert one["network.heads.0.weight"].abs().max() > 50 * TOLERANCE, "zero before training"
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=0, atol=TOLERANCE)
    validations = [
        [line for line in said.splitlines() if line.startswith("iteration ")]
        for said in (capfd.readouterr().err, said_by_two)
    ]
    assert len(validations[0]) == 1
    assert validations[1] == validations[0]
    for name in ("one", "two"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == FILES
    assert "2 processes" in (tmp_path / "two" / CARD).read_text()
    assert "processes" not in (tmp_path / "one" / CARD).read_text()


def ended_members(*arguments: object) -> list[tuple[int, str]]:
    """Exit codes and stderr of two Python processes that are told what torchrun tells its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "1",
    }
    command = [sys.executable, *map(str, arguments)]
    members = [
        subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **told, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]
    said = [member.communicate(timeout=100)[1] for member in members]
    return [(member.returncode, err) for member, err in zip(members, said, strict=True)]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are found in /proc")
def test_a_group_ends_when_all_have_done_their_work_and_leaves_no_thread(tmp_path: Path) -> None:
    ended = ended_members("-c", MEMBER, tmp_path / "written")
    assert [code for code, _ in ended] == [0, 0], ended


def test_a_process_of_a_group_ends_with_its_exit_code_before_the_interpreter_is_taken_down() -> None:
    group = {"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "1"}
    script = (
        "import atexit, sys; atexit.register(print, 'down'); sys.argv = ['emrdiff', *sys.argv[1:]]; main()"
    )
    for environment, arguments, code, said in (
        (group, ["--version"], 0, f"emrdiff {__version__}\n"),
        (group, ["info", "absent.tif"], 3, ""),
        ({}, ["--version"], 0, f"emrdiff {__version__}\ndown\n"),
    ):
        command = [sys.executable, "-c", f"from emrdiff_cli.__main__ import main; {script}", *arguments]
        ended = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (ended.returncode, ended.stdout) == (code, said), ended.stderr


def test_a_batch_that_does_not_divide_is_one_line_and_leaves_nothing(tmp_path: Path, data: Path) -> None:
    ended = ended_members("-m", "emrdiff_cli", *words(data, "-o", tmp_path / "model", "--batch", 3))
    assert [code for code, _ in ended] == [2, 2], ended
    (line,) = [line for _, err in ended for line in err.splitlines() if "Error: " in line]
    assert "batch = 3: cannot be shared equally by 2 processes: give --batch 4" in line
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_a_process_that_dies_ends_all_and_leaves_a_training_to_resume(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    options = ("-o", folder, "--iterations", 30, "--batch", 2, "--set", "checkpoint_every=8", "-q")
    with started_by_two(data, *options) as started:
        deadline = time.monotonic() + 90
        while not (folder / STATE).exists():
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(second_of(started.pid), signal.SIGKILL)
        _, err = started.communicate(timeout=60)
    assert started.returncode != 0
    assert "training.py" not in err, "a traceback"
    assert [path.name for path in folder.iterdir()] == [STATE]
    # By one process: a checkpoint does not say how many there were.
    assert trained_by_one(monkeypatch, data, *options, "--resume") == 0
    assert sorted(path.name for path in folder.iterdir()) == FILES


def second_of(launcher: int) -> int:
    """The process of rank 1 among a launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError(f"no process of rank 1 among {children}")
