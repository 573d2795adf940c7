"""`emrdiff train` through the front door: model folders that fuse, options, failures in one line, signals."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.report.page import REPORT
from emrdiff_cli.training.model_folder import sole_training
from emrdiff_cli.zoo import CARD, TRAINING, VALIDATED, WEIGHTS, read_config
from tests.support.front_door import Run
from tests.support.pairs import displaced, write_pair
from tests.support.scenes import read, textured, write_cube, write_srf

FILES = sorted([WEIGHTS, CARD, TRAINING, VALIDATED, REPORT])
SMALL = ("--set", "levels=1", "--set", "width=4", "--set", "subspace=4", "--set", "steps=2", "--patch", 16)
SHORT = (*SMALL, "--iterations", 2, "--batch", 1)


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return emrdiff


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of three scenes, a response, and a pair large enough to be degraded once more."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "archive").mkdir()
    for number in range(3):
        write_cube(folder / "archive" / f"{number}.tif", textured(8, 32, 36, number))
    write_srf(folder / "srf.csv")
    write_pair(folder, 80, 96, seed=5)
    return folder


def archive(data: Path) -> tuple[object, ...]:
    return "--archive", data / "archive", "--ratio", 4, "--srf", data / "srf.csv"


def scene(data: Path) -> tuple[object, ...]:
    return "--scene", data / "lr.tif", data / "msi.tif"


@pytest.mark.slow
@pytest.mark.parametrize("source", [archive, scene])
def test_a_trained_model_fuses(
    run: Run, tmp_path: Path, data: Path, source: Callable[[Path], tuple[object, ...]]
) -> None:
    folder = tmp_path / "new" / "tiny-x4"
    ended = run("train", *source(data), "-o", folder, *SHORT, "--note", "Textures; free to use.")
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert "validation PSNR" in ended.err
    assert "train: 2/2" in ended.err
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert "Textures; free to use." in (folder / CARD).read_text()
    config = read_config(folder / WEIGHTS)
    assert (config.ratio, config.hsi_bands, config.msi_bands, config.steps) == (4, 8, 3, 2)
    output = tmp_path / "out.tif"
    ended = run("fuse", data / "lr.tif", data / "msi.tif", output, "--model", folder, "-q")
    assert ended.code == 0, ended.err
    assert np.abs(read(output) - textured(8, 80, 96, 5)).mean() < 0.05


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair whose LR-HSI lies elsewhere than it states."""
    folder = tmp_path_factory.mktemp("spoilt")
    displaced(folder)
    return folder


