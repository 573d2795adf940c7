"""Scenes of several sensors, and the pairs that are made of them under many conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.diffusion.supervision import SupervisedPair
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import Resampling
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.benchmarks.geometry_pairs import kernels, noisy, seen_through
from tests.benchmarks.pair_files import read_cube

Cube = NDArray[np.float32]
Doubles = NDArray[np.float64]

SENSORS = ("cave", "aviris", "enmap", "sample")
_LEAST_SIDE = 8  # LR pixels of a pair that is learned from
_RATIOS = (2, 3, 4, 5, 6, 8, 10)
_POTSDAM = ((slice(0, 64), slice(0, 96)), (slice(96, 160), slice(32, 160)))  # blocks without holes
_INTERPOLATED = (*range(128, 137), *range(168, 186))  # bands of `berlin` that HyMap does not see, from 0
_SHAPES = ("Gaussian", "elongated", "box", "Kolmogorov", "Airy", "Moffat", "parabolic", "Hermite")
_KERNEL_SIGMA = 0.3115  # of the ratio: with the mean over an LR pixel its FWHM is the ratio
_LEFT_BY_REGISTRATION = 0.02  # LR pixels of displacement, and share of the PSF's width: standard deviations


@dataclass(frozen=True)
class Ground:
    """A truth (B, H, W) in units of its 99.9 % quantile, of a sensor."""

    sensor: str
    name: str
    truth: Cube


@dataclass(frozen=True)
class Conditions:
    """How a pair is made: its `ratio`, and what its LR-HSI suffers; by default it is exact.

    `psf` names one of the kernels of the geometry's benchmark, `width` times as wide as one of FWHM = the ratio;
    it is taken for the Gaussian of its gain, `mistaken` times as wide. Noise in dB; `shift`: by which the LR-HSI
    lies off, in LR pixels down and right.
    """

    ratio: int
    psf: str | None = None
    width: float = 1.0
    mistaken: float = 1.0
    hsi_db: float | None = None
    msi_db: float | None = None
    shift: tuple[float, float] = (0.0, 0.0)


def read_grounds(data: Path, folder: str, made: Path) -> Iterator[Ground]:
    """The scenes of a folder of DATA, of `enmap_potsdam` its blocks; of `sample` those in the folder `made`.

    That of `berlin` is its LR-HSI, EnMAP's bands made of HyMap's, without those that are interpolated.
    """
    for name, cube in _cubes(data, folder, made):
        whole = cube[np.isfinite(cube).all(axis=(1, 2))]
        truth = np.maximum(whole, 0) / np.quantile(whole, 0.999)
        yield Ground(folder, name, np.asarray(truth, np.float32))


def _cubes(data: Path, folder: str, made: Path) -> Iterator[tuple[str, Cube]]:
    if folder == "enmap_potsdam":
        cube = read_cube(data / folder / "enmap_potsdam_30m.tif")
        for number, (rows, cols) in enumerate(_POTSDAM):
            yield f"potsdam_{number}", cube[:, rows, cols]
        return
    if folder == "berlin":
        path = data / folder / "enmap_sim_30m_244b.bsq"
        yield path.stem, np.delete(read_cube(path), _INTERPOLATED, axis=0)
        return
    paths = made.glob("*.tif") if folder == "sample" else (data / folder).glob("*.tif")
    for path in sorted(paths, key=lambda path: path.name):
        if folder != "berlin9" or path.name.startswith("ref_"):
            yield path.stem, read_cube(path)


def realistic(ratio: int, rng: np.random.Generator) -> Conditions:
    """Noise of 30 to 45 dB, a PSF of any shape and of many widths, registered as well as can be had."""
    return Conditions(
        ratio,
        psf=str(rng.choice(_SHAPES)),
        width=float(rng.uniform(0.8, 1.25)),
        mistaken=float(np.exp(rng.normal(0, _LEFT_BY_REGISTRATION))),
        hsi_db=float(rng.uniform(30, 45)),
        msi_db=float(rng.uniform(33, 45)),
        shift=(float(rng.normal(0, _LEFT_BY_REGISTRATION)), float(rng.normal(0, _LEFT_BY_REGISTRATION))),
    )


def drawn_response(bands: int, rng: np.random.Generator) -> Doubles:
    """The response (m, B) of one to eight bands, Gaussian, of drawn centres and widths."""
    count = int(rng.integers(1, 9))
    centres = np.sort(rng.uniform(0, bands - 1, count))
    widths = np.exp(rng.uniform(np.log(0.01), np.log(0.08), count)) * bands
    weights = np.exp(-0.5 * ((np.arange(bands) - centres[:, None]) / np.maximum(widths, 0.5)[:, None]) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def make_pair(
    truth: Cube, response: Doubles, conditions: Conditions, rng: np.random.Generator
) -> SupervisedPair:
    """The pair of a truth (B, H, W), its sides cut to whole LR pixels."""
    ratio = conditions.ratio
    h, w = (side // ratio for side in truth.shape[1:])
    truth = np.ascontiguousarray(truth[:, : h * ratio, : w * ratio])
    placed, psf, kernel = AxisPlacement(float(ratio), 0.0), Psf(), None
    if conditions.psf is not None:
        sigma = _KERNEL_SIGMA * ratio * conditions.width
        kernel = kernels(sigma, 2 * math.ceil(4 * sigma) + 7)[conditions.psf]
        psf = Psf.of_fwhm(*(conditions.mistaken * width for width in _taken_fwhm(kernel, ratio)))
        by = [-ratio * off for off in conditions.shift]
        kernel = np.maximum(ndimage.shift(kernel, by, order=1), 0)
        kernel /= kernel.sum()
    resampling = Resampling.between(placed, placed, (h, w), (h * ratio, w * ratio), psf)
    lr = apply_taps(truth, *resampling.down) if kernel is None else seen_through(truth, kernel, ratio)
    msi = np.tensordot(response, truth, axes=1)
    lr, msi = (
        _with_noise(np.asarray(image, np.float32), db, rng)
        for image, db in ((lr, conditions.hsi_db), (msi, conditions.msi_db))
    )
    valid = np.ones(truth.shape[1:], bool)
    return SupervisedPair(truth, valid, lr, msi, resampling, valid)


def _with_noise(image: Cube, decibels: float | None, rng: np.random.Generator) -> Cube:
    return image if decibels is None else noisy(image, decibels, rng)


def _taken_fwhm(kernel: Doubles, ratio: int) -> tuple[float, float]:
    """FWHM in HR pixels, by rows and columns, of the Gaussian of the PSF's gain at the Nyquist frequency at LR."""
    found = []
    for axis in (1, 0):
        profile = np.convolve(kernel.sum(axis=axis), np.ones(ratio) / ratio)
        at = np.arange(len(profile)) - (len(profile) - 1) / 2
        gain = float(profile @ np.cos(math.pi / ratio * at))
        sigma = ratio / math.pi * math.sqrt(-2 * math.log(gain))
        found.append(FWHM_PER_SIGMA * sigma)
    return found[0], found[1]


def drawn_pairs(grounds: Sequence[Ground], rng: np.random.Generator, most: int) -> Iterator[SupervisedPair]:
    """Pairs without end of pieces of the grounds, turned, cut to some of their bands; a third of them exact.

    Their sides have `most` LR pixels or less.
    """
    while True:
        truth = grounds[int(rng.integers(len(grounds)))].truth
        ratio = int(rng.choice(_RATIOS))
        if min(truth.shape[1:]) // ratio < _LEAST_SIDE:
            continue
        top, left = (int(rng.integers(max(1, side - most * ratio + 1))) for side in truth.shape[1:])
        piece = truth[:, top : top + most * ratio, left : left + most * ratio]
        piece = np.rot90(piece, int(rng.integers(4)), axes=(1, 2))[:, :: int(rng.choice([-1, 1]))]
        bands = np.sort(rng.permutation(len(piece))[: max(24, len(piece) // int(rng.integers(1, 4)))])
        conditions = Conditions(ratio) if rng.random() < 1 / 3 else realistic(ratio, rng)
        yield make_pair(piece[bands], drawn_response(len(bands), rng), conditions, rng)
