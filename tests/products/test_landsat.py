"""Landsat Collection 2 as it is downloaded: one-band GeoTIFFs and metadata in three forms as one raster."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster_info import Window
from tests.support.front_door import Run, error_lines
from tests.support.products import replaced, write_landsat
from tests.support.rasters import NORTH_UP, pixels, write_tif


@pytest.mark.parametrize("form", ["txt", "json", "xml"])
def test_surface_reflectance_of_seven_bands(tmp_path: Path, form: str) -> None:
    values = pixels(7, 12, 9, "uint16") + 9000
    values[4, 6, 3] = 0
    metadata = write_landsat(tmp_path / "unpacked" / "scene", values, form=form)
    for given in (metadata, metadata.parent, tmp_path / "unpacked"):
        with open_raster(given) as reader:
            info = reader.info
            assert (info.path, info.driver, info.dtype) == (metadata, "Landsat 8 L2SP", "uint16")
            assert info.bands.names == tuple(f"B{band}" for band in range(1, 8))
            assert info.bands.wavelengths_nm == (440, 480, 560, 655, 865, 1610, 2200)
            assert info.bands.fwhm_nm == (20, 60, 60, 30, 30, 80, 180)
            assert (info.scale, info.offset, info.nodata) == (2.75e-05, -0.2, 0)
            assert info.tags["acquisition_time"] == "2024-06-15T10:02:03.4560000Z"
            assert info.grid.transform == NORTH_UP
            np.testing.assert_array_equal(reader.read_stored(), values)
            found = reader.read(Window(5, 2, 3, 4), bands=[6, 4])
        expected = values[[6, 4], 5:8, 2:6] * 2.75e-05 - 0.2
        expected[1, 1, 1] = np.nan
        np.testing.assert_allclose(found, expected, atol=1e-7)
        assert len(files_of(given)) == 8


def test_reflectance_at_level_1_is_over_the_suns_height(tmp_path: Path) -> None:
    values = pixels(7, 5, 6, "uint16") + 9000
    with open_raster(write_landsat(tmp_path, values, level="L1TP")) as reader:
        expected = (values * 2e-05 - 0.1) / math.sin(math.radians(30))
        np.testing.assert_allclose(reader.read(), expected, rtol=1e-6)


def test_forms_of_one_scene_are_one_product(tmp_path: Path) -> None:
    for form in ("txt", "json", "xml"):
        write_landsat(tmp_path, pixels(7, 5, 6, "uint16"), form=form)
    assert read_info(tmp_path).path.suffix == ".xml"
    assert read_info(next(tmp_path.glob("*.txt"))).path.suffix == ".xml"
    assert read_info(next(tmp_path.glob("*_B3.TIF"))).driver == "GTiff"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"COLLECTION_NUMBER = 02": "COLLECTION_NUMBER = 01"}, "of collection 01"),
        (
            {'PROCESSING_LEVEL = "L2SP"': 'PROCESSING_LEVEL = "L2ST"'},
            "level L2ST, without surface reflectance",
        ),
        ({"LANDSAT_8": "LANDSAT_3"}, "of LANDSAT_3"),
        ({"SR_B3.TIF": "SR_B9.TIF"}, "the image of band 3"),
        ({'"LC08_L2SP_193024_20240615_20240620_02_T1_SR_B3.TIF"': '"../a.TIF"'}, "the image of band 3"),
        ({"REFLECTIVE_LINES = 5": "REFLECTIVE_LINES = 50"}, "says 1 of 50 x 6"),
        ({"2.7500E-05": "steep"}, "'steep' as LEVEL2_SURFACE"),
        ({"SPACECRAFT_ID": "CRAFT"}, "no IMAGE_ATTRIBUTES/SPACECRAFT_ID"),
        ({"END_GROUP = LANDSAT_METADATA_FILE": ""}, "holds no metadata of Landsat, or is cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_metadata_are_refused_in_one_line(
    emrdiff: Run, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    replaced(write_landsat(tmp_path, pixels(7, 5, 6, "uint16")), changes)
    ended = emrdiff("info", tmp_path)
    assert (ended.code, len(error_lines(ended))) == (3, 1)
    assert said in ended.err, ended.err


def test_bands_of_two_grids_are_refused(tmp_path: Path) -> None:
    metadata = write_landsat(tmp_path, pixels(7, 5, 6, "uint16"))
    moved = NORTH_UP @ NORTH_UP.translation(1, 0)
    write_tif(next(tmp_path.glob("*_B5.TIF")), pixels(1, 5, 6, "uint16"), transform=moved)
    with pytest.raises(InputError, match=r"B5\.TIF: lies on another grid"):
        read_info(metadata)
