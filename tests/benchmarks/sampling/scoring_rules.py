"""Scores of an ensemble against a truth: the fair CRPS, the fair energy score, ranks, spread and error.

Fair: of an ensemble of M members without the reward for a smaller spread that a finite one gives (Ferro 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]


def fair_crps(members: Floats, truth: Floats) -> Doubles:
    """Of members (M, ...) and a truth (...): the mean |x - y| less half the mean |x - x'| of two members."""
    count = len(members)
    ranks = 2 * np.arange(1, count + 1) - count - 1
    apart = np.tensordot(ranks, np.sort(members, axis=0).astype(np.float64), axes=1)
    return np.asarray(np.abs(members - truth).mean(axis=0, dtype=np.float64) - apart / (count * (count - 1)))


def fair_energy_score(members: Floats, truth: Floats) -> Doubles:
    """Of members (M, n, d) and a truth (n, d): the CRPS with distances of vectors, over sqrt(d); (n,)."""
    count, _, size = members.shape
    centred = np.moveaxis(members - truth, 0, 1).astype(np.float64)
    products = centred @ np.swapaxes(centred, 1, 2)
    squares = np.diagonal(products, axis1=1, axis2=2)
    to_truth = np.sqrt(squares).mean(axis=1)
    between = squares[:, :, None] + squares[:, None] - 2 * products
    apart = np.sqrt(np.maximum(between, 0)).sum(axis=(1, 2)) / (2 * count * (count - 1))
    return np.asarray((to_truth - apart) / np.sqrt(size))


def rank_counts(members: Floats, truth: Floats) -> NDArray[np.int64]:
    """How often (M + 1,) the truth has each rank among the members (M, ...)."""
    ranks = (members < truth).sum(axis=0)
    return np.bincount(ranks.ravel(), minlength=len(members) + 1)


def unevenness(counts: NDArray[np.int64]) -> float:
    """The sum over ranks of |share - 1 / (M + 1)|: 0 where all are as frequent, nearly 2 where one has all."""
    shares = counts / counts.sum()
    return float(np.abs(shares - 1 / len(counts)).sum())


def coverage(counts: NDArray[np.int64], level: float) -> tuple[float, float]:
    """The share of truths within the central ranks nearest to `level`, and the share that should be there."""
    count = len(counts)
    outer = round((1 - level) * count / 2)
    inner = counts[outer : count - outer]
    return float(inner.sum() / counts.sum()), len(inner) / count


def spread_and_error(members: Floats, truth: Floats) -> tuple[Doubles, Doubles]:
    """Variances (...) of the members, and squared errors of their mean; alike in the mean if both are true."""
    count = len(members)
    variance = members.var(axis=0, ddof=1, dtype=np.float64) * (1 + 1 / count)
    return variance, np.square(members.mean(axis=0, dtype=np.float64) - truth)
