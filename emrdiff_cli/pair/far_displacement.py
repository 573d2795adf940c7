"""A pair and its surroundings at LR: where its LR-HSI lies, to the pixel, if far from where its grid says."""

from __future__ import annotations

import math

import numpy as np

from emrdiff_cli.core.sensor.coarse_registration import FAR_REACH, CoarseShift, WideScene, find_coarse_shift
from emrdiff_cli.core.sensor.grid import Alignment, AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_invalid
from emrdiff_cli.core.sensor.observation import observe_msi
from emrdiff_cli.core.sensor.resampling import Taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import Window

_SIDE = 512  # LR pixels of the LR-HSI, along each axis, that are looked at, at most
_LEAST_SIDE = 64  # of them, however fine the MSI is
_MSI_VALUES = 200_000_000  # that are read, at most
_AROUND = FAR_REACH + 2  # LR pixels of MSI around the LR-HSI: the reach and the PSF's


def find_far_shift(pair: PairReader) -> CoarseShift | None:
    """The displacement up to FAR_REACH LR pixels, over the whole of the LR-HSI and the MSI around it.

    Of a large LR-HSI, 512 x 512 LR pixels around the middle of the common area. None where the pair does not
    tell. Raises InputError as PairReader.
    """
    wide = pair.placed(_widely_placed(pair))
    good = pair.lr_info.bands.good
    values = wide.read_lr()
    hsi, valid, _ = fill_invalid(values if good is None or not any(good) else values[np.array(good)])
    place, size = wide.alignment, wide.alignment.hr_window
    taps = _lattice(place.rows, hsi.shape[1], size.height), _lattice(place.cols, hsi.shape[2], size.width)
    seen = observe_msi(wide.strips, taps)
    return find_coarse_shift(WideScene(hsi, valid, seen.msi_at_lr, seen.covered))


def _lattice(place: AxisPlacement, n_lr: int, n_hr: int) -> Taps:
    """HR -> LR for a grid that reaches FAR_REACH LR pixels farther at both ends."""
    corner = AxisPlacement(place.ratio, place.offset - FAR_REACH * place.ratio)
    return gaussian_downsampler(corner, n_lr + 2 * FAR_REACH, n_hr, place.ratio / FWHM_PER_SIGMA)


def _widely_placed(pair: PairReader) -> Alignment:
    """The LR pixels in reach of the common area, and the MSI's in reach of those."""
    place, lr, msi = pair.alignment, pair.lr_info.grid, pair.msi_info.grid
    each = pair.msi_info.bands.count * place.rows.ratio * place.cols.ratio
    side = max(_LEAST_SIDE, min(_SIDE, int(math.sqrt(_MSI_VALUES / each)) - 2 * _AROUND))
    near, far = place.lr_window, place.hr_window
    lr_rows, hr_rows, rows = _axis(place.rows, near.rows, far.row, (lr.height, msi.height), side)
    lr_cols, hr_cols, cols = _axis(place.cols, near.cols, far.col, (lr.width, msi.width), side)
    return Alignment(
        Window(lr_rows.start, lr_cols.start, len(lr_rows), len(lr_cols)),
        Window(hr_rows.start, hr_cols.start, len(hr_rows), len(hr_cols)),
        rows,
        cols,
    )


def _axis(
    place: AxisPlacement, near: slice, hr_start: int, lengths: tuple[int, int], side: int
) -> tuple[range, range, AxisPlacement]:
    """Along one axis: LR pixels, at most `side`, and HR pixels of the rasters, and how they lie on each other.

    `place` puts the LR pixels `near` on the HR pixels from `hr_start`; `lengths`: all LR and all HR pixels.
    """
    first, stop = max(0, near.start - FAR_REACH), min(lengths[0], near.stop + FAR_REACH)
    first = max(first, (near.start + near.stop - side) // 2)
    stop = min(stop, first + side)
    edge = hr_start + place.offset + place.ratio * (first - near.start)
    low = max(0, min(lengths[1] - 1, math.floor(edge - place.ratio * _AROUND)))
    high = min(lengths[1], math.ceil(edge + place.ratio * (stop - first + _AROUND)))
    return range(first, stop), range(low, max(low + 1, high)), AxisPlacement(place.ratio, edge - low)
