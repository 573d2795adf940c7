"""Two rasters brought together for comparison: common ground, common bands, tiles.

Georeferenced rasters meet by their geotransforms, bands by their wavelengths; nothing is resampled but the
LR-HSI of the bicubic baseline, and a fused raster that is moved by a fraction of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.core.sensor.cube_displacement import SPLINE_MARGIN, moved_by_fraction
from emrdiff_cli.core.sensor.grid import AxisPlacement, lr_below
from emrdiff_cli.core.sensor.holes import fill_each_band
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps, cubic_upsampler
from emrdiff_cli.errors import GridError, InputError
from emrdiff_cli.raster.placement import place_on, placed_by, placing_notes
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo, Window

Cube = NDArray[np.float32]
Point = tuple[float, float]

_SAME_BAND_NM = 1.0
_MARGIN = 6  # LR pixels around a strip: the cubic kernel's reach and that of hole filling into it


class Source(Protocol):
    """A cube on the common area and in the compared bands, read by windows of that area."""

    def read(self, window: Window, bands: Sequence[int]) -> Cube:
        """Return a window of these compared bands (positions from 0); NaN where invalid."""
        ...


@dataclass(frozen=True)
class Part:
    """The window of a raster and those of its bands (positions from 0) that are compared.

    `fraction`: what the raster is moved by besides, in its pixels, down and right.
    """

    reader: RasterReader
    area: Window
    bands: tuple[int, ...]
    fraction: Point = (0.0, 0.0)

    def read(self, window: Window, bands: Sequence[int]) -> Cube:
        """Return a window of these compared bands; NaN where invalid."""
        placed = window._replace(row=self.area.row + window.row, col=self.area.col + window.col)
        chosen = [self.bands[b] for b in bands]
        if self.fraction == (0.0, 0.0):
            return self.reader.read(placed, chosen)
        grid = self.reader.info.grid
        top, left = max(0, placed.row - SPLINE_MARGIN), max(0, placed.col - SPLINE_MARGIN)
        bottom = min(grid.height, placed.rows.stop + SPLINE_MARGIN)
        right = min(grid.width, placed.cols.stop + SPLINE_MARGIN)
        around = self.reader.read(Window(top, left, bottom - top, right - left), chosen)
        moved = moved_by_fraction(around, self.fraction)
        rows, cols = placed.row - top, placed.col - left
        return moved[:, rows : rows + placed.height, cols : cols + placed.width]


@dataclass(frozen=True)
class Upsampled:
    """An LR-HSI on the common area by cubic convolution; invalid where the LR pixel underneath is.

    Holes take the nearest valid LR pixel's value first, so they do not spread into their neighbours.
    `row_below` and `col_below` are the LR pixels under the area's rows and columns, -1 for none.
    """

    reader: RasterReader
    bands: tuple[int, ...]
    ratio: float
    rows: Taps
    cols: Taps
    row_below: NDArray[np.int64]
    col_below: NDArray[np.int64]

    def read(self, window: Window, bands: Sequence[int]) -> Cube:
        """Return a window of these compared bands; NaN where invalid."""
        top, row_taps = _local(self.rows.part(window.rows.start, window.rows.stop))
        left, col_taps = _local(self.cols.part(window.cols.start, window.cols.stop))
        reached = Window(top, left, row_taps.n_in, col_taps.n_in)
        lr = self.reader.read(reached, [self.bands[b] for b in bands])
        filled, known = fill_each_band(lr)
        cube = np.asarray(apply_taps(filled, row_taps, col_taps), dtype=np.float32)
        below = self.row_below[window.rows, None], self.col_below[None, window.cols]
        holes = ~known[:, np.maximum(below[0] - top, 0), np.maximum(below[1] - left, 0)]
        cube[holes | (below[0] < 0) | (below[1] < 0)] = np.nan
        return cube


def pair(
    fused: RasterReader, reference: RasterReader, border: int = 0, move: Point | None = None
) -> tuple[Part, Part, tuple[str, ...]]:
    """Return both rasters on their common area and bands, and notes on how they were brought together.

    `move`: what the fused raster is moved by, its pixels down and right; None: as it lies. `border` pixels at the
    common area's edges are left out, and bands that either raster marks as bad. Raises GridError (CRS, pixel size,
    fraction of a pixel, no common area) and InputError (bands).
    """
    if move is None:
        fused_area, reference_area, placed = common_area(fused.info, reference.info)
        fraction = (0.0, 0.0)
    else:
        fused_area, reference_area, fraction, placed = moved_area(fused.info, reference.info, move)
    fused_area, reference_area = (_within(area, border) for area in (fused_area, reference_area))
    bands, told = comparable_bands(fused.info, reference.info)
    return (
        Part(fused, fused_area, tuple(bands.values()), fraction),
        Part(reference, reference_area, tuple(bands)),
        (*placed, *told),
    )


def comparable_bands(other: RasterInfo, reference: RasterInfo) -> tuple[dict[int, int], tuple[str, ...]]:
    """The bands that `match_bands` finds, without those that either marks as bad, and notes."""
    bands, matched = match_bands(other, reference)
    bands, marked = _without_bad(bands, other, reference)
    return bands, (*matched, *marked)


def upsample(lr: RasterReader, reference: Part) -> tuple[Upsampled, tuple[str, ...]]:
    """Return the LR-HSI by cubic convolution on the area and bands of `reference`, and notes.

    Raises GridError (CRS, rotation, LR finer, no common area) and InputError (a compared band missing).
    """
    info = reference.reader.info
    rows, cols, placed = _place(lr.info, info, reference.area)
    bands, matched = match_bands(lr.info, info)
    missing = [b + 1 for b in reference.bands if b not in bands]
    if missing:
        raise InputError(
            f"{lr.info.path} has no band for {len(missing)} compared bands (first: {missing[0]})"
        )
    if min(rows.ratio, cols.ratio) <= 1:
        raise GridError(f"{lr.info.path} is not coarser than {info.path}: --baseline takes the LR-HSI")
    grid, area = lr.info.grid, reference.area
    upsampled = Upsampled(
        reader=lr,
        bands=tuple(bands[b] for b in reference.bands),
        ratio=float(np.sqrt(rows.ratio * cols.ratio)),
        rows=cubic_upsampler(rows, grid.height, area.height),
        cols=cubic_upsampler(cols, grid.width, area.width),
        row_below=_below(rows, grid.height, area.height),
        col_below=_below(cols, grid.width, area.width),
    )
    return upsampled, (*placed, *matched)


def common_area(fused: RasterInfo, reference: RasterInfo) -> tuple[Window, Window, tuple[str, ...]]:
    """The area that both cover, in each one's pixels."""
    (rows, cols), notes = offset_on(fused, reference)
    fraction = max(rows % 1, cols % 1)
    if fraction > 0:
        raise GridError(
            f"{fused.path} lies {fraction:.3g} pixels off the grid of {reference.path}: the offset has to be "
            "a whole number of pixels; resample one onto the other's grid (gdalwarp -tr -te)"
        )
    fused_area, reference_area, _ = _met(fused.grid, reference.grid, (rows, cols))
    return fused_area, reference_area, notes


