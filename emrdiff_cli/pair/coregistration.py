"""Use case: a pair -> how far its LR-HSI is displaced against its MSI, and the pair put right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from emrdiff_cli.core.sensor.coarse_registration import CoarseShift
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_invalid
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.registration import (
    REACH,
    PairBlock,
    PsfWidth,
    Shift,
    estimate_shift,
    estimate_width,
    see_at_lr,
)
from emrdiff_cli.core.tiling import tile_windows
from emrdiff_cli.pair.far_displacement import find_far_shift
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import Window

SHIFT_TAG = "emrdiff_shift_lr_px"

_SIDE = 128  # LR pixels of the block that a pair is judged by, at most
_MSI_VALUES = 8_000_000  # that the block may hold
_ENOUGH = 0.5  # share of valid pixels with which the first block will do
_MOST_BLOCKS = 9  # that are looked at
_AROUND = REACH + 3  # LR pixels of MSI around the block: the reach and the PSF's
_OTHER_WIDTH = 0.05  # share of the assumed PSF's width from which it matters to the displacement
_LEAST = 0.02  # LR pixels of displacement that are not worth a move
_WARN = 0.2  # LR pixels of displacement from which a fusion suffers visibly
_SURE = 0.5  # confidence from which a displacement is worth a warning
_EXPLAINED = 0.95  # R^2 from which a displacement that was found is not sought farther away
_SURE_OF_PLACE = 0.99  # confidence of a place far away with which the pair is looked at there
_AGREE = 1.5  # LR pixels that the block looked at there may show besides
_CLEARLY = 0.7  # of what is unexplained near by, or by chance: the most that may be left far away


@dataclass(frozen=True)
class Registration:
    """Displacement of the LR-HSI's grid (LR pixels, down and to the right), and a note on it.

    `tags` go with the fused raster.
    """

    move: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Geometry:
    """Where the LR-HSI of a pair lies, and a block of the pair that shows it.

    The block is placed as the grids say, or, where that is far off, as they say once the LR-HSI's is moved by
    `start`, whole LR pixels; `rest` is the displacement that the block still shows.
    """

    block: PairBlock
    rest: Shift
    start: Shift | None = None
    width: PsfWidth | None = None

    @property
    def shift(self) -> Shift:
        """The whole displacement."""
        start, rest = self.start, self.rest
        if start is None or not rest.confidence:
            return rest
        return replace(
            rest,
            rows=start.rows + rest.rows,
            cols=start.cols + rest.cols,
            confidence=start.confidence * rest.confidence,
            r2_before=start.r2_before,
        )

    def at_lr(self) -> LrScene:
        """The block at LR, put right by its displacement and its PSF."""
        width = 1.0 if self.width is None else self.width.value
        return see_at_lr(self.block, (self.rest.rows, self.rest.cols), width)


def register(pair: PairReader, coregister: bool) -> Registration:
    """Find the displacement of a pair, and with `coregister` the move that undoes it; else warn of a large one.

    A displacement is undone from 0.02 LR pixels, if it is twice its standard error. Raises InputError as
    PairReader.
    """
    shift = find_geometry(pair).shift if coregister else find_shift(pair)
    if not coregister:
        return Registration(warnings=(displacement_warning(shift),) if displaced(shift) else ())
    if not shift.confidence:
        return _unmoved("the displacement of the LR-HSI could not be told from the pair: it was not moved")
    if not shift.significant or shift.distance < _LEAST:
        return _unmoved(f"the LR-HSI lies right, within {shift.distance:.2f} LR pixels: it was not moved")
    move = (round(shift.rows, 4), round(shift.cols, 4))
    note = f"the LR-HSI was moved by {described(shift)} onto the MSI (confidence {shift.confidence:.2f})"
    return Registration(move, (note,), tags={SHIFT_TAG: _tag(*move)})


def find_shift(pair: PairReader) -> Shift:
    """The displacement of an open pair, for the PSF that fusion assumes (FWHM = the ratio).

    Found on one block of at most 128 x 128 LR pixels, in about a second; where that is not sure or explains
    little, the pair is searched up to FAR_REACH LR pixels away. Raises InputError as PairReader.
    """
    return _locate(pair).shift


def find_geometry(pair: PairReader) -> Geometry:
    """Displacement and PSF; where the PSF is not the assumed one, the displacement is sought again with it.

    Raises InputError as PairReader.
    """
    found = _locate(pair)
    width = estimate_width(found.block, (found.rest.rows, found.rest.cols))
    if width is None or abs(width.value - 1) <= _OTHER_WIDTH:
        return replace(found, width=width)
    rest = estimate_shift(found.block, width.value)
    return replace(found, rest=rest, width=estimate_width(found.block, (rest.rows, rest.cols)) or width)


def _locate(pair: PairReader) -> Geometry:
    """Where the block near the middle says; or far away, where that explains clearly more of the pair."""
    block = pair_block(pair)
    near = estimate_shift(block)
    if near.confidence and near.r2_after >= _EXPLAINED:
        return Geometry(block, near)
    far = find_far_shift(pair)
    if far is None or max(abs(far.rows), abs(far.cols)) < REACH:
        return Geometry(block, near)
    found = _located_at(pair, far, near) if far.confidence >= _SURE_OF_PLACE else None
    if found is not None:
        return found
    return Geometry(block, _doubted(near, far))


def _doubted(near: Shift, far: CoarseShift) -> Shift:
    """What is left of a displacement near by when one far away, not surely the right one, explains more."""
    if 1 - far.r2 > _CLEARLY * (1 - far.r2_near):
        return near
    best = far.r2 if far.r2 >= _EXPLAINED else near.r2_after
    return replace(near, rows=0.0, cols=0.0, confidence=0.0, r2_after=best)


def _located_at(pair: PairReader, far: CoarseShift, near: Shift) -> Geometry | None:
    """The displacement around one far away; None where the pair is not clearly better explained there."""
    block = pair_block(pair.moved((far.rows, far.cols)))
    rest = estimate_shift(block)
    known = max(near.r2_after if near.confidence else near.r2_before, rest.r2_chance)
    if not rest.confidence or max(abs(rest.rows), abs(rest.cols)) > _AGREE:
        return None
    if 1 - rest.r2_after > _CLEARLY * (1 - known):
        return None
    return Geometry(block, rest, Shift(far.rows, far.cols, far.confidence, r2_before=near.r2_before))


def pair_block(pair: PairReader) -> PairBlock:
    """The block that a pair is judged by: near the middle, of good bands, with valid pixels on both rasters."""
    best, most = None, -1.0
    for window in _candidates(pair):
        block = _read_block(pair, window)
        share = float(block.valid.mean() * block.msi_valid.mean())
        if share > most:
            best, most = block, share
        if share >= _ENOUGH:
            break
    if best is None:
        raise ValueError("a pair has at least one block")
    return best


def displaced(shift: Shift) -> bool:
    """Whether a displacement is large and sure enough for a warning."""
    return shift.distance > _WARN and shift.confidence >= _SURE


def described(shift: Shift) -> str:
    """The move in words, in LR pixels."""
    down = f"{abs(shift.rows):.2f} {'up' if shift.rows < 0 else 'down'}"
    right = f"{abs(shift.cols):.2f} {'left' if shift.cols < 0 else 'right'}"
    return f"{down} and {right} (LR pixels)"


def displacement_warning(shift: Shift) -> str:
    """One line that says so, with the way out."""
    return (
        f"the LR-HSI seems displaced: it fits the MSI better when moved by {described(shift)}, confidence "
        f"{shift.confidence:.2f}; `emrdiff fuse --coregister` does so"
    )


def _unmoved(note: str) -> Registration:
    return Registration(notes=(note,), tags={SHIFT_TAG: _tag(0.0, 0.0)})


def _tag(rows: float, cols: float) -> str:
    return f"{rows:.4f},{cols:.4f}"


def _candidates(pair: PairReader) -> list[Window]:
    """Windows of the LR-HSI's common area, from its middle outwards."""
    place, area = pair.alignment, pair.alignment.lr_window
    each = pair.msi_info.bands.count * place.rows.ratio * place.cols.ratio
    side = max(1, min(_SIDE, int(math.sqrt(_MSI_VALUES / each))))

    def distance(window: Window) -> float:
        row, col = window.row + window.height / 2, window.col + window.width / 2
        return math.hypot(row - area.height / 2, col - area.width / 2)

    return sorted(tile_windows(area.height, area.width, side, 0), key=distance)[:_MOST_BLOCKS]


def _read_block(pair: PairReader, window: Window) -> PairBlock:
    good = pair.lr_info.bands.good
    values = pair.read_lr(window)
    hsi, valid, _ = fill_invalid(values if good is None or not any(good) else values[np.array(good)])
    area = pair.alignment.hr_window
    top, height, rows = _around(pair.alignment.rows, window.row, window.height, area.height)
    left, width, cols = _around(pair.alignment.cols, window.col, window.width, area.width)
    msi, msi_valid = pair.read_msi(Window(top, left, height, width))
    return PairBlock(hsi, valid, msi, msi_valid, rows, cols)


def _around(place: AxisPlacement, start: int, length: int, limit: int) -> tuple[int, int, AxisPlacement]:
    """Along one axis: first HR pixel of a block with its surroundings, their number, the block's placement."""
    first = place.offset + place.ratio * start
    low = max(0, min(limit - 1, math.floor(first - _AROUND * place.ratio)))
    high = min(limit, math.ceil(first + place.ratio * (length + _AROUND)))
    return low, max(1, high - low), AxisPlacement(place.ratio, first - low)
