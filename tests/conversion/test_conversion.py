"""Conversion: each data set's files turned, masked and given wavelengths as they are known to be; formats kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.conversion.convert import Conversion, ConversionOptions, convert
from emrdiff_cli.conversion.datasets import DATASETS
from emrdiff_cli.errors import InputError, OutputExistsError, UsageError
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster.spec import Driver
from tests.support.mat_files import matrix, write_mat5, write_mat73
from tests.support.rasters import NORTH_UP, UTM33, pixels, read_back, write_envi, write_tif

AUTO = ConversionOptions()
TO_700 = tuple(map(float, range(400, 701, 10)))


def converted(
    source: Path, options: ConversionOptions = AUTO, name: str = "out.tif"
) -> tuple[NDArray[Any], Conversion]:
    """Convert, and reopen with rasterio."""
    output = source.parent / name
    done = convert(source, output, options)
    return read_back(output), done


def write_pngs(folder: Path, values: NDArray[Any], stem: str = "toy_ms_") -> Path:
    folder.mkdir(parents=True)
    for number, band in enumerate(values, 1):
        write_png(folder / f"{stem}{number:02d}.png", band[None])
    return folder


def write_png(path: Path, channels: NDArray[Any]) -> None:
    from rasterio.errors import NotGeoreferencedWarning

    count, height, width = channels.shape
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(
            path, "w", driver="PNG", count=count, height=height, width=width, dtype=channels.dtype
        ) as png,
    ):
        png.write(channels)


def write_icvl(path: Path) -> Path:
    return write_mat73(
        path,
        rad=matrix(13, 14, 31),
        rgb=matrix(13, 14, 3),
        bands=np.arange(400.0, 701, 10)[:, None],
        chunks=(1, 5, 13),
    )


def write_harvard(path: Path, dtype: str = "float64") -> Path:
    label = np.ones((13, 14), np.uint8)
    label[2, 3:6] = 0
    label[12, 13] = 7
    return write_mat5(path, ref=matrix(13, 14, 31, dtype), lbl=label)


def test_icvl_is_upright_with_its_own_wavelengths(tmp_path: Path) -> None:
    """As the published loaders do it: h5py's array, transposed, turned by numpy.rot90."""
    source = write_icvl(tmp_path / "scene.mat")
    values, done = converted(source)
    as_h5py_has_it = matrix(13, 14, 31).T
    np.testing.assert_array_equal(values, np.rot90(as_h5py_has_it.T, k=1).transpose(2, 0, 1))
    assert values.shape == (31, 14, 13)
    assert values.dtype == np.float64
    assert (done.dataset, done.variable, done.wavelengths_nm) == ("icvl", "rad", TO_700)
    assert "turned by 90 degrees" in done.notes[0]
    info = read_info(tmp_path / "out.tif")
    assert info.bands.wavelengths_nm == TO_700


def test_icvl_as_stored_on_request(tmp_path: Path) -> None:
    source = write_icvl(tmp_path / "scene.mat")
    values, done = converted(source, ConversionOptions(orientation="as-stored"))
    np.testing.assert_array_equal(values, matrix(13, 14, 31).transpose(2, 0, 1))
    assert done.notes == ()
    assert done.wavelengths_nm == TO_700


def test_another_variable_is_not_the_data_sets_image(tmp_path: Path) -> None:
    values, done = converted(write_icvl(tmp_path / "scene.mat"), ConversionOptions(variable="rgb"))
    np.testing.assert_array_equal(values, matrix(13, 14, 3).transpose(2, 0, 1))
    assert (done.dataset, done.wavelengths_nm) == ("generic", None)


@pytest.mark.parametrize("name", ["out.tif", "out.bsq"])
def test_harvards_moved_pixels_are_nodata(tmp_path: Path, name: str) -> None:
    source = write_harvard(tmp_path / "scene.mat")
    driver: Driver = "ENVI" if name.endswith("bsq") else "GTiff"
    values, done = converted(source, ConversionOptions(driver=driver), name)
    moved = np.zeros((13, 14), bool)
    moved[2, 3:6] = True
    assert np.isnan(values[:, moved]).all()
    np.testing.assert_array_equal(values[:, ~moved], matrix(13, 14, 31).transpose(2, 0, 1)[:, ~moved])
    assert (done.dataset, done.masked_pixels, done.nodata) == ("harvard", 3, "nan")
    with open_raster(tmp_path / name) as reader:
        assert np.isnan(reader.info.nodata or 0)
        assert reader.info.bands.wavelengths_nm == tuple(map(float, range(420, 721, 10)))
        assert np.isnan(reader.read()).sum() == 3 * 31


