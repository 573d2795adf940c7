"""Pairs of the geometry's benchmark, made from scenes with a truth: seen through many PSFs, and displaced.

Cubes are (B, H, W) in units of their maximum; four MSI bands are boxes over neighbouring bands. Nothing of the
package degrades here: the pairs do not share its errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import special
from scipy.signal import fftconvolve

from emrdiff_cli.core.sensor.degradation import AxisPsf, Psf
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from emrdiff_cli.raster.reading import open_raster
from tests.support.rasters import NORTH_UP, write_tif

Cube = NDArray[np.float32]
Doubles = NDArray[np.float64]
Point = tuple[float, float]

SIGMA = 1.7  # HR pixels, of the first table's PSFs
SIDE = 21  # HR pixels, of their kernels
HSI_DB, MSI_DB = 35.0, 40.0  # of signal to noise
MOTION = 5.0  # HR pixels
HERMITE = 0.15
NANOMETRES = (400.0, 1600.0)  # of displaced pairs: half of their bands are short of 1000


@dataclass(frozen=True)
class Ground:
    """A truth (B, H, W) and the response (m, B) of the MSI over it."""

    truth: Cube
    response: Doubles

    @property
    def msi(self) -> Cube:
        """The MSI without noise."""
        return np.tensordot(self.response, self.truth, axes=1).astype(np.float32)


@dataclass(frozen=True)
class Displaced:
    """How an LR-HSI lies and sees, against what its raster states and a PSF of FWHM = the ratio.

    `stated`: LR pixels, down and right, by which its raster states another place than its own. `fwhm`: shares of
    the ratio along rows and columns. `swir`: LR pixels by which the second half of the bands lies off the first.
    `scale` and `degrees`: of its grid about the scene's centre.
    """

    stated: Point = (0.0, 0.0)
    fwhm: Point = (1.0, 1.0)
    swir: Point = (0.0, 0.0)
    scale: float = 1.0
    degrees: float = 0.0

    def displacement(self, height: int, width: int) -> Doubles:
        """(2, h, w): LR pixels, down and right, from where the raster states the first bands' pixels to where
        they are.
        """
        row, col = np.mgrid[:height, :width].astype(np.float64)
        down, right = row - (height - 1) / 2, col - (width - 1) / 2
        turn = math.radians(self.degrees)
        rows = self.scale * (down * math.cos(turn) - right * math.sin(turn))
        cols = self.scale * (down * math.sin(turn) + right * math.cos(turn))
        return np.stack([rows - down - self.stated[0], cols - right - self.stated[1]])


DISPLACED: Mapping[str, Displaced] = {
    "exact": Displaced(),
    "displaced by 0.3, -0.6": Displaced(stated=(0.3, -0.6)),
    "displaced by 5, 3": Displaced(stated=(5.0, 3.0)),
    "displaced by 12.3, -7.6": Displaced(stated=(12.3, -7.6)),
    "FWHM 0.8": Displaced(fwhm=(0.8, 0.8)),
    "FWHM 1.2": Displaced(fwhm=(1.2, 1.2)),
    "FWHM 1.4": Displaced(fwhm=(1.4, 1.4)),
    "FWHM 0.9 x 1.3": Displaced(fwhm=(0.9, 1.3)),
    "SWIR off by 0.4": Displaced(swir=(0.24, -0.32)),
    "scaled 0.2 %, rotated 0.3 degrees": Displaced(scale=1.002, degrees=0.3),
}


def read_ground(path: Path, every: int = 1, side: int | None = None) -> Ground:
    """A scene, or its upper left `side` x `side` pixels, in units of its maximum, every so many-th band of it."""
    with open_raster(path) as reader:
        cube = reader.read()[::every, :side, :side]
    return Ground(cube / cube.max(), four_boxes(len(cube)))


def four_boxes(bands: int) -> Doubles:
    """Responses (4, B): blue to near infrared of many bands over 400 to 2500 nm, else spread over all of them.

    From 16 bands on, none sees both halves of them.
    """
    shares = (0.06, 0.10, 0.15, 0.25) if bands > 150 else (0.15, 0.38, 0.62, 0.85)
    reach = 3 if bands > 150 else 2 if bands > 20 else 1
    away = np.abs(np.arange(bands) - np.rint(np.array(shares) * (bands - 1))[:, None])
    boxes = (away <= reach).astype(np.float64)
    return np.asarray(boxes / boxes.sum(axis=1, keepdims=True))


def kernels(sigma: float = SIGMA, side: int = SIDE) -> dict[str, Doubles]:
    """Twelve PSFs (side, side) by name, rows first, each of sum one and about as wide as a Gaussian of `sigma`.

    Airy, Moffat, Lorentzian squared and the parabola have its FWHM, the box its variance; Kolmogorov's has its gain
    at the frequency 1 / (2 pi sigma).
    """
    y, x = np.mgrid[:side, :side] - side // 2.0
    radius = np.hypot(y, x)
    half = sigma * FWHM_PER_SIGMA / 2
    width = round(math.sqrt(12) * sigma)
    box = (width + 1 - width % 2) // 2
    airy = 1.61634 * np.maximum(radius, 1e-6) / half
    found = {
        "Gaussian": _gaussian(y, x, sigma, sigma),
        "Gaussian x 0.7": _gaussian(y, x, 0.7 * sigma, 0.7 * sigma),
        "Gaussian x 1.3": _gaussian(y, x, 1.3 * sigma, 1.3 * sigma),
        "elongated": _gaussian(y, x, 1.4 * sigma, 0.8 * sigma),
        "box": ((np.abs(y) <= box) & (np.abs(x) <= box)).astype(np.float64),
        "Kolmogorov": _kolmogorov(sigma, side),
        "Airy": (2 * special.j1(airy) / airy) ** 2,
        "Moffat": (1 + (2 ** (1 / 2.5) - 1) * (radius / half) ** 2) ** -2.5,
        "Lorentzian squared": (1 + (math.sqrt(2) - 1) * (radius / half) ** 2) ** -2.0,
        "parabolic": np.maximum(0.0, 1 - 0.5 * (radius / half) ** 2),
        "Hermite": _gaussian(y, x, sigma, sigma) * np.maximum(0.0, 1 + HERMITE * ((x / sigma) ** 2 - 1)),
        "motion": _motion(y, x, side),
    }
    return {name: kernel / kernel.sum() for name, kernel in found.items()}


def _gaussian(y: Doubles, x: Doubles, rows: float, cols: float) -> Doubles:
    return np.asarray(np.exp(-0.5 * ((y / rows) ** 2 + (x / cols) ** 2)))


def _kolmogorov(sigma: float, side: int) -> Doubles:
    """Long-exposure turbulence: its gain falls with the frequency to the power of 5/3."""
    frequency = np.fft.fftfreq(side)
    gain = np.exp(-0.5 * (2 * math.pi * sigma * np.hypot(*np.meshgrid(frequency, frequency))) ** (5 / 3))
    return np.asarray(np.fft.fftshift(np.fft.ifft2(gain).real))


def _motion(y: Doubles, x: Doubles, side: int) -> Doubles:
    """A line along the columns, seen through a Gaussian of sigma 1."""
    line = np.zeros((side, side))
    at = np.linspace(-MOTION / 2, MOTION / 2, 51) + side // 2
    for shares, cells in ((1 - at % 1, np.floor(at)), (at % 1, np.floor(at) + 1)):
        np.add.at(line[side // 2], cells.astype(int), shares)
    return np.asarray(fftconvolve(line, _gaussian(y, x, 1.0, 1.0), mode="same"))


def seen_through(cube: Cube, kernel: Doubles, ratio: int) -> Cube:
    """The cube (B, H, W) through a PSF, edges reflected, then means of ratio x ratio pixels."""
    reach = len(kernel) // 2
    edged = np.pad(cube, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    blurred = np.stack([fftconvolve(band, kernel, mode="valid") for band in edged])
    bands, height, width = cube.shape
    blocks = blurred.reshape(bands, height // ratio, ratio, width // ratio, ratio)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)


def noisy(image: Cube, decibels: float, rng: np.random.Generator) -> Cube:
    """With white Gaussian noise at a signal-to-noise ratio of each band's rms."""
    rms = np.sqrt(np.mean(image**2, axis=(1, 2), keepdims=True))
    noise = 10 ** (-decibels / 20) * rms * rng.standard_normal(image.shape)
    return np.asarray(image + noise, np.float32)


