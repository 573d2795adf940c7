"""MATLAB's imresize, written from its description."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def imresize_weights(n_in: int, ratio: float, n_out: int) -> NDArray[np.float64]:
    """MATLAB's imresize(x, 1 / ratio, "bicubic") along one axis, with its antialiasing, as a matrix."""
    scale, width = 1 / ratio, 4 * ratio
    mirrored = [*range(n_in), *reversed(range(n_in))]
    matrix = np.zeros((n_out, n_in))
    for out in range(n_out):
        u = (out + 1) / scale + 0.5 * (1 - 1 / scale)  # one-based, as there
        left = int(np.floor(u - width / 2))
        at = np.arange(left, left + int(np.ceil(width)) + 2)
        d = np.abs(scale * (u - at))
        cubic = np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2)
        weights = np.where(d <= 2, cubic, 0.0)
        for index, weight in zip(at, weights / weights.sum(), strict=True):
            matrix[out, mirrored[(index - 1) % (2 * n_in)]] += weight
    return matrix