def test_the_mask_turns_with_the_image(tmp_path: Path) -> None:
    source = write_harvard(tmp_path / "scene.mat")
    straight, _ = converted(source)
    turned, _ = converted(source, ConversionOptions(orientation="rot270"), "turned.tif")
    np.testing.assert_array_equal(turned, np.rot90(straight, 3, axes=(1, 2)))


def test_integers_need_a_nodata_value_for_a_mask(tmp_path: Path) -> None:
    source = write_harvard(tmp_path / "scene.mat", "uint16")
    with pytest.raises(UsageError, match="uint16 has no value of its own: give --nodata"):
        convert(source, tmp_path / "out.tif", AUTO)
    assert not (tmp_path / "out.tif").exists()
    values, done = converted(source, ConversionOptions(nodata=5))
    stored = matrix(13, 14, 31, "uint16").transpose(2, 0, 1)
    assert (stored == 5).any()
    assert (values[:, 2, 3:6] == 5).all()
    assert (values == 5).sum() == 3 * 31
    keep = (stored != 5) & (values != 5)
    np.testing.assert_array_equal(values[keep], stored[keep])
    assert done.nodata == "5"


def test_without_the_mask(tmp_path: Path) -> None:
    source = write_harvard(tmp_path / "scene.mat")
    values, done = converted(source, ConversionOptions(dataset="generic", wavelengths="420:720:10"))
    np.testing.assert_array_equal(values, matrix(13, 14, 31).transpose(2, 0, 1))
    assert (done.dataset, done.masked_pixels) == ("generic", 0)


def test_chikusei(tmp_path: Path) -> None:
    stored = matrix(9, 8, 128, "float32")
    source = write_mat73(tmp_path / "HyperspecVNIR_Chikusei.mat", chikusei=stored, chunks=(7, 3, 9))
    values, done = converted(source)
    np.testing.assert_array_equal(values, stored.transpose(2, 0, 1))
    assert values.dtype == np.float32
    assert done.wavelengths_nm is not None
    assert done.wavelengths_nm[::127] == (362.59, 1018.02)
    steps = np.diff(done.wavelengths_nm)
    assert 5.14 < steps.min() < steps.max() < 5.18
    assert "no georeference" in done.notes[0]
    assert read_info(tmp_path / "out.tif").grid.crs_wkt is None


def test_chikusei_georeferenced_by_hand(tmp_path: Path) -> None:
    source = write_mat73(tmp_path / "c.mat", chikusei=matrix(9, 8, 128, "float32"))
    options = ConversionOptions(crs="EPSG:32654", transform="2.5, 0, 411050, 0, -2.5, 4016650")
    formats: dict[str, Driver] = {"out.tif": "GTiff", "out.dat": "ENVI"}
    for name, driver in formats.items():
        _, done = converted(source, replace(options, driver=driver), name)
        assert done.notes == ()
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.crs.to_epsg() == 32654
            assert dataset.transform == Affine(2.5, 0, 411050, 0, -2.5, 4016650)


def test_cave(tmp_path: Path) -> None:
    cube = pixels(31, 12, 10, "uint16") * 500
    folder = write_pngs(tmp_path / "toy_ms" / "toy_ms", cube)
    for other in ("toy_RGB.bmp", "Thumbs.db", "._toy_ms_01.png"):
        (folder / other).write_bytes(b"not a band")
    values, done = converted(tmp_path / "toy_ms")
    np.testing.assert_array_equal(values, cube)
    assert values.dtype == np.uint16
    assert (done.dataset, done.wavelengths_nm, done.nodata) == ("cave", TO_700, None)


