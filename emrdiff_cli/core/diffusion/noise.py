"""Standard normal noise as a function of (seed, step, channel, absolute row and column).

Overlapping tiles see the same noise, and nothing depends on their order, their batches or the workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from emrdiff_cli.raster_info import Window

_MASK64 = (1 << 64) - 1
_INCREMENT = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB


def counter_noise(
    seed: int,
    step: int,
    channels: int,
    window: Window,
    device: torch.device | str = "cpu",
) -> Tensor:
    """N(0, 1) samples (channels, height, width) of the window.

    Counter-based: the pixel's position is hashed with a key of (seed, step, channel) by two rounds of
    the splitmix64 finaliser, and the two halves of the hash make one normal (Box and Muller 1958).
    """
    keys = [_hash_int(_hash_int(_hash_int(seed) ^ step) ^ channel) for channel in range(channels)]
    key = torch.tensor([_signed(k) for k in keys], dtype=torch.int64, device=device)
    rows = torch.arange(window.row, window.row + window.height, dtype=torch.int64, device=device)
    cols = torch.arange(window.col, window.col + window.width, dtype=torch.int64, device=device)
    counter = (rows[:, None] << 32) | cols
    bits = _mix(_mix(counter)[None] ^ key[:, None, None])
    uniform_1 = (_shift(bits, 40).float() + 1.0) * 2.0**-24
    uniform_2 = (bits & 0xFFFFFF).float() * 2.0**-24
    return torch.sqrt(-2.0 * torch.log(uniform_1)) * torch.cos(2.0 * math.pi * uniform_2)


def edge_noise(
    seed: int, shape: Sequence[int], corners: Sequence[tuple[int, int]], edges: Tensor
) -> Callable[[int], Tensor]:
    """N* = N x W of a batch of tiles (N, C, H, W) by step; each tile's corner is its absolute (row, column)."""

    def draw(step: int) -> Tensor:
        drawn = [
            counter_noise(seed, step, shape[1], Window(top, left, shape[2], shape[3]), edges.device)
            for top, left in corners
        ]
        return edges * torch.stack(drawn)

    return draw


def _mix(x: Tensor) -> Tensor:
    """The splitmix64 finaliser on int64 (products wrap around as in unsigned arithmetic)."""
    x = x + _signed(_INCREMENT)
    x = (x ^ _shift(x, 30)) * _signed(_MIX1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX2)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _hash_int(x: int) -> int:
    x = (x + _INCREMENT) & _MASK64
    x = ((x ^ (x >> 30)) * _MIX1) & _MASK64
    x = ((x ^ (x >> 27)) * _MIX2) & _MASK64
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= (1 << 63) else x
