"""Kriging's covariance: the PSNR lost or won where one of its constants is another, on scenes with a truth.

    python -m tests.benchmarks.covariance FOLDER [--scenes sample,cave,aviris --data DATA] [--limit 2] [--choice]

Each constant of `Covariance` is multiplied by factors of 0.3 to 3, the others as they are, and every scene is
fused by `kriging` without training. `sample` is the repository's own; `cave` takes CAVE's train scenes from DATA,
at ratio 8, `aviris` the AVIRIS scenes of Los Angeles, at ratio 4, `other` those of other sites; `aviris-x8`,
`other-x8` at 8. Scores are kept in FOLDER and not repeated; with `--minutes` the command ends by then. Writes
table.md: differences in dB, means over the scenes. With `--choice` instead the covariance that `fuse` chooses for
each pair, against the usual one: choice.md, a scene a row.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.evidence.covariance_choice import by_shape, choose_covariance
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import fit_kriging
from emrdiff_cli.core.methods.scene_end_point import choose_basis
from emrdiff_cli.core.metrics.cube import score
from emrdiff_cli.core.sensor.observation import Strip
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import Basis
from emrdiff_cli.responses import read_response
from tests.benchmarks.scenes import boxes_over_aviris, simulated_pair

FACTORS = (0.3, 0.55, 1.8, 3.0)
SOURCES = ("sample", "cave", "aviris", "aviris-x8", "other", "other-x8")
CHOICE = "chosen"
_COMPONENTS = 32  # of the subspace that `fuse --method kriging` works in
_SAMPLE = Path(__file__).parents[2] / "sample_data"

_CHOSEN = ("colour_sill", "colour_range", "neighbourhood_share")

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
        if options.choice:
            _score_choice(load, kept[name], path, deadline)
        else:
            _score_scene(load, options.constants, kept[name], path, deadline)
        sys.stderr.write(f"{name}: {len(kept[name])} scores\n")
    lines = choice_table(kept) if options.choice else table(kept)
    place = options.folder / ("choice.md" if options.choice else "table.md")
    place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")
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
            if name != "neighbourhood_share" or factor < 1:  # a share is 1 at most
                scaled: dict[str, Any] = {name: factor * _in_use(name)}
                found[f"{name} x {factor:g}"] = replace(USUAL, **scaled)
    return found


@dataclass(frozen=True)
class Problem:
    """A pair as kriging works on it: in the coefficients of a spectral basis, the rest upsampled."""

    pair: SupervisedPair
    basis: Basis
    scene: SceneToFit
    outside: NDArray[np.float32]

    @classmethod
    def of(cls, pair: SupervisedPair) -> Problem:
        """The problem of a pair."""

        def strips() -> Iterator[Strip]:
            yield Strip(0, pair.hr_msi, pair.valid)

        seen, _ = at_lr(pair)
        basis = choose_basis(seen, min(_COMPONENTS, len(pair.lr_hsi)))
        coefficients = basis.project(seen.hsi)
        scene = replace(seen, hsi=coefficients)
        outside = np.asarray(seen.hsi - basis.expand(coefficients), np.float32)
        return cls(pair, basis, SceneToFit(scene, strips, pair.resampling, regress(scene)), outside)

    def psnr_db(self, covariance: Covariance) -> float:
        """The PSNR of the pair fused by kriging under a covariance; the peak is the truth's maximum."""
        up, truth = self.pair.resampling.up, self.pair.hr_hsi
        detailed = fit_kriging(self.scene, covariance).tile(self.pair.hr_msi, *up).values
        image = self.basis.expand(detailed) + apply_taps(self.outside, *up)
        ratio = truth.shape[1] / self.outside.shape[1]
        return float(score(np.maximum(image, 0), truth, float(truth.max()), ratio).overall["psnr_db"] or 0.0)


def psnr_db(pair: SupervisedPair, covariance: Covariance) -> float:
    """The PSNR of a pair fused by kriging under a covariance."""
    return Problem.of(pair).psnr_db(covariance)


def chosen_psnr_db(pair: SupervisedPair) -> tuple[Covariance, float]:
    """The covariance that is chosen on the pair, and the PSNR under it."""
    problem = Problem.of(pair)
    chosen = choose_covariance(problem.scene.lr, problem.scene.strips, pair.resampling)
    return chosen, problem.psnr_db(chosen)


def choice_table(kept: Mapping[str, Scores]) -> list[str]:
    """Lines of Markdown: a scene a row, the usual covariance's PSNR and what the chosen one adds."""
    lines = [
        "| scene | usual (dB) | chosen | colour sill | range | neighbourhood share |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    told = {name: scores for name, scores in kept.items() if {"usual", CHOICE} <= scores.keys()}
    for name, scores in told.items():
        changed = " | ".join(f"{scores[constant]:g}" for constant in _CHOSEN)
        gain = scores[CHOICE] - scores["usual"]
        lines.append(f"| {name} | {scores['usual']:.2f} | {gain:+.2f} | {changed} |")
    gains = [scores[CHOICE] - scores["usual"] for scores in told.values()]
    if gains:
        lines += ["", f"Mean {fmean(gains):+.2f} dB, least {min(gains):+.2f}, most {max(gains):+.2f}."]
    return lines


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
            value = f"{_in_use(name):g}" if name in _numbers() else "several"
            lines.append(f"| {name} | {value} | " + " | ".join(cells) + " |")
    usual = [f"{name} {scores['usual']:.2f} dB" for name, scores in kept.items() if "usual" in scores]
    return [*lines, "", f"As it is: {', '.join(usual)}."]


def _numbers() -> list[str]:
    return [field.name for field in fields(Covariance) if isinstance(getattr(USUAL, field.name), float)]


def _in_use(name: str) -> float:
    """A constant's value; of the process of shape, which is off as a rule, where it is taken."""
    return float(getattr(USUAL, name) or getattr(by_shape(USUAL), name))


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
        _keep(scores, path)


def _score_choice(load: Load, scores: Scores, path: Path, deadline: float) -> None:
    if CHOICE in scores or time.monotonic() > deadline:
        return
    pair = load()
    scores["usual"] = psnr_db(pair, USUAL)
    covariance, scores[CHOICE] = chosen_psnr_db(pair)
    scores.update({constant: getattr(covariance, constant) for constant in _CHOSEN})
    _keep(scores, path)


def _keep(scores: Scores, path: Path) -> None:
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
            site, _, ratio = source.partition("-x")
            folder = data / {"aviris": "aviris_la205", "other": "aviris_other"}[site]
            for path in sorted(folder.glob("*.tif"))[:limit]:
                pair = partial(simulated_pair, path, int(ratio or 4), boxes_over_aviris(path))
                yield f"{source}-{path.stem}", pair


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="covariance", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where scores and the table are kept")
    parser.add_argument("--scenes", default="sample", help=f"of {','.join(SOURCES)} [sample]")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of cave/, aviris_la205/ and srf/")
    parser.add_argument("--limit", type=int, default=2, help="scenes of each source [2]")
    parser.add_argument("--choice", action="store_true", help="the choice on each pair")
    parser.add_argument("--constants", help="these alone, with commas")
    parser.add_argument("--minutes", type=float, default=60, help="end by then [60]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
