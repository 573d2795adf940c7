"""What only a CUDA device reaches, on fakes: the sampler's own branch and the benchmark's limit of memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.core.methods.detail_injection import EndPointTile
from emrdiff_cli.core.methods.device_evaluator import OnDevice
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.precision import _layer, measured_precision
from emrdiff_cli.fusion.sampler import ModelSampler
from emrdiff_cli.training.process_group import ProcessGroup
from emrdiff_cli.zoo import WEIGHTS
from tests.benchmarks import device as benchmark
from tests.benchmarks import large_scene
from tests.benchmarks.device_kriging import small_memory_row
from tests.support.random_model import save_random_model

CUDA: Any = SimpleNamespace(type="cuda", index=0)


def tiles(count: int) -> tuple[list[TileInputs], list[tuple[int, int]]]:
    rng = np.random.default_rng(0)

    def image(channels: int) -> Any:
        return rng.standard_normal((channels, 32, 32)).astype(np.float32)

    end: EndPointTile = SimpleNamespace()  # type: ignore[assignment]
    return [TileInputs(image(7), image(15), image(1), end) for _ in range(count)], [
        (0, 32 * i) for i in range(count)
    ]


def test_a_gpu_runs_the_batch_whole_in_float32_that_is_none_of_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = ModelSampler(load_model(save_random_model(tmp_path / "model") / WEIGHTS), torch.device("cpu"))
    expected, seen, emptied, real = sampler(*tiles(3)), [], [], EMRDiff.sample

    def sample(self: EMRDiff, a_0: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        seen.append((len(a_0), torch.backends.cudnn.allow_tf32))
        if len(a_0) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, a_0, *rest, **named)

    def stack(_self: ModelSampler, images: Sequence[Any]) -> torch.Tensor:
        return torch.from_numpy(np.stack(images)).contiguous(memory_format=torch.channels_last)

    monkeypatch.setattr(EMRDiff, "sample", sample)
    monkeypatch.setattr(ModelSampler, "_stack", stack)
    monkeypatch.setattr(sampler, "_device", CUDA)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    np.testing.assert_allclose(sampler(*tiles(3)), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(MemoryError, match="4 tiles"):
        sampler(*tiles(4))
    assert (seen, emptied) == ([(3, False), (4, False)], [True])


def test_the_limit_of_memory_is_set_seen_to_halve_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [1.0]

    class Sampler(ModelSampler):
        def __init__(self, model: EMRDiff, _device: object) -> None:
            super().__init__(model, torch.device("cpu"), steps=1)

        def __call__(self, tiles: Any, corners: Any) -> list[Any]:
            if len(tiles) > 3 and limits[-1] < 1:
                raise MemoryError
            return super().__call__(tiles, corners)

    monkeypatch.setattr(benchmark, "ModelSampler", Sampler)
    monkeypatch.setattr(large_scene, "BANDS", 8)
    monkeypatch.setattr(benchmark, "save_random_model", lambda folder, **_: small_model(folder))
    monkeypatch.setattr(benchmark, "_pair", lambda plan, *_: large_scene.make_pair(plan.folder, 32, 160, 8))
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 100)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=1000))

    def limit(share: float, device: torch.device) -> None:
        assert device.index is not None, "torch refuses one without"
        limits.append(share)

    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    plan = benchmark.Plan(tmp_path, tmp_path, CUDA, 0.0, 0.0, small=True)
    row = benchmark.out_of_memory(plan)
    assert row["failed"] > 0
    assert (row["right"], limits) == (True, [1.0, 0.3, 1.0])


def test_the_memory_of_kriging_is_held_back_and_given_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, real = [1.0], OnDevice._move

    def move(self: OnDevice, values: Any) -> torch.Tensor:
        if limits[-1] < 1 and values.size > 4 * 32 * 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        monkeypatch.setattr(self, "_device", torch.device("cpu"))
        moved = real(self, values)
        monkeypatch.setattr(self, "_device", CUDA)
        return moved

    monkeypatch.setattr(OnDevice, "_move", move)
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 100)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=1000))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share))
    row = small_memory_row(large_scene.make_pair(tmp_path, 32, 160, 8), CUDA)
    assert (row["right"], limits) == (True, [1.0, 0.04, 1.0])


def small_model(folder: Path) -> None:
    save_random_model(folder, msi_bands=4, hsi_bands=8, ratio=8, end_point="glp")


def test_a_device_without_a_number_gets_one_for_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[benchmark.Plan] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def run(plan: benchmark.Plan) -> dict[str, benchmark.Row]:
        seen.append(plan)
        return {}

    monkeypatch.setattr(benchmark, "run", run)
    assert benchmark.main([str(tmp_path)]) == 0
    assert [plan.name for plan in seen] == ["cuda:0"]


def test_each_process_of_a_training_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    group = ProcessGroup(1, 2, 1)
    assert [group.device(name) for name in ("auto", "cuda", "cpu")] == [
        *2 * [torch.device("cuda:1")],
        torch.device("cpu"),
    ]
    with pytest.raises(UsageError, match="'cuda:0' is one for 2 processes"):
        group.device("cuda:0")


def test_what_fails_is_told_and_left_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> benchmark.Row:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(benchmark, "steps", lambda _plan: {"bad": fail, "good": lambda: {"right": True}})
    monkeypatch.setattr(benchmark, "train_preset", lambda *_, **__: {"iterations": 20, "reached": 3})
    plan = benchmark.Plan(tmp_path, tmp_path, torch.device("cpu"), 1e12, 1.0, small=True)
    found = benchmark.run(plan)
    assert found["bad"] == {"failed_with": "RuntimeError: no kernel image"}
    assert [path.name for path in sorted(tmp_path.glob("*.json"))] == ["good.json"]
    assert "no kernel image" in (tmp_path / "table.md").read_text()


def test_the_faster_precision_is_taken_where_it_is_faster_by_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(exact: float, rounded: float) -> Any:
        turns = iter([exact, rounded] * 10)
        return lambda *_: next(turns)

    for exact, rounded, expected in ((1.0, 0.5, "bf16"), (1.0, 0.9, "fp32"), (0.1, 1.0, "fp32")):
        monkeypatch.setattr("emrdiff_cli.fusion.precision._seconds", timed(exact, rounded))
        measured_precision.cache_clear()
        assert measured_precision(torch.device("cpu"), 8) == expected
    monkeypatch.undo()
    on_a_gpu = _layer(torch.device("meta"), 16, torch.bfloat16)()
    assert on_a_gpu.shape[0] * on_a_gpu.shape[2:].numel() >= 2**20, "with less it does nothing but start"
    measured_precision.cache_clear()
    assert measured_precision(torch.device("cpu"), 8) in ("fp32", "bf16")
