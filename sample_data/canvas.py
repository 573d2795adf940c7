"""The drawing surface: materials, brightness and heights on a grid finer than the pixels.

Lengths are metres; x runs east, y south, both from the north-west corner. A cell holds up to three materials
with their shares; sunlight, cast shadows and the average over each pixel's cells come last, in `render`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from spectra import SpectralBank, skylight_share

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Share = float | NDArray[np.floating[Any]]

GSD_M = 2.5
OVERSAMPLING = 4
CELL_M = GSD_M / OVERSAMPLING
_SHARES = 3
_NOISE_SCALES_M = (0.7, 2.5, 8.0, 30.0)


@dataclass(frozen=True)
class Frame:
    """A rotated coordinate system: u along `angle` (radians, from east to south), v across it."""

    x: float
    y: float
    angle: float

    def to_xy(self, u: float, v: float) -> tuple[float, float]:
        """The point (u, v) on the canvas."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return float(self.x + u * cos - v * sin), float(self.y + u * sin + v * cos)

    def at(self, u: float, v: float, turn: float = 0.0) -> Frame:
        """The frame moved to (u, v) and turned by `turn`."""
        return Frame(*self.to_xy(u, v), self.angle + turn)


@dataclass(frozen=True)
class Rect:
    """A rectangle of a frame, in its u and v."""

    u0: float
    u1: float
    v0: float
    v1: float

    @property
    def length(self) -> float:
        """Extent along u."""
        return self.u1 - self.u0

    @property
    def width(self) -> float:
        """Extent along v."""
        return self.v1 - self.v0

    @property
    def centre(self) -> tuple[float, float]:
        """The middle (u, v)."""
        return (self.u0 + self.u1) / 2, (self.v0 + self.v1) / 2

    def inset(self, margin: float) -> Rect:
        """The rectangle without a margin on each side."""
        return Rect(self.u0 + margin, self.u1 - margin, self.v0 + margin, self.v1 - margin)


@dataclass(frozen=True)
class Patch:
    """A window of the canvas, the cells of it that belong to a shape, and the cells' u and v in metres."""

    rows: slice
    cols: slice
    inside: Mask
    u: Array
    v: Array

    def where(self, condition: Mask) -> Patch:
        """The part of the shape where the condition holds."""
        return replace(self, inside=self.inside & condition)


@dataclass(frozen=True)
class Sun:
    """Direction to the sun: azimuth clockwise from north and elevation, radians."""

    azimuth: float
    elevation: float

    def slope_gain(self, facing: float, tilt: float) -> float:
        """Irradiance of a plane facing `facing` (azimuth, radians) against that of level ground."""
        across = np.cos(self.elevation) * np.sin(tilt) * np.cos(self.azimuth - facing)
        return float(max((np.sin(self.elevation) * np.cos(tilt) + across) / np.sin(self.elevation), 0.12))


