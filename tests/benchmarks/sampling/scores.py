"""Scores of samplers, kept pair by pair."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.sampling.known import KnownPair
from tests.benchmarks.sampling.measures import Scores, measure
from tests.benchmarks.sampling.recipes import Recipe
from tests.benchmarks.sampling.samplers import Sampler, draw
from tests.benchmarks.sampling.scenes import PlannedPair
from tests.benchmarks.sampling.training import Trained


class Asked(NamedTuple):
    """A sampler with what was trained for it, and the seed of both."""

    sampler: Sampler
    recipe: Recipe | None
    trained: Trained | None
    seed: int


class Judged(NamedTuple):
    """A sampler's scores on a pair."""

    sampler: str
    family: str
    scene: str
    scores: Scores


def is_scored(path: Path, plans: Sequence[PlannedPair]) -> bool:
    """Whether all pairs are."""
    return {plan.name for plan in plans} <= _read(path).keys()


def score_sampler(
    asked: Asked,
    plans: Sequence[PlannedPair],
    load: Callable[[PlannedPair], KnownPair],
    path: Path,
    deadline: float,
) -> bool:
    """Score a sampler on what is not scored yet; whether that was done in time."""
    kept = _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for plan in plans:
        if plan.name in kept:
            continue
        if time.monotonic() > deadline:
            return False
        pair = load(plan)
        scores = measure(draw(*asked[:3], pair, asked.seed), pair)
        kept[plan.name] = {"family": plan.family, "scene": plan.scene, "scores": scores}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    return True


def read_scores(folder: Path) -> list[Judged]:
    """All that are kept in a folder, of every seed."""
    return [
        Judged(path.stem.rpartition("-")[0], told["family"], told["scene"], told["scores"])
        for path in sorted(folder.glob("*.json"))
        for told in _read(path).values()
    ]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found
