"""Rasters brought together by ground and wavelength, in strips, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from emrdiff_cli.core.metrics.cube import CHEAP, score
from emrdiff_cli.errors import EmrdiffError, GridError, InputError, UsageError
from emrdiff_cli.evaluation import full_reference as evaluation
from emrdiff_cli.evaluation.common_ground import pair, upsample
from emrdiff_cli.evaluation.full_reference import evaluate
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster_info import Window
from tests.support.rasters import pixels, write_envi, write_tif
from tests.support.scoring_rasters import ground, place, write_raster

SHAPE = (4, 40, 48)


def noise(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, shape)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "reference.tif", ground(SHAPE, place()), place())


def lr_hsi(tmp_path: Path, ratio: float = 4.0, at: tuple[float, float] = (-16, -16), size: int = 30) -> Path:
    """An LR-HSI that reaches beyond the reference on all sides, so that no edge is in play."""
    transform = place(*at, pixel=2.5 * ratio)
    return write_raster(tmp_path / "lr_hsi.tif", ground((SHAPE[0], size, size), transform), transform)


def test_scores_are_those_of_the_arrays(tmp_path: Path, reference: Path) -> None:
    cube = ground(SHAPE, place()).astype(np.float32)
    fused = (cube + noise(SHAPE)).astype(np.float32)
    fused[2, 5, 7:9] = np.nan
    got = evaluate(write_raster(tmp_path / "fused.tif", fused, place()), reference, peak=0.8, ratio=4)
    assert got.scores == score(fused, cube, 0.8, 4)
    assert got.scores.dropped_pixels == 2
    assert (got.peak_source, got.ratio_source, got.notes) == ("--peak", "--ratio", ())


@pytest.mark.parametrize(
    ("shape", "corner", "overlap"),
    [((4, 60, 70), (-7, -9), 40 * 48), ((4, 20, 22), (11, 13), 20 * 22), ((4, 40, 48), (30, -40), 10 * 8)],
)
def test_offset_rasters_meet_on_their_common_ground(
    tmp_path: Path, reference: Path, shape: tuple[int, int, int], corner: tuple[int, int], overlap: int
) -> None:
    fused = write_raster(tmp_path / "fused.tif", ground(shape, place(*corner)), place(*corner))
    scores = evaluate(fused, reference).scores
    assert scores.overall["rmse"] == pytest.approx(0, abs=1e-6)
    assert (scores.valid_pixels, scores.dropped_pixels) == (overlap, 0)


def test_tiles_of_any_size_give_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, transform = (4, 72, 80), place(3, 2)
    reference = write_raster(tmp_path / "reference.tif", ground(shape, place()), place())
    fused = ground(shape, transform) + noise(shape)
    fused[:, 60, 70], fused[1] = np.nan, np.nan
    path = write_raster(tmp_path / "fused.tif", fused, transform)
    low = ground((4, 22, 24), place(-2, -3, 10)) + noise((4, 22, 24), 1)
    low[:, 14:17, 15:18], low[2, 18, 20] = np.nan, np.nan
    lr = write_raster(tmp_path / "lr_hsi.tif", low, place(-2, -3, 10))
    whole = evaluate(path, reference, baseline=lr)
    monkeypatch.setattr(evaluation, "_TILE_VALUES", 1)
    split = evaluate(path, reference, baseline=lr)
    assert whole.baseline is not None
    assert split.baseline is not None
    assert split.scores.overall == pytest.approx(dict(whole.scores.overall), rel=1e-9)
    # The upsampling itself runs in single precision.
    assert split.baseline.overall == pytest.approx(dict(whole.baseline.overall), rel=1e-5)
    assert split.baseline.valid_pixels == whole.baseline.valid_pixels
    assert split.scores.left_out_bands == split.baseline.left_out_bands == (2,)


def test_a_border_is_left_out_and_stated(tmp_path: Path, reference: Path) -> None:
    cube = ground(SHAPE, place())
    spoiled = cube.copy()
    spoiled[:, :3], spoiled[:, :, -3:] = 9, 9
    fused = write_raster(tmp_path / "fused.tif", spoiled, place())
    whole = evaluate(fused, reference).scores.overall["rmse"]
    assert whole is not None
    assert whole > 1
    got = evaluate(fused, reference, border=3)
    assert got.scores.overall["rmse"] == 0
    assert (got.border_px, got.area, got.scores.valid_pixels) == (3, Window(3, 3, 34, 42), 34 * 42)
    with pytest.raises(GridError, match="--border 20 leaves nothing of 40 x 48"):
        evaluate(fused, reference, border=20)
    with pytest.raises(UsageError, match="--border -1 is unusable"):
        evaluate(fused, reference, border=-1)


def test_bands_marked_bad_are_left_out_and_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cube = rng.uniform(0.1, 0.5, (5, 12, 14)).astype(np.float32)
    fused = cube + np.float32(0.01)
    fused[1], fused[3] = 99, 77
    fields = {"wavelength": "{400, 410, 420, 430, 440}", "wavelength units": "Nanometers"}
    a = write_envi(tmp_path / "fused.bsq", fused, fields=fields | {"bbl": "{1, 0, 1, 1, 1}"})
    b = write_envi(tmp_path / "reference.bsq", cube, fields=fields | {"bbl": "{1, 1, 1, 0, 1}"})
    got = evaluate(a, b)
    assert got.scores.overall["rmse"] == pytest.approx(0.01, rel=1e-4)
    assert (got.scores.bands, got.wavelengths_nm) == ((1, 3, 5), (400, 420, 440))
    assert "bands 2, 4 left out: marked as bad" in got.notes
    c = write_envi(tmp_path / "none.bsq", cube, fields=fields | {"bbl": "{0, 1, 0, 0, 0}"})
    with pytest.raises(InputError, match="mark every common band as bad"):
        evaluate(a, c)


@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 16, "blockysize": 16}, {"tiled": False}])
def test_the_way_a_file_is_stored_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any]
) -> None:
    rng = np.random.default_rng(1)
    cube = rng.uniform(0.1, 0.5, (3, 80, 70)).astype(np.float32)
    fused = cube + rng.normal(0, 0.01, cube.shape).astype(np.float32)
    monkeypatch.setattr(evaluation, "_TILE_SIDE", 32)
    paths = [write_tif(tmp_path / f"{i}.tif", c, **layout) for i, c in enumerate((fused, cube))]
    got, expected = evaluate(*paths, ratio=4).scores, score(fused, cube, 1.0, 4)
    assert got.overall == pytest.approx(dict(expected.overall), rel=1e-9)


def test_the_peak_found_in_passing_is_that_of_a_pass_of_its_own(tmp_path: Path) -> None:
    cube = ground(SHAPE, place()) * 1e4
    reference = write_raster(tmp_path / "r.tif", cube, place())
    fused = write_raster(tmp_path / "f.tif", cube + noise(SHAPE) * 1e4, place())
    whole, cheap = evaluate(fused, reference), evaluate(fused, reference, metrics=CHEAP)
    assert (cheap.scores.peak, cheap.peak_source) == (whole.scores.peak, whole.peak_source)
    assert cheap.scores.overall == {key: whole.scores.overall[key] for key in CHEAP}


@pytest.mark.parametrize(("ratio", "at"), [(4.0, (-16, -16)), (4.0, (-13, -11)), (3.7, (-10.3, -11.9))])
def test_the_baseline_lies_where_the_ground_is(
    tmp_path: Path, reference: Path, ratio: float, at: tuple[float, float]
) -> None:
    """Cubic convolution reproduces a linear ground exactly: any shift or wrong ratio would show."""
    got = evaluate(reference, reference, baseline=lr_hsi(tmp_path, ratio, at))
    assert got.baseline is not None
    assert got.baseline.overall["rmse"] == pytest.approx(0, abs=1e-6)
    assert got.baseline.valid_pixels == SHAPE[1] * SHAPE[2]
    assert got.scores.ratio == pytest.approx(ratio)
    assert got.ratio_source == "the grids of the LR-HSI and the reference"


def test_the_baseline_is_invalid_where_the_lr_pixel_is_and_nowhere_else(
    tmp_path: Path, reference: Path
) -> None:
    low = ground((4, 12, 14), place(-4, -4, 10))
    low[1, 3, 5] = np.nan
    lr = write_raster(tmp_path / "lr_hsi.tif", low, place(-4, -4, 10))
    with open_raster(reference) as reader, open_raster(lr) as low_reader:
        _, part, _ = pair(reader, reader)
        upsampled, notes = upsample(low_reader, part)
        cube = upsampled.read(Window(0, 0, 40, 48), range(4))
    holes = np.zeros(SHAPE, bool)
    holes[1, 8:12, 16:20] = True
    assert np.array_equal(np.isnan(cube), holes)
    assert np.nanmax(np.abs(cube - ground(SHAPE, place()))) < 0.01
    assert notes == ()


def test_the_baseline_is_invalid_beyond_the_lr_hsi_and_where_the_fused_is(
    tmp_path: Path, reference: Path
) -> None:
    lr = lr_hsi(tmp_path, at=(8, 4), size=5)
    fused = ground(SHAPE, place())
    fused[:, 10, 10] = np.nan
    got = evaluate(write_raster(tmp_path / "fused.tif", fused, place()), reference, baseline=lr)
    assert got.scores.valid_pixels == 40 * 48 - 1
    assert got.baseline is not None
    assert got.baseline.valid_pixels == 20 * 20 - 1


def test_without_georeference_equal_sizes_are_compared_by_index(tmp_path: Path) -> None:
    fused = write_raster(tmp_path / "fused.tif", ground(SHAPE, place()))
    reference = write_raster(tmp_path / "reference.tif", ground(SHAPE, place()) + noise(SHAPE))
    lr = write_raster(tmp_path / "lr_hsi.tif", ground((4, 10, 12), place(pixel=10)))
    got = evaluate(fused, reference, baseline=lr)
    assert got.scores.valid_pixels == 40 * 48
    assert got.scores.ratio == 4
    assert got.notes[0] == "neither raster is georeferenced: compared pixel by pixel from the first"
    assert got.notes[1] == "baseline: neither raster has a CRS: placed by their sizes"


@pytest.mark.parametrize("transform", [None, place()])
def test_without_a_crs_the_baseline_lies_where_it_does_however_wide_the_border(
    tmp_path: Path, transform: Affine | None
) -> None:
    """The values are linear in their place, so cubic convolution has no error away from the raster's edges."""
    fine, coarse = (None, None) if transform is None else (transform, place(pixel=10))
    reference = write_raster(tmp_path / "reference.tif", ground(SHAPE, place()), fine, crs=None)
    lr = write_raster(tmp_path / "lr_hsi.tif", ground((4, 10, 12), place(pixel=10)), coarse, crs=None)
    for border in (9, 10):
        got = evaluate(reference, reference, baseline=lr, border=border)
        assert got.baseline is not None
        assert got.baseline.overall["rmse"] == pytest.approx(0, abs=1e-4)