def test_other_band_pngs(tmp_path: Path) -> None:
    cube = pixels(4, 300, 10, "uint8")
    folder = write_pngs(tmp_path / "four", cube, "b")
    values, done = converted(folder)
    np.testing.assert_array_equal(values, cube)
    assert (done.dataset, done.wavelengths_nm) == ("generic", None)
    assert "no wavelengths" in done.notes[0]
    with pytest.raises(InputError, match="4 bands where cave has 31"):
        convert(folder, tmp_path / "cave.tif", ConversionOptions(dataset="cave"))
    # Grey saved in colour, as one scene of CAVE is.
    opaque = np.full_like(cube[0], 255)
    write_png(folder / "b02.png", np.stack([cube[1], cube[1], cube[1], opaque]))
    np.testing.assert_array_equal(converted(folder, ConversionOptions(overwrite=True))[0], cube)


def test_bands_that_are_no_image(tmp_path: Path) -> None:
    cube = pixels(3, 12, 10, "uint8")
    folder = write_pngs(tmp_path / "toy", cube)

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match):
            convert(folder, tmp_path / "out.tif", AUTO)

    write_png(folder / "toy_ms_02.png", cube)
    refused("toy_ms_02.png: is a colour image")
    write_png(folder / "toy_ms_02.png", cube[:1, :-1])
    refused("toy_ms_02.png: differs from toy_ms_01.png in size")
    write_png(folder / "toy_ms_02.png", cube[:1].astype("uint16"))
    refused("toy_ms_02.png: differs from toy_ms_01.png in size or type")
    (folder / "toy_ms_02.png").write_bytes(b"PNG?")
    refused("toy_ms_02.png: is no PNG")
    (folder / "toy_ms_02.png").write_bytes(b"8 bytes." + bytes(4) + b"IEND" + bytes.fromhex("AE426082"))
    refused("toy_ms_02.png: cannot be opened as PNG")
    (folder / "toy_ms_02.png").unlink()
    refused("toy: band 2 is missing")
    write_png(folder / "doll_ms_02.png", cube[:1])
    refused("toy: holds bands of 2 images, such as doll_ms_")
    (tmp_path / "none").mkdir()
    folder = tmp_path / "none"
    refused(r"none: holds no numbered bands \*_01.png")
    assert not (tmp_path / "out.tif").exists()


def test_a_cut_png_is_damaged(tmp_path: Path) -> None:
    """GDAL reads zeros for what is cut off, and says nothing."""
    cube = np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)
    folder = write_pngs(tmp_path / "toy", cube)
    band = folder / "toy_ms_02.png"
    whole = band.read_bytes()
    for damaged in (whole[:2000], whole[:-12], whole[:-14], whole[:900] + b"?" + whole[901:]):
        band.write_bytes(damaged)
        with pytest.raises(InputError, match=r"toy_ms_02\.png: is no PNG, cut short or damaged"):
            convert(folder, tmp_path / "out.tif", AUTO)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("name", ["out.tif", "out.img"])
def test_a_raster_passes_through_with_all_that_is_known(tmp_path: Path, name: str) -> None:
    """As the ENVI copy of Chikusei: UTM, wavelengths in micrometres."""
    cube = pixels(3, 270, 4, "float32")
    source = write_envi(
        tmp_path / "chikusei.bsq",
        cube,
        fields={
            "map info": "{UTM, 1, 1, 411050, 4016650, 2.5, 2.5, 54, North, WGS-84, units=Meters}",
            "wavelength": "{0.36259, 0.36775, 0.3729}",
            "wavelength units": "Micrometers",
            "reflectance scale factor": "10000",
            "data ignore value": "0",
        },
    )
    driver: Driver = "ENVI" if name.endswith("img") else "GTiff"
    values, done = converted(source.with_suffix(".hdr"), ConversionOptions(driver=driver), name)
    np.testing.assert_array_equal(values, cube)
    assert (done.dataset, done.dtype, done.notes) == ("generic", "float32", ())
    old, new = read_info(source), read_info(tmp_path / name)
    assert new.grid.transform == Affine(2.5, 0, 411050, 0, -2.5, 4016650)
    with rasterio.open(tmp_path / name) as dataset:
        assert dataset.crs.to_epsg() == 32654
    assert new.bands.wavelengths_nm == (362.59, 367.75, 372.9)
    assert (new.scale, new.nodata) == (old.scale, old.nodata) == (1e-4, 0)


