"""A pair's geometry, as it was found and as it is used, in the values of a check."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emrdiff_cli.core.sensor.displacement import FoundField
from emrdiff_cli.core.sensor.field_shape import shape_of
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf
from emrdiff_cli.core.sensor.registration import Shift
from emrdiff_cli.pair.check_result import BlockCheck, FieldCheck, GroupCheck, Point, PsfCheck, ShiftCheck
from emrdiff_cli.pair.local_displacement import BlockDisplacement
from emrdiff_cli.pair.registration import FoundGeometry, FoundGroup


def shift_check(found: FoundGeometry, shift: Shift, ratio: Point, cost: float | None) -> ShiftCheck:
    """A displacement, and what leaving it costs in dB."""
    return ShiftCheck(
        rows_lr_px=round(shift.rows, 4),
        cols_lr_px=round(shift.cols, 4),
        rows_hr_px=round(shift.rows * ratio[0], 3),
        cols_hr_px=round(shift.cols * ratio[1], 3),
        confidence=round(shift.confidence, 4),
        standard_error_lr_px=rounded(shift.standard_errors) if shift.confidence else None,
        r2_before=round(shift.r2_before, 4),
        r2_after=round(shift.r2_after, 4),
        r2_chance=round(shift.r2_chance, 4),
        lr_pixels=shift.pixels,
        cost_db=_decibels(cost),
        used_lr_px=found.used.move,
    )


def psf_check(found: FoundGeometry, psf: FoundPsf, by_axis: Point, cost: float | None) -> PsfCheck:
    """A PSF, and what assuming that of FWHM = the ratio costs in dB."""
    ratio = math.sqrt(by_axis[0] * by_axis[1])
    widths = psf.fwhm[0] * by_axis[0], psf.fwhm[1] * by_axis[1]
    width, error = math.sqrt(widths[0] * widths[1]), max(psf.standard_errors) * ratio
    return PsfCheck(
        fwhm_hr_px=round(width, 3),
        standard_error_hr_px=round(error, 3),
        assumed_fwhm_hr_px=round(ratio, 3),
        cost_db=_decibels(cost),
        by_axis_hr_px=(round(widths[0], 3), round(widths[1], 3)),
        gaussian=not psf.shaped,
        used=found.used.psf is not None,
    )


def field_check(found: FoundField) -> FieldCheck:
    """A field that varies over the scene."""
    shape = shape_of(found.field)
    return FieldCheck(
        scale=(round(shape.scale[0], 6), round(shape.scale[1], 6)),
        rotation_degrees=round(shape.rotation_degrees, 4),
        shear=round(shape.shear, 6),
        quadratic=shape.quadratic,
        corners_lr_px=round(shape.corners, 3),
        unexplained_before=round(found.of_shift, 6),
        unexplained_after=round(found.unexplained, 6),
    )


def group_checks(groups: Sequence[FoundGroup]) -> tuple[GroupCheck, ...]:
    """Each detector's bands against those of the first."""
    against = [(group.against(groups[0]), groups[0].name) for group in groups[1:]]
    return tuple(
        GroupCheck(
            name=group.name,
            bands=tuple(band + 1 for band in group.bands),
            against=first,
            rows_lr_px=round(group.shift[0], 4),
            cols_lr_px=round(group.shift[1], 4),
            standard_error_lr_px=rounded(group.standard_errors),
            elsewhere=group.elsewhere,
        )
        for group, first in against
    )


def block_check(block: BlockDisplacement) -> BlockCheck:
    """A block's own displacement."""
    return BlockCheck(
        centre_lr_px=rounded(block.centre),
        size_lr_px=block.size,
        centre_hr_px=rounded(block.centre_hr),
        rows_lr_px=round(block.shift[0], 4),
        cols_lr_px=round(block.shift[1], 4),
        standard_error_lr_px=rounded(block.standard_errors),
        unexplained=round(block.unexplained, 6),
    )


def _decibels(cost: float | None) -> float | None:
    """Hundredths, without a negative zero."""
    return None if cost is None else round(cost, 2) + 0.0


def rounded(point: Point) -> Point:
    """Four places behind the point."""
    return round(point[0], 4), round(point[1], 4)