def test_bands_meet_by_wavelength(tmp_path: Path) -> None:
    cube = ground((6, 20, 20), place())
    reference = write_raster(
        tmp_path / "reference.tif", cube, place(), wavelengths_nm=[400, 410, 420, 430, 440, 450]
    )
    # Backwards, every other, and one that the reference has not.
    order = [5, 3, 1]
    fused = write_raster(
        tmp_path / "fused.tif", cube[[*order, 0]], place(), wavelengths_nm=[451, 431, 411, 700]
    )
    got = evaluate(fused, reference)
    assert got.scores.overall["rmse"] == 0
    assert got.scores.bands == (2, 4, 6)
    assert got.wavelengths_nm == (410, 430, 450)
    assert got.notes == (
        "bands matched by nearest wavelength, not resampled: 3 of 6 of reference.tif, 3 of 4 of fused.tif, "
        "at most 1 nm apart",
    )


def test_as_many_bands_within_a_nanometre_are_taken_in_order(tmp_path: Path) -> None:
    cube = ground((3, 20, 20), place())
    a = write_raster(tmp_path / "a.tif", cube, place(), wavelengths_nm=[400.0, 400.5, 401.0])
    b = write_raster(tmp_path / "b.tif", cube, place(), wavelengths_nm=[400.4, 400.9, 401.4])
    got = evaluate(a, b)
    assert (got.scores.overall["rmse"], got.notes) == (0, ())


