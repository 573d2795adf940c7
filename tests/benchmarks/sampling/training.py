"""Training of a recipe within a budget of processor time, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emrdiff_cli.core.diffusion.chain import eta_schedule, forward_marginal
from tests.benchmarks.sampling.chains import KAPPA, STEPS, estimate, learned_etas, one_step, run_chain
from tests.benchmarks.sampling.known import COMPONENTS, KnownPair
from tests.benchmarks.sampling.network import SIGNED, Net
from tests.benchmarks.sampling.recipes import Kind, Problem, Recipe

_RATE = 2e-3
_SIDE, _BATCH = 40, 8
_MEMBERS = 2
_FIELDS: dict[Kind, int] = {
    "sigma": 1,
    "crps": _MEMBERS,
    "crps-5": STEPS * _MEMBERS,
    "diffusion": 1,
}  # of noise
_MEMORY = 0.995  # of the weights' running mean, which is what samples
_SAVED_EVERY_S = 20
_ERROR_BATCHES = 12
ERROR_STEPS = (2, STEPS, 10)


@dataclass
class Trained:
    """A network, and the mean squares of its errors (steps, k) by the number of steps, for a diffusion."""

    net: Net
    errors: dict[int, Tensor]


def train(
    recipe: Recipe, pairs: Sequence[KnownPair], path: Path, seed: int, budget_s: float, deadline: float
) -> Trained | None:
    """A recipe trained for so many seconds of one core; None where the deadline comes first: call again."""
    problems = [Problem.of(pair, recipe) for pair in pairs]
    run = _Run(recipe, len(problems[0].inputs), seed, budget_s)
    if path.exists():
        run.load(path)
    rng = np.random.default_rng([seed, run.done])
    generator = torch.Generator().manual_seed(seed + 1000 * run.done)
    saved = time.process_time()
    while run.used_s < budget_s and time.monotonic() < deadline:
        started = time.process_time()
        run.step(_Draw.of(problems, _FIELDS[recipe.kind], rng, generator))
        run.used_s += time.process_time() - started
        if time.process_time() - saved > _SAVED_EVERY_S:
            run.save(path)
            saved = time.process_time()
    run.save(path)
    return run.trained(problems) if run.used_s >= budget_s else None


@dataclass(frozen=True)
class _Draw:
    """A batch of N patches: `inputs`, `target`, `amplitude` (N, ..., h, w), `share` (N, k, 1, 1), and their noise
    (members, N, k, h, w)."""

    inputs: Tensor
    target: Tensor
    amplitude: Tensor
    share: Tensor
    noise: Tensor

    @classmethod
    def of(
        cls,
        problems: Sequence[Problem],
        fields: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> _Draw:
        """Patches, turned and mirrored, the components' signs drawn, and so many fields of noise for each."""
        drawn = [
            _patch(problems[int(rng.integers(len(problems)))], fields, rng, generator) for _ in range(_BATCH)
        ]
        inputs, target, amplitude, noise, share = (torch.stack(part) for part in zip(*drawn, strict=True))
        return cls(inputs, target, amplitude, share[:, :, None, None], noise.transpose(0, 1))


def _patch(
    problem: Problem, fields: int, rng: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, ...]:
    height, width = problem.target.shape[1:]
    top, left = int(rng.integers(height - _SIDE + 1)), int(rng.integers(width - _SIDE + 1))
    cut = (..., slice(top, top + _SIDE), slice(left, left + _SIDE))
    pool = None if problem.pool is None else problem.pool[cut]
    part = problem._replace(target=problem.target[cut], amplitude=problem.amplitude[cut], pool=pool)
    images = [problem.inputs[cut], part.target, part.amplitude, part.noise(fields, generator)]
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    images = [torch.rot90(image, turns, (-2, -1)) for image in images]
    images = [image.flip(-1) if mirrored else image for image in images]
    signs = torch.from_numpy(rng.choice(np.array([-1, 1], np.float32), COMPONENTS))[:, None, None]
    inputs = torch.cat([signs.repeat(2, 1, 1) * images[0][:SIGNED], images[0][SIGNED:]])
    return inputs, signs * images[1], images[2], signs * images[3], problem.share


