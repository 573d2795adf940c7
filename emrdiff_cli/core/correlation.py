"""Correlation of the bands of two images of the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def correlations(one: Floats, other: Floats) -> Floats:
    """Correlation (n, m) of every row of (n, pixels) with every row of (m, pixels); 0 with a constant row."""
    return np.asarray(_standardised(one) @ _standardised(other).T)


def _standardised(values: Floats) -> Floats:
    """Rows (n, pixels) of mean 0 and norm 1; constant ones 0."""
    centred = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    norm = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    return np.asarray(centred / np.maximum(norm, 1e-30))
