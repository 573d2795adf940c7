"""Pairs whose geometry is known: LR pixels seen through a PSF of any width or kernel, from wherever they lie."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.registration import PairBlock
from tests.support.rasters import NORTH_UP
from tests.support.scenes import write_cube

Cube = NDArray[np.float32]
Doubles = NDArray[np.float64]
Point = tuple[float, float]
SIGMAS = 2 * math.sqrt(2 * math.log(2))  # in a full width at half maximum


def lattice(sides: tuple[int, int], ratio: float) -> Doubles:
    """Rows and columns (2, h, w), in LR pixels, of the whole LR pixels of an HR image of these sides."""
    return np.mgrid[: int(sides[0] // ratio), : int(sides[1] // ratio)].astype(np.float64)


def turned(sides: tuple[int, int], ratio: float, degrees: float, scale: float) -> Doubles:
    """The displacements (2, h, w), in LR pixels, of an LR grid turned and scaled about its middle."""
    grid = lattice(sides, ratio)
    middle = (np.array(grid.shape[1:]) - 1)[:, None, None] / 2
    down, right = grid - middle
    angle = math.radians(degrees)
    rows = scale * (down * math.cos(angle) - right * math.sin(angle))
    cols = scale * (down * math.sin(angle) + right * math.cos(angle))
    return np.stack([rows - down, cols - right])


def seen_at(truth: Cube, ratio: float, places: Doubles, fwhm: Point = (1.0, 1.0)) -> Cube:
    """A truth (B, H, W) as LR pixels at `places` (2, h, w), in LR pixels, see it; FWHM in shares of the ratio.

    By a blur of the whole and splines, which have nothing in common with the package's taps.
    """
    sigmas = [width * ratio / SIGMAS for width in fwhm]
    at = (places + 0.5) * ratio - 0.5
    blurred = (
        ndimage.gaussian_filter(band.astype(np.float64), sigmas, truncate=3, mode="reflect") for band in truth
    )
    return np.stack([ndimage.map_coordinates(band, at, order=5, mode="reflect") for band in blurred]).astype(
        np.float32
    )


def seen_through(truth: Cube, ratio: int, rows: Doubles, cols: Doubles) -> Cube:
    """A truth seen through optics, kernels of HR pixels along rows and columns, by pixels that are area means."""
    for axis, kernel in ((1, rows), (2, cols)):
        truth = ndimage.convolve1d(truth, kernel, axis=axis, mode="reflect")
    bands, height, width = truth.shape
    return np.asarray(
        truth.reshape(bands, height // ratio, ratio, width // ratio, ratio).mean(axis=(2, 4)), np.float32
    )


def noisy(values: Cube, share: float, seed: int = 0) -> Cube:
    """With white noise of a share of each band's spread."""
    spread = values.std(axis=(1, 2), keepdims=True)
    noise = np.random.default_rng(seed).normal(size=values.shape)
    return np.asarray(values + share * spread * noise, np.float32)


def block(hsi: Cube, msi: Cube, ratio: float, offset: Point = (0.0, 0.0)) -> PairBlock:
    """Both without holes, the LR-HSI's first pixel beginning so many HR pixels into the MSI."""
    valid, msi_valid = np.ones(hsi.shape[1:], bool), np.ones(msi.shape[1:], bool)
    rows, cols = (AxisPlacement(float(ratio), start) for start in offset)
    return PairBlock(hsi, valid, msi, msi_valid, rows, cols)


def written(
    folder: Path, hsi: Cube, msi: Cube, ratio: float, by: Point = (0.0, 0.0), **options: Any
) -> tuple[Path, Path]:
    """A pair on disk, whose LR-HSI states a place `by` LR pixels off."""
    folder.mkdir(exist_ok=True)
    stated = NORTH_UP @ Affine.translation(by[1], by[0])
    fine = NORTH_UP @ Affine.scale(1 / ratio)
    return (
        write_cube(folder / "lr.tif", hsi, transform=stated, **options),
        write_cube(folder / "msi.tif", msi, transform=fine, **options),
    )
