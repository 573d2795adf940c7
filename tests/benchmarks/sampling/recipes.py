"""Recipes of learned samplers: what they are trained for, from which end point and with which noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.benchmarks.sampling.known import KnownPair
from tests.benchmarks.sampling.network import inputs_of

Field = NDArray[np.float32]
Kind = Literal["sigma", "crps", "crps-5", "diffusion"]
EndPoint = Literal["kriging", "bicubic", "none"]
Noise = Literal["posterior", "white", "gaussian", "edge"]

_LEAST_EDGE = 0.1  # without noise the chain would tell the truth where there is no edge
_LARGEST = 10.0  # units: errors beyond are not learned


@dataclass(frozen=True)
class Recipe:
    """A learned sampler. It works in units around an end point: (truth - end point) / unit.

    `kriging`: the posterior's mean and deviation; `bicubic`: the LR-HSI upsampled, and each component's spread;
    `none`: the component's centre and spread. Noise: `posterior`, kriging's draws; `white`, with their deviation
    but no correlation; `gaussian`, the same everywhere; `edge`, by the weights of the MSI's edges.
    """

    name: str
    kind: Kind
    end_point: EndPoint = "kriging"
    noise: Noise = "posterior"


RECIPES = (
    Recipe("sigma", "sigma"),
    Recipe("crps", "crps"),
    Recipe("crps-5", "crps-5"),
    Recipe("diffusion", "diffusion"),
    Recipe("white-noise", "diffusion", noise="white"),
    Recipe("gaussian-noise", "diffusion", noise="gaussian"),
    Recipe("edge-noise", "diffusion", noise="edge"),
    Recipe("bicubic-end", "diffusion", "bicubic", "edge"),
    Recipe("no-residual", "diffusion", "none", "gaussian"),
    Recipe("sigma-bicubic", "sigma", "bicubic", "gaussian"),
    Recipe("crps-bicubic", "crps", "bicubic", "gaussian"),
)


class Problem(NamedTuple):
    """A pair in a recipe's units: `inputs` (INPUTS, H, W), `target`, `base` and `unit` (k, H, W).

    `amplitude` (k, H, W) of the noise, in these units; `pool` (n, k, H, W) of unit fields, None where it is white;
    `share` (k,) of each component in the errors' energy, k in all.
    """

    inputs: Tensor
    target: Tensor
    base: Tensor
    unit: Tensor
    amplitude: Tensor
    pool: Tensor | None
    share: Tensor

    @classmethod
    def of(cls, pair: KnownPair, recipe: Recipe) -> Problem:
        """The problem of a pair."""
        base, unit, typical = _around(pair, recipe.end_point)
        amplitude = {
            "posterior": pair.deviation / unit,
            "white": pair.deviation / unit,
            "gaussian": np.broadcast_to(typical, unit.shape) / unit,
            "edge": typical * _edge_weights(pair) / unit,
        }[recipe.noise]
        energy = np.square(pair.deviation).mean(axis=(1, 2))
        pool = torch.from_numpy(pair.draws) if recipe.noise == "posterior" else None
        target = np.clip((pair.truth - base) / unit, -_LARGEST, _LARGEST)
        images = inputs_of(pair), target, base, unit, amplitude
        made = [torch.from_numpy(np.array(image, np.float32)) for image in images]
        share = torch.from_numpy(np.asarray(len(energy) * energy / energy.sum(), np.float32))
        return cls(made[0], made[1], made[2], made[3], made[4], pool, share)

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """N* (count, k, H, W)."""
        shape = (count, *self.target.shape)
        if self.pool is None:
            fields = torch.randn(shape, generator=generator)
            return self.amplitude * fields
        return self.amplitude * mixed(self.pool.float(), count, generator)


def mixed(pool: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Fields (count, ...) of a pool's covariance: combinations of its independent fields (n, ...)."""
    weights = torch.randn(count, len(pool), generator=generator)
    weights = weights / weights.square().sum(dim=1, keepdim=True).sqrt()
    return (weights @ pool.flatten(1)).reshape(count, *pool.shape[1:])


def _around(pair: KnownPair, end_point: EndPoint) -> tuple[Field, Field, Field]:
    """The end point (k, H, W), the unit (k, H, W), and the noise's typical size (k, 1, 1)."""
    if end_point == "kriging":
        typical = np.sqrt(np.square(pair.deviation).mean(axis=(1, 2), keepdims=True))
        return pair.mean, pair.deviation, typical
    spread = pair.lr.std(axis=(1, 2), keepdims=True)
    centre = pair.lr.mean(axis=(1, 2), keepdims=True)
    base = pair.bicubic if end_point == "bicubic" else np.broadcast_to(centre, pair.mean.shape)
    return base, np.broadcast_to(spread, pair.mean.shape), spread


def _edge_weights(pair: KnownPair) -> Field:
    """The edges' weights (H, W), of unit rms."""
    weights = np.maximum(pair.seen[-1] / pair.seen[-1].max(), _LEAST_EDGE)
    return np.asarray(weights / np.sqrt(np.square(weights).mean()), np.float32)
