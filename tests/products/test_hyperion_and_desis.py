"""Hyperion and DESIS as they are downloaded: what their metadata say, and wrong ones refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster_info import Window
from tests.support.front_door import Run, error_lines
from tests.support.hyperspectral_products import HYPERION_BANDS, write_desis, write_hyperion
from tests.support.products import replaced
from tests.support.rasters import NORTH_UP, pixels, write_tif

WAVELENGTHS = (401.25, 553.8, 700.5, 999.9)


@pytest.fixture(scope="module")
def hyperion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = pixels(198, 4, 5) + 1
    values[:, 3, 0] = 0
    return write_hyperion(tmp_path_factory.mktemp("zip") / "scene", values)


def test_hyperion_is_radiance_of_its_calibrated_bands_by_wavelength(hyperion: Path) -> None:
    for given in (hyperion, hyperion.parent, hyperion.parents[1]):
        with open_raster(given) as reader:
            info = reader.info
            lengths = np.array(info.bands.wavelengths_nm)
            names = info.bands.names or ()
            assert (info.path, info.driver, info.dtype) == (hyperion, "Hyperion L1T", "float32")
            assert sorted(names) == [f"B{band:03d}" for band in HYPERION_BANDS]
            assert (np.diff(lengths) > 0).all()
            # From the USGS's table, by hand.
            at = {name: (lengths[i], (info.bands.fwhm_nm or ())[i]) for i, name in enumerate(names)}
            assert at["B008"] == (426.82, 11.3871)
            assert at["B057"] == (925.41, 11.2754)
            assert at["B077"] == (912.45, 11.0457)
            assert at["B150"] == (1648.9, 11.5133)
            assert at["B224"] == (2395.5, 10.4077)
            assert names[48:53] == ("B077", "B056", "B078", "B057", "B079")
            assert info.band_tags["detector"][48:53] == ("SWIR", "VNIR", "SWIR", "VNIR", "SWIR")
            assert info.bands.units == ("W/m^2/sr/um",) * 198
            assert info.tags["acquisition_time"] == "2010-01-24T00:29:12"
            assert info.grid.transform == NORTH_UP
            found = reader.read(Window(1, 1, 3, 2), bands=[0, 48])
    stored = pixels(198, 4, 5)[[0, 50], 1:, 1:3] + 1
    np.testing.assert_allclose(found, stored / np.reshape([40, 80], (2, 1, 1)), rtol=1e-6)
    with open_raster(hyperion) as reader:
        np.testing.assert_array_equal(np.argwhere(np.isnan(reader.read(bands=[9]))), [[0, 3, 0]])
    assert len(files_of(hyperion)) == 199


def test_desis_is_read_from_image_header_metadata_and_folder(tmp_path: Path) -> None:
    values = pixels(4, 6, 7)
    values[:, 0, 0] = -32768
    metadata = write_desis(tmp_path / "zip" / "scene", values, WAVELENGTHS)
    image, header = next(metadata.parent.glob("*.tif")), next(metadata.parent.glob("*.hdr"))
    for given in (image, header, metadata, metadata.parent, tmp_path / "zip"):
        with open_raster(given) as reader:
            info = reader.info
            assert (info.path, info.driver, info.dtype) == (image, "DESIS L2A", "int16")
            assert info.bands.wavelengths_nm == WAVELENGTHS
            assert info.bands.fwhm_nm == (3.5,) * 4
            assert (info.scale, info.offset, info.nodata) == (0.0001, 0, -32768)
            assert info.tags["acquisition_time"] == "2019-12-03T02:11:28.000000Z"
            expected = values[[3, 1]] * 1e-4
            expected[:, 0, 0] = np.nan
            np.testing.assert_allclose(reader.read(bands=[3, 1]), expected, rtol=1e-6)
    metadata.unlink()
    assert read_info(image).bands.wavelengths_nm == WAVELENGTHS  # by its header alone


def test_desis_radiance_of_bands_with_a_gain_each_is_physical(tmp_path: Path) -> None:
    values = pixels(4, 6, 7)
    values[1, 2, 3] = -32768
    gains, offsets = (2e-4, 3e-4, 5e-5, 1e-4), (0.04, 0.01, -0.0005, 0.0)
    write_desis(tmp_path, values, WAVELENGTHS, level="L1C", gains=gains, offsets=offsets)
    with open_raster(tmp_path) as reader:
        expected = values * np.reshape(gains, (4, 1, 1)) + np.reshape(offsets, (4, 1, 1))
        expected[1, 2, 3] = np.nan
        np.testing.assert_allclose(reader.read(), expected, rtol=1e-6)


def _of(ending: str, act: Callable[[Path], object]) -> Callable[[Path], None]:
    """Do something to a product's file of an ending."""
    return lambda metadata: (act(next(metadata.parent.glob(f"*{ending}"))), None)[1]


