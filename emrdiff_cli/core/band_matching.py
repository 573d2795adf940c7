"""Bands of one list found in another by wavelength, one by one, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]

_LEAST_TOLERANCE_NM = 1.0


def by_rank(wanted: Sequence[float], found: Sequence[float]) -> Positions:
    """Positions in `found` of as many bands of `wanted`, the n-th longest for the n-th longest.

    No other pairing has a smaller greatest distance; bands of one wavelength keep their order.
    """
    positions = np.empty(len(wanted), np.intp)
    positions[np.argsort(wanted, kind="stable")] = np.argsort(found, kind="stable")
    return positions


def match_bands(wanted: Sequence[float], found: Sequence[float]) -> Positions | None:
    """Positions in `found` of the bands `wanted` (nm); None where one has no counterpart of its own.

    A counterpart lies within half of the usual distance between neighbours, or within 1 nm.
    """
    if len(wanted) != len(found):
        return None
    positions = by_rank(wanted, found)
    steps = np.diff(np.sort(wanted))
    tolerance = max(float(np.median(steps)) / 2 if steps.size else 0.0, _LEAST_TOLERANCE_NM)
    off = np.abs(np.asarray(found, np.float64)[positions] - np.asarray(wanted, np.float64))
    return positions if (off <= tolerance).all() else None


def in_direction(like: Sequence[float], found: Sequence[float]) -> Positions:
    """Positions in `found` in ascending order, or in descending where `like` runs so from first to last."""
    descending = len(like) > 1 and like[0] > like[-1]
    return np.argsort(-np.asarray(found) if descending else np.asarray(found), kind="stable")


def unless_in_order(positions: Positions) -> Positions | None:
    """The positions; None where they are 0, 1, 2 and so on."""
    return None if (positions == np.arange(len(positions))).all() else positions
