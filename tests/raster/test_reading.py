"""Reading: formats as GDAL users name them, physical values, invalid pixels, and input that lies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as rasterio_copy

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.reading import open_raster, read_info, same_crs
from emrdiff_cli.raster_info import Window
from tests.support.front_door import Run, error_lines
from tests.support.rasters import NORTH_UP, UTM33, pixels, write_envi, write_tif

CLASSES = {
    "file type": "ENVI Classification",
    "classes": "3",
    "class lookup": "{0, 0, 0, 255, 0, 0, 0, 255, 0}",
    "class names": "{none, wood, water}",
}
DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@pytest.mark.parametrize(("interleave", "dtype"), list(itertools.product(("bsq", "bil", "bip"), DTYPES)))
def test_envi_layouts(tmp_path: Path, interleave: str, dtype: str) -> None:
    values = pixels(3, 5, 4, dtype)
    for byte_order in (0, 1):
        path = write_envi(
            tmp_path / f"cube{byte_order}.dat", values, interleave=interleave, byte_order=byte_order, offset=7
        )
        with open_raster(path) as reader:
            assert reader.info.dtype == dtype
            np.testing.assert_array_equal(reader.read_stored(), values)
            window = reader.read(Window(1, 2, 3, 2), bands=[2, 0])
        assert window.dtype == np.float32
        np.testing.assert_array_equal(window, values[[2, 0], 1:4, 2:4])


@pytest.mark.parametrize(
    "name", ["cube", "cube.bsq", "cube.bil", "cube.bip", "cube.img", "cube.dat", "CUBE.DAT"]
)
@pytest.mark.parametrize("added", [False, True])
def test_envi_names_and_header_given(tmp_path: Path, name: str, added: bool) -> None:
    data = tmp_path / name
    header = tmp_path / (f"{name}.hdr" if added else f"{Path(name).stem}.hdr")
    write_envi(data, pixels(2, 3, 4), header=header)
    for given in (data, header):
        assert read_info(given).path == data
        assert read_info(given).driver == "ENVI"


def test_envi_header_is_read_in_full(tmp_path: Path) -> None:
    fields = {
        "wavelength units": "Micrometers",
        "wavelength": "{0.5584,\n 0.6}",
        "fwhm": "{0.0051, 0.0052}",
        "bbl": "{1, 0}",
        "band names": "{Green peak, Red}",
        "data ignore value": "-99",
        "reflectance scale factor": "10000",
        "acquisition time": "2020-06-01T10:00:00Z",
        "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
    }
    info = read_info(write_envi(tmp_path / "cube.bsq", pixels(2, 3, 4), fields=fields))
    assert info.bands.wavelengths_nm == (558.4, 600)
    assert info.bands.fwhm_nm == (5.1, 5.2)  # GDAL's own IMAGERY domain has 5 and 5
    assert info.bands.good == (True, False)
    assert info.bands.names == ("Green peak", "Red")  # GDAL adds the wavelength
    assert info.nodata == -99
    assert (info.scale, info.offset, info.scale_recorded) == (1e-4, 0, True)
    assert info.tags["acquisition_time"] == "2020-06-01T10:00:00Z"
    assert info.grid.transform.almost_equals(NORTH_UP)
    assert same_crs(info.grid.crs_wkt, rasterio.CRS.from_string(UTM33).to_wkt())


def test_physical_values_and_invalid_pixels(tmp_path: Path) -> None:
    values = pixels(2, 3, 4).astype(np.float32)
    values[0, 0, :3] = (-99, np.nan, np.inf)
    path = write_tif(tmp_path / "a.tif", values, nodata=-99)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.5), (3, 3)
    with open_raster(path) as reader:
        assert (reader.info.scale, reader.info.offset, reader.info.scale_recorded) == (0.5, 3, True)
        assert not reader.masked
        read = reader.read()
    assert np.isnan(read[0, 0, :3]).all()
    assert np.isfinite(read).sum() == read.size - 3
    np.testing.assert_array_equal(read[1], values[1] * 0.5 + 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_values_are_invalid_in_any_float(tmp_path: Path, dtype: str) -> None:
    values = pixels(2, 3, 4, dtype)
    values[0, 1, 2], values[1, 2, 0] = np.inf, -np.inf
    with open_raster(write_tif(tmp_path / "a.tif", values)) as reader:
        read = reader.read()
        np.testing.assert_array_equal(reader.valid(values), np.isfinite(values))
    np.testing.assert_array_equal(read, np.where(np.isfinite(values), values, np.nan))


def test_nodata_of_a_wider_type_than_the_values(tmp_path: Path) -> None:
    values = pixels(1, 2, 2).astype(np.float32)
    values[0, 0, 0] = np.float32(-3.4e38)
    with open_raster(write_tif(tmp_path / "a.tif", values, nodata=-3.4e38)) as reader:
        assert np.isnan(reader.read()[0, 0, 0])


def test_dataset_mask_and_alpha_make_pixels_invalid(tmp_path: Path) -> None:
    masked = write_tif(tmp_path / "masked.tif", pixels(2, 3, 4))
    mask = np.full((3, 4), 255, np.uint8)
    mask[1, 2] = 0
    with rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(mask)
    alpha = tmp_path / "alpha.tif"
    profile = {"count": 4, "height": 3, "width": 4, "dtype": "uint8", "photometric": "RGB", "alpha": "YES"}
    with rasterio.open(alpha, "w", driver="GTiff", crs=UTM33, transform=NORTH_UP, **profile) as dataset:
        dataset.write(np.concatenate([pixels(3, 3, 4, "uint8"), mask[None]]))
    for path, by, bands in ((masked, "mask", 2), (alpha, "alpha band", 3)):
        with open_raster(path) as reader:
            assert reader.masked
            assert (reader.info.masked_by, reader.info.bands.count) == (by, bands)
            read = reader.read()
            assert np.isnan(read[:, 1, 2]).all()
            assert np.isnan(read).sum() == len(read) == bands


def write_alpha(path: Path, meanings: str, dtype: str = "uint16", **tags: str) -> Path:
    """Bands of pixels(); `meanings`: a letter a band, A for alpha, which is 0 at (1, 2) and 7 at (2, 0)."""
    known = {"A": ColorInterp.alpha, "r": ColorInterp.red, "g": ColorInterp.green, "b": ColorInterp.blue}
    values = pixels(len(meanings), 3, 4, dtype)
    for alpha in (band for meaning, band in zip(meanings, values, strict=True) if meaning == "A"):
        alpha[:] = 255
        alpha[1, 2], alpha[2, 0] = 0, 7
    write_tif(path, values)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [known.get(meaning, ColorInterp.undefined) for meaning in meanings]
        for band in dataset.indexes:
            dataset.update_tags(band, **{key: value.split()[band - 1] for key, value in tags.items()})
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("meanings", ["rgbA", "rgbnnA", "nA", "Arbg"])
def test_an_alpha_band_of_any_number_is_a_mask_and_no_band(tmp_path: Path, meanings: str, dtype: str) -> None:
    """GDAL itself takes it for a mask in files of two or four bands alone."""
    path = write_alpha(tmp_path / "a.tif", meanings, dtype)
    kept = [band for band, meaning in enumerate(meanings) if meaning != "A"]
    values = pixels(len(meanings), 3, 4, dtype)[kept]
    with open_raster(path) as reader:
        assert reader.info.bands.count == len(kept)
        np.testing.assert_array_equal(reader.read_stored(), values)
        read = reader.read(Window(1, 0, 2, 3), bands=[len(kept) - 1])
        assert reader.rgb == (tuple(map(meanings.replace("A", "").index, "rgb")) if "r" in meanings else None)
        with pytest.raises(ValueError, match="bands"):
            reader.read(bands=[len(kept)])
    expected = values[-1:, 1:, :3].astype(np.float32)
    expected[0, 0, 2] = np.nan
    np.testing.assert_array_equal(read, expected)


def test_a_pixel_is_invalid_where_any_of_two_alpha_bands_is_0(tmp_path: Path) -> None:
    path = write_alpha(tmp_path / "a.tif", "nAnA")
    with rasterio.open(path, "r+") as dataset:
        second = dataset.read(4)
        second[1, 2], second[0, 3] = 255, 0
        dataset.write(second, 4)
    with open_raster(path) as reader:
        assert reader.info.bands.count == 2
        missing = np.isnan(reader.read())
    assert {tuple(place) for place in np.argwhere(missing).tolist()} == {
        (band, row, col) for band in (0, 1) for row, col in ((1, 2), (0, 3))
    }


def test_alpha_of_a_known_wavelength_is_a_band(tmp_path: Path) -> None:
    """As GDAL calls the fourth of four bands of bytes, near infrared for instance, unless it is told not to."""
    path = write_alpha(tmp_path / "a.tif", "rgbA", "uint8", wavelength="650 550 450 850")
    with open_raster(path) as reader:
        assert (reader.info.bands.count, reader.masked) == (4, False)
        assert np.isfinite(reader.read()).all()


def test_alpha_of_many_grey_values_is_a_band(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The near infrared of RGB and NIR in bytes, 0 over water; a mask smoothed at its edges stays one."""
    values = np.concatenate([pixels(3, 40, 50, "uint8"), np.zeros((1, 40, 50), np.uint8)])
    values[3, 10:] = pixels(1, 30, 50, "uint8")
    soft = np.zeros((40, 50), np.uint8)
    soft[:, 10:] = 255
    soft[:, 10:15] = 20 * np.arange(1, 6)[None] + np.arange(40)[:, None]
    for name, fourth, bands in (("nir.tif", values[3], 4), ("soft.tif", soft, 3)):
        profile = {"count": 4, "height": 40, "width": 50, "dtype": "uint8", "photometric": "RGB"}
        placed = {"crs": UTM33, "transform": NORTH_UP, "alpha": "YES"}
        with rasterio.open(tmp_path / name, "w", driver="GTiff", **placed, **profile) as dataset:
            dataset.write(np.concatenate([values[:3], fourth[None]]))
        with open_raster(tmp_path / name) as reader:
            assert (reader.info.bands.count, reader.masked) == (bands, bands == 3)
            assert np.isnan(reader.read()).any() == (bands == 3)
    assert "nir.tif: band 4 is marked as alpha but holds many grey values" in caplog.text
    assert "soft.tif" not in caplog.text


