"""How a written raster looks in other programs: names, colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

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
