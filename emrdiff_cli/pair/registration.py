"""Use case: a pair -> its geometry, as it was asked for: found on the pair, given, or left as it lies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.displacement import (
    BandShift,
    DisplacementField,
    FoundField,
    estimate_field,
    estimate_group_shift,
)
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf
from emrdiff_cli.core.sensor.registration import Shift
from emrdiff_cli.pair.coregistration import Located, find_shift, locate, spread_blocks
from emrdiff_cli.pair.geometry import PairGeometry, Point
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.pair.pair import PairReader

_LEAST = 0.02  # LR pixels of displacement that are not worth a move
_LEFT_NEAR, _LEFT_FAR = 0.98, 0.8  # of the unexplained: the most that a move may leave, when it is
_FAR = 0.5  # LR pixels or less, and more;
_LEFT_BY_CHANCE = 0.7  # and of what chance leaves
_WARN = 0.2  # LR pixels of displacement from which a fusion suffers visibly
_SURE = 0.5  # confidence from which a displacement is worth a warning, and a move
_DETECTOR_EDGE_NM = 1000.0  # between silicon's range and the short-wave infrared
_GROUP_BANDS = 8  # that a group must have to be looked at
_GROUP_LEAST = 0.03  # LR pixels between groups of bands that are not worth a move,
_GROUP_SURE = 3.0  # and standard errors that they must exceed


def register(
    pair: PairReader, mode: Register, shift: Point | None = None, psf_fwhm: Point | None = None
) -> PairGeometry:
    """Find the geometry of a pair, but for what is given.

    `auto`: displacement, PSF and what varies over the scene or between groups of bands, each where it is
    significant; `shift`: a displacement alone; `full`: displacement and PSF as found, significant or not; `off`: as
    it lies, with a warning of a large displacement. `shift` in LR pixels down and right, `psf_fwhm` in MSI pixels
    along rows and columns. Raises InputError as PairReader.
    """
    given = _given(pair, shift, psf_fwhm)
    if mode == "off" or (shift is not None and psf_fwhm is not None):
        return given if shift is not None else replace(given, warnings=_warnings(find_shift(pair)))
    located = locate(pair if shift is None else pair.moved(shift))
    found = given if shift is not None else _moved(given, located.shift, mode)
    if mode == "shift":
        return found
    if psf_fwhm is None and located.psf is not None:
        found = _with_psf(found, pair, located.psf, mode)
    if mode == "auto" and shift is None and located.rest.confidence:
        found = _with_field(found, pair, located)
        found = _with_groups(found, pair)
    return found


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
    if not shift.confidence:
        note = "the displacement of the LR-HSI could not be told from the pair: it was not moved"
        return replace(given, notes=(*given.notes, note), known=True)
    if mode != "full" and not _worth_a_move(shift):
        note = f"the LR-HSI lies right, as far as the pair tells ({shift.distance:.2f} LR pixels): it was not moved"
        return replace(given, notes=given.notes if mode == "auto" else (*given.notes, note), known=True)
    move = (round(shift.rows, 4), round(shift.cols, 4))
    note = (
        f"the LR-HSI was moved by {described(*move)} onto the MSI (confidence {shift.confidence:.2f}): it explains "
        f"{shift.r2_after:.2%} of the MSI there, {max(shift.r2_before, 0):.2%} as it lay"
    )
    return replace(given, move=move, notes=(*given.notes, note), known=True)


def _worth_a_move(shift: Shift) -> bool:
    """Whether a displacement is sure, and explains more of the MSI than the pair as it lies, and than chance.

    On ground like a ramp every place explains as much.
    """
    left = _LEFT_FAR if shift.distance > _FAR else _LEFT_NEAR
    helps = 1 - shift.r2_after <= left * (1 - shift.r2_before)
    related = 1 - shift.r2_after <= _LEFT_BY_CHANCE * (1 - shift.r2_chance)
    sure = shift.significant and shift.confidence >= _SURE
    return sure and helps and related and shift.distance >= _LEAST


def _with_psf(found: PairGeometry, pair: PairReader, psf: FoundPsf, mode: Register) -> PairGeometry:
    if not (psf.odd or psf.shaped or mode == "full"):
        return found
    rows, cols = pair.alignment.rows.ratio, pair.alignment.cols.ratio
    note = (
        f"the PSF found on the pair is used: FWHM {psf.fwhm[0] * rows:.2f} x {psf.fwhm[1] * cols:.2f} MSI pixels "
        f"(rows x columns; {psf.fwhm[0]:.2f} x {psf.fwhm[1]:.2f} of the ratio)"
        f"{', of a shape that is no Gaussian' if psf.shaped else ''}"
    )
    axes = psf.psf.resolved(pair.alignment.rows, pair.alignment.cols).axes
    return replace(found, psf=Psf(axes=axes), notes=(*found.notes, note), known=True)


def _with_field(found: PairGeometry, pair: PairReader, located: Located) -> PairGeometry:
    """The geometry with a field that varies, where the pair supports one; its mean is the move then."""
    placed = found.applied(pair)
    field = _field_of(placed, located.best_psf)
    if field is None or not field.field.varies:
        return found
    coefficients = field.field.coefficients.copy()
    coefficients[:, 0] += found.move
    whole = DisplacementField(coefficients, field.field.shape)
    mean = whole.over().mean(axis=(1, 2))
    return replace(
        found,
        move=(round(float(mean[0]), 4), round(float(mean[1]), 4)),
        field=tuple(tuple(float(f"{value:.6g}") for value in row) for row in coefficients),
        notes=(*found.notes, f"the displacement varies over the scene, which is undone: {varied(field)}"),
        known=True,
    )


def _field_of(placed: PairReader, psf: Psf) -> FoundField | None:
    grid = placed.lr_info.grid
    return estimate_field(spread_blocks(placed), (grid.height, grid.width), psf)


def _with_groups(found: PairGeometry, pair: PairReader) -> PairGeometry:
    """The geometry with groups of bands (detectors) that are displaced against each other undone."""
    groups = band_groups(pair)
    if len(groups) < 2:
        return found
    placed = found.applied(pair)
    grid = pair.lr_info.grid
    field = None if placed.displacement is None else placed.displacement.field
    field = field or DisplacementField(np.zeros((2, 1)), (grid.height, grid.width))
    shifts = [
        estimate_group_shift(spread_blocks(placed, bands), field, placed.psf) for bands in groups.values()
    ]
    if any(shift is None for shift in shifts):
        return found
    (main, main_error), *others = [shift for shift in shifts if shift is not None]
    moved, notes = [], []
    for (name, bands), (shift, error) in zip(list(groups.items())[1:], others, strict=True):
        between = shift[0] - main[0], shift[1] - main[1]
        errors = [math.hypot(*pair_of) for pair_of in zip(error, main_error, strict=True)]
        sure = any(abs(by) > _GROUP_SURE * e for by, e in zip(between, errors, strict=True))
        if sure and math.hypot(*between) >= _GROUP_LEAST:
            rounded = round(between[0], 4), round(between[1], 4)
            moved.append(BandShift(tuple(int(band) for band in bands), rounded))
            notes.append(
                f"the {name} bands ({numbered_bands([int(band) + 1 for band in bands])}) lie "
                f"{described(*rounded)} from the others, which is undone"
            )
    if not moved:
        return found
    move = round(found.move[0] + main[0], 4), round(found.move[1] + main[1], 4)
    coefficients = np.array(found.field, np.float64) if found.field else None
    if coefficients is not None:
        coefficients[:, 0] += main
    return replace(
        found,
        move=move,
        field=() if coefficients is None else tuple(map(tuple, coefficients.tolist())),
        groups=tuple(moved),
        notes=(*found.notes, *notes),
    )


def band_groups(pair: PairReader) -> dict[str, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Good bands (from 0) by detector range, VNIR first; empty without wavelengths or with too few bands of one."""
    known = pair.lr_info.bands
    if known.wavelengths_nm is None:
        return {}
    centres = np.array(known.wavelengths_nm)
    good = np.ones(len(centres), bool) if known.good is None else np.array(known.good)
    near, far = (
        np.flatnonzero(good & side) for side in (centres < _DETECTOR_EDGE_NM, centres >= _DETECTOR_EDGE_NM)
    )
    return {"VNIR": near, "SWIR": far} if min(len(near), len(far)) >= _GROUP_BANDS else {}


