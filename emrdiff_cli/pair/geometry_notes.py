"""A pair's geometry in words: what was done about it, and what that was worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.core.sensor.displacement import FoundField
from emrdiff_cli.core.sensor.field_shape import shape_of
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf
from emrdiff_cli.core.sensor.registration import Shift

Point = tuple[float, float]

UNKNOWN = "the displacement of the LR-HSI could not be told from the pair: it was not moved"

_LEAST = 0.005  # LR pixels, less than which is 0.00 in words


def described(rows: float, cols: float) -> str:
    """A move in words, in LR pixels."""
    down = f"{abs(rows):.2f} {'up' if rows < 0 else 'down'}"
    right = f"{abs(cols):.2f} {'left' if cols < 0 else 'right'}"
    return f"{down} and {right} (LR pixels)"


def right_note(shift: Shift) -> str:
    """That the LR-HSI was left where it lies."""
    return (
        f"the LR-HSI lies right, as far as the pair tells ({shift.distance:.2f} LR pixels): it was not moved"
    )


def move_notes(move: Point, shift: Shift, varies: bool, apart: bool) -> tuple[str, ...]:
    """The move, and what it was worth; nothing of one that is none.

    Where it `varies` over the scene the move is its mean. Where groups of bands lie `apart` from the others it is
    that of the others, and what all of them together explain is worth no word.
    """
    if math.hypot(*move) < _LEAST:
        return ()
    mean = ", its mean over the scene" if varies else ""
    moved = f"the LR-HSI was moved by {described(*move)} onto the MSI{mean}"
    if apart:
        return (moved,)
    return (
        f"{moved} (confidence {shift.confidence:.2f}): it explains {shift.r2_after:.2%} of the MSI there, "
        f"{max(shift.r2_before, 0):.2%} as it lay",
    )


def psf_note(psf: FoundPsf, ratio: Point) -> str:
    """The PSF that is used, `ratio` along rows and columns, in place of that of FWHM = the ratio."""
    return (
        f"the PSF found on the pair is used: FWHM {psf.fwhm[0] * ratio[0]:.2f} x {psf.fwhm[1] * ratio[1]:.2f} MSI "
        f"pixels (rows x columns; {psf.fwhm[0]:.2f} x {psf.fwhm[1]:.2f} of the ratio)"
        f"{', of a shape that is no Gaussian' if psf.shaped else ''}"
    )


def field_note(found: FoundField) -> str:
    """The field that was undone: its shape, how far it moves the corners, and what undoing it explains."""
    shape = shape_of(found.field)
    return (
        f"the displacement varies over the scene, which was undone: {'quadratic, ' if shape.quadratic else ''}"
        f"scale {shape.scale[0]:.5f} x {shape.scale[1]:.5f} (rows x columns), rotation "
        f"{shape.rotation_degrees:.3f} degrees counterclockwise, up to {shape.corners:.2f} LR pixels in the "
        f"corners; that leaves {found.unexplained:.2%} of the MSI unexplained, the same displacement all over "
        f"{found.of_shift:.2%}"
    )


def group_note(name: str, bands: Sequence[int], shift: Point, others: str) -> str:
    """The move of a detector's `bands` (from 0) onto those of another."""
    numbers = numbered_bands([band + 1 for band in bands])
    return f"the {name} bands ({numbers}) were moved by {described(*shift)} besides, onto the {others} bands"
