"""A shipped model on a scene like those that it is for, and on one whose materials it has never seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from emrdiff_cli import simulate
from emrdiff_cli.fusion.cluster import Workers
from emrdiff_cli.fusion.job import FusionJob, choose_model, run_job
from emrdiff_cli.fusion.options import FusionSettings
from tests.support.front_door import Run, front_door
from tests.support.places import SAMPLE

pytestmark = pytest.mark.slow

SIDE = 64
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """A pair's files, with its truth (B, H, W)."""

    lr: Path
    msi: Path
    truth: Field

    def error(self, fused: Path) -> float:
        """Mean squared error of a fused raster."""
        with rasterio.open(fused) as dataset:
            return float(np.square(dataset.read() - self.truth, dtype=np.float64).mean())


def write_pair(folder: Path, *, foreign: bool) -> Pair:
    """A part of the sample; `foreign`: its spectra run the other way, of materials that are nowhere."""
    with rasterio.open(SAMPLE / "hr_hsi.tif") as dataset:
        whole, profile = dataset.read().astype(np.float32), dataset.profile
        scales, tags = np.array(dataset.scales, np.float32), [dataset.tags(band) for band in dataset.indexes]
    truth = (whole * scales[:, None, None])[:: -1 if foreign else 1, :SIDE, :SIDE]
    path = folder / "truth.tif"
    with rasterio.open(
        path, "w", **profile | {"dtype": "float32", "nodata": None, "height": SIDE, "width": SIDE}
    ) as dataset:
        dataset.write(truth)
        for band, found in enumerate(tags, 1):
            dataset.update_tags(band, **found)
    pair = simulate(path, folder, ratio=8, srf="sentinel-2a:B2,B3,B4,B8")
    return Pair(pair.lr_hsi, pair.hr_msi, np.ascontiguousarray(truth))


class Nobody:
    """Workers that must not be asked."""

    def sample_rows(self, *_asked: object) -> None:
        raise AssertionError("asked")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return front_door(monkeypatch, capfd)


def test_a_scene_like_its_own_keeps_the_model(tmp_path: Path, run: Run) -> None:
    pair = write_pair(tmp_path, foreign=False)
    done = run("fuse", pair.lr, pair.msi, tmp_path / "fused.tif", "--json", "-q")
    verdict = json.loads(done.out)["verdict"]
    assert verdict["method"] == "chikusei-x8"
    assert 0 < verdict["model_correction"]["whole"] < 1.4
    assert "here it corrects" in verdict["sentence"]


def test_a_foreign_scene_is_left_to_its_own_evidence_unless_the_model_is_named(
    tmp_path: Path, run: Run
) -> None:
    pair = write_pair(tmp_path, foreign=True)
    left, named = tmp_path / "left.tif", tmp_path / "named.tif"
    done = run("fuse", pair.lr, pair.msi, left)
    assert done.code == 0
    assert "Warning: model chikusei-x8, whose bands fit, is left: it was made for scenes unlike" in done.err
    assert "fused by kriging" in done.err
    assert [path.name for path in tmp_path.iterdir() if "left" in path.name] == ["left.tif"]
    again = run("fuse", pair.lr, pair.msi, named, "--model", "chikusei-x8")
    assert again.code == 0
    assert "Warning: the model may do worse than --method kriging: it was made for scenes unlike" in again.err
    assert pair.error(named) > 2 * pair.error(left)


def test_workers_are_not_asked_for_a_foreign_scene(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, foreign=True)
    job = FusionJob(pair.lr, pair.msi, tmp_path / "fused.tif", FusionSettings(device="cpu"))
    done = run_job(job, choose_model(job), workers=cast(Workers, Nobody()))
    assert done.method == "kriging"
    assert any("is left: it was made for scenes unlike" in said for said in done.warnings)
