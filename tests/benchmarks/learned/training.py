"""Training of the residual network across sensors: by the error at HR, against kriging's on the same pair."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.learned.grounds import Ground, drawn_pairs
from tests.benchmarks.learned.kriged_scene import AXES, KrigedPair
from tests.benchmarks.learned.residual import COMPONENTS, Inputs, ResidualNet

_RATE = 2e-3
_BATCH = 8
_CROP = 48  # HR pixels
_AT_ONCE = 4  # components
_WARM = 0.02  # of the budget
_SAVED_EVERY_S = 20.0


@dataclass(frozen=True)
class Example:
    """A pair to learn from: the network's inputs, and what is to be added in units of sigma.

    `target` and `unit` (k, H, W): unit is sigma by the root of the component's error, which counts as `share` (k,).
    """

    inputs: tuple[Tensor, Tensor, Tensor]
    target: Tensor
    unit: Tensor
    share: Tensor

    @classmethod
    def of(cls, kriged: KrigedPair) -> Example:
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
    def kept(cls, own: Tensor, certainty: Tensor, seen: Tensor, *rest: Tensor) -> Example:
        """That of its tensors."""
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


def pool(grounds: Sequence[Ground], path: Path, seed: int, count: int) -> list[Example]:
    """So many examples of a sensor's grounds, kept in a file."""
    if not path.exists():
        pairs = drawn_pairs(grounds, np.random.default_rng(seed))
        found = [Example.of(KrigedPair.of(next(pairs))).tensors() for _ in range(count)]
        part = path.with_suffix(".part")
        torch.save(found, part)
        part.replace(path)
    return [Example.kept(*tensors) for tensors in torch.load(path, weights_only=True)]


def train(examples: Sequence[Sequence[Example]], folder: Path, seed: int, minutes: float) -> ResidualNet:
    """The network after so many minutes of a processor's time on examples, each sensor's as often.

    It goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    net = ResidualNet()
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    kept, done, spent = folder / "training.pt", 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        done, spent = int(state["done"]), float(state["seconds"])
    budget, started, saved = 60 * minutes, time.process_time() - spent, spent
    rng, gains = np.random.default_rng([seed, done]), list[float]()
    while spent < budget:
        share = spent / budget
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, share / _WARM + 0.05) * (0.5 + 0.5 * math.cos(math.pi * share))
        optimiser.zero_grad()
        for example in _batch(examples, rng):
            loss, gain = example.loss(net, rng)
            (loss / _BATCH).backward()
            gains.append(gain)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        done, spent = done + 1, time.process_time() - started
        if spent - saved > _SAVED_EVERY_S or spent >= budget:
            saved = spent
            state = {
                "net": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "done": done,
                "seconds": spent,
            }
            _save(state, kept)
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                told = {"done": done, "seconds": round(spent), "gain_db": float(np.mean(gains[-400:]))}
                log.write(json.dumps(told) + "\n")
    return net


def _batch(examples: Sequence[Sequence[Example]], rng: np.random.Generator) -> Iterator[Example]:
    for _ in range(_BATCH):
        of_sensor = examples[int(rng.integers(len(examples)))]
        yield of_sensor[int(rng.integers(len(of_sensor)))]


def _save(state: dict[str, object], path: Path) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
