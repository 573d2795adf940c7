"""A field's shape against fields made of a scale, a rotation and a shear that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emrdiff_cli.core.sensor.displacement import DisplacementField
from emrdiff_cli.core.sensor.field_shape import shape_of

SHAPE = (80, 120)


def field_of(matrix: np.ndarray, shift: tuple[float, float] = (0.3, -0.2)) -> DisplacementField:
    """The field that moves a pixel at (row, col) from the middle to `matrix` times it, and all by a shift."""
    per_term = np.array(SHAPE) / 2
    return DisplacementField(np.column_stack([shift, (matrix - np.eye(2)) * per_term]), SHAPE)


def test_scale_and_corners() -> None:
    shape = shape_of(field_of(np.diag([1.002, 0.999])))
    assert shape.scale == pytest.approx((1.002, 0.999))
    assert (shape.rotation_degrees, shape.shear, shape.quadratic) == (0, 0, False)
    assert shape.corners == pytest.approx(math.hypot(0.002 * 39.5, 0.001 * 59.5))


def test_rotation_is_counterclockwise_on_the_screen() -> None:
    """What lies right of the middle is turned upwards: rows count downwards."""
    angle = math.radians(0.3)
    up = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    field = field_of(up, (0.0, 0.0))
    assert field.at(np.array([39.5]), np.array([119.0]))[0] < 0
    assert shape_of(field).rotation_degrees == pytest.approx(0.3, rel=1e-4)
    assert shape_of(field).shear == pytest.approx(0, abs=1e-12)


def test_shear() -> None:
    shape = shape_of(field_of(np.array([[1, 0.004], [0, 1]])))
    assert shape.shear == pytest.approx(0.004)
    assert shape.scale == (1, 1)


def test_a_shift_alone_changes_nothing_of_the_shape() -> None:
    shape = shape_of(DisplacementField(np.array([[0.4], [-0.7]]), SHAPE))
    assert (shape.scale, shape.rotation_degrees, shape.shear) == ((1, 1), 0, 0)
    assert shape.corners == pytest.approx(0)
    assert not shape.quadratic


def test_further_terms_are_said() -> None:
    coefficients = np.zeros((2, 6))
    coefficients[0, 3] = 0.1
    shape = shape_of(DisplacementField(coefficients, SHAPE))
    assert shape.quadratic
    assert shape.scale == (1, 1)
