"""Standard errors by a paired bootstrap over blocks of a scene (Kuensch 1989): neighbouring errors hang together.

Two methods are scored on the same pixels, so that blocks are drawn for both alike and what is common to them
cancels in their difference. The draws are fixed by a seed of their own: the same errors, the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.block_errors import BlockErrors

Doubles = NDArray[np.float64]

_DRAWS = 400
_SEED = 20240229
_MOST_SIDE = 4  # LR pixels along the side of a block,
_ALONG = 6  # and fewer where a part of the scene has not so many blocks along its shorter side
_LEAST_BLOCKS = 9  # from which on a standard error is told
_EXACT = 1e-30


class Estimate(NamedTuple):
    """A value with its standard error; infinite where there are too few blocks to tell one."""

    value: float
    error: float


def decibels(mse: Doubles) -> Doubles:
    """10 log10 of mean squared errors (..., n), mean over bands."""
    return np.asarray(10 * np.log10(np.maximum(mse, _EXACT)).mean(axis=-1))


def difference_db(
    first: Sequence[BlockErrors], second: Sequence[BlockErrors], least_side: int = 1
) -> Estimate:
    """By how many dB the first's PSNR is above the second's, mean over bands, on the same pixels.

    Each is of one or several parts of a scene; blocks are of `least_side` of their pixels or more.
    """
    parts = [_blocks(*pair, least_side) for pair in zip(first, second, strict=True)]
    sums = np.concatenate([sums for sums, _ in parts], axis=-1)
    counts = np.concatenate([counts for _, counts in parts])
    if not counts.size:
        return Estimate(np.nan, np.inf)
    value = float(_gain(sums.sum(axis=-1) / counts.sum()))
    if len(counts) < _LEAST_BLOCKS:
        return Estimate(value, np.inf)
    even = np.full(len(counts), 1 / len(counts))
    weights = np.random.default_rng(_SEED).multinomial(len(counts), even, _DRAWS)
    means = np.tensordot(weights, sums, axes=(1, 2)) / (weights @ counts)[:, None, None]
    return Estimate(value, float(np.std(_gain(means), ddof=1)))


def _gain(mse: Doubles) -> Doubles:
    """Decibels from the mean squared errors (..., 2, n) of two methods."""
    return decibels(mse[..., 1, :]) - decibels(mse[..., 0, :])


def _blocks(first: BlockErrors, second: BlockErrors, least_side: int) -> tuple[Doubles, Doubles]:
    """Sums (2, n, blocks) and counts (blocks,) of blocks of several LR pixels a side; none is empty."""
    side = max(least_side, min(_MOST_SIDE, min(first.counts.shape) // _ALONG), 1)
    starts = [np.arange(0, length, side) for length in first.counts.shape]

    def gathered(image: Doubles) -> Doubles:
        by_rows = np.add.reduceat(image, starts[0], axis=-2)
        return np.add.reduceat(by_rows, starts[1], axis=-1).reshape(*image.shape[:-2], -1)

    held = gathered(first.counts)
    sums = np.stack([gathered(first.squares), gathered(second.squares)])
    return sums[..., held > 0], held[held > 0]
