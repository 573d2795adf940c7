"""Runs that are killed or interrupted: what is resumed is what would have been, and no other run is."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from emrdiff_cli import __version__
from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import InputError, OutputExistsError, UsageError, WriteError
from emrdiff_cli.fusion.fusing import fuse
from emrdiff_cli.fusion.job import FusionJob, choose_model, run_job
from emrdiff_cli.fusion.journal import Journal
from emrdiff_cli.fusion.options import FusionSettings
from emrdiff_cli.fusion.precision import Precision
from emrdiff_cli.fusion.sampler import ModelSampler
from emrdiff_cli.runtime.scratch_file import ScratchArrays
from emrdiff_cli.zoo import WEIGHTS
from tests.support.front_door import Run, succeed
from tests.support.pairs import write_pair
from tests.support.random_model import save_random_model
from tests.support.resumed_runs import (
    FORMATS,
    OLD,
    TILES,
    Pair,
    beside,
    contents,
    fake,
    go,
    in_a_child,
    interrupt,
    rows_kept,
)
from tests.support.samplers import Image, of_position


def slow(tile: TileInputs, corner: tuple[int, int]) -> Image:
    """As `of_position`, with time enough to be killed in."""
    time.sleep(0.005)
    return of_position(tile, corner)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, lr_holes=[(3, 5)], msi_holes=np.s_[:, 40:42, 10:20])


# Resumed


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "name"), FORMATS)
def test_a_run_killed_at_any_moment_is_resumed_to_the_same_bytes(
    tmp_path: Path, pair: Pair, driver: str, name: str
) -> None:
    output, chance = tmp_path / name, random.Random(name)
    started = time.monotonic()
    go(pair, output, fake(slow), driver=driver)
    seconds = time.monotonic() - started
    whole = contents(output)
    for _ in range(5):
        output.with_suffix(".hdr").unlink(missing_ok=True)
        output.write_bytes(OLD)
        delay = chance.uniform(0, seconds)
        killed = in_a_child(lambda: go(pair, output, fake(slow), driver=driver), delay)
        if killed == -signal.SIGKILL:
            assert output.read_bytes() in (OLD, whole[0])
        go(pair, output, driver=driver, resume=True)
        assert contents(output) == whole
        assert beside(output) == []


def test_only_the_missing_rows_are_computed(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    first, again = fake(), fake()
    go(pair, output, first)
    whole = output.read_bytes()
    interrupt(pair, output)
    assert output.read_bytes() == whole
    assert beside(output) == [".out.tif.journal"]
    done = len(rows_kept(output))
    report = go(pair, output, again, resume=True)
    assert f"resumed: {done} of 5 tile rows were done" in report.notes
    rows = [{row for row, _ in batch} for batch in again.batches]
    assert 0 < done < 5
    assert again.batches == first.batches[-len(rows) :]
    assert len(set.union(*rows)) == 5 - done
    assert output.read_bytes() == whole
    assert beside(output) == []


def test_a_calibration_of_the_archive_and_bounds_are_resumed(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    left, top = 383472.37, 5818302.35
    changes: dict[str, Any] = {"bounds": (left + 90, top - 450, left + 400, top - 30), "register": "off"}
    go(pair, output, **changes)
    whole = output.read_bytes()
    interrupt(pair, output, **changes)
    go(pair, output, resume=True, **changes)
    assert output.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "moved"])
def test_a_damaged_row_is_computed_again(tmp_path: Path, pair: Pair, damage: str) -> None:
    output = tmp_path / "out.tif"
    go(pair, output)
    whole = output.read_bytes()
    interrupt(pair, output, after=40)
    rows = rows_kept(output)
    content = bytearray(rows[1].read_bytes())
    content[-50] ^= 1
    changed: dict[str, bytes | bytearray] = {
        "cut": content[:-1],
        "flipped": content,
        "empty": b"",
        "moved": rows[0].read_bytes(),
    }
    rows[1].write_bytes(changed[damage])
    sampler = fake()
    go(pair, output, sampler, resume=True)
    assert len({row for batch in sampler.batches for row, _ in batch}) == 5 - (len(rows) - 1)
    assert output.read_bytes() == whole


@pytest.mark.parametrize("name", ["run.json", "scene.npz"])
def test_a_damaged_record_starts_the_run_anew(tmp_path: Path, pair: Pair, name: str) -> None:
    output = tmp_path / "out.tif"
    go(pair, output)
    whole = output.read_bytes()
    interrupt(pair, output)
    path = Journal(output).folder / name
    path.write_bytes(path.read_bytes()[:-100])
    report = go(pair, output, resume=True)
    assert any("nothing to resume" in note for note in report.notes)
    assert output.read_bytes() == whole


def test_a_scene_that_another_version_kept_is_prepared_again(tmp_path: Path, pair: Pair) -> None:
    output, expected = tmp_path / "out.tif", tmp_path / "expected.tif"
    go(pair, expected)
    interrupt(pair, output)
    folder = Journal(output).folder
    with np.load(folder / "scene.npz") as kept:
        renamed = {name.replace("end.fitted", "fields"): array for name, array in kept.items()}
    np.savez(folder / "scene.npz", **renamed)
    record = json.loads((folder / "run.json").read_text())
    record["scene"] = hashlib.sha256((folder / "scene.npz").read_bytes()).hexdigest()
    (folder / "run.json").write_text(json.dumps(record))
    assert "tile rows were done" in " ".join(go(pair, output, resume=True).notes)
    assert output.read_bytes() == expected.read_bytes()


def test_what_grows_with_the_scene_is_read_back_into_files(tmp_path: Path) -> None:
    journal, of_scene = Journal(tmp_path / "out.tif"), np.arange(12, dtype=np.float32).reshape(3, 4)
    journal.begin({}, {}, {"outside": of_scene, "numbers": np.arange(12), "factor": np.array(0.5)})
    begun = journal.resume({}, ScratchArrays(tmp_path, small=1))
    assert begun is not None
    assert isinstance(begun.scene["outside"].base, mmap.mmap)
    np.testing.assert_array_equal(begun.scene["outside"], of_scene)
    assert begun.scene["numbers"].tolist() == list(range(12))
    assert begun.scene["factor"] == 0.5


def test_nothing_to_resume_is_said(tmp_path: Path, pair: Pair) -> None:
    for sampler in (fake(), None):
        options = replace(TILES, overwrite=True, resume=True)
        report = fuse(*pair, tmp_path / "out.tif", "glp", sampler, options)
        assert any("nothing to resume" in note for note in report.notes)


def test_an_interruption_before_the_first_row_leaves_nothing(tmp_path: Path, pair: Pair) -> None:
    interrupt(pair, tmp_path / "out.tif", after=0)
    assert beside(tmp_path / "out.tif") == []


def test_a_disk_that_is_full_at_once_leaves_nothing(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(WriteError, match="cannot be written: No space left on device"):
        go(pair, tmp_path / "out.tif")
    assert beside(tmp_path / "out.tif") == []


def test_an_unfinished_run_is_not_lost_unasked(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    kept = rows_kept(output)
    for sampler in (fake(), None):
        with pytest.raises(OutputExistsError, match="--resume to go on with it, --overwrite to start anew"):
            fuse(*pair, output, "glp", sampler, TILES)
    assert rows_kept(output) == kept
    sampler = fake()
    go(pair, output, sampler)
    assert len({row for batch in sampler.batches for row, _ in batch}) == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"overlap": 2}, r"--overlap 4 \(now 2\)"),
        ({"tile": 32}, r"--tile 16 \(now 32\)"),
        ({"dtype": "float32"}, r"--dtype int16 \(now float32\)"),
        ({"driver": "ENVI"}, r"--format GTiff \(now ENVI\)"),
        ({"creation_options": {"COMPRESS": "LZW"}}, "--co"),
        ({"register": "off"}, r"--register auto \(now off\)"),
        ({"srf": "estimate"}, "--srf automatic"),
        ({"bounds": (0.0, 0.0, 1.0, 1.0)}, r"--bounds none \(now 0.0 0.0 1.0 1.0\)"),
    ],
)
def test_another_option_is_refused_by_name(
    tmp_path: Path, pair: Pair, changes: dict[str, Any], said: str
) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    kept = rows_kept(output)
    with pytest.raises(UsageError, match=said):
        go(pair, output, resume=True, **changes)
    assert rows_kept(output) == kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"change": 1e-3}, "another model"),
        ({"seed": 1}, r"--seed 0 \(now 1\)"),
        ({"steps": 2}, r"--steps 5 \(now 2\)"),
        ({"precision": "bf16"}, r"--precision fp32 \(now bf16\)"),
    ],
)
def test_another_sampler_of_the_same_configuration_is_refused(
    tmp_path: Path, pair: Pair, other: dict[str, Any], said: str
) -> None:
    """Its own identity tells, whatever the caller says of it."""
    folder, output = save_random_model(tmp_path / "model"), tmp_path / "out.tif"

    def sampler(
        change: float = 0.0, seed: int = 0, steps: int | None = None, precision: Precision = "fp32"
    ) -> ModelSampler:
        model = load_model(folder / WEIGHTS)
        model.network.heads[0].get_parameter("weight").add_(change)
        return ModelSampler(model, torch.device("cpu"), seed, steps, precision)

    options = replace(TILES, tile=32, overlap=8)
    first = sampler()

    class Interrupted:
        config, calibration, identity = first.config, first.calibration, first.identity

        def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Image]:
            if corners[0][0] > 0:
                raise KeyboardInterrupt
            return first(tiles, corners)

    with pytest.raises(KeyboardInterrupt):
        fuse(*pair, output, "emrdiff", Interrupted(), options)
    kept = rows_kept(output)
    with pytest.raises(UsageError, match=said):
        fuse(*pair, output, "emrdiff", sampler(**other), replace(options, resume=True))
    assert rows_kept(output) == kept
    report = fuse(*pair, output, "emrdiff", sampler(steps=5), replace(options, resume=True))
    assert any(note.startswith("resumed: ") for note in report.notes)


def test_what_auto_decided_holds_for_the_run_that_goes_on(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = FusionSettings(model=str(save_random_model(tmp_path / "model")), tile=32, overlap=8, batch_size=1)
    real = ModelSampler.__call__

    def interrupted(self: ModelSampler, tiles: Any, corners: Any) -> list[Image]:
        if corners[0][0] > 0:
            raise KeyboardInterrupt
        return real(self, tiles, corners)

    pixels = []
    for name, decided in (("whole.tif", ["bf16"]), ("in_parts.tif", ["bf16", "fp32"])):
        job = FusionJob(*pair, tmp_path / name, asked)
        for measured in decided:
            monkeypatch.setattr("emrdiff_cli.fusion.job.measured_precision", lambda *_, found=measured: found)
            broken = measured != decided[-1]
            monkeypatch.setattr(ModelSampler, "__call__", interrupted if broken else real)
            resumed = replace(asked, resume=name == "in_parts.tif" and not broken)
            with pytest.raises(KeyboardInterrupt) if broken else nullcontext():
                run_job(replace(job, settings=resumed), choose_model(job))
        with rasterio.open(job.output) as made:
            assert made.tags()["emrdiff_precision"] == "bf16"
            pixels.append(made.read())
    np.testing.assert_array_equal(*pixels)


def test_a_journal_of_another_format_is_refused(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    record = Journal(output).folder / "run.json"
    content = json.loads(record.read_text())
    content["key"]["version"] = f"{__version__}, journal 1"
    record.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="another version"):
        go(pair, output, resume=True)


def test_what_a_kill_leaves_of_a_journal_is_removed(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    folder = Journal(output).folder
    folder.mkdir()
    for name in ("scene.npz", "row-00000", "row-123456", ".row-00001.part-99", ".run.json.part-99"):
        (folder / name).write_bytes(OLD)
    go(pair, output)
    assert beside(output) == []


def test_another_network_or_method_is_refused(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    with pytest.raises(UsageError, match="another model"):
        go(pair, output, fake(kappa=1.0), resume=True)
    with pytest.raises(UsageError, match="another --method"):
        fuse(*pair, output, "glp", None, replace(TILES, resume=True))


@pytest.mark.parametrize("which", [0, 1])
def test_another_input_is_refused(tmp_path: Path, pair: Pair, which: int) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    with rasterio.open(pair[which], "r+") as dataset:
        values = dataset.read(1)
        values[-1, -1] += 1
        dataset.write(values, 1)
    with pytest.raises(UsageError, match=("another LR-HSI", "another HR-MSI")[which]):
        go(pair, output, resume=True)


def test_an_input_is_known_by_name_size_and_time_of_change(tmp_path: Path, pair: Pair) -> None:
    output = tmp_path / "out.tif"
    interrupt(pair, output)
    state = pair[1].stat()
    shutil.copy2(pair[1], tmp_path / "copy.tif")
    (tmp_path / "copy.tif").replace(pair[1])
    os.utime(pair[1], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(UsageError, match="another HR-MSI"):
        go(pair, output, resume=True)
    os.utime(pair[1], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert any(note.startswith("resumed: ") for note in go(pair, output, resume=True).notes)


def test_no_input_is_read_for_its_identity(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with a sampler reads the rasters by windows alone: no whole file goes through a hash."""
    digest, hashed = hashlib.file_digest, []

    def watched(file: Any, *rest: Any) -> Any:
        hashed.append(Path(file.name).name)
        return digest(file, *rest)

    monkeypatch.setattr(hashlib, "file_digest", watched)
    go(pair, tmp_path / "out.tif")
    assert not {path.name for path in pair} & set(hashed)


