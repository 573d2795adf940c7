"""Patches, loss, learning rate and averaged weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from emrdiff_cli.config import ModelConfig, TrainConfig
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.core.diffusion.learning import (
    Batch,
    Draws,
    TrainingScene,
    average_weights,
    channel_weights,
    draw_batch,
    learning_rate_at,
    settle_gates,
    training_loss,
)

CHANNELS = 5  # 3 of the HSI, 2 of the MSI


def scene(height: int = 24, width: int = 20, number: float = 0) -> TrainingScene:
    """A scene whose every field tells the row, the column and the scene."""
    rows, cols = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    place = torch.stack([rows, cols, torch.full_like(rows, number)])
    texture = torch.sin(place[0] * 1.3 + place[1] * 0.7 + number)
    target = torch.stack([(1 + i) * texture.roll(i, 0) for i in range(CHANNELS)])
    return TrainingScene(
        target=target,
        a_0=torch.cat([place, target[:2]]),
        guidance=torch.cat([place, target]),
        edges=place[:1] / height,
        valid=(cols[None] < width - 3).float(),
        weight=torch.tensor([2.0, 0.5, 0.5, 0.1, 0.1]),
    )


def model(**changes: Any) -> EMRDiff:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"msi_bands": 2, "hsi_bands": 6, "ratio": 4, "subspace": 3, "levels": 2}
    settings |= {"tile": 8, "kappa": 1.0, "guidance_extras": ("unexplained",)}
    return EMRDiff(ModelConfig(**settings | changes))


CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_patches_are_flipped_and_transposed_cuts_of_the_scenes_all_fields_alike() -> None:
    scenes = [scene(number=0), scene(number=1)]
    batch = draw_batch(scenes, 64, 8, seeded())
    seen = set()
    for index in range(64):
        place = batch.guidance[index, :3].long()
        source = scenes[int(place[2, 0, 0])]
        rows, cols = place[0], place[1]
        for name in ("target", "a_0", "guidance", "edges", "valid"):
            assert torch.equal(getattr(batch, name)[index], getattr(source, name)[:, rows, cols]), name
        assert torch.equal(batch.weight[index, :, 0, 0], source.weight)
        by_row = rows[1, 0] - rows[0, 0], rows[0, 1] - rows[0, 0]
        by_col = cols[1, 0] - cols[0, 0], cols[0, 1] - cols[0, 0]
        assert sorted(abs(int(step)) for step in by_row + by_col) == [0, 0, 1, 1]
        seen.add(tuple(map(int, by_row + by_col)))
    assert len(seen) == 8
    assert {int(p) for p in batch.guidance[:, 2, 0, 0]} == {0, 1}


def test_a_patch_as_large_as_the_scene_is_the_scene() -> None:
    batch = draw_batch([scene(8, 8)], 3, 8, seeded())
    for index in range(3):
        assert batch.target[index].sum() == pytest.approx(float(scene(8, 8).target.sum()), abs=1e-4)


def test_the_same_seed_draws_the_same_batch() -> None:
    one, same, other = (draw_batch([scene()], 4, 8, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.guidance, same.guidance)
    assert not torch.equal(one.guidance, other.guidance)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_channels_weigh_a_power_of_their_residual(power: float) -> None:
    sizes = torch.tensor([4.0, 1.0, 0.25, 9.0, 9.0])
    weights = channel_weights(sizes, 3, TrainConfig(amplitude_power=power, pseudo_weight=0.2))
    assert float(weights[:3].mean()) == pytest.approx(1)
    torch.testing.assert_close(weights[:3] / weights[1], sizes[:3] ** power)
    assert weights[3:].tolist() == pytest.approx([0.2, 0.2])


def by_hand(batch: Batch, scales: int) -> float:
    """The loss of an estimate of zero: mean over scales of the weighted mean absolute target."""
    losses = []
    for stride in [2**s for s in range(scales)]:
        target, valid = (x[..., ::stride, ::stride] for x in (batch.target, batch.valid))
        weight = batch.weight * valid
        weight = weight.expand_as(target)
        losses.append(float((target.abs() * weight).sum() / weight.sum()))
    return sum(losses) / scales


@pytest.mark.parametrize("chain", ["truth", "own"])
@pytest.mark.parametrize(("levels", "scales"), [(3, 1), (3, 2), (3, 4), (4, 4)])
def test_loss_is_the_weighted_l1_over_valid_pixels_at_each_scale(
    chain: Any, levels: int, scales: int
) -> None:
    batch = draw_batch([scene()], 3, 8, seeded())
    settings = TrainConfig(chain=chain, scales=scales)
    loss = training_loss(model(levels=levels), batch, settings, Draws.on(CPU, 0))
    assert float(loss.detach()) == pytest.approx(by_hand(batch, min(scales, levels)), rel=1e-5)


def test_invalid_pixels_do_not_count() -> None:
    batch = draw_batch([scene()], 6, 8, seeded())
    assert (batch.valid == 0).any()
    wild = Batch(torch.where(batch.valid > 0, batch.target, 1e6), *list(vars(batch).values())[1:])
    settings = TrainConfig(chain="own")
    losses = [float(training_loss(model(), b, settings, Draws.on(CPU, 0)).detach()) for b in (batch, wild)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("chain", ["truth", "own"])
def test_shares_of_a_batch_add_up_to_its_loss_and_gradients(chain: Any) -> None:
    """Of shares that hold unlike counts of valid pixels."""
    batch = draw_batch([scene()], 6, 8, seeded())
    assert batch.valid[:2].sum() != batch.valid[2:4].sum()
    settings = TrainConfig(chain=chain, later_share=1.0)

    def found(*shares: slice) -> tuple[float, list[Tensor]]:
        network = model()
        for head in network.network.heads:
            torch.nn.init.constant_(head.get_parameter("weight"), 0.1)
        losses = [training_loss(network, batch, settings, Draws.on(CPU, 0), share) for share in shares]
        loss = torch.stack(losses).sum()
        loss.backward()
        return float(loss.detach()), [p.grad for p in network.parameters() if p.grad is not None]

    whole, parts = found(slice(None)), found(slice(0, 2), slice(2, 4), slice(4, 6))
    assert parts[0] == pytest.approx(whole[0], rel=1e-6)
    for one, other in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def states(
    chain: Any, batch: Batch, steps: int = 4, later_share: float = 1.0, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """(X'_t, t) of each pass through the network, from one loss."""
    network = model(steps=steps)
    seen: list[tuple[Tensor, Tensor]] = []
    estimate = network.estimate_scales

    def watched(x_t: Tensor, a_0: Tensor, guidance: Any, t: Tensor, scales: int = 1) -> list[Tensor]:
        seen.append((x_t, t))
        return estimate(x_t, a_0, guidance, t, scales)

    network.__dict__["estimate_scales"] = watched
    settings = TrainConfig(chain=chain, later_share=later_share)
    training_loss(network, batch, settings, Draws.on(CPU, seed))
    return seen


def test_chain_of_the_truth_is_the_marginal_at_a_step_drawn_for_each_sample() -> None:
    batch = draw_batch([scene()], 64, 8, seeded())
    ((x_t, t),) = states("truth", batch)
    assert set(t.tolist()) == {1, 2, 3, 4}
    etas = torch.tensor(model(steps=4).etas())[t][:, None, None, None]
    noise = (x_t - (1 - etas) * batch.target) / etas.sqrt()
    flat = (batch.edges == 0).expand_as(noise)
    assert noise[flat].abs().max() < 1e-2
    assert float((noise / batch.edges)[~flat].std()) == pytest.approx(1, rel=0.05)


def test_own_chain_sees_no_truth() -> None:
    batch = draw_batch([scene()], 16, 8, seeded())
    other = Batch(batch.target + 7, *list(vars(batch).values())[1:])
    passes = states("own", batch)
    assert set(passes[0][1].tolist()) == {4}
    for _, t in passes[1:]:
        assert set(t.tolist()) <= {1, 2, 3}
    for (x_t, _), (same, _) in zip(passes, states("own", other), strict=True):
        assert torch.equal(x_t, same)


def test_own_chain_takes_a_later_step_in_a_share_of_the_iterations() -> None:
    batch = draw_batch([scene()], 1, 4, seeded())
    passes = {
        share: [len(states("own", batch, later_share=share, seed=seed)) for seed in range(20)]
        for share in (0.0, 0.5, 1.0)
    }
    assert (set(passes[0.0]), set(passes[1.0])) == ({1}, {2})
    assert 4 <= passes[0.5].count(2) <= 16


def test_own_chain_of_one_step_is_one_pass() -> None:
    assert len(states("own", draw_batch([scene()], 2, 8, seeded()), steps=1)) == 1


def test_learning_lowers_the_loss() -> None:
    network, settings = model(width=4), TrainConfig(scales=1)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    batch, losses = draw_batch([scene()], 4, 8, seeded()), []
    for step in range(25):
        loss = training_loss(network, batch, settings, Draws.on(CPU, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    settings = TrainConfig(iterations=1000, warmup=100, learning_rate=0.5)
    rates = [learning_rate_at(i, settings) for i in range(1001)]
    assert rates[0] == pytest.approx(0.005)
    assert rates[99] == rates[100] == max(rates) == 0.5
    assert rates[550] == pytest.approx(0.25)
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert all(math.isfinite(learning_rate_at(i, TrainConfig(iterations=5, warmup=10))) for i in range(6))


def test_average_is_short_at_first_and_long_later() -> None:
    average, current = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for layer, value in ((average, 0.0), (current, 1.0)):
        torch.nn.init.constant_(layer.weight, value)
    average_weights(average, current, 0, 0.99)
    assert float(average.weight.detach()) == pytest.approx(0.9)
    torch.nn.init.constant_(average.weight, 0.0)
    average_weights(average, current, 10_000, 0.99)
    assert float(average.weight.detach()) == pytest.approx(0.01)
    assert float(current.weight.detach()) == 1


def test_gates_settle_on_the_averages_of_the_patches() -> None:
    """With one patch and one step the settled network computes what the unsettled one did."""
    network, batch = model(steps=1), draw_batch([scene()], 1, 8, seeded())
    for head in network.network.heads:
        torch.nn.init.constant_(head.get_parameter("weight"), 0.1)
    t = torch.ones(1)

    def estimate() -> Tensor:
        start = (
            network.config.kappa * 0.999 * batch.edges * torch.randn(batch.target.shape, generator=seeded(5))
        )
        with torch.no_grad():
            return network.estimate_scales(start, batch.a_0, network.network.guide(batch.guidance), t)[0]

    expected = estimate()
    settle_gates(network, [batch], seeded(5))
    assert all(block.averages is not None for block in network.network.gated_blocks())
    torch.testing.assert_close(estimate(), expected)
    settle_gates(network, [draw_batch([scene(number=9)], 4, 8, seeded(1))], seeded())
    assert not torch.allclose(estimate(), expected)
