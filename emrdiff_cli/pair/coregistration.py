"""Where the LR-HSI of a pair lies on its MSI, and through which PSF it sees it, found on blocks of both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.changes import find_changes
from emrdiff_cli.core.sensor.coarse_registration import CoarseShift
from emrdiff_cli.core.sensor.degradation import COVERED, WALD_PSF, Psf
from emrdiff_cli.core.sensor.displacement import DisplacementField, PlacedBlock, estimate_shift_finely
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_invalid
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf, estimate_gaussian, with_profile
from emrdiff_cli.core.sensor.registration import (
    COMPONENTS,
    REACH,
    PairBlock,
    Point,
    Shift,
    estimate_shift,
    leading_components,
    orthonormal,
    see_at_lr,
)
from emrdiff_cli.core.tiling import tile_windows
from emrdiff_cli.pair.far_displacement import find_far_shift
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import Window

_WIDE_PSF = 1  # LR pixels more, from which a PSF wider than assumed sees them
_SIDE = 128  # LR pixels of the block that a pair is judged by, at most
_MSI_VALUES = 8_000_000  # that the block may hold
_ENOUGH = 0.5  # share of valid pixels with which the first block will do
_MOST_BLOCKS = 9  # that are looked at
_AROUND = REACH + 3  # LR pixels of MSI around the block: the reach and the PSF's
_SPREAD_SIDE = 64  # LR pixels of each of several blocks
_PART_SIDE, _MOST_PARTS = 16, 6  # least LR pixels of each of many, and their number along an axis
_ROUNDS = 5  # in which PSF and displacement are found, each with the other
_SETTLED = 0.001  # LR pixels: a smaller change of the displacement needs no further round
_AGREE_FINELY = 0.5  # LR pixels by which least squares may move a displacement that was found
_EXPLAINED = 0.95  # R^2 from which a displacement that was found is not sought farther away
_SURE_OF_PLACE = 0.99  # confidence of a place far away with which the pair is looked at there
_AGREE = 1.5  # LR pixels that the block looked at there may show besides
_NEARLY, _EXACT = 3.0, 1e-5  # times what the best of the MSI's bands leaves unexplained, or a share of it
_LEAST_EACH = 2  # LR pixels for each component
_NOTHING = 1e-30
_CLEARLY = 0.7  # of what is unexplained near by, or by chance: the most that may be left far away


@dataclass(frozen=True)
class Located:
    """Where the LR-HSI of a pair lies, through which PSF it sees the MSI, and a block of the pair that shows it.

    The block is placed as the grids say, or, where that is far off, as they say once the LR-HSI's is moved by
    `start`, whole LR pixels; `rest` is the displacement that the block still shows. `psf` None: not told.
    """

    block: PairBlock
    rest: Shift
    start: Shift | None = None
    psf: FoundPsf | None = None

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

    @property
    def best_psf(self) -> Psf:
        """The PSF that was found, or that of FWHM = the ratio."""
        return WALD_PSF if self.psf is None else self.psf.psf

    def at_lr(self) -> LrScene:
        """The block at LR, put right by its displacement and its PSF."""
        return see_at_lr(self.block, (self.rest.rows, self.rest.cols), self.best_psf)


def find_shift(pair: PairReader) -> Shift:
    """The displacement of an open pair, for the PSF of FWHM = the ratio.

    Found on one block of at most 128 x 128 LR pixels, in about a second; where that is not sure or explains
    little, the pair is searched up to FAR_REACH LR pixels away. Raises InputError as PairReader.
    """
    return _locate(pair).shift


def locate(pair: PairReader) -> Located:
    """Displacement and PSF, the former sought again with the latter. Raises InputError as PairReader.

    LR pixels that the rest of the block contradicts take no part; they are looked for once more in the end.
    """
    found = _locate(pair)
    found = _settled(replace(found, block=_unchanged(found.block, found.at_lr())))
    unchanged = _unchanged(found.block, found.at_lr())
    return found if unchanged is found.block else _settled(replace(found, block=unchanged))


def _unchanged(block: PairBlock, at_lr: LrScene) -> PairBlock:
    """The block without the LR pixels that the rest of it contradicts, and those around them."""
    changes = find_changes(at_lr)
    if changes is None:
        return block
    around = ndimage.binary_dilation(changes.near, iterations=_WIDE_PSF)
    return replace(block, valid=block.valid & ~around)


def _settled(found: Located) -> Located:
    """PSF and displacement of a block, each found with the other, and the PSF's profile in the end."""
    psf = found.psf
    for _ in range(_ROUNDS):
        psf = estimate_gaussian(found.block, (found.rest.rows, found.rest.cols), psf)
        found = replace(found, psf=psf)
        finer = _refined(found)
        settled = max(abs(finer.rows - found.rest.rows), abs(finer.cols - found.rest.cols)) < _SETTLED
        found = replace(found, rest=finer)
        if psf is None or settled:
            break
    if psf is None:
        return found
    found = replace(found, psf=with_profile(psf, found.block, (found.rest.rows, found.rest.cols)))
    return replace(found, rest=_refined(found)) if found.best_psf != psf.psf else found