def moved_area(
    fused: RasterInfo, reference: RasterInfo, move: Point
) -> tuple[Window, Window, Point, tuple[str, ...]]:
    """The area that both cover once the fused raster is moved, in each one's pixels, and what is left to move by.

    The latter is at most half a pixel. Raises GridError where they cover nothing in common.
    """
    (rows, cols), notes = offset_on(fused, reference)
    offset = round(rows + move[0], 4), round(cols + move[1], 4)
    return *_met(fused.grid, reference.grid, offset), notes


def offset_on(fused: RasterInfo, reference: RasterInfo) -> tuple[Point, tuple[str, ...]]:
    """The reference's row and column at which the fused raster's first pixel lies, and notes. Raises GridError."""
    a, b = fused.grid, reference.grid
    if placed_by(fused, reference) != "CRS":
        if (a.height, a.width) != (b.height, b.width):
            raise GridError(
                f"{fused.path} is {a.height} x {a.width} and {reference.path} {b.height} x {b.width} pixels "
                "and neither is georeferenced: give both a CRS and a geotransform"
            )
        if a.transform != b.transform and not {a.transform, b.transform} & {Affine.identity()}:
            raise GridError(f"{fused.path} and {reference.path} lie apart and have no CRS: give both one")
        return (0.0, 0.0), ("neither raster is georeferenced: compared pixel by pixel from the first",)
    placed = place_on(fused, reference).alignment
    if placed.rows.ratio != 1 or placed.cols.ratio != 1:
        raise GridError(
            f"the pixels differ in size: {_pixel(a)} in {fused.path}, {_pixel(b)} in {reference.path}; "
            "resample one onto the other's grid (gdalwarp -tr -te)"
        )
    rows = placed.hr_window.row + placed.rows.offset - placed.lr_window.row
    return (rows, placed.hr_window.col + placed.cols.offset - placed.lr_window.col), ()


def _met(fused: Grid, reference: Grid, offset: Point) -> tuple[Window, Window, Point]:
    """Where a raster and one whose first pixel lies at an offset on it meet, in each one's pixels.

    And the offset less whole pixels.
    """
    (own_row, row, height), (own_col, col, width) = (
        _met_along(at, own, other)
        for at, own, other in zip(
            offset, (fused.height, fused.width), (reference.height, reference.width), strict=True
        )
    )
    if min(height, width) < 1:
        raise GridError("the two rasters have no ground in common once one is moved onto the other")
    fraction = offset[0] - round(offset[0]), offset[1] - round(offset[1])
    return Window(own_row, own_col, height, width), Window(row, col, height, width), fraction


