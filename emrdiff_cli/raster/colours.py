"""The bands that a raster is looked at by: its header's default bands, and those nearest to given colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emrdiff_cli.raster.metadata import split_list
from emrdiff_cli.raster_info import Bands

TRUE_COLOUR_NM = (650.0, 550.0, 450.0)
REACH_NM = 60.0
"""A band farther from a wavelength does not stand for it."""


def default_bands(tags: Mapping[str, str], count: int) -> tuple[int, ...] | None:
    """A header's `default bands`, one or three, from 0; None where they are none of these `count` bands."""
    texts = split_list(tags.get("default_bands", ""))
    if len(texts) not in (1, 3) or not all(text.isdecimal() for text in texts):
        return None
    numbers = [int(text) for text in texts]
    return tuple(n - 1 for n in numbers) if all(1 <= n <= count for n in numbers) else None


def nearest_bands(centres_nm: Sequence[float], wavelengths_nm: Sequence[float]) -> tuple[int, ...]:
    """The band nearest to each wavelength, however far."""
    return tuple(int(np.abs(np.array(centres_nm) - nm).argmin()) for nm in wavelengths_nm)


def near_bands(bands: Bands, wavelengths_nm: Sequence[float]) -> tuple[int, ...] | None:
    """The bands nearest to these wavelengths; None where one is farther than `REACH_NM`, or taken twice."""
    centres = bands.wavelengths_nm
    if centres is None:
        return None
    found = nearest_bands(centres, wavelengths_nm)
    gaps = [abs(centres[band] - nm) for band, nm in zip(found, wavelengths_nm, strict=True)]
    return found if max(gaps) <= REACH_NM and len(set(found)) == len(found) else None


def rgb_bands(bands: Bands, tags: Mapping[str, str]) -> tuple[int, int, int] | None:
    """The bands to be shown as red, green and blue: three distinct default bands, else the true colours'."""
    named = default_bands(tags, bands.count)
    found = named if named is not None and len(set(named)) == 3 else near_bands(bands, TRUE_COLOUR_NM)
    return None if found is None else (found[0], found[1], found[2])
