"""COGs: laid out as one, nothing of the metadata lost, nothing left behind."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.errors import UsageError, WriteError
from emrdiff_cli.raster import writing
from emrdiff_cli.raster.cog import copy_as_cog
from emrdiff_cli.raster.creation import creation_profile
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from tests.support.rasters import NORTH_UP, UTM33, pixels, read_back

WKT = rasterio.CRS.from_string(UTM33).to_wkt()
BANDS = Bands(3, (450.5, 558.4, 2400.125), (5.1, 5.2, 5.3), (True, False, True), ("Blue", "Green", "SWIR"))


def spec(height: int = 600, width: int = 300, bands: Bands = BANDS, **changes: Any) -> RasterSpec:
    grid = Grid(height, width, NORTH_UP, WKT)
    return RasterSpec(grid, bands, **{"dtype": "int16", "driver": "COG"} | changes)


def write(path: Path, values: np.ndarray[Any, Any], like: RasterSpec) -> Path:
    with VerifiedWriter(path, like, overwrite=True) as writer:
        writer.append_stored(values)
    assert [file.name for file in path.parent.iterdir() if "part" in file.name or file.suffix == ".xml"] == []
    return path


def test_it_is_laid_out_as_a_cog_band_after_band(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", pixels(3, 600, 300), spec())
    with rasterio.open(path) as full, rasterio.open(path, overview_level=0) as half:
        assert full.compression.name == "zstd"
        assert full.block_shapes[0] == (256, 256)
        assert full.overviews(1) == [2, 4]
        directories = [int(d.get_tag_item("IFD_OFFSET", "TIFF", bidx=1)) for d in (full, half)]
        starts = [
            [int(d.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=band)) for band in (1, 2)]
            for d in (full, half)
        ]
        last = int(full.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    # Directories first, in order of size; then the pixels, the coarsest first.
    assert directories[0] < directories[1] < starts[1][0] < starts[1][1] < starts[0][0]
    assert starts[0][0] < last < starts[0][1]  # all of a band before the next


@pytest.mark.parametrize(
    ("options", "compression", "block"),
    [
        ({"compress": "none"}, None, 256),
        ({"compress": "lzw", "level": "3", "predictor": "no", "blocksize": "512"}, "lzw", 512),
        ({"compress": "DEFLATE", "level": "9", "predictor": "standard"}, "deflate", 256),
        ({"bigtiff": "yes", "predictor": "floating_point", "num_threads": "1"}, "zstd", 256),
    ],
)
def test_usual_options_leave_the_bands_apart(
    tmp_path: Path, options: dict[str, str], compression: str | None, block: int
) -> None:
    like = spec(dtype="float32", creation_options=options)
    path = write(tmp_path / "a.tif", pixels(3, 600, 300, "float32"), like)
    with rasterio.open(path) as dataset:
        held = dataset.compression.name if dataset.compression is not None else None
        assert (held, dataset.block_shapes[0]) == (compression, (block, block))
        assert dataset.interleaving.name == "band"
        assert dataset.overviews(1) == [2, 4]
    np.testing.assert_array_equal(read_back(path), pixels(3, 600, 300, "float32"))


def test_the_tags_of_the_bands_stand_in_for_the_lost_lists(tmp_path: Path) -> None:
    wanted = spec(scale=1e-4, scale_recorded=True, nodata=-9.0, tags={"default_bands": "{3, 2, 1}"})
    path = write(tmp_path / "a.tif", pixels(3, 600, 300), wanted)
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="ENVI") == {}
        told = {key: value for key, value in dataset.tags(2).items() if not key.startswith("STATISTICS_")}
        assert told == {
            "wavelength": "558.4",
            "wavelength_units": "Nanometers",
            "fwhm": "5.2",
            "bbl": "0",
        }
        assert dataset.tags(2, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.5584", "FWHM_UM": "0.0052"}
    info = read_info(path)
    assert (info.bands, info.nodata, info.scale) == (BANDS, -9, 1e-4)
    assert info.tags == {"default_bands": "{3, 2, 1}"}


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", -99.0), ("float32", float("nan")), ("uint16", 65535.0)]
)
def test_nodata_is_not_averaged_into_overviews(tmp_path: Path, dtype: str, nodata: float) -> None:
    values = np.full((1, 600, 600), 10, dtype)
    values[0, ::2, ::2] = nodata
    path = write(tmp_path / "a.tif", values, spec(600, 600, Bands(1), dtype=dtype, nodata=nodata))
    with rasterio.open(path, overview_level=0) as half:
        assert (half.read() == 10).all()


def test_undeclared_nan_does_not_spread_over_overviews(tmp_path: Path) -> None:
    values = np.full((1, 600, 600), 10, "float32")
    values[0, 1::2, 1::2] = np.nan
    path = write(tmp_path / "a.tif", values, spec(600, 600, Bands(1), dtype="float32"))
    with rasterio.open(path, overview_level=0) as half:
        assert (half.read() == 10).any()


def test_four_bands_of_bytes_are_no_transparency(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", pixels(4, 6, 5, "uint8"), spec(6, 5, Bands(4), dtype="uint8"))
    with open_raster(path) as reader:
        assert not reader.masked


def test_creation_options_are_the_cog_drivers(tmp_path: Path) -> None:
    options = {"compress": "deflate", "blocksize": "128", "overviews": "none", "resampling": "mode"}
    path = write(tmp_path / "a.tif", pixels(3, 600, 300), spec(creation_options=options))
    with rasterio.open(path) as dataset:
        assert dataset.compression.name == "deflate"
        assert dataset.block_shapes[0] == (128, 128)
        assert dataset.overviews(1) == []


def test_lossy_option_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 600, 300)).astype("float32")
    options = {"compress": "LERC", "max_z_error": "0.1"}
    with pytest.raises(WriteError, match="lossy"):
        write(tmp_path / "a.tif", noise, spec(dtype="float32", creation_options=options))
    assert list(tmp_path.iterdir()) == []


def test_regridding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TILING_SCHEME: would change the grid"):
        VerifiedWriter(tmp_path / "a.tif", spec(creation_options={"tiling_scheme": "GoogleMapsCompatible"}))


def test_interrupted_copy_leaves_the_old_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", pixels(3, 600, 300), spec())
    before = path.read_bytes()
    made = []

    def copy_and_be_interrupted(draft: Path, target: Path, like: RasterSpec) -> None:
        copy_as_cog(draft, target, like)
        made.extend([draft.exists(), target.exists()])
        target.with_name(target.name + ".ovr.tmp").touch()  # as GDAL's own
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(writing, "copy_as_cog", copy_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, pixels(3, 600, 300) + 1, spec())
    assert made == [True, True]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _other_values(draft: Path, target: Path, like: RasterSpec) -> None:
    with rasterio.open(draft, "r+") as dataset:
        dataset.write(dataset.read(1) + 1, 1)
    copy_as_cog(draft, target, like)


def _other_wavelength(draft: Path, target: Path, like: RasterSpec) -> None:
    copy_as_cog(draft, target, like)
    with rasterio.open(target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(2, wavelength="559")


def _without_a_tag(draft: Path, target: Path, like: RasterSpec) -> None:
    copy_as_cog(draft, target, like)
    with rasterio.open(target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(sensor_type="")


def _other_crs(draft: Path, target: Path, like: RasterSpec) -> None:
    with rasterio.open(draft, "r+") as dataset:
        dataset.crs = "EPSG:32634"
    copy_as_cog(draft, target, like)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_other_values, "rows from 0 on differ"),
        (_other_wavelength, "its wavelengths"),
        (_without_a_tag, "its tag sensor_type"),
        (_other_crs, "its CRS"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*COG")
def test_a_copy_that_differs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, said: str
) -> None:
    monkeypatch.setattr(writing, "copy_as_cog", damage)
    with pytest.raises(WriteError, match=said):
        write(tmp_path / "a.tif", pixels(3, 600, 300), spec(tags={"sensor_type": "EnMAP"}))
    assert list(tmp_path.iterdir()) == []


def test_beyond_4_gib_it_is_a_bigtiff(tmp_path: Path) -> None:
    """A COG and the GeoTIFF it is copied from, of rows that are all missing."""
    options = {"SPARSE_OK": "TRUE", "OVERVIEWS": "NONE", "BLOCKSIZE": "4096"}
    draft, cog = tmp_path / "draft.tif", tmp_path / "cog.tif"
    for side, magic in ((2000, b"II*\0"), (65_600, b"II+\0")):
        grid = Grid(side, side, Affine(1, 0, 5, 0, -1, 7))
        wanted = RasterSpec(grid, Bands(1), "uint8", driver="COG", creation_options=options)
        sparse = {"SPARSE_OK": "TRUE", "BLOCKXSIZE": "4096", "BLOCKYSIZE": "4096"}
        rasterio.open(draft, "w", **creation_profile(wanted) | sparse).close()
        copy_as_cog(draft, cog, wanted)
        for path in (draft, cog):
            with path.open("rb") as file:
                assert file.read(4) == magic


def test_read_back_is_what_was_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-999, 999, (3, 600, 300), np.int16)
    np.testing.assert_array_equal(read_back(write(tmp_path / "a.tif", noise, spec())), noise)
