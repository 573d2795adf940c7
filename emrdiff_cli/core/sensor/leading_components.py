"""An LR-HSI's leading components, which stand for its bands wherever a pair's geometry is found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.subspace import Basis, find_basis

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

COMPONENTS = 8  # leading components of the LR-HSI that the MSI is regressed on,
_MOST_COMPONENTS = 32  # and in fine: what so few leave of the spectra would be taken for an error of the PSF
PIXELS_EACH, _PIXELS_EACH_BEYOND = 8, 32  # LR pixels that each of them needs, and of those beyond the first
_BASIS_PIXELS = 4096  # LR pixels on which they are found
_KEPT = 48  # that stand for all bands: some more than are used, for LR pixels that are left out later


def in_components(hsi: Floats, valid: Mask) -> Floats:
    """The leading components (k, h, w), by which all that is found of the bands (B, h, w) costs less to find.

    k is 48, which is more than are ever used; bands that are no more than that, or of few valid pixels, stay as
    they are. Components that are nothing but rounding are 0.
    """
    pixels = hsi[:, valid]
    if min(pixels.shape) <= _KEPT:
        return hsi
    values = _basis(pixels, _KEPT).project(hsi)
    values[values[:, valid].std(axis=1) <= _rounding(pixels)] = 0
    return values


def leading_components(hsi: Floats, valid: Mask, most: int) -> Floats | None:
    """The LR-HSI's leading components (k, h, w), k <= `most`, of unit variance; k is 0 where it is constant.

    None with too few valid pixels.
    """
    pixels = hsi[:, valid]
    count = min(most, len(pixels), pixels.shape[1] // PIXELS_EACH - 1)
    if count < 1:
        return None
    values = _basis(pixels, count).project(hsi).astype(np.float64)
    inside = values[:, valid]
    centre, spread = inside.mean(axis=1), inside.std(axis=1)
    varied = spread > _rounding(pixels)
    return np.asarray((values - centre[:, None, None])[varied] / spread[varied, None, None])


def all_components(hsi: Floats, valid: Mask) -> Floats | None:
    """As many leading components as the pixels support."""
    return leading_components(
        hsi, valid, max(COMPONENTS, min(_MOST_COMPONENTS, int(valid.sum()) // _PIXELS_EACH_BEYOND))
    )


def _basis(pixels: Floats, count: int) -> Basis:
    return find_basis(pixels[:, :: math.ceil(pixels.shape[1] / _BASIS_PIXELS)], count)


def _rounding(pixels: Floats) -> float:
    """The standard deviation up to which a component of pixels (B, n) does not vary."""
    return max(1e-6 * float(np.abs(pixels).max()), 1e-30)


def orthonormal(inputs: Floats) -> Floats:
    """Orthonormal directions (n, k) of the inputs (k, n) without their means."""
    return np.asarray(np.linalg.qr((inputs - inputs.mean(axis=1, keepdims=True)).T)[0])
