"""Bands by detector, as wavelengths and their order tell them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]

_EDGE_NM = 1000.0  # between silicon's range and the short-wave infrared
_LEAST_BANDS = 8  # of a detector


def bands_by_detector(
    wavelengths_nm: Sequence[float], good: Sequence[bool] | None = None
) -> dict[str, Indices]:
    """Group good bands (from 0) by detector, the shortest wavelengths first; empty unless there are two or more.

    Where a band's wavelength falls back behind that of the band before it, the range of another detector begins:
    detectors overlap, and products list one after the other. Bands that rise all along are parted at 1000 nm.
    Detectors of fewer than 8 good bands are left out. A product whose bands of two detectors were sorted into each
    other (900 to 1000 nm as a rule) does not tell which band is whose: the few that are interleaved then count to
    the side of 1000 nm that they lie on.
    """
    centres = np.array(wavelengths_nm, np.float64)
    kept = np.flatnonzero(np.ones(len(centres), bool) if good is None else np.array(good, bool))
    runs = _long(_ascending(kept, centres))
    if len(runs) < 2:
        runs = _long([kept[centres[kept] < _EDGE_NM], kept[centres[kept] >= _EDGE_NM]])
    if len(runs) < 2:
        return {}
    runs.sort(key=lambda bands: float(centres[bands].mean()))
    return dict(zip(_names([centres[bands] for bands in runs]), runs, strict=True))


def _ascending(bands: Indices, centres: NDArray[np.float64]) -> list[Indices]:
    """Bands in the runs along which their wavelengths rise or, listed from long to short, fall."""
    steps = np.diff(centres[bands])
    back = steps < 0 if 2 * (steps < 0).sum() <= len(steps) else steps > 0
    return np.split(bands, np.flatnonzero(back) + 1)


def _long(groups: Sequence[Indices]) -> list[Indices]:
    return [bands for bands in groups if len(bands) >= _LEAST_BANDS]


def _names(ranges: Sequence[NDArray[np.float64]]) -> list[str]:
    if len(ranges) == 2 and ranges[0].mean() < _EDGE_NM <= ranges[1].mean():
        return ["VNIR", "SWIR"]
    return [f"{centres.min():.0f}-{centres.max():.0f} nm" for centres in ranges]