def _refined(found: Located) -> Shift:
    """The shift of the block by least squares, from the one known; that where the pair does not tell more."""
    rest = found.rest
    if not rest.confidence:
        return rest
    finer = estimate_shift_finely(found.block, found.best_psf, (rest.rows, rest.cols))
    if finer is None:
        return rest
    rows, cols = finer.field.coefficients[:, 0]
    if max(abs(rows - rest.rows), abs(cols - rest.cols)) > _AGREE_FINELY:
        return rest
    errors = finer.standard_errors[:, 0]
    return replace(
        rest,
        rows=float(rows),
        cols=float(cols),
        standard_errors=(float(errors[0]), float(errors[1])),
        r2_after=max(rest.r2_after, 1 - finer.unexplained),
    )


def _locate(pair: PairReader) -> Located:
    """Where the block near the middle says; or far away, where that explains clearly more of the pair."""
    block = pair_block(pair)
    near = estimate_shift(block)
    if near.confidence and near.r2_after >= _EXPLAINED:
        return Located(block, near)
    far = find_far_shift(pair)
    if far is None or max(abs(far.rows), abs(far.cols)) < REACH:
        return Located(block, near)
    found = _located_at(pair, far, near) if far.confidence >= _SURE_OF_PLACE else None
    if found is not None:
        return found
    return Located(block, _doubted(near, far))


def _doubted(near: Shift, far: CoarseShift) -> Shift:
    """What is left of a displacement near by when one far away, not surely the right one, explains more."""
    if 1 - far.r2 > _CLEARLY * (1 - far.r2_near):
        return near
    best = far.r2 if far.r2 >= _EXPLAINED else near.r2_after
    return replace(near, rows=0.0, cols=0.0, confidence=0.0, r2_after=best)


def _located_at(pair: PairReader, far: CoarseShift, near: Shift) -> Located | None:
    """The displacement around one far away; None where the pair is not clearly better explained there."""
    block = pair_block(pair.moved((far.rows, far.cols)))
    rest = estimate_shift(block)
    known = max(near.r2_after if near.confidence else near.r2_before, rest.r2_chance)
    if not rest.confidence or max(abs(rest.rows), abs(rest.cols)) > _AGREE:
        return None
    if 1 - rest.r2_after > _CLEARLY * (1 - known):
        return None
    return Located(block, rest, Shift(far.rows, far.cols, far.confidence, r2_before=near.r2_before))


def at_known_place(pair: PairReader) -> LrScene:
    """A block of a pair at LR as the pair's own geometry has it, without what the rest of it contradicts."""
    placed = _best_block(pair)
    block, shift = placed.pair, (0.0, 0.0)
    if pair.displacement is not None and pair.displacement.field is not None:
        middle = (
            start + side / 2 for start, side in zip((placed.row, placed.col), block.valid.shape, strict=True)
        )
        down, right = pair.displacement.field.at(*(np.array(place) for place in middle))
        shift = float(down), float(right)
    seen = see_at_lr(block, shift, pair.psf)
    unchanged = _unchanged(block, seen)
    return seen if unchanged is block else see_at_lr(unchanged, shift, pair.psf)


def pair_block(pair: PairReader) -> PairBlock:
    """The block that a pair is judged by: near the middle, of good bands, with valid pixels on both rasters."""
    return _best_block(pair).pair


def _best_block(pair: PairReader) -> PlacedBlock:
    area = pair.alignment.lr_window
    best, most = None, -1.0
    for window in _candidates(pair):
        block = _read_block(pair, window)
        share = float(block.valid.mean() * block.msi_valid.mean())
        if share > most:
            best, most = PlacedBlock(block, area.row + window.row, area.col + window.col), share
        if share >= _ENOUGH:
            break
    if best is None:
        raise ValueError("a pair has at least one block")
    return best


def spread_blocks(pair: PairReader, bands: NDArray[np.intp] | None = None) -> list[PlacedBlock]:
    """Blocks over the whole scene, placed on the LR-HSI's grid: one where it is small, else three by three.

    `bands` (from 0): of the LR-HSI, None for the good ones.
    """
    area = pair.alignment.lr_window
    side = min(_SPREAD_SIDE, _largest_side(pair))
    tops, lefts = (_spread(length, side) for length in (area.height, area.width))
    windows = [
        Window(top, left, min(side, area.height), min(side, area.width)) for top in tops for left in lefts
    ]
    if max(area.height, area.width) <= min(_SIDE, _largest_side(pair)):
        windows = [Window(0, 0, area.height, area.width)]
    return [
        PlacedBlock(_read_unchanged(pair, window, bands), area.row + window.row, area.col + window.col)
        for window in windows
    ]


