"""The MSI as an LR-HSI's PSF sees it at any place of the LR grid: degraded to a finer grid, splines between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.degradation import COVERED, DegradedImage, Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_holes
from emrdiff_cli.core.sensor.observation import Strip, Strips
from emrdiff_cli.core.sensor.registration import PairBlock
from emrdiff_cli.core.sensor.resampling import Taps

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FINER = 3  # places an LR pixel, along each axis, at which the MSI is seen
_MARGIN = 3  # LR pixels around a block in which it is seen too
_ORDER = 5  # of the splines between these places
_INSIDE = 0.97  # share of the PSF, on each axis, that must lie within the MSI
_SEEN = 0.01  # share of the PSF on valid pixels below which a place sees nothing


class FinerMsi:
    """The MSI as the PSF sees it at any place of an LR grid and a little around it.

    `image` (m, ..) and `seen`, where it is whole, at the places of `finer_down`.
    """

    def __init__(self, image: Floats, seen: Mask) -> None:
        self._seen = seen.astype(np.float32)
        self._spline = np.stack(
            [ndimage.spline_filter(band.astype(np.float64), _ORDER, mode="nearest") for band in image]
        )

    @classmethod
    def of_block(cls, block: PairBlock, psf: Psf) -> FinerMsi:
        """The MSI of a block."""
        height, width = block.valid.shape
        hr = block.msi.shape[1], block.msi.shape[2]
        down = finer_down(psf, block.rows, block.cols, (height, width), hr)
        return cls.of_strips(lambda: iter([Strip(0, block.msi, block.msi_valid)]), down)

    @classmethod
    def of_strips(cls, strips: Strips, down: tuple[Taps, Taps]) -> FinerMsi:
        """The MSI in strips; `down` as `finer_down` gives it."""
        image: DegradedImage | None = None
        for strip in strips():
            image = image or DegradedImage(len(strip.values), down)
            image.add(*strip)
        if image is None:
            raise ValueError("the MSI has no rows")
        rows, cols = down
        inside = (rows.inside > _INSIDE)[:, None] & (cols.inside > _INSIDE)
        seen = image.share[0] > COVERED
        return cls(fill_holes(image.mean(_SEEN), image.share[0] > _SEEN), seen & inside)

    def at(self, rows: Doubles, cols: Doubles) -> Doubles:
        """The MSI (m, ...) of LR pixels at these places, in LR pixels."""
        places = _finer(rows), _finer(cols)
        return np.stack(
            [
                ndimage.map_coordinates(band, places, order=_ORDER, mode="nearest", prefilter=False)
                for band in self._spline
            ]
        )

    def sees(self, rows: Doubles, cols: Doubles) -> Mask:
        """Where LR pixels at these places lie wholly on valid MSI pixels."""
        places = _finer(rows), _finer(cols)
        return np.asarray(ndimage.map_coordinates(self._seen, places, order=1, mode="constant") > COVERED)


def finer_down(
    psf: Psf, rows: AxisPlacement, cols: AxisPlacement, lr: tuple[int, int], hr: tuple[int, int]
) -> tuple[Taps, Taps]:
    """HR -> the places of an LR grid and its margin at which the MSI is seen, through the PSF of LR pixels."""
    down, across = (
        AxisPlacement(axis.ratio / _FINER, axis.offset - _MARGIN * axis.ratio) for axis in (rows, cols)
    )
    sizes = (lr[0] + 2 * _MARGIN) * _FINER, (lr[1] + 2 * _MARGIN) * _FINER
    return psf.resolved(rows, cols).down(down, across, sizes, hr)


def _finer(places: Doubles) -> Doubles:
    """LR pixels -> places at which the MSI is seen."""
    return (places + _MARGIN + 0.5) * _FINER - 0.5
