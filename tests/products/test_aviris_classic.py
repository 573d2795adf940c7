"""AVIRIS-Classic's radiance: the gain by band beside it, its spectral calibration, and lines that are not whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster
from tests.support.hyperspectral_products import AVIRIS_LINE, write_aviris_classic, write_aviris_ng
from tests.support.rasters import pixels

GAINS = (300.0, 600.0, 1200.0)
LENGTHS = (667.5, 655.5, 2300.0)
STORED = pixels(3, 5, 4) * 20
IMAGE = f"{AVIRIS_LINE}_sc01_ort_img"


def test_a_turned_line_keeps_its_place_and_its_header_names_the_wavelengths(tmp_path: Path) -> None:
    folder = write_aviris_classic(tmp_path / "line", STORED, LENGTHS, GAINS, rotation=30, listed=True)
    (folder / f"{AVIRIS_LINE}.spc").write_text("400.0 9.0\n410.0 9.0\n420.0 9.0\n")
    for given in (tmp_path, folder, folder / IMAGE, folder / f"{IMAGE}.hdr"):
        with open_raster(given) as reader:
            info, values = reader.info, reader.read()
        np.testing.assert_allclose(values, STORED / np.reshape(GAINS, (3, 1, 1)), rtol=1e-6)
        turned = Affine.translation(500000, 5600000) @ Affine.rotation(30) @ Affine.scale(30, -30)
        assert info.grid.transform.almost_equals(turned, 1e-6)
        assert info.bands.wavelengths_nm == pytest.approx(LENGTHS)
        assert info.bands.fwhm_nm == pytest.approx([9.5] * 3)
        assert info.bands.units == ("uW/cm^2/nm/sr",) * 3
        assert info.tags["acquisition_time"] == "2008-06-11"


def test_a_run_knows_its_gain_by_the_file(tmp_path: Path) -> None:
    folder = write_aviris_classic(tmp_path / "line", STORED, LENGTHS, GAINS)
    beside = {f"{AVIRIS_LINE}.gain", f"{AVIRIS_LINE}.spc"}
    assert {path.name for path in files_of(folder)} == {IMAGE, f"{IMAGE}.hdr", *beside}


def test_a_header_fills_what_it_declares(tmp_path: Path) -> None:
    stored = STORED.copy()
    stored[:, 0, 1], stored[:, 2, 3] = -50, -9999
    folder = write_aviris_classic(tmp_path / "line", stored, LENGTHS, GAINS)
    with (folder / f"{IMAGE}.hdr").open("a") as header:
        header.write("data ignore value = -9999\nbbl = { 1, 0, 1 }\n")
    with open_raster(folder) as reader:
        assert reader.info.bands.bad == (1,)
        np.testing.assert_array_equal(np.isnan(reader.read()), np.isin(stored, (-50, -9999)))


def test_what_was_made_of_radiance_in_floating_point_is_divided_by_nothing(tmp_path: Path) -> None:
    values = STORED.astype("float32")
    write_aviris_ng(tmp_path, values, LENGTHS, name=IMAGE)
    with open_raster(tmp_path / IMAGE) as reader:
        assert reader.info.driver == "ENVI"
        np.testing.assert_array_equal(reader.read(), values)


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        (".gain", None, "has no f080611t01p00r07rdn_c.gain beside it"),
        (".gain", "300.0 1\n600.0 2\n", "has 2 rows, 2 of numbers, for 3 bands"),
        (".gain", "300.0 1\n600.0 2\n12", "has 3 rows, 2 of numbers, for 3 bands"),
        (".gain", "300.0 1\nnan 2\n1200.0 3\n", "has 3 rows, 2 of numbers, for 3 bands"),
        (".gain", "300.0 1\n0.0 2\n1200.0 3\n", "has no factor of each of 3 channels"),
        (".gain", "300.0 2\n600.0 3\n1200.0 4\n", "has no factor of each of 3 channels"),
        (".spc", "667.5 9.5\n655.5 9.5\n", "has 2 rows, 2 of numbers, for 3 bands"),
        (".spc", "667.5 9.5\n655.5 -9.5\n2300.0 9.5\n", "has a wavelength or FWHM of no length"),
        ("_sc01_ort_img", None, "beside it, the pixels"),
        ("_sc01_ort_img", "short", "5 bytes where its header states 120"),
        ("_sc01_ort_img.hdr", "ENVI\nlines = 5\nbands = 3\ndata type = 2\n", "states '' samples"),
        (
            "_sc01_ort_img.hdr",
            "ENVI\nsamples = 4\nlines = 5\nbands = 999999999\ndata type = 2\n",
            "has 3 rows, 3 of numbers, for 999999999 bands",
        ),
    ],
)
def test_a_line_that_is_not_whole_is_refused(
    tmp_path: Path, ending: str, content: str | None, message: str
) -> None:
    folder = write_aviris_classic(tmp_path / "line", STORED, LENGTHS, GAINS)
    spoilt = folder / f"{AVIRIS_LINE}{ending}"
    if content is None:
        spoilt.unlink()
    else:
        spoilt.write_text(content)
    with pytest.raises(InputError, match=message):
        open_raster(folder)
