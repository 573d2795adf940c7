"""Every product, from `info` through `check` and `fuse` to a raster on the map: a pixel's value tells its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.raster.reading import open_raster
from tests.support.containers import (
    emit_cube,
    prisma_reflectance,
    write_aviris,
    write_emit,
    write_neon,
    write_prisma,
    write_tanager,
)
from tests.support.front_door import Run
from tests.support.hyperspectral_products import (
    write_aviris_classic,
    write_aviris_ng,
    write_desis,
    write_hyperion,
    write_wyvern,
)
from tests.support.products import write_enmap, write_landsat, write_sentinel2
from tests.support.rasters import NORTH_UP, pixels, write_tif
from tests.support.scenes import textured

HEIGHT, WIDTH, RATIO = 12, 10, 3
WAVELENGTHS = (490.5, 560.25, 665.75, 842.0)


@dataclass(frozen=True)
class Shipped:
    """What is typed, and what is in it: physical values (bands, rows, columns), NaN where there is nothing."""

    given: Path
    name: str
    values: NDArray[Any]
    wavelengths: Sequence[float]
    fwhm: Sequence[float]
    transform: Affine
    epsg: int
    dtype: str = "float32"
    scale: float = 1.0
    bad: tuple[int, ...] = ()
    converted: bool = False


def prisma(folder: Path) -> Shipped:
    lengths, values = prisma_reflectance(height=HEIGHT, width=WIDTH)
    return Shipped(
        given=write_prisma(folder / "PRS_L2D.he5", height=HEIGHT, width=WIDTH, pan=1),
        name="PRISMA L2D",
        values=values,
        wavelengths=np.round(lengths, 2).tolist(),
        fwhm=np.round(lengths / 100, 4).tolist(),
        transform=Affine(30, 0, 547452.5, 0, -30, 5953067.5),
        epsg=32632,
        converted=True,
    )


def emit(folder: Path) -> Shipped:
    """The swath lies upside down on the ground, whose first column and last row it does not reach."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    seen = (cols > 0) & (rows < HEIGHT - 1)
    glt_x, glt_y = np.where(seen, cols, 0), np.where(seen, HEIGHT - 1 - rows, 0)
    values = np.full((5, HEIGHT, WIDTH), np.nan)
    values[:, :-1, 1:] = emit_cube(HEIGHT - 1, WIDTH - 1, 5)[::-1].transpose(2, 0, 1)
    return Shipped(
        given=write_emit(folder / "EMIT_L2A_RFL.nc", glt_x, glt_y, height=HEIGHT - 1, width=WIDTH - 1),
        name="EMIT L2A reflectance",
        values=values,
        wavelengths=(381.0, 700.5, 1400.2, 1650.4, 2492.9),
        fwhm=(8.4, 8.5, 8.6, 8.7, 8.8),
        transform=Affine(0.000542, 0, 61.64, 0, -0.000542, 36.39),
        epsg=4326,
        bad=(2,),
        converted=True,
    )


def aviris_3(folder: Path, name: str = "AV320231008t151046_005_L2A_OE_0b3ba7f1_RFL_ORT.nc") -> Shipped:
    values = pixels(4, HEIGHT, WIDTH, "float32") / np.float32(300)
    values[:, 0, 0] = np.nan
    return Shipped(
        given=write_aviris(folder / name, height=HEIGHT, width=WIDTH),
        name=f"AVIRIS-{name[2]} reflectance",
        values=values,
        wavelengths=(400.5, 900.25, 1600.5, 2400.0),
        fwhm=(7.5, 7.6, 7.7, 7.8),
        transform=Affine(4, 0, 550000, 0, -4, 3790000),
        epsg=32611,
        converted=True,
    )


def aviris_5(folder: Path) -> Shipped:
    return aviris_3(folder, "AV520250508t173511_000_L2A_OE_1c2d3e4f_RFL_ORT.nc")


