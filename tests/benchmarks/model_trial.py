"""A shipped model on scenes that it is for, and on others of its bands: what it gains, and whether `fuse` tells.

    python -m tests.benchmarks.model_trial --data DATA --made MADE [--models cave-x8] [--most 4]

Grounds are brought to the model's wavelengths (those of EnMAP and AVIRIS taken as evenly spaced) and to the level
of its values; pairs are made of them at its ratio, exact and with noise of 40 dB, and fused by the model and by
kriging. MADE holds scenes of the sample's generator (`python sample_data/make_scene.py archive MADE --scenes 16
--size 128`). Test scenes are not read. Prints a table: the gain on kriging (dB; least, mean and most), the sizes of
the model's correction by which `fuse --method auto` keeps it or leaves it, and of how many pairs it keeps it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli import fuse, simulate, zoo
from emrdiff_cli.core.evidence.correction_size import CorrectionSize
from tests.benchmarks.learned.grounds import read_grounds

Cube = NDArray[np.float32]
Doubles = NDArray[np.float64]

_NOISE = (None, 40.0)  # dB
# The folders with the wavelengths (nm) of their first and last bands.
_SPANS = {
    "sample": (363.0, 1018.0),
    "cave/train": (400.0, 700.0),
    "enmap_potsdam": (418.0, 2446.0),
    "aviris_la205": (400.0, 2500.0),
}


@dataclass(frozen=True)
class Model:
    """A shipped model: its MSI's response, the largest value of its scenes, and the folders that have its bands."""

    name: str
    srf: str
    largest: float
    folders: tuple[str, ...]


class Result(NamedTuple):
    """The model's gain on kriging (dB) on a pair, and the size of its correction there."""

    gain_db: float
    size: CorrectionSize


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = _parser().parse_args(arguments)
    camera = str(options.data / "srf" / "nikon_d700.csv")
    models = (
        Model("chikusei-x8", "sentinel-2a:B2,B3,B4,B8", 0.6, ("sample", "enmap_potsdam", "aviris_la205")),
        Model("cave-x8", camera, 4095.0, tuple(_SPANS)),
    )
    columns = ["model", "scenes of", "pairs", "gain (dB)", "on the whole", "median direction", "kept"]
    sys.stdout.write(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|\n")
    for model in models:
        if model.name not in options.models:
            continue
        for folder, noise_db in product(model.folders, _NOISE):
            found = list(_results(model, folder, noise_db, options))
            told = f"`{folder}`" + ("" if noise_db is None else f", {noise_db:g} dB")
            sys.stdout.write(_row(model.name, told, found) + "\n")
            sys.stdout.flush()
    return 0


def _results(
    model: Model, folder: str, noise_db: float | None, options: argparse.Namespace
) -> Iterator[Result]:
    config = zoo.find(model.name).config
    wanted, ratio = np.array(config.hsi_centres_nm), int(config.ratio)
    grounds = list(read_grounds(options.data, folder, options.made))
    for ground in grounds[:: max(1, len(grounds) // options.most)][: options.most]:
        own = np.linspace(*_SPANS[folder], len(ground.truth))
        rows, cols = (side // ratio * ratio for side in ground.truth.shape[1:])
        truth = _at(wanted, own, ground.truth[:, :rows, :cols]) * np.float32(model.largest)
        pair = simulate(truth, ratio=ratio, srf=model.srf, wavelengths=wanted, noise_db=noise_db)
        how = partial(
            fuse,
            pair.lr_hsi,
            pair.hr_msi,
            ratio=ratio,
            wavelengths=wanted,
            msi_wavelengths=config.msi_centres_nm,
        )
        by_model, kriged = how(model=model.name), how(method="kriging")
        verdict = by_model.report.verdict
        size = None if verdict is None or verdict.model is None else verdict.model.correction
        if size is None:
            raise ValueError(f"{model.name} was not tried on {ground.name}")
        errors = [
            float(np.square(np.asarray(one.cube) - truth, dtype=np.float64).mean())
            for one in (kriged, by_model)
        ]
        yield Result(10 * float(np.log10(errors[0] / errors[1])), size)


def _at(wanted: Doubles, own: Doubles, cube: Cube) -> Cube:
    """A cube's bands at other wavelengths, between its own; beyond them the nearest."""
    place = np.interp(wanted, own, np.arange(len(own)))
    below = np.minimum(place.astype(int), len(own) - 2)
    share = (place - below).astype(np.float32)[:, None, None]
    return np.asarray((1 - share) * cube[below] + share * cube[below + 1], np.float32)


def _row(name: str, told: str, found: Sequence[Result]) -> str:
    gains = np.array([result.gain_db for result in found])
    whole, along = np.array([result.size for result in found]).T
    kept = sum(not result.size.is_foreign for result in found)
    spread = (f"{least:.2f} to {most:.2f}" for least, most in ((v.min(), v.max()) for v in (whole, along)))
    gain = f"{gains.min():+.2f} / {gains.mean():+.2f} / {gains.max():+.2f}"
    return f"| `{name}` | {told} | {len(found)} | {gain} | {' | '.join(spread)} | {kept} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model_trial", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real scenes")
    parser.add_argument("--made", type=Path, required=True, help="folder of scenes of the sample's generator")
    parser.add_argument("--models", nargs="+", default=["chikusei-x8", "cave-x8"])
    parser.add_argument("--most", type=int, default=20, help="scenes of a folder, at most [20]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