def test_a_raster_is_given_what_it_lacks(tmp_path: Path) -> None:
    source = write_tif(tmp_path / "in.tif", pixels(128, 4, 5), crs=None)
    _, done = converted(source, ConversionOptions(dataset="chikusei"))
    assert done.wavelengths_nm == DATASETS["chikusei"].wavelengths_nm
    placed = write_tif(tmp_path / "placed.tif", pixels(3, 4, 5))
    _, done = converted(placed, ConversionOptions(wavelengths="400:600:100"), "named.tif")
    assert read_info(tmp_path / "named.tif").grid.transform == NORTH_UP
    assert done.wavelengths_nm == (400, 500, 600)


def test_a_raster_keeps_its_fwhm_without_wavelengths(tmp_path: Path) -> None:
    source = write_envi(
        tmp_path / "in.bsq", pixels(2, 4, 5), fields={"fwhm": "{5, 6}", "band units": "{K, K}"}
    )
    converted(source, ConversionOptions(), "plain.tif")
    converted(source, ConversionOptions(wavelengths="400:500:100"), "named.tif")
    for name in ("plain.tif", "named.tif"):
        bands = read_info(tmp_path / name).bands
        assert (bands.fwhm_nm, bands.units) == ((5, 6), ("K", "K"))


@pytest.mark.parametrize(
    ("shape", "options", "bands"),
    [
        ((6, 8, 5), {}, 5),
        ((3, 20, 17), {}, 3),
        ((20, 3, 17), {}, 3),
        ((9, 9, 30), {}, 30),
        ((30, 9, 9), {}, 30),
        ((10, 8, 20), {"wavelengths": "400:780:20"}, 20),
        ((10, 8, 20), {"band_axis": 2}, 8),
        ((10, 8, 20), {"band_axis": 1}, 10),
    ],
)
def test_the_axis_of_the_bands(
    tmp_path: Path, shape: tuple[int, int, int], options: dict[str, Any], bands: int
) -> None:
    stored = pixels(*shape)
    values, done = converted(write_mat73(tmp_path / "a.mat", anything=stored), ConversionOptions(**options))
    assert done.bands == bands
    np.testing.assert_array_equal(values, np.moveaxis(stored, shape.index(bands), 0))


