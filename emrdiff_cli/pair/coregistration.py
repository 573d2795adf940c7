"""Where the LR-HSI of a pair lies on its MSI, and through which PSF it sees it, found on blocks of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from emrdiff_cli.core.sensor.coarse_registration import CoarseShift
from emrdiff_cli.core.sensor.degradation import COVERED, WALD_PSF, Psf
from emrdiff_cli.core.sensor.displacement import DisplacementField, PlacedBlock, estimate_shift_finely
from emrdiff_cli.core.sensor.leading_components import (
    COMPONENTS,
    in_components,
    leading_components,
    orthonormal,
)
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf, estimate_gaussian, with_profile
from emrdiff_cli.core.sensor.registration import (
    REACH,
    PairBlock,
    Point,
    Shift,
    estimate_shift,
    see_at_lr,
)
from emrdiff_cli.pair.blocks import best_block, pair_block, unchanged
from emrdiff_cli.pair.far_displacement import find_far_shift
from emrdiff_cli.pair.pair import PairReader

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
    bands = found.block.hsi
    few = replace(found, block=replace(found.block, hsi=in_components(bands, found.block.valid)))
    few = _settled(replace(few, block=unchanged(few.block, few.at_lr())))
    block = unchanged(few.block, few.at_lr())
    if block is not few.block:
        few = _settled(replace(few, block=block))
    return replace(few, block=replace(few.block, hsi=bands))


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
    placed = best_block(pair)
    block, shift = placed.pair, (0.0, 0.0)
    if pair.displacement is not None and pair.displacement.field is not None:
        middle = (
            start + side / 2 for start, side in zip((placed.row, placed.col), block.valid.shape, strict=True)
        )
        down, right = pair.displacement.field.at(*(np.array(place) for place in middle))
        shift = float(down), float(right)
    seen = see_at_lr(block, shift, pair.psf)
    kept = unchanged(block, seen)
    return seen if kept is block else see_at_lr(kept, shift, pair.psf)


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