@pytest.mark.parametrize(
    ("gain", "scale", "peak", "source"),
    [
        (1.0, None, 1.0, "reflectance: the reference's maximum is at most 2"),
        (10_000.0, None, 10_000 * (0.35 + 0.003 * 47.5 + 0.002 * 39.5), "the reference's maximum"),
        (10.0, 1e-3, 1.0, "reflectance: the reference records its scale"),
    ],
)
def test_the_peak_is_chosen_and_stated(
    tmp_path: Path, gain: float, scale: float | None, peak: float, source: str
) -> None:
    reference = write_raster(tmp_path / "r.tif", ground(SHAPE, place()) * gain, place(), scale=scale)
    got = evaluate(reference, reference)
    assert got.scores.peak == pytest.approx(peak)
    assert got.peak_source == source


@pytest.mark.parametrize(("tag", "ratio"), [("8", 8.0), ("5.5", 5.5), ("much", None), ("-1", None)])
def test_the_ratio_is_taken_from_the_fused_raster(
    tmp_path: Path, reference: Path, tag: str, ratio: float | None
) -> None:
    fused = write_raster(tmp_path / "fused.tif", ground(SHAPE, place()), place(), tags={"emrdiff_ratio": tag})
    got = evaluate(fused, reference)
    assert got.scores.ratio == ratio
    assert got.ratio_source == (None if ratio is None else "tag emrdiff_ratio")
    assert (got.scores.overall["ergas"] is None) == (ratio is None)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_senseless_options_are_refused(reference: Path, value: float) -> None:
    with pytest.raises(UsageError, match="give a positive number"):
        evaluate(reference, reference, peak=value)
    with pytest.raises(UsageError, match="give a positive number"):
        evaluate(reference, reference, ratio=value)


