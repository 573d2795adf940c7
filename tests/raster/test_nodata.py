"""Nodata as files declare it: in too few digits, beyond their type, as no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.raster.nodata import nodata_text
from emrdiff_cli.raster.reading import open_raster
from tests.support.rasters import pixels, write_envi, write_tif

FLOAT32 = np.finfo("float32")
FLOAT64 = np.finfo("float64")


@pytest.mark.parametrize("sign", ["-", ""])
@pytest.mark.parametrize(
    ("dtype", "text", "fill"),
    [
        ("float32", "3.40282347e+38", FLOAT32.max),
        ("float32", "3.4028235e38", FLOAT32.max),
        ("float32", "3.4e+38", FLOAT32.max),
        ("float32", "3.403e+38", FLOAT32.max),
        ("float32", "1.7976931348623157e+308", FLOAT32.max),
        ("float64", "3.40282347e+38", FLOAT32.max),
        ("float64", "1.797693134862316e+308", FLOAT64.max),
    ],
)
def test_the_decimal_of_an_extreme_is_the_extreme(
    tmp_path: Path, dtype: str, text: str, fill: float, sign: str
) -> None:
    values = pixels(2, 4, 5, dtype)
    values[:, 1:3, 2] = -fill if sign else fill
    path = write_envi(tmp_path / "a.bsq", values, fields={"data ignore value": sign + text})
    with open_raster(path) as reader:
        assert np.array_equal(np.isnan(reader.read()), values == values[0, 1, 2])


@pytest.mark.parametrize(
    ("dtype", "text", "likely"),
    [
        ("uint16", "-1", 65535),
        ("uint16", "-9999", 55537),
        ("uint8", "-9999", 0),
        ("int16", "65535", -1),
        ("int16", "55537", -9999),
        ("int16", "-3.4028235e+38", -32768),
        ("uint16", "0.5", 0),
        ("uint16", "nan", 0),
    ],
)
@pytest.mark.parametrize("kind", ["ENVI", "GTiff"])
def test_what_the_type_cannot_hold_is_said_with_the_value_that_is_likely_meant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str, text: str, likely: int, kind: str
) -> None:
    if kind == "ENVI":
        path = write_envi(tmp_path / "a.bsq", pixels(1, 4, 5, dtype), fields={"data ignore value": text})
    else:
        path = with_nodata_text(tmp_path / "a.tif", dtype, text)
    with open_raster(path) as reader:
        if kind == "GTiff" and reader.info.nodata is not None:
            assert reader.info.nodata == likely  # GDAL itself brings some into the type's range
            return
        assert np.isfinite(reader.read()).all()
    assert f"likely {likely} is meant" in caplog.text
    assert text.removesuffix("+38")[:4] in caplog.text
    with open_raster(path, likely) as reader:
        assert reader.info.nodata == likely


def with_nodata_text(path: Path, dtype: str, text: str) -> Path:
    """A GeoTIFF whose tag GDAL_NODATA is any text."""
    held = "1" * max(5, len(text)) if dtype != "uint8" else "111"
    stand_in = min(int(held[:3]), 111)
    write_tif(path, pixels(1, 4, 5, dtype), nodata=stand_in)
    content = path.read_bytes()
    found = content.index(b"\x81\xa4\x02\x00")  # the tag's number and type
    count = len(text) + 1
    place = len(content)
    entry = count.to_bytes(4, "little") + (
        text.encode().ljust(4, b"\0") if count <= 4 else place.to_bytes(4, "little")
    )
    path.write_bytes(
        content[: found + 4] + entry + content[found + 12 :] + (text.encode() + b"\0" if count > 4 else b"")
    )
    return path


@pytest.mark.parametrize("text", ["0", "-9999", "-3.40282347e+38", "nan"])
@pytest.mark.parametrize("big", ["YES", "NO"])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_the_text_of_a_tiffs_nodata(tmp_path: Path, text: str, big: str, order: str) -> None:
    path = write_tif(
        tmp_path / "a.tif", pixels(1, 4, 5, "float32"), nodata=float(text), BIGTIFF=big, ENDIANNESS=order
    )
    found = nodata_text(path)
    assert found is not None
    assert np.array_equal(np.float32(found), np.float32(text), equal_nan=True)
    assert nodata_text(write_tif(tmp_path / "b.tif", pixels(1, 4, 5), BIGTIFF=big, ENDIANNESS=order)) is None


def test_an_ignore_value_that_is_no_number_makes_no_pixel_invalid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = pixels(1, 4, 5)
    values[0, 0, 0] = 0
    path = write_envi(tmp_path / "a.bsq", values, fields={"data ignore value": "none"})
    with open_raster(path) as reader:
        assert reader.info.nodata is None
        assert np.array_equal(reader.read(), values)
    assert "'none', which is no number" in caplog.text


def test_a_value_given_counts_besides_the_one_declared(tmp_path: Path) -> None:
    values = pixels(1, 4, 5)
    values[0, 0, :2] = -1, -2
    path = write_tif(tmp_path / "a.tif", values, nodata=-1)
    with open_raster(path, -2) as reader:
        assert reader.info.nodata == -1
        assert np.array_equal(np.isnan(reader.read()), values < 0)
        again = reader.reopened()
    with again:
        assert np.isnan(again.read()).sum() == 2