def varied(found: FoundField) -> str:
    """Scale, rotation and shear of a field in words, and how far it moves the corners."""
    field = found.field
    height, width = field.shape
    (_, down_by_row, down_by_col), (_, right_by_row, right_by_col) = field.coefficients[:, :3]
    rows, cols = 1 + 2 * down_by_row / height, 1 + 2 * right_by_col / width
    rotation = math.degrees((2 * right_by_row / height - 2 * down_by_col / width) / 2)
    corners = field.over()[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    most = float(np.hypot(*(corners - corners.mean(axis=1, keepdims=True))).max())
    kind = "quadratic, " if field.coefficients.shape[1] > 3 else ""
    return (
        f"{kind}scale {rows:.5f} x {cols:.5f}, rotation {rotation:.3f} degrees, up to {most:.2f} LR pixels in the "
        "corners"
    )


def displaced(shift: Shift) -> bool:
    """Whether a displacement is large and sure enough for a warning."""
    return shift.distance > _WARN and shift.confidence >= _SURE


def described(rows: float, cols: float) -> str:
    """A move in words, in LR pixels."""
    down = f"{abs(rows):.2f} {'up' if rows < 0 else 'down'}"
    right = f"{abs(cols):.2f} {'left' if cols < 0 else 'right'}"
    return f"{down} and {right} (LR pixels)"


def displacement_warning(shift: Shift) -> str:
    """One line that says so, with the way out."""
    return (
        f"the LR-HSI seems displaced: it fits the MSI better when moved by {described(shift.rows, shift.cols)}, "
        f"confidence {shift.confidence:.2f}; `emrdiff fuse` does so unless it is told `--register off`"
    )


def _warnings(shift: Shift) -> tuple[str, ...]:
    return (displacement_warning(shift),) if displaced(shift) else ()
