"""Overlapping tiles over a scene, and their blending back into rows.

Tiles are of one size and evenly spaced; the last one of an axis ends at the scene's edge, so none is
short and neighbours overlap by at least what was asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emrdiff_cli.raster_info import Window

FloatArray = NDArray[np.floating]


def tile_starts(length: int, size: int, overlap: int, multiple: int = 1) -> list[int]:
    """First pixels of the tiles of one axis: 0 = s_0 < s_1 < ... < s_n = length - size.

    `size` is clamped to `length`. s_(i+1) - s_i <= size - overlap; every start but the last is a
    multiple of `multiple`, the last one too if `length - size` is. Raises ValueError where no such
    starts exist.
    """
    if length < 1 or size < 1 or not 0 <= overlap < size or multiple < 1:
        raise ValueError(
            f"no tiles of size {size} and overlap {overlap} in {length}: need 0 <= overlap < size, length > 0"
        )
    room = length - min(size, length)
    if room == 0:
        return [0]
    stride = (size - overlap) // multiple
    if stride == 0:
        raise ValueError(f"size {size} - overlap {overlap} is less than the step's multiple {multiple}")
    units = math.ceil(room / multiple)
    steps = math.ceil(units / stride)
    return [multiple * (i * units // steps) for i in range(steps)] + [room]


def tile_windows(height: int, width: int, size: int, overlap: int, multiple: int = 1) -> list[Window]:
    """Tile a scene in row-major order, each min(size, height) x min(size, width) pixels.

    Corners are on multiples of `multiple`, as `tile_starts` says.
    """
    tile_height, tile_width = min(size, height), min(size, width)
    return [
        Window(row, col, tile_height, tile_width)
        for row in tile_starts(height, size, overlap, multiple)
        for col in tile_starts(width, size, overlap, multiple)
    ]


def blend_weights(
    window: Window, height: int, width: int, overlap: int, power: int = 1
) -> NDArray[np.float64]:
    """Weights in (0, 1] of a tile's pixels, (window.height, window.width): separable Hann ramps.

    Each ramp is `overlap` pixels wide; there is none at the scene's own edges, where the weight is 1.
    A `power` above 1 trusts a tile's outermost pixels less: a network sees only part of their surroundings.
    """
    rows = _ramp(window.row, window.height, height, overlap)
    cols = _ramp(window.col, window.width, width, overlap)
    return np.outer(rows, cols) ** power


def _ramp(start: int, size: int, length: int, overlap: int) -> NDArray[np.float64]:
    weights = np.ones(size)
    reach = min(overlap, size)
    rise = np.sin(np.pi / 2 * (np.arange(reach) + 0.5) / overlap) ** 2 if reach else np.ones(0)
    if start > 0:
        weights[:reach] *= rise
    if start + size < length:
        weights[size - reach :] *= rise[::-1]
    return weights


def _blend(
    mean: FloatArray,
    total: FloatArray,
    values: FloatArray,
    added: FloatArray,
    invalid: NDArray[np.bool_] | None,
) -> None:
    """Take values of weights `added` into the mean of others, of weights `total`; both are changed."""
    np.copyto(mean, values, where=total == 0, casting="same_kind")
    total += added
    share = np.divide(added, total, out=np.zeros_like(total), where=total > 0)
    # Where all tiles so far are invalid, the difference may be inf - inf or NaN; its share is nil.
    with np.errstate(invalid="ignore"):
        change = share * (values - mean)
    if invalid is not None:
        change[invalid] = 0
    # Adding nothing would still turn -0.0 into 0.0.
    np.add(mean, change, out=mean, where=change != 0)


class Mosaic:
    """Tiles in, finished rows out: a streaming weighted mean that holds one tile row of the scene.

    The tiles are those of `tile_windows(height, width, size, overlap)`, or `windows`: a row-major grid
    of tiles that covers the scene, or that part of such a grid which covers an area of it; rows then start
    at the first tile's. The mean is exact where tiles agree: equal values in give that value out, bit for
    bit. Invalid pixels take no part in it. `power` is that of `blend_weights`.
    """

    def __init__(
        self,
        bands: int,
        height: int,
        width: int,
        size: int,
        overlap: int,
        *,
        windows: Sequence[Window] | None = None,
        dtype: DTypeLike = np.float32,
        power: int = 1,
    ) -> None:
        self._windows = list(windows) if windows is not None else tile_windows(height, width, size, overlap)
        self._starts = [row for row, _ in groupby(window.row for window in self._windows)]
        self._shape = (height, width)
        stops = {window.row: window.rows.stop for window in self._windows}
        # Of the tile rows above one, the last reaches furthest down.
        self._reached = dict(zip(stops, (0, *stops.values()), strict=False))
        self._stop = max(window.row + window.height for window in self._windows)
        self._right = max(window.col for window in self._windows)
        self._overlap, self._power = overlap, power
        self._held = max(window.height for window in self._windows)
        # Between tile rows what the next one reaches into.
        self._mean: FloatArray = np.zeros((bands, 0, width), dtype)
        # One weight for all bands, until a pixel is invalid in some: then one for each.
        self._weight: FloatArray = np.zeros((1, 0, width), dtype)
        self._next = 0
        self.valid_rows: NDArray[np.bool_] = np.ones((1, 0, width), np.bool_)
        """Which pixels of the rows returned last had a valid value: (bands or 1, n, width)."""

    @property
    def finished(self) -> bool:
        """True when every tile has been added."""
        return self._next == len(self._windows)

    def add(
        self, window: Window, values: FloatArray, valid: NDArray[np.bool_] | None = None
    ) -> FloatArray | None:
        """Add the next tile, (bands, window.height, window.width), in row-major order.

        `valid`: where the values count, in their shape; None: where they are not NaN. A pixel that is
        invalid in all its tiles gets the value of the last. Returns the rows that no later tile
        touches, (bands, n, width), when a tile row is complete; None otherwise. Raises ValueError on a
        tile out of turn or of another shape.
        """
        self._check(window, values)
        self._next += 1
        if self._mean.shape[1] < self._held:
            self._mean, self._weight = map(self._opened, (self._mean, self._weight))
        invalid = np.isnan(values) if valid is None else ~valid
        self._accumulate(window, values, invalid if invalid.any() else None)
        if window.col < self._right:
            return None
        return self._finish(window.row)

    def _check(self, window: Window, values: FloatArray) -> None:
        if self.finished or window != self._windows[self._next]:
            expected = "none" if self.finished else self._windows[self._next]
            raise ValueError(f"tile out of turn: {window}, expected {expected}")
        shape = (self._mean.shape[0], window.height, window.width)
        if values.shape != shape:
            raise ValueError(f"tile values have shape {values.shape}, expected {shape}")

    def _accumulate(self, window: Window, values: FloatArray, invalid: NDArray[np.bool_] | None) -> None:
        rows = slice(window.height)
        if invalid is not None and self._weight.shape[0] != self._mean.shape[0]:
            self._weight = np.repeat(self._weight, self._mean.shape[0], axis=0)
        mean, total = self._mean[:, rows, window.cols], self._weight[:, rows, window.cols]
        added = blend_weights(window, *self._shape, self._overlap, self._power)[None].astype(total.dtype)
        if invalid is not None:
            added = np.where(invalid, 0, added)
        above, before = self._met(window)
        for part in (np.s_[:, :above], np.s_[:, above:, :before]):
            _blend(
                mean[part], total[part], values[part], added[part], None if invalid is None else invalid[part]
            )
        alone = np.s_[:, above:, before:]
        mean[alone], total[alone] = values[alone], added[alone]

    def _met(self, window: Window) -> tuple[int, int]:
        """Count the tile's rows and columns that earlier tiles reach into, from above and from the left."""
        former = self._windows[max(0, self._next - 2)]
        before = former.cols.stop - window.col if former.row == window.row and self._next > 1 else 0
        return max(0, self._reached[window.row] - window.row), max(0, before)

    def _finish(self, row: int) -> FloatArray:
        position = self._starts.index(row)
        stop = self._starts[position + 1] if position + 1 < len(self._starts) else self._stop
        count = stop - row
        done = self._mean[:, :count]
        self.valid_rows = self._weight[:, :count] > 0
        self._mean, self._weight = (part[:, count:].copy() for part in (self._mean, self._weight))
        return done

    def _opened(self, kept: FloatArray) -> FloatArray:
        """Room for a tile row, what is kept of the one before in its uppermost rows."""
        room = np.zeros((len(kept), self._held, self._shape[1]), kept.dtype)
        room[:, : kept.shape[1]] = kept
        return room
