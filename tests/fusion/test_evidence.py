"""The method left to the pair: the parts that are looked at, and what is named where kriging is not the best."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.core.evidence.gathering import Evidence, PairPart, gather
from emrdiff_cli.core.evidence.scene_part import not_masked
from emrdiff_cli.core.sensor.degradation import WALD_PSF, Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.fusion.evidence import cores
from emrdiff_cli.methods import END_POINTS
from tests.support.front_door import succeed
from tests.support.pair_arrays import Pair, texture
from tests.support.places import SAMPLE
from tests.support.rasters import NORTH_UP, write_tif

RATIO, SIDE = 4, 96


@pytest.mark.parametrize("shape", [(20, 30), (64, 64), (70, 200), (300, 37)])
@pytest.mark.parametrize("pixels", [None, 256, 1024, 4096])
def test_parts_lie_on_the_grid_and_hold_what_is_asked_for(shape: tuple[int, int], pixels: int | None) -> None:
    seen = np.zeros(shape, int)
    for rows, cols in cores(shape, pixels):
        assert min(rows.start, cols.start) >= 0
        assert rows.stop <= shape[0]
        assert cols.stop <= shape[1]
        seen[rows, cols] += 1
    assert seen.max() == 1
    if pixels is None or shape[0] * shape[1] <= pixels:
        assert seen.min() == 1
    else:
        assert 0.2 * pixels <= seen.sum() <= pixels


def test_a_masked_part_tells_nothing_and_one_that_is_not_stands_in_for_it() -> None:
    pair, core = Pair(texture(4, 48, 48, 0), texture(2, 48, 48, 1)), (slice(0, 12), slice(0, 12))
    masked = replace(pair.lr, valid=np.zeros((12, 12), bool))
    part = PairPart(masked, pair.strips, pair.maps, WALD_PSF, (RATIO, RATIO), core)
    assert gather([part], END_POINTS) == Evidence((), None, 0, None)
    valid, middle = np.ones((64, 64), bool), [(slice(16, 48), slice(16, 48))]
    assert not_masked(middle, valid, 32) == middle
    valid[12:, 12:] = False
    assert not_masked(middle, valid, 32) == [(slice(1, 31), slice(1, 31))]


@pytest.mark.slow
def test_a_method_that_is_truly_better_than_kriging_is_named(tmp_path: Path) -> None:
    """The LR-HSI of the sample's corner, seen through a PSF 1.4 times as wide as it is taken to be."""
    with rasterio.open(SAMPLE / "hr_hsi.tif") as dataset:
        truth = dataset.read(window=((0, SIDE), (0, SIDE))).astype(np.float32)[::8]
    placed = AxisPlacement(float(RATIO), 0.0)
    lr_side = SIDE // RATIO
    down = Psf.of_fwhm(1.4 * RATIO, 1.4 * RATIO).down(placed, placed, (lr_side, lr_side), (SIDE, SIDE))
    msi = np.stack([truth[a:b].mean(axis=0) for a, b in ((0, 3), (4, 6), (7, 8), (10, 13))])
    lr = write_tif(tmp_path / "lr.tif", apply_taps(truth, *down).astype(np.float32))
    fine = write_tif(tmp_path / "msi.tif", msi, transform=NORTH_UP @ Affine.scale(1 / RATIO))

    def fused(*options: str) -> tuple[dict[str, object], float]:
        """The report, and the mean over the bands of 10 log10 of the mean squared error, away from the edges."""
        output = tmp_path / "fused.tif"
        flags = ("--register", "off", "--overwrite", "--json", "-q", *options)
        report = json.loads(succeed("fuse", lr, fine, output, *flags))
        with rasterio.open(output) as dataset:
            wrong = np.square(dataset.read() - truth)[:, RATIO:-RATIO, RATIO:-RATIO]
            assert dataset.tags()["emrdiff_method"] == report["method"]
        return report, float(10 * np.log10(wrong.mean(axis=(1, 2))).mean())

    (by_itself, own), (_, kriged) = fused(), fused("--method", "kriging")
    assert by_itself["method"] in ("glp", "glp-local")
    assert kriged - own > 2
    verdict = by_itself["verdict"]
    assert isinstance(verdict, dict)
    assert "the geometry in use is surely wrong" in verdict["sentence"]