class Canvas:
    """Materials (rows of the bank), their shares, brightness and height of every cell."""

    def __init__(self, bank: SpectralBank, rng: np.random.Generator, height: int, width: int) -> None:
        """A blank canvas of `height` x `width` pixels."""
        self.bank, self.rng = bank, rng
        self.sun = Sun(float(rng.uniform(2.3, 3.9)), float(rng.uniform(0.75, 1.05)))
        self.shape = (height * OVERSAMPLING, width * OVERSAMPLING)
        self.clip: Mask = np.ones(self.shape, dtype=np.bool_)
        self._material = np.zeros((_SHARES, *self.shape), dtype=np.int32)
        self._share = np.zeros((_SHARES, *self.shape), dtype=np.float32)
        self._share[0] = 1.0
        self._gain = np.ones(self.shape, dtype=np.float32)
        self._top = np.zeros(self.shape, dtype=np.float32)
        self._noise = {scale: self._noise_field(scale / CELL_M) for scale in _NOISE_SCALES_M}

    @property
    def size_m(self) -> tuple[float, float]:
        """Extent along x and y."""
        return self.shape[1] * CELL_M, self.shape[0] * CELL_M

    def everything(self, frame: Frame) -> Patch:
        """The whole canvas as a patch."""
        return self._window(frame, slice(0, self.shape[0]), slice(0, self.shape[1]))

    def rectangle(self, frame: Frame, rect: Rect) -> Patch:
        """The cells whose centres lie in the rectangle."""
        corners = [frame.to_xy(u, v) for u in (rect.u0, rect.u1) for v in (rect.v0, rect.v1)]
        patch = self._window(frame, *self._bounds(corners))
        return patch.where(
            (patch.u >= rect.u0) & (patch.u < rect.u1) & (patch.v >= rect.v0) & (patch.v < rect.v1)
        )

    def disc(self, x: float, y: float, radius: float) -> Patch:
        """The cells whose centres lie within `radius` of (x, y); u and v are measured from there."""
        patch = self._window(
            Frame(x, y, 0.0), *self._bounds([(x - radius, y - radius), (x + radius, y + radius)])
        )
        return patch.where(patch.u**2 + patch.v**2 <= radius**2)

    def noise(self, patch: Patch, scale_m: float) -> Array:
        """A random field over the patch with unit variance and that correlation length; another at each call."""
        field = self._noise[scale_m]
        rows, cols = (self.rng.integers(size) for size in self.shape)
        ys = (np.arange(patch.rows.start, patch.rows.stop) + rows) % self.shape[0]
        xs = (np.arange(patch.cols.start, patch.cols.stop) + cols) % self.shape[1]
        return field[np.ix_(ys, xs)]

    def fill(
        self,
        patch: Patch,
        mixture: Sequence[tuple[int, Share]],
        gain: Share = 1.0,
        top: Share | None = 0.0,
    ) -> None:
        """Cover the patch with up to three (material, share); shares are made to sum to 1.

        `gain` scales the reflectance. `top` is the height in metres; None leaves the heights.
        """
        inside = patch.inside & self.clip[patch.rows, patch.cols]
        shares = [np.broadcast_to(np.maximum(share, 0.0), inside.shape)[inside] for _, share in mixture]
        total = np.maximum(sum(shares), 1e-6)
        for slot in range(_SHARES):
            used = slot < len(mixture)
            self._material[slot, patch.rows, patch.cols][inside] = mixture[slot][0] if used else 0
            self._share[slot, patch.rows, patch.cols][inside] = shares[slot] / total if used else 0.0
        self._gain[patch.rows, patch.cols][inside] = np.broadcast_to(gain, inside.shape)[inside]
        if top is not None:
            self._top[patch.rows, patch.cols][inside] = np.broadcast_to(top, inside.shape)[inside]

    def render(self) -> Array:
        """Reflectance, (bands, rows, columns): sunlit and shaded cells averaged over each pixel."""
        lit = 1.0 - self._shadow()
        sunlit = self._abundance(self._gain * lit) @ self.bank.spectra
        shaded = self._abundance(np.minimum(self._gain, 1.0) * (1.0 - lit)) @ (
            self.bank.spectra * skylight_share()
        )
        rows, cols = (size // OVERSAMPLING for size in self.shape)
        cube: Array = np.ascontiguousarray((sunlit + shaded).T).reshape(-1, rows, cols)
        return cube

    def _abundance(self, light: Array) -> coo_matrix:
        """Share of each material in each pixel under that light: sparse, (pixels, materials)."""
        rows, cols = np.indices(self.shape, dtype=np.int32) // OVERSAMPLING
        pixel = (rows * (self.shape[1] // OVERSAMPLING) + cols).astype(np.int32)
        values = self._share * light / OVERSAMPLING**2
        used = values > 0
        index = (np.broadcast_to(pixel, used.shape)[used], self._material[used])
        pixels = self.shape[0] * self.shape[1] // OVERSAMPLING**2
        return coo_matrix((values[used], index), shape=(pixels, len(self.bank.spectra))).tocsr()

    def _shadow(self) -> Array:
        """Shaded share of each cell: marched towards the sun over the heights."""
        shaded = np.zeros(self.shape, dtype=np.float32)
        climb = CELL_M * np.tan(self.sun.elevation)
        for step in range(1, int(self._top.max() / climb) + 2):
            rows = round(-np.cos(self.sun.azimuth) * step)
            cols = round(np.sin(self.sun.azimuth) * step)
            towards = _shifted(self._top, rows, cols)
            np.maximum(shaded, towards - step * climb > self._top + 0.3, out=shaded)
        softened: Array = np.clip(gaussian_filter(shaded, 0.5), 0.0, 1.0)
        return softened

    def _window(self, frame: Frame, rows: slice, cols: slice) -> Patch:
        y = ((np.arange(rows.start, rows.stop) + 0.5) * CELL_M - frame.y)[:, None]
        x = ((np.arange(cols.start, cols.stop) + 0.5) * CELL_M - frame.x)[None, :]
        cos, sin = np.cos(frame.angle), np.sin(frame.angle)
        u, v = (x * cos + y * sin).astype(np.float32), (y * cos - x * sin).astype(np.float32)
        return Patch(rows, cols, np.ones(u.shape, dtype=np.bool_), u, v)

    def _bounds(self, points: Sequence[tuple[float, float]]) -> tuple[slice, slice]:
        """Rows and columns of the cells around the points, within the canvas; may be empty."""
        xs, ys = zip(*points, strict=True)
        limits = []
        for values, size in ((ys, self.shape[0]), (xs, self.shape[1])):
            start = int(np.clip(np.floor(min(values) / CELL_M), 0, size))
            limits.append(slice(start, max(start, int(np.clip(np.ceil(max(values) / CELL_M), 0, size)))))
        return limits[0], limits[1]

    def _noise_field(self, sigma: float) -> Array:
        field = gaussian_filter(self.rng.standard_normal(self.shape), sigma / 2, mode="wrap")
        scaled: Array = (field / field.std()).astype(np.float32)
        return scaled


def intervals(
    rng: np.random.Generator, start: float, end: float, sizes: tuple[float, float], gap: float
) -> Iterator[tuple[float, float]]:
    """Consecutive intervals of random size between `start` and `end`, `gap` apart."""
    while end - start > sizes[0] * 0.4:
        stop = min(start + float(rng.uniform(*sizes)), end - gap)
        yield start, stop
        start = stop + gap


def _shifted(array: Array, rows: int, cols: int) -> Array:
    """The array's value `rows` down and `cols` right of each cell, 0 beyond its edge."""
    moved = np.zeros_like(array)
    height, width = array.shape
    to = (slice(max(-rows, 0), height - max(rows, 0)), slice(max(-cols, 0), width - max(cols, 0)))
    source = (slice(max(rows, 0), height - max(-rows, 0)), slice(max(cols, 0), width - max(-cols, 0)))
    moved[to] = array[source]
    return moved
