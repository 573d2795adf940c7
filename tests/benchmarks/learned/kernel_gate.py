"""How much of a learned kernel a pair's own evidence supports: on MSI bands held out, where the truth is known.

In each strength they are kriged by it; that is taken which misses least, a standard error added, if it misses less
than kriging's own kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tests.benchmarks.learned.gate import STRENGTHS, Trial, by_block, jackknifed
from tests.benchmarks.learned.kernel import LearnedKriging
from tests.benchmarks.learned.kriged_scene import KrigedPair, KrigedScene

Doubles = NDArray[np.float64]
Field = NDArray[np.float32]


class MissedLess(NamedTuple):
    """A `strength`, the share that it takes off kriging's squared errors, and the share's standard `error`."""

    strength: float
    share: float
    error: float

    @classmethod
    def of(cls, squares: Mapping[float, Doubles]) -> MissedLess:
        """By the squares of the errors in each strength, by block (n,), the jackknife over these."""
        own, best = squares[0.0], cls(0.0, 0.0, 0.0)
        for strength, found in squares.items():
            taken = own - found
            share = taken.sum() / max(own.sum(), 1e-30)
            left_out = (taken.sum() - taken) / np.maximum(own.sum() - own, 1e-30)
            error = jackknifed(left_out)
            if share - error > best.share - best.error:
                best = cls(strength, float(share), error)
        return best


@dataclass(frozen=True)
class AppliedKernel:
    """A pair's `means` (k, H, W) by strength of a learned kernel, and the `support` that it has."""

    means: Mapping[float, Field]
    support: MissedLess

    @classmethod
    def of(cls, pair: KrigedPair, tried: Sequence[Trial], net: nn.Module) -> AppliedKernel:
        """A network applied to a pair with its trials, each as much; without any, nothing is supported."""
        squares = {strength: np.zeros(1) for strength in STRENGTHS}
        for trial in tried:
            wrong = {at: mean - trial.truth for at, mean in _means(trial.scene, net).items()}
            unit = max(float(np.square(wrong[0.0], dtype=np.float64).sum()), 1e-30)
            for at, field in wrong.items():
                squares[at] = squares[at] + by_block(np.square(field, dtype=np.float64))[0] / unit
        return cls(_means(pair.kriged, net), MissedLess.of(squares))

    def mean(self, strength: float) -> Field:
        """The mean (k, H, W) in one of the STRENGTHS."""
        return self.means[strength]


def _means(kriged: KrigedScene, net: nn.Module) -> dict[float, Field]:
    """A scene's means (k, H, W) by strength."""
    return {0.0: kriged.mean} | {at: LearnedKriging.of(kriged, net, at).mean() for at in STRENGTHS[1:]}
