"""Samplers by name: kriging's conditional simulation, and the learned ones as they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.benchmarks.sampling.chains import STEPS, one_step, run_chain
from tests.benchmarks.sampling.known import MEMBERS, KnownPair
from tests.benchmarks.sampling.recipes import Problem, Recipe, mixed
from tests.benchmarks.sampling.training import Trained

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_BACK_PROJECTIONS = 3


@dataclass(frozen=True)
class Sampler:
    """A row of the table: a `recipe` by name, None for kriging's conditional simulation, and how it is drawn from.

    `own_errors`: beside each estimate of the chain but the last its error is drawn; `consistent`: each is made to
    agree with the LR-HSI by back-projection. `told`: kriging's deviations as `fuse --samples` scales them.
    """

    name: str
    says: str
    recipe: str | None
    steps: int = STEPS
    own_errors: bool = False
    consistent: bool = False
    told: bool = False
    ablation: str = ""


_OWN = {"own_errors": True}
SAMPLERS = (
    Sampler("kriging", "conditional simulation, as `fuse --samples` scales it", None, told=True),
    Sampler("kriging-unscaled", "the same, as the posterior has it", None),
    Sampler("sigma", "one step, learned mean and sigma", "sigma"),
    Sampler("crps", "one step, trained on the CRPS, noise an input", "crps"),
    Sampler("crps-5", "five steps of the chain, trained on the CRPS of what comes out", "crps-5"),
    Sampler("diffusion", "five steps, the transition as in the paper", "diffusion"),
    Sampler(
        "diffusion-errors", "the same, each estimate's error drawn with it", "diffusion", own_errors=True
    ),
    Sampler(
        "diffusion-consistent",
        "the same, each estimate consistent with the LR-HSI",
        "diffusion",
        own_errors=True,
        consistent=True,
    ),
    Sampler("bicubic-end", "end point bicubic, edge noise", "bicubic-end", ablation="residual", **_OWN),
    Sampler("no-residual", "from noise, conditioned", "no-residual", ablation="residual", **_OWN),
    Sampler("sigma-bicubic", "one step from bicubic, mean and sigma", "sigma-bicubic", ablation="residual"),
    Sampler("crps-bicubic", "one step from bicubic, on the CRPS", "crps-bicubic", ablation="residual"),
    Sampler(
        "white-noise", "deviations of the posterior, no correlation", "white-noise", ablation="noise", **_OWN
    ),
    Sampler("gaussian-noise", "the same everywhere", "gaussian-noise", ablation="noise", **_OWN),
    Sampler("edge-noise", "by the edges' weights", "edge-noise", ablation="noise", **_OWN),
    Sampler("1-step", "1 step", "diffusion", steps=1, ablation="steps"),
    Sampler("2-steps", "2 steps", "diffusion", steps=2, ablation="steps", **_OWN),
    Sampler("10-steps", "10 steps", "diffusion", steps=10, ablation="steps", **_OWN),
    Sampler("2-steps-paper", "2 steps, the paper's transition", "diffusion", steps=2, ablation="steps"),
    Sampler("10-steps-paper", "10 steps, the paper's transition", "diffusion", steps=10, ablation="steps"),
)


def draw(
    sampler: Sampler, recipe: Recipe | None, trained: Trained | None, pair: KnownPair, seed: int
) -> Field:
    """The judged bands (MEMBERS, J, H, W) of a pair, drawn."""
    if sampler.told:
        return np.asarray(_in_bands(pair, pair.mean) + pair.rest + pair.told.astype(np.float32))
    if recipe is None or trained is None:
        components = pair.mean + pair.deviation * pair.draws[:MEMBERS].astype(np.float32)
    else:
        components = _learned(sampler, recipe, trained, pair, seed)
    return np.asarray(_in_bands(pair, components) + pair.rest + pair.beside.astype(np.float32))


def _in_bands(pair: KnownPair, components: Floats) -> Field:
    """(..., J, H, W) of components (..., k, H, W), without the rest."""
    moved = np.tensordot(pair.vectors, components, axes=([1], [components.ndim - 3]))
    return np.asarray(np.moveaxis(moved, 0, -3), np.float32)


def _learned(sampler: Sampler, recipe: Recipe, trained: Trained, pair: KnownPair, seed: int) -> Field:
    """Components (MEMBERS, k, H, W)."""
    problem = Problem.of(pair, recipe)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        seen = trained.net.look(problem.inputs[None])
        drawn = [
            _member(sampler, recipe, trained, pair, problem, seen, number, generator)
            for number in range(MEMBERS)
        ]
    found = torch.cat(drawn) * problem.unit + problem.base
    return found.numpy()


def _member(
    sampler: Sampler,
    recipe: Recipe,
    trained: Trained,
    pair: KnownPair,
    problem: Problem,
    seen: Tensor,
    number: int,
    generator: torch.Generator,
) -> Tensor:
    """One draw (1, k, H, W) in the problem's units."""
    noise = _Noise(problem, number, generator)
    if recipe.kind in ("sigma", "crps"):
        return one_step(trained.net, recipe, seen, noise())

    def project(estimate: Tensor) -> Tensor:
        components = (estimate * problem.unit + problem.base).numpy()
        for _ in range(_BACK_PROJECTIONS):
            components = components + pair.upsampled(pair.lr - pair.degraded(components))
        return (torch.from_numpy(components) - problem.base) / problem.unit

    return run_chain(
        trained.net,
        seen,
        problem.amplitude[None],
        noise,
        sampler.steps,
        trained.errors[sampler.steps] if sampler.own_errors else None,
        project if sampler.consistent else None,
    )


class _Noise:
    """Noise (1, k, H, W) of a draw: first the conditional draw of its number, then combinations of the others."""

    def __init__(self, problem: Problem, number: int, generator: torch.Generator) -> None:
        self._problem, self._number, self._generator = problem, number, generator
        self._first = True

    def __call__(self) -> Tensor:
        pool = self._problem.pool
        if pool is None:
            return self._problem.noise(1, self._generator)
        if self._first:
            self._first = False
            return self._problem.amplitude * pool[self._number : self._number + 1].float()
        return self._problem.amplitude * mixed(pool[MEMBERS:].float(), 1, self._generator)
