"""What the standard errors of a pair's geometry do to a cube that is fused of it.

Were the LR-HSI's grid an error further on, its pixels would have seen, to first order, their derivative times the
error more; through a PSF of another width, half their second derivative times the difference of the variances. The
fusion returns to the HR pixels what LR pixels see, so that both reach them upsampled. Detail follows the MSI, which
lies where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]
Point = tuple[float, float]

_FIRST, _SECOND = (0.5, 0.0, -0.5), (1.0, -2.0, 1.0)  # by convolution, which turns them


@dataclass(frozen=True)
class GeometryErrors:
    """Standard errors along rows and columns that LR pixels `hsi` (B, h, w), without holes, suffer from.

    `move`: of the displacement, in LR pixels; `variance`: of the PSF's variance, in squared ones.
    """

    hsi: Floats
    move: Point
    variance: Point

    @classmethod
    def of(
        cls, hsi: Floats, move: Point | None, fwhm: Point | None, fwhm_errors: Point | None
    ) -> GeometryErrors | None:
        """Those of a displacement and of widths `fwhm`, as shares of the ratio; None where neither is known."""
        if move is None and fwhm_errors is None:
            return None
        widths, errors = fwhm or (1.0, 1.0), fwhm_errors or (0.0, 0.0)
        rows, cols = (
            2 * width * error / FWHM_PER_SIGMA**2 for width, error in zip(widths, errors, strict=True)
        )
        return cls(hsi, move or (0.0, 0.0), (rows, cols))

    def squares(self) -> Field:
        """The variance (B, h, w) that all of them make at LR."""
        total = np.zeros(self.hsi.shape, np.float32)
        for change in self._changes():
            total += np.square(change)
        return total

    def drawn(self, normal: Sequence[float]) -> Field:
        """What four errors, in units of their standard errors, make of the LR pixels (B, h, w)."""
        total = np.zeros(self.hsi.shape, np.float32)
        for by, change in zip(normal, self._changes(), strict=True):
            total += np.float32(by) * change
        return total

    def _changes(self) -> Iterator[Field]:
        """What one standard error of each makes of the LR pixels: displacement, then width, rows before columns."""
        for weights, errors in ((_FIRST, self.move), (_SECOND, (self.variance[0] / 2, self.variance[1] / 2))):
            for axis, error in enumerate(errors, 1):
                derivative = ndimage.convolve1d(self.hsi, weights, axis, np.float32, mode="nearest")
                yield np.asarray(np.float32(error) * derivative)
