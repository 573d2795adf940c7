"""How a written raster looks in other programs: names, colours, statistics, overviews."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from emrdiff_cli.core.side_by_side import working_side_by_side
from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.read_back import RowChecksums, wrong_pixels
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster.spec import Driver, RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from tests.support.rasters import NORTH_UP, UTM33, pixels, read_back

CENTRES = (443.25, 559.0, 652.3, 664.5, 864.0)
BLUE, GREEN, RED = ColorInterp.blue, ColorInterp.green, ColorInterp.red


def written(
    path: Path, bands: Bands, driver: Driver = "GTiff", dtype: str = "int16", **options: object
) -> Path:
    grid = Grid(20, 33, NORTH_UP, rasterio.CRS.from_string(UTM33).to_wkt())
    with VerifiedWriter(path, RasterSpec(grid, bands, dtype, driver=driver, **options)) as writer:  # type: ignore[arg-type]
        writer.append_stored(pixels(bands.count, 20, 33, dtype))
    return path


def colours(path: Path) -> tuple[ColorInterp, ...]:
    with rasterio.open(path) as dataset:
        return tuple(dataset.colorinterp)


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_bands_are_named_by_wavelength_and_shown_in_true_colour(
    tmp_path: Path, driver: Driver, dtype: str
) -> None:
    path = written(tmp_path / "a.tif", Bands(5, CENTRES), driver, dtype, nodata=0)
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == ("443.25 nm", "559 nm", "652.3 nm", "664.5 nm", "864 nm")
        assert tuple(dataset.colorinterp) == (BLUE, GREEN, RED, ColorInterp.undefined, ColorInterp.undefined)
        assert (dataset.dtypes, dataset.nodatavals) == ((dtype,) * 5, (0,) * 5)
        assert (dataset.read_masks() == 255).all()
    with open_raster(path) as reader:
        assert (reader.rgb, reader.info.bands.names, reader.info.has_alpha) == ((2, 1, 0), None, False)
    np.testing.assert_array_equal(read_back(path), pixels(5, 20, 33, dtype))
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_names_and_default_bands_of_the_input_come_first(tmp_path: Path) -> None:
    named = Bands(5, CENTRES, names=tuple("abcde"))
    path = written(tmp_path / "a.tif", named, tags={"default_bands": "{5, 4, 2}"})
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == tuple("abcde")
    assert colours(path) == (ColorInterp.undefined, BLUE, ColorInterp.undefined, GREEN, RED)
    shown = written(tmp_path / "b.tif", named, creation_options={"PHOTOMETRIC": "MINISBLACK"})
    assert not {RED, GREEN, BLUE} & set(colours(shown))


@pytest.mark.parametrize("centres", [None, (560.0, 665.0, 865.0, 1600.0, 2200.0)])
def test_no_colours_where_no_band_lies_near_one(tmp_path: Path, centres: tuple[float, ...] | None) -> None:
    assert not {RED, GREEN, BLUE} & set(colours(written(tmp_path / "a.tif", Bands(5, centres))))


def test_an_envi_header_names_the_bands_to_be_shown(tmp_path: Path) -> None:
    path = written(tmp_path / "a.bsq", Bands(5, CENTRES), "ENVI")
    assert "default bands = {3, 2, 1}" in path.with_suffix(".hdr").read_text()
    with rasterio.open(path) as dataset:
        assert dataset.descriptions[2] == "652.3 Nanometers"
        assert tuple(dataset.colorinterp[:3]) == (BLUE, GREEN, RED)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bsq", "a.hdr"]


def cube(dtype: str, height: int, width: int) -> NDArray[Any]:
    """Two bands: one with holes of -1 (NaN, in floats), one without any value."""
    values = np.random.default_rng(height).normal(500, 90, (2, height, width)).astype(dtype)
    hole = np.nan if dtype == "float32" else -1
    values[0, ::7, 3:90] = hole
    values[0, :40, :50] = hole
    values[1] = hole
    return values


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_statistics_and_overviews_are_of_valid_pixels(tmp_path: Path, driver: Driver, dtype: str) -> None:
    values = cube(dtype, 701, 531)
    nodata = float("nan") if dtype == "float32" else -1
    spec = RasterSpec(Grid(701, 531, NORTH_UP), Bands(2), dtype, nodata, driver=driver, overviews=True)
    with VerifiedWriter(tmp_path / "a.tif", spec) as writer:
        writer.append_stored(values[:, :300])
        writer.append_stored(values[:, 300:])
    held = values[0][np.isfinite(values[0]) & (values[0] != -1)].astype(np.float64)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        told = {key.removeprefix("STATISTICS_"): float(value) for key, value in dataset.tags(1).items()}
        assert dataset.tags(2) == {"STATISTICS_VALID_PERCENT": "0"}
        assert dataset.overviews(1) == dataset.overviews(2) == [2, 4]
    assert told == pytest.approx(
        {
            "MINIMUM": held.min(),
            "MAXIMUM": held.max(),
            "MEAN": held.mean(),
            "STDDEV": held.std(),
            "VALID_PERCENT": 100 * held.size / values[0].size,
        },
        rel=1e-4,
    )
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as dataset:
        coarse = dataset.read(masked=True)
    assert coarse.mask[1].all()
    assert coarse.mask[0, :19, :24].all()
    assert 400 < coarse[0].mean() < 600
    assert coarse[0].min() > held.min() - 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_overviews_are_there_where_a_raster_is_large_or_they_are_asked_for(tmp_path: Path) -> None:
    def levels(
        height: int, overviews: bool | None, driver: Driver = "GTiff", width: int = 9, **options: str
    ) -> int:
        grid = Grid(height, width, NORTH_UP)
        spec = RasterSpec(
            grid, Bands(1), "uint8", driver=driver, overviews=overviews, creation_options=options
        )
        with VerifiedWriter(tmp_path / "a.tif", spec, overwrite=True) as writer:
            writer.append_stored(pixels(1, height, width, "uint8"))
        with rasterio.open(tmp_path / "a.tif") as dataset:
            return len(dataset.overviews(1))

    assert levels(2001, None) == 3
    assert levels(2000, None) == levels(2001, False) == levels(2001, False, "COG") == 0
    assert levels(2001, None, width=3) == levels(2001, None, width=2) == 1  # down to one pixel's width
    assert levels(300, True) == levels(300, True, INTERLEAVE="PIXEL", COMPRESS="NONE") == 1
    with pytest.raises(UsageError, match="--overviews: an ENVI file holds none"):
        levels(300, True, "ENVI")


def checksums(values: NDArray[Any], rows: int = 160) -> RowChecksums:
    sums = RowChecksums(rows)
    for top in range(0, values.shape[1], rows):
        sums.add(np.ascontiguousarray(values[:, top : top + rows]))
    return sums


@pytest.mark.parametrize("nodata", [None, 0, -9999])
def test_an_overview_that_is_not_of_the_pixels_is_found(tmp_path: Path, nodata: float | None) -> None:
    spec = RasterSpec(Grid(601, 401, NORTH_UP), Bands(2), "float32", nodata, overviews=True)
    values = np.random.default_rng(1).normal(size=(2, 601, 401)).astype("float32")
    wrong = partial(wrong_pixels, tmp_path / "a.tif", checksums=checksums(values))
    with VerifiedWriter(tmp_path / "a.tif", spec) as writer:
        writer.append_stored(values)
    assert wrong(spec) is None
    assert wrong(replace(spec, overviews=False)) is not None
    for level in (0, 1):
        with rasterio.open(tmp_path / "a.tif", "r+", overview_level=level) as dataset:
            kept = dataset.read(2)
            changed = kept.copy()
            changed[-2, -3] = 50
            dataset.write(changed, 2)
        assert wrong(spec) == f"its overview {level + 1} differs from its pixels"
        with rasterio.open(tmp_path / "a.tif", "r+", overview_level=level) as dataset:
            dataset.write(kept, 2)
        assert wrong(spec) is None


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_a_changed_pixel_is_found_by_whichever_thread_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    monkeypatch.setattr("emrdiff_cli.raster.read_back._WORTH_A_THREAD", 0)
    values = pixels(3, 40, 9, "int16")
    spec = RasterSpec(Grid(40, 9, NORTH_UP), Bands(3), "int16")
    with VerifiedWriter(tmp_path / "a.tif", spec) as writer:
        writer.append_stored(values)
    with working_side_by_side(2):
        assert wrong_pixels(tmp_path / "a.tif", spec, checksums(values, 16)) is None
        with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
            dataset.write(values[changed - 1, 20:21, 4:5] + 1, changed, window=Window(4, 20, 1, 1))
        assert wrong_pixels(tmp_path / "a.tif", spec, checksums(values, 16)) == "rows from 16 on differ"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("interleave", ["BAND", "PIXEL"])
def test_neighbours_are_no_fault_however_bands_are_stored(
    tmp_path: Path, count: int, interleave: str
) -> None:
    """GDAL takes them of the raster or of the next finer level, and of one band does not say which."""
    values = np.random.default_rng(1).normal(size=(count, 5, 1201)).astype("float32")
    options = {"INTERLEAVE": interleave}
    spec = RasterSpec(
        Grid(5, 1201, NORTH_UP), Bands(count), "float32", overviews=True, creation_options=options
    )
    with VerifiedWriter(tmp_path / "a.tif", spec) as writer:
        writer.append_stored(values)
    assert wrong_pixels(tmp_path / "a.tif", spec, checksums(values)) is None
    with rasterio.open(tmp_path / "a.tif", "r+", overview_level=1) as dataset:
        dataset.write(np.full((count, dataset.height, dataset.width), 9, "float32"))
    assert wrong_pixels(tmp_path / "a.tif", spec, checksums(values)) is not None


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_64_bits_have_no_overviews(tmp_path: Path, dtype: str, driver: Driver) -> None:
    """With nodata GDAL would not end, or leave some out."""
    grid, values = Grid(2001, 9, NORTH_UP), pixels(1, 2001, 9, dtype)
    with VerifiedWriter(tmp_path / "a.tif", RasterSpec(grid, Bands(1), dtype, 77, driver=driver)) as writer:
        writer.append_stored(values)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
        assert dataset.overviews(1) == []
    with pytest.raises(UsageError, match=f"--overviews: {dtype} values have none"):
        RasterSpec(grid, Bands(1), dtype, 77, driver=driver, overviews=True)


def test_a_mean_that_is_the_nodata_value_is_no_fault(tmp_path: Path) -> None:
    values = np.tile(np.array([[-2, 0], [0, -2]], np.int16), (1, 300, 200))
    spec = RasterSpec(Grid(600, 400, NORTH_UP), Bands(1), "int16", -1, overviews=True)
    with VerifiedWriter(tmp_path / "a.tif", spec) as writer:
        writer.append_stored(values)
    np.testing.assert_array_equal(read_back(tmp_path / "a.tif"), values)
