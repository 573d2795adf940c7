"""Values that are probably fill, not measured: one value in all bands of many pixels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import let_go
from emrdiff_cli.core.sensor.observation import Strip

Floats = NDArray[np.floating[Any]]

_SHARE = 1e-3  # of the pixels from which an extreme value in all bands is worth a word
_BORDER = 0.05  # share of the pixels at the border from which any value in all bands is
_LEAST_PIXELS = 4
_FEW_BANDS = 2  # bands that are equal in too many pixels to say anything
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class ProbableFill:
    """A value that all bands of some pixels have: `share` of the valid pixels, or of those `at_border`.

    `other`: the value of the later ones of the bands, where that is another: a second detector's. NaN: the same.
    """

    value: float
    share: float
    at_border: bool
    other: float = math.nan


class FillSurvey:
    """Look at an image (C, height, W) in strips of rows from the top down, NaN where invalid, for probable fill.

    That is the least or the greatest value of all bands, in all bands of 1 pixel in 1000 or more; or any value in
    all bands of 1 in 20 or more of the pixels along the image's border.
    """

    def __init__(self, height: int) -> None:
        self._height, self._row = height, 0
        self._pixels, self._bands = 0, 0
        self._least, self._greatest = (np.inf, 0), (-np.inf, 0)
        self._border: Counter[float] = Counter()
        self._border_pixels = 0

    def update(self, strip: Floats) -> None:
        """Add a strip (C, n, W)."""
        least, greatest = np.fmin.reduce(strip, axis=0), np.fmax.reduce(strip, axis=0)
        same = least == greatest
        self._bands = len(strip)
        self._pixels += int(np.isfinite(least).sum())
        if np.isfinite(least).any():
            self._least = _added(self._least, float(np.nanmin(least)), least[same], np.less)
            self._greatest = _added(self._greatest, float(np.nanmax(greatest)), least[same], np.greater)
        edge = np.zeros(same.shape, bool)
        edge[:, [0, -1]] = True
        edge[: 1 if self._row == 0 else 0] = True
        if self._row + len(edge) >= self._height:
            edge[-1] = True
        self._border_pixels += int((edge & np.isfinite(least)).sum())
        self._border.update(least[same & edge].tolist())
        self._row += len(edge)

    def watch(self, strips: Iterable[Strip]) -> Iterator[Strip]:
        """The strips of an MSI, looked at on their way."""
        for strip in strips:
            self.update(np.where(strip.valid, strip.values, np.float32(np.nan)))
            yield strip

    def result(self) -> tuple[ProbableFill, ...]:
        """What was found so far; nothing where the whole image is of one value."""
        if self._least[0] >= self._greatest[0]:
            return ()
        found: dict[float, ProbableFill] = {}
        for value, count in (self._least, self._greatest):
            if count >= max(_LEAST_PIXELS, _SHARE * self._pixels):
                found[value] = ProbableFill(value, count / self._pixels, False)
        for value, count in self._border.most_common(2) if self._bands > _FEW_BANDS else ():
            if value not in found and count >= max(_LEAST_PIXELS, _BORDER * self._border_pixels):
                found[value] = ProbableFill(value, count / self._border_pixels, True)
        return tuple(found.values())


def probable_fill(image: Floats, bands: Sequence[int] | None = None) -> tuple[ProbableFill, ...]:
    """As `FillSurvey` finds it in some bands (0-based; None: all) of a whole image (C, H, W)."""
    chosen = list(range(len(image)) if bands is None else bands)
    survey = FillSurvey(image.shape[1])
    for top in range(0, image.shape[1] if chosen else 0, _ROWS_AT_ONCE):
        rows = image[:, top : top + _ROWS_AT_ONCE]
        survey.update(rows if bands is None else rows[chosen])
        let_go(image)
    return survey.result() or _fill_of_two(image, chosen)


def _fill_of_two(image: Floats, bands: Sequence[int]) -> tuple[ProbableFill, ...]:
    """Each band's own least or greatest value, not the same in all, in all bands of 1 pixel in 1000 or more."""
    valid = np.ones(image.shape[1:], bool)
    for band in bands:
        valid &= np.isfinite(image[band])
        let_go(image)
    if len(bands) <= _FEW_BANDS or not valid.any():
        return ()
    count = int(valid.sum())
    at_ends, all_flat = np.ones(count, bool), True
    for seen in (image[band][valid] for band in bands):
        let_go(image)
        least, greatest = seen.min(), seen.max()
        at_ends &= (seen == least) | (seen == greatest)
        all_flat &= bool(least == greatest)
    rows, cols = (axis[at_ends] for axis in np.nonzero(valid))
    extreme = np.array([image[band][rows, cols] for band in bands])
    extreme = extreme[:, extreme[0] != extreme[-1]]
    if all_flat or extreme.shape[1] < max(_LEAST_PIXELS, _SHARE * count):
        return ()
    pairs = Counter(zip(extreme[0].tolist(), extreme[-1].tolist(), strict=True))
    (value, other), most = pairs.most_common(1)[0]
    return (ProbableFill(value, most / count, False, other),)


def _added(known: tuple[float, int], extreme: float, same: Floats, beyond: Any) -> tuple[float, int]:
    """The extreme so far with the count of pixels that have it in all bands."""
    value, count = (extreme, 0) if beyond(extreme, known[0]) else known
    return value, count + int((same == value).sum())