def neon(folder: Path) -> Shipped:
    values = pixels(5, HEIGHT, WIDTH) * 20 / 10000
    values[:, 0, 0] = np.nan
    return Shipped(
        given=write_neon(folder / "NEON_D02_SERC_DP3_reflectance.h5", height=HEIGHT, width=WIDTH),
        name="NEON AOP reflectance",
        values=values,
        wavelengths=(381.5, 700.0, 1400.0, 1600.5, 2510.0),
        fwhm=(5.8, 5.9, 6.0, 6.1, 6.2),
        transform=Affine(1, 0, 368000, 0, -1, 4307000),
        epsg=32618,
        dtype="int16",
        scale=1e-4,
        bad=(2,),
        converted=True,
    )


def tanager(folder: Path) -> Shipped:
    values = pixels(4, HEIGHT, WIDTH, "float32") / np.float32(300)
    values[:, 5, 0] = np.nan
    return Shipped(
        given=write_tanager(folder / "20250225_ortho_sr_hdf5.h5", height=HEIGHT, width=WIDTH),
        name="Tanager ortho surface reflectance",
        values=values,
        wavelengths=(400.5, 900.25, 1400.5, 2400.0),
        fwhm=(5.5, 5.6, 5.7, 5.8),
        transform=Affine(30, 0, 300000, 0, -30, 4000000),
        epsg=32611,
        bad=(2,),
        converted=True,
    )


