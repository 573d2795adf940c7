"""Scale bars: a round length, and its picture with a legend in a small font of pixels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SHARE = 0.3  # of the picture's width that a bar takes at most
_ROWS = 7
_INK, _PAPER = 0, 255

# Columns of 7 pixels, the top one in the lowest bit.
_GLYPHS = {
    "0": "3e5149453e",
    "1": "00427f4000",
    "2": "4261514946",
    "3": "2141454b31",
    "4": "1814127f10",
    "5": "2745454539",
    "6": "3c4a494930",
    "7": "0171090503",
    "8": "3649494936",
    "9": "064949291e",
    ".": "0060600000",
    ",": "0050300000",
    " ": "0000000000",
    "L": "7f40404040",
    "R": "7f09192946",
    "a": "2054545478",
    "b": "7f48444438",
    "c": "3844444420",
    "d": "384444487f",
    "e": "3854545418",
    "f": "087e090102",
    "h": "7f08040478",
    "i": "00447d4000",
    "k": "7f10284400",
    "l": "00417f4000",
    "m": "7c04180478",
    "n": "7c08040478",
    "o": "3844444438",
    "p": "7c14141408",
    "r": "7c08040408",
    "s": "4854545420",
    "t": "043f444020",
    "x": "4428102844",
}


class ScaleBar(NamedTuple):
    """A bar so many pixels of the picture long, and what it says."""

    pixels: int
    label: str


def scale_bar(width: int, pixel: float, unit: str) -> ScaleBar:
    """The longest bar of 1, 2 or 5 times a power of ten that takes at most 30 % of a picture's width.

    `pixel` is a picture pixel's width, in `unit`; 1000 m and more are given in km.
    """
    most = _SHARE * width * pixel
    power = 10.0 ** math.floor(math.log10(most))
    length = power * max(step for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
    in_km = unit == "m" and length >= 1000
    label = f"{length / 1000 if in_km else length:.10g} {'km' if in_km else unit}"
    return ScaleBar(max(1, round(length / pixel)), label)


def footer(width: int, bar: ScaleBar, legend: str = "") -> NDArray[np.uint8]:
    """A strip of grey levels, (rows, width), to go under a picture: the bar, its length, a legend on the right.

    What does not fit beside the rest is left out, the bar never.
    """
    zoom = max(1, width // 350)
    margin = 4 * zoom
    strip = np.full((_ROWS * zoom + 2 * margin, width), _PAPER, np.uint8)
    left = min(margin, max(0, width - bar.pixels))
    _draw_bar(strip[margin:-margin], left, bar.pixels, zoom)
    label, text = _words(bar.label, zoom), _words(legend, zoom)
    after = left + bar.pixels + 2 * margin
    if after + label.shape[1] <= width:
        strip[margin:-margin, after : after + label.shape[1]] = label
        start = width - margin - text.shape[1]
        if start >= after + label.shape[1] + 2 * margin:
            strip[margin:-margin, start : start + text.shape[1]] = text
    return strip


def _draw_bar(strip: NDArray[np.uint8], left: int, pixels: int, zoom: int) -> None:
    """A line with a tick at each end, drawn into the strip."""
    middle = strip.shape[0] // 2
    strip[middle - zoom // 2 : middle - zoom // 2 + zoom, left : left + pixels] = _INK
    strip[:, left : left + zoom] = _INK
    strip[:, left + pixels - zoom : left + pixels] = _INK


def _words(text: str, zoom: int) -> NDArray[np.uint8]:
    """A text in grey levels; characters without a glyph are left out."""
    columns: list[int] = []
    for glyph in (_GLYPHS[character] for character in text if character in _GLYPHS):
        columns += [*bytes.fromhex(glyph), 0]
    ink = np.array(columns, np.uint8)[None] >> np.arange(_ROWS, dtype=np.uint8)[:, None] & 1
    drawn = np.where(ink == 1, _INK, _PAPER).astype(np.uint8)
    return drawn.repeat(zoom, axis=0).repeat(zoom, axis=1)
