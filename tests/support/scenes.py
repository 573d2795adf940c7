"""Scenes of reflectance, whole and simulated, as the tests of simulation, pairs, fusion and training have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.raster.reading import ignoring_missing_georeference, open_raster
from emrdiff_cli.simulation import Recipe, simulate_raster
from tests.support.rasters import NORTH_UP, UTM33, write_tif

Cube = NDArray[np.floating[Any]]
COUNT = 1e-4  # reflectance of a stored count
NODATA = -999


def textured(bands: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Reflectance of fields of six materials with sharp borders, shaded, with a road and grain."""
    rng = np.random.default_rng(seed)
    spectra = 0.3 + 0.25 * ndimage.gaussian_filter1d(rng.normal(size=(6, bands)), 2.0, axis=1, mode="wrap")
    fields = ndimage.gaussian_filter(rng.normal(size=(6, height, width)), (0, 4, 4)).argmax(axis=0)
    fields[height // 3 : height // 3 + 2] = 5
    shade = 1 + 0.15 * rng.normal(size=(height, width))
    grain = 0.003 * rng.normal(size=(bands, height, width))
    return np.asarray(np.clip(spectra.T[:, fields] * shade + grain, 0.01, 1.2), np.float32)


def wavelengths(bands: int) -> list[float]:
    return [420.5 + 40 * band for band in range(bands)]


def write_cube(
    path: Path,
    cube: Cube,
    *,
    transform: Affine = NORTH_UP,
    crs: str | None = UTM33,
    count: float | None = COUNT,
    spectral: bool = True,
    **profile: Any,
) -> Path:
    """A GeoTIFF of int16 counts (`count` None: float32) with wavelengths, FWHM and names; NaN is nodata."""
    nodata = np.nan if count is None else NODATA
    stored = cube if count is None else np.where(np.isnan(cube), NODATA, np.rint(cube / count))
    values = stored.astype("float32" if count is None else "int16")
    write_tif(path, values, crs=crs, transform=transform, nodata=nodata, **profile)
    with ignoring_missing_georeference(), rasterio.open(path, "r+") as dataset:
        if count is not None:
            dataset.scales = [count] * len(cube)
        for band, wavelength in enumerate(wavelengths(len(cube)) if spectral else (), 1):
            tags = {"wavelength": str(wavelength), "fwhm": str(5 + band / 10)}
            dataset.update_tags(band, wavelength_units="Nanometers", **tags)
            dataset.set_band_description(band, f"Channel {band}")
    return path


def write_srf(path: Path, bands: int = 8, count: int = 3) -> Path:
    """Triangular responses spread over the wavelengths of so many HSI bands."""
    at = np.arange(wavelengths(1)[0] - 10, wavelengths(bands)[-1] + 10, 5.0)
    centres = np.linspace(at[0], at[-1], count + 2)[1:-1]
    rows = [[nm, *np.clip(1 - np.abs(nm - centres) / 80, 0, 1).round(4)] for nm in at]
    header = ",".join(["wavelength_nm", *(f"M{i}" for i in range(1, count + 1))])
    lines = ["# made for a test", header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path) -> NDArray[np.float32]:
    with open_raster(path) as reader:
        return reader.read()


def simulate(folder: Path, cube: Path, ratio: int = 4, **options: Any) -> tuple[Path, Path, Recipe]:
    srf = folder / "srf.csv"
    if not srf.exists():
        write_srf(srf)
    out = folder / "pair"
    recipe = simulate_raster(cube, out, ratio, str(srf), **options)
    return out / recipe.lr_hsi, out / recipe.hr_msi, recipe
