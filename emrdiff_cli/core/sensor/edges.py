"""Edge weights of the MSI: where the chain's noise goes (EMR-Diff, edge-aware noise)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def sobel_magnitude(hr_msi: Floats) -> NDArray[np.float32]:
    """Gradient magnitude of the band mean P by 3x3 Sobel kernels, without padding.

    (m, H + 2, W + 2) -> (H, W): pad by replication at the scene's edges, take real pixels elsewhere.
    """
    p = hr_msi.mean(axis=0)
    smooth_cols = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    smooth_rows = p[:-2] + 2 * p[1:-1] + p[2:]
    gy = smooth_cols[2:] - smooth_cols[:-2]
    gx = smooth_rows[:, 2:] - smooth_rows[:, :-2]
    return np.asarray(np.hypot(gx, gy), dtype=np.float32)


def edge_weights(magnitude: Floats, low: float, high: float) -> NDArray[np.float32]:
    """W = (M - min M) / (max M - min M) in [0, 1], with the scene's minimum and maximum; 0 for a flat scene."""
    if high <= low:
        return np.zeros(magnitude.shape, np.float32)
    return np.asarray(np.clip((magnitude - low) / (high - low), 0.0, 1.0), dtype=np.float32)
