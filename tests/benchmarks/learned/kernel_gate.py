"""How much of a learned kernel a pair's own evidence supports: the LR pixels, each left out.

What is wrong at an LR pixel that kriging does not see (`core/methods/leave_one_out.py`) is told in each strength;
that is taken which misses least, a standard error added, if it misses less than kriging's own kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from emrdiff_cli.core.methods.leave_one_out import leave_one_out_of
from tests.benchmarks.learned.gate import STRENGTHS
from tests.benchmarks.learned.kernel import LearnedKriging
from tests.benchmarks.learned.kriged_scene import KrigedPair

Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_BLOCKS = 4  # along each axis, by which the standard error is told


class MissedLess(NamedTuple):
    """A `strength`, the share that it takes off kriging's errors at LR, and the share's standard `error`."""

    strength: float
    share: float
    error: float

    @classmethod
    def of(cls, squares: Mapping[float, Doubles]) -> MissedLess:
        """By the squares of the errors in each strength, by block (n,), the jackknife over these."""
        own, best = squares[0.0], cls(0.0, 0.0, 0.0)
        for strength, found in squares.items():
            share = 1 - found.sum() / own.sum()
            left_out = 1 - (found.sum() - found) / (own.sum() - own)
            count = len(own)
            error = np.sqrt((count - 1) / count * np.square(left_out - left_out.mean()).sum())
            if share - error > best.share - best.error:
                best = cls(strength, float(share), float(error))
        return best


def squares_left_out(kriging: LearnedKriging) -> Doubles:
    """The squares (n,) of the errors at LR pixels that are left out, the sum over the components, by block."""
    wrong = np.nansum(np.square(leave_one_out_of(kriging.field).residual, dtype=np.float64), axis=0)
    rows = np.array_split(wrong, _BLOCKS)
    return np.array([part.sum() for row in rows for part in np.array_split(row, _BLOCKS, axis=1)])


@dataclass(frozen=True)
class AppliedKernel:
    """A learned kernel applied to a pair in each of the STRENGTHS, and the `support` that it has."""

    krigings: Mapping[float, LearnedKriging]
    support: MissedLess

    @classmethod
    def of(cls, pair: KrigedPair, net: nn.Module) -> AppliedKernel:
        """A network applied to a pair."""
        scene, msi = pair.kriged.scene, pair.pair.hr_msi
        krigings = {strength: LearnedKriging.of(scene, msi, net, strength) for strength in STRENGTHS}
        return cls(krigings, MissedLess.of({at: squares_left_out(one) for at, one in krigings.items()}))

    def mean(self, strength: float) -> Field:
        """The mean (k, H, W) in one of the STRENGTHS."""
        return self.krigings[strength].mean()
