"""Parts of a scene as scenes of their own, for what is asked of a sample of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips
from emrdiff_cli.core.sensor.resampling import Taps

Field = NDArray[np.float32]
Image = NDArray[Any]


@dataclass(frozen=True)
class ScenePart:
    """LR pixels with the HR pixels that they see; upsampled, its ends are replicated."""

    lr: LrScene
    resampling: Resampling
    msi: Field
    valid: NDArray[np.bool_]

    def strips(self) -> Iterator[Strip]:
        """Its MSI, in one strip."""
        yield Strip(0, self.msi, self.valid)


def spread_parts(scene: LrScene, strips: Strips, resampling: Resampling, side: int) -> list[ScenePart]:
    """The whole of a scene up to half more than `side` LR pixels wide and high; of a larger one two parts.

    They lie around a third and two thirds of the way along its diagonal.
    """
    shape = scene.valid.shape
    count = 1 if max(shape) <= 1.5 * side else 2
    windows = [
        tuple(_around((part + 1) * length // (count + 1), min(side, length), length) for length in shape)
        if count > 1
        else tuple(slice(0, length) for length in shape)
        for part in range(count)
    ]
    return _cut(scene, strips, resampling, windows)


def _around(centre: int, side: int, length: int) -> slice:
    start = min(max(0, centre - side // 2), length - side)
    return slice(start, start + side)


def _cut(
    scene: LrScene, strips: Strips, resampling: Resampling, windows: Sequence[tuple[slice, ...]]
) -> list[ScenePart]:
    """The parts at windows (rows, columns) of LR pixels, in one pass over the MSI."""
    places = [_maps(resampling, window) for window in windows]
    images: list[list[Field]] = [[] for _ in windows]
    masks: list[list[NDArray[np.bool_]]] = [[] for _ in windows]
    for top, values, valid in strips():
        for (_, (first, last), (left, right)), found, seen in zip(places, images, masks, strict=True):
            rows = slice(max(0, first - top), max(0, last - top))
            found.append(values[:, rows, left:right].copy())
            seen.append(valid[rows, left:right].copy())
    return [
        ScenePart(_lr_part(scene, window), maps, np.concatenate(found, axis=1), np.concatenate(seen))
        for window, (maps, *_), found, seen in zip(windows, places, images, masks, strict=True)
    ]


def _lr_part(scene: LrScene, window: tuple[slice, ...]) -> LrScene:
    return replace(
        scene,
        hsi=scene.hsi[:, *window],
        msi=scene.msi[:, *window],
        valid=scene.valid[window],
        changed=None if scene.changed is None else scene.changed[window],
    )


def _maps(
    resampling: Resampling, window: tuple[slice, ...]
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
