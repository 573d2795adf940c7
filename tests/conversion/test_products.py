"""Products in HDF5 and netCDF: place, wavelengths, FWHM, scale, masks and every pixel as the product has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.conversion.convert import Conversion, ConversionOptions, convert
from emrdiff_cli.errors import EmrdiffError, InputError, UsageError
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster_info import RasterInfo
from tests.support.containers import (
    PRISMA_CENTRE,
    PRISMA_VNIR,
    emit_cube,
    prisma_dn,
    prisma_pan_dn,
    prisma_reflectance,
    write_aviris,
    write_emit,
    write_neon,
    write_prisma,
    write_tanager,
)
from tests.support.front_door import Run
from tests.support.places import REAL_SCENES
from tests.support.rasters import pixels
from tests.support.scenes import textured

PRODUCTS = REAL_SCENES / "products"
L2D_TREE = PRODUCTS / "PRS_L2D_STD_20240402102837_20240402102842_0001_he5.json"
EMIT_TABLES = PRODUCTS / "EMIT_L2A_MASK_001_20220827T060753_9999999_999.nc"


def opened(
    source: Path, name: str = "out.tif", **options: Any
) -> tuple[RasterInfo, NDArray[np.float32], Conversion]:
    """Convert, and reopen: what is known, and physical values with NaN for holes."""
    output = source.parent / name
    done = convert(source, output, ConversionOptions(**options))
    with open_raster(output) as reader:
        return reader.info, reader.read(), done


def test_prisma_is_joined_scaled_masked_and_placed(tmp_path: Path) -> None:
    info, values, done = opened(write_prisma(tmp_path / "p.he5"))
    lengths, reflectances = prisma_reflectance()
    assert info.bands.wavelengths_nm == pytest.approx(lengths, abs=1e-3)
    assert info.bands.fwhm_nm == pytest.approx(lengths / 100, rel=1e-4)
    assert info.bands.names is not None
    assert info.bands.names[0] == "VNIR 7"
    assert info.bands.names[-1] == "SWIR 1"
    np.testing.assert_allclose(values, reflectances, atol=2e-7)  # float32, of values up to 1.5
    assert rasterio.CRS.from_wkt(info.grid.crs_wkt).to_epsg() == 32632
    # The corners are the centres of the outer pixels.
    assert info.grid.transform.almost_equals(Affine(30, 0, 547452.5, 0, -30, 5953067.5), 1e-6)
    assert (done.dataset, done.masked_pixels, done.notes) == ("PRISMA L2D", 7 + 2, ())
    assert info.tags["acquisition_time"] == "2024-04-02T10:28:37.932000"


def test_prisma_pan_has_the_cubes_edges_at_a_sixth_of_its_pixels(tmp_path: Path) -> None:
    info, values, done = opened(write_prisma(tmp_path / "p.he5"), pan=True)
    dn = prisma_pan_dn(48, 42).astype(float)
    np.testing.assert_allclose(values[0], np.where(dn == 0, np.nan, dn * 2 / 65535), atol=2e-7)
    assert info.grid.transform.almost_equals(Affine(5, 0, 547452.5, 0, -5, 5953067.5), 1e-6)
    assert done.masked_pixels == 6 * 42


def test_prisma_corners_are_told_by_its_own_latitude_and_longitude(tmp_path: Path) -> None:
    place = Affine(30, 0, 547452.5, 0, -30, 5953067.5)
    edges, _, _ = opened(write_prisma(tmp_path / "e.he5", corners_at_edges=True), "e.tif")
    alone, _, _ = opened(write_prisma(tmp_path / "a.he5", geolocation=False), "a.tif")
    assert edges.grid.transform.almost_equals(place, 1e-6)
    assert alone.grid.transform.almost_equals(place, 1e-6)
    moved = write_prisma(tmp_path / "m.he5")
    with h5py.File(moved, "r+") as file:
        file.attrs["Product_ULcorner_easting"] -= 300
        file.attrs["Product_LRcorner_easting"] -= 300
    _, _, done = opened(moved, "m.tif")
    assert "300.0 m" in done.notes[0]


@pytest.mark.parametrize(("level", "quantity"), [("1", "radiance"), ("2C", "reflectance")])
def test_prisma_in_the_sensors_geometry_says_so(tmp_path: Path, level: str, quantity: str) -> None:
    source = write_prisma(tmp_path / "p.he5", level=level)
    info, values, done = opened(source)
    assert not info.grid.georeferenced
    assert "no map georeference" in done.notes[0]
    assert info.tags["quantity"] == quantity
    if level == "1":
        dn = prisma_dn("Vnir", 7, 8, 7)
        np.testing.assert_allclose(values[0, :2], dn[:2, 6] / 100, rtol=1e-6)


def test_prismas_level_1_masks_pixels_by_its_own_layers(tmp_path: Path) -> None:
    """Errors (255) and what is none of the classes (10) are no clouds, and no cover."""
    cloud, cover = np.zeros((8, 7), "uint8"), np.full((8, 7), 4, "uint8")
    cloud[0, 1:3], cloud[1, 0], cloud[1, 1] = 1, 10, 255
    cover[5, 5], cover[6, :2] = 0, 1
    layers = {"Cloud_Mask": cloud, "LandCover_Mask": cover}
    source = write_prisma(tmp_path / "p.he5", level="1", masks=layers)
    _, plain, _ = opened(source, "plain.tif")
    info, values, done = opened(source, mask=("cloud", "water"))
    hidden = (cloud == 1) | (cover == 0)
    np.testing.assert_array_equal(values, np.where(hidden, np.nan, plain))
    assert info.tags["masked_classes"] == "cloud,water"
    assert f"masked in p.he5: cloud {2 / 56:.2%}, water {1 / 56:.2%}" in done.notes
    _, values, _ = opened(source, "snow.tif", mask=("snow",))
    np.testing.assert_array_equal(values, np.where(cover == 1, np.nan, plain))


@pytest.mark.parametrize(
    ("level", "layer", "options", "said"),
    [
        ("2D", None, {"mask": ("cloud",)}, "is PRISMA L2D: L1 alone has masks, of cloud, snow, water"),
        ("1", None, {"mask": ("haze",)}, "--mask haze: .* L1 alone has masks, of cloud, snow, water"),
        ("1", None, {"mask": ("cloud",)}, "has no Cloud_Mask, which is written where"),
        ("1", np.zeros((4, 7), "uint8"), {"mask": ("cloud",)}, "Cloud_Mask is not of its cube's size"),
        ("1", np.full((8, 7), 2, "uint8"), {"mask": ("cloud",)}, "Cloud_Mask holds values of no class"),
        ("1", np.zeros((8, 7), "uint8"), {"mask": ("cloud",), "pan": True}, "not with --pan"),
    ],
)
def test_a_mask_that_prisma_does_not_have_is_refused(
    tmp_path: Path, level: str, layer: NDArray[Any] | None, options: dict[str, Any], said: str
) -> None:
    masks = None if layer is None else {"Cloud_Mask": layer}
    source = write_prisma(tmp_path / "p.he5", level=level, masks=masks)
    with pytest.raises(EmrdiffError, match=said):
        convert(source, tmp_path / "out.tif", ConversionOptions(**options))
    assert [path.name for path in tmp_path.iterdir()] == ["p.he5"]


def a_swath() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """A lookup table that turns a swath of 70 x 90 by some 30 degrees on 110 x 120 pixels of ground."""
    row, col = np.mgrid[:110, :120]
    down = np.rint(0.87 * (row - 55) + 0.5 * (col - 60) + 36).astype("int32")
    right = np.rint(0.87 * (col - 60) - 0.5 * (row - 55) + 46).astype("int32")
    seen = (down >= 1) & (down <= 70) & (right >= 1) & (right <= 90)
    return np.where(seen, right, 0), np.where(seen, down, 0)


def orthorectified(glt_x: NDArray[np.int32], glt_y: NDArray[np.int32], cube: NDArray[Any]) -> NDArray[Any]:
    """The definition: the table counts from 1, 0 is nowhere."""
    ground = np.full((cube.shape[2], *glt_x.shape), np.nan)
    for row, col in zip(*np.nonzero(glt_x), strict=True):
        ground[:, row, col] = cube[glt_y[row, col] - 1, glt_x[row, col] - 1]
    return ground


def test_emit_is_put_on_the_ground_by_its_lookup_table(tmp_path: Path) -> None:
    glt_x, glt_y = a_swath()
    info, values, done = opened(write_emit(tmp_path / "e.nc", glt_x, glt_y, height=70, width=90))
    np.testing.assert_array_equal(values, orthorectified(glt_x, glt_y, emit_cube(70, 90, 5)))
    assert info.grid.transform.almost_equals(Affine(0.000542, 0, 61.64, 0, -0.000542, 36.39), 1e-12)
    assert rasterio.CRS.from_wkt(info.grid.crs_wkt).to_epsg() == 4326
    assert info.bands.wavelengths_nm == (381.0, 700.5, 1400.2, 1650.4, 2492.9)
    assert info.bands.fwhm_nm == (8.4, 8.5, 8.6, 8.7, 8.8)
    assert info.bands.bad == (2,)
    assert (info.dtype, info.nodata) == ("float32", -9999)
    assert (done.dataset, done.masked_pixels) == ("EMIT L2A reflectance", int((glt_x == 0).sum()))


def test_aviris_neon_and_tanager_keep_place_values_and_holes(tmp_path: Path) -> None:
    info, values, done = opened(write_aviris(tmp_path / "a.nc"), "a.tif")
    assert done.dataset == "AVIRIS-3 or AVIRIS-5 reflectance"
    stored = pixels(4, 6, 5, "float32") / np.float32(300)
    stored[:, 0, 0] = np.nan
    np.testing.assert_array_equal(values, stored)
    assert info.grid.transform.almost_equals(Affine(4, 0, 550000, 0, -4, 3790000), 1e-9)
    assert info.bands.wavelengths_nm == (400.5, 900.25, 1600.5, 2400.0)
    assert info.bands.fwhm_nm == (7.5, 7.6, 7.7, 7.8)
    alone, _, _ = opened(write_aviris(tmp_path / "b.nc", geotransform=False), "b.tif")
    assert alone.grid.transform.almost_equals(info.grid.transform, 1e-9)

    info, values, done = opened(write_neon(tmp_path / "n.h5"), "n.tif")
    scaled = pixels(5, 6, 4, "int16") * 20 / 10000
    scaled[:, 0, 0] = np.nan
    np.testing.assert_allclose(values, scaled, rtol=1e-6)
    assert (info.dtype, info.scale, info.nodata) == ("int16", 1e-4, -9999)
    assert info.grid.transform.almost_equals(Affine(1, 0, 368000, 0, -1, 4307000), 1e-9)
    assert rasterio.CRS.from_wkt(info.grid.crs_wkt).to_epsg() == 32618
    assert (info.bands.bad, done.masked_pixels) == ((2,), 1)
    assert info.bands.fwhm_nm == (5.8, 5.9, 6.0, 6.1, 6.2)

    info, values, _ = opened(write_tanager(tmp_path / "t.h5"), "t.tif")
    stored = pixels(4, 6, 5, "float32") / np.float32(300)
    stored[:, 5, 0] = np.nan
    np.testing.assert_array_equal(values, stored)
    assert info.grid.transform.almost_equals(Affine(30, 0, 300000, 0, -30, 4000000), 1e-9)
    assert rasterio.CRS.from_wkt(info.grid.crs_wkt).to_epsg() == 32611
    assert info.bands.wavelengths_nm == (400.5, 900.25, 1400.5, 2400.0)
    assert info.bands.bad == (2,)


def edited(change: Callable[[h5py.File], object]) -> Callable[[Path], Path]:
    """A PRISMA product with something changed."""

    def write(path: Path) -> Path:
        write_prisma(path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return write


def _smaller_swir(file: h5py.File) -> None:
    fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
    for name in ("SWIR_Cube", "SWIR_PIXEL_L2_ERR_MATRIX"):
        values = fields[name][:-1]
        del fields[name]
        fields[name] = values


def _vast(file: h5py.File) -> None:
    fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
    del fields["VNIR_Cube"]
    fields.create_dataset("VNIR_Cube", (10**6, 7, 10**6), "uint16", chunks=(10**4, 7, 10**3))


def _huge_chunk(file: h5py.File) -> None:
    fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
    del fields["VNIR_Cube"]
    fields.create_dataset("VNIR_Cube", (8, 7, 7), "uint16", chunks=(2**15, 2**7, 2**7), maxshape=(None,) * 3)


def _linked(file: h5py.File) -> None:
    fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
    del fields["VNIR_Cube"]
    fields["VNIR_Cube"] = h5py.ExternalLink("other.h5", "/cube")


def _short(path: Path) -> Path:
    whole = write_prisma(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def _reshaped(path: Path, *, table: bool) -> Path:
    """AVIRIS of another size than its map grid; what is shipped in sensor geometry has a lookup table."""
    write_aviris(path)
    with h5py.File(path, "r+") as file:
        values = file["reflectance/reflectance"][..., 1:]
        del file["reflectance/reflectance"]
        file["reflectance/reflectance"] = values
        file.attrs["title"] = "AVIRIS-5 L1B Calibrated Radiance"
        if table:
            file["geolocation_lookup_table/sample"] = np.ones((6, 5), "int32")
    return path


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "cut short": (_short, "cut short"),
    "detectors of two sizes": (edited(_smaller_swir), "VNIR and SWIR differ in size: a mixed product"),
    "lists of other bands": (
        edited(lambda file: file.attrs.__setitem__("List_Cw_Vnir", PRISMA_VNIR[1:])),
        "List_Cw_Vnir does not list 7 bands",
    ),
    "no scale": (
        edited(lambda file: file.attrs.__delitem__("L2ScaleSwirMax")),
        "L2ScaleSwirMax is no number",
    ),
    "no CRS": (edited(lambda file: file.attrs.__setitem__("Epsg_Code", 0)), "none known to PROJ"),
    "more than it holds": (edited(_vast), "more than its"),
    "chunks beyond memory": (edited(_huge_chunk), "chunks of 1024 MB"),
    "a link out of the file": (edited(_linked), "has no HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"),
    "a table beyond the swath": (
        lambda path: write_emit(path, *a_swath(), height=60, width=90),
        "lookup table points beyond its 60 x 90 pixels",
    ),
    "a table without its cube": (
        lambda path: write_emit(path, *a_swath(), height=70, width=90, cube="mask"),
        "without reflectance or radiance: convert the RFL",
    ),
    "coordinates elsewhere": (lambda path: write_aviris(path, moved=8.0), "elsewhere than its GeoTransform"),
    "AVIRIS-5's radiance": (
        lambda path: _reshaped(path, table=True),
        "AVIRIS-5 reflectance in sensor geometry, .* take the orthorectified",
    ),
    "a cube of another size": (
        lambda path: _reshaped(path, table=False),
        r"has the shape \(4, 6, 4\), its axes \(4, 6, 5\): a mixed product",
    ),
    "a swath": (lambda path: write_tanager(path, layout="SWATHS"), "take the ortho product"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_product_is_told_in_one_line_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    write, said = WRONG[case]
    source = write(tmp_path / "p.h5")
    with pytest.raises(InputError, match=said) as caught:
        convert(source, tmp_path / "out.tif", ConversionOptions())
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]


def test_a_name_that_is_no_utf8_is_passed_over(tmp_path: Path) -> None:
    source = write_prisma(tmp_path / "p.he5")
    with h5py.File(source, "r+") as file:
        file["HDFEOS/SWATHS"].create_group(b"\x80\xff")
    assert opened(source)[2].dataset == "PRISMA L2D"


def test_options_of_other_formats_are_refused(tmp_path: Path) -> None:
    neon = write_neon(tmp_path / "n.h5")
    for options in ({"pan": True}, {"variable": "x"}, {"dataset": "icvl"}):
        with pytest.raises(UsageError):
            convert(neon, tmp_path / "out.tif", ConversionOptions(**options))


def test_commands_name_the_product_and_the_line_that_converts_it(
    tmp_path: Path, emrdiff: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_prisma(tmp_path / "PRS L2D.he5", height=24, width=24)
    line = ["convert", source.name, "PRS L2D.tif"]
    commands = (
        ["info", source.name],
        ["check", source.name, "m.tif"],
        ["fuse", source.name, "m.tif", "f.tif"],
    )
    for command in commands:
        told = emrdiff(*command)
        assert told.code == 3
        assert "is PRISMA L2D: convert it first: `emrdiff convert 'PRS L2D.he5' 'PRS L2D.tif'`" in told.err
    assert emrdiff(*line).code == 0
    assert emrdiff("info", "PRS L2D.tif").code == 0
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["a"] = [1]
    assert "of no product that is known (PRISMA" in emrdiff("info", "some.h5").err


def test_prisma_is_fused_with_its_own_pan(tmp_path: Path, emrdiff: Run) -> None:
    """As it is typed: every fused pixel lies nearest to the truth where it is, and nearer than upsampled ones."""
    scene = np.clip(textured(9, 144, 144, seed=2), 0.01, 0.85)
    source = write_prisma(tmp_path / "p.he5", height=24, width=24, scene=scene)
    cube, pan, fused = (str(tmp_path / name) for name in ("cube.tif", "pan.tif", "fused.tif"))
    assert emrdiff("convert", str(source), cube).code == 0
    assert emrdiff("convert", str(source), pan, "--pan").code == 0
    done = emrdiff("fuse", cube, pan, fused)
    assert done.code == 0, done.err
    info = read_info(Path(fused))
    assert (info.grid.height, info.grid.width) == (144, 144)
    assert info.grid.transform.almost_equals(Affine(5, 0, 547452.5, 0, -5, 5953067.5), 1e-6)
    assert info.bands.wavelengths_nm == read_info(Path(cube)).bands.wavelengths_nm
    with open_raster(Path(fused)) as reader:
        found = reader.read()
    plain = scene.reshape(9, 24, 6, 24, 6).mean(axis=(2, 4)).repeat(6, axis=1).repeat(6, axis=2)
    inner = np.s_[:, 42:-12, 42:-12]  # beside the pixels of no worth

    def error(image: NDArray[np.floating[Any]], *moved: int) -> float:
        return float(np.square(np.roll(image, moved, (1, 2))[inner] - scene[inner]).mean())

    assert error(found, 0, 0) < 0.5 * error(plain, 0, 0)
    assert all(error(found, 0, 0) < 0.7 * error(found, *one) for one in ((0, 1), (0, -1), (1, 0), (-1, 0)))


@pytest.mark.skipif(not L2D_TREE.exists(), reason="needs the products' metadata beside the repository")
def test_the_true_prisma_tree(tmp_path: Path) -> None:
    """Its bands, and its corners: centres of the outer pixels, by the Latitude and Longitude of eight pixels.

    The tree's geocoding takes the corner for the centre of the first pixel. The places of single pixels in the
    product's own arrays bear that out for the cube and, from the same edges, for the PAN.
    """
    from pyproj import Transformer

    tree = json.loads(L2D_TREE.read_text())["expectedContent"]
    to_map = Transformer.from_crs(4326, 32632, always_xy=True)
    to_ground = Transformer.from_crs(32632, 4326, always_xy=True)
    known = tree["geoCoding"]["coordinates"][0]
    x, y = to_map.transform(known["lon"], known["lat"])
    # There a position counts from the outer edge of the first pixel.
    centre = (x - 30 * known["x"] + 15, y + 30 * known["y"] - 15)
    assert centre == pytest.approx(PRISMA_CENTRE, abs=0.01)

    source = write_prisma(tmp_path / "p.he5")
    grids = {
        "HCO": opened(source)[0].grid.transform,
        "PCO": opened(source, "pan.tif", pan=True)[0].grid.transform,
    }
    told = 0
    for band in tree["bands"]:
        swath, _, name = band["name"].partition("_")
        if name in ("Latitude", "Longitude"):
            for pixel in band["expectedPixels"]:
                place = grids[swath] @ (pixel["x"] + 0.5, pixel["y"] + 0.5)
                degrees = to_ground.transform(*place)[name == "Latitude"]
                assert degrees == pytest.approx(pixel["value"], abs=1e-5), band["name"]  # some 1 m
                told += 1
    assert told == 8

    spectral = {
        title: [band for band in tree["bands"] if band["name"].startswith(f"HCO_{title}_Rrs")]
        for title in ("Vnir", "Swir")
    }
    with h5py.File(source, "r+") as file:
        fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
        for title, bands in spectral.items():
            count = {"Vnir": 66, "Swir": 173}[title]
            listed = np.zeros((2, count), "float32")
            for band in bands:
                at = int(band["name"].rpartition("_")[2]) - 1
                listed[:, at] = band["spectralWavelength"], band["spectralBandwidth"]
            file.attrs[f"List_Cw_{title}"], file.attrs[f"List_Fwhm_{title}"] = listed
            file.attrs[f"List_Cw_{title}_Flags"] = (listed[0] > 0).astype("int32")
            for name in (f"{title.upper()}_Cube", f"{title.upper()}_PIXEL_L2_ERR_MATRIX"):
                del fields[name]
            fields[f"{title.upper()}_Cube"] = np.ones((8, count, 7), "uint16")
    info, _, _ = opened(source, "true.tif")
    truth = sorted(float(band["spectralWavelength"]) for bands in spectral.values() for band in bands)
    assert info.bands.count == 63 + 171
    assert info.bands.wavelengths_nm == pytest.approx(truth, abs=1e-3)


@pytest.mark.skipif(not EMIT_TABLES.exists(), reason="needs the products' metadata beside the repository")
def test_emits_true_lookup_table(tmp_path: Path) -> None:
    with h5py.File(EMIT_TABLES) as true:
        glt_x, glt_y = true["location/glt_x"][:], true["location/glt_y"][:]
        latitude, longitude = true["location/lat"][:], true["location/lon"][:]
        place = {name: true.attrs[name] for name in ("geotransform", "spatial_ref")}
    place["spatial_ref"] = place["spatial_ref"].decode()
    height, width = latitude.shape
    info, values, _ = opened(write_emit(tmp_path / "e.nc", glt_x, glt_y, height=height, width=width, **place))
    np.testing.assert_array_equal(values, orthorectified(glt_x, glt_y, emit_cube(height, width, 5)))
    # What lies at a place of the ground was seen there: within a pixel of the sensor's own geolocation.
    rows, cols = np.nonzero(glt_x)
    step, _, left, _, _, top = tuple(info.grid.transform)[:6]
    x, y = left + (cols + 0.5) * step, top - (rows + 0.5) * step
    seen = glt_y[rows, cols] - 1, glt_x[rows, cols] - 1
    assert np.median(np.abs(longitude[seen] - x)) < 0.5 * step
    assert np.median(np.abs(latitude[seen] - y)) < 0.5 * step
    with pytest.raises(InputError, match="convert the RFL"):
        convert(EMIT_TABLES, tmp_path / "mask.tif", ConversionOptions())
