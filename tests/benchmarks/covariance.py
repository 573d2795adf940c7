"""Kriging's covariance: the PSNR lost or won where one of its constants is another, on scenes with a truth.

    python -m tests.benchmarks.covariance FOLDER [--scenes sample,cave,aviris --data DATA] [--limit 2]

Each constant of `Covariance` is multiplied by factors of 0.3 to 3, the others as they are, and every scene is
fused by `kriging` without training. `sample` is the repository's own; `cave` takes CAVE's train scenes from DATA,
at ratio 8, `aviris` the AVIRIS scenes, at ratio 4. Scores are kept in FOLDER and not repeated; with `--minutes` the
command ends by then. Writes table.md: differences in dB, means over the scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import fit_kriging
from emrdiff_cli.core.methods.scene_end_point import choose_basis
from emrdiff_cli.core.metrics.cube import score
from emrdiff_cli.core.sensor.observation import Strip
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.responses import read_response
from tests.benchmarks.scenes import boxes_over_aviris, simulated_pair

FACTORS = (0.3, 0.55, 1.8, 3.0)
SOURCES = ("sample", "cave", "aviris")
_COMPONENTS = 32  # of the subspace that `fuse --method kriging` works in
_SAMPLE = Path(__file__).parents[2] / "sample_data"

Scores = dict[str, float]
Load = Callable[[], SupervisedPair]


def main(arguments: Sequence[str] | None = None) -> int:
    """Score what is not scored yet and write the table of what is."""
    options = _parser().parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    scenes = dict(_scenes(options.scenes.split(","), options.data, options.limit))
    options.folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Scores] = {}
    for name, load in scenes.items():
        path = options.folder / f"{name}.json"
        kept[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        _score_scene(load, options.constants, kept[name], path, deadline)
        sys.stderr.write(f"{name}: {len(kept[name])} scores\n")
    (options.folder / "table.md").write_text("\n".join(table(kept)) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(table(kept)) + "\n")
    return 0


def variants() -> dict[str, Covariance]:
    """Covariances by name, `constant x factor`; `usual` first. Of `slopes`, the sills and the ranges are two."""
    found = {"usual": USUAL}
    for factor in FACTORS:
        sills = tuple((factor * sill, reach) for sill, reach in USUAL.slopes)
        ranges = tuple((sill, factor * reach) for sill, reach in USUAL.slopes)
        found[f"slope_sills x {factor:g}"] = replace(USUAL, slopes=sills)
        found[f"slope_ranges x {factor:g}"] = replace(USUAL, slopes=ranges)
        nuggets = tuple(factor * nugget for nugget in USUAL.nuggets)
        found[f"nuggets x {factor:g}"] = replace(USUAL, nuggets=nuggets)
        for name in _numbers():
            scaled = {name: factor * getattr(USUAL, name)}
            found[f"{name} x {factor:g}"] = replace(USUAL, **scaled)
    return found


def psnr_db(pair: SupervisedPair, covariance: Covariance) -> float:
    """The PSNR of a pair fused by kriging under a covariance; the peak is the truth's maximum."""

    def strips() -> Iterator[Strip]:
        yield Strip(0, pair.hr_msi, pair.valid)

    seen, _ = at_lr(pair)
    basis = choose_basis(seen, min(_COMPONENTS, len(pair.lr_hsi)))
    coefficients = basis.project(seen.hsi)
    outside = seen.hsi - basis.expand(coefficients)
    scene = replace(seen, hsi=coefficients)
    fitted = fit_kriging(SceneToFit(scene, strips, pair.resampling, regress(scene)), covariance)
    up = pair.resampling.up
    image = basis.expand(fitted.tile(pair.hr_msi, *up).values) + apply_taps(outside, *up)
    truth = pair.hr_hsi
    ratio = truth.shape[1] / seen.hsi.shape[1]
    return float(score(np.maximum(image, 0), truth, float(truth.max()), ratio).overall["psnr_db"] or 0.0)


def table(kept: Mapping[str, Scores]) -> list[str]:
    """Lines of Markdown: a constant a row, a factor a column."""
    names = dict.fromkeys(name.partition(" x ")[0] for name in variants() if name != "usual")
    lines = [
        "| constant | value | " + " | ".join(f"x {factor:g}" for factor in FACTORS) + " |",
        "| --- " * (2 + len(FACTORS)) + "|",
    ]
    for name in names:
        cells = [_difference(kept, f"{name} x {factor:g}") for factor in FACTORS]
        if any(cells):
            value = f"{getattr(USUAL, name):g}" if name in _numbers() else "several"
            lines.append(f"| {name} | {value} | " + " | ".join(cells) + " |")
    usual = [f"{name} {scores['usual']:.2f} dB" for name, scores in kept.items() if "usual" in scores]
    return [*lines, "", f"As it is: {', '.join(usual)}."]


def _numbers() -> list[str]:
    return [field.name for field in fields(Covariance) if isinstance(getattr(USUAL, field.name), float)]


def _difference(kept: Mapping[str, Scores], variant: str) -> str:
    found = [scores[variant] - scores["usual"] for scores in kept.values() if variant in scores]
    return f"{fmean(found):+.3f}" if found else ""


def _score_scene(load: Load, constants: str | None, scores: Scores, path: Path, deadline: float) -> None:
    wanted = None if constants is None else {"usual", *constants.split(",")}
    pair: SupervisedPair | None = None
    for name, covariance in variants().items():
        if name in scores or (wanted is not None and name.partition(" x ")[0] not in wanted):
            continue
        if time.monotonic() > deadline:
            return
        pair = pair or load()
        scores[name] = psnr_db(pair, covariance)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
        part.replace(path)


def _scenes(sources: Sequence[str], data: Path, limit: int) -> Iterator[tuple[str, Load]]:
    """Names and pairs of the first `limit` scenes of each source; a pair is made when it is scored."""
    for source in sources:
        if source == "sample":
            response = read_response("sentinel-2a")
            yield "sample", partial(simulated_pair, _SAMPLE / "hr_hsi.tif", 8, response)
        elif source == "cave":
            response = read_response(str(data / "srf" / "nikon_d700.csv"))
            for path in sorted((data / "cave" / "train").glob("*.tif"))[:limit]:
                yield f"cave-{path.stem}", partial(simulated_pair, path, 8, response)
        else:
            for path in sorted((data / "aviris_la205").glob("*.tif"))[:limit]:
                yield f"aviris-{path.stem}", partial(simulated_pair, path, 4, boxes_over_aviris(path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="covariance", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where scores and the table are kept")
    parser.add_argument("--scenes", default="sample", help=f"of {','.join(SOURCES)} [sample]")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of cave/, aviris_la205/ and srf/")
    parser.add_argument("--limit", type=int, default=2, help="scenes of each source [2]")
    parser.add_argument("--constants", help="these alone, with commas")
    parser.add_argument("--minutes", type=float, default=60, help="end by then [60]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
