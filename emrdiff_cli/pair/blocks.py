"""Blocks of an open pair, by which its geometry is found: one near the middle, or some all over the scene."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.changes import find_changes
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.displacement import PlacedBlock
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_invalid
from emrdiff_cli.core.sensor.leading_components import in_components
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.registration import REACH, PairBlock, see_at_lr
from emrdiff_cli.core.tiling import tile_windows
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import Window

Bands = NDArray[np.intp]

_WIDE_PSF = 1  # LR pixels more, from which a PSF wider than assumed sees them
_SIDE = 128  # LR pixels of the block that a pair is judged by, at most
_MSI_VALUES = 8_000_000  # that the block may hold
_ENOUGH = 0.5  # share of valid pixels with which the first block will do
_MOST_BLOCKS = 9  # that are looked at
_AROUND = REACH + 3  # LR pixels of MSI around the block: the reach and the PSF's
_SPREAD_SIDE = 64  # LR pixels of each of several blocks
_PART_SIDE, _MOST_PARTS = 16, 6  # least LR pixels of each of many, and their number along an axis


def pair_block(pair: PairReader) -> PairBlock:
    """The block that a pair is judged by: near the middle, of good bands, with valid pixels on both rasters."""
    return best_block(pair).pair


def best_block(pair: PairReader) -> PlacedBlock:
    """The same, and where it lies."""
    area = pair.alignment.lr_window
    best, most = None, -1.0
    for window in _candidates(pair):
        block = _read_block(pair, window, good_bands(pair))
        share = float(block.valid.mean() * block.msi_valid.mean())
        if share > most:
            best, most = PlacedBlock(block, area.row + window.row, area.col + window.col), share
        if share >= _ENOUGH:
            break
    if best is None:
        raise ValueError("a pair has at least one block")
    return best


def spread_blocks(pair: PairReader, psf: Psf, detectors: Sequence[Bands]) -> list[tuple[PlacedBlock, ...]]:
    """Blocks over the whole scene, placed on the LR-HSI's grid: one where it is small, else three by three.

    Each as one of every detector's bands (from 0), of their leading components, without the LR pixels that the
    rest contradicts as a PSF sees it.
    """
    return [_read_unchanged(pair, window, psf, detectors) for window in _spread_windows(pair)]


def middle_block(pair: PairReader, psf: Psf, bands: Bands) -> PlacedBlock:
    """That of `spread_blocks` in the scene's middle, of some bands."""
    windows = _spread_windows(pair)
    (block,) = _read_unchanged(pair, windows[len(windows) // 2], psf, [bands])
    return block


def joined(detectors: Sequence[PlacedBlock]) -> PlacedBlock:
    """One block of all detectors' bands in place of one of each."""
    first = detectors[0]
    return replace(
        first, pair=replace(first.pair, hsi=np.concatenate([block.pair.hsi for block in detectors]))
    )


def even_blocks(pair: PairReader, bands: Bands) -> Iterator[PlacedBlock]:
    """Small blocks all over the scene, placed on the LR-HSI's grid, one after the other: up to six by six.

    Of the leading components of some `bands` (from 0).
    """
    area, most = pair.alignment.lr_window, min(_SPREAD_SIDE, _largest_side(pair))
    rows, cols = (_even(length, most) for length in (area.height, area.width))
    for (top, height), (left, width) in product(rows, cols):
        block = _read_block(pair, Window(top, left, height, width), bands)
        yield PlacedBlock(
            replace(block, hsi=in_components(block.hsi, block.valid)), area.row + top, area.col + left
        )


def unchanged(block: PairBlock, at_lr: LrScene) -> PairBlock:
    """The block without the LR pixels that the rest of it contradicts, and those around them."""
    changes = find_changes(at_lr)
    if changes is None:
        return block
    around = ndimage.binary_dilation(changes.near, iterations=_WIDE_PSF)
    return replace(block, valid=block.valid & ~around)


def good_bands(pair: PairReader) -> Bands:
    """The LR-HSI's good bands (from 0); all where none is."""
    known = pair.lr_info.bands
    return (
        np.flatnonzero(known.good) if known.good is not None and any(known.good) else np.arange(known.count)
    )


def _read_unchanged(
    pair: PairReader, window: Window, psf: Psf, detectors: Sequence[Bands]
) -> tuple[PlacedBlock, ...]:
    """One of the tuples of `spread_blocks`."""
    area = pair.alignment.lr_window
    block = _read_block(pair, window, np.concatenate(detectors))
    stops = np.cumsum([len(bands) for bands in detectors])[:-1]
    parts = [in_components(hsi, block.valid) for hsi in np.split(block.hsi, stops)]
    block = replace(block, hsi=np.concatenate(parts))
    block = unchanged(block, see_at_lr(block, (0.0, 0.0), psf))
    return tuple(
        PlacedBlock(replace(block, hsi=hsi), area.row + window.row, area.col + window.col) for hsi in parts
    )


def _spread_windows(pair: PairReader) -> list[Window]:
    """Windows of the LR-HSI's common area: all of it where it is small, else three by three."""
    area, most = pair.alignment.lr_window, _largest_side(pair)
    if max(area.height, area.width) <= min(_SIDE, most):
        return [Window(0, 0, area.height, area.width)]
    side = min(_SPREAD_SIDE, most)
    height, width = min(side, area.height), min(side, area.width)
    places = product(_spread(area.height, side), _spread(area.width, side))
    return [Window(top, left, height, width) for top, left in places]


def _even(length: int, most: int) -> list[tuple[int, int]]:
    """Where blocks begin along an axis, and their sides, at most so long: in the middles of equal parts of it."""
    count = max(1, min(_MOST_PARTS, length // _PART_SIDE))
    edges = [round(i * length / count) for i in range(count + 1)]
    sides = [min(most, stop - start) for start, stop in pairwise(edges)]
    return [
        ((start + stop - side) // 2, side) for (start, stop), side in zip(pairwise(edges), sides, strict=True)
    ]


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


def _read_block(pair: PairReader, window: Window, bands: Bands) -> PairBlock:
    hsi, valid, _ = fill_invalid(pair.read_lr(window)[bands])
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