def true_psf(name: str, ratio: int) -> Psf | None:
    """The PSF in whole, area means included, of a kernel that is a Gaussian on each axis; None for others."""
    if name != "elongated" and not name.startswith("Gaussian"):
        return None
    kernel = kernels()[name]
    rows, cols = (_axis_psf(kernel.sum(axis=other), ratio) for other in (1, 0))
    return Psf(axes=(rows, cols))


def _axis_psf(line: Doubles, ratio: int) -> AxisPsf:
    """A line of weights followed by means of `ratio`, which is even: nodes lie half an HR pixel apart."""
    weights = np.convolve(line, np.full(ratio, 1 / ratio))
    away = np.arange(len(weights)) - (len(weights) - 1) / 2
    gaussian = AxisPsf(float(np.sqrt(weights @ away**2)))
    nodes = 0.5 * np.arange(2 * math.ceil(away[-1]))
    heights = np.interp(nodes, away, weights / weights.max()) - gaussian.kernel(nodes)
    return AxisPsf(gaussian.sigma_px, tuple(heights.tolist()), 0.5)


def lr_displaced(cube: Cube, ratio: int, how: Displaced) -> Cube:
    """The cube (B, H, W), without noise, in the LR pixels of a grid that lies so, edges reflected.

    Its PSF is a Gaussian cut off at 3 sigma, as the protocol `wald` has it.
    """
    bands, height, width = cube.shape
    grid = height // ratio, width // ratio
    # What the raster states is no matter of the pixels.
    off = how.displacement(*grid) + np.array(how.stated)[:, None, None]
    first, second = cube[: bands // 2], cube[bands // 2 :]
    seen = []
    for part, swir in ((first, (0.0, 0.0)), (second, how.swir)):
        at = np.mgrid[: grid[0], : grid[1]] + off + np.array(swir)[:, None, None]
        seen.append(_gaussian_means(part, (at + 0.5) * ratio - 0.5, [share * ratio for share in how.fwhm]))
    return np.concatenate(seen)


def _gaussian_means(cube: Cube, centres: Doubles, fwhm: Sequence[float]) -> Cube:
    """Means (B, h, w) of a cube about centres (2, h, w), HR pixels."""
    (row, by_row), (col, by_col) = (
        _weights(at, width / FWHM_PER_SIGMA, size)
        for at, width, size in zip(centres, fwhm, cube.shape[1:], strict=True)
    )
    total = np.zeros((len(cube), *centres.shape[1:]))
    for (i, share), (j, other) in product(zip(row, by_row, strict=True), zip(col, by_col, strict=True)):
        total += share * other * cube[:, i, j]
    return np.asarray(total, np.float32)


def _weights(centres: Doubles, sigma: float, size: int) -> tuple[NDArray[np.intp], Doubles]:
    """Indices (n, h, w) of the HR pixels within 3 sigma of centres (h, w) along an axis, and their weights."""
    first = np.ceil(centres - 3 * sigma).astype(np.intp)
    at = first + np.arange(math.floor(6 * sigma) + 1)[:, None, None]
    away = np.abs(at - centres)
    weights = np.where(away <= 3 * sigma + 1e-9, np.exp(-0.5 * (away / sigma) ** 2), 0.0)
    mirrored = at % (2 * size)
    return np.minimum(mirrored, 2 * size - 1 - mirrored), weights / weights.sum(axis=0)


def write_pair(
    folder: Path,
    lr: Cube,
    msi: Cube,
    ratio: int,
    *,
    stated: Point = (0.0, 0.0),
    nanometres: Point | None = None,
) -> tuple[Path, Path]:
    """`lr.tif`, stated to lie so many LR pixels off, and `msi.tif`.

    `nanometres`: the wavelengths of the first and the last band; None: the file tells none.
    """
    coarse = NORTH_UP @ Affine.translation(stated[1], stated[0])
    lr_path = write_tif(folder / "lr.tif", lr, transform=coarse)
    if nanometres is not None:
        with rasterio.open(lr_path, "r+") as dataset:
            for band, centre in enumerate(np.linspace(*nanometres, len(lr)), 1):
                dataset.update_tags(band, wavelength=f"{centre:.2f}", wavelength_units="Nanometers")
    return lr_path, write_tif(folder / "msi.tif", msi, transform=NORTH_UP @ Affine.scale(1 / ratio))


def psf_pair(ground: Ground, kernel: Doubles, ratio: int, seed: int) -> tuple[Cube, Cube]:
    """LR-HSI and MSI of a ground seen through a PSF, noisy."""
    rng = np.random.default_rng(seed)
    lr = noisy(seen_through(ground.truth, kernel, ratio), HSI_DB, rng)
    return lr, noisy(ground.msi, MSI_DB, rng)


def cropped(ground: Ground, ratio: int) -> Ground:
    """The ground's upper left part of whole LR pixels."""
    height, width = (side // ratio * ratio for side in ground.truth.shape[1:])
    return Ground(ground.truth[:, :height, :width], ground.response)


Reader = Callable[[], Ground]
Record = dict[str, Any]
