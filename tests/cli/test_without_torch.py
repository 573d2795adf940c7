"""PyTorch missing or broken: what needs it says so in one line, the rest goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emrdiff_cli.runtime.torch_library import has_torch
from tests.support.front_door import Run
from tests.support.places import SAMPLE

PAIR = (SAMPLE / "lr_hsi.hdr", SAMPLE / "hr_msi.tif")
WAY_OUT = "pip install torch --index-url https://download.pytorch.org/whl/cpu; --method kriging does without"


def take_away(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "torch", None)
    return "torch is not installed"


def break_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (tmp_path / "torch").mkdir()
    said = "libtorch_cpu.so: cannot open shared object file"
    (tmp_path / "torch" / "__init__.py").write_text(f"raise OSError({said!r})")
    monkeypatch.syspath_prepend(tmp_path)
    return f"torch is installed but cannot be loaded ({said})"


def test_a_folder_that_was_left_is_no_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert has_torch()
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (tmp_path / "torch").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not has_torch()


@pytest.mark.parametrize("broken", [False, True])
def test_what_needs_torch_says_so_in_one_line(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    said = break_it(monkeypatch, tmp_path) if broken else take_away(monkeypatch)
    line = f"Error: {said}: models, training and --device cuda need it: {WAY_OUT}\n"
    assert emrdiff("fuse", *PAIR, tmp_path / "a.tif", "--method", "emrdiff", "-q") == (1, "", line)
    assert emrdiff("train", "--scene", *PAIR, "-o", tmp_path / "model") == (1, "", line)
    assert not (tmp_path / "a.tif").exists()
    assert not (tmp_path / "model").exists()


def test_auto_says_that_the_model_is_left_where_torch_is_missing(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("fuse", *PAIR, tmp_path / "a.tif", "--dry-run", "--no-trial")
    assert "\nMethod    emrdiff with model chikusei-x8: " in emrdiff(*asked).out
    take_away(monkeypatch)
    ended = emrdiff(*asked)
    assert ended.code == 0
    assert "\nMethod    auto: " in ended.out
    assert (
        ended.err
        == "Warning: model chikusei-x8, which fits, is left: torch, which it needs, is not installed\n"
    )
