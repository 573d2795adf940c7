"""BAF-UNet: the dual-branch attention fusion U-Net of EMR-Diff (CVPR 2026).

A denoising encoder sees the state of the chain and the time step; a guidance encoder sees what was
observed, once for all steps; one decoder fuses the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.Module):
    """Normalise the channels of each pixel to zero mean and unit variance; affine by channel.

    (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the channel axis."""
        last = functional.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return last.permute(0, 3, 1, 2)


class GroupBranch(nn.Module):
    """Two bias-free 3x3 convolutions of one group count: out -> 2 out -> 2 out channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Conv2d(channels, wide, 3, padding=1, groups=groups, bias=False)
        self.norm = LayerNorm2d(wide)
        self.refine = nn.Conv2d(wide, wide, 3, padding=1, groups=groups, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 2C, H, W)."""
        wide = self.norm(functional.leaky_relu(self.expand(h), 0.2))
        return functional.leaky_relu(self.refine(wide), 0.2)


class MSGAB(nn.Module):
    """Multi-scale group attention block: spatial attention, two group counts, gated sum, residual.

    (N, in_channels, H, W) -> (N, out_channels, H, W); with `time_channels` it also takes the time
    embedding (N, time_channels). `groups` is the group count of its grouped branch. The gate weighs the
    branches by their averages over the image; with the buffer `averages` (1, 4 * out_channels, 1, 1) set, by
    those instead, and then the block is a function of each pixel's surroundings alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, groups: int, time_channels: int | None = None
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed_norm = LayerNorm2d(out_channels)
        self.attention = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.time = None if time_channels is None else nn.Linear(time_channels, out_channels)
        self.branches = nn.ModuleList(GroupBranch(out_channels, g) for g in (1, groups))
        self.gate = nn.Conv2d(4 * out_channels, 2, 1)
        self.averages: Tensor | None
        self.register_buffer("averages", None)
        self.widen = nn.Conv2d(2 * out_channels, 4 * out_channels, 1)
        self.narrow = nn.Conv2d(4 * out_channels, out_channels, 1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Apply the block; `time` is for the time-conditioned kind alone."""
        h = functional.leaky_relu(self.embed_norm(self.embed(x)), 0.2)
        pooled = torch.cat([h.mean(1, keepdim=True), h.amax(1, keepdim=True)], dim=1)
        h = torch.sigmoid(self.attention(pooled)) * h
        if self.time is not None:
            if time is None:
                raise ValueError("a time-conditioned block needs the time embedding")
            h = h + self.time(functional.leaky_relu(time, 0.01))[:, :, None, None]
        multi = [branch(h) for branch in self.branches]
        averages = self.averages
        if averages is None:
            averages = torch.cat([u.mean((2, 3), keepdim=True) for u in multi], dim=1)
        weights = torch.softmax(self.gate(averages), dim=1)
        gated = weights[:, 0:1] * multi[0] + weights[:, 1:2] * multi[1]
        out: Tensor = self.narrow(functional.leaky_relu(self.widen(gated), 0.01)) + self.skip(x)
        return out


class TimeEmbedding(nn.Module):
    """Sinusoidal embedding of the step (cosines, then sines, longest period 10 000), then two layers.

    (N,) steps -> (N, 4 * channels).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.LeakyReLU(0.01), nn.Linear(4 * channels, 4 * channels)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed the steps t (1..T)."""
        half = self.channels // 2
        exponents = torch.arange(half, device=t.device, dtype=torch.float32) / max(half, 1)
        angles = t.float()[:, None] * torch.exp(-math.log(10_000.0) * exponents)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        embedded: Tensor = self.layers(functional.pad(waves, (0, self.channels - 2 * half)))
        return embedded


class Encoder(nn.Module):
    """Stem, then a MSGAB a level with a stride-2 convolution between levels; returns all 2L outputs."""

    def __init__(self, in_channels: int, width: int, levels: int, time_channels: int | None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(MSGAB(width, width, width, time_channels) for _ in range(levels))
        self.downs = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(levels - 1))

    def forward(self, x: Tensor, time: Tensor | None = None) -> list[Tensor]:
        """(N, in, H, W) -> 2L maps of (N, width, H / 2^l, W / 2^l), finest first."""
        outputs = [self.stem(x)]
        for level, block in enumerate(self.blocks):
            outputs.append(block(outputs[-1], time))
            if level < len(self.downs):
                outputs.append(self.downs[level](outputs[-1]))
        return outputs


class BAFUNet(nn.Module):
    """Dual-branch attention fusion U-Net.

    `channels` is the chain's channel count C; `width` the channels inside (default C, the paper's);
    `levels` the number of scales L; `guidance_channels` what the guidance branch sees (default C).
    Inputs have sides that are multiples of 2^(L-1). Zero-initialised 1x1 heads make an untrained
    network return zero, that is, the end point.
    """

    def __init__(
        self,
        channels: int,
        width: int | None = None,
        levels: int = 5,
        guidance_channels: int | None = None,
    ) -> None:
        super().__init__()
        width = channels if width is None else width
        seen = channels if guidance_channels is None else guidance_channels
        self.levels = levels
        self.time_embedding = TimeEmbedding(width)
        self.denoising = Encoder(channels, width, levels, 4 * width)
        self.guidance = Encoder(seen, width, levels, None)
        self.middle = MSGAB(2 * width, 2 * width, width)
        inputs = [4 * width] + [3 * width] * (2 * levels - 1)
        self.decoder = nn.ModuleList(MSGAB(n, width, width) for n in inputs)
        self.ups = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(levels - 1))
        self.heads = nn.ModuleList(_zero_head(width, channels) for _ in range(min(levels, 4)))

    def gated_blocks(self) -> list[MSGAB]:
        """All blocks that have a gate."""
        return [module for module in self.modules() if isinstance(module, MSGAB)]

    def allot_averages(self) -> None:
        """Make room for the gates' averages, as they come with weights that were saved with them."""
        for block in self.gated_blocks():
            block.averages = torch.zeros(1, block.gate.in_channels, 1, 1, device=block.gate.weight.device)

    def guide(self, observed: Tensor) -> list[Tensor]:
        """Run the guidance encoder: it sees neither the state nor t, so once a tile is enough."""
        maps: list[Tensor] = self.guidance(observed)
        return maps

    def forward(self, x_t: Tensor, a_0: Tensor, t: Tensor) -> Tensor:
        """f(X'_t, A_0, t): the residual from the state (N, C, H, W), what was observed and the steps (N,)."""
        return self.denoise(x_t, self.guide(a_0), t)

    def denoiser(self, observed: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The residual from the state and the steps, of a tile that was observed so."""
        guidance = self.guide(observed)
        return lambda x_t, t: self.denoise(x_t, guidance, t)

    def denoise(self, x_t: Tensor, guidance: Sequence[Tensor], t: Tensor) -> Tensor:
        """The residual, from the maps that `guide` returned."""
        return self.predict_scales(x_t, guidance, t, scales=1)[0]

    def predict_scales(
        self, x_t: Tensor, guidance: Sequence[Tensor], t: Tensor, scales: int = 4
    ) -> list[Tensor]:
        """Predictions at 1, 1/2, 1/4, 1/8 (at most `scales` and L of them), for the multi-scale loss."""
        skips = self.denoising(x_t, self.time_embedding(t))
        h = self.middle(torch.cat([skips[-1], guidance[-1]], dim=1))
        predictions: dict[int, Tensor] = {}
        for step, block in enumerate(self.decoder):
            level = self.levels - 1 - step // 2
            h = block(torch.cat([h, skips[-1 - step], guidance[-1 - step]], dim=1))
            if step % 2 == 0 and 0 < level < min(scales, len(self.heads)):
                predictions[level] = self.heads[level](h)
            if step % 2 == 1 and level > 0:
                h = self.ups[level - 1](functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        predictions[0] = self.heads[0](h)
        return [predictions[level] for level in sorted(predictions)]


def _zero_head(width: int, channels: int) -> nn.Conv2d:
    head = nn.Conv2d(width, channels, 1)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head
