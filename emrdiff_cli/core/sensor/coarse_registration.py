"""A displacement of many LR pixels found to the pixel: the regression of registration, at all of them at once.

The MSI, degraded to an LR lattice that reaches beyond the LR-HSI, is regressed on the LR-HSI's leading
components at every displacement by whole LR pixels. All sums over the common pixels are cross-correlations,
which FFTs give together; broad gradients, which fit anything, are taken out of both images before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from emrdiff_cli.core.sensor.leading_components import leading_components
from emrdiff_cli.core.sensor.registration import REACH

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

FAR_REACH = 40  # LR pixels: the farthest displacement looked for, along each axis

_COMPONENTS = 4  # leading components of the LR-HSI that the MSI is regressed on
_BROAD = 3.0  # LR pixels: sigma of the Gaussian that gradients are told by
_LEAST_PIXELS = 64  # LR pixels that the two must have in common
_LEAST_SHARE = 0.25  # of the valid LR pixels of the smaller image, that must be common
_LEAST_POWER = 0.01  # of an MSI band's mean power, below which what is common shows nothing of it
_APART = 2  # LR pixels: maxima this near belong together
_CORRELATED = 9.0  # LR pixels that tell as much as one would on its own
_MISFIT = 0.05  # share of the MSI that need not be explained: less is no reason to prefer a place
_ALIKE = 0.85  # of what is unexplained elsewhere, that may be so by more than chance: ground can be alike
_ROUNDING = 1e-5  # of a band's largest value: less detail is no detail
_RIDGE = 1e-9  # of the components' mean power, that keeps the equations solvable


@dataclass(frozen=True)
class WideScene:
    """LR-HSI `hsi` (B, h, w) without holes, and the MSI degraded to a lattice with `reach` LR pixels more.

    `msi` is (m, h + 2 reach, w + 2 reach); the masks tell the valid pixels of each.
    """

    hsi: Floats
    valid: Mask
    msi: Floats
    msi_valid: Mask
    reach: int = FAR_REACH


@dataclass(frozen=True)
class CoarseShift:
    """The move that puts the LR-HSI's grid right, in whole LR pixels, down and to the right.

    `r2` is the share that the LR-HSI's detail explains of the MSI's there, `r2_elsewhere` at the best displacement
    that is not beside it, `r2_near` at the best within REACH of none. `confidence`: the probability that chance
    does not make so great a difference as that to `r2_elsewhere`.
    """

    rows: int
    cols: int
    confidence: float
    r2: float
    r2_elsewhere: float
    r2_near: float


def find_coarse_shift(scene: WideScene) -> CoarseShift | None:
    """Find the displacement up to `reach` at which the LR-HSI explains most of the MSI.

    None where the two have too little in common at each, or show nothing.
    """
    components = leading_components(scene.hsi, scene.valid, _COMPONENTS)
    msi = _varied(_detail(scene.msi, scene.msi_valid), scene.msi)
    if components is None or not len(components) or not len(msi):
        return None
    surface, common = _r2_surface(scene, _detail(components, scene.valid), msi)
    row, col = (int(at) for at in np.unravel_index(surface.argmax(), surface.shape))
    r2 = float(surface[row, col])
    if r2 <= 0:
        return None
    elsewhere = surface == ndimage.maximum_filter(surface, 2 * _APART + 1, mode="constant")
    elsewhere[max(0, row - _APART) : row + _APART + 1, max(0, col - _APART) : col + _APART + 1] = False
    second = float(np.max(surface, where=elsewhere, initial=0.0))
    sure = _confidence(r2, second, float(common[row, col]))
    near = slice(max(0, scene.reach - REACH), scene.reach + REACH + 1)
    return CoarseShift(
        row - scene.reach, col - scene.reach, sure, r2, second, float(surface[near, near].max())
    )


def _confidence(r2: float, second: float, pixels: float) -> float:
    """One less the likelihood of the best displacement elsewhere as a share of that of the one found."""
    ratio = max(1 - r2, _MISFIT) / max(_ALIKE * (1 - second), _MISFIT)
    return 1 - math.pow(min(ratio, 1.0), pixels / _CORRELATED / 2)


def _r2_surface(scene: WideScene, components: Floats, msi: Floats) -> tuple[Floats, Floats]:
    """R^2, adjusted for the components, mean over MSI bands, and the pixels in common at all displacements.

    Both (2 reach + 1, 2 reach + 1); R^2 is 0 with too few pixels.
    """
    ones = scene.valid[None].astype(np.float64)
    inputs = np.concatenate([components, ones])
    sums = _Sums(scene.msi_valid.shape, scene.reach)
    seen = sums.of_msi(scene.msi_valid.astype(np.float64))
    common = np.rint(sums.at_each(sums.of_hsi(ones[0]), seen))
    gram = np.empty((*common.shape, len(inputs), len(inputs)))
    for i, j in combinations_with_replacement(range(len(inputs)), 2):
        gram[..., i, j] = gram[..., j, i] = sums.at_each(sums.of_hsi(inputs[i] * inputs[j]), seen)
    inverse = np.linalg.inv(gram + _RIDGE * ones.sum() * np.eye(len(inputs)))
    spectra = [sums.of_hsi(image) for image in inputs]
    left = np.zeros_like(common)
    for band in msi:
        of_band, power = sums.of_msi(band), sums.at_each(spectra[-1], sums.of_msi(np.square(band)))
        products = np.stack([sums.at_each(spectrum, of_band) for spectrum in spectra], axis=-1)
        unexplained = power - np.einsum("...i,...ij,...j->...", products, inverse, products)
        variance = power - products[..., -1] ** 2 / np.maximum(common, 1)
        shows = variance > _LEAST_POWER * common * np.square(band).sum() / scene.msi_valid.sum()
        left += np.where(shows, unexplained / np.where(shows, variance, 1.0), 1.0) / len(msi)
    left *= (common - 1) / np.maximum(common - len(inputs), 1)
    least = max(_LEAST_PIXELS, _LEAST_SHARE * min(scene.valid.sum(), scene.msi_valid.sum()))
    return np.where(common >= least, np.clip(1 - left, 0.0, 1.0), 0.0), common


def _detail(image: Floats, valid: Mask) -> Floats:
    """(k, h, w) less the mean over each pixel's valid surroundings; 0 where invalid."""

    def blurred(values: Floats) -> Floats:
        return np.asarray(ndimage.gaussian_filter(values, (0.0, _BROAD, _BROAD), mode="constant"))

    held = np.where(valid, image, 0.0).astype(np.float64)
    share = blurred(valid[None].astype(np.float64))
    return np.asarray(np.where(valid, held - blurred(held) / np.maximum(share, 1e-6), 0.0))


