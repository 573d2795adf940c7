"""Quicklooks reopened: which bands, what stretch, what is transparent, how long the bar is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.crs import pixel_width_m
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.report.quicklook import quicklook
from emrdiff_cli.report.scale_bar import footer, scale_bar
from tests.support.rasters import NORTH_UP, pixels, read_back, write_envi, write_tif

NANOMETRES = {"wavelength": "{450, 550, 650, 850}", "wavelength units": "Nanometers"}


def ramps(bands: int, height: int = 20, width: int = 30) -> np.ndarray:
    """Band b rises along the columns for even b, along the rows for odd, at a rate of its own."""
    rows, cols = np.mgrid[:height, :width]
    return np.stack([(b + 2) * (rows if b % 2 else cols) + 100 * b for b in range(bands)]).astype("int16")


def picture(raster: Path, **options: Any) -> np.ndarray:
    """The drawn raster without its scale bar, at its own size: (4, height, width)."""
    info = read_info(raster)
    output = raster.parent / "look.png"
    size = max(info.grid.height, info.grid.width)
    quicklook(raster, output, size=size, overwrite=True, **options)
    return read_back(output)[:, : info.grid.height]


def stretched(band: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    bottom, top = np.percentile(band, (low, high))
    return np.asarray(np.rint(255 * np.clip((band - bottom) / (top - bottom), 0, 1)))


@pytest.mark.parametrize(
    ("options", "bands"),
    [
        ({}, [2, 1, 0]),
        ({"bands": [4, 1, 2]}, [3, 0, 1]),
        ({"bands": [4]}, [3, 3, 3]),
        ({"wavelengths_nm": [840, 660, 500.1]}, [3, 2, 1]),
    ],
)
def test_the_right_bands_are_stretched(tmp_path: Path, options: dict[str, Any], bands: list[int]) -> None:
    values = ramps(4)
    raster = write_envi(tmp_path / "a.bsq", values, fields=NANOMETRES)
    got = picture(raster, **options)
    assert (got[3] == 255).all()
    for channel, band in zip(got, bands, strict=False):
        np.testing.assert_allclose(channel, stretched(values[band]), atol=1)


@pytest.mark.parametrize(
    ("count", "fields", "bands"),
    [
        (4, NANOMETRES | {"default bands": "{4,3,2}"}, [3, 2, 1]),
        (4, {"default bands": "{9,3,2}"}, [2, 1, 0]),
        (3, {}, [0, 1, 2]),
        (4, {}, [2, 1, 0]),
        (2, {}, [0, 0, 0]),
        (12, {}, [10, 6, 2]),
        (4, {"wavelength": "{1500, 1600, 1700, 2200}", "wavelength units": "nm"}, [2, 1, 0]),
    ],
)
def test_without_a_choice_the_raster_says(
    tmp_path: Path, count: int, fields: dict[str, str], bands: list[int]
) -> None:
    values = ramps(count)
    got = picture(write_envi(tmp_path / "a.bsq", values, fields=fields))
    for channel, band in zip(got, bands, strict=False):
        np.testing.assert_allclose(channel, stretched(values[band]), atol=1)


def test_a_file_that_declares_its_colours_is_drawn_in_them(tmp_path: Path) -> None:
    import rasterio

    values = ramps(3).astype("uint8")
    path = write_tif(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [rasterio.enums.ColorInterp[name] for name in ("green", "red", "blue")]
    got = picture(path)
    for channel, band in zip(got, (1, 0, 2), strict=False):
        np.testing.assert_allclose(channel, stretched(values[band]), atol=1)


def test_what_is_invalid_in_a_band_is_transparent_and_not_stretched(tmp_path: Path) -> None:
    values = ramps(3)
    values[1, 4:7, 5:9] = -9999
    got = picture(write_tif(tmp_path / "a.tif", values, nodata=-9999))
    hole = np.zeros((20, 30), bool)
    hole[4:7, 5:9] = True
    np.testing.assert_array_equal(got[3], np.where(hole, 0, 255))
    red = np.where(hole, 0, stretched(values[2]))
    np.testing.assert_allclose(got[0], red, atol=1)
    bottom, top = np.percentile(values[1][~hole], (2, 98))
    green = np.where(hole, 0, np.rint(255 * np.clip((values[1] - bottom) / (top - bottom), 0, 1)))
    np.testing.assert_allclose(got[1], green, atol=1)


def test_a_large_raster_is_averaged_and_a_small_one_enlarged(tmp_path: Path) -> None:
    values = pixels(1, 60, 90)
    raster = write_tif(tmp_path / "a.tif", values)
    output = tmp_path / "a.png"
    small = quicklook(raster, output, size=30, percentiles=(0, 100))
    got = read_back(output)
    blocks = values[0].reshape(20, 3, 30, 3).mean(axis=(1, 3))
    assert got.shape == (4, small.height, small.width) == (4, small.height, 30)
    np.testing.assert_allclose(got[0, :20], stretched(blocks, 0, 100), atol=1)
    quicklook(raster, output, size=400, percentiles=(0, 100), overwrite=True)
    large = read_back(output)[0, : 4 * 60]
    assert large.shape == (240, 360)
    np.testing.assert_array_equal(large[::4, ::4].repeat(4, axis=0).repeat(4, axis=1), large)


def bar_pixels(output: Path) -> int:
    """Length of the bar in the written picture: the longest run of black in a row of the footer."""
    black = (read_back(output)[:3, 1024:] == 0).all(axis=0)
    return max(len(run) for line in black for run in "".join("01"[b] for b in line.tolist()).split("0"))


def test_the_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(1, 64, 64), transform=NORTH_UP)
    output = tmp_path / "a.png"
    result = quicklook(raster, output, size=1024)
    metres = 64 * 30 / 1024
    assert result.scale_bar == "500 m"
    assert bar_pixels(output) == result.scale_bar_pixels == pytest.approx(500 / metres, abs=1)


@pytest.mark.parametrize(
    ("crs", "transform", "width"),
    [
        ("EPSG:32633", NORTH_UP, 30.0),
        ("EPSG:4326", Affine(0.001, 0, 13, 0, -0.001, 60), 111.32 * math.cos(math.radians(60)) * 1.0025),
        # Web Mercator stretches by 1 / cos(latitude), here 2.
        ("EPSG:3857", Affine(20, 0, 1.4e6, 0, -20, 8399737.9), 10.0),
        ("EPSG:2263", Affine(10, 0, 980000, 0, -10, 200000), 3.048),  # US feet
    ],
)
def test_pixels_are_measured_on_the_ground(tmp_path: Path, crs: str, transform: Affine, width: float) -> None:
    info = read_info(write_tif(tmp_path / "a.tif", pixels(1, 8, 8), crs=crs, transform=transform))
    assert pixel_width_m(info.grid) == pytest.approx(width, rel=0.004)


def test_without_a_crs_the_bar_counts_pixels(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(1, 50, 50), crs=None)
    assert quicklook(raster, tmp_path / "a.png", size=500).scale_bar == "10 px"


def test_bars_are_round_and_fit() -> None:
    for pixel in (0.013, 0.5, 2.5, 30, 927.7):
        for width in (20, 333, 1024):
            bar = scale_bar(width, pixel, "m")
            number, unit = bar.label.split()
            metres = float(number) * {"m": 1, "km": 1000}[unit]
            assert f"{metres:e}"[0] in "125"
            assert bar.pixels == pytest.approx(metres / pixel, abs=0.51)
            assert 0.1 * width <= bar.pixels + 1
            assert bar.pixels <= 0.3 * width + 1
            assert footer(width, bar, "650, 550, 450 nm").shape[1] == width


def test_nothing_valid_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.tif", np.full((3, 8, 8), -1, "int16"), nodata=-1)
    with pytest.raises(InputError, match="nothing to draw"):
        quicklook(raster, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