def _scaled(fill: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Stored values with a hole, and what they stand for."""
    stored = pixels(4, HEIGHT, WIDTH) * 20
    stored[:, 7, 2] = fill
    return stored, np.where(stored == fill, np.nan, stored * 1e-4)


def enmap(folder: Path) -> Shipped:
    stored, values = _scaled(-32768)
    given = write_enmap(folder / "ENMAP", stored, WAVELENGTHS).parent
    widths = (5.1, 5.2, 5.3, 5.4)
    return Shipped(given, "EnMAP L2A", values, WAVELENGTHS, widths, NORTH_UP, 32633, "int16", 1e-4)


def desis(folder: Path) -> Shipped:
    stored, values = _scaled(-32768)
    given = write_desis(folder / "DESIS", stored, WAVELENGTHS).parent
    return Shipped(given, "DESIS L2A", values, WAVELENGTHS, (3.5,) * 4, NORTH_UP, 32633, "int16", 1e-4)


def wyvern(folder: Path) -> Shipped:
    stored, values = _scaled(0)
    given = write_wyvern(folder, stored.astype("uint16"), WAVELENGTHS, transform=NORTH_UP)
    return Shipped(given, "GTiff", values, WAVELENGTHS, (15.0,) * 4, NORTH_UP, 32633, "uint16", 1e-4)


def aviris_ng(folder: Path) -> Shipped:
    values = pixels(4, HEIGHT, WIDTH, "float32") / np.float32(300)
    values[:, 7, 2] = np.nan
    stored = np.where(np.isnan(values), np.float32(-9999), values)
    given = write_aviris_ng(folder, stored, WAVELENGTHS)
    place = Affine(30, 0, 500000, 0, -30, 5600000)
    return Shipped(given, "ENVI", values, WAVELENGTHS, (5.5,) * 4, place, 32633)


def aviris_classic(folder: Path) -> Shipped:
    """Two spectrometers that overlap, of other gains; the centres are the `.spc`'s."""
    gains, lengths = (300.0, 300.0, 600.0, 1200.0), (560.25, 667.5, 655.5, 2300.0)
    stored = pixels(4, HEIGHT, WIDTH) * 20
    stored[:, 7, 2] = -50
    values = np.where(stored == -50, np.nan, stored / np.reshape(gains, (4, 1, 1)))
    given = write_aviris_classic(folder / "f080611t01p00r07rdn_c", stored, lengths, gains)
    place = Affine(30, 0, 500000, 0, -30, 5600000)
    return Shipped(given, "AVIRIS-Classic L1B", values, lengths, (9.5,) * 4, place, 32633)


def hyperion(folder: Path) -> Shipped:
    stored = pixels(198, HEIGHT, WIDTH) * 20
    stored[:, 7, 2] = 0
    with open_raster(write_hyperion(folder / "EO1H", stored)) as reader:
        bands = reader.info.bands
    detectors = np.where(np.arange(198) < 50, 40, 80)
    # The bands 77 and 78 lie before 56 and 57 of the other detector, which they overlap.
    order = [*range(48), 50, 48, 51, 49, *range(52, 198)]
    values = (np.where(stored == 0, np.nan, stored) / detectors[:, None, None])[order]
    lengths, widths = bands.wavelengths_nm or (), bands.fwhm_nm or ()
    return Shipped(folder / "EO1H", "Hyperion L1T", values, lengths, widths, NORTH_UP, 32633)


FAMILIES: dict[str, Callable[[Path], Shipped]] = {
    make.__name__: make
    for make in (
        prisma,
        emit,
        aviris_3,
        aviris_5,
        neon,
        tanager,
        enmap,
        desis,
        wyvern,
        aviris_ng,
        aviris_classic,
        hyperion,
    )
}


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name == "hyperion")) for name in FAMILIES]
)
def test_from_info_through_check_to_a_fused_raster(emrdiff: Run, tmp_path: Path, family: str) -> None:
    """A third of the pixel: the middle one of the nine has, by cubic convolution, the value of theirs."""
    (tmp_path / "in").mkdir()
    shipped = FAMILIES[family](tmp_path / "in")
    cube, msi, fused = shipped.given, tmp_path / "msi.tif", tmp_path / "fused.tif"
    if shipped.converted:
        cube = tmp_path / "cube.tif"
        refused = emrdiff("info", shipped.given)
        assert refused.code == 3
        assert f"is {shipped.name}: convert it first: `emrdiff convert {shipped.given} " in refused.err
        assert emrdiff("convert", shipped.given, cube).code == 0
    told = json.loads(emrdiff("info", cube, "--json").out)
    assert told["driver"] == ("GTiff" if shipped.converted else shipped.name)
    assert told["wavelengths_nm"] == pytest.approx(shipped.wavelengths, rel=1e-6)
    fine = shipped.transform @ Affine.scale(1 / RATIO)
    crs = f"EPSG:{shipped.epsg}"
    write_tif(
        msi, textured(2, HEIGHT * RATIO, WIDTH * RATIO, seed=1).astype("float32"), crs=crs, transform=fine
    )
    assert json.loads(emrdiff("check", cube, msi, "--json").out)["ratio"] == [RATIO, RATIO]
    ended = emrdiff("fuse", cube, msi, fused, "--method", "bicubic", "--register", "off", "--no-physical")
    assert ended.code == 0, ended.err
    with rasterio.open(fused) as opened:
        assert opened.transform.almost_equals(fine, 1e-6 * fine.a)
        assert opened.crs.to_epsg() == shipped.epsg
        assert (opened.dtypes[0], opened.scales[0]) == (shipped.dtype, pytest.approx(shipped.scale))
    with open_raster(fused) as reader:
        bands, values = reader.info.bands, reader.read()
    assert bands.wavelengths_nm == pytest.approx(shipped.wavelengths, rel=1e-6)
    assert bands.fwhm_nm == pytest.approx(shipped.fwhm, rel=1e-4)
    assert bands.bad == shipped.bad
    good = [band for band in range(bands.count) if band not in shipped.bad]
    hole = np.isnan(shipped.values[good]).any(axis=0)
    middles = values[good][:, 1::RATIO, 1::RATIO]
    np.testing.assert_array_equal(np.isnan(middles).any(axis=0), hole)
    np.testing.assert_allclose(
        middles[:, ~hole], shipped.values[good][:, ~hole], rtol=1e-5, atol=shipped.scale * 1e-5
    )


def _msi_of_sentinel2(folder: Path, transform: Affine, values: NDArray[Any]) -> Path:
    stored = np.round(values * 1e4).astype("uint16") + 1000
    stored[:, 20, 11] = 0
    return write_sentinel2(folder / "S2.SAFE", stored, offsets=(-1000,) * 4, transform=transform).parent


def _msi_of_landsat(folder: Path, transform: Affine, values: NDArray[Any]) -> Path:
    stored = np.round((values + 0.2) / 2.75e-05).astype("uint16")
    stored[:, 20, 11] = 0
    return write_landsat(folder / "LC08", stored, transform=transform).parent


