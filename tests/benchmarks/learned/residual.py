"""A residual network in units of kriging's posterior: (truth - mean) / sigma of each component, weights shared.

It is odd in the component's own inputs: a component has no sign of its own. Output starts at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.benchmarks.learned.kriged_scene import AXES, SEEN, KrigedPair, KrigedScene

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

COMPONENTS = 8  # the leading ones, that are learned from and corrected
OWN, CERTAINTY = 3, 2
WIDTH = 24
_DILATIONS = (1, 2, 1)
_LARGEST = 20.0  # sigma, that are shown
_LEAST = 1e-30
_CROP = 48  # HR pixels that are learned from at once
_AT_ONCE = 4  # and components


class ResidualNet(nn.Module):
    """(k, OWN, H, W) of components, (k, CERTAINTY, H, W), (1, SEEN, H, W) -> (k, H, W) in units of sigma."""

    def __init__(self) -> None:
        super().__init__()
        self.own = convolution(OWN, bias=False)
        self.scene = convolution(SEEN)
        self.certainty = convolution(CERTAINTY)
        self.blocks = nn.ModuleList(convolution(WIDTH, dilation) for dilation in _DILATIONS)
        self.last = nn.Conv2d(WIDTH, 1, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, own: Tensor, certainty: Tensor, seen: Tensor) -> Tensor:
        """The answers."""
        signed, even = self.own(own), self.scene(seen) + self.certainty(certainty)
        answers = self._answer(torch.cat([even + signed, even - signed]))
        one, other = answers.chunk(2)
        return (one - other) / 2

    def _answer(self, hidden: Tensor) -> Tensor:
        for block in self.blocks:
            hidden = hidden + block(nn.functional.silu(hidden))
        answer: Tensor = self.last(nn.functional.silu(hidden))[:, 0]
        return answer


def convolution(channels: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A layer of 3 x 3 to WIDTH channels, the edges replicated."""
    return nn.Conv2d(
        channels, WIDTH, 3, padding=dilation, dilation=dilation, bias=bias, padding_mode="replicate"
    )


class Inputs(NamedTuple):
    """What the network is shown of k components: see `ResidualNet`."""

    own: Field
    certainty: Field
    seen: Field

    @classmethod
    def of(cls, scene: KrigedScene, components: slice) -> Inputs:
        """Of some components of a scene.

        Their own are the mean's detail, what is left at LR, upsampled, and the mean, in units of the mean sigma;
        the certainty is that of the pixel against it, and its own against what the scene-wide map leaves.
        """
        mean, sigma = scene.mean[components], scene.sigma[components]
        up, down = scene.scene.resampling.up, scene.scene.resampling.down
        unit = np.maximum(sigma.mean(axis=(1, 2), keepdims=True), _LEAST)
        detail = mean - apply_taps(apply_taps(mean, *down), *up)
        left = apply_taps(scene.left[components], *up)
        own = np.stack([detail, left, mean - mean.mean(axis=(1, 2), keepdims=True)], axis=1)
        share = unit / np.maximum(scene.residual[components, None, None], _LEAST)
        certainty = np.stack([np.log(sigma / unit), np.log(share) + np.zeros_like(sigma)], axis=1)
        own = np.clip(own / unit[:, None], -_LARGEST, _LARGEST)
        return cls(own.astype(np.float32), certainty.astype(np.float32), scene.seen)


def correction(net: nn.Module, scene: KrigedScene) -> Field:
    """What the network adds (k, H, W) to a scene's mean, and which agrees with the MSI and the LR-HSI as that does.

    Of the components after the leading ones, only what the agreement with the MSI takes.
    """
    leading = slice(0, COMPONENTS)
    inputs = [torch.from_numpy(image) for image in Inputs.of(scene, leading)]
    with torch.no_grad():
        answer: Tensor = net(*inputs[:2], inputs[2][None])
    added = np.zeros_like(scene.mean)
    added[leading] = answer.numpy() * scene.sigma[leading]
    if scene.agreement is not None:
        added = np.tensordot(scene.agreement.kept.astype(np.float32), added, axes=1)
    at_lr = apply_taps(added, *scene.scene.resampling.down)
    return np.asarray(added - apply_taps(at_lr, *scene.scene.resampling.up), np.float32)


@dataclass(frozen=True)
class ResidualExample:
    """A pair to learn from: the network's inputs, and what is to be added in units of sigma.

    `target` and `unit` (k, H, W): unit is sigma by the root of the component's error, which counts as `share` (k,).
    """

    inputs: tuple[Tensor, Tensor, Tensor]
    target: Tensor
    unit: Tensor
    share: Tensor

    @classmethod
    def of(cls, kriged: KrigedPair) -> ResidualExample:
        """That of a pair."""
        k = slice(0, COMPONENTS)
        scene, sigma = kriged.kriged, kriged.kriged.sigma[k]
        missed = kriged.truth[k] - scene.mean[k]
        error = np.maximum(np.square(missed).mean(axis=(1, 2)), 1e-30)
        unit, share = sigma / np.sqrt(error)[:, None, None], np.sqrt(error) / np.sqrt(error).sum()
        own, certainty, seen = (torch.from_numpy(image).half() for image in Inputs.of(scene, k))
        target, units = (
            torch.from_numpy(image.astype(np.float32)).half() for image in (missed / sigma, unit)
        )
        return cls((own, certainty, seen), target, units, torch.from_numpy(share.astype(np.float32)))

    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, to keep."""
        return (*self.inputs, self.target, self.unit, self.share)

    @classmethod
    def kept_as(cls, *tensors: Tensor) -> ResidualExample:
        """That of its tensors."""
        own, certainty, seen, *rest = tensors
        return cls((own, certainty, seen), *rest)

    def loss(self, net: nn.Module, rng: np.random.Generator) -> tuple[Tensor, float]:
        """A crop's error by kriging's, what is lost counted twice, and the gain in dB.

        It is turned, and the signs of its colours' axes are drawn.
        """
        k = torch.from_numpy(rng.permutation(len(self.share))[:_AT_ONCE])
        top, left = (int(rng.integers(max(1, side - _CROP + 1))) for side in self.target.shape[1:])
        turns, flipped = int(rng.integers(4)), bool(rng.integers(2))

        def crop(image: Tensor) -> Tensor:
            part = image[..., top : top + _CROP, left : left + _CROP].float().rot90(turns, (-2, -1))
            return part.flip(-1) if flipped else part

        own, certainty, seen = self.inputs
        signs = torch.ones(len(seen), 1, 1)
        signs[: 2 * AXES, 0, 0] = torch.from_numpy(rng.choice([-1.0, 1.0], AXES)).float().repeat(2)
        answer = net(crop(own[k]), crop(certainty[k]), (crop(seen) * signs)[None])
        target, unit, share = crop(self.target[k]), crop(self.unit[k]), self.share[k] / self.share[k].sum()
        after, before = (
            ((wrong * unit).square().mean((1, 2)) * share).sum() for wrong in (target - answer, target)
        )
        gain = -10 * math.log10(max(float(after.detach()), 1e-12) / max(float(before), 1e-12))
        return after + (after - before).clamp(min=0), gain
