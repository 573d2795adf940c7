"""Training of a network across sensors: by the error at HR, against kriging's on the same pair."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.benchmarks.learned.grounds import Ground, drawn_pairs
from tests.benchmarks.learned.kinds import Example, Kind
from tests.benchmarks.learned.kriged_scene import KrigedPair

_RATE = 2e-3
_BATCH = 8
_WARM = 0.02  # of the budget
_SAVED_EVERY_S = 20.0


def pool(kind: Kind, grounds: Sequence[Ground], path: Path, seed: int, count: int) -> list[Example]:
    """So many examples of a sensor's grounds, kept in a file."""
    if not path.exists():
        pairs = drawn_pairs(grounds, np.random.default_rng(seed), kind.side)
        found = [kind.example(KrigedPair.of(next(pairs))).tensors() for _ in range(count)]
        part = path.with_suffix(".part")
        torch.save(found, part)
        part.replace(path)
    return [kind.kept_as(*tensors) for tensors in torch.load(path, weights_only=True)]


def is_trained(folder: Path, minutes: float) -> bool:
    """Whether a training has had its minutes: it needs no examples any more."""
    kept = folder / "training.pt"
    return kept.exists() and float(torch.load(kept, weights_only=True)["seconds"]) >= 60 * minutes


def train(
    kind: Kind, examples: Sequence[Sequence[Example]], folder: Path, seed: int, minutes: float
) -> nn.Module:
    """The network after so many minutes of a processor's time on examples, each sensor's as often.

    It goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    net = kind.net()
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
