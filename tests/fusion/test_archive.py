"""Going through an archive: one load of a model, exit codes, parts, and records of runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrdiff_cli.cli.app import commands
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion import job as fusion_job
from emrdiff_cli.fusion.batch import Status, fuse_archive
from emrdiff_cli.fusion.job import FusionJob, choose_model, is_done, run_job
from emrdiff_cli.fusion.manifest import ListedJob, part_of
from emrdiff_cli.fusion.options import OPTIONS, FusionSettings
from tests.support.pairs import write_pair
from tests.support.random_model import save_random_model

GLP = FusionSettings(method="glp")


def jobs_of(outputs: Sequence[Path], settings: FusionSettings = GLP) -> list[ListedJob]:
    folder = outputs[0].parent
    pair = folder / "lr.tif", folder / "msi.tif"
    return [ListedJob(i, FusionJob(*pair, output, settings)) for i, output in enumerate(outputs, 2)]


@given(st.integers(0, 40), st.integers(1, 12))
def test_parts_are_disjoint_and_together_all(count: int, parts: int) -> None:
    jobs = jobs_of([Path(f"out{i}.tif") for i in range(count)]) if count else []
    found = [listed for number in range(parts) for listed in part_of(jobs, parts, number)]
    assert sorted(listed.line for listed in found) == [listed.line for listed in jobs]
    sizes = [len(part_of(jobs, parts, number)) for number in range(parts)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("count", "number"), [(3, 3), (3, -1), (0, 0)])
def test_a_part_that_is_none_is_refused(count: int, number: int) -> None:
    with pytest.raises(UsageError, match="must be 0 to"):
        part_of([], count, number)


def test_scenes_of_one_model_share_its_weights_whatever_their_seed(tmp_path: Path) -> None:
    write_pair(tmp_path, 32, 32)
    model = str(save_random_model(tmp_path / "random"))
    settings = FusionSettings(model=model, tile=32, overlap=8, precision="fp32")
    jobs = jobs_of([tmp_path / f"out{i}.tif" for i in range(3)], settings)
    jobs[2] = replace(jobs[2], job=replace(jobs[2].job, settings=replace(settings, seed=4)))
    before = fusion_job._weights.cache_info()
    said: list[Status] = []
    assert fuse_archive(jobs, said.append) == 0
    after = fusion_job._weights.cache_info()
    assert [status.status for status in said] == ["done"] * 3
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)
    contents = [listed.job.output.read_bytes() for listed in jobs]
    assert contents[0] == contents[1] != contents[2]


def test_a_scene_that_runs_out_of_memory_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, 32, 32)
    jobs = jobs_of([tmp_path / f"out{i}.tif" for i in range(2)])

    def run(job: FusionJob, *rest: Any) -> Any:
        if job.output.name == "out0.tif":
            raise MemoryError
        return run_job(job, *rest)

    monkeypatch.setattr("emrdiff_cli.fusion.batch.run_job", run)
    said: list[Status] = []
    assert fuse_archive(jobs, said.append, keep_going=True) == 1
    assert [status.status for status in said] == ["failed", "done"]
    assert "--max-memory" in str(said[0].error)


def test_progress_grows_from_scene_to_scene(tmp_path: Path) -> None:
    write_pair(tmp_path, 32, 32)
    seen: list[tuple[float, float, str]] = []
    jobs = jobs_of([tmp_path / f"out{i}.tif" for i in range(3)])
    fuse_archive(jobs, lambda _: None, progress=lambda *moment: seen.append(moment))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert {total for _, total, _ in seen} == {3}
    assert (seen[0], seen[-1]) == ((0, 3, "out0.tif"), (3, 3, ""))


CHANGES: dict[str, dict[str, Any]] = {
    "dtype": {"dtype": "float32"},
    "creation options": {"creation_options": {"COMPRESS": "LZW"}},
    "method": {"method": "bicubic"},
    "register": {"register": "off"},
    "shift": {"shift": (0.5, 0.0)},
    "PSF": {"psf_fwhm": (3.0, 3.0)},
    "nodata": {"src_nodata": (-1.0, None)},
    "mask": {"mask": ("cloud",)},
    "srf": {"srf": "estimate"},
    "bounds": {"bounds": (0.0, 0.0, 1.0, 1.0)},
    "format": {"driver": "ENVI"},
    "overviews": {"overviews": True},
    "values as they come out": {"physical": False},
    "a mask that is not there": {"changed": Path("mask.tif")},
    "an item that is not there": {"stac": "2024-06-01"},
    "a style that is not there": {"qml": True},
    "a page that is not there": {"report": Path("page")},
    "an uncertainty that is not there": {"uncertainty": Path("u.tif")},
    "draws that are not there": {"samples": 2, "samples_dir": Path("draws")},
}
PASSING: dict[str, dict[str, Any]] = {
    "overwrite": {"overwrite": True},
    "clipping": {"clip": True},
    "resume": {"resume": True},
    "memory": {"max_memory": 10**12, "batch_size": 1},
    "device": {"device": "cpu", "num_threads": 1, "precision": "fp32"},
    "effort, with the method given": {"effort": "thorough"},
    "tiles, without a model": {"tile": 64, "overlap": 8},
    "the LR-HSI's own type": {"dtype": "int16"},
    "the draw, without a model": {"seed": 1, "steps": 2},
}


@pytest.mark.parametrize("change", [*CHANGES, *PASSING])
def test_what_changes_the_output_is_told_from_what_does_not(tmp_path: Path, change: str) -> None:
    write_pair(tmp_path, 32, 32)
    job = FusionJob(tmp_path / "lr.tif", tmp_path / "msi.tif", tmp_path / "out.tif", GLP)
    assert not is_done(job, None)
    run_job(job, None)
    other = replace(job, settings=replace(GLP, **(CHANGES | PASSING)[change]))
    assert is_done(job, choose_model(job))
    assert is_done(other, None) == (change in PASSING)


@pytest.mark.parametrize("told", [False, True])
def test_effort_changes_what_the_pair_itself_chooses(tmp_path: Path, told: bool) -> None:
    """Not where uncertainty is asked for: then it is kriging, as with the method given."""
    write_pair(tmp_path, 32, 32)
    asked = FusionSettings(uncertainty=tmp_path / "sd.tif" if told else None)
    job = FusionJob(tmp_path / "lr.tif", tmp_path / "msi.tif", tmp_path / "out.tif", asked)
    run_job(job, choose_model(job))
    assert is_done(job, None)
    assert is_done(replace(job, settings=replace(asked, effort="fast")), None) == told
    assert is_done(replace(job, settings=replace(asked, method="kriging")), None) == told


def test_every_option_is_known_to_change_the_output_or_not_to() -> None:
    assert {name for change in (CHANGES | PASSING).values() for name in change} == set(OPTIONS) - {"model"}


@pytest.mark.parametrize("name", ["lr.tif", "msi.tif"])
def test_an_input_that_was_touched_is_another(tmp_path: Path, name: str) -> None:
    write_pair(tmp_path, 32, 32)
    job = FusionJob(tmp_path / "lr.tif", tmp_path / "msi.tif", tmp_path / "out.tif", GLP)
    run_job(job, None)
    assert is_done(job, None)
    state = (tmp_path / name).stat()
    os.utime(tmp_path / name, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert not is_done(job, None)


def test_every_option_is_a_parameter_of_the_command_by_its_flag() -> None:
    flags = {parameter.name: parameter.opts for parameter in commands().commands["fuse"].params}
    assert {name for name, known in OPTIONS.items() if known.flag not in flags[name]} == set()
