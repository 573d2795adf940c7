"""Levels of a fused raster and its reference: whether the two are in the same units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Cube = NDArray[np.floating[Any]]

_OTHER_UNITS = 5.0  # times the other's level: no fusion is as far off
_STEP = 4  # of the pixels along both axes, one in so many tells


class Levels:
    """Means of the absolute values of both, where both are valid, over tiles (C, H, W)."""

    def __init__(self) -> None:
        self._sums = np.zeros(2)

    def add(self, fused: Cube, reference: Cube) -> None:
        """Add a tile of each."""
        a, b = (cube[:, ::_STEP, ::_STEP] for cube in (fused, reference))
        both = np.isfinite(a) & np.isfinite(b)
        self._sums += [np.abs(part[both]).sum(dtype=np.float64) for part in (a, b)]

    def notes(self, others: str = "the reference's") -> tuple[str, ...]:
        """A note where the fused raster's values are many times `others`, or a small part of them."""
        fused, reference = self._sums
        if not (fused > 0 and reference > 0) or 1 / _OTHER_UNITS < fused / reference < _OTHER_UNITS:
            return ()
        return (
            f"the fused raster's values are on average {fused / reference:.4g} times {others}: the two seem to be "
            "in other units, which decides the scores; record the scale in the file (reflectance scale factor or "
            "GDAL's)",
        )