@pytest.mark.parametrize("shape", [(10, 8, 20), (7, 7, 7)])
def test_an_axis_that_cannot_be_told(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    source = write_mat5(tmp_path / "a.mat", anything=pixels(*shape))
    with pytest.raises(InputError, match="which axis has the bands\\? Give --band-axis"):
        convert(source, tmp_path / "out.tif", AUTO)


def test_wavelengths_listed_in_the_file(tmp_path: Path) -> None:
    """They tell the axis of the bands too."""
    stored = matrix(10, 8, 20, "uint16")
    source = write_mat73(tmp_path / "a.mat", cube=stored, wavelengths=400 + 5.5 * np.arange(20.0)[:, None])
    values, done = converted(source)
    np.testing.assert_array_equal(values, stored.transpose(2, 0, 1))
    assert done.wavelengths_nm == tuple(400 + 5.5 * i for i in range(20))


def test_wavelengths_of_a_csv(tmp_path: Path) -> None:
    source = write_mat5(tmp_path / "a.mat", cube=matrix(8, 9, 3))
    table = tmp_path / "centres.csv"
    table.write_text("450.5,20\n550,25\n650,30.5\n")
    converted(source, ConversionOptions(wavelengths=str(table)))
    bands = read_info(tmp_path / "out.tif").bands
    assert (bands.wavelengths_nm, bands.fwhm_nm) == ((450.5, 550, 650), (20, 25, 30.5))
    table.write_text("450\n550\n")
    with pytest.raises(UsageError, match=r"2 centres, but .*a\.mat has 3 bands"):
        convert(source, tmp_path / "other.tif", ConversionOptions(wavelengths=str(table)))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"crs": "EPSG:32654"}, UsageError, "--crs places nothing without --transform"),
        ({"crs": "EPSG:0", "transform": "1,0,0,0,-1,5"}, UsageError, "is no CRS"),
        ({"transform": "1,0,0"}, UsageError, "needs the six numbers"),
        ({"transform": "1,0,0,0,0,5"}, UsageError, "needs the six numbers"),
        ({"transform": "a"}, UsageError, "not all are numbers"),
        ({"nodata": 0.5}, UsageError, "is no int16 value"),
        ({"dataset": "icvl"}, InputError, "has no variable rad"),
        ({"dataset": "cave"}, InputError, "CAVE is a folder"),
        ({"dataset": "harvard", "variable": "cube"}, InputError, "has no mask lbl of the image's size"),
        ({"dataset": "chikusei", "variable": "cube"}, InputError, "6 bands where chikusei has 128"),
        ({"dataset": "icvl", "variable": "cube"}, InputError, "bands does not list ascending wavelengths"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    source = write_mat5(tmp_path / "a.mat", cube=matrix(8, 9, 6, "int16"))
    with pytest.raises(error, match=match):
        convert(source, tmp_path / "out.tif", ConversionOptions(**options))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mat"]


def test_matlabs_options_are_refused_for_others(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.tif", pixels(3, 4, 5), crs=UTM33)
    folder = write_pngs(tmp_path / "toy", pixels(3, 4, 5, "uint8"))
    for source in (raster, folder):
        for options in ({"variable": "x"}, {"band_axis": 1}, {"orientation": "rot90"}):
            with pytest.raises(UsageError, match=r"is for \.mat files"):
                convert(source, tmp_path / "out.tif", ConversionOptions(**options))
    with pytest.raises(InputError, match=r"icvl comes in \.mat files"):
        convert(folder, tmp_path / "out.tif", ConversionOptions(dataset="icvl"))


def test_nothing_is_lost(tmp_path: Path) -> None:
    source = write_mat5(tmp_path / "a.mat", cube=matrix(8, 9, 6))
    before = source.read_bytes()
    with pytest.raises(UsageError, match="is an input"):
        convert(source, tmp_path / "." / "a.mat", ConversionOptions(overwrite=True))
    (tmp_path / "out.tif").write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        convert(source, tmp_path / "out.tif", AUTO)
    assert (source.read_bytes(), (tmp_path / "out.tif").read_bytes()) == (before, b"mine")
    raster = write_tif(tmp_path / "r.tif", pixels(3, 4, 5))
    with pytest.raises(UsageError, match="is an input"):
        convert(raster, raster, ConversionOptions(overwrite=True))


def test_a_mask_that_is_none(tmp_path: Path) -> None:
    source = write_mat5(tmp_path / "a.mat", ref=matrix(8, 9, 31), lbl=np.zeros((8, 9)))
    with pytest.raises(InputError, match="lbl marks all pixels invalid"):
        convert(source, tmp_path / "out.tif", AUTO)


@pytest.mark.parametrize(
    ("dtype", "declared", "asked"),
    [
        ("int16", -9999, -1),
        ("int16", 0, 7),
        ("float32", float("nan"), -1),
        ("float32", -3.4028234663852886e38, 0),
    ],
)
def test_another_nodata_value_is_written_into_the_holes(
    tmp_path: Path, dtype: str, declared: float, asked: float
) -> None:
    values = pixels(3, 8, 9, dtype)
    values[:, 0, 0] = asked  # measured, and what the holes shall be
    values[:, 2:4, 3:5] = declared
    source = write_tif(tmp_path / "a.tif", values, nodata=declared)
    convert(source, tmp_path / "b.tif", ConversionOptions(nodata=asked))
    with open_raster(source) as old, open_raster(tmp_path / "b.tif") as new:
        assert new.info.nodata == asked
        assert (new.read_stored()[:, 2:4, 3:5] == asked).all()
        assert np.array_equal(np.isnan(new.read()), np.isnan(old.read()))
        assert np.nanmax(np.abs(new.read() - old.read())) <= 1
