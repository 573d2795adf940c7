"""A pair as a fused raster records that it was used: the LR-HSI moved, its PSF, the MSI's factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.holes import fill_invalid
from emrdiff_cli.core.sensor.observation import observe_msi
from emrdiff_cli.errors import InputError
from emrdiff_cli.fusion.prepared_scene import MSI_OFFSET_TAG, MSI_SCALE_TAG
from emrdiff_cli.pair.geometry import PairGeometry, Point, on_grid_of
from emrdiff_cli.pair.geometry_notes import described
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import RasterInfo

Field = NDArray[np.float32]


@dataclass(frozen=True)
class RecordedPair:
    """The pair in a recorded geometry, the LR-HSI's move in its pixels, down and right, and notes for people.

    `known`: a geometry is recorded.
    """

    pair: PairReader
    move: Point
    notes: tuple[str, ...]
    known: bool = False

    @classmethod
    def of(cls, pair: PairReader, fused: RasterInfo) -> RecordedPair:
        """The pair in the geometry and with the MSI's factor of a fused raster's tags.

        As it lies where they record nothing. Raises InputError for damaged tags, GridError where the pair has
        nothing in common once it is moved.
        """
        try:
            geometry, factor = PairGeometry.from_tags(fused.tags), _factor(fused.tags.get(MSI_SCALE_TAG, "1"))
            offset = _offset(fused.tags.get(MSI_OFFSET_TAG, "0"))
        except InputError as error:
            raise InputError(f"{fused.path}: {error}") from error
        seen = geometry.applied(pair).without_offset(offset).rescaled(factor)
        done = [
            *_moves(geometry, seen),
            *([] if offset == 0 else [f"an offset of {offset:g} taken off the HR-MSI"]),
            *([] if factor == 1 else [f"the HR-MSI multiplied by {factor:g}"]),
        ]
        note = f"held against the pair as {fused.path.name} records it: {'; '.join(done)}"
        return cls(seen, geometry.move, (note,) if done else (), geometry.known)


def lr_on_grid(pair: PairReader) -> Field:
    """The LR-HSI (B, h, w) of the common area, its pixels brought onto its grid; NaN where invalid."""
    values = pair.read_lr()
    if pair.displacement is None:
        return values
    known = pair.lr_info.bands
    filled, valid, unusable = fill_invalid(values, known.bad, known.wavelengths_nm)
    msi_at_lr = observe_msi(pair.strips, pair.resampling.down).msi_at_lr
    moved, usable = on_grid_of(pair, filled, valid, msi_at_lr)
    return np.where(usable & ~unusable[:, None, None], moved, np.float32(np.nan))


def psf_sigmas(pair: PairReader) -> tuple[float, float]:
    """Standard deviations of the Gaussian of the PSF in use along rows and columns, MSI pixels."""
    axes = pair.psf.resolved(pair.alignment.rows, pair.alignment.cols).axes
    rows, cols = (axis.sigma_px for axis in axes or ())
    return rows, cols


def _moves(geometry: PairGeometry, pair: PairReader) -> list[str]:
    done = []
    if geometry.move != (0.0, 0.0):
        done.append(f"the LR-HSI moved by {described(*geometry.move)}")
    if geometry.psf is not None and geometry.psf.axes is not None:
        rows, cols = (axis.fwhm_px for axis in geometry.psf.axes)
        done.append(f"a PSF of FWHM {rows:.2f} x {cols:.2f} MSI pixels (rows x columns)")
    if pair.displacement is not None:
        done.append("what is displaced besides brought onto its grid")
    return done


def _offset(text: str) -> float:
    try:
        offset = float(text)
    except ValueError:
        offset = math.nan
    if not math.isfinite(offset):
        raise InputError(f"its tag {MSI_OFFSET_TAG} is {text!r}: must be a number")
    return offset


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"its tag {MSI_SCALE_TAG} is {text!r}: must be a positive number")
    return factor