def _met_along(offset: float, own: int, other: int) -> tuple[int, int, int]:
    """Along an axis: the first pixel of each where all of it lies within both, and how many there are."""
    first, last = max(0, math.ceil(offset)), min(other - 1, math.floor(offset + own - 1))
    return first - round(offset), first, last - first + 1


def _within(area: Window, border: int) -> Window:
    if min(area.height, area.width) <= 2 * border:
        raise GridError(
            f"--border {border} leaves nothing of {area.height} x {area.width} common pixels: give a smaller one"
        )
    return Window(area.row + border, area.col + border, area.height - 2 * border, area.width - 2 * border)


def _without_bad(
    bands: dict[int, int], other: RasterInfo, reference: RasterInfo
) -> tuple[dict[int, int], tuple[str, ...]]:
    """The matched bands without those that a raster marks as bad, and a note that lists these."""
    bad_here, bad_there = set(reference.bands.bad), set(other.bands.bad)
    kept = {b: a for b, a in bands.items() if b not in bad_here and a not in bad_there}
    if len(kept) == len(bands):
        return bands, ()
    if not kept:
        raise InputError(
            f"{other.path} and {reference.path} mark every common band as bad: correct their bbl"
        )
    return kept, (f"{numbered_bands(b + 1 for b in bands if b not in kept)} left out: marked as bad",)


def _place(
    lr: RasterInfo, reference: RasterInfo, area: Window
) -> tuple[AxisPlacement, AxisPlacement, tuple[str, ...]]:
    """The placement of all LR pixels on `area` of the reference, by axis."""
    placed = place_on(lr, reference).alignment
    rows, cols = (
        AxisPlacement(axis.ratio, axis.offset + hr - axis.ratio * first - start)
        for axis, hr, first, start in (
            (placed.rows, placed.hr_window.row, placed.lr_window.row, area.row),
            (placed.cols, placed.hr_window.col, placed.lr_window.col, area.col),
        )
    )
    return rows, cols, placing_notes(lr, reference)


def _pixel(grid: Grid) -> str:
    t = grid.transform
    return f"{np.hypot(t.a, t.d):.10g} x {np.hypot(t.b, t.e):.10g}"


def _below(axis: AxisPlacement, n_lr: int, n_hr: int) -> NDArray[np.int64]:
    below = lr_below(axis, n_hr)
    return np.where((below >= 0) & (below < n_lr), below, -1)


def _local(taps: Taps) -> tuple[int, Taps]:
    """First input that the taps and the margin around them need, and the taps counted from it."""
    first, stop = taps.reach()
    first, stop = max(0, first - _MARGIN), min(taps.n_in, stop + _MARGIN)
    return first, taps.from_input(first, stop)


def match_bands(other: RasterInfo, reference: RasterInfo) -> tuple[dict[int, int], tuple[str, ...]]:
    """The band of `other` (value) for each of the reference (key), from 0; a note if matched by distance."""
    a, b = other.bands, reference.bands
    if a.wavelengths_nm is None or b.wavelengths_nm is None:
        if a.count != b.count:
            raise InputError(
                f"{other.path} has {a.count} bands, {reference.path} {b.count}, and not both state their "
                "wavelengths: give both wavelengths or the same bands"
            )
        return dict(zip(range(b.count), range(a.count), strict=True)), ()
    gaps = np.abs(np.subtract.outer(b.wavelengths_nm, a.wavelengths_nm))
    if a.count == b.count and np.diagonal(gaps).max() <= _SAME_BAND_NM:
        return dict(zip(range(b.count), range(a.count), strict=True)), ()
    limit = min(_half_spacing(a), _half_spacing(b))
    nearest = gaps.argmin(axis=1)
    mutual = gaps.argmin(axis=0)[nearest] == np.arange(b.count)
    common = np.flatnonzero(mutual & (gaps.min(axis=1) <= limit))
    if not common.size:
        raise InputError(
            f"{other.path} and {reference.path} have no band within {limit:.3g} nm of each other"
        )
    largest = gaps[common, nearest[common]].max()
    note = (
        f"bands matched by nearest wavelength, not resampled: {common.size} of {b.count} of "
        f"{reference.path.name}, {common.size} of {a.count} of {other.path.name}, at most {largest:.3g} nm apart"
    )
    return {int(i): int(nearest[i]) for i in common}, (note,)


def _half_spacing(bands: Bands) -> float:
    """Half the median distance of neighbouring wavelengths; 1 nm for a single band."""
    steps = np.diff(np.unique(np.array(bands.wavelengths_nm)))
    return float(np.median(steps)) / 2 if steps.size else _SAME_BAND_NM
