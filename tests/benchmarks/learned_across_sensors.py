"""Can something be learned that serves every sensor? Trained without one sensor, scored on it beside kriging.

    python -m tests.benchmarks.learned_across_sensors FOLDER --kind KIND --data DATA --made MADE [--minutes 5]

`residual`: a network in units of kriging's posterior (`learned/residual.py`); `kernel`: one that moves colours
before kriging compares them (`learned/kernel.py`). It learns from pairs of all sensors but one, drawn under many
conditions, and is scored on that one and on `berlin9`, of a sensor that none learns from: at each strength, and at
that which the pair's own evidence supports (`learned/gate.py`, `learned/kernel_gate.py`). `--scenes tuning` takes
those instead by which constants were settled, `--scenes confirming` those on which no network had been scored
before all was. MADE holds scenes of the sample's generator (`python sample_data/make_scene.py archive MADE --scenes
16 --size 128`). Minutes are the processor's, for each training. Repeated, it goes on where it stopped, within a
training too. Writes FOLDER/KIND/table.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emrdiff_cli.core.diffusion.supervision import SupervisedPair
from tests.benchmarks.learned.gate import STRENGTHS
from tests.benchmarks.learned.grounds import read_grounds
from tests.benchmarks.learned.kinds import KINDS
from tests.benchmarks.learned.scoring import RATIOS, compare, pairs_of
from tests.benchmarks.learned.training import is_trained, pool, train

LEARNED = {
    "cave": ("cave/train",),
    "aviris": ("aviris_la205", "aviris_other"),
    "enmap": ("enmap_potsdam",),
    "sample": ("sample",),
}
SCORED: dict[str, dict[str, tuple[str, ...]]] = {
    "test": {"cave": ("cave/test", "berlin9"), "aviris": ("aviris_other", "berlin9")},
    "tuning": {"cave": ("cave/train",), "aviris": ("aviris_la205",)},
    "confirming": {"cave": ("berlin", "cave/train"), "aviris": ("berlin",)},
}
_TUNED_ON = 4  # scenes of a folder, at most
_NEVER_SCORED = (
    "beads",
    "chart_and_stuffed_toy",
    "face",
    "fake_and_real_lemons",
    "flowers",
    "hairs",
)  # cave/train
_FRESH = 100  # from which on seeds draw the conditions of confirming pairs
_SMALL = {"berlin": (3, 4)}  # ratios of scenes of few pixels
_DRAWS = {"berlin": 4}  # of the conditions, where there is one scene


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and score what is not yet, and write the table of what is."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    folder = options.folder / options.kind
    folder.mkdir(parents=True, exist_ok=True)
    for left in options.without:
        nets = {str(seed): _trained(options, left, seed) for seed in options.seeds}
        if options.scenes != "none":
            _score(options, left, nets)
    lines = list(table(folder, options.scenes))
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _trained(options: argparse.Namespace, left: str, seed: int) -> nn.Module:
    """The network of a seed, trained without a sensor."""
    kind, folder, examples = KINDS[options.kind], options.folder / options.kind, []
    path = folder / f"without-{left}-{seed}"
    if is_trained(path, options.minutes):
        return train(kind, [], path, seed, options.minutes)
    for sensor, folders in LEARNED.items():
        if sensor != left:
            grounds = [g for name in folders for g in read_grounds(options.data, name, options.made)]
            examples.append(pool(kind, grounds, folder / f"{sensor}-{seed}.pt", seed, kind.pairs))
    return train(kind, examples, path, seed, options.minutes)


def _score(options: argparse.Namespace, left: str, nets: dict[str, nn.Module]) -> None:
    path = options.folder / options.kind / f"{options.scenes}-without-{left}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in SCORED[options.scenes][left]:
        for key, pair in scored_pairs(options.data, options.made, options.scenes, name):
            if key not in kept:
                kept[key] = compare(pair, KINDS[options.kind], nets)
                path.write_text(json.dumps(kept) + "\n", encoding="utf-8")
                sys.stderr.write(f"{key}\n")


def scored_pairs(data: Path, made: Path, scenes: str, folder: str) -> Iterator[tuple[str, SupervisedPair]]:
    """The pairs of a folder's scenes that are scored, by "folder:scene:condition"."""
    grounds = list(read_grounds(data, folder, made))
    first, draws = 0, 1
    if scenes == "tuning":
        grounds = grounds[:: max(1, len(grounds) // _TUNED_ON)]
    elif scenes == "confirming":
        grounds = [ground for ground in grounds if folder != "cave/train" or ground.name in _NEVER_SCORED]
        first, draws = _FRESH, _DRAWS.get(folder, 1)
    for number, ground in enumerate(grounds, first):
        for condition, pair in pairs_of(ground, number, _SMALL.get(folder, RATIOS), draws):
            yield f"{folder}:{ground.name}:{condition}", pair


def table(folder: Path, scenes: str) -> Iterator[str]:
    """Lines of Markdown: kriging's PSNR / SAM; for each strength the mean gain / the least / SAM by kriging's."""
    heads = [*(f"{strength:g}" for strength in STRENGTHS[1:]), "gated"]
    columns = ["without", "scored on", "scenes x seeds", "kriging", *heads, "share"]
    yield f"| {' | '.join(columns)} |"
    yield "| --- " * len(columns) + "|"
    for path in sorted(folder.glob(f"{scenes}-without-*.json")):
        groups: dict[str, list[Any]] = defaultdict(list)
        for key, by_seed in json.loads(path.read_text(encoding="utf-8")).items():
            name, _, condition = key.split(":")
            groups[f"`{name}` {condition.partition('#')[0]}"].extend(by_seed.values())
        for name, found in groups.items():
            values = np.array([one["scores"] for one in found])  # (pairs and seeds, strengths, 2)
            plain = values[:, 0].mean(axis=0)
            gains, angles = values[:, 1:, 0] - values[:, :1, 0], values[:, 1:, 1].mean(axis=0) / plain[1]
            cells = [
                f"{gain:+.2f} / {least:+.2f} / {angle:.3f}"
                for gain, least, angle in zip(gains.mean(axis=0), gains.min(axis=0), angles, strict=True)
            ]
            gated = np.mean([one["gated"] for one in found])
            left = path.stem.rsplit("-", 1)[1]
            shown = [left, name, f"{len(found)}", f"{plain[0]:.2f} / {plain[1]:.2f}", *cells, f"{gated:.2f}"]
            yield f"| {' | '.join(shown)} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="learned_across_sensors", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where pairs, networks, scores and the table are kept")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real scenes")
    parser.add_argument("--made", type=Path, required=True, help="folder of scenes of the sample's generator")
    parser.add_argument("--kind", choices=KINDS, default="residual", help="what is learned [residual]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--without", choices=SCORED["test"], nargs="+", default=list(SCORED["test"]))
    parser.add_argument("--scenes", choices=[*SCORED, "none"], default="test", help="that are scored [test]")
    parser.add_argument("--minutes", type=float, default=5, help="of a processor, for each training [5]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
