"""ENVI headers as other programs leave them: comments, encodings, suffixes, and beside a GeoTIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster, read_info
from tests.support.front_door import Run
from tests.support.rasters import UTM33, pixels, write_envi, write_tif

FIELDS = {
    "wavelength units": "Nanometers",
    "wavelength": "{450, 500, 550, 600}",
    "fwhm": "{5.1, 5.2, 5.3, 5.4}",
    "bbl": "{1, 0, 1, 1}",
    "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
}
NM, FWHM = (450, 500, 550, 600), (5.1, 5.2, 5.3, 5.4)
VALUES = pixels(4, 5, 6)


def cube(folder: Path, name: str = "cube.bsq", **fields: str) -> Path:
    return write_envi(folder / name, VALUES, fields={**FIELDS, **fields}, header=folder / "cube.hdr")


def is_whole(path: Path) -> None:
    with open_raster(path) as reader:
        bands = reader.info.bands
        assert (bands.wavelengths_nm, bands.fwhm_nm, bands.bad) == (NM, FWHM, (1,))
        assert reader.info.grid.georeferenced
        np.testing.assert_array_equal(reader.read_stored(), VALUES)


def test_lines_that_begin_with_a_semicolon_are_comments(tmp_path: Path) -> None:
    cube(tmp_path, wavelength="{\n; VNIR, 2 bands\n450, 500,\n  ; SWIR = 2\n550, 600}")
    header = tmp_path / "cube.hdr"
    header.write_text(header.read_text().replace("ENVI\n", "ENVI\n; samples = 3\n;\n", 1) + "; bands = 9")
    before = header.read_bytes()
    is_whole(header)
    assert header.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.bsq", "cube.hdr"]


def test_keys_and_values_in_another_hand(tmp_path: Path) -> None:
    """GDAL knows `map info`, `rotation=30` and a bare number alone: what it misses is where the raster lies."""
    turned = FIELDS["map info"].replace("}", ", rotation=30}")
    header = cube(tmp_path, **{"map info": turned, "data ignore value": "-9999"}).with_suffix(".hdr")
    plain, expected = header.read_text(), read_info(header)
    for one, other in (
        ("map info", "Map  info"),
        ("map info", "map\tinfo "),
        ("rotation=30", "Rotation = 30"),
        ("header offset", "HEADER  OFFSET"),
        ("ignore value = -9999", "ignore  value={\n -9999}"),
        ("wavelength units", " Wavelength  Units"),
    ):
        header.write_text(plain.replace(one, other))
        assert header.read_text() != plain
        found = read_info(header)
        assert found.grid == expected.grid
        assert (found.nodata, found.bands) == (-9999, expected.bands)


@pytest.mark.parametrize("key", ["wav\0elength units", "wavelength:units"])
def test_a_key_that_would_be_written_as_another_is_not_carried(
    emrdiff: Run, tmp_path: Path, key: str
) -> None:
    source = write_envi(tmp_path / "a.bsq", VALUES, fields={"fwhm": "{5, 6, 7, 8}", key: "um"})
    assert emrdiff("convert", source, tmp_path / "b.tif").code == 0
    assert read_info(tmp_path / "b.tif").bands.fwhm_nm == (5, 6, 7, 8)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_headers_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    header = cube(tmp_path, description="{Gr\u00fcnland}").with_suffix(".hdr")
    header.write_text(header.read_text(), encoding=encoding)
    is_whole(header)
    is_whole(header.with_suffix(".bsq"))
    assert read_info(header).tags["description"].strip("{}") == "Gr\u00fcnland"


def test_a_header_that_is_not_what_it_begins_as_is_refused(tmp_path: Path) -> None:
    header = cube(tmp_path).with_suffix(".hdr")
    header.write_bytes("ENVI".encode("utf-16") + b"\x00")
    with pytest.raises(InputError, match="save it as UTF-8"):
        read_info(header)


@pytest.mark.parametrize("name", ["cube.hyspex", "cube.envi", "cube.pix", "cube.cub", "cube.HYSPEX"])
def test_a_header_finds_data_of_any_suffix(tmp_path: Path, name: str) -> None:
    cube(tmp_path, name)
    (tmp_path / "cube.txt").write_text("notes")
    is_whole(tmp_path / "cube.hdr")
    assert [path.name for path in files_of(tmp_path / "cube.hdr")] == [name, "cube.hdr"]


def test_data_that_a_header_may_be_of_are_named(tmp_path: Path) -> None:
    one = cube(tmp_path, "cube.one")
    (tmp_path / "cube.two").write_bytes(one.read_bytes())
    with pytest.raises(InputError, match=r"is the header of cube\.one or cube\.two"):
        read_info(tmp_path / "cube.hdr")
    (tmp_path / "cube.two").unlink()
    one.write_bytes(b"short")
    with pytest.raises(InputError, match=r"cube\.one is there, but not of the 240 bytes"):
        read_info(tmp_path / "cube.hdr")


def beside(folder: Path, fields: dict[str, str], width: int = 6) -> Path:
    """A GeoTIFF and a header without data of its own, as DESIS has them."""
    raw = write_envi(folder / "cube.raw", pixels(4, 5, width), fields={**FIELDS, **fields})
    raw.unlink()
    return write_tif(folder / "cube.tif", VALUES)


def test_the_header_beside_a_geotiff_is_read(tmp_path: Path) -> None:
    gains = {"data gain values": "{0.0001, 0.0001, 0.0001, 0.0001}", "data ignore value": "-32768"}
    names = {"band names": "{a, b, c, d}", "sensor type": "DESIS"}
    tif = beside(tmp_path, gains | names)
    for path in (tif, tif.with_suffix(".hdr")):
        info = read_info(path)
        assert (info.path, info.driver) == (tif, "GTiff")
        assert (info.bands.wavelengths_nm, info.bands.fwhm_nm, info.bands.bad) == (NM, FWHM, (1,))
        assert (info.scale, info.offset, info.nodata, info.scale_recorded) == (0.0001, 0, -32768, True)
        assert info.bands.names == ("a", "b", "c", "d")
        assert info.tags["sensor_type"] == "DESIS"
    assert files_of(tif) == (tif, tif.with_suffix(".hdr"))


def test_what_a_geotiff_tells_itself_comes_before_the_header_beside_it(tmp_path: Path) -> None:
    tif = beside(tmp_path, {"data gain values": "{2, 2, 2, 2}", "data ignore value": "-1"})
    with rasterio.open(tif, "r+") as dataset:
        dataset.nodata, dataset.scales = -9, (0.5,) * 4
        for band in dataset.indexes:
            dataset.update_tags(band, wavelength=str(band * 300), wavelength_units="nm")
    info = read_info(tif)
    assert info.bands.wavelengths_nm == (300, 600, 900, 1200)
    assert (info.scale, info.nodata) == (0.5, -9)
    assert info.grid.crs_wkt is not None
    assert UTM33.split(":")[1] in info.grid.crs_wkt


def test_the_header_of_another_raster_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tif = beside(tmp_path, {}, width=7)
    assert read_info(tif).bands.wavelengths_nm is None
    assert "cube.hdr: describes another raster than cube.tif: ignored" in caplog.text
    cube(tmp_path)
    caplog.clear()
    assert read_info(tif).bands.wavelengths_nm is None
    assert caplog.text == ""
    assert files_of(tif) == (tif,)
    is_whole(tmp_path / "cube.hdr")


def test_a_scale_of_values_of_another_type_is_not_the_geotiffs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tif = beside(tmp_path, {"reflectance scale factor": "10000", "data type": "4"})
    info = read_info(tif)
    assert (info.scale, info.scale_recorded, info.bands.wavelengths_nm) == (1, False, NM)
    assert (
        "cube.hdr: is of float32 values, cube.tif holds int16: its reflectance scale factor is" in caplog.text
    )


def test_gains_that_differ_are_refused(tmp_path: Path) -> None:
    tif = beside(tmp_path, {"data gain values": "{1, 2, 3, 4}"})
    with pytest.raises(InputError, match="different data_gain_values"):
        read_info(tif)
