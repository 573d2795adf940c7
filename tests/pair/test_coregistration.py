"""A displaced pair is found out, put right and fused nearly as well as if it had never been displaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.core.sensor.registration import Shift
from emrdiff_cli.evaluation.full_reference import evaluate
from emrdiff_cli.fusion.fusing import FusionOptions, FusionReport, fuse
from emrdiff_cli.pair.coregistration import find_shift
from emrdiff_cli.pair.geometry import SHIFT_TAG
from emrdiff_cli.pair.geometry_notes import described
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.pair.registration import register
from emrdiff_cli.pair.spectral_coverage import registered
from emrdiff_cli.simulation import simulate_raster
from tests.support.pairs import BANDS, BERLIN, BY, RATIO, SIDE, Point, displaced, moved_copy, see, write_pair
from tests.support.rasters import NORTH_UP, read_back
from tests.support.scenes import COUNT, textured, write_cube


def found(pair: tuple[Path, Path]) -> Shift:
    with open_pair(*pair) as opened:
        return find_shift(opened)


def off(shift: Shift, by: Point) -> float:
    """How far the shift is from undoing a displacement."""
    return max(abs(shift.rows + by[0]), abs(shift.cols + by[1]))


@pytest.mark.parametrize("by", [(0.0, 0.0), BY, (-2.3, 1.6)])
@pytest.mark.parametrize("holes", [None, True])
def test_the_displacement_of_a_pair_on_disk_is_found(tmp_path: Path, by: Point, holes: Any) -> None:
    shift = found(displaced(tmp_path, by, holes=holes))
    assert off(shift, by) < 0.02
    assert shift.confidence > 0.99


def test_a_pair_is_moved_by_its_grid_alone(tmp_path: Path) -> None:
    with open_pair(*displaced(tmp_path)) as opened, open_pair(*displaced(tmp_path, (0.0, 0.0))) as right:
        moved = opened.moved((-BY[0], -BY[1]))
        assert moved.alignment.hr_window == right.alignment.hr_window
        assert moved.alignment.rows == pytest.approx(right.alignment.rows, abs=1e-6)
        np.testing.assert_array_equal(moved.read_lr(), right.read_lr())
        assert opened.moved((0.0, 0.0)) is opened
    with open_pair(*displaced(tmp_path), shift=(-BY[0], -BY[1])) as opened:
        assert opened.alignment == moved.alignment


def test_the_response_is_estimated_where_the_pair_is_known_to_lie(tmp_path: Path) -> None:
    with open_pair(*displaced(tmp_path)) as opened:
        looked_for, given = registered(opened), registered(opened.moved((-BY[0], -BY[1])), placed=True)
        as_it_lies = registered(opened, placed=True)
    both = looked_for.valid & given.valid
    np.testing.assert_allclose(given.msi[:, both], looked_for.msi[:, both], atol=0.02)
    wrong = np.abs(as_it_lies.msi - looked_for.msi)[:, both & as_it_lies.valid]
    assert wrong.mean() > 10 * np.abs(given.msi - looked_for.msi)[:, both].mean()


def test_a_pair_without_a_georeference_is_moved_too(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, crs=None)
    with open_pair(*pair) as opened:
        assert opened.alignment.hr_window[:2] == (0, 0)
        moved = opened.moved((1.0, 0.5))
        assert moved.alignment.hr_window[:2] == (4, 2)
        assert (moved.alignment.rows.offset, moved.alignment.cols.offset) == (0, 0)


def psnr(output: Path) -> float:
    """Of the part away from the edges, which every output here has, against the truth; in dB."""
    with rasterio.open(output) as dataset:
        col, row = ~(NORTH_UP @ Affine.scale(1 / RATIO)) @ (dataset.transform.c, dataset.transform.f)
    row, col, margin = round(row), round(col), 4 * RATIO
    values = (
        read_back(output)[:, margin - row : SIDE - margin - row, margin - col : SIDE - margin - col] * COUNT
    )
    truth = textured(BANDS, SIDE, SIDE)[:, margin : SIDE - margin, margin : SIDE - margin]
    return float(-10 * np.log10(np.square(values - truth).mean(axis=(1, 2))).mean())


def fused(pair: tuple[Path, Path], output: Path, how: Register) -> FusionReport:
    return fuse(*pair, output, "glp-local", None, FusionOptions(overwrite=True, register=how))


def test_coregistration_recovers_what_the_displacement_cost(tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    fused(displaced(tmp_path, (0.0, 0.0)), output, "off")
    right = psnr(output)
    pair = displaced(tmp_path)
    report = fused(pair, output, "off")
    wrong = psnr(output)
    assert report.shift_lr_px == (0, 0)
    assert "--register off" in report.warnings[0]
    with rasterio.open(output) as dataset:
        assert SHIFT_TAG not in dataset.tags()
    report = fused(pair, output, "auto")
    assert right - wrong > 3
    assert psnr(output) > wrong + 0.8 * (right - wrong)
    assert report.shift_lr_px == pytest.approx((-BY[0], -BY[1]), abs=0.02)
    assert report.warnings == ()
    assert "was moved by 0.40 up and 0.70 right" in report.notes[0]
    with rasterio.open(output) as dataset:
        tag = [float(value) for value in dataset.tags()[SHIFT_TAG].split(",")]
        assert (dataset.height, dataset.width) == (SIDE, SIDE)
    assert tag == pytest.approx(report.shift_lr_px)


def test_a_pair_that_lies_right_is_not_touched(tmp_path: Path) -> None:
    pair = displaced(tmp_path, (0.0, 0.0))
    plain, corrected = tmp_path / "plain.tif", tmp_path / "corrected.tif"
    assert fused(pair, plain, "off").warnings == ()
    report = fused(pair, corrected, "shift")
    assert report.shift_lr_px == (0, 0)
    assert "lies right" in report.notes[0]
    np.testing.assert_array_equal(read_back(plain), read_back(corrected))


def test_a_pair_that_does_not_tell_is_not_moved(tmp_path: Path) -> None:
    lr, _ = write_pair(tmp_path, 96, 96)
    (tmp_path / "other").mkdir()
    _, msi = write_pair(tmp_path / "other", 96, 96, seed=7)
    with open_pair(lr, msi) as opened:
        registration = register(opened, "auto")
        assert registration.move == (0, 0)
        assert "could not be told" in registration.notes[0]
        assert registration.tags == {SHIFT_TAG: "0.0000,0.0000"}
        assert register(opened, "off").warnings == ()


def test_bad_bands_do_not_take_part(tmp_path: Path) -> None:
    pair = displaced(tmp_path)
    with rasterio.open(pair[0], "r+") as dataset:
        values = dataset.read()
        values[[1, 6]] = np.random.default_rng(0).integers(-30000, 30000, values[[1, 6]].shape)
        dataset.write(values)
        for band in dataset.indexes:
            dataset.update_tags(band, bbl=str(int(band not in (2, 7))))
    shift = found(pair)
    assert off(shift, BY) < 0.02
    assert shift.confidence > 0.99


def test_large_scenes_are_judged_by_a_block_in_their_middle(tmp_path: Path) -> None:
    truth = textured(BANDS, 600, 560)
    lr = truth.reshape(BANDS, 300, 2, 280, 2).mean(axis=(2, 4))
    lr[:, 100:200, 90:190] = np.nan
    pair = (
        write_cube(tmp_path / "lr.tif", lr),
        write_cube(tmp_path / "msi.tif", see(truth), transform=NORTH_UP @ Affine.scale(1 / 2)),
    )
    shift = found(pair)
    assert 1000 < shift.pixels < 128**2
    assert off(shift, (0.0, 0.0)) < 0.02


def test_directions_are_put_in_words() -> None:
    assert described(0.25, -1.5) == "0.25 down and 1.50 left (LR pixels)"
    assert described(-0.25, 1.5) == "0.25 up and 1.50 right (LR pixels)"


@pytest.mark.skipif(not BERLIN.exists(), reason="needs the Berlin scene")
def test_berlin(tmp_path: Path) -> None:
    """As delivered it is displaced by about one MSI pixel, which a phase correlation finds too; then by more."""
    lr, msi = BERLIN / "enmap_sim_30m_244b.hdr", BERLIN / "hymap_4band_3p6m.hdr"
    own = found((lr, msi))
    assert own.confidence > 0.99
    assert (own.rows, own.cols) == pytest.approx((-0.117, -0.085), abs=0.02)
    shift = found((moved_copy(lr.with_suffix(".bsq"), tmp_path, BY), msi))
    assert shift.confidence > 0.99
    assert (shift.rows - own.rows, shift.cols - own.cols) == pytest.approx((-BY[0], -BY[1]), abs=0.03)


@pytest.mark.slow
@pytest.mark.skipif(not BERLIN.exists(), reason="needs the Berlin scene")
def test_coregistration_recovers_what_the_displacement_of_a_city_cost(tmp_path: Path) -> None:
    """Berlin's LR-HSI as the truth of a pair at ratio 3."""
    truth = BERLIN / "enmap_sim_30m_244b.bsq"
    simulate_raster(truth, tmp_path, 3, "sentinel-2a")
    lr, msi, output = (tmp_path / name for name in ("lr_hsi.tif", "hr_msi.tif", "fused.tif"))
    assert off(found((lr, msi)), (0.0, 0.0)) < 0.02
    moved = moved_copy(lr, tmp_path, BY)
    assert off(found((moved, msi)), BY) < 0.02

    def psnr_db(lr_hsi: Path, how: Register) -> float:
        fused((lr_hsi, msi), output, how)
        found = evaluate(output, truth, metrics=("psnr_db",), border=4).scores.overall["psnr_db"]
        assert found is not None
        return found

    right, wrong = psnr_db(lr, "off"), psnr_db(moved, "off")
    assert right - wrong > 10
    assert psnr_db(lr, "shift") == right
    assert psnr_db(moved, "auto") > wrong + 0.95 * (right - wrong)
