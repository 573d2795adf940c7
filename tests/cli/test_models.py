"""`emrdiff models`, and the help of every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from emrdiff_cli import zoo
from emrdiff_cli.checkpoint import save_model
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from tests.support.front_door import Run


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return emrdiff


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = ModelConfig(
        msi_bands=2,
        hsi_bands=6,
        ratio=4,
        subspace=3,
        levels=2,
        gates="tile",
        hsi_range_nm=(400.0, 900.0),
        msi_centres_nm=(500.0, 700.0),
    )
    torch.manual_seed(0)
    path = tmp_path / "tiny-x4"
    path.mkdir()
    save_model(EMRDiff(config), path / zoo.WEIGHTS)
    (path / zoo.CARD).write_text("# tiny-x4\n\nOf no use.\n")
    return path


def test_a_models_card_is_printed(run: Run, folder: Path) -> None:
    assert run("models", folder) == (0, "# tiny-x4\n\nOf no use.\n\n", "")
    (folder / zoo.CARD).unlink()
    assert json.loads(run("models", folder).out)["ratio"] == 4


def test_json_is_one_object_a_model(run: Run, folder: Path) -> None:
    ended = run("models", folder, "--json")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    facts = json.loads(ended.out)
    stated = {"name": "tiny-x4", "ratio": 4, "hsi_bands": 6, "msi_centres_nm": [500, 700]}
    assert stated.items() <= facts.items()
    assert 0 < facts["megabytes"] < 1


def test_the_shipped_models_are_listed(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run("models")
    assert (ended.code, ended.err) == (0, "")
    for model in zoo.shipped():
        assert model.name in ended.out
    assert len(run("models", "--json").out.splitlines()) == len(zoo.shipped())
    found = zoo.find(str(folder))
    monkeypatch.setattr(zoo, "shipped", lambda: [found])
    monkeypatch.setenv("COLUMNS", "120")
    listed = run("models").out
    assert "tiny-x4" in listed
    assert "400-900" in listed
    assert "500 700" in listed


@pytest.mark.parametrize("content", [None, b"no model"])
def test_what_is_no_model_is_one_line_and_exit_3(run: Run, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / zoo.WEIGHTS).write_bytes(content)
    ended = run("models", tmp_path)
    assert (ended.code, ended.out) == (3, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: ")


COMMANDS = ["simulate", "train", "fuse", "tile", "stitch", "evaluate", "info", "models"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_with_examples(run: Run, command: str, flag: str) -> None:
    ended = run(command, flag)
    assert (ended.code, ended.err) == (0, "")
    assert f"emrdiff {command}" in ended.out
    assert "Examples" in ended.out


def test_help_lists_every_command(run: Run) -> None:
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    assert all(command in ended.out for command in COMMANDS)
