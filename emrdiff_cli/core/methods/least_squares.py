"""Linear maps by least squares, from pixels that need not be held together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_RANK_TOLERANCE = 1e-6
_ROUNDING = 1e-6  # of the mean: a smaller spread is float32 rounding
_AT_ONCE = 1 << 13  # pixels


def fit_linear(inputs: Floats, targets: Floats) -> tuple[Field, Field]:
    """Least-squares slopes (k, m) and intercepts (k,) of targets (k, n) on inputs (m, n); constant inputs get 0."""
    return fit_by_parts(inputs, lambda part: targets[:, part], targets.mean(axis=1, dtype=np.float64))


def fit_by_parts(inputs: Floats, targets: Callable[[slice], Floats], centre: Doubles) -> tuple[Field, Field]:
    """`fit_linear` on targets (k, part of n) of mean `centre` (k,)."""
    mean, spread = mean_and_spread(inputs)
    # Least squares by parts: the triangular factor of those before stands for their pixels.
    design, sought = np.empty((0, len(inputs))), np.empty((0, len(centre)))
    for start in range(0, inputs.shape[1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scaled = (inputs[:, part].astype(np.float64) - mean[:, None]) / spread[:, None]
        directions, design = np.linalg.qr(np.concatenate([design, scaled.T]))
        sought = directions.T @ np.concatenate([sought, (targets(part) - centre[:, None]).T])
    solution, *_ = np.linalg.lstsq(design, sought, rcond=_RANK_TOLERANCE)
    slopes = solution.T / spread
    return slopes.astype(np.float32), (centre - slopes @ mean).astype(np.float32)


def mean_and_spread(values: Floats) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of each row; infinite for a row that is constant but for rounding."""
    mean = values.mean(axis=1, dtype=np.float64)
    spread = values.std(axis=1, dtype=np.float64)
    return mean, np.where(spread > _ROUNDING * np.abs(mean), spread, np.inf)
