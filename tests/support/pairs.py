"""Pairs of LR-HSI and HR-MSI on disk whose truth is known: in register, displaced or of other ground."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.places import REAL_SCENES
from tests.support.rasters import NORTH_UP
from tests.support.scenes import read, textured, write_cube

BANDS, MSI_BANDS = 8, 3
FINE = NORTH_UP @ Affine.scale(1 / 4)
BERLIN = REAL_SCENES / "berlin"
Point = tuple[float, float]
RATIO, SIDE = 4, 160
BY = (0.4, -0.7)
RESPONSES = [
    ("metadata", 3, "wavelengths", [(1,), (2,), (3,)], False),
    ("CSV", 3, "srf srf.csv", [(2, 3), (4,), (6, 7)], True),
    ("sentinel-2b", 4, "srf sentinel-2b", [(2, 3), (4,), (7,), ()], True),
    ("estimate", 3, "estimate", [(1, 2, 3), (4, 6), (7, 8)], True),
]


def see(cube: NDArray[Any]) -> NDArray[Any]:
    """An MSI of three bands: means of neighbouring bands of the cube."""
    return np.stack([part.mean(axis=0) for part in np.array_split(cube, MSI_BANDS)])


def write_pair(
    folder: Path,
    height: int = 64,
    width: int = 72,
    ratio: int = 4,
    *,
    seed: int = 0,
    bands: int = BANDS,
    lr_holes: Sequence[tuple[int, int]] = (),
    msi_holes: Any = None,
    **options: Any,
) -> tuple[Path, Path]:
    """A textured scene as LR-HSI (block means; holes are (row, column)) and HR-MSI (holes: an index)."""
    truth = textured(bands, height, width, seed)
    lr = truth.reshape(bands, height // ratio, ratio, width // ratio, ratio).mean(axis=(2, 4))
    for row, col in lr_holes:
        lr[:, row, col] = np.nan
    msi = see(truth)
    if msi_holes is not None:
        msi[msi_holes] = np.nan
    fine = NORTH_UP @ Affine.scale(1 / ratio)
    return (
        write_cube(folder / "lr.tif", lr, **options),
        write_cube(folder / "msi.tif", msi, **{"transform": fine, **options}),
    )


def displaced(
    folder: Path,
    by: Point = BY,
    *,
    side: int = SIDE,
    holes: Any = None,
    place: Affine = NORTH_UP,
    **options: Any,
) -> tuple[Path, Path]:
    """A pair of known truth, `textured(BANDS, side, side)`, whose LR-HSI states a place `by` LR pixels off."""
    truth = textured(BANDS, side, side)
    taps = gaussian_downsampler(AxisPlacement(RATIO, 0.0), side // RATIO, side, RATIO / FWHM_PER_SIGMA)
    lr, msi = apply_taps(truth, taps, taps), see(truth)
    if holes is not None:
        msi[:, 30:60, 20:90] = np.nan
        lr[:, 25:32, 3:9] = np.nan
    stated = place @ Affine.translation(by[1], by[0])
    fine = place @ Affine.scale(1 / RATIO)
    return (
        write_cube(folder / "lr.tif", lr, transform=stated, **options),
        write_cube(folder / "msi.tif", msi, transform=fine, **options),
    )


def moved_copy(source_path: Path, folder: Path, by: Point) -> Path:
    """Without the tags, and with the scale."""
    with rasterio.open(source_path) as source:
        profile: dict[str, Any] = source.profile | {"driver": "GTiff"}
        values: NDArray[Any] = source.read()
        scales = source.scales
    profile["transform"] @= Affine.translation(by[1], by[0])
    with rasterio.open(folder / "moved.tif", "w", **profile) as target:
        target.write(values)
        target.scales = scales
    return folder / "moved.tif"


def unrelated(folder: Path) -> Path:
    return write_cube(
        folder / "other.tif",
        see(textured(8, 160, 160, seed=3)),
        transform=NORTH_UP @ NORTH_UP.scale(1 / 4),
    )


def spectral_pair(folder: Path, *, msi_bands: int = 3, **options: Any) -> tuple[Path, Path]:
    """A pair in register; the MSI is the means of HSI bands 1-3, 4-6 and 7-8, band 5 is marked bad."""
    lr, msi = displaced(folder, (0.0, 0.0), **options)
    values = [*read(msi), *read(msi)][:msi_bands]
    write_cube(msi, np.stack(values), transform=FINE, **options)
    with rasterio.open(lr, "r+") as dataset:
        for band in dataset.indexes:
            dataset.update_tags(band, bbl=str(int(band != 5)))
    return lr, msi
