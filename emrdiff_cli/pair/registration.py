"""Use case: a pair -> its geometry, as it was asked for: found on the pair, given, or left as it lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.detectors import bands_by_detector
from emrdiff_cli.core.sensor.displacement import (
    BandShift,
    DisplacementField,
    FoundField,
    PlacedBlock,
    estimate_field,
    estimate_group_shift,
)
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf, estimate_psf
from emrdiff_cli.core.sensor.registration import PairBlock, Shift
from emrdiff_cli.pair.blocks import good_bands, joined, middle_block, spread_blocks
from emrdiff_cli.pair.coregistration import (
    Located,
    find_shift,
    locate,
    straightened,
    well_explained,
)
from emrdiff_cli.pair.geometry import PairGeometry, Point, recorded_geometry
from emrdiff_cli.pair.geometry_notes import (
    UNKNOWN,
    described,
    field_note,
    group_note,
    move_notes,
    psf_note,
    right_note,
)
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.pair.pair import PairReader

_LEAST = 0.02  # LR pixels of displacement that are not worth a move
_LEFT_NEAR, _LEFT_FAR = 0.98, 0.8  # of the unexplained: the most that a move may leave, when it is
_FAR = 0.5  # LR pixels or less, and more;
_LEFT_BY_CHANCE = 0.7  # and of what chance leaves
_PSF_LEFT = 0.1  # share of the MSI that may be unexplained where a PSF is believed
_WARN = 0.2  # LR pixels of displacement from which a fusion suffers visibly
_SURE = 0.5  # confidence from which a displacement is worth a warning, and a move
_GROUP_LEAST = 0.03  # LR pixels between groups of bands that are not worth a move,
_GROUP_SURE = 3.0  # and standard errors that they must exceed


@dataclass(frozen=True)
class FoundGroup:
    """Bands (from 0) of one detector and their displacement, LR pixels down and right, with standard errors."""

    name: str
    bands: tuple[int, ...]
    shift: Point
    standard_errors: Point

    def against(self, other: FoundGroup) -> FoundGroup:
        """The same bands with their displacement against another group's."""
        return replace(
            self,
            shift=(self.shift[0] - other.shift[0], self.shift[1] - other.shift[1]),
            standard_errors=(
                math.hypot(self.standard_errors[0], other.standard_errors[0]),
                math.hypot(self.standard_errors[1], other.standard_errors[1]),
            ),
        )

    @property
    def elsewhere(self) -> bool:
        """Whether they are surely displaced, and far enough to matter."""
        sure = any(
            abs(by) > _GROUP_SURE * error for by, error in zip(self.shift, self.standard_errors, strict=True)
        )
        return sure and math.hypot(*self.shift) >= _GROUP_LEAST


@dataclass(frozen=True)
class FoundGeometry:
    """All that was found of a pair's geometry, and what is used of it.

    `field`: None where it was not looked for or cannot be told; a shift alone where the pair supports no more.
    `groups`: displaced from where the shift puts the whole, the first being that to which the others are compared;
    empty where the bands are of one detector or do not tell.
    """

    used: PairGeometry
    located: Located
    field: FoundField | None = None
    groups: tuple[FoundGroup, ...] = ()

    @property
    def varying(self) -> FoundField | None:
        """The field, where it is more than a shift."""
        return self.field if self.field is not None and self.field.field.varies else None


def register(
    pair: PairReader, mode: Register, shift: Point | None = None, psf_fwhm: Point | None = None
) -> PairGeometry:
    """Find the geometry of a pair, or take it as given: what is used of all that `find_geometry` finds.

    `off`: as it lies, with a warning of a large displacement. `auto`, with nothing given: tiles of a pair record
    that of the whole. Raises InputError as PairReader and as `recorded_geometry`.
    """
    if mode == "auto" and shift is None and psf_fwhm is None:
        recorded = recorded_geometry(pair.lr_info, pair.msi_info)
        if recorded is not None:
            return recorded
    if mode == "off" or (shift is not None and psf_fwhm is not None):
        given = _given(pair, shift, psf_fwhm)
        return given if shift is not None else replace(given, warnings=_warnings(find_shift(pair)))
    return find_geometry(pair, mode, shift, psf_fwhm).used


def find_geometry(
    pair: PairReader,
    mode: Literal["auto", "shift", "full"] = "auto",
    shift: Point | None = None,
    psf_fwhm: Point | None = None,
) -> FoundGeometry:
    """Find the geometry of a pair, but for what is given.

    `auto`: displacement, PSF and what varies over the scene or between groups of bands, each where it is
    significant; `shift`: a displacement alone; `full`: displacement and PSF as found, significant or not. `shift`
    in LR pixels down and right, `psf_fwhm` in MSI pixels along rows and columns. Raises InputError as PairReader.
    """
    found = _find(pair, mode, shift, psf_fwhm)
    notes = _notes(found, pair, mode, moved=shift is not None, seen=psf_fwhm is not None)
    used = replace(
        found.used,
        move_errors=None if shift is not None else _move_errors(found.located.shift),
        fwhm_errors=None if psf_fwhm is not None else _fwhm_errors(found.located.psf),
        notes=(*found.used.notes, *notes),
    )
    return replace(found, used=used)


