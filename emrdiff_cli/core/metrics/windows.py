"""Windows that slide over a tile: which of them start in its core, and which lie on valid pixels alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Cube = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


class WindowMeans:
    """Mean by band of a score of windows: `score` maps two bands (H, W) to the score of each of their windows.

    Only windows of side `size` wholly inside valid data count.
    """

    def __init__(self, bands: int, size: int, score: Callable[[Cube, Cube], Floats]) -> None:
        self.sums, self.count = np.zeros(bands), 0
        self._size, self._score = size, score

    def update(self, fused: Cube, reference: Cube, valid: Mask, core: tuple[int, int]) -> None:
        """Score the windows that start in the upper left `core` of a tile (bands, rows, columns)."""
        fused, reference, valid = (reachable(image, core, self._size) for image in (fused, reference, valid))
        if min(valid.shape) < self._size:
            return
        whole = whole_windows(valid, self._size)
        self.count += int(whole.sum())
        if whole.any():
            for band, (f, r) in enumerate(zip(fused, reference, strict=True)):
                self.sums[band] += np.sum(self._score(np.where(valid, f, 0), np.where(valid, r, 0))[whole])

    def means(self) -> Floats:
        """Mean of the map by band; NaN without a window."""
        return self.sums / self.count if self.count else np.full_like(self.sums, np.nan)


def reachable(image: NDArray[Any], core: tuple[int, int], size: int) -> NDArray[Any]:
    """Cut (..., rows, columns) to what windows of `size` that start in the upper left `core` reach."""
    return image[..., : core[0] + size - 1, : core[1] + size - 1]


def sliding(image: NDArray[Any], size: int, add: np.ufunc) -> NDArray[Any]:
    """Reduce every `size` x `size` window, `size` a power of two, (..., rows, columns) by `add`.

    By doubling: each entry is added up in the same order wherever it lies, and nothing cancels.
    """
    step = 1
    while step < size:
        image = add(image[..., :-step, :], image[..., step:, :])
        image = add(image[..., :-step], image[..., step:])
        step *= 2
    return image


def whole_windows(valid: Mask, size: int) -> Mask:
    """Windows of any `size` that hold valid pixels alone, by their upper left corner."""
    holes = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
    holes[1:, 1:] = (~valid).cumsum(axis=0).cumsum(axis=1)
    inside = holes[size:, size:] - holes[:-size, size:] - holes[size:, :-size] + holes[:-size, :-size]
    return np.asarray(inside == 0)
