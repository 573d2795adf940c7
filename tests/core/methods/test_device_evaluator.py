"""A device's evaluation against NumPy's, on torch's own processor, whole and in the parts that a memory holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import IN_MEMORY
from emrdiff_cli.core.methods import device_evaluator
from emrdiff_cli.core.methods.colour_kernel import degraded_features
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.device_evaluator import OnDevice
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.raster_info import Window
from tests.support.pair_arrays import Pair, by_strips, learned, local_pair

ROUNDING = 1e-5  # of the largest value
CPU = torch.device("cpu")
CUDA: Any = SimpleNamespace(type="cuda")


@cache
def scene(method: str) -> tuple[Pair, DetailInjection]:
    pair = local_pair()
    fitted = pair.end(method).fitted
    assert isinstance(fitted, DetailInjection)
    return pair, fitted


def gated(fitted: DetailInjection) -> DetailInjection:
    """A fit that takes no detail on some ground, and whose kernel knows no neighbourhood of its own."""
    gate = np.ones((1, *fitted.base.shape[1:]), np.float32)
    gate[:, 4:9, 6:11] = 0
    assert fitted.colour is not None
    kernel = replace(fitted.colour.kernel, neighbourhood_share=1.0, brightness_power=0.5)
    return replace(fitted, gate=gate, colour=replace(fitted.colour, kernel=kernel))


def alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    return bool(np.abs(one - other).max() <= ROUNDING * np.abs(one).max())


def tile_of(evaluator: Evaluator, pair: Pair, fitted: DetailInjection, part: Window) -> list[NDArray[Any]]:
    """All that a tile has, its pixels beyond the scene those of the edge."""
    rows, cols = (
        np.clip(np.arange(first, first + n), 0, side - 1)
        for first, n, side in zip((part.row, part.col), part[2:], pair.msi.shape[1:], strict=True)
    )
    msi, up = pair.msi[:, rows][:, :, cols], pair.maps.up_part(part)
    found = evaluator.tile(fitted, msi, *up)
    by_slopes, by_colour = evaluator.detail(fitted, msi, *up)
    every = [found.values, found.detail, found.local_detail, found.msi_detail, by_slopes]
    return every if by_colour is None else [*every, by_colour]


@pytest.mark.parametrize(("method", "change"), [("kriging", None), ("kriging", gated), ("glp-local", None)])
@pytest.mark.parametrize(
    "part", [Window(0, 0, 96, 96), Window(5, 13, 40, 61), Window(80, 70, 32, 32)], ids=str
)
def test_a_tile_is_the_processors_but_for_rounding(
    method: str, change: Callable[[DetailInjection], DetailInjection] | None, part: Window
) -> None:
    pair, fitted = scene(method)
    fitted = fitted if change is None else change(fitted)
    expected, found = (tile_of(worker, pair, fitted, part) for worker in (ON_PROCESSOR, OnDevice(CPU)))
    assert [alike(*both) for both in zip(expected, found, strict=True)] == [True] * len(expected)
    assert len(expected) == (5 if method == "glp-local" else 6)


def test_features_of_lr_pixels_are_the_processors_but_for_rounding() -> None:
    pair, _ = scene("kriging")
    kernel, neighbourhood = learned(pair.msi)
    given = kernel, neighbourhood, by_strips(pair.msi), pair.maps
    worker = OnDevice(CPU)
    expected = degraded_features(*given)
    assert alike(expected, degraded_features(*given, IN_MEMORY, worker.features_seen, 512))
    worker.pixels_at_once = 7 * 20
    assert alike(expected, degraded_features(*given, IN_MEMORY, worker.features_seen, 512))


class Small(OnDevice):
    """A GPU whose memory holds so many pixels of an MSI, and the columns of each part that it was given."""

    def __init__(self, msi: NDArray[Any], holds: int) -> None:
        super().__init__(CUDA)
        self.msi, self.holds, self.parts = msi, holds, list[int]()

    def _move(self, values: NDArray[Any]) -> torch.Tensor:
        if np.shares_memory(values, self.msi):
            self.parts.append(values.shape[2])
            if values.shape[1] * values.shape[2] > self.holds:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return OnDevice(CPU)._move(values)


def test_parts_are_halved_until_the_memory_holds_them_and_else_the_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    monkeypatch.setattr(device_evaluator, "_PIXELS_AT_ONCE", 96 * 96)
    monkeypatch.setattr(device_evaluator, "_FEWEST", 96 * 20)
    pair, fitted = scene("kriging")
    expected = ON_PROCESSOR.tile(fitted, pair.msi, *pair.maps.up)
    worker = Small(pair.msi, 96 * 30)
    found = worker.tile(fitted, pair.msi, *pair.maps.up)
    assert (worker.parts, emptied) == ([96, 48, 24, 24, 24, 24], [True, True])
    assert alike(expected.values, found.values)
    assert not np.array_equal(expected.values, found.values)
    nothing = Small(pair.msi, 0)
    found = nothing.tile(fitted, pair.msi, *pair.maps.up)
    assert (nothing.parts, len(emptied)) == ([96, 48, 24, 12], 6)
    assert np.array_equal(expected.values, found.values)
    by_slopes, by_colour = nothing.detail(fitted, pair.msi, *pair.maps.up)
    assert by_colour is not None
    assert np.array_equal(by_slopes, ON_PROCESSOR.detail(fitted, pair.msi, *pair.maps.up)[0])


def test_what_fails_for_another_reason_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: OnDevice, _values: NDArray[Any]) -> torch.Tensor:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(OnDevice, "_move", fail)
    pair, fitted = scene("kriging")
    with pytest.raises(RuntimeError, match="illegal"):
        OnDevice(CPU).tile(fitted, pair.msi, *pair.maps.up)
