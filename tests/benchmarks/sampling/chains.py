"""Draws of a learned sampler: one step, or the chain of EMR-Diff from an end point, in units of the residual."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from emrdiff_cli.core.diffusion.chain import eta_schedule, sample
from tests.benchmarks.sampling.network import Net
from tests.benchmarks.sampling.recipes import Recipe

KAPPA = 1.0
STEPS = 5

NoiseSource = Callable[[], Tensor]
Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scales:
    """What the network's state and answer are multiplied by at a level (Karras et al. 2022), for a residual of
    unit variance: the state, the state's own share of the estimate, and the answer's."""

    state: Tensor
    skip: Tensor
    answer: Tensor

    @classmethod
    def at(cls, eta: Tensor | float, amplitude: Tensor) -> Scales:
        """Those of X_t = (1 - eta) X_0 + kappa sqrt(eta) N*, N* of an amplitude (N, k, H, W)."""
        noise = KAPPA**2 * eta * amplitude.square()
        total = (1 - eta) ** 2 + noise
        return cls(total.rsqrt(), (1 - eta) / total, (noise / total).sqrt())


def estimate(
    net: Net, seen: Tensor, x_t: Tensor, eta: Tensor | float, amplitude: Tensor
) -> tuple[Tensor, Tensor]:
    """The estimate of X_0 (N, k, H, W) and the scale of its error, which the network is trained in."""
    scales = Scales.at(eta, amplitude)
    level = torch.as_tensor(eta, dtype=x_t.dtype).flatten().log().expand(len(x_t)) / 4
    answer, _ = net.images(seen, scales.state * x_t, level)
    return scales.skip * x_t + scales.answer * answer, scales.answer


def one_step(net: Net, recipe: Recipe, seen: Tensor, noise: Tensor) -> Tensor:
    """Draws (N, k, H, W) of a one-step sampler: the noise, scaled and moved; `sigma` sees none of it before."""
    state = torch.zeros_like(noise) if recipe.kind == "sigma" else noise
    moved, log_scale = net.images(seen, state, noise.new_zeros(len(noise)))
    return moved + noise * log_scale.exp()


def run_chain(
    net: Net,
    seen: Tensor,
    amplitude: Tensor,
    noise: NoiseSource,
    steps: int = STEPS,
    own_errors: Tensor | None = None,
    project: Projection | None = None,
) -> Tensor:
    """X_0 (N, k, H, W) by the chain of EMR-Diff from its end point, which is 0 here.

    `own_errors` (steps, k): the mean squares of the network's error at each step, last step first, in units of the
    answer: so large an error is drawn beside each estimate but the last (Bao et al. 2022). `project`: what each
    estimate is made consistent by.
    """
    etas = eta_schedule(steps, KAPPA)

    def predict(x_t: Tensor, t: int) -> Tensor:
        found, scale = estimate(net, seen, x_t, etas[t], amplitude)
        if own_errors is not None and t > 1:
            unit = noise() / amplitude
            found = found + scale * own_errors[t - 1].sqrt()[:, None, None] * unit
        return found if project is None else project(found)

    start = torch.zeros_like(amplitude)
    return sample(predict, start, etas, KAPPA, lambda _t: noise())


def learned_etas() -> tuple[float, ...]:
    """The levels that a network is trained at: those of 5 steps as often as those of 1, 2 and 10 together."""
    others = [eta for steps in (1, 2, 10) for eta in eta_schedule(steps, KAPPA)[1:]]
    own = eta_schedule(STEPS, KAPPA)[1:]
    return (*others, *own * math.ceil(len(others) / len(own)))