def _move_errors(shift: Shift) -> Point | None:
    """Standard errors of the displacement; None where the pair does not tell it."""
    told = shift.confidence > 0 and all(map(math.isfinite, shift.standard_errors))
    return _rounded(shift.standard_errors) if told else None


def _fwhm_errors(psf: FoundPsf | None) -> Point | None:
    """Standard errors of the PSF's widths; None where the pair does not tell them."""
    return None if psf is None else _rounded(psf.standard_errors)


def _rounded(errors: Point) -> Point:
    return round(float(errors[0]), 5), round(float(errors[1]), 5)


def _find(
    pair: PairReader, mode: Literal["auto", "shift", "full"], shift: Point | None, psf_fwhm: Point | None
) -> FoundGeometry:
    given = _given(pair, shift, psf_fwhm)
    located = locate(pair if shift is None else pair.moved(shift))
    used = given if shift is not None else _moved(given, located.shift, mode)
    if mode == "shift":
        return FoundGeometry(used, located)
    varies: tuple[FoundField | None, tuple[FoundGroup, ...]] = None, ()
    if mode == "auto" and shift is None and located.shift.confidence >= _SURE:
        used, located, varies = _find_what_varies(pair, used, located)
    if psf_fwhm is None and located.psf is not None:
        used = _with_psf(used, pair, located.psf, mode)
    return FoundGeometry(used, located, *varies)


def _find_what_varies(
    pair: PairReader, used: PairGeometry, located: Located
) -> tuple[PairGeometry, Located, tuple[FoundField | None, tuple[FoundGroup, ...]]]:
    """Undo what lies apart by detector, then what varies over the scene, and find the PSF without their blur."""
    plain, psf, detectors = used, used.psf or located.best_psf, band_groups(pair)
    bands = good_bands(pair)
    blocks = spread_blocks(plain.applied(pair), psf, [*detectors.values()] or [bands])
    groups = _find_groups(pair, blocks, detectors, psf)
    used = _with_groups(plain, groups)
    if used.groups:
        bands = detectors[groups[0].name]
        block = middle_block(used.applied(pair), psf, bands).pair
        located = _with_psf_of(located, well_explained(block, (0.0, 0.0), located.best_psf))
        psf = plain.psf or located.best_psf
        groups = _find_groups(pair, blocks, detectors, psf, groups)
        used = _with_groups(plain, groups)
        blocks = spread_blocks(used.applied(pair), psf, [bands])
    field = _find_field(pair, map(joined, blocks), psf)
    used = _with_field(used, field)
    placed = used.applied(pair)
    if field is not None and field.field.varies and placed.displacement and placed.displacement.field:
        straight = straightened(middle_block(placed, psf, bands), placed.displacement.field)
        located = _with_psf_of(located, well_explained(straight, (0.0, 0.0), located.best_psf))
    return used, located, (field, groups)


def _with_psf_of(located: Located, block: PairBlock) -> Located:
    """The PSF of a block without a displacement in place of the one known, where there is one and it tells."""
    found = None if located.psf is None else estimate_psf(block, (0.0, 0.0))
    return located if found is None else replace(located, psf=found)


def _notes(found: FoundGeometry, pair: PairReader, mode: Register, *, moved: bool, seen: bool) -> list[str]:
    """What was done about the geometry that was found; not of the move and the PSF where those were given."""
    used, located, notes = found.used, found.located, list[str]()
    if not moved and not located.shift.confidence:
        notes.append(UNKNOWN)
    elif not moved and mode == "shift" and not any(used.move):
        notes.append(right_note(located.shift))
    elif not moved:
        notes += move_notes(used.move, located.shift, bool(used.field), bool(used.groups))
    if not seen and used.psf is not None and located.psf is not None:
        notes.append(psf_note(located.psf, (pair.alignment.rows.ratio, pair.alignment.cols.ratio)))
    if used.field and found.field is not None:
        notes.append(field_note(found.field))
    for group in used.groups:
        (name,) = (known.name for known in found.groups if known.bands == group.bands)
        notes.append(group_note(name, group.bands, group.shift, found.groups[0].name))
    return notes


def _given(pair: PairReader, shift: Point | None, psf_fwhm: Point | None) -> PairGeometry:
    notes = []
    if shift is not None:
        notes.append(f"the LR-HSI was moved by {described(*shift)}, as given")
    if psf_fwhm is not None:
        notes.append(f"PSF as given: FWHM {psf_fwhm[0]:.4g} x {psf_fwhm[1]:.4g} MSI pixels (rows x columns)")
    return PairGeometry(
        move=shift or (0.0, 0.0),
        psf=None if psf_fwhm is None else Psf.of_fwhm(*psf_fwhm),
        notes=tuple(notes),
        known=bool(notes),
    )


def _moved(given: PairGeometry, shift: Shift, mode: Register) -> PairGeometry:
    """The geometry with the displacement that was found, where it is worth a move."""
    if not shift.confidence or (mode != "full" and not _worth_a_move(shift)):
        return replace(given, known=True)
    return replace(given, move=(round(shift.rows, 4), round(shift.cols, 4)), known=True)