@pytest.mark.parametrize(
    ("write", "bands", "names"),
    [
        pytest.param(_msi_of_sentinel2, (1, 2, 3, 5), ["B2", "B3", "B4", "B8"], id="sentinel-2"),
        pytest.param(
            *(_msi_of_landsat, (0, 1, 2, 3, 5, 6, 7), [f"B{i}" for i in range(1, 8)]),
            id="landsat",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_folder_and_a_folder_are_fused_as_typed(
    emrdiff: Run, tmp_path: Path, write: Callable[..., Path], bands: tuple[int, ...], names: list[str]
) -> None:
    """`emrdiff fuse ENMAP_FOLDER S2.SAFE out.tif`, and Landsat's folder in its place; the MSI's hole is one."""
    lengths = (440.0, 482.5, 560.0, 660.0, 740.0, 850.0, 1610.0, 2200.0)
    truth = textured(8, 36, 36, seed=3)
    lr = np.round(truth.reshape(8, 12, RATIO, 12, RATIO).mean(axis=(2, 4)) * 1e4).astype("int16")
    enmap_folder = write_enmap(tmp_path / "ENMAP", lr, lengths).parent
    fine = NORTH_UP @ Affine.scale(1 / RATIO)
    msi = write(tmp_path, fine, truth[list(bands)])
    assert json.loads(emrdiff("info", msi, "--json").out)["band_names"] == names
    ended = emrdiff("fuse", enmap_folder, msi, tmp_path / "out.tif")
    assert ended.code == 0, ended.err
    with rasterio.open(tmp_path / "out.tif") as fused:
        assert fused.transform.almost_equals(fine, 1e-6)
        assert (fused.dtypes[0], fused.scales[0], fused.nodata) == ("int16", 1e-4, -32768)
        values = fused.read()
        assert [float(fused.tags(i)["wavelength"]) for i in fused.indexes] == list(lengths)
    assert (values[:, 20, 11] == -32768).all()
    valid = values[3] != -32768
    assert (~valid).sum() == 1
    for band in bands:
        assert np.corrcoef(values[band][valid], truth[band][valid])[0, 1] > 0.95


def test_a_turned_flight_line_keeps_its_place(emrdiff: Run, tmp_path: Path) -> None:
    """Values linear in the ground's coordinates: AVIRIS-NG's lines run 30 degrees off the MSI's, and stay there."""
    turned = Affine.translation(500000, 5600000) @ Affine.rotation(30) @ Affine.scale(30, -30)
    cols, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    x, y = turned @ (cols, rows)
    plane = np.stack([x - 500000, y - 5599800, x + y - 6099800]).astype("float32") / 1000 + 1
    cube = write_aviris_ng(tmp_path / "ng", plane, WAVELENGTHS[:3], rotation=30)
    assert json.loads(emrdiff("info", cube, "--json").out)["transform"] == pytest.approx(turned[:6])
    fine = Affine(10, 0, 500000, 0, -10, 5600150)
    msi = write_tif(
        tmp_path / "msi.tif", textured(2, 60, 60, seed=1).astype("float32"), crs="EPSG:32633", transform=fine
    )
    options = ("--method", "bicubic", "--register", "off", "--no-physical")
    assert emrdiff("fuse", cube, msi, tmp_path / "o.tif", *options).code == 0
    with rasterio.open(tmp_path / "o.tif") as fused:
        values, place = fused.read(masked=True), fused.transform
    cols, rows = np.meshgrid(np.arange(values.shape[2]) + 0.5, np.arange(values.shape[1]) + 0.5)
    x, y = place @ (cols, rows)
    expected = np.stack([x - 500000, y - 5599800, x + y - 6099800]) / 1000 + 1
    across, down = ~turned @ (x, y)
    inside = (across > 4) & (across < WIDTH - 4) & (down > 4) & (down < HEIGHT - 4)
    assert inside.sum() > 30
    np.testing.assert_allclose(values.filled(np.nan)[:, inside], expected[:, inside], atol=2e-4)
