"""Kriging on a device: when one is looked for, what it says, and that what is fused is the processor's."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emrdiff_cli.core.methods.device_evaluator import OnDevice
from emrdiff_cli.errors import TorchError, UsageError
from emrdiff_cli.fusion import evaluator_choice
from emrdiff_cli.fusion.evaluator_choice import choose_evaluator
from emrdiff_cli.fusion.options import FusionSettings, deciding
from emrdiff_cli.raster_info import Window
from emrdiff_cli.runtime.torch_library import has_cuda_driver
from tests.support.front_door import Run
from tests.support.pairs import write_pair
from tests.support.scenes import read


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A GPU, of which torch's processor does the work; how many values of float were brought to it, each time."""
    moved: list[int] = []

    def move(_self: OnDevice, values: NDArray[Any]) -> torch.Tensor:
        moved.append(values.size)
        return torch.tensor(values.astype(np.float32) if values.dtype.kind == "f" else values)

    monkeypatch.setattr(OnDevice, "_move", move)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(evaluator_choice, "has_cuda_driver", lambda: True)
    return moved


def chosen(device: str, method: str = "kriging", side: int = 2000, *, with_model: bool = False) -> str:
    pair: Any = SimpleNamespace(alignment=SimpleNamespace(hr_window=Window(0, 0, side, side)))
    return choose_evaluator(device, method, pair, with_model=with_model).device


def test_a_device_is_for_kriging_and_by_itself_for_large_scenes_and_models(gpu: list[int]) -> None:
    assert [chosen(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == ["cuda", "cuda", "cuda:0", "cpu"]
    assert [chosen("auto", method) for method in ("auto", "glp", "bicubic")] == ["cuda", "cpu", "cpu"]
    assert [chosen("auto", side=200), chosen("cuda", side=200)] == ["cpu", "cuda"]
    assert chosen("auto", side=200, with_model=True) == "cuda"
    for name in ("cuda:3", "gpu"):
        with pytest.raises(UsageError, match=r"cuda or cuda:N|use --device cpu"):
            chosen(name)


def test_auto_does_without_torch_and_without_a_device(
    gpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen("auto") == "cpu"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert chosen("auto") == "cpu"
    with pytest.raises(TorchError):
        chosen("cuda")
    monkeypatch.setattr(evaluator_choice, "has_cuda_driver", lambda: False)
    monkeypatch.setattr(evaluator_choice, "require_torch", lambda: pytest.fail("torch is looked for"))
    assert [chosen("auto"), chosen("auto", with_model=True)] == ["cpu", "cpu"]


def test_a_pair_kriged_on_a_device_is_the_processors_but_for_rounding(
    emrdiff: Run, tmp_path: Path, gpu: list[int]
) -> None:
    pair, options = write_pair(tmp_path), ("--method", "kriging", "--register", "off", "--dtype", "float32")
    here, there = tmp_path / "here.tif", tmp_path / "there.tif"
    planned = emrdiff("fuse", *pair, there, *options, "--device", "cuda", "--dry-run", "--no-trial").out
    assert "\nDevice    cuda evaluates kriging" in planned
    ended = emrdiff("fuse", *pair, here, *options)
    assert (ended.code, gpu, "evaluated on" in ended.err) == (0, [], False)
    ended = emrdiff("fuse", *pair, there, *options, "--device", "cuda")
    assert (ended.code, "kriging was evaluated on cuda" in ended.err) == (0, True)
    assert len(gpu) > 0
    expected, found = read(here), read(there)
    assert np.nanmax(np.abs(expected - found)) <= 1e-5 * np.nanmax(np.abs(expected))


def test_a_driver_is_one_that_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"libcuda.so.1"}

    def load(name: str) -> None:
        if name not in there:
            raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", load)
    found = {}
    for system in ("linux", "win32", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        found[system] = has_cuda_driver()
    assert found == {"linux": True, "win32": False, "darwin": False}


def test_the_device_decides_no_pixel(tmp_path: Path) -> None:
    one, other = (deciding(FusionSettings(device=name), tmp_path / "a.tif") for name in ("cpu", "cuda"))
    assert one == other
