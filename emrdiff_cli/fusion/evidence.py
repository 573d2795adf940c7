"""Evidence of a pair: the parts of it that are looked at, by the effort asked for, and the verdict on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.gathering import PairPart, gather
from emrdiff_cli.core.evidence.verdict import Verdict, choose
from emrdiff_cli.core.sensor.degradation import on_image
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips
from emrdiff_cli.fusion.observed_scene import ObservedScene
from emrdiff_cli.methods import END_POINTS, Effort
from emrdiff_cli.raster_info import Window
from emrdiff_cli.runtime.interruption import safe_point

Core = tuple[slice, slice]


class _Sample(NamedTuple):
    """LR pixels that are looked at: a `share` of all, between `least` and `most`; blocks of each part left out."""

    least: int
    most: int
    share: float
    blocks: int


_SAMPLES: dict[str, _Sample] = {
    "fast": _Sample(16 * 16, 32 * 32, 1 / 16, 4),
    "normal": _Sample(32 * 32, 8 * 32 * 32, 1 / 8, 8),
}
_PART = 32  # LR pixels along the side of a part of a sample,
_LARGE_PART = 64  # and of one of the whole,
_HALO = 6  # with so many around them


def verdict_on(
    observed: ObservedScene, effort: Effort = "normal", say: Callable[[str], None] = lambda note: None
) -> Verdict:
    """The training-free method that the pair's own evidence names, with all of the evidence.

    `say` is told which part of the pair is looked at.
    """
    sample, pixels = _SAMPLES.get(effort), None
    if sample is not None:
        pixels = min(sample.most, max(sample.least, round(sample.share * observed.lr.valid.size)))
    where = cores(observed.lr.valid.shape, pixels)

    def parts() -> Iterator[PairPart]:
        for number, core in enumerate(where, 1):
            say(f"choosing the method: part {number} of {len(where)}")
            yield _part(observed, core)

    found = gather(parts(), END_POINTS, None if sample is None else sample.blocks, observed.covariance)
    return Verdict(
        method=choose(found.standings, found.left_out, found.misplaced),
        standings=found.standings,
        left_out=found.left_out,
        lr_pixels=found.lr_pixels,
        unexplained=found.unexplained,
        misplaced=found.misplaced,
        changed=observed.ground.share,
    )


def cores(shape: tuple[int, ...], pixels: int | None) -> list[Core]:
    """The parts of an LR grid that are looked at: all of one that is small, else squares spread evenly over it.

    They hold about so many `pixels`; None: every pixel lies in one of them.
    """
    height, width = shape
    if height * width <= (pixels or _LARGE_PART**2):
        return [(slice(0, height), slice(0, width))]
    if pixels is None:
        tops, lefts = (range(0, length, _LARGE_PART) for length in shape)
        return [
            (slice(t, min(t + _LARGE_PART, height)), slice(c, min(c + _LARGE_PART, width)))
            for t in tops
            for c in lefts
        ]
    side = min(_PART, math.isqrt(pixels))
    sides = min(side, height), min(side, width)
    count = max(1, pixels // (sides[0] * sides[1]))
    down = min(height // sides[0], max(1, min(count, round(math.sqrt(count * height / width)))))
    across = min(width // sides[1], max(1, count // down))
    return [
        (slice(top, top + sides[0]), slice(left, left + sides[1]))
        for top in _spread(height, sides[0], down)
        for left in _spread(width, sides[1], across)
    ]


def _spread(length: int, side: int, count: int) -> list[int]:
    """The first pixels of `count` pieces of a length, in the middle of as many equal shares of it."""
    return [round((number + 0.5) * length / count - side / 2) for number in range(count)]


def _part(observed: ObservedScene, core: Core) -> PairPart:
    """A part of the scene, with its halo, as a pair of its own."""
    safe_point()
    pair, lr = observed.pair, observed.usable_lr
    shape, place = lr.valid.shape, pair.alignment
    wide = [
        slice(max(0, part.start - _HALO), min(length, part.stop + _HALO))
        for part, length in zip(core, shape, strict=True)
    ]
    rows, cols = wide
    axes = (place.rows, place.hr_window.height), (place.cols, place.hr_window.width)
    (top, bottom, by_rows), (left, right, by_cols) = (
        _axis(placed, part, length) for (placed, length), part in zip(axes, wide, strict=True)
    )
    lengths = [part.stop - part.start for part in wide]
    resampling = Resampling.between(
        by_rows, by_cols, (lengths[0], lengths[1]), (bottom - top, right - left), pair.psf
    )
    values, valid = pair.read_msi(Window(top, left, bottom - top, right - left))
    scene = LrScene(
        lr.hsi[:, rows, cols],
        lr.msi[:, rows, cols],
        lr.valid[rows, cols] & on_image(resampling.down),
        None if lr.changed is None else lr.changed[rows, cols],
    )
    inner = [slice(part.start - w.start, part.stop - w.start) for part, w in zip(core, wide, strict=True)]
    ratio = place.rows.ratio, place.cols.ratio
    return PairPart(scene, _one_strip(values, valid), resampling, pair.psf, ratio, (inner[0], inner[1]))


def _axis(placed: AxisPlacement, part: slice, length: int) -> tuple[int, int, AxisPlacement]:
    """First and one past the last HR pixel whose centre lies on a part of the LR axis, and the part's placement."""
    ratio, offset = placed
    first = max(0, math.ceil(offset + ratio * part.start - 0.5))
    stop = min(length, math.ceil(offset + ratio * part.stop - 0.5))
    return first, stop, AxisPlacement(ratio, offset + ratio * part.start - first)


def _one_strip(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Strips:
    def strips() -> Iterator[Strip]:
        yield Strip(0, values, valid)

    return strips
