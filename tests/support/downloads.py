"""What the pages of the guide begin with: made products of one scene under the names of the downloads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.enums import ColorInterp
from scipy import ndimage

from tests.support.containers import PRISMA_SWIR, PRISMA_VNIR, write_emit, write_prisma
from tests.support.pairs import see
from tests.support.products import ENMAP_SCENE, write_enmap, write_sentinel2
from tests.support.rasters import NORTH_UP, write_envi, write_tif
from tests.support.scenes import textured, write_cube

Cube = NDArray[np.floating[Any]]
SAFE = "S2B_MSIL2A_20240615T101031_N0510_R022_T33UUU_20240615T123456.SAFE"
PRISMA = "PRS_L2D_STD_20240402102837_20240402102842_0001.he5"
COARSE = {"B5": 3, "B6": 4, "B7": 5, "B8A": 7, "B11": 11, "B12": 12}
ENMAP_NM = (492, 561, 664, 704.5, 740.5, 783, 832, 865, 905, 911.5, 1350, 1612, 2198)
CLOUD = np.s_[2:4, 5:8]
EMIT = "EMIT_L2A_RFL_001_20240615T101112_2416707_004.nc"


def means(cube: Cube, ratio: int) -> Cube:
    """Means of blocks of ratio x ratio pixels."""
    bands, height, width = cube.shape
    blocks = cube.reshape(bands, height // ratio, ratio, width // ratio, ratio)
    return np.asarray(blocks.mean(axis=(2, 4)))


def counts(reflectance: Cube, dtype: str = "int16") -> NDArray[Any]:
    return np.round(reflectance * 1e4).astype(dtype)


def sentinel2(folder: Path, truth: Cube, bands: tuple[int, ...], transform: Affine) -> None:
    """A zipped SAFE of baseline 05.10, its bands those of the truth, all of its ground vegetation."""
    safe = folder / SAFE
    stored = counts(truth[list(bands)], "uint16") + 1000
    half = counts(means(truth, 2), "uint16") + 1000
    coarse = {name: half[band] for name, band in COARSE.items() if band < len(truth)}
    classes = np.full(half.shape[1:], 4, "uint8")
    write_sentinel2(safe, stored, offsets=(-1000,) * 4, coarse=coarse, transform=transform, mask=classes)
    shutil.make_archive(str(safe.with_suffix("")), "zip", folder, SAFE)
    shutil.rmtree(safe)


def enmap_sentinel2(folder: Path) -> None:
    """EnMAP has a cloud on the pixels of `CLOUD`, by its mask alone."""
    truth = textured(len(ENMAP_NM), 36, 48, seed=3)
    name = ENMAP_SCENE.format(level="L2A")
    stored = counts(means(truth, 3))
    stored[10] = -32768
    cloud = np.zeros(stored.shape[1:], "uint8")
    cloud[CLOUD] = 1
    masks = {"CLOUD": cloud, "CIRRUS": 0 * cloud, "CLOUDSHADOW": 0 * cloud}
    write_enmap(folder / name, stored, ENMAP_NM, swir=(10, 11, 12, 13), empty=[11], masks=masks)
    shutil.make_archive(str(folder / name), "zip", folder, name)
    (folder / f"{name}.zip").rename(folder / f"{name}.ZIP")
    shutil.rmtree(folder / name)
    sentinel2(folder, truth, (0, 1, 2, 6), NORTH_UP @ Affine.scale(1 / 3))


def prisma_pan(folder: Path) -> None:
    rows, cols, ratio = 18, 16, 6
    path = write_prisma(folder / PRISMA, height=rows, width=cols, pan=ratio)
    bands = len(PRISMA_VNIR) + len(PRISMA_SWIR)
    truth = textured(bands, rows * ratio, cols * ratio, seed=5)
    lr = means(truth, ratio)
    parts = {
        "HCO/Data Fields/VNIR_Cube": lr[: len(PRISMA_VNIR)],
        "HCO/Data Fields/SWIR_Cube": lr[len(PRISMA_VNIR) :],
    }
    ends = {"VNIR": (0.0, 1.5), "SWIR": (-0.1, 0.9)}
    with h5py.File(path, "r+") as file:
        for name, cube in parts.items():
            low, high = ends[name.rsplit("/", 1)[1][:4]]
            dn = np.round((np.clip(cube, low, high) - low) / (high - low) * 65535)
            file[f"HDFEOS/SWATHS/PRS_L2D_{name}"][...] = dn.transpose(1, 0, 2).astype("uint16")
        for name in ("HCO/Data Fields/VNIR_PIXEL_L2_ERR_MATRIX", "HCO/Data Fields/SWIR_PIXEL_L2_ERR_MATRIX"):
            file[f"HDFEOS/SWATHS/PRS_L2D_{name}"][...] = 0
        pan = truth[3:7].mean(axis=0)
        file["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/Cube"][...] = np.round(pan / 2 * 65535).astype("uint16")
        file["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/PIXEL_L2_ERR_MATRIX"][...] = 0


def emit_sentinel2(folder: Path) -> None:
    """EMIT in degrees; Sentinel-2 in UTM on the same ground and beyond."""
    truth = textured(5, 132, 132, seed=7)
    fine = Affine(10, 0, 399960, 0, -10, 5800020)
    sentinel2(folder, truth, (0, 1, 2, 3), fine)
    step, side = 0.000542, 14
    there = Transformer.from_crs(32633, 4326, always_xy=True)
    west, north = there.transform(399960 + 400, 5800020 - 200)
    back = Transformer.from_crs(4326, 32633, always_xy=True)
    lon, lat = np.meshgrid(west + step * (np.arange(side) + 0.5), north - step * (np.arange(side) + 0.5))
    x, y = back.transform(lon, lat)
    col, row = ~fine @ (x, y)
    seen = [ndimage.gaussian_filter(band, 6 / 2.355) for band in truth]
    lr = np.stack([ndimage.map_coordinates(band, [row - 0.5, col - 0.5], order=1) for band in seen])
    numbers = np.arange(1, side + 1, dtype=np.int32)
    glt_x, glt_y = np.meshgrid(numbers, numbers)
    path = write_emit(
        folder / EMIT,
        glt_x,
        glt_y,
        height=side,
        width=side,
        geotransform=(west, step, 0, north, 0, -step),
        spatial_ref=CRS.from_epsg(4326).to_wkt(),
    )
    with h5py.File(path, "r+") as file:
        file.attrs["time_coverage_start"] = np.bytes_("2024-06-15T10:11:12+0000")
        file["reflectance"][...] = lr.transpose(1, 2, 0).astype("float32")
        file["sensor_band_parameters/wavelengths"][...] = [492, 560, 665, 833, 1380]
        file["sensor_band_parameters/good_wavelengths"][...] = [1, 1, 1, 1, 0]


def drone(folder: Path) -> None:
    """A cube whose header places it 0.4 LR pixels too far down and 0.7 too far left; RGB of 8 bits with alpha."""
    ratio, bands = 5, 8
    truth = textured(bands, 80, 80, seed=11)
    metre = Affine(1, 0, 383472, 0, -1, 5818302)
    x, y = metre @ (-0.7, 0.4)
    fields = {
        "map info": f"{{UTM, 1, 1, {x}, {y}, 1, 1, 33, North, WGS-84, units=Meters}}",
        "wavelength": "{" + ", ".join(f"{450 + 50 * band}" for band in range(bands)) + "}",
        "wavelength units": "Nanometers",
        "reflectance scale factor": "10000",
    }
    write_envi(folder / "flightline.bsq", counts(means(truth, ratio)), fields=fields)
    rgb = np.round(255 * np.clip(truth[[4, 2, 0]] / 1.2, 0, 1)).astype("uint8")
    colours = np.concatenate([rgb, np.full((1, 80, 80), 255, "uint8")])
    colours[:, :, :3] = 0
    write_tif(folder / "ortho.tif", colours, transform=metre @ Affine.scale(1 / ratio))
    with rasterio.open(folder / "ortho.tif", "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]


def archive_slurm(folder: Path) -> None:
    (folder / "scenes").mkdir()
    for seed, name in enumerate("abc"):
        truth = textured(6, 48, 48, seed)
        write_cube(folder / "scenes" / f"{name}_hsi.tif", means(truth, 4))
        fine = NORTH_UP @ Affine.scale(1 / 4)
        write_cube(folder / "scenes" / f"{name}_msi.tif", see(truth), transform=fine)
