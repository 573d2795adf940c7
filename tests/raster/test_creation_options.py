"""Creation options that GDAL would ignore without a word."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import rasterio
from affine import Affine

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid


def spec(driver: Driver, options: dict[str, str], dtype: str = "uint8") -> RasterSpec:
    grid = Grid(6, 5, Affine(1, 0, 5, 0, -1, 7))
    return RasterSpec(grid, Bands(3), dtype, driver=driver, creation_options=options)


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("GTiff", {"FOO": "1"}, "FOO"),
        ("GTiff", {"COMPRESS": "ZSTD", "COMPRES": "LZW"}, "COMPRES"),
        ("GTiff", {"compress": "ztsd"}, "ztsd"),
        ("GTiff", {"BLOCKSIZE": "512"}, "BLOCKSIZE"),
        ("GTiff", {"BLOCKXSIZE": "100"}, "multiples of 16"),
        ("GTiff", {"width": "3"}, "WIDTH"),
        ("ENVI", {"COMPRESS": "ZSTD"}, "COMPRESS"),
        ("ENVI", {"INTERLEAVE": "pixel"}, "pixel"),
        ("COG", {"TILED": "YES"}, "TILED"),
        ("COG", {"COMPRESS": "nonsense"}, "nonsense"),
    ],
)
def test_what_the_driver_does_not_know_is_a_usage_error(
    tmp_path: Path, driver: Driver, options: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        VerifiedWriter(tmp_path / "a.tif", spec(driver, options))
    assert "gdal.org/drivers/raster" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("GTiff", {"compress": "none", "tiled": "no"}),
        ("GTiff", {"COMPRESS": "DEFLATE", "ZLEVEL": "9", "NUM_THREADS": "2"}),
        ("GTiff", {"COMPRESS": "LERC", "PHOTOMETRIC": "RGB", "BIGTIFF": "YES"}),
        ("GTiff", {"INTERLEAVE": "PIXEL", "BLOCKXSIZE": "128"}),
        ("ENVI", {"INTERLEAVE": "BIP"}),
        ("COG", {"COMPRESS": "LZW", "OVERVIEWS": "NONE", "BLOCKSIZE": "512"}),
        ("COG", {"COMPRESS": "NONE", "BIGTIFF": "YES", "NUM_THREADS": "1"}),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_what_the_driver_knows_goes_through(
    tmp_path: Path, driver: Driver, options: dict[str, str], dtype: str
) -> None:
    VerifiedWriter(tmp_path / "a.tif", spec(driver, options, dtype))


def test_the_log_is_left_as_it_was(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    log = logging.getLogger("rasterio._env")
    before = (log.level, list(log.filters))
    with pytest.raises(UsageError):
        VerifiedWriter(tmp_path / "a.tif", spec("GTiff", {"FOO": "1"}))
    assert (log.level, log.filters) == before
    assert caplog.records == []
    with rasterio.Env(), rasterio.MemoryFile() as file:
        file.open(
            driver="ENVI",
            width=1,
            height=1,
            count=1,
            dtype="uint8",
            transform=Affine(1, 0, 5, 0, -1, 7),
            FOO="1",
        ).close()
    assert "FOO" in caplog.text