def test_alpha_and_a_mask_and_nodata_all_count(tmp_path: Path) -> None:
    path = write_alpha(tmp_path / "a.tif", "rgbA")
    mask = np.full((3, 4), 255, np.uint8)
    mask[0, 0] = 0
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = int(pixels(4, 3, 4)[0, 2, 3])
        dataset.write_mask(mask)
    with open_raster(path) as reader:
        assert reader.info.masked_by == "mask and alpha band"
        missing = np.isnan(reader.read())
    assert missing[:, 0, 0].all()
    assert missing[:, 1, 2].all()
    assert missing[0, 2, 3]
    assert missing.sum() == 7


def test_info_shows_what_masks(emrdiff: Run, tmp_path: Path) -> None:
    path = write_alpha(tmp_path / "a.tif", "rgbA")
    ended = emrdiff("info", path)
    assert "Masked by    alpha band" in ended.out.splitlines()
    assert "3 rows x 4 columns x 3 bands" in ended.out
    assert "Masked by" not in emrdiff("info", write_tif(tmp_path / "b.tif", pixels(2, 3, 4))).out


def test_tiles_refuse_what_they_cannot_carry(emrdiff: Run, tmp_path: Path) -> None:
    """A tile has no mask: stitched, the raster would not be the same."""
    ended = emrdiff("tile", write_alpha(tmp_path / "a.tif", "rgbA"), tmp_path / "tiles")
    assert ended.code == 3
    assert "has a mask or an alpha band, which tiles cannot carry" in ended.err
    assert not (tmp_path / "tiles").exists()


