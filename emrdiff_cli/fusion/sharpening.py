"""An image's own bands of a coarser grid, brought to the grid of its fine ones by kriging, in parts of its rows.

A part is fused as a pair is, without a search for its geometry: both are of one exposure. What is found on a whole
scene is found on each part, and parts overlap: between two of them their values pass into each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.covariance import USUAL
from emrdiff_cli.errors import GridError, NothingToFuseError
from emrdiff_cli.fusion.output import expanded, plain_rows
from emrdiff_cli.fusion.prepared_scene import prepare_scene
from emrdiff_cli.fusion.row_blocks import RowBlocks
from emrdiff_cli.pair.pair import PairReader, pair_of
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Window
from emrdiff_cli.runtime.interruption import safe_point

Field = NDArray[np.float32]

LR_PIXELS = 2**19  # of a part: what is held at once grows with them
_OVERLAP = 24  # LR rows that neighbouring parts share: more than a block of kriging and its halo


def sharpened(
    lr: RasterReader,
    msi: RasterReader,
    window: Window,
    left: Callable[[str], None],
    lr_pixels: int = LR_PIXELS,
) -> Iterator[Field]:
    """Rows (B, n, W) of the bands of `lr` on a window of the grid of `msi`, from the top down; NaN in holes.

    `left` is told where a part has nothing to learn from, whose LR pixels then stand as they are. About so many
    `lr_pixels` are in a part. Raises GridError where the bands do not cover the window.
    """
    ratio = round(msi.info.grid.width / lr.info.grid.width)
    held: Field | None = None
    for part, following in pairwise([*_parts(window, ratio, lr_pixels), None]):
        if part is None:
            return
        stop = part.rows.stop if following is None else following.row
        fading, tail, at = _Fading(held), [], part.row
        for rows in _fused(pair_of(lr, msi, part), part, left):
            safe_point()
            faded, own = fading(rows), min(max(0, stop - at), rows.shape[1])
            if own:
                yield faded[:, :own]
            tail.append(faded[:, own:])
            at += rows.shape[1]
        held = np.concatenate(tail, axis=1)


def _parts(window: Window, ratio: int, lr_pixels: int) -> list[Window]:
    """The window in parts of its rows, each with the next one's first rows as its last; the last may be higher."""
    overlap = _OVERLAP * ratio
    step = max(2 * _OVERLAP, lr_pixels * ratio // window.width) * ratio
    tops = list(range(0, max(1, window.height - 2 * overlap), step))
    stops = [top + overlap for top in tops[1:]] + [window.height]
    return [
        window._replace(row=window.row + top, height=stop - top)
        for top, stop in zip(tops, stops, strict=True)
    ]


class _Fading:
    """Fades a part's first rows in over those that the part before has there."""

    def __init__(self, before: Field | None) -> None:
        self._before, self._count = before, 0 if before is None else before.shape[1]
        self._done = 0

    def __call__(self, rows: Field) -> Field:
        """The next rows of the part, (B, n, W)."""
        count = min(self._count - self._done, rows.shape[1])
        if self._before is None or count <= 0:
            return rows
        before, after = self._before[:, self._done : self._done + count], rows[:, :count]
        share = (self._done + np.arange(count, dtype=np.float32) + 0.5) / self._count
        self._done += count
        mixed = before + share[:, None].astype(np.float32) * (after - before)
        return np.concatenate([mixed, rows[:, count:]], axis=1)


def _fused(pair: PairReader, part: Window, left: Callable[[str], None]) -> Iterator[Field]:
    """A part's rows by kriging, in blocks; the LR pixels that they lie on where there is nothing to learn from."""
    if pair.alignment.hr_window != part:
        lr, msi = pair.lr_info.path.name, pair.msi_info.path.name
        raise GridError(f"{lr}: its coarser bands do not lie on the ground of {msi}: get the product again")
    area = Window(0, 0, part.height, part.width)
    try:
        scene = prepare_scene(pair, "kriging", None, covariance=USUAL)
    except NothingToFuseError:
        left(
            f"rows {part.row + 1} to {part.rows.stop} have too little in them to bring coarser bands out finer"
        )
        values, (rows, cols) = pair.read_lr(), pair.nearest_lr
        for top, stop in RowBlocks(pair).over(area):
            yield values[:, rows[top:stop]][:, :, cols]
        return
    for top, corrections in plain_rows(scene, area):
        yield expanded(scene, area, top, corrections)