def _varied(detail: Floats, image: Floats) -> Floats:
    """The bands with more detail than rounding makes."""
    shows = np.abs(detail).max(axis=(1, 2)) > _ROUNDING * np.abs(image).max(axis=(1, 2))
    return np.asarray(detail[shows])


class _Sums:
    """Sums over the pixels of the LR-HSI of its product with the MSI, for all displacements at once."""

    def __init__(self, lattice: tuple[int, ...], reach: int) -> None:
        self._shape = tuple(fft.next_fast_len(length, real=True) for length in lattice)
        self._count = 2 * reach + 1

    def of_hsi(self, image: Floats) -> NDArray[np.complex128]:
        """The spectrum of an image on the LR-HSI's grid."""
        return np.asarray(np.conj(fft.rfft2(image, self._shape)))

    def of_msi(self, image: Floats) -> NDArray[np.complex128]:
        """The spectrum of an image on the lattice."""
        return np.asarray(fft.rfft2(image, self._shape))

    def at_each(self, of_hsi: NDArray[np.complex128], of_msi: NDArray[np.complex128]) -> Floats:
        """The sums (2 reach + 1, 2 reach + 1) of the products of two images, from their spectra."""
        return np.asarray(fft.irfft2(of_hsi * of_msi, self._shape)[: self._count, : self._count])
