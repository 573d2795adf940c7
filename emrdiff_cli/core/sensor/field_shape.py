"""The shape of a displacement field in a surveyor's terms: scale, rotation, shear, and how far it goes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emrdiff_cli.core.sensor.displacement import DisplacementField


@dataclass(frozen=True)
class FieldShape:
    """A field's scale along rows and columns, rotation, shear, and how far it moves a corner, all but its mean.

    Scale, rotation and shear are those in the middle of the scene: what LR pixels have to be stretched (1: not at
    all), turned (degrees, counterclockwise) and sheared (change of the right angle, in radians) by. `corners`: LR
    pixels by which the corner that is moved most leaves the mean of all four. `quadratic`: whether they change over
    the scene.
    """

    scale: tuple[float, float]
    rotation_degrees: float
    shear: float
    quadratic: bool
    corners: float


def shape_of(field: DisplacementField) -> FieldShape:
    """Describe a field; a shift alone has scale 1 and turns nothing."""
    height, width = field.shape
    terms = np.zeros((2, 3))
    known = min(3, field.coefficients.shape[1])
    terms[:, :known] = field.coefficients[:, :known]
    (down_by_row, down_by_col), (right_by_row, right_by_col) = 2 * terms[:, 1:] / (height, width)
    corners = field.over()[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    return FieldShape(
        scale=(1 + float(down_by_row), 1 + float(right_by_col)),
        rotation_degrees=math.degrees(float(right_by_row - down_by_col) / 2),
        shear=float(right_by_row + down_by_col),
        quadratic=bool(field.coefficients.shape[1] > 3),
        corners=float(np.hypot(*(corners - corners.mean(axis=1, keepdims=True))).max()),
    )
