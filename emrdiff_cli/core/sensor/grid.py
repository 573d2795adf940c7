"""A low-resolution grid on a high-resolution one: ratio, offset and the common area."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.errors import GridError
from emrdiff_cli.raster_info import Grid, Window

# The tolerances of placing one grid on another.
NEAR_WHOLE = 5e-3  # share by which a raster to be warped may miss a whole ratio that it is then given
EDGE_SLACK = 1e-6  # HR pixels: rounding noise in the place of an LR pixel's edge
SNAP = 1e-2  # HR pixels: a smaller offset from a whole pixel is one of rounding in the file
_SHEAR = 1e-3  # pixels of drift over the whole raster beyond which grids count as rotated against each other


class AxisPlacement(NamedTuple):
    """Placement of an axis: LR pixel edge i lies at HR coordinate `offset + ratio * i`."""

    ratio: float
    offset: float


@dataclass(frozen=True)
class Alignment:
    """The common area of an LR and an HR raster.

    `lr_window` holds the LR pixels that reach into `hr_window`; `rows` and `cols` place the former
    on the latter: LR edge i (from the LR window's corner) = HR coordinate offset + ratio * i (from the
    HR window's corner).
    """

    lr_window: Window
    hr_window: Window
    rows: AxisPlacement
    cols: AxisPlacement

    @property
    def ratio(self) -> float:
        """HR pixels in an LR pixel's side: the geometric mean of the two axes."""
        return math.sqrt(self.rows.ratio * self.cols.ratio)


def align(lr: Grid, hr: Grid) -> Alignment:
    """Place an LR grid on an HR grid of the same CRS; the CRSs themselves are the caller's to compare.

    Raises GridError: grids rotated against each other, LR finer than HR, no common area.
    """
    lr_to_hr = ~hr.transform @ lr.transform
    if rotated(lr, hr):
        raise GridError("the two grids are rotated against each other: warp one onto the other's axes first")
    if lr_to_hr.a <= 0 or lr_to_hr.e <= 0:
        raise GridError("the two grids are mirrored against each other: warp one onto the other's axes first")
    lr_rows, hr_rows, rows = _axis(lr_to_hr.e, lr_to_hr.f, lr.height, hr.height)
    lr_cols, hr_cols, cols = _axis(lr_to_hr.a, lr_to_hr.c, lr.width, hr.width)
    return Alignment(
        lr_window=Window(lr_rows.start, lr_cols.start, len(lr_rows), len(lr_cols)),
        hr_window=Window(hr_rows.start, hr_cols.start, len(hr_rows), len(hr_cols)),
        rows=rows,
        cols=cols,
    )


def moved_grid(alignment: Alignment, lr: Grid, hr: Grid, shift: tuple[float, float]) -> Alignment:
    """The alignment with the LR grid moved by `shift` of its pixels, down and to the right; the HR grid stays.

    Raises GridError where nothing in common is left.
    """
    rows, cols, ratio = alignment.rows, alignment.cols, (alignment.rows.ratio, alignment.cols.ratio)
    top = alignment.hr_window.row + rows.offset + ratio[0] * (shift[0] - alignment.lr_window.row)
    left = alignment.hr_window.col + cols.offset + ratio[1] * (shift[1] - alignment.lr_window.col)
    on_hr = Grid(lr.height, lr.width, Affine(ratio[1], 0, left, 0, ratio[0], top))
    return align(on_hr, Grid(hr.height, hr.width, Affine.identity()))


def align_by_size(lr: Grid, hr: Grid) -> Alignment:
    """Place an LR grid on an HR grid that covers the same ground: the ratio is that of their sizes.

    Raises GridError where that is no whole number, the same for rows and columns.
    """
    ratio = hr.height / lr.height
    if ratio != hr.width / lr.width or not ratio.is_integer():
        raise GridError(
            f"neither has a georeference and their sizes are no exact ratio ({hr.height} x {hr.width} to "
            f"{lr.height} x {lr.width} pixels): georeference both"
        )
    whole = AxisPlacement(ratio, 0.0)
    return Alignment(Window(0, 0, lr.height, lr.width), Window(0, 0, hr.height, hr.width), whole, whole)


def rotated(grid: Grid, onto: Grid) -> bool:
    """Whether the axes of two grids of one CRS run at an angle, seen over the whole of the first."""
    between = ~onto.transform @ grid.transform
    drift = max(abs(between.b) * grid.height, abs(between.d) * grid.width)
    return bool(drift > _SHEAR * max(abs(between.a), abs(between.e), 1.0))


def same_place(grid: Grid, other: Grid) -> bool:
    """Whether the corners of two grids of one size lie together, but for rounding in a file."""
    to_pixels = ~other.transform @ grid.transform
    corners = [(0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height)]
    return all(math.dist(to_pixels @ corner, corner) < SNAP for corner in corners)


def lr_below(placement: AxisPlacement, n_hr: int) -> NDArray[np.int64]:
    """Along an axis: the LR pixel that each HR pixel's centre lies on, beyond the LR grid's ends too."""
    return np.asarray(np.floor((np.arange(n_hr) + 0.5 - placement.offset) / placement.ratio), dtype=np.int64)


def bounds_window(grid: Grid, bounds: tuple[float, float, float, float]) -> Window:
    """The pixels of a grid between (left, bottom, right, top) in its CRS, edges rounded to whole pixels.

    On a rotated grid the window encloses the bounds. Raises GridError where it holds no pixel.
    """
    left, bottom, right, top = bounds
    corners = [~grid.transform @ (x, y) for x in (left, right) for y in (bottom, top)]
    cols, rows = ([corner[axis] for corner in corners] for axis in (0, 1))
    first_col, first_row = max(0, round(min(cols))), max(0, round(min(rows)))
    last_col, last_row = min(grid.width, round(max(cols))), min(grid.height, round(max(rows)))
    if left >= right or bottom >= top or last_col <= first_col or last_row <= first_row:
        raise GridError(
            f"--bounds {left:.10g} {bottom:.10g} {right:.10g} {top:.10g}: no pixel of the common ground is in "
            "there; they are LEFT BOTTOM RIGHT TOP in the MSI's CRS (`emrdiff info`)"
        )
    return Window(first_row, first_col, last_row - first_row, last_col - first_col)


def _axis(ratio: float, offset: float, n_lr: int, n_hr: int) -> tuple[range, range, AxisPlacement]:
    """The common LR and HR pixels of one axis and their placement."""
    nearest = round(ratio)
    if nearest >= 1 and abs(ratio - nearest) * n_lr < SNAP:
        ratio = float(nearest)
    if abs(offset - round(offset)) < SNAP:
        offset = float(round(offset))
    # HR pixels whose centre lies on an LR pixel, then the LR pixels that those centres lie on.
    first_hr = max(0, math.ceil(offset - 0.5 - EDGE_SLACK))
    stop_hr = min(n_hr, math.ceil(offset + ratio * n_lr - 0.5 - EDGE_SLACK))
    if stop_hr <= first_hr:
        raise GridError("the two rasters have no ground in common: compare their bounds with `emrdiff info`")
    first_lr = max(0, math.floor((first_hr + 0.5 - offset) / ratio))
    last_lr = min(n_lr - 1, math.floor((stop_hr - 0.5 - offset) / ratio))
    placed = AxisPlacement(ratio, offset + ratio * first_lr - first_hr)
    return range(first_lr, last_lr + 1), range(first_hr, stop_hr), placed
