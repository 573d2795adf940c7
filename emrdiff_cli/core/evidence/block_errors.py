"""Squared errors by small blocks of a scene, so that their mean can be told with its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BlockErrors:
    """Squared errors of n bands summed over blocks, the pixels of an LR grid: `squares` (n, h, w).

    `counts` (h, w): the pixels summed up in each block.
    """

    squares: Doubles
    counts: Doubles

    @classmethod
    def none(cls, bands: int, blocks: tuple[int, int]) -> BlockErrors:
        """No errors yet."""
        return cls(np.zeros((bands, *blocks)), np.zeros(blocks))

    @classmethod
    def of_bands(cls, bands: Sequence[BlockErrors]) -> BlockErrors:
        """The errors of several bands on the same pixels as one."""
        return cls(np.concatenate([band.squares for band in bands]), bands[0].counts)

    def with_rows(self, errors: Floats, counted: Mask, rows: Indices, cols: Indices) -> BlockErrors:
        """With the errors (n, H, W) of further pixels, where `counted` (H, W), in the blocks `rows` x `cols`."""
        _, height, width = self.squares.shape
        into = (rows[:, None] * width + cols)[counted]

        def summed(weights: Floats | None) -> Doubles:
            return np.bincount(into, weights, height * width).reshape(height, width).astype(np.float64)

        squares = np.stack([summed(np.square(band[counted], dtype=np.float64)) for band in errors])
        return BlockErrors(self.squares + squares, self.counts + summed(None))

    def within(self, blocks: tuple[slice, slice]) -> BlockErrors:
        """The errors of a part of the blocks."""
        return BlockErrors(self.squares[:, *blocks], self.counts[blocks])

    @property
    def mse(self) -> Doubles:
        """Mean squared errors (n,); NaN without a pixel."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.squares.sum(axis=(1, 2)) / self.counts.sum())
