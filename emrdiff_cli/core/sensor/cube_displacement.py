"""Displacement of two cubes of one resolution against each other, and a cube moved by a fraction of a pixel.

The one is regressed on the leading components of the other at every whole displacement, then by least squares at
fractions of a pixel; so neither gains nor bands need be alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.coarse_registration import FAR_REACH, CoarseShift, WideScene, find_coarse_shift
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.displacement import estimate_shift_finely
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_each_band, fill_invalid
from emrdiff_cli.core.sensor.leading_components import leading_components
from emrdiff_cli.core.sensor.registration import PairBlock, Point

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

REACH = FAR_REACH  # pixels: the farthest displacement looked for, along each axis
SPLINE_MARGIN = 20  # pixels around a part of a cube that make it the same moved alone and with the whole

_COMPONENTS = 4  # of the cube that is explained
_SMOOTHED = Psf.of_fwhm(2.0, 2.0)  # what is seen between pixels: narrower, it is drawn towards them
_SURE = 0.99  # confidence in the whole displacement
_EXPLAINED = 0.5  # share of the one cube that the other has to explain there,
_UNSURE = 0.05  # and pixels of standard error: beyond these the two do not tell
_AS_GOOD = 0.9  # share of the R^2 found, from which the stated place is as good
_ASTRAY = 3.0  # pixels from where the search at fractions begins
_SIGNIFICANT = 3.0  # standard errors
_LEAST = 0.02  # pixels that are not worth a move
_ORDER = 5
_WHOLE = 0.999


@dataclass(frozen=True)
class CubeDisplacement:
    """The move that lays a cube on another, pixels down and right, its standard errors, and R^2 there."""

    move: Point
    standard_errors: Point
    r2: float

    @property
    def settled(self) -> Point:
        """The move, by whole pixels where it differs from them by less than three standard errors or 0.02."""
        rows, cols = (
            round(by) if abs(by - round(by)) < max(_LEAST, _SIGNIFICANT * error) else by
            for by, error in zip(self.move, self.standard_errors, strict=True)
        )
        return float(rows), float(cols)


def find_cube_displacement(cube: Floats, other: Floats) -> CubeDisplacement | None:
    """Find where a cube (B, h, w) lies on another (C, h + 2 REACH, w + 2 REACH), NaN in both where invalid.

    The cube is expected in the middle. None where the two do not tell.
    """
    values, valid, _ = fill_invalid(cube)
    seen, seen_valid, _ = fill_invalid(other)
    components = leading_components(seen, seen_valid, _COMPONENTS)
    if components is None or not len(components):
        return None
    start = _start(find_coarse_shift(WideScene(values, valid, components, seen_valid, REACH)))
    if start is None:
        return None
    middle = AxisPlacement(1.0, float(REACH))
    block = PairBlock(values, valid, components, seen_valid, middle, middle)
    found = estimate_shift_finely(block, _SMOOTHED, start)
    if found is None:
        return None
    (rows, cols), (row_error, col_error) = found.field.coefficients[:, 0], found.standard_errors[:, 0]
    r2 = 1 - found.unexplained
    strayed = max(abs(rows - start[0]), abs(cols - start[1])) > _ASTRAY
    if strayed or r2 < _EXPLAINED or max(row_error, col_error) > _UNSURE:
        return None
    return CubeDisplacement((float(rows), float(cols)), (float(row_error), float(col_error)), r2)


def _start(coarse: CoarseShift | None) -> Point | None:
    """Where fractions of a pixel are sought: the place surely found, else the stated one if it is as good as any.

    A cube fused from a displaced pair lies in two places, none of which is surely the better one.
    """
    if coarse is not None and coarse.confidence >= _SURE:
        return float(coarse.rows), float(coarse.cols)
    near_by = coarse is not None and coarse.r2_near >= _AS_GOOD * coarse.r2
    return (0.0, 0.0) if near_by else None


def moved_by_fraction(cube: Floats, by: Point) -> Field:
    """A cube (B, h, w) moved down and right by at most a pixel, by quintic splines in each band.

    NaN where one of the pixels around the place is.
    """
    filled, known = fill_each_band(cube)
    moved = np.empty(filled.shape, np.float32)
    for band, (values, there) in enumerate(zip(filled, known, strict=True)):
        moved[band] = ndimage.shift(values.astype(np.float64), by, order=_ORDER, mode="mirror")
        share = ndimage.shift(there.astype(np.float32), by, order=1, mode="constant")
        moved[band][share < _WHOLE] = np.nan
    return moved
