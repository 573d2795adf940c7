"""The universal image quality index (Wang and Bovik 2002) by band, in 32 x 32 windows at every pixel.

Q = 4 cov(x, y) mean(x) mean(y) / ((var(x) + var(y)) (mean(x)^2 + mean(y)^2)). Where both windows are flat
it is what is left, 2 mean(x) mean(y) / (mean(x)^2 + mean(y)^2), and 1 where both are 0 throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.windows import WindowMeans, sliding

Cube = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

WINDOW = 32
_FLAT = 1e-12  # share of the mean square under which a variance is rounding


class QualityIndex(WindowMeans):
    """Sum of the index by band, over the windows wholly inside valid data."""

    def __init__(self, bands: int) -> None:
        super().__init__(bands, WINDOW, _index)


def _index(fused: Cube, reference: Cube) -> Floats:
    """The index of every window of two planes without holes, by the window's upper left corner."""
    f, r = fused.astype(np.float64), reference.astype(np.float64)
    fields = np.stack([f, r, f * f + r * r, f * r])
    mean_f, mean_r, squares, product = sliding(fields, WINDOW, np.add) / WINDOW**2
    mean_product, mean_squares = mean_f * mean_r, mean_f**2 + mean_r**2
    variances = squares - mean_squares
    varied = variances > _FLAT * squares
    dark = mean_squares <= 0
    luminance = np.where(dark, 1.0, 2 * mean_product / np.where(dark, 1.0, mean_squares))
    structure = 2 * (product - mean_product) / np.where(varied, variances, 1.0)
    return np.asarray(luminance * np.where(varied, structure, 1.0))
