"""Parts of a scene as scenes of their own, for what is asked of a sample of it.

A part is some LR pixels with the HR pixels that they see, fringe of the PSF and all, so that degrading it is what
degrading the scene is. Around its `core` lie LR pixels that are known but do not count; upsampled, its ends are
replicated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips
from emrdiff_cli.core.sensor.resampling import Taps
from emrdiff_cli.raster_info import Window

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Image = NDArray[Any]
Core = tuple[slice, slice]

_ENOUGH = 0.5  # share of valid pixels with which a core will do
_PLACES = np.linspace(0, 1, 9)  # shares of an axis around which another is looked for
_AROUND = 1  # LR pixels around a core at the least: HR pixels of the fringe lie on them, and do not count


@dataclass(frozen=True)
class ScenePart:
    """LR pixels, of which those in `core` count, with the HR pixels that they see."""

    lr: LrScene
    resampling: Resampling
    msi: Field
    valid: Mask
    core: Core

    def strips(self) -> Iterator[Strip]:
        """Its MSI, in one strip."""
        yield Strip(0, self.msi, self.valid)


@dataclass(frozen=True)
class PartPlan:
    """A part whose MSI is still to be read: `hr`, its window of the HR grid."""

    lr: LrScene
    resampling: Resampling
    hr: Window
    core: Core

    @classmethod
    def of(cls, scene: LrScene, resampling: Resampling, core: Core, halo: int = _AROUND) -> PartPlan:
        """The part with so many LR pixels around a core (rows, columns) of the scene, where it has them."""
        wide = [
            slice(max(0, part.start - halo), min(length, part.stop + halo))
            for part, length in zip(core, scene.valid.shape, strict=True)
        ]
        maps, (top, bottom), (left, right) = _maps(resampling, wide)
        rows, cols = (
            slice(part.start - own.start, part.stop - own.start) for part, own in zip(core, wide, strict=True)
        )
        return cls(_lr_part(scene, wide), maps, Window(top, left, bottom - top, right - left), (rows, cols))

    def seen(self, msi: Field, valid: Mask) -> ScenePart:
        """The part with its MSI (m, H, W) without holes, and where that is valid (H, W)."""
        return ScenePart(self.lr, self.resampling, msi, valid, self.core)


def spread_parts(scene: LrScene, strips: Strips, resampling: Resampling, side: int) -> list[ScenePart]:
    """The parts of `spread_plans`, with their MSI."""
    return read_in_one_pass(spread_plans(scene, resampling, side), strips)


def spread_plans(scene: LrScene, resampling: Resampling, side: int) -> list[PartPlan]:
    """The whole of a scene up to half more than `side` LR pixels wide and high; of a larger one two parts.

    They lie around a third and two thirds of the way along its diagonal, with what is around their cores `side`
    wide and high; where both are masked there is one elsewhere.
    """
    height, width = scene.valid.shape
    if max(height, width) <= 1.5 * side:
        return [PartPlan.of(scene, resampling, (slice(0, height), slice(0, width)))]
    cores = [(middle(height, side, part / 3), middle(width, side, part / 3)) for part in (1, 2)]
    return [PartPlan.of(scene, resampling, core) for core in not_masked(cores, scene.valid, side)]


def middle(length: int, side: int, share: float = 0.5) -> slice:
    """The core of `side` pixels around a share of an axis, or the whole of a shorter one."""
    if length <= side:
        return slice(0, length)
    start = min(max(0, int(share * length) - side // 2), length - side)
    return slice(start + _AROUND, start + side - _AROUND)


def not_masked(cores: Sequence[Core], valid: Mask, side: int) -> list[Core]:
    """The cores; where most of each is masked, in their place the one of `side` pixels with the most valid ones."""
    if any(valid[core].mean() >= _ENOUGH for core in cores):
        return list(cores)
    rows, cols = ([middle(length, side, share) for share in _PLACES] for length in valid.shape)
    return [max(product(rows, cols), key=lambda core: int(valid[core].sum()))]


def read_in_one_pass(plans: Sequence[PartPlan], strips: Strips) -> list[ScenePart]:
    """The parts, in one pass over the MSI."""
    images: list[list[Field]] = [[] for _ in plans]
    masks: list[list[Mask]] = [[] for _ in plans]
    for top, values, valid in strips():
        for plan, found, seen in zip(plans, images, masks, strict=True):
            rows, cols = plan.hr.rows, plan.hr.cols
            own = slice(max(0, rows.start - top), max(0, rows.stop - top))
            found.append(values[:, own, cols].copy())
            seen.append(valid[own, cols].copy())
    return [
        plan.seen(np.concatenate(found, axis=1), np.concatenate(seen))
        for plan, found, seen in zip(plans, images, masks, strict=True)
    ]


def _lr_part(scene: LrScene, window: Sequence[slice]) -> LrScene:
    return replace(
        scene,
        hsi=scene.hsi[:, *window],
        msi=scene.msi[:, *window],
        valid=scene.valid[*window],
        changed=None if scene.changed is None else scene.changed[*window],
    )


def _maps(
    resampling: Resampling, window: Sequence[slice]
) -> tuple[Resampling, tuple[int, int], tuple[int, int]]:
    """The maps of a part, and the HR rows and columns that it sees."""
    down = [taps.part(of.start, of.stop) for taps, of in zip(resampling.down, window, strict=True)]
    reach = [taps.reach() for taps in down]
    up = [_up_part(taps, of, *seen) for taps, of, seen in zip(resampling.up, window, reach, strict=True)]
    within = [taps.from_input(*seen) for taps, seen in zip(down, reach, strict=True)]
    return Resampling((up[0], up[1]), (within[0], within[1])), reach[0], reach[1]


def _up_part(taps: Taps, window: slice, first: int, stop: int) -> Taps:
    """The map to some HR pixels from the LR pixels of a window alone."""
    part, count = taps.part(first, stop), window.stop - window.start
    return replace(part, n_in=count, indices=np.clip(part.indices - window.start, 0, count - 1))
