"""Training, step by step: patches, the multi-scale loss, the averaged weights. Pure but for the optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emrdiff_cli.config import TrainConfig
from emrdiff_cli.core.diffusion.chain import forward_marginal
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.core.diffusion.muon import Muon, split_parameters
from emrdiff_cli.core.network import MSGAB

_ALL = slice(None)


@dataclass(frozen=True)
class TrainingScene:
    """A scene as the network sees it, on the training device.

    `target`: X'_0 relative to the end point (C, H, W); `a_0` (C, H, W); `guidance` (G, H, W); `edges` and
    `valid` (1, H, W); `weight` (C,): what each channel counts in the loss.
    """

    target: Tensor
    a_0: Tensor
    guidance: Tensor
    edges: Tensor
    valid: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Batch:
    """Patches of scenes: the fields of TrainingScene with a batch axis; `weight` is (N, C, 1, 1)."""

    target: Tensor
    a_0: Tensor
    guidance: Tensor
    edges: Tensor
    valid: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Draws:
    """A training's randomness, seeded.

    `choices` (patches, steps) are drawn on the CPU, so that none waits for the device, `noise` on the
    device. On a CPU they are one generator.
    """

    choices: torch.Generator
    noise: torch.Generator

    @classmethod
    def on(cls, device: torch.device, seed: int) -> Draws:
        """The draws of `seed` on a device."""
        choices = torch.Generator().manual_seed(seed)
        return cls(choices, choices if device.type == "cpu" else torch.Generator(device).manual_seed(seed))


def draw_batch(scenes: Sequence[TrainingScene], size: int, patch: int, generator: torch.Generator) -> Batch:
    """Random patches of random scenes, each flipped and transposed at random."""
    patches = [_draw_patch(scenes, patch, generator) for _ in range(size)]
    return Batch(*(torch.stack(parts).contiguous() for parts in zip(*patches, strict=True)))


def channel_weights(amplitudes: Tensor, hsi_channels: int, config: TrainConfig) -> Tensor:
    """(C,) weights: (residual size)^p for the HSI's channels, scaled to mean 1; `pseudo_weight` for the rest."""
    hsi = amplitudes[:hsi_channels] ** config.amplitude_power
    pseudo = torch.full_like(amplitudes[hsi_channels:], config.pseudo_weight)
    return torch.cat([hsi / hsi.mean(), pseudo])


