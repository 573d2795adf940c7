"""Arrows drawn on a picture, with a dark rim that parts them from any ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

_RIM = (0, 0, 0)
_HEAD, _HEAD_ANGLE = 0.35, math.radians(28)  # of an arrow's length at most, and between its shaft and a barb
_MOST_HEAD = 5.0  # line widths


class Arrow(NamedTuple):
    """An arrow from a place on a picture (row, column; pixel centres are whole) by pixels down and right."""

    row: float
    col: float
    down: float
    right: float


def draw_arrows(picture: Pixels, arrows: Sequence[Arrow], colour: Colour, width: float) -> Pixels:
    """Draw arrows `width` pixels wide on a copy of an RGBA picture, (4, rows, columns); opaque where it was not.

    What lies outside is cut off; a length of nothing is drawn as a dot.
    """
    drawn = picture.astype(np.float64)
    for arrow in arrows:
        for radius, ink in ((width / 2 + max(1.0, width / 3), _RIM), (width / 2, colour)):
            for start, stop in _lines(arrow, width):
                _draw_line(drawn, start, stop, radius, ink)
    return np.rint(drawn).astype(np.uint8)


_Place = tuple[float, float]


def _lines(arrow: Arrow, width: float) -> list[tuple[_Place, _Place]]:
    """The shaft and the two barbs."""
    start, tip = (arrow.row, arrow.col), (arrow.row + arrow.down, arrow.col + arrow.right)
    length = math.hypot(arrow.down, arrow.right)
    barb, back = min(_HEAD * length, _MOST_HEAD * width), math.atan2(-arrow.down, -arrow.right)
    ends = [
        (tip[0] + barb * math.sin(back + turn), tip[1] + barb * math.cos(back + turn))
        for turn in (-_HEAD_ANGLE, _HEAD_ANGLE)
    ]
    return [(start, tip), *((end, tip) for end in ends)]


def _draw_line(drawn: NDArray[np.float64], start: _Place, stop: _Place, radius: float, ink: Colour) -> None:
    """Blend a line with round ends into an RGBA picture, its edges smoothed over a pixel."""
    reach = radius + 1
    rows, cols = (
        np.arange(max(0, math.floor(min(a, b) - reach)), min(size, math.ceil(max(a, b) + reach) + 1))
        for a, b, size in zip(start, stop, drawn.shape[1:], strict=True)
    )
    if not (rows.size and cols.size):
        return
    down, right = stop[0] - start[0], stop[1] - start[1]
    above, beside = rows[:, None] - start[0], cols - start[1]
    square = down**2 + right**2
    share = np.clip((above * down + beside * right) / square, 0, 1) if square else 0.0
    distance = np.hypot(above - share * down, beside - share * right)
    cover = np.clip(radius + 0.5 - distance, 0, 1)
    part = drawn[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    part += cover * (np.reshape([*ink, 255], (4, 1, 1)) - part)
