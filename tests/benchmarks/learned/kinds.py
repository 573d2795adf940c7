"""The kinds of what is learned across sensors: each one's network, and what it is learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.benchmarks.learned.gate import AppliedResidual, Trial
from tests.benchmarks.learned.kernel import ColourWarp
from tests.benchmarks.learned.kernel_gate import AppliedKernel
from tests.benchmarks.learned.kriged_scene import KrigedPair
from tests.benchmarks.learned.residual import ResidualExample, ResidualNet
from tests.benchmarks.learned.solving import Problem

Field = NDArray[np.float32]


class Example(Protocol):
    """A pair to learn from."""

    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, to keep."""
        ...

    def loss(self, net: nn.Module, rng: np.random.Generator) -> tuple[Tensor, float]:
        """The error by kriging's, what is lost counted twice, and the gain in dB."""
        ...


class Supported(Protocol):
    """How strongly what was learned is to be applied, and what says so."""

    @property
    def strength(self) -> float:
        """0 to 1."""
        ...


class Applied(Protocol):
    """A network applied to a pair."""

    @property
    def support(self) -> Supported:
        """The strength that the pair's own evidence supports."""
        ...

    def mean(self, strength: float) -> Field:
        """The components (k, H, W), fused in a strength, 0 or one of the STRENGTHS or the supported one."""
        ...


@dataclass(frozen=True)
class Kind:
    """A new `net`; an `example` of a pair of `side` LR pixels or less, and from the tensors it was `kept_as`.

    `pairs` of each sensor are learned from. `applied`: a network to a pair with its trials.
    """

    net: Callable[[], nn.Module]
    example: Callable[[KrigedPair], Example]
    kept_as: Callable[..., Example]
    side: int
    pairs: int
    applied: Callable[[KrigedPair, Sequence[Trial], nn.Module], Applied]


KINDS = {
    "residual": Kind(
        net=ResidualNet,
        example=ResidualExample.of,
        kept_as=ResidualExample.kept_as,
        side=15,
        pairs=80,
        applied=AppliedResidual.of,
    ),
    "kernel": Kind(
        net=ColourWarp,
        example=Problem.of,
        kept_as=Problem.kept_as,
        side=20,
        pairs=160,
        applied=AppliedKernel.of,
    ),
}
