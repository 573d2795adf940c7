"""SSIM (Wang et al. 2004) by band: 11 x 11 Gaussian window, sigma 1.5, K 0.01 and 0.03, range L."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from emrdiff_cli.core.metrics.windows import WindowMeans

Cube = NDArray[np.floating[Any]]

WINDOW = 11
_SIGMA, _K1, _K2 = 1.5, 0.01, 0.03


class Similarity(WindowMeans):
    """Sum of the SSIM map by band, over the windows wholly inside valid data."""

    def __init__(self, bands: int, peak: float) -> None:
        super().__init__(bands, WINDOW, self._map)
        self._c1, self._c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
        offsets = np.arange(WINDOW) - WINDOW // 2
        kernel = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
        self._kernel = kernel / kernel.sum()

    def _map(self, fused: Cube, reference: Cube) -> NDArray[np.float64]:
        f, r = fused.astype(np.float64), reference.astype(np.float64)
        fields = np.stack([f, r, f * f + r * r, f * r])
        inner = slice(WINDOW // 2, -(WINDOW // 2))
        fields = correlate1d(fields, self._kernel, axis=1)[:, inner]
        fields = correlate1d(fields, self._kernel, axis=2)[..., inner]
        mean_f, mean_r, squares, product = fields
        mean_product, mean_squares = mean_f * mean_r, mean_f**2 + mean_r**2
        luminance = (2 * mean_product + self._c1) / (mean_squares + self._c1)
        structure = (2 * (product - mean_product) + self._c2) / (squares - mean_squares + self._c2)
        return np.asarray(luminance * structure)
