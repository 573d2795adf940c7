"""Grids on grids: which pixels are in common, by pixel centres, and which lie within bounds, by rounding."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import align, bounds_window
from emrdiff_cli.errors import GridError
from emrdiff_cli.raster_info import Grid, Window

NORTH_UP = Affine(30, 0, 383472, 0, -30, 5818302)
Pixels = NDArray[np.int64]


def in_common(lr: int, ratio: float, offset: float, hr: int) -> tuple[Pixels, Pixels]:
    """LR and HR pixels of an axis that an HR pixel's centre on an LR pixel makes common."""
    on_lr = np.floor((np.arange(hr) + 0.5 - offset) / ratio).astype(np.int64)
    common = (on_lr >= 0) & (on_lr < lr)
    return np.unique(on_lr[common]), np.flatnonzero(common)


@given(
    lr=st.integers(1, 9),
    ratio=st.integers(2, 8),
    # In sixteenths: of no HR pixel does the centre lie on an LR pixel's edge.
    sixteenths=st.integers(-300, 300).filter(lambda number: number % 16 != 8),
    hr=st.integers(1, 60),
)
def test_the_common_pixels_are_those_with_an_hr_centre_on_an_lr_pixel(
    lr: int, ratio: int, sixteenths: int, hr: int
) -> None:
    offset = sixteenths / 16
    lr_grid = Grid(lr, lr, NORTH_UP, None)
    hr_grid = Grid(hr, hr, NORTH_UP @ Affine.scale(1 / ratio) @ Affine.translation(-offset, -offset), None)
    on_lr, on_hr = in_common(lr, ratio, offset, hr)
    if not on_hr.size:
        with pytest.raises(GridError, match="no ground in common"):
            align(lr_grid, hr_grid)
        return
    placed = align(lr_grid, hr_grid)
    first_lr, first_hr = int(on_lr[0]), int(on_hr[0])
    assert placed.lr_window == Window(first_lr, first_lr, len(on_lr), len(on_lr))
    assert placed.hr_window == Window(first_hr, first_hr, len(on_hr), len(on_hr))
    for axis in (placed.rows, placed.cols):
        assert axis == pytest.approx((ratio, offset + ratio * first_lr - first_hr))


@pytest.mark.parametrize("beside", [-0.4, -0.01, 0.0, 0.01, 0.4])
@pytest.mark.parametrize("side", range(4))
def test_bounds_beside_a_pixels_edge_stand_for_it(beside: float, side: int) -> None:
    grid = Grid(40, 50, NORTH_UP, None)
    left, top = grid.transform @ (11, 7)
    right, bottom = grid.transform @ (31, 19)
    bounds = np.array([left, bottom, right, top])
    bounds[side] += 30 * beside
    one, two, three, four = bounds.tolist()
    assert bounds_window(grid, (one, two, three, four)) == Window(7, 11, 12, 20)


def test_bounds_beyond_the_grid_end_with_it() -> None:
    grid = Grid(40, 50, NORTH_UP, None)
    (left, top), (right, bottom) = (grid.transform @ corner for corner in ((-9, 30), (60, 70)))
    assert bounds_window(grid, (left, bottom, right, top)) == Window(30, 0, 10, 50)
