"""The method left to the pair: what its evidence names against what is truly best, on pairs with a truth.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.verdict --data DATA [--sources sample,cave,aviris-x4] [--limit 3]

Each pair is simulated by Wald's protocol (`pan`: one band over the visible ones), its evidence gathered as
`emrdiff fuse --effort normal` does, and every method scored against the truth without the outer LR pixel: PSNR
is the mean over the bands, each with its own maximum as the peak. The evidence's columns have the gain over
kriging of the truly best method, or of the best rival of kriging; `regret` is what the choice lies below the
best. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr, fused_without_model
from emrdiff_cli.core.evidence.gathering import PairPart, gather
from emrdiff_cli.core.evidence.verdict import Score, Standing, Verdict, choose
from emrdiff_cli.core.metrics.decibels import psnr_db
from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.observation import Strip
from emrdiff_cli.core.sensor.srf import SpectralResponse
from emrdiff_cli.methods import END_POINTS
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.responses import read_response
from tests.benchmarks.scenes import boxes_over_aviris, simulated_pair

SOURCES = ("sample", "cave", "aviris-x4", "aviris-x8", "pan")
_SAMPLE = Path(__file__).parents[2] / "sample_data"
_BLOCKS = 8  # that kriging is left out of, as in `--effort normal`
_PAN = (8, 34)  # AVIRIS bands under the panchromatic one

Field = NDArray[np.float32]
Load = Callable[[], SupervisedPair]


@dataclass(frozen=True)
class Judged:
    """A pair's verdict beside the truth: PSNR (dB) by method, and the seconds of evidence and of kriging."""

    name: str
    psnr_db: dict[str, float]
    verdict: Verdict
    evidence_s: float
    kriging_s: float

    @property
    def regret_db(self) -> float:
        """By how much the chosen method lies below the best."""
        return max(self.psnr_db.values()) - self.psnr_db[self.verdict.method]

    def row(self) -> list[str]:
        """The cells of the table."""
        best = max(self.psnr_db, key=self.psnr_db.__getitem__)
        left = self.verdict.left_out
        return [
            self.name,
            *(f"{value:.2f}" for value in self.psnr_db.values()),
            *(_gain(self.verdict.standings, kind, best) for kind in ("band held out", "half resolution")),
            "" if left is None else f"{left.standardised_rms:.2f}",
            self.verdict.method,
            f"{self.regret_db:.2f}",
            f"{self.evidence_s / self.kriging_s:.1f}",
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the pairs and print the table."""
    options = _parser().parse_args(arguments)
    header = [
        "pair",
        *END_POINTS,
        "held out",
        "half resolution",
        "left out, rms",
        "choice",
        "regret",
        "evidence / kriging",
    ]
    sys.stdout.write(f"| {' | '.join(header)} |\n{'| --- ' * len(header)}|\n")
    judged = []
    for name, ratio, load in _pairs(options.sources.split(","), options.data, options.limit):
        judged.append(judge(name, load(), ratio))
        sys.stdout.write(f"| {' | '.join(judged[-1].row())} |\n")
        sys.stdout.flush()
    within = sum(pair.regret_db <= 0.1 for pair in judged)
    worst = max(pair.regret_db for pair in judged)
    sys.stdout.write(
        f"\nWithin 0.1 dB of the best on {within} of {len(judged)} pairs; {worst:.2f} dB at worst.\n"
    )
    return 0


def judge(name: str, pair: SupervisedPair, ratio: int) -> Judged:
    """The verdict on a pair, and every method's PSNR."""

    def strips() -> Iterator[Strip]:
        yield Strip(0, pair.hr_msi, pair.valid)

    scene, _ = at_lr(pair)
    height, width = scene.valid.shape
    core = slice(0, height), slice(0, width)
    started = time.process_time()
    part = PairPart(scene, strips, pair.resampling, WALD_PSF, (float(ratio), float(ratio)), core)
    found = gather([part], END_POINTS, _BLOCKS)
    gathered = time.process_time() - started
    verdict = Verdict(
        choose(found.standings), found.standings, found.left_out, found.lr_pixels, found.unexplained
    )
    scores = {}
    for method in END_POINTS:
        started = time.process_time()
        scores[method] = _psnr(fused_without_model(pair, method), pair, ratio)
        took = time.process_time() - started
    return Judged(name, scores, verdict, gathered, took)


def _psnr(image: Field, pair: SupervisedPair, ratio: int) -> float:
    inner = pair.valid.copy()
    inner[:ratio] = inner[-ratio:] = inner[:, :ratio] = inner[:, -ratio:] = False
    truth = pair.hr_hsi[:, inner]
    error = np.square(image[:, inner] - truth, dtype=np.float64).mean(axis=1)
    return float(psnr_db(truth.max(axis=1), np.maximum(error, 1e-30)).mean())


def _gain(standings: Sequence[Standing], kind: str, method: str) -> str:
    """The evidence's gains of the truly best method, or of the best rival where that is kriging."""
    known = [standing for standing in standings if kind in standing.scores]
    rivals = [s for s in known if s.method != "kriging" and method in ("kriging", s.method)]
    if not rivals:
        return ""

    def own(standing: Standing) -> Score:
        return standing.scores[kind]

    best = max(rivals, key=lambda standing: own(standing).gain_db.value)
    gain = own(best).gain_db
    return f"{best.method} {gain.value:+.2f} ± {gain.error:.2f}"


def _pairs(sources: Sequence[str], data: Path, limit: int) -> Iterator[tuple[str, int, Load]]:
    """Names, ratios and pairs of the first `limit` scenes of each source; a pair is made when it is judged."""
    aviris = sorted((data / "aviris_la205").glob("*.tif")) + sorted((data / "aviris_other").glob("*.tif"))
    for source in sources:
        if source == "sample":
            sample = partial(simulated_pair, _SAMPLE / "hr_hsi.tif", 8, read_response("sentinel-2a"))
            yield "sample x8", 8, sample
        elif source == "cave":
            response = read_response(str(data / "srf" / "nikon_d700.csv"))
            for path in sorted((data / "cave" / "train").glob("*.tif"))[:limit]:
                yield f"{path.stem} x8", 8, partial(simulated_pair, path, 8, response)
        else:
            ratio = 4 if source == "pan" else int(source.removeprefix("aviris-x"))
            for path in aviris[:limit]:
                response = _panchromatic(path) if source == "pan" else boxes_over_aviris(path)
                name = f"{path.stem} x{ratio}{', PAN' if source == 'pan' else ''}"
                yield name, ratio, partial(simulated_pair, path, ratio, response)


def _panchromatic(path: Path) -> SpectralResponse:
    """One box over band numbers in the place of wavelengths, which the AVIRIS files do not record."""
    positions = np.arange(1.0, read_info(path).bands.count + 1)
    box = ((positions > _PAN[0]) & (positions < _PAN[1])).astype(float)
    return SpectralResponse(("pan",), positions, box[None])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="verdict", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(), help="folder of cave/, aviris_la205/ and others")
    parser.add_argument("--sources", default=",".join(SOURCES), help=f"of {','.join(SOURCES)} [all]")
    parser.add_argument("--limit", type=int, default=9, help="scenes of each source [9]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