def training_loss(
    model: EMRDiff, batch: Batch, config: TrainConfig, draws: Draws, share: slice = _ALL
) -> Tensor:
    """Multi-scale L1 of the estimates of X'_0, at t drawn from 1..T.

    With a `share` of the batch, what those patches add to the whole batch's loss: over shares that make up
    the batch it sums to the loss, and so do its gradients. The draws are the whole batch's.

    Chain `truth` (the paper's): one t, X'_t built from the ground truth. Chain `own`: t = T, which sees no
    truth, and in `later_share` of the calls a later t whose X'_t is built from the detached estimate at T.
    """
    target = batch.target[share]
    guidance = model.network.guide(batch.guidance[share])
    last, count, device = model.config.steps, len(batch.target), batch.target.device

    def draw_steps(low: int, high: int) -> Tensor:
        steps = torch.randint(low, high + 1, (count,), generator=draws.choices)
        return steps[share].to(device, non_blocking=True)

    def loss_at(x_0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(batch.target.shape, generator=draws.noise, device=device)[share]
        return _loss_at(
            model, batch, share, x_0=x_0, noise=noise, guidance=guidance, t=t, scales=config.scales
        )

    if config.chain == "truth":
        return loss_at(target, draw_steps(1, last))[0]
    t = torch.full((len(target),), last, device=device)
    loss, estimate = loss_at(torch.zeros_like(target), t)
    if last == 1 or float(torch.rand((), generator=draws.choices)) >= config.later_share:
        return loss
    later, _ = loss_at(estimate.detach().float(), draw_steps(1, last - 1))
    return 0.5 * (loss + later)


@torch.no_grad()
def settle_gates(model: EMRDiff, batches: Sequence[Batch], generator: torch.Generator) -> None:
    """Fix each gate's averages to their mean over the batches and the steps of the sampler."""
    sums: dict[MSGAB, Tensor] = {}
    calls: dict[MSGAB, int] = {}

    def note(block: MSGAB) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(_gate: nn.Module, seen: tuple[Tensor, ...]) -> None:
            sums[block] = sums.get(block, 0.0) + seen[0].float().mean(0, keepdim=True)
            calls[block] = calls.get(block, 0) + 1

        return add

    blocks = model.network.gated_blocks()
    for block in blocks:
        block.averages = None
    hooks = [block.gate.register_forward_pre_hook(note(block)) for block in blocks]
    for batch in batches:
        model.sample(batch.a_0, batch.guidance, _drawn_noise(batch, generator))
    for hook in hooks:
        hook.remove()
    for block in blocks:
        block.averages = sums[block] / calls[block]


def make_optimizer(model: EMRDiff, config: TrainConfig) -> torch.optim.Optimizer:
    """The configuration's optimiser over the model's parameters."""
    if config.optimizer == "muon":
        return Muon(*split_parameters(model, model.network.heads), config.learning_rate)
    return torch.optim.AdamW(
        model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )


def learning_rate_at(iteration: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero at the last iteration."""
    if iteration < config.warmup:
        return config.learning_rate * (iteration + 1) / config.warmup
    share = (iteration - config.warmup) / max(1, config.iterations - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@torch.no_grad()
def average_weights(average: nn.Module, model: nn.Module, iteration: int, decay: float) -> None:
    """Move the averaged weights towards the model's; early on the average is short."""
    decay = min(decay, (1 + iteration) / (10 + iteration))
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


def _drawn_noise(batch: Batch, generator: torch.Generator) -> Callable[[int], Tensor]:
    def draw(_step: int) -> Tensor:
        return batch.edges * torch.randn(batch.target.shape, generator=generator, device=batch.edges.device)

    return draw


def _loss_at(
    model: EMRDiff,
    batch: Batch,
    share: slice,
    *,
    x_0: Tensor,
    noise: Tensor,
    guidance: Sequence[Tensor],
    t: Tensor,
    scales: int,
) -> tuple[Tensor, Tensor]:
    """Loss of the share at the steps t with X'_t built from x_0, and the full-resolution estimate.

    At t = T the sampler starts from A_0 with nothing of X'_0 in it, and so does a zero x_0.
    """
    etas = torch.tensor(model.etas(), device=t.device)[t][:, None, None, None]
    edge_noise = noise * batch.edges[share]
    x_t = forward_marginal(x_0, torch.zeros_like(x_0), etas, model.config.kappa, edge_noise)
    estimates = model.estimate_scales(x_t, batch.a_0[share], guidance, t, scales)
    losses = [_scale_loss(estimate, batch, share, 2**scale) for scale, estimate in enumerate(estimates)]
    return torch.stack(losses).mean(), estimates[0]


def _scale_loss(estimate: Tensor, batch: Batch, share: slice, stride: int) -> Tensor:
    """Weighted L1 of the share against X'_0 decimated by `stride`, over the weight of all valid pixels."""
    target = batch.target[..., ::stride, ::stride]
    weight = batch.weight * batch.valid[..., ::stride, ::stride]
    error = (estimate - target[share]).abs() * weight[share]
    return error.sum() / (weight.expand_as(target).sum() + 1e-12)


def _draw_patch(
    scenes: Sequence[TrainingScene], patch: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    scene = scenes[draw(len(scenes))]
    height, width = scene.target.shape[-2:]
    top, left = draw(height - patch + 1), draw(width - patch + 1)
    flip_rows, flip_cols, transpose = draw(2), draw(2), draw(2)

    def cut(image: Tensor) -> Tensor:
        piece = image[:, top : top + patch, left : left + patch]
        piece = piece.flip(-2) if flip_rows else piece
        piece = piece.flip(-1) if flip_cols else piece
        return piece.transpose(-1, -2) if transpose else piece

    parts = (scene.target, scene.a_0, scene.guidance, scene.edges, scene.valid)
    return (*(cut(p) for p in parts), scene.weight[:, None, None])