@pytest.mark.parametrize("which", [0, 1])
def test_an_input_that_is_replaced_meanwhile_is_refused(tmp_path: Path, pair: Pair, which: int) -> None:
    output = tmp_path / "out.tif"
    output.write_bytes(OLD)

    def swap(tile: TileInputs, corner: tuple[int, int]) -> Image:
        shutil.copy(pair[which], tmp_path / "swapped.tif")
        (tmp_path / "swapped.tif").replace(pair[which])
        return of_position(tile, corner)

    with pytest.raises(InputError, match=f"{pair[which].name}: was changed while it was read"):
        go(pair, output, fake(swap))
    assert output.read_bytes() == OLD


# Through the front door


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], bytes]:
    """A command without its output, and what it comes to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    pair, model = write_pair(folder, lr_holes=[(3, 5)]), save_random_model(folder / "model")
    command = ["fuse", *map(str, pair), "--model", str(model), "--tile", "16", "--overlap", "4"]
    command += ["--steps", "10", "--batch-size", "3", "--overwrite", "--precision", "fp32"]
    succeed(*command, folder / "out.tif", "-q")
    return command, (folder / "out.tif").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_command_is_resumed_with_a_network(
    emrdiff: Run, tmp_path: Path, uninterrupted: tuple[list[str], bytes], number: signal.Signals
) -> None:
    command, whole = uninterrupted
    output = tmp_path / "out.tif"
    output.write_bytes(OLD)
    killed = [sys.executable, "-m", "emrdiff_cli", *command, str(output)]
    with subprocess.Popen(killed, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while len(rows_kept(output)) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), err
    assert "Traceback" not in err
    assert output.read_bytes() == OLD
    if number == signal.SIGINT:
        assert err.splitlines()[-1] == "Interrupted."
        assert beside(output) == [".out.tif.journal"]
    ended = emrdiff(*command, output, "--resume")
    assert ended.code == 0, ended.err
    assert "Note: resumed: " in ended.err
    assert output.read_bytes() == whole
    assert beside(output) == []
