"""BAF-UNet against a second implementation, written from the description of the method alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.core.network import BAFUNet

State = dict[str, Tensor]
SHAPES = [
    # channels, width, levels, guidance channels, height, width of the image
    (6, None, 3, None, 8, 12),
    (5, 8, 2, 9, 6, 10),
    (7, None, 5, 11, 16, 16),
    (4, 3, 1, None, 5, 7),
    (1, 2, 2, 1, 4, 4),
]


def conv(s: State, name: str, x: Tensor, groups: int = 1, stride: int = 1) -> Tensor:
    kernel = s[f"{name}.weight"]
    parts = zip(x.chunk(groups, 1), kernel.chunk(groups, 0), strict=True)
    y = torch.cat([functional.conv2d(p, k, None, stride, kernel.shape[-1] // 2) for p, k in parts], 1)
    bias = s.get(f"{name}.bias")
    return y if bias is None else y + bias[None, :, None, None]


def norm(s: State, name: str, x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    affine = [s[f"{name}.{part}"][None, :, None, None] for part in ("weight", "bias")]
    return (x - mean) / (variance + 1e-6).sqrt() * affine[0] + affine[1]


def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def linear(s: State, name: str, x: Tensor) -> Tensor:
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


def msgab(s: State, name: str, x: Tensor, width: int, time: Tensor | None = None) -> Tensor:
    h1 = leaky(norm(s, f"{name}.embed_norm", conv(s, f"{name}.embed", x)), 0.2)
    pooled = torch.stack([h1.mean(1), h1.max(1).values], 1)
    h = conv(s, f"{name}.attention", pooled).sigmoid() * h1
    if time is not None:
        h = h + linear(s, f"{name}.time", leaky(time, 0.01))[..., None, None]
    branches = []
    for index, groups in enumerate((1, width)):
        branch = f"{name}.branches.{index}"
        wide = norm(s, f"{branch}.norm", leaky(conv(s, f"{branch}.expand", h, groups), 0.2))
        branches.append(leaky(conv(s, f"{branch}.refine", wide, groups), 0.2))
    logits = conv(s, f"{name}.gate", torch.cat(branches, 1).mean((2, 3), keepdim=True))
    weights = logits.exp() / logits.exp().sum(1, keepdim=True)
    mixed = weights[:, :1] * branches[0] + weights[:, 1:] * branches[1]
    out = conv(s, f"{name}.narrow", leaky(conv(s, f"{name}.widen", mixed), 0.01))
    return out + (conv(s, f"{name}.skip", x) if f"{name}.skip.weight" in s else x)


def embedding(s: State, t: Tensor, size: int) -> Tensor:
    half = size // 2
    frequencies = torch.tensor([10_000 ** (-i / half) for i in range(half)], dtype=torch.float64)
    angles = t.double()[:, None] * frequencies
    waves = torch.cat([angles.cos(), angles.sin(), torch.zeros(len(t), size % 2)], 1)
    return linear(s, "time_embedding.layers.2", leaky(linear(s, "time_embedding.layers.0", waves), 0.01))


def encoder(s: State, name: str, x: Tensor, width: int, levels: int, time: Tensor | None) -> list[Tensor]:
    outputs = [conv(s, f"{name}.stem", x)]
    for level in range(levels):
        outputs.append(msgab(s, f"{name}.blocks.{level}", outputs[-1], width, time))
        if level < levels - 1:
            outputs.append(conv(s, f"{name}.downs.{level}", outputs[-1], stride=2))
    return outputs


def reference(network: BAFUNet, x_t: Tensor, a_0: Tensor, t: Tensor, width: int, levels: int) -> list[Tensor]:
    """Predictions at full, 1/2, 1/4 and 1/8 resolution, in double precision."""
    s = {name: value.detach().double() for name, value in network.state_dict().items()}
    time = embedding(s, t, width)
    denoising = encoder(s, "denoising", x_t.double(), width, levels, time)
    guidance = encoder(s, "guidance", a_0.double(), width, levels, None)
    h = msgab(s, "middle", torch.cat([denoising[-1], guidance[-1]], 1), width)
    coarse: list[Tensor] = []
    for level in reversed(range(levels)):
        for block in range(2):
            index = 2 * (levels - 1 - level) + block
            skips = [denoising.pop(), guidance.pop()]
            h = msgab(s, f"decoder.{index}", torch.cat([h, *skips], 1), width)
            if block == 0 and 0 < level < 4:
                coarse.insert(0, conv(s, f"heads.{level}", h))
        if level > 0:
            h = conv(s, f"ups.{level - 1}", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert not denoising
    assert not guidance
    return [conv(s, "heads.0", h), *coarse]


def random_network(*shape: Any, seed: int = 0) -> BAFUNet:
    """A network whose norms, biases and heads are not at their initial ones and zeros."""
    torch.manual_seed(seed)
    network = BAFUNet(*shape)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name or name.startswith("heads"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def inputs(
    channels: int, seen: int, height: int, width: int, count: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(1)
    x_t = torch.randn(count, channels, height, width, generator=drawn)
    a_0 = torch.randn(count, seen, height, width, generator=drawn)
    return x_t, a_0, torch.arange(1, count + 1)


@pytest.mark.parametrize(("channels", "width", "levels", "seen", "height", "cols"), SHAPES)
def test_network_computes_what_the_method_describes(
    channels: int, width: int | None, levels: int, seen: int | None, height: int, cols: int
) -> None:
    network = random_network(channels, width, levels, seen)
    x_t, a_0, t = inputs(channels, seen or channels, height, cols)
    expected = reference(network, x_t, a_0, t, width or channels, levels)
    with torch.no_grad():
        scales = network.predict_scales(x_t, network.guide(a_0), t)
        forward = network(x_t, a_0, t)
    assert [scale.shape[-1] for scale in scales] == [cols // 2**i for i in range(min(levels, 4))]
    for got, wanted in zip([forward, *scales], [expected[0], *expected], strict=True):
        assert wanted.abs().max() > 0.1
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


def test_guidance_run_once_serves_every_step() -> None:
    network = random_network(6, None, 2, 9)
    x_t, a_0, _ = inputs(6, 9, 8, 8)
    with torch.no_grad():
        guidance = network.guide(a_0)
        outputs = []
        for step in (1, 3, 5):
            t = torch.full((2,), step)
            outputs.append(network.denoise(x_t, guidance, t))
            assert torch.equal(outputs[-1], network(x_t, a_0, t))
    assert not torch.allclose(outputs[0], outputs[1])


def test_the_sampler_runs_the_guidance_branch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(msi_bands=2, hsi_bands=6, ratio=4, subspace=3, levels=2, tile=8, guidance_extras=())
    model = EMRDiff(config)
    calls = []
    guide = model.network.guide

    def counted(observed: Tensor) -> list[Tensor]:
        calls.append(observed)
        return guide(observed)

    monkeypatch.setattr(model.network, "guide", counted)
    a_0 = torch.randn(2, 5, 8, 8)
    with torch.no_grad():
        model.sample(a_0, a_0, lambda _: torch.zeros_like(a_0))
    assert len(calls) == 1


def test_size_is_the_papers_without_the_heads() -> None:
    network = BAFUNet(channels=34)
    counts = {name: p.numel() for name, p in network.named_parameters()}
    heads = sum(count for name, count in counts.items() if name.startswith("heads"))
    assert sum(counts.values()) - heads == 2_592_390


def test_every_parameter_receives_a_gradient() -> None:
    network = random_network(34)
    output = network(*inputs(34, 34, 32, 32))
    (output**2).mean().backward()
    unused = [
        name
        for name, p in network.named_parameters()
        if not name.startswith("heads") and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert unused == []


def test_heads_receive_a_gradient_before_training() -> None:
    network = BAFUNet(5, levels=4)
    x_t, a_0, t = inputs(5, 5, 8, 8)
    scales = network.predict_scales(x_t, network.guide(a_0), t)
    torch.stack([scale.sum() for scale in scales]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.heads.parameters())


@pytest.mark.parametrize("channels", [5, 6])
def test_untrained_network_returns_the_end_point(channels: int) -> None:
    network = BAFUNet(channels, levels=4)
    x_t, a_0, t = inputs(channels, channels, 16, 8)
    with torch.no_grad():
        for scale in network.predict_scales(x_t, network.guide(a_0), t):
            assert scale.abs().max() == 0


def test_tiles_in_a_batch_do_not_see_each_other() -> None:
    network = random_network(4, None, 2)
    x_t, a_0, t = inputs(4, 4, 8, 8, count=3)
    with torch.no_grad():
        together = network(x_t, a_0, t)
        alone = torch.cat([network(x_t[i : i + 1], a_0[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_time_conditioned_block_needs_the_time() -> None:
    network = BAFUNet(4, levels=1)
    with pytest.raises(ValueError, match="time embedding"):
        network.denoising(torch.zeros(1, 4, 4, 4))


def settled(network: BAFUNet, *seen: Tensor) -> BAFUNet:
    """The network with each gate's averages fixed to those of one image."""
    inputs_of: dict[object, Tensor] = {}
    hooks = [
        block.gate.register_forward_pre_hook(lambda gate, given: inputs_of.update({gate: given[0]}))
        for block in network.gated_blocks()
    ]
    with torch.no_grad():
        network(*seen)
    network.allot_averages()
    for hook, block in zip(hooks, network.gated_blocks(), strict=True):
        hook.remove()
        block.averages = inputs_of[block.gate]
    return network


def test_gates_settled_on_an_images_own_averages_change_nothing() -> None:
    network = random_network(4, None, 3)
    seen = inputs(4, 4, 16, 16, count=1)
    with torch.no_grad():
        expected = network(*seen)
        torch.testing.assert_close(settled(network, *seen)(*seen), expected)


def test_with_settled_gates_a_pixel_does_not_depend_on_what_lies_far_away() -> None:
    network = settled(random_network(3, None, 1), *inputs(3, 3, 16, 16, count=1))
    x_t, a_0, t = inputs(3, 3, 16, 64, count=1)
    other = a_0.clone()
    other[..., 50:] = 0
    with torch.no_grad():
        one, two = network(x_t, a_0, t), network(x_t, other, t)
    assert torch.equal(one[..., :20], two[..., :20])
    assert not torch.allclose(one[..., 50:], two[..., 50:])
