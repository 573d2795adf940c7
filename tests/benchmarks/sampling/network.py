"""The one network that all learned samplers share, and what it sees of a pair."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.benchmarks.sampling.known import COMPONENTS, KnownPair

Field = NDArray[np.float32]

_WIDTH = 24
_DILATIONS = (1, 2, 4, 1)
_LARGEST = 10.0
SIGNED = 2 * COMPONENTS  # of the inputs, the leading ones: they turn with their component's sign


def inputs_of(pair: KnownPair) -> Field:
    """What a network sees of a pair (INPUTS, H, W): of each component the mean, the detail in it in units of the
    deviation, the deviation's share of its mean and that one's of the scene's spread; then the MSI.
    """
    centre = pair.mean.mean(axis=(1, 2), keepdims=True)
    spread = pair.mean.std(axis=(1, 2), keepdims=True)
    typical = np.sqrt(np.square(pair.deviation).mean(axis=(1, 2), keepdims=True))
    detail = (pair.mean - pair.upsampled(pair.degraded(pair.mean))) / typical
    parts = (
        (pair.mean - centre) / spread,
        np.clip(detail, -_LARGEST, _LARGEST),
        np.log(pair.deviation / typical),
        np.broadcast_to(np.log(typical / spread), pair.mean.shape),
        pair.seen,
    )
    return np.concatenate(parts).astype(np.float32)


class Net(nn.Module):
    """Two images (N, k, H, W) each from what is seen (N, INPUTS, H, W) and a state (N, k, H, W); zero at first.

    `level` (N,), the noise in the state, is one more thing to be seen.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.seen = nn.Conv2d(inputs, _WIDTH, 3, padding=1, padding_mode="replicate")
        self.state = nn.Conv2d(COMPONENTS, _WIDTH, 3, padding=1, padding_mode="replicate", bias=False)
        self.level = nn.Linear(3, _WIDTH)
        self.blocks = nn.ModuleList(
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=d, dilation=d, padding_mode="replicate") for d in _DILATIONS
        )
        self.last = nn.Conv2d(_WIDTH, 2 * COMPONENTS, 1)
        nn.init.zeros_(self.last.weight)
        self.last.bias = nn.Parameter(torch.zeros(2 * COMPONENTS))

    def images(self, seen: Tensor, state: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """The images, of what `look` made of what is seen."""
        powers = torch.stack([level, level.square(), torch.ones_like(level)], dim=1)
        hidden = seen + self.state(state) + self.level(powers)[:, :, None, None]
        for block in self.blocks:
            hidden = hidden + block(nn.functional.silu(hidden))
        answers = self.last(nn.functional.silu(hidden))
        return answers[:, :COMPONENTS], answers[:, COMPONENTS:]

    def look(self, inputs: Tensor) -> Tensor:
        """(N, WIDTH, H, W) of what is seen, which no step changes."""
        found: Tensor = self.seen(inputs)
        return found
