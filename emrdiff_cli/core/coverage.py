"""Which bands of an HSI lie under the bands of an MSI: those whose detail it sees, the rest is inferred."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.observation import LrScene
from emrdiff_cli.scene import Bands

Floats = NDArray[np.floating[Any]]

_AS_GOOD = 0.02  # below the greatest squared correlation: bands that are as good


def covered_by_wavelengths(hsi: Bands, msi: Bands) -> list[tuple[int, ...]] | None:
    """For each MSI band the HSI bands (numbers from 1) whose half-maximum interval overlaps its own.

    An HSI without FWHM counts by its bands' centres. None where wavelengths, or the MSI's FWHM, are unknown.
    """
    if hsi.wavelengths_nm is None or msi.wavelengths_nm is None or msi.fwhm_nm is None:
        return None
    centres = np.asarray(hsi.wavelengths_nm)
    widths = np.zeros(hsi.count) if hsi.fwhm_nm is None else np.asarray(hsi.fwhm_nm)
    return [
        _numbers(np.abs(centres - centre) <= (widths + width) / 2)
        for centre, width in zip(msi.wavelengths_nm, msi.fwhm_nm, strict=True)
    ]


def covered_by_correlation(scene: LrScene) -> list[tuple[int, ...]]:
    """For each MSI band the HSI bands that follow it best at LR: squared correlation near the greatest."""
    hsi, msi = (_standardised(image[:, scene.valid]) for image in (scene.hsi, scene.msi))
    squared = np.square(msi @ hsi.T)
    return [_numbers((row > 0) & (row >= row.max() - _AS_GOOD)) for row in squared]


def _standardised(values: Floats) -> Floats:
    """Rows (n, pixels) of mean 0 and norm 1; constant ones 0."""
    centred = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    norm = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    return np.asarray(np.where(norm > 0, centred / np.maximum(norm, 1e-30), 0.0))


def _numbers(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(band) + 1 for band in np.flatnonzero(chosen))
