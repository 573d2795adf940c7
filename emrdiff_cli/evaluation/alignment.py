"""Where a fused raster lies on a reference, whatever place either states: found on both, or refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.cube_displacement import REACH, find_cube_displacement
from emrdiff_cli.errors import InputError
from emrdiff_cli.evaluation.common_ground import Point, comparable_bands, offset_on
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Window

Cube = NDArray[np.float32]

_SIDE = 256  # pixels of the block that is looked at, along each axis, at most
_MOST_BANDS = 16


@dataclass(frozen=True)
class Aligned:
    """What a fused raster is moved by, its pixels down and right, and a note that says so."""

    move: Point
    note: str


def find_alignment(fused: RasterReader, reference: RasterReader) -> Aligned:
    """Find how a fused raster has to be moved to lie on a reference, on a block near its middle.

    Raises InputError where the two do not tell, and what laying them on each other raises.
    """
    offset = offset_on(fused.info, reference.info)[0]
    bands, _ = comparable_bands(fused.info, reference.info)
    chosen = np.unique(np.linspace(0, len(bands) - 1, min(len(bands), _MOST_BANDS)).round().astype(int))
    theirs, own = np.array(list(bands.items()))[chosen].T.tolist()
    start = round(offset[0]), round(offset[1])
    block = _middle(fused, reference, start)
    cube = fused.read(block, own)
    around = Window(
        block.row + start[0] - REACH,
        block.col + start[1] - REACH,
        block.height + 2 * REACH,
        block.width + 2 * REACH,
    )
    found = find_cube_displacement(cube, _read_around(reference, around, theirs))
    if found is None:
        raise InputError(
            f"--align: {fused.info.path} and {reference.info.path} do not tell how they lie on each other within "
            f"{REACH} pixels: leave --align out to compare them as they are"
        )
    by = found.settled
    rows, cols = (round(at + step - where, 4) for at, step, where in zip(start, by, offset, strict=True))
    return Aligned((rows, cols), _said((rows, cols), found.r2, whole=all(step.is_integer() for step in by)))


def _said(move: Point, r2: float, *, whole: bool) -> str:
    if move == (0.0, 0.0):
        return f"--align: the fused raster lies on the reference, of which it explains {r2:.1%}: it was not moved"
    down = f"{abs(move[0]):.4g} {'up' if move[0] < 0 else 'down'}"
    right = f"{abs(move[1]):.4g} {'left' if move[1] < 0 else 'right'}"
    how = "exactly, by whole pixels" if whole else "by quintic splines"
    return (
        f"--align: the fused raster was moved by {down} and {right} (pixels), {how}, onto the reference, of which "
        f"it explains {r2:.1%} there: scored on the ground that both cover then"
    )


def _middle(fused: RasterReader, reference: RasterReader, start: tuple[int, int]) -> Window:
    """The block in the middle of what is common to both as they state their places, in the fused one's pixels."""
    a, b = fused.info.grid, reference.info.grid
    (top, height), (left, width) = (
        _middle_of(max(0, -first), min(own, other - first))
        for first, own, other in ((start[0], a.height, b.height), (start[1], a.width, b.width))
    )
    return Window(top, left, height, width)


def _middle_of(first: int, stop: int) -> tuple[int, int]:
    length = min(_SIDE, stop - first)
    return (first + stop - length) // 2, length


def _read_around(reader: RasterReader, window: Window, bands: list[int]) -> Cube:
    """A window that may reach beyond the raster, where it is NaN."""
    grid = reader.info.grid
    rows = slice(max(0, window.row), min(grid.height, window.rows.stop))
    cols = slice(max(0, window.col), min(grid.width, window.cols.stop))
    cube = np.full((len(bands), window.height, window.width), np.nan, np.float32)
    there = Window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
    top, left = rows.start - window.row, cols.start - window.col
    cube[:, top : top + there.height, left : left + there.width] = reader.read(there, bands)
    return cube