def test_cog_is_read(tmp_path: Path) -> None:
    write_tif(tmp_path / "a.tif", pixels(2, 20, 30))
    rasterio_copy(tmp_path / "a.tif", tmp_path / "cog.tif", driver="COG")
    with open_raster(tmp_path / "cog.tif") as reader:
        np.testing.assert_array_equal(reader.read_stored(), pixels(2, 20, 30))


def test_raster_without_georeference(tmp_path: Path) -> None:
    info = read_info(write_tif(tmp_path / "a.tif", pixels(1, 2, 3), crs=None))
    assert info.grid.transform == Affine.identity()
    assert not info.grid.georeferenced


@pytest.mark.parametrize(
    "window", [Window(0, 0, 4, 4), Window(-1, 0, 2, 2), Window(0, 3, 1, 2), Window(0, 0, 0, 1)]
)
def test_window_outside_is_refused(tmp_path: Path, window: Window) -> None:
    with open_raster(write_tif(tmp_path / "a.tif", pixels(1, 3, 4))) as reader:
        with pytest.raises(ValueError, match="inside"):
            reader.read(window)
        with pytest.raises(ValueError, match="bands"):
            reader.read(bands=[1])


def unusable(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """One file of each kind that GDAL would read wrongly or not at all, and what the message must say."""
    cube = pixels(3, 40, 50)

    def envi(name: str, **fields: str) -> Path:
        return write_envi(tmp_path / name, cube, fields=fields)

    cut, long, strange = envi("cut.dat"), envi("long.dat"), envi("strange.dat", samples="49")
    none = tmp_path / "none"
    none.write_bytes(b"\1" * 48)
    cut.write_bytes(cut.read_bytes()[:6000])
    long.write_bytes(long.read_bytes() + b"\0\0")
    bare = envi("bare.dat")
    bare.with_suffix(".hdr").unlink()
    alone = envi("alone.dat")
    alone.unlink()
    esri = envi("esri.bil")
    esri.with_suffix(".hdr").write_text("NROWS 40\nNCOLS 50\n")
    png = tmp_path / "picture.png"
    with rasterio.open(
        png, "w", driver="PNG", width=50, height=40, count=3, dtype="uint8", crs=UTM33, transform=NORTH_UP
    ) as dataset:
        dataset.write(cube.astype("uint8"))
    vrt = tmp_path / "a.vrt"
    vrt.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"/>')
    noise = np.random.default_rng(0).integers(0, 9999, (3, 300, 300), np.int16)
    tail = write_tif(tmp_path / "tail.tif", noise)
    tail.write_bytes(tail.read_bytes()[: 6 * noise.nbytes // 7])
    last = write_tif(tmp_path / "last.tif", noise, interleave="band")
    last.write_bytes(last.read_bytes()[: 6 * noise.nbytes // 7])
    scales = write_tif(tmp_path / "scales.tif", cube)
    with rasterio.open(scales, "r+") as dataset:
        dataset.scales = (1, 2, 3)
    pages = write_tif(tmp_path / "pages.tif", cube)
    write_tif(pages, cube, append_subdataset=True)
    return {
        "missing": (tmp_path / "nowhere.tif", "no such file"),
        "folder": (tmp_path, "folder"),
        "cut": (cut, "cut short"),
        "long": (long, "too long"),
        "strange": (strange, "another file's"),
        "bare": (bare, r"no ENVI header beside it \(looked for bare.hdr and bare.dat.hdr\)"),
        "no suffix": (none, r"\(looked for none.hdr\)"),
        "alone": (alone.with_suffix(".hdr"), "no data file"),
        "esri": (esri, "no ENVI header"),
        "png": (png, "gdal_translate"),
        "vrt": (vrt, "gdal_translate"),
        "tail": (tail, "cut short"),
        "last band": (last, "cut short"),
        "scales": (scales, "different scales"),
        "complex": (write_tif(tmp_path / "c.tif", cube.astype("complex64")), "complex64"),
        "palette": (_with_palette(tmp_path / "palette.tif", lambda n: (n, 255 - n, 0)), "expand rgb"),
        "classes": (envi("classes.dat", **CLASSES), "palette"),
        "pages": (pages, r"holds 2 images of 40 x 50 pixels.*GTIFF_DIR:2:pages.tif"),
    }


def _with_palette(path: Path, colour: Callable[[int], tuple[int, int, int]]) -> Path:
    """A TIFF of one band of colour numbers; written anew, as GDAL lets no palette be added."""
    with rasterio.open(
        path, "w", driver="GTiff", width=50, height=40, count=1, dtype="uint8", crs=UTM33, transform=NORTH_UP
    ) as dataset:
        dataset.write_colormap(1, {number: colour(number) for number in range(256)})
        dataset.write(pixels(1, 40, 50, "uint8"))
    return path


def test_greys_that_grow_with_their_number_are_values(tmp_path: Path) -> None:
    path = _with_palette(tmp_path / "grey.tif", lambda n: (n, n, n))
    with open_raster(path) as reader:
        assert np.array_equal(reader.read(), pixels(1, 40, 50))


def test_a_preview_behind_the_image_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_tif(tmp_path / "with_preview.tif", pixels(2, 8, 9))
    write_tif(path, pixels(1, 4, 5), append_subdataset=True)
    with open_raster(path) as reader:
        assert np.array_equal(reader.read(), pixels(2, 8, 9))
    assert "with_preview.tif: holds 2 images: the first is read" in caplog.text


def test_unusable_input_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for path, said in unusable(tmp_path).values():
        with pytest.raises(InputError, match=said) as caught, open_raster(path):
            pass
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("kind", ["missing", "cut", "tail"])
def test_unusable_input_is_one_line_and_exit_3(emrdiff: Run, tmp_path: Path, kind: str) -> None:
    path, said = unusable(tmp_path)[kind]
    ended = emrdiff("info", path)
    assert (ended.code, ended.out) == (3, "")
    (line,) = error_lines(ended)
    assert said in line


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (1, 3, 2)])
def test_a_geotiff_cut_short_is_known_whichever_band_was_written_last(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    path, values = tmp_path / "a.tif", pixels(3, 64, 64)
    shape = {"count": 3, "height": 64, "width": 64, "dtype": values.dtype.name}
    with rasterio.open(path, "w", crs=UTM33, transform=NORTH_UP, interleave="band", sparse_ok=True, **shape):
        pass
    for band in order:
        with rasterio.open(path, "r+") as dataset:
            dataset.write(values[band - 1], band)
    with open_raster(path) as reader:
        np.testing.assert_array_equal(reader.read_stored(), values)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"), open_raster(path):
        pass


def test_damage_inside_a_geotiff_is_met_on_reading(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2, 64, 64), compress="deflate")
    raw = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    raw[start : start + 40] = b"\xff" * 40
    path.write_bytes(raw)
    with open_raster(path) as reader, pytest.raises(InputError, match="damaged"):
        reader.read()


def test_crs_are_compared_by_meaning() -> None:
    esri = (
        'PROJCS["UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",'
        'SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],'
        'UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
        'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],'
        'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
    )
    utm33, utm34 = (rasterio.CRS.from_epsg(code).to_wkt() for code in (32633, 32634))
    assert same_crs(esri, utm33)
    assert not same_crs(esri, utm34)
    assert same_crs(None, None)
    assert not same_crs(utm33, None)
    with pytest.raises(InputError, match="cannot be understood"):
        same_crs(utm33, "PROJCS[nonsense")