def even_blocks(pair: PairReader, bands: NDArray[np.intp] | None = None) -> Iterator[PlacedBlock]:
    """Small blocks all over the scene, placed on the LR-HSI's grid, one after the other: up to six by six.

    `bands` as `spread_blocks` takes them.
    """
    area, most = pair.alignment.lr_window, min(_SPREAD_SIDE, _largest_side(pair))
    rows, cols = (_even(length, most) for length in (area.height, area.width))
    for (top, height), (left, width) in product(rows, cols):
        block = _read_block(pair, Window(top, left, height, width), bands)
        yield PlacedBlock(block, area.row + top, area.col + left)


def _even(length: int, most: int) -> list[tuple[int, int]]:
    """Where blocks begin along an axis, and their sides, at most so long: in the middles of equal parts of it."""
    count = max(1, min(_MOST_PARTS, length // _PART_SIDE))
    edges = [round(i * length / count) for i in range(count + 1)]
    sides = [min(most, stop - start) for start, stop in pairwise(edges)]
    return [
        ((start + stop - side) // 2, side) for (start, stop), side in zip(pairwise(edges), sides, strict=True)
    ]


def middle_block(pair: PairReader, bands: NDArray[np.intp] | None = None) -> PlacedBlock:
    """That of `spread_blocks` in the scene's middle."""
    blocks = spread_blocks(pair, bands)
    return blocks[len(blocks) // 2]


def well_explained(block: PairBlock, shift: Point, psf: Psf) -> PairBlock:
    """The block with those MSI bands that its LR-HSI, moved by `shift`, explains nearly as well as the best.

    The others, of parts of the spectrum that it does not see, would tell of what it lacks and not of its place.
    """
    seen = see_at_lr(block, shift, psf)
    components = leading_components(seen.hsi, seen.valid, COMPONENTS)
    if components is None or seen.valid.sum() < _LEAST_EACH * (len(components) + 1):
        return block
    directions = orthonormal(components[:, seen.valid])
    values = seen.msi[:, seen.valid].astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    rest = values - (values @ directions) @ directions.T
    power = np.square(values).sum(axis=1)
    left = np.where(power > 0, np.square(rest).sum(axis=1) / np.maximum(power, _NOTHING), 1.0)
    return replace(block, msi=block.msi[left <= _NEARLY * max(float(left.min()), _EXACT)])


def straightened(block: PlacedBlock, field: DisplacementField) -> PairBlock:
    """The block with its MSI moved to where the LR-HSI's pixels see it, so that its PSF is found without a blur."""
    pair = block.pair
    places = np.mgrid[: pair.msi.shape[1], : pair.msi.shape[2]].astype(np.float64)
    axes = (pair.rows, pair.cols)
    at_lr = [(place + 0.5 - axis.offset) / axis.ratio - 0.5 for place, axis in zip(places, axes, strict=True)]
    displacement = field.at(at_lr[0] + block.row, at_lr[1] + block.col)
    seen = [place + axis.ratio * by for place, axis, by in zip(places, axes, displacement, strict=True)]
    msi = [ndimage.map_coordinates(band, seen, order=3, mode="nearest") for band in pair.msi]
    whole = ndimage.map_coordinates(pair.msi_valid.astype(np.float32), seen, order=1, mode="constant")
    return replace(pair, msi=np.stack(msi), msi_valid=whole > COVERED)


def _read_unchanged(pair: PairReader, window: Window, bands: NDArray[np.intp] | None) -> PairBlock:
    block = _read_block(pair, window, bands)
    return _unchanged(block, see_at_lr(block, (0.0, 0.0), pair.psf))


def _spread(length: int, side: int) -> list[int]:
    """Where blocks of a side begin along an axis: at both ends and in the middle, without overlap."""
    count = max(1, min(3, length // side))
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)] if count > 1 else [0]


def _largest_side(pair: PairReader) -> int:
    """LR pixels of a block's side that the memory for its MSI allows."""
    place = pair.alignment
    each = pair.msi_info.bands.count * place.rows.ratio * place.cols.ratio
    return max(1, min(_SIDE, int(math.sqrt(_MSI_VALUES / each))))


def _candidates(pair: PairReader) -> list[Window]:
    """Windows of the LR-HSI's common area, from its middle outwards."""
    area, side = pair.alignment.lr_window, _largest_side(pair)

    def distance(window: Window) -> float:
        row, col = window.row + window.height / 2, window.col + window.width / 2
        return math.hypot(row - area.height / 2, col - area.width / 2)

    return sorted(tile_windows(area.height, area.width, side, 0), key=distance)[:_MOST_BLOCKS]


def _read_block(pair: PairReader, window: Window, bands: NDArray[np.intp] | None = None) -> PairBlock:
    good = pair.lr_info.bands.good
    values = pair.read_lr(window)
    if bands is not None:
        values = values[bands]
    elif good is not None and any(good):
        values = values[np.array(good)]
    hsi, valid, _ = fill_invalid(values)
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