@pytest.mark.slow
def test_a_scene_is_put_right_before_it_is_learned_and_the_model_records_how(
    run: Run, tmp_path: Path, spoilt: Path
) -> None:
    folder = tmp_path / "m"
    ended = run("train", *scene(spoilt), "-o", folder, *SHORT)
    assert ended.code == 0, ended.err
    moved = "the LR-HSI was moved by 0.40 up and 0.70 right"
    assert f"Note: {moved}" in ended.err
    told, following = ended.err.splitlines()[-2:]
    assert told.startswith("Note: on what was held out the model is ")
    assert re.search(r"\((\S+) and (\S+) dB; spectral angle (\S+) and (\S+) degrees\)", told)
    assert "the weights that validated best are settled and scored" in ended.err
    assert following.startswith(f"Next: emrdiff fuse {spoilt / 'lr.tif'} {spoilt / 'msi.tif'} fused.tif --")
    better = "better than kriging" in told
    assert following.endswith(f"--model {folder}" if better else "--method kriging"), following
    assert moved in (folder / CARD).read_text()
    assert f"# The pair's geometry: {moved}" in (folder / TRAINING).read_text()
    again = run("train", "--config", folder / TRAINING, *scene(spoilt), "-o", tmp_path / "again", "-q")
    assert again.code == 0, again.err
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_an_interrupted_training_goes_on_in_its_own_geometry_alone(
    run: Run, tmp_path: Path, spoilt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, arguments = tmp_path / "m", ("train", *scene(spoilt), *SHORT, "--shift", "-0.4,0.7", "-q")
    whole = tmp_path / "whole"
    assert run(*arguments, "-o", whole).code == 0

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("emrdiff_cli.training.loop._iterate", interrupted)
        assert run(*arguments, "-o", folder).code != 0
    other = run("train", *scene(spoilt), *SHORT, "--register", "off", "-q", "-o", folder, "--resume")
    assert other.code != 0
    assert "other options or data" in other.err
    assert run(*arguments, "-o", folder, "--resume").code == 0
    assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_an_archive_has_no_pair_to_put_right(run: Run, tmp_path: Path, data: Path) -> None:
    ended = run("train", *archive(data), "-o", tmp_path / "m", "--shift", "0,1")
    assert (ended.code, ended.out) == (2, "")
    assert "--shift" in ended.err


def test_quiet_says_nothing(run: Run, tmp_path: Path, data: Path) -> None:
    assert run("train", *archive(data), "-o", tmp_path / "m", *SHORT, "-q") == (0, "", "")


@pytest.mark.slow
def test_the_written_configuration_repeats_the_training(run: Run, tmp_path: Path, data: Path) -> None:
    one, again = tmp_path / "one", tmp_path / "again"
    assert run("train", *archive(data), "-o", one, *SHORT, "--seed", 3, "-q").code == 0
    assert run("train", *archive(data), "-o", again, "--config", one / TRAINING, "-q").code == 0
    assert (one / WEIGHTS).read_bytes() == (again / WEIGHTS).read_bytes()
    assert (one / TRAINING).read_bytes() == (again / TRAINING).read_bytes()


def test_flags_win_over_settings_over_the_file_over_the_preset(run: Run, tmp_path: Path, data: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        '[model]\nlevels = 2\nwidth = 4\nkappa = 0.7\nnoise = "gaussian"\n[train]\niterations = 9\n'
    )
    settings = ("--set", "kappa=0.9", "--set", "batch=1", "--iterations", 1, "--patch", 16)
    folder = tmp_path / "m"
    ended = run("train", *archive(data), "-o", folder, "--preset", "paper", "--config", file, *settings, "-q")
    assert ended.code == 0, ended.err
    used = tomllib.loads((folder / TRAINING).read_text())
    expected = {"kappa": 0.9, "noise": "gaussian", "end_point": "bicubic", "subspace": 0, "levels": 2}
    assert expected.items() <= used["model"].items()
    assert {"iterations": 1, "batch": 1, "patch": 16, "chain": "truth"}.items() <= used["train"].items()
    assert load_model(folder / WEIGHTS).config.kappa == 0.9


CONFIGS = {
    "unknown.toml": "[model]\nkapa = 1.0\n",
    "table.toml": "[modle]\nkappa = 1.0\n",
    "type.toml": '[train]\nlearning_rate = "fast"\n',
    "broken.toml": "[model\n",
}


@pytest.mark.parametrize(
    ("source", "options", "code", "said"),
    [
        ("archive", ("--config", "unknown.toml"), 2, "unknown option 'kapa'"),
        ("archive", ("--config", "table.toml"), 2, "unknown option 'modle'"),
        ("archive", ("--config", "type.toml"), 2, "learning_rate = 'fast'"),
        ("archive", ("--config", "broken.toml"), 2, "cannot be read as TOML"),
        ("archive", ("--config", "none.toml"), 2, "none.toml"),
        ("archive", ("--set", "kapa=1.0"), 2, "unknown option 'kapa'"),
        ("archive", ("--set", "kappa"), 2, "KEY=VALUE"),
        ("archive", ("--set", "residual=some"), 2, "residual"),
        ("archive", ("--set", "levels=7"), 3, "--set levels="),
        ("archive", ("--device", "abacus"), 2, "abacus"),
        ("archive", ("--resume",), 3, "no training to resume"),
        ("archive", ("-o", "file"), 4, "cannot be made"),
        ("archive", ("-o", "file/below"), 4, "cannot be made"),
        ("none", (), 2, "either --archive DIR or --scene"),
        ("both", (), 2, "either --archive DIR or --scene"),
        ("no ratio", (), 2, "--archive needs --ratio and --srf"),
        ("no folder", (), 3, "no such folder"),
        ("empty folder", (), 3, "two HR-HSI rasters or more"),
        ("no response", (), 2, "nor one of the built-in"),
        ("no pair", (), 3, "no such file"),
        ("small pair", (), 3, "too few to be degraded"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    run: Run, tmp_path: Path, data: Path, source: str, options: tuple[str, ...], code: int, said: str
) -> None:
    for name, text in CONFIGS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "file").write_text("a file in the folder's place")
    (tmp_path / "empty").mkdir()
    (tmp_path / "small").mkdir()
    small = write_pair(tmp_path / "small", 16, 16)
    usual = archive(data)
    given = {
        "archive": usual,
        "none": (),
        "both": (*usual, *scene(data)),
        "no ratio": usual[:2],
        "no folder": ("--archive", tmp_path / "nowhere", *usual[2:]),
        "empty folder": ("--archive", tmp_path / "empty", *usual[2:]),
        "no response": (*usual[:4], "--srf", "camera"),
        "no pair": ("--scene", tmp_path / "a.tif", tmp_path / "b.tif"),
        "small pair": ("--scene", *small),
    }[source]
    placed = [tmp_path / o if o.endswith(".toml") or o.startswith("file") else o for o in options]
    target = () if "-o" in options else ("-o", tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    ended = run("train", *given, *target, *SHORT, *placed, "-q")
    assert (ended.code, ended.out) == (code, ""), ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [CARD, TRAINING, REPORT])
def test_a_file_of_the_users_is_no_part_of_a_model(run: Run, tmp_path: Path, data: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    ended = run("train", *archive(data), "-o", tmp_path, *SHORT, "-q")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"{name}: is there already: give --overwrite" in ended.err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


def test_a_configuration_is_no_output(run: Run, tmp_path: Path, data: Path) -> None:
    (tmp_path / TRAINING).write_text("# mine\n[train]\niterations = 2\n")
    usual = (*archive(data), "-o", tmp_path, "--config", tmp_path / TRAINING, *SHORT)
    ended = run("train", *usual, "--overwrite", "-q")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "is an input" in ended.err
    assert (tmp_path / TRAINING).read_text().startswith("# mine")


def test_a_card_that_cannot_be_written_leaves_the_weights(
    run: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "m", Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if CARD in self.name:
            raise OSError(28, "No space left on device")
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    ended = run("train", *archive(data), "-o", folder, *SHORT, "-q")
    said = f"{folder / CARD}: cannot be written: No space left on device; the weights are kept in"
    assert (ended.code, ended.err) == (4, f"Error: {said} {folder / WEIGHTS}\n")
    assert read_config(folder / WEIGHTS).hsi_bands == 8


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_what_cannot_be_written_is_refused_before_any_training(
    run: Run, tmp_path: Path, data: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    ended = run("train", *archive(data), "-o", tmp_path, *SHORT, "--overwrite")
    assert (ended.code, ended.err) == (4, f"Error: {tmp_path / name}: is a folder: name a file in it\n")


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_one_training_at_a_time_in_a_folder(
    run: Run, tmp_path: Path, data: Path, more: tuple[str, ...]
) -> None:
    with sole_training(tmp_path / "m"):
        ended = run("train", *archive(data), "-o", tmp_path / "m", *SHORT, "-q", *more)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "is being written by another run" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_there_stays(run: Run, tmp_path: Path, data: Path) -> None:
    usual = (*archive(data), "-o", tmp_path / "m", *SHORT, "-q")
    assert run("train", *usual).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    ended = run("train", *usual, "--seed", 1)
    assert ended.code == 2
    assert "--overwrite" in ended.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    assert run("train", *usual, "--seed", 1, "--overwrite").code == 0
    assert (tmp_path / "m" / WEIGHTS).read_bytes() != before[WEIGHTS]


@pytest.mark.slow
def test_interrupted_it_ends_cleanly_and_is_resumed_to_the_same_weights(
    run: Run, tmp_path: Path, data: Path
) -> None:
    def options(folder: Path) -> tuple[object, ...]:
        steady = ("--set", "levels=2", "--set", "checkpoint_every=10", "--set", "validate_every=50")
        return (*archive(data), "-o", folder, *SMALL, "--iterations", 40, "--batch", 1, *steady, "-q")

    folder, whole = tmp_path / "stopped", tmp_path / "whole"
    command = [sys.executable, "-m", "emrdiff_cli", "train", *map(str, options(folder))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while not (folder / "training-state.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume" in err
    assert [path.name for path in folder.iterdir()] == ["training-state.pt"]
    refused = run("train", *options(folder))
    assert refused.code == 2
    assert "--resume" in refused.err
    assert run("train", *options(folder), "--resume").code == 0
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert run("train", *options(whole)).code == 0
    assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
