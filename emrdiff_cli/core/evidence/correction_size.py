"""The size of a model's correction of its end point, beside what a scene leaves to be corrected.

What the scene-wide map on the MSI leaves of the LR-HSI is seen, at LR. What it leaves at HR, and a model is to
find, is of the same materials: of about that size, most of it along the same spectral directions. A model of other
scenes corrects by what it learned there: too much, or along directions in which this scene has next to nothing.
`python -m tests.benchmarks.model_trial` has both kinds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_MOST = 1.4  # on the whole: up to 1.3 on scenes that a shipped model is for, up to 15 on others
_MOST_ALONG = 5.0  # along the median direction: up to 4.6 on these, up to 35 on the others
_PIXELS_EACH = 4  # LR pixels for each direction that is told
_LEAST = 1e-30  # variance: nothing is divided by zero


class CorrectionSize(NamedTuple):
    """The rms of a model's correction by that of the residual at LR.

    On the `whole`, and `along` the median one of the residual's principal directions.
    """

    whole: float
    along: float

    @classmethod
    def of(cls, correction: Floats, residual: Floats) -> CorrectionSize:
        """That of a correction (k, N) at HR pixels beside the residual (k, n) at LR pixels, both in one basis."""
        centred = residual - residual.mean(axis=1, keepdims=True, dtype=np.float64)
        variances, directions = np.linalg.eigh(centred @ centred.T / max(1, residual.shape[1]))
        squares = np.square(directions.T @ correction, dtype=np.float64).mean(axis=1)
        told = slice(-max(1, min(len(variances), residual.shape[1] // _PIXELS_EACH)), None)
        along = np.median(squares[told] / np.maximum(variances[told], _LEAST))
        whole = squares.sum() / max(float(variances.sum()), _LEAST)
        return cls(float(np.sqrt(whole)), float(np.sqrt(along)))

    @property
    def is_foreign(self) -> bool:
        """Whether the model corrects more than the scene leaves room for: it was made for others."""
        return self.whole > _MOST or self.along > _MOST_ALONG
