"""BAF-UNet as a sampler runs it on a tile: the same function as `core.network`, with nothing done twice.

What the guidance adds to a decoder's convolutions is worked out once a tile; settled gates lie in the weights; what
follows a convolution is done in it. Maps are in one type, float32 or bfloat16, the heads in float32; so is on a CPU
what a CPU does more slowly in bfloat16: norms, averages and maxima, and a kernel of its own for each channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from emrdiff_cli.core.convolution import Convolution
from emrdiff_cli.core.network import MSGAB, BAFUNet, Encoder, GroupBranch, LayerNorm2d

Kind = TypeVar("Kind", bound=nn.Module)


@dataclass(frozen=True)
class Share:
    """What the guidance adds in a decoder's block: to its first convolution, biases included, and to its skip."""

    embed: Tensor
    skip: Tensor


@dataclass(frozen=True)
class Guidance:
    """The guidance of a tile: its coarsest map, and its share of each decoder block."""

    coarsest: Tensor
    shares: Sequence[Share]


class _Types(NamedTuple):
    """Types of maps: of what is convolved densely, and of all else."""

    dense: torch.dtype
    other: torch.dtype


class TileNetwork:
    """A network's weights prepared to run in `dtype` on their device; they are those at the time of the call."""

    @torch.no_grad()
    def __init__(self, network: BAFUNet, dtype: torch.dtype = torch.float32) -> None:
        on_cpu = network.guidance.stem.weight.device.type == "cpu"
        types = _Types(dtype, torch.float32 if on_cpu else dtype)
        self.levels, self._dtype = network.levels, dtype
        self._embed_time = network.time_embedding
        self._denoising = _Encoder(network.denoising, types)
        self._guidance = _Encoder(network.guidance, types)
        self._middle = _Block(network.middle, types)
        width = network.guidance.stem.out_channels
        self._decoder = [_Block(block, types, guided=width) for block in _each(network.decoder, MSGAB)]
        self._ups = [Convolution.of(up, dtype) for up in _each(network.ups, nn.Conv2d)]
        self._head = Convolution.of(_each(network.heads, nn.Conv2d)[0], torch.float32)

    def guide(self, observed: Tensor) -> Guidance:
        """Run the guidance encoder on (N, G, H, W), and what of the decoder depends on it alone."""
        maps = self._guidance(self._taken(observed))
        shares = [block.share(seen) for block, seen in zip(self._decoder, reversed(maps), strict=True)]
        return Guidance(maps[-1], shares)

    def denoiser(self, observed: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The residual from the state and the steps, of a tile that was observed so."""
        guidance = self.guide(observed)
        return lambda x_t, t: self.denoise(x_t, guidance, t)

    def denoise(self, x_t: Tensor, guidance: Guidance, t: Tensor) -> Tensor:
        """The residual (N, C, H, W) in float32, from the state and the steps (N,)."""
        time = functional.leaky_relu(self._embed_time(t), 0.01)
        skips = self._denoising(self._taken(x_t), time)
        h = self._middle(torch.cat([skips[-1], guidance.coarsest], dim=1))
        for step, block in enumerate(self._decoder):
            level = self.levels - 1 - step // 2
            h = block(torch.cat([h, skips[-1 - step]], dim=1), share=guidance.shares[step])
            if step % 2 == 1 and level > 0:
                h = self._ups[level - 1](functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self._head(h.float())

    def _taken(self, x: Tensor) -> Tensor:
        return x.to(self._dtype).contiguous(memory_format=torch.channels_last)


def _each(modules: nn.ModuleList, kind: type[Kind]) -> list[Kind]:
    return [module for module in modules if isinstance(module, kind)]


class _Encoder:
    """`network.Encoder`: all 2L maps, finest first."""

    def __init__(self, encoder: Encoder, types: _Types) -> None:
        self._stem = Convolution.of(encoder.stem, types.dense)
        self._blocks = [_Block(block, types) for block in _each(encoder.blocks, MSGAB)]
        self._downs = [Convolution.of(down, types.dense) for down in _each(encoder.downs, nn.Conv2d)]

    def __call__(self, x: Tensor, time: Tensor | None = None) -> list[Tensor]:
        outputs = [self._stem(x)]
        for level, block in enumerate(self._blocks):
            outputs.append(block(outputs[-1], time))
            if level < len(self._downs):
                outputs.append(self._downs[level](outputs[-1]))
        return outputs


class _Norm:
    """`network.LayerNorm2d`; where it `keeps`, maps come out in their own type, else in that of its weights."""

    def __init__(self, norm: LayerNorm2d, dtype: torch.dtype, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._weight, self._bias, self._eps = (
            norm.weight.detach().to(dtype),
            norm.bias.detach().to(dtype),
            norm.eps,
        )

    def __call__(self, x: Tensor) -> Tensor:
        last = (x if self._keeps else x.to(self._weight.dtype)).permute(0, 2, 3, 1)
        normed = functional.layer_norm(last, self._weight.shape, self._weight, self._bias, self._eps)
        return normed.permute(0, 3, 1, 2)


class _Branch:
    """`network.GroupBranch`, times a gate's weight."""

    def __init__(self, branch: GroupBranch, types: _Types, weight: float) -> None:
        alone = branch.expand.groups == branch.expand.in_channels
        self._expand = Convolution.of(branch.expand, types.other if alone else types.dense, 0.2)
        # What comes from a dense convolution goes to one: copies in another type cost more than the norm.
        self._norm = _Norm(branch.norm, types.other, keeps=not alone)
        self._refine = Convolution.of(branch.refine, types.dense, 0.2, gain=weight)

    def __call__(self, h: Tensor) -> Tensor:
        return self._refine(self._norm(self._expand(h)))


class _Block:
    """`network.MSGAB`; of the last `guided` channels of its input it is handed the share, not the channels."""

    def __init__(self, block: MSGAB, types: _Types, guided: int = 0) -> None:
        own = slice(0, block.embed.in_channels - guided)
        self._embed = Convolution.of(block.embed, types.dense, inputs=own, with_bias=not guided)
        self._embed_norm = _Norm(block.embed_norm, types.other)
        self._attention = Convolution.of(block.attention, types.other)
        self._time = block.time
        settled = None if block.averages is None else torch.softmax(block.gate(block.averages), 1).flatten()
        self._gate = block.gate if settled is None else None
        weights = (1.0, 1.0) if settled is None else settled.tolist()
        self._branches = [
            _Branch(b, types, w) for b, w in zip(_each(block.branches, GroupBranch), weights, strict=True)
        ]
        self._widen = Convolution.of(block.widen, types.dense, 0.01)
        self._narrow = Convolution.of(block.narrow, types.dense)
        self._skip = self._shared = None
        if isinstance(block.skip, nn.Conv2d):
            self._skip = Convolution.of(block.skip, types.dense, inputs=own, with_bias=not guided)
        if guided and isinstance(block.skip, nn.Conv2d):
            rest = slice(own.stop, None)
            self._shared = tuple(
                Convolution.of(layer, types.dense, inputs=rest) for layer in (block.embed, block.skip)
            )

    def share(self, guidance: Tensor) -> Share:
        """Share of the guided channels (N, guided, H, W)."""
        if self._shared is None:
            raise ValueError("a block that is not guided has no share")
        return Share(*(layer(guidance) for layer in self._shared))

    def __call__(self, x: Tensor, time: Tensor | None = None, share: Share | None = None) -> Tensor:
        embedded = self._embed(x) if share is None else self._embed.plus(x, share.embed)
        h = functional.leaky_relu(self._embed_norm(embedded), 0.2, inplace=True)
        pooled = torch.cat([h.mean(1, keepdim=True), h.amax(1, keepdim=True)], dim=1)
        h = h.mul_(self._attention(pooled).sigmoid_())
        if self._time is not None and time is not None:
            h = h.add_(self._time(time)[:, :, None, None].to(h.dtype))
        wide = self._widen(self._gated(*(branch(h) for branch in self._branches)))
        return self._narrow.plus(wide, self._skipped(x, share))

    def _gated(self, one: Tensor, other: Tensor) -> Tensor:
        if self._gate is None:
            return one.add_(other)
        averages = [u.mean((2, 3), keepdim=True, dtype=torch.float32) for u in (one, other)]
        weights = torch.softmax(self._gate(torch.cat(averages, dim=1)), dim=1).to(one.dtype)
        return one.mul_(weights[:, 0:1]).addcmul_(other, weights[:, 1:2])

    def _skipped(self, x: Tensor, share: Share | None) -> Tensor:
        if self._skip is None:
            return x
        return self._skip(x) if share is None else self._skip.plus(x, share.skip)
