"""Evidence of a pair: the parts of it that are looked at, by the effort asked for, and the verdict on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from emrdiff_cli.core.evidence.gathering import PairPart, gather
from emrdiff_cli.core.evidence.scene_part import Core, PartPlan, not_masked
from emrdiff_cli.core.evidence.verdict import Verdict, choose
from emrdiff_cli.fusion.observed_scene import ObservedScene
from emrdiff_cli.methods import END_POINTS, Effort
from emrdiff_cli.runtime.interruption import safe_point


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
    sample, valid = _SAMPLES.get(effort), observed.lr.valid
    where = not_masked(sampled_cores(valid.shape, effort), valid, _PART)

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


def sampled_cores(shape: tuple[int, ...], effort: Effort) -> list[Core]:
    """The parts of an LR grid that are looked at with an effort."""
    sample, pixels = _SAMPLES.get(effort), None
    if sample is not None:
        pixels = min(sample.most, max(sample.least, round(sample.share * math.prod(shape))))
    return cores(shape, pixels)


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
    pair = observed.pair
    plan = PartPlan.of(observed.usable_lr, pair.resampling, core, _HALO)
    part = plan.seen(*pair.read_msi(plan.hr))
    ratio = pair.alignment.rows.ratio, pair.alignment.cols.ratio
    return PairPart(part.lr, part.strips, part.resampling, pair.psf, ratio, part.core)
