"""Memory and disk: what is needed is known before the start, kept to, and independent of the height."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.errors import EmrdiffError, UsageError, WriteError
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.fusion_plan import plan
from emrdiff_cli.fusion.memory import MemoryEstimate, choose_batch_size, free_memory, readable
from emrdiff_cli.fusion.option_cells import parse_size
from emrdiff_cli.fusion.sampler import ModelSampler
from emrdiff_cli.zoo import WEIGHTS
from tests.support.pairs import write_pair
from tests.support.random_model import save_random_model
from tests.support.samplers import Fake, Image, of_position, settings
from tests.support.scenes import read

TILES = FusionOptions(tile=16, overlap=4, batch_size=4, overwrite=True)


class Limited(Fake):
    """A sampler that holds so many tiles at a time."""

    most = 4

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Image]:
        if len(tiles) > self.most:
            raise MemoryError
        return super().__call__(tiles, corners)


def test_a_batch_too_large_is_halved_with_the_same_result(tmp_path: Path) -> None:
    pair, output = write_pair(tmp_path), tmp_path / "out.tif"
    fuse(*pair, output, "glp", Fake(settings(), of_position), TILES)
    whole = output.read_bytes()
    for most in (1, 2, 3):
        sampler = Limited(settings(), of_position)
        sampler.most = most
        fuse(*pair, output, "glp", sampler, TILES)
        assert output.read_bytes() == whole
        assert {len(batch) for batch in sampler.batches} <= {1, 2}


def test_a_tile_too_large_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    sampler = Limited(settings())
    sampler.most = 0
    with pytest.raises(EmrdiffError, match=r"single tile of 16 x 16 .* smaller --tile"):
        fuse(*write_pair(tmp_path), tmp_path / "out.tif", "glp", sampler, TILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif"]


@pytest.mark.slow
def test_torch_without_memory_is_halved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, output = write_pair(tmp_path, 32, 40), tmp_path / "out.tif"
    model = load_model(save_random_model(tmp_path / "model") / WEIGHTS)
    fuse(*pair, output, "glp", ModelSampler(model, torch.device("cpu")), TILES)
    whole = read(output)
    real = ModelSampler._sample
    errors = [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    ]
    for error in errors:

        def sample(
            self: ModelSampler, tiles: Sequence[Any], corners: Any, *, error: RuntimeError = error
        ) -> list[Any]:
            if len(tiles) > 2:
                raise error
            return real(self, tiles, corners)

        monkeypatch.setattr(ModelSampler, "_sample", sample)
        fuse(*pair, output, "glp", ModelSampler(model, torch.device("cpu")), TILES)
        np.testing.assert_allclose(read(output), whole, atol=1.01e-4)


def test_another_error_of_torch_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    model = load_model(save_random_model(tmp_path / "model") / WEIGHTS)
    monkeypatch.setattr(EMRDiff, "sample", sample)
    with pytest.raises(RuntimeError, match="shapes"):
        fuse(
            *write_pair(tmp_path), tmp_path / "o.tif", "glp", ModelSampler(model, torch.device("cpu")), TILES
        )


def test_the_batch_fits_the_memory() -> None:
    estimate = MemoryEstimate(1e9, 2e8)
    assert choose_batch_size(estimate, None, 2 * 10**9) == 4
    assert choose_batch_size(estimate, None, 1_450_000_000) == 2
    assert choose_batch_size(estimate, None, 1_200_000_000) == 1
    assert choose_batch_size(estimate, 9, 3 * 10**9) == 9
    assert 1 <= choose_batch_size(estimate, None, None) <= 4
    assert choose_batch_size(estimate, None, 3 * 10**9, threads=8) == 8
    for asked, limit in ((None, 1_100_000_000), (4, 1_700_000_000)):
        with pytest.raises(UsageError, match=r"--max-memory 1\.\d GB: about 1\.\d GB are needed"):
            choose_batch_size(estimate, asked, limit)


def test_free_memory_is_told() -> None:
    free = free_memory()
    assert free is None or 10**6 < free < 10**15


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5g", 15 * 10**8), ("800 MB", 8 * 10**8), ("70000", 70_000), ("64kb", 64_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-2GB", "0", "2XB", "infGB", "GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--max-memory"):
        parse_size(text)


def test_a_limit_that_cannot_be_kept_is_refused_before_any_work(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    for sampler in (Fake(settings()), None):
        with pytest.raises(UsageError, match="--max-memory 200 MB: about"):
            fuse(*pair, tmp_path / "out.tif", "glp", sampler, replace(TILES, max_memory=2 * 10**8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif"]


def test_errors_that_are_told_need_memory_too(tmp_path: Path) -> None:
    pair, output = write_pair(tmp_path), tmp_path / "out.tif"
    told = replace(TILES, uncertainty=tmp_path / "told.tif")
    drawn = replace(told, samples=2, samples_dir=tmp_path)
    needed = [
        plan(*pair, output, None, "kriging", options).least_memory_bytes for options in (TILES, told, drawn)
    ]
    assert needed[0] < needed[1] < needed[2]
    for options, enough in ((told, needed[1]), (drawn, needed[2])):
        with pytest.raises(UsageError, match="--max-memory"):
            fuse(*pair, output, "kriging", None, replace(options, max_memory=enough - 10**6))


def test_the_plan_states_the_memory(tmp_path: Path) -> None:
    pair, output = write_pair(tmp_path), tmp_path / "out.tif"
    facts = plan(*pair, output, settings(), "emrdiff", TILES)
    fuse(*pair, output, "glp", Fake(settings()), replace(TILES, max_memory=facts.least_memory_bytes))
    too_little = replace(TILES, max_memory=facts.least_memory_bytes - 10**6)
    with pytest.raises(UsageError, match="--max-memory"):
        fuse(*pair, output, "glp", Fake(settings()), too_little)
    assert json.dumps(facts.record())


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 0.1),
        ({"driver": "ENVI"}, 1.0),
        ({"driver": "COG"}, 0.2),
        ({"creation_options": {"compress": "none"}}, 1.0),
    ],
    ids=str,
)
def test_a_disk_without_room_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], share: float
) -> None:
    pair, output = write_pair(tmp_path), tmp_path / "out.tif"
    options = replace(TILES, **changes)
    needed = share * 8 * 64 * 72 * 2

    def disk(free: float) -> None:
        usage = shutil._ntuple_diskusage(10**9, 10**9 - int(free), int(free))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    disk(needed - 10)
    with pytest.raises(WriteError, match="free on its disk") as caught:
        fuse(*pair, output, "glp", None, options)
    assert caught.value.exit_code == 4
    disk(needed + 10)
    with pytest.raises(WriteError, match="free on its disk"):
        fuse(*pair, output, "glp", Fake(settings()), options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif"]
    fuse(*pair, output, "glp", None, options)


def test_readable_sizes() -> None:
    assert (readable(2.5e9), readable(8e8)) == ("2.5 GB", "800 MB")


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [True, False])
def test_memory_does_not_grow_with_the_height(tmp_path: Path, sampled: bool) -> None:
    peaks = []
    for height in (1280, 2880):
        folder = tmp_path / str(height)
        folder.mkdir()
        pair = write_pair(folder, height, 64, 8, count=None)
        sampler = Fake(settings(ratio=8, tile=64, end_point="glp"), of_position) if sampled else None
        tracemalloc.start()
        fuse(*pair, folder / "out.tif", "glp", sampler, FusionOptions(dtype="float32"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The output grows by 3.3 MB, what is of the LR-HSI's size by 0.05 MB; the geometry's blocks are up to nine.
    assert peaks[1] < peaks[0] + 2e6
