"""Cubes of one resolution laid on each other: found to hundredths of a pixel, or not told; moved by fractions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.cube_displacement import (
    REACH,
    SPLINE_MARGIN,
    CubeDisplacement,
    find_cube_displacement,
    moved_by_fraction,
)
from tests.support.scenes import textured

SIDE = 120


def _displaced(by: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A blurred, noisy cube in other units, and the ground on which it lies `by` pixels from the middle."""
    ground = textured(6, SIDE + 2 * REACH + 40, SIDE + 2 * REACH + 40).astype(float)
    there = ndimage.shift(ground, (0, -by[0], -by[1]), order=5, mode="mirror")
    inner = slice(REACH + 20, REACH + 20 + SIDE)
    seen = ndimage.gaussian_filter(there[:, inner, inner], (0, 0.7, 0.7))
    noise = np.random.default_rng(0).normal(0, 0.01, seen.shape)
    return 3 * seen[[1, 0, 2, 3, 5, 4]] + noise + 1, ground[:, 20:-20, 20:-20]


@pytest.mark.parametrize("by", [(0.0, 0.0), (0.3, -0.45), (7.25, -20.6), (39.0, 38.0)])
def test_a_displacement_is_found_to_hundredths_of_a_pixel(by: tuple[float, float]) -> None:
    cube, ground = _displaced(by)
    cube[:, 40:50, 60:80] = np.nan
    ground[:, :, 170:] = np.nan
    found = find_cube_displacement(cube, ground)
    assert found is not None
    assert found.move == pytest.approx(by, abs=0.03)
    assert max(found.standard_errors) < 0.03


@pytest.mark.parametrize("sigma", [0.7, 3.0, 12.0])
def test_of_other_ground_nothing_is_told(sigma: float) -> None:
    rng = np.random.default_rng(0)
    cube, ground = (
        ndimage.gaussian_filter(rng.normal(size=(6, side, side)), (0, sigma, sigma))
        for side in (SIDE, SIDE + 2 * REACH)
    )
    assert find_cube_displacement(cube, ground) is None
    assert find_cube_displacement(np.full_like(cube, np.nan), ground) is None


def test_a_move_settles_on_whole_pixels_that_it_is_not_told_from() -> None:
    assert CubeDisplacement((3.015, -0.4), (0.001, 0.001), 1).settled == (3, -0.4)
    assert CubeDisplacement((3.1, -0.4), (0.04, 0.001), 1).settled == (3, -0.4)
    assert CubeDisplacement((3.1, -0.4), (0.02, 0.001), 1).settled == (3.1, -0.4)


def test_a_part_with_its_margin_is_moved_as_the_whole() -> None:
    cube = textured(2, 90, 80)
    cube[1, 45, 40] = np.nan
    whole = moved_by_fraction(cube, (0.4, -0.3))
    part = moved_by_fraction(cube[:, 30 - SPLINE_MARGIN : 60 + SPLINE_MARGIN], (0.4, -0.3))
    np.testing.assert_allclose(part[:, SPLINE_MARGIN:-SPLINE_MARGIN], whole[:, 30:60], atol=1e-6)
    assert np.argwhere(np.isnan(whole[1, 1:, :-1])).tolist() == [[44, 39], [44, 40], [45, 39], [45, 40]]
