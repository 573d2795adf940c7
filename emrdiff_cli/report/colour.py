"""Numbers to colours: stretches, a sequential colour map, colours of lines. Safe for the colour-blind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Okabe and Ito's palette without its yellow, which is too light for lines on white.
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# Every 28th or so of the 256 colours of viridis (CC0), between which it is nearly linear.
_VIRIDIS = (
    "440154",
    "482878",
    "3e4989",
    "31688e",
    "26828e",
    "1f9e89",
    "35b779",
    "6ece58",
    "b5de2b",
    "fde725",
)

Pixels = NDArray[np.uint8]
_Values = NDArray[np.floating[Any]]


class Limits(NamedTuple):
    """The values that are shown as black and as white."""

    low: float
    high: float


def percentile_limits(values: _Values, low: float = 2.0, high: float = 98.0) -> tuple[Limits, ...]:
    """Limits of each band, (bands, rows, columns), over its valid values; (0, 1) where there is none."""
    found = []
    for band in values:
        valid = band[np.isfinite(band)]
        found.append(Limits(*np.percentile(valid, (low, high)).tolist()) if valid.size else Limits(0.0, 1.0))
    return tuple(found)


def composite(values: _Values, limits: tuple[Limits, ...]) -> Pixels:
    """Stretch one or three bands to RGBA, (4, rows, columns); transparent where a band is invalid.

    A band whose limits are equal comes out in mid-grey.
    """
    valid = np.isfinite(values).all(axis=0)
    channels = [_stretch(np.where(valid, band, 0), limit) for band, limit in zip(values, limits, strict=True)]
    colours = channels * 3 if len(channels) == 1 else channels
    return np.stack([*(np.where(valid, c, 0) for c in colours), np.where(valid, 255, 0)]).astype(np.uint8)


def _stretch(band: _Values, limits: Limits) -> Pixels:
    span = limits.high - limits.low
    share = (band.astype(np.float64) - limits.low) / span if span > 0 else np.full(band.shape, 0.5)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def colour_map(values: _Values, limits: Limits) -> Pixels:
    """Show one band, (rows, columns), in viridis as RGBA, (4, rows, columns); transparent where invalid."""
    valid = np.isfinite(values)
    table = viridis(256)
    index = _stretch(np.where(valid, values, limits.low), limits)
    opaque = np.where(valid, 255, 0).astype(np.uint8)
    return np.stack([*(np.where(valid, table[index, c], 0).astype(np.uint8) for c in range(3)), opaque])


def viridis(count: int) -> Pixels:
    """So many colours of viridis from dark to light, (count, 3)."""
    anchors = np.array([list(bytes.fromhex(text)) for text in _VIRIDIS], np.float64)
    places = np.linspace(0, len(anchors) - 1, count)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
