"""The peak signal-to-noise ratio, of every score, rehearsal and validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]


def psnr_db(peak: ArrayLike, mse: ArrayLike) -> Floats:
    """10 log10(peak^2 / mse) for arrays of one shape or a common peak; infinity where `mse` is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(peak) - 10 * np.log10(mse))
