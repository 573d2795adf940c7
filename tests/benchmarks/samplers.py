"""Samplers of what a fusion may miss, held against each other: EMR-Diff's chain and cheaper ones.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.samplers FOLDER --data DATA [--minutes 9] [--part tune]

Pairs whose posterior is wide: AVIRIS of other sites and `berlin9`'s HyMap with a PAN at ratio 6 or RGB at ratio
10, and scenes made of their spectra, of `metamers` (RGB, ratio 8) and of mixed `edges` (PAN, ratio 8); noise of 40
dB (LR-HSI) and 45 dB (MSI). Judged are 16 draws at 1000-2500 nm, without the outer LR pixel. The learned samplers
learn from AVIRIS of Los Angeles, EnMAP, CAVE, and scenes made of the first; `--part tune` judges on a scene of Los
Angeles kept out, `--part confirming` on `berlin` (EnMAP's bands made of HyMap's; PAN and RGB at ratios 4 and 6) and
on fresh draws of made scenes.

Every sampler works on the eight leading components of kriging's posterior; the others are drawn by kriging, for
all. The learned ones have one network, the same data, and `--seconds` of one core's time each, with seeds 0 and 1.
Pairs, trainings and scores are kept in FOLDER: repeated, the command goes on; with `--minutes` it ends by then,
with exit code 3 where something is left to do. Writes table.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.benchmarks.sampling.known import KnownPair, kept_pair
from tests.benchmarks.sampling.recipes import RECIPES, Recipe
from tests.benchmarks.sampling.samplers import SAMPLERS
from tests.benchmarks.sampling.scenes import PlannedPair, planned
from tests.benchmarks.sampling.scores import Asked, is_scored, read_scores, score_sampler
from tests.benchmarks.sampling.tables import tables
from tests.benchmarks.sampling.training import Trained, train

SEEDS = (0, 1)
_UNFINISHED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and score what is not yet, and write the tables of what is."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    done = _go_on(options, time.monotonic() + 60 * options.minutes)
    lines = tables(read_scores(options.folder / "scores" / options.part))
    (options.folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if done else _UNFINISHED


def _go_on(options: argparse.Namespace, deadline: float) -> bool:
    """Whether all that was asked for was trained and scored before the deadline."""
    workshop = _Workshop(options, deadline)
    wanted = options.recipes.split(",") if options.recipes else [recipe.name for recipe in RECIPES]
    for seed in map(int, options.seeds.split(",")):
        for recipe in (None, *(recipe for recipe in RECIPES if recipe.name in wanted)):
            if recipe is None and seed != SEEDS[0]:
                continue  # kriging is not trained: its 16 draws are one seed's
            if not workshop.judge(recipe, seed):
                return False
    return True


class _Workshop:
    """What is asked for, and what there is of it."""

    def __init__(self, options: argparse.Namespace, deadline: float) -> None:
        self._options, self._deadline = options, deadline
        self._learned: list[KnownPair] = []

    def judge(self, recipe: Recipe | None, seed: int) -> bool:
        """Train a recipe and score its samplers; whether that was done in time. None: kriging's."""
        plans = list(planned(self._options.data, self._options.part))
        scores = self._options.folder / "scores" / self._options.part
        own = [s for s in SAMPLERS if s.recipe == (None if recipe is None else recipe.name)]
        left = [s for s in own if not is_scored(scores / f"{s.name}-{seed}.json", plans)]
        if not left:
            return True
        trained = None if recipe is None else self._trained(recipe, seed)
        if recipe is not None and trained is None:
            return False

        def load(plan: PlannedPair) -> KnownPair:
            return kept_pair(plan, self._options.data, self._options.folder)

        for sampler in left:
            asked = Asked(sampler, recipe, trained, seed)
            if not score_sampler(asked, plans, load, scores / f"{sampler.name}-{seed}.json", self._deadline):
                return False
        return True

    def _trained(self, recipe: Recipe, seed: int) -> Trained | None:
        data, folder = self._options.data, self._options.folder
        for plan in [] if self._learned else list(planned(data, "train")):
            kept_pair(plan, data, folder)
            if time.monotonic() > self._deadline:
                return None
        self._learned = self._learned or [kept_pair(plan, data, folder) for plan in planned(data, "train")]
        sys.stderr.write(f"{recipe.name}, seed {seed}\n")
        path = folder / "models" / f"{recipe.name}-{seed}.pt"
        return train(recipe, self._learned, path, seed, self._options.seconds, self._deadline)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="samplers", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where pairs, trainings, scores and the table are kept")
    parser.add_argument("--data", type=Path, required=True, help="folder of aviris_*/, cave/ and others")
    parser.add_argument(
        "--part", default="test", choices=("tune", "test", "confirming"), help="the pairs judged [test]"
    )
    parser.add_argument("--recipes", default="", help="these alone, with commas [all]")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="of the trainings and draws [0,1]")
    parser.add_argument("--seconds", type=float, default=60, help="of one core for a training [60]")
    parser.add_argument("--minutes", type=float, default=60, help="end by then [60]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
