"""The minimum of a function of one or two variables, from values around it, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_FLAT = 1e-6  # an optimum less deep, between neighbours tried, is rounding
_FARTHEST = 1.5  # steps from the middle beyond which a parabola is not followed

_AROUND = np.array(list(product((-1.0, 0.0, 1.0), repeat=2)))
_PARABOLOID = np.linalg.pinv(
    np.stack([np.ones(9), *_AROUND.T, *(_AROUND**2).T, _AROUND.prod(axis=1)], axis=1)
)


def valley(surface: Floats) -> tuple[float, float] | None:
    """The minimum of the parabola through 3 x 3 values, in steps from the middle; None without one."""
    _, down, right, down2, right2, mixed = _PARABOLOID @ surface.ravel()
    curvature = np.array([[2 * down2, mixed], [mixed, 2 * right2]])
    if np.linalg.eigvalsh(curvature)[0] < _FLAT:
        return None
    row, col = np.clip(-np.linalg.solve(curvature, [down, right]), -_FARTHEST, _FARTHEST)
    return float(row), float(col)


def dip(values: Floats) -> float | None:
    """The minimum of the parabola through three values, in steps from the middle; None without one."""
    left, middle, right = (float(v) for v in values)
    curvature = left - 2 * middle + right
    if curvature < _FLAT:
        return None
    return min(_FARTHEST, max(-_FARTHEST, (left - right) / (2 * curvature)))


def without_each(values: Floats) -> list[Floats]:
    """(.., parts) summed over all parts but one, for each part that holds anything."""
    total = values.sum(axis=-1)
    return [
        total - values[..., part] for part in np.flatnonzero(values.any(axis=tuple(range(values.ndim - 1))))
    ]


def jackknife(found: Sequence[float | None]) -> float:
    """Standard error of what was found without each part in turn; infinite if something was not, or with one."""
    known = np.array([value for value in found if value is not None])
    if len(known) < len(found) or len(known) < 2:
        return math.inf
    return math.sqrt((len(known) - 1) * float(known.var()))


def valley_errors(surface: Floats, step: float) -> tuple[float, float]:
    """The jackknife's standard errors of the valley of (3, 3, parts) values `step` apart.

    Infinite where a part alone makes the valley.
    """
    valleys = [valley(rest) for rest in without_each(surface)]
    down, right = (jackknife([None if v is None else v[axis] for v in valleys]) for axis in (0, 1))
    return step * down, step * right