class _Run:
    """A training under way."""

    def __init__(self, recipe: Recipe, inputs: int, seed: int, budget_s: float) -> None:
        torch.manual_seed(seed)
        self._recipe, self._budget_s = recipe, budget_s
        self._net, self._mean = Net(inputs), Net(inputs)
        self._mean.load_state_dict(self._net.state_dict())
        self._optimiser = torch.optim.Adam(self._net.parameters(), _RATE)
        self._generator = torch.Generator().manual_seed(seed)
        self.done, self.used_s = 0, 0.0
        self._losses: list[float] = []

    def load(self, path: Path) -> None:
        """Go on from what was kept."""
        state = torch.load(path, weights_only=True)
        self._net.load_state_dict(state["net"])
        self._mean.load_state_dict(state["mean"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.done, self.used_s = int(state["done"]), float(state["used_s"])

    def save(self, path: Path) -> None:
        """Keep where the training is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        nets = {"net": self._net.state_dict(), "mean": self._mean.state_dict()}
        state = {"optimiser": self._optimiser.state_dict(), "done": self.done, "used_s": self.used_s}
        torch.save(nets | state, part)
        part.replace(path)

    def step(self, drawn: _Draw) -> None:
        """One iteration."""
        rate = (
            _RATE
            * min(1, (self.done + 1) / 20)
            * (0.5 + 0.5 * math.cos(math.pi * self.used_s / self._budget_s))
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad()
        _loss(self._recipe, self._net, drawn, self._generator).backward()
        nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._optimiser.step()
        self.done += 1
        memory = min(_MEMORY, self.done / (self.done + 10))
        with torch.no_grad():
            for mean, own in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(own, 1 - memory)

    def trained(self, problems: Sequence[Problem]) -> Trained:
        """The network that samples, and how far it is off at each step of a chain."""
        net = self._mean.eval()
        if self._recipe.kind != "diffusion":
            return Trained(net, {})
        rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
        draws = [_Draw.of(problems, 1, rng, generator) for _ in range(_ERROR_BATCHES)]
        with torch.no_grad():
            errors = {
                steps: torch.stack([_mean_square(net, draws, eta) for eta in eta_schedule(steps, KAPPA)[1:]])
                for steps in ERROR_STEPS
            }
        return Trained(net, errors)


def _mean_square(net: Net, draws: Sequence[_Draw], eta: float) -> Tensor:
    """The mean square (k,) of the network's error at a level, in units of the answer."""
    squares = []
    for drawn in draws:
        answer = _diffusion_error(net, drawn, torch.full((len(drawn.target), 1, 1, 1), eta))
        squares.append(answer.square().mean(dim=(0, 2, 3)))
    return torch.stack(squares).mean(dim=0)


def _loss(recipe: Recipe, net: Net, drawn: _Draw, generator: torch.Generator) -> Tensor:
    if recipe.kind == "diffusion":
        etas = torch.tensor(learned_etas())
        chosen = etas[torch.randint(len(etas), (len(drawn.target),), generator=generator)]
        squares = _diffusion_error(net, drawn, chosen[:, None, None, None]).square()
        return (squares * _weight(drawn)).mean()
    seen = net.look(drawn.inputs)
    if recipe.kind == "sigma":
        noise = torch.zeros_like(drawn.target)
        mean, log_scale = net.images(seen, noise, noise.new_zeros(len(noise)))
        error, scale = drawn.target - mean, log_scale + drawn.amplitude.log()
        # By its likelihood the mean is learned least where it is worst: it has squares of its own.
        likelihood = scale + 0.5 * (error.detach() * (-scale).exp()).square()
        return (error.square() * _weight(drawn)).mean() + likelihood.mean()
    if recipe.kind == "crps":
        return _score(torch.stack([one_step(net, recipe, seen, noise) for noise in drawn.noise]), drawn)
    noises = iter(drawn.noise)
    members = [run_chain(net, seen, drawn.amplitude, lambda: next(noises)) for _ in range(_MEMBERS)]
    return _score(torch.stack(members), drawn)


def _diffusion_error(net: Net, drawn: _Draw, eta: Tensor) -> Tensor:
    """The estimate's error from X_t at levels (N, 1, 1, 1), in units of the answer's scale."""
    x_t = forward_marginal(drawn.target, torch.zeros_like(drawn.target), eta, KAPPA, drawn.noise[0])
    found, scale = estimate(net, net.look(drawn.inputs), x_t, eta, drawn.amplitude)
    return (found - drawn.target) / scale


def _score(members: Tensor, drawn: _Draw) -> Tensor:
    """The fair CRPS of members (M, N, k, h, w), and the fair energy score of their spectra, added."""
    weight = _weight(drawn)
    error = (members - drawn.target) * weight.sqrt()
    count = len(members)
    pairs = [error[i] - error[j] for i in range(count) for j in range(i)]
    crps = error.abs().mean() - 0.5 * torch.stack([pair.abs().mean() for pair in pairs]).mean()
    energy = _norm(error).mean() - 0.5 * torch.stack([_norm(pair).mean() for pair in pairs]).mean()
    return crps + energy


def _norm(spectra: Tensor) -> Tensor:
    """Over sqrt(k), of (..., k, h, w)."""
    return (spectra.square().mean(dim=-3) + 1e-8).sqrt()


def _weight(drawn: _Draw) -> Tensor:
    """Of a component's squares: half the same for all, half by their share in the energy (N, k, 1, 1)."""
    return 0.5 + 0.5 * drawn.share