def _says(old: str, new: str) -> Callable[[Path], None]:
    return lambda metadata: replaced(metadata, {old: new})


DESIS_WRONG = {
    "another scene": (_says("DT1203190212_025", "DT1203190212_026"), "metadata of another scene"),
    "another size": (
        _of(".hdr", lambda path: replaced(path, {"lines = 6": "lines = 60"})),
        "says 4 of 60 x 7",
    ),
    "another header": (
        _of(".hdr", lambda path: replaced(path, {"bands = 4": "bands = 5"})),
        "states 5 bands",
    ),
    "a band twice": (_says("<bandNumber>2<", "<bandNumber>1<"), "does not describe bands 1, 2"),
    "no number": (_says(">553.8<", ">green<"), "'green' as wavelengthCenterOfBand"),
    "cut short": (_says("</hsi_doc>", ""), "is no XML, or is cut short"),
    "no image": (_of(".tif", Path.unlink), "has no DESIS-HSI-L2A-"),
    "an empty image": (_of(".tif", lambda path: path.write_bytes(b"")), "cannot be opened as DESIS L2A"),
    "of sensor geometry": (
        lambda metadata: metadata.rename(metadata.with_name(metadata.name.replace("L2A", "L1B"))),
        "is of level L1B, in sensor geometry",
    ),
}


@pytest.mark.parametrize("case", DESIS_WRONG)
def test_a_wrong_desis_is_one_line(emrdiff: Run, tmp_path: Path, case: str) -> None:
    spoil, said = DESIS_WRONG[case]
    spoil(write_desis(tmp_path, pixels(4, 6, 7), WAVELENGTHS))
    ended = emrdiff("info", tmp_path)
    assert (ended.code, len(error_lines(ended))) == (3, 1)
    assert said in ended.err, ended.err


HYPERION_WRONG = {
    "a band is missing": (_of("_B100_L1T.TIF", Path.unlink), "the image of band 100"),
    "another scene": (
        _says("EO1H1930242010024110KF_B020", "EO1H1930242010024110KG_B020"),
        "image of band 20,",
    ),
    "another level": (_says('"L1T"', '"L1R"'), "is of HYPERION, L1R: Hyperion's L1T and L1Gst are known"),
    "another sensor": (_says('"HYPERION"', '"ALI"'), "is of ALI, L1T"),
    "no scale": (_says("SCALING_FACTOR_SWIR = 80", "SCALING_FACTOR_SWIR = 0"), "SCALING_FACTOR_SWIR of 0"),
    "another size": (_says("PRODUCT_LINES = 4", "PRODUCT_LINES = 40"), "says 1 of 40 x 5"),
    "cut short": (_says("END_GROUP = L1_METADATA_FILE", ""), "no metadata of Hyperion, or is cut short"),
    "no metadata": (_of("_MTL_L1T.TXT", Path.unlink), "holds bands of Hyperion without"),
}


@pytest.mark.parametrize("case", HYPERION_WRONG)
def test_a_wrong_hyperion_is_one_line(emrdiff: Run, hyperion: Path, tmp_path: Path, case: str) -> None:
    spoil, said = HYPERION_WRONG[case]
    for path in hyperion.parent.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    metadata = tmp_path / hyperion.name
    metadata.unlink()
    metadata.write_text(hyperion.read_text())
    spoil(metadata)
    ended = emrdiff("info", tmp_path)
    assert (ended.code, len(error_lines(ended))) == (3, 1)
    assert said in ended.err, ended.err


def test_a_plain_raster_beside_is_one(tmp_path: Path) -> None:
    assert read_info(write_tif(tmp_path / "EO1H_B001.TIF", pixels(1, 4, 5))).driver == "GTiff"