def test_nothing_valid_is_stated_not_scored(tmp_path: Path, reference: Path) -> None:
    fused = write_raster(tmp_path / "fused.tif", np.full(SHAPE, np.nan), place())
    got = evaluate(fused, reference, ratio=4)
    assert set(got.scores.overall.values()) == {None}
    assert got.scores.left_out_bands == (1, 2, 3, 4)
    assert "every score is null" in got.all_notes()[-1]


@pytest.mark.parametrize(
    ("transform", "crs", "error", "message"),
    [
        (place(pixel=5.0), "EPSG:32654", GridError, "pixels differ in size: 5 x 5 in .*, 2.5 x 2.5 in"),
        (place(100, 0), "EPSG:32654", GridError, "no ground in common"),
        (place(0.4, 0), "EPSG:32654", GridError, "whole number of pixels"),
        (place(), "EPSG:32653", GridError, "differ in CRS"),
        (place(), None, GridError, r"fused\.tif has no CRS but reference\.tif has"),
        (None, None, GridError, r"fused\.tif has no CRS but reference\.tif has"),
        (place() @ Affine.rotation(30), "EPSG:32654", GridError, "rotated"),
    ],
)
def test_grids_that_do_not_meet_are_refused(
    tmp_path: Path,
    reference: Path,
    transform: Affine | None,
    crs: str | None,
    error: type[EmrdiffError],
    message: str,
) -> None:
    fused = write_raster(tmp_path / "fused.tif", ground(SHAPE, place()), transform, crs=crs)
    with pytest.raises(error, match=message):
        evaluate(fused, reference)


def test_sizes_that_differ_without_georeference_are_refused(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", ground(SHAPE, place()))
    b = write_raster(tmp_path / "b.tif", ground((4, 41, 48), place()))
    with pytest.raises(GridError, match=r"40 x 48 and .* 41 x 48 pixels and neither is georeferenced"):
        evaluate(a, b)
    with pytest.raises(GridError, match="no exact ratio"):
        evaluate(a, a, baseline=b)


def test_rasters_that_lie_apart_without_a_crs_are_refused(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", ground(SHAPE, place()), place(), crs=None)
    b = write_raster(tmp_path / "b.tif", ground(SHAPE, place(3, 0)), place(3, 0), crs=None)
    with pytest.raises(GridError, match="lie apart and have no CRS"):
        evaluate(a, b)
    assert evaluate(a, a).scores.overall["rmse"] == 0


def test_bands_that_do_not_meet_are_refused(tmp_path: Path, reference: Path) -> None:
    fewer = write_raster(tmp_path / "fewer.tif", ground((3, 40, 48), place()), place())
    with pytest.raises(InputError, match=r"has 3 bands, .* 4, and not both state their wavelengths"):
        evaluate(fewer, reference)
    a = write_raster(tmp_path / "a.tif", ground((2, 9, 9), place()), place(), wavelengths_nm=[400, 420])
    b = write_raster(tmp_path / "b.tif", ground((2, 9, 9), place()), place(), wavelengths_nm=[500, 520])
    with pytest.raises(InputError, match="no band within 10 nm"):
        evaluate(a, b)


def test_baselines_that_do_not_fit_are_refused(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(GridError, match="not coarser"):
        evaluate(reference, reference, baseline=reference)
    low = ground((1, 10, 12), place(pixel=10))
    full = write_raster(tmp_path / "f.tif", ground((2, 40, 48), place()), place(), wavelengths_nm=[400, 420])
    lr = write_raster(tmp_path / "lr.tif", low, place(pixel=10), wavelengths_nm=[420])
    with pytest.raises(InputError, match=r"no band for 1 compared bands \(first: 1\)"):
        evaluate(full, full, baseline=lr)


@pytest.mark.parametrize("units", [1e4, 1.0, 1e-4])
def test_values_in_other_units_than_the_references_are_said(tmp_path: Path, units: float) -> None:
    values = pixels(5, 24, 30, "float32")
    reference = write_tif(tmp_path / "reference.tif", values)
    fused = write_tif(tmp_path / "fused.tif", values * np.float32(units))
    said = [note for note in evaluate(fused, reference, ratio=4).notes if "other units" in note]
    assert bool(said) == (units != 1)
    assert not said or f"{units:.4g} times" in said[0]
