"""The chain: its schedule, its marginal, its posterior and its sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from emrdiff_cli.core.diffusion.chain import eta_schedule, forward_marginal, sample
from emrdiff_cli.core.diffusion.noise import edge_noise

SHAPE = (1, 2, 5, 6)
X_0 = torch.linspace(-1, 1, 60).reshape(SHAPE)
A_0 = torch.cos(3 * X_0) + 0.5


def no_noise(_: int) -> Tensor:
    return torch.zeros(SHAPE)


def states_seen(etas: tuple[float, ...], kappa: float, noise: Callable[[int], Tensor]) -> dict[int, Tensor]:
    """X'_t at each step of a sampler whose every estimate is X_0."""
    seen: dict[int, Tensor] = {}

    def predict(x_t: Tensor, t: int) -> Tensor:
        seen[t] = x_t.clone()
        return X_0

    sample(predict, A_0, etas, kappa, noise)
    return seen


@pytest.mark.parametrize("steps", [2, 5, 15])
@pytest.mark.parametrize("kappa", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("power", [0.3, 1.0])
def test_schedule_is_resshifts(steps: int, kappa: float, power: float) -> None:
    etas = eta_schedule(steps, kappa, power)
    first = 0.001 / max(kappa, 1)
    b = math.exp(math.log(0.999 / first) / (steps - 1))
    betas = [((t - 1) / (steps - 1)) ** power * (steps - 1) for t in range(1, steps + 1)]
    assert etas[0] == 0
    assert [math.sqrt(eta) for eta in etas[1:]] == pytest.approx([first * b**beta for beta in betas])
    assert math.sqrt(etas[1]) == pytest.approx(first)
    assert math.sqrt(etas[-1]) == pytest.approx(0.999)
    assert all(low < high for low, high in pairwise(etas))


def test_a_single_step_goes_all_the_way() -> None:
    assert eta_schedule(1, 1.0) == (0.0, 0.999**2)


def test_marginal_is_what_the_forward_steps_lead_to() -> None:
    etas, kappa, draws = eta_schedule(5, 1.0), 1.5, 200_000
    x_0, a_0, edges = torch.tensor([[0.3, -1.0]]), torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.2]])
    generator = torch.Generator().manual_seed(0)
    x = x_0.expand(draws, 2)
    for t in range(1, 6):
        alpha = etas[t] - etas[t - 1]
        noise = torch.randn(draws, 2, generator=generator) * edges
        x = x + alpha * (a_0 - x_0) + kappa * math.sqrt(alpha) * noise
        spread = kappa * math.sqrt(etas[t]) * edges[0]
        mean = forward_marginal(x_0, a_0, etas[t], kappa, torch.zeros_like(x_0))[0]
        one = forward_marginal(x_0, a_0, etas[t], kappa, edges)[0]
        torch.testing.assert_close(one - mean, spread, rtol=1e-4, atol=1e-6)
        assert ((x.mean(0) - mean).abs() < 5 * spread / math.sqrt(draws) + 1e-6).all()
        torch.testing.assert_close(x.std(0), spread, rtol=0.01, atol=1e-6)


def test_marginal_starts_at_the_truth_and_ends_near_the_observation() -> None:
    etas = eta_schedule(5, 1.0)
    noise = torch.ones(SHAPE)
    assert torch.equal(forward_marginal(X_0, A_0, 0.0, 1.0, noise), X_0)
    end = forward_marginal(X_0, A_0, etas[-1], 0.0, noise)
    torch.testing.assert_close(end, A_0, rtol=0, atol=0.01)


def test_marginal_takes_one_eta_for_each_sample() -> None:
    x_0, a_0, noise = (torch.randn(2, 3, 4, 4) for _ in range(3))
    together = forward_marginal(x_0, a_0, torch.tensor([0.1, 0.7])[:, None, None, None], 2.0, noise)
    for index, eta in enumerate((0.1, 0.7)):
        alone = forward_marginal(x_0[index], a_0[index], eta, 2.0, noise[index])
        torch.testing.assert_close(together[index], alone)


@pytest.mark.parametrize("steps", [2, 5])
def test_posterior_follows_from_bayes_rule(steps: int) -> None:
    etas, kappa, edge = eta_schedule(steps, 2.0), 2.0, 0.4
    plain = states_seen(etas, kappa, no_noise)
    for t in range(steps, 1, -1):
        alpha = etas[t] - etas[t - 1]
        prior = X_0 + etas[t - 1] * (A_0 - X_0), (kappa * edge) ** 2 * etas[t - 1]
        likelihood = plain[t] - alpha * (A_0 - X_0), (kappa * edge) ** 2 * alpha
        precision = 1 / prior[1] + 1 / likelihood[1]
        mean = (prior[0] / prior[1] + likelihood[0] / likelihood[1]) / precision
        torch.testing.assert_close(plain[t - 1], mean)

        def one_draw(step: int, at: int = t - 1) -> Tensor:
            return torch.full(SHAPE, edge if step == at else 0.0)

        moved = states_seen(etas, kappa, one_draw)[t - 1] - plain[t - 1]
        torch.testing.assert_close(moved, torch.full(SHAPE, precision**-0.5))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_perfect_predictor_gives_the_truth_exactly(steps: int) -> None:
    noise = torch.Generator().manual_seed(3)
    result = sample(
        lambda *_: X_0,
        A_0,
        eta_schedule(steps, 1.0),
        1.0,
        lambda _: torch.randn(SHAPE, generator=noise),
    )
    assert torch.equal(result, X_0)


def test_chain_starts_at_the_observation_with_noise() -> None:
    etas = eta_schedule(5, 2.0)
    noise = torch.full(SHAPE, 0.3)
    start = states_seen(etas, 2.0, lambda _: noise)[5]
    torch.testing.assert_close(start, A_0 + 2.0 * 0.999 * noise)


def test_each_step_draws_its_own_noise_and_the_last_estimate_gets_none() -> None:
    drawn: list[int] = []
    estimates: list[tuple[int, Tensor]] = []

    def noise(step: int) -> Tensor:
        drawn.append(step)
        return torch.ones(SHAPE)

    result = sample(
        lambda x_t, t: x_t * 0.5 + t,
        A_0,
        eta_schedule(5, 1.0),
        1.0,
        noise,
        lambda t, estimate: estimates.append((t, estimate)),
    )
    assert sorted(drawn, reverse=True) == drawn
    assert len(set(drawn)) == len(drawn) == 5
    assert [t for t, _ in estimates] == [5, 4, 3, 2, 1]
    assert torch.equal(result, estimates[-1][1])


def test_flat_ground_gets_no_noise() -> None:
    edges = torch.zeros(1, 1, 5, 6)
    edges[..., 3:] = 1.0
    etas = eta_schedule(5, 1.0)
    one, other = (states_seen(etas, 1.0, edge_noise(seed, SHAPE, [(0, 0)], edges)) for seed in (1, 2))
    for t in range(1, 6):
        assert torch.equal(one[t][..., :3], other[t][..., :3])
        assert not torch.isclose(one[t][..., 3:], other[t][..., 3:], rtol=0, atol=1e-9).any()