def _worth_a_move(shift: Shift) -> bool:
    """Whether a displacement is sure, and explains more of the MSI than the pair as it lies, and than chance.

    On ground like a ramp every place explains as much.
    """
    left = _LEFT_FAR if shift.distance > _FAR else _LEFT_NEAR
    helps = 1 - shift.r2_after <= left * (1 - shift.r2_before)
    related = 1 - shift.r2_after <= _LEFT_BY_CHANCE * (1 - shift.r2_chance)
    sure = shift.significant and shift.confidence >= _SURE
    return sure and helps and related and shift.distance >= _LEAST


def _with_psf(used: PairGeometry, pair: PairReader, psf: FoundPsf, mode: Register) -> PairGeometry:
    told = (psf.odd or psf.shaped) and psf.unexplained <= _PSF_LEFT
    if not told and mode != "full":
        return used
    axes = psf.psf.resolved(pair.alignment.rows, pair.alignment.cols).axes
    return replace(used, psf=Psf(axes=axes), known=True)


def _find_field(pair: PairReader, blocks: Iterable[PlacedBlock], psf: Psf) -> FoundField | None:
    grid = pair.lr_info.grid
    return estimate_field(_explained(blocks, (0.0, 0.0), psf), (grid.height, grid.width), psf)


def _explained(blocks: Iterable[PlacedBlock], at: Point, psf: Psf) -> list[PlacedBlock]:
    """Blocks with those MSI bands alone that their LR-HSI explains at a place."""
    return [replace(block, pair=well_explained(block.pair, at, psf)) for block in blocks]


def _with_field(used: PairGeometry, field: FoundField | None) -> PairGeometry:
    """The geometry with a field that varies, where the pair supports one; its mean is the move then."""
    if field is None or not field.field.varies:
        return used
    coefficients = field.field.coefficients.copy()
    coefficients[:, 0] += used.move
    whole = DisplacementField(coefficients, field.field.shape)
    mean = whole.over().mean(axis=(1, 2))
    return replace(
        used,
        move=(round(float(mean[0]), 4), round(float(mean[1]), 4)),
        field=tuple(tuple(float(f"{value:.6g}") for value in row) for row in coefficients),
        known=True,
    )


def _find_groups(
    pair: PairReader,
    blocks: Sequence[Sequence[PlacedBlock]],
    detectors: Mapping[str, NDArray[np.intp]],
    psf: Psf,
    known: Sequence[FoundGroup] = (),
) -> tuple[FoundGroup, ...]:
    """The displacements of each detector's bands from where the blocks, one of each, lie; empty unless all tell.

    Each by the MSI bands that it sees as well, at the place that is `known`.
    """
    if not detectors:
        return ()
    grid = pair.lr_info.grid
    still = DisplacementField(np.zeros((2, 1)), (grid.height, grid.width))
    places = {group.name: group.shift for group in known}
    found = []
    for (name, bands), of_one in zip(detectors.items(), zip(*blocks, strict=True), strict=True):
        seen = _explained(of_one, places.get(name, (0.0, 0.0)), psf)
        measured = estimate_group_shift(seen, still, psf)
        if measured is None:
            return ()
        found.append(FoundGroup(name, tuple(int(band) for band in bands), *measured))
    return tuple(found)


def _with_groups(used: PairGeometry, groups: Sequence[FoundGroup]) -> PairGeometry:
    """The geometry with groups of bands displaced against the first undone, and the first itself put right."""
    elsewhere = [group for group in (group.against(groups[0]) for group in groups[1:]) if group.elsewhere]
    if not elsewhere:
        return used
    moved = [
        BandShift(group.bands, (round(group.shift[0], 4), round(group.shift[1], 4))) for group in elsewhere
    ]
    main = groups[0].shift
    return replace(
        used,
        move=(round(used.move[0] + main[0], 4) + 0.0, round(used.move[1] + main[1], 4) + 0.0),
        groups=tuple(moved),
    )


def band_groups(pair: PairReader) -> dict[str, NDArray[np.intp]]:
    """Good bands (from 0) of the LR-HSI by detector, as `bands_by_detector`; empty without wavelengths."""
    known = pair.lr_info.bands
    return {} if known.wavelengths_nm is None else bands_by_detector(known.wavelengths_nm, known.good)


def displaced(shift: Shift) -> bool:
    """Whether a displacement is large and sure enough for a warning."""
    return shift.distance > _WARN and shift.confidence >= _SURE


def displacement_warning(shift: Shift, undone: bool = True) -> str:
    """One line that says so, with the way out; `undone`: whether `fuse` moves the LR-HSI by default."""
    way = (
        "does so unless it is told `--register off`"
        if undone
        else "does so only if it is told `--register full`: it is not sure enough"
    )
    return (
        f"the LR-HSI seems displaced: it fits the MSI better when moved by {described(shift.rows, shift.cols)}, "
        f"confidence {shift.confidence:.2f}; `emrdiff fuse` {way}"
    )


def _warnings(shift: Shift) -> tuple[str, ...]:
    return (displacement_warning(shift),) if displaced(shift) else ()
