"""Ten pairs through the front door: what `emrdiff fuse LR MSI OUT` costs and gains beside any one method.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.ten_pairs FOLDER --data DATA [--literature] [--large] [--minutes 9]

Each pair is fused by `emrdiff fuse`, left to itself and by each method, in a process of its own. Times are of the
processor, user and system, of the whole process: the least of `--runs`, the two in turn, so that other work
on the machine cancels out of their ratio. With a truth: PSNR (dB), the mean over the bands, each with its own
maximum as the peak, and SAM (degrees), without the outer LR pixel. `--literature` adds methods from papers
(`baselines`, `pixel_mlp`), with the geometry that was found for the pair and the true response where one is known;
`--large` a pair of 300 x 300 LR pixels, times alone. What is done is kept in FOLDER and not repeated; with
`--minutes` the command ends by about then. Writes results.json and table.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.decibels import psnr_db
from emrdiff_cli.evaluation.pair_view import PairView, msi_response, opened_view
from emrdiff_cli.fusion.observed_scene import observe_scene
from emrdiff_cli.methods import AUTO, END_POINTS, FAVOURITE
from emrdiff_cli.runtime.atomic import write_whole
from tests.benchmarks.baselines import cnmf, hysure, sfim_hs
from tests.benchmarks.pair_files import (
    FOUR_BOXES,
    PANCHROMATIC,
    PairFiles,
    large_aviris,
    read_common,
    real_pairs,
    simulated,
    simulated_aviris,
)
from tests.benchmarks.pixel_mlp import pixel_mlp
from tests.benchmarks.ten_pairs_tables import PAPERS, Record, tables

Cube = NDArray[np.float32]
Make = Callable[[], PairFiles]

_TIMED = (AUTO, FAVOURITE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is not done yet, until the time is up; write the tables of what is."""
    options = _parser().parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    options.folder.mkdir(parents=True, exist_ok=True)
    kept = options.folder / "results.json"
    results: dict[str, Record] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name, make in makers(options.data, options.folder, options.large):
        record = results.setdefault(name, {"seconds": {}, "scores": {}})
        for told in _work(make, record, options.folder / f"{name}.tif", options.runs, options.literature):
            write_whole(kept, json.dumps(results).encode())
            sys.stderr.write(f"{name}: {told}\n")
            if time.monotonic() > deadline:
                break
        if time.monotonic() > deadline:
            sys.stderr.write("the time is up: repeat the command to go on\n")
            break
    lines = "\n".join(tables({name: record for name, record in results.items() if record["scores"]}))
    (options.folder / "table.md").write_text(lines + "\n", encoding="utf-8")
    sys.stdout.write(lines + "\n")
    return 0


def makers(data: Path, folder: Path, large: bool) -> Iterator[tuple[str, Make]]:
    """Names of the pairs, and what makes each."""
    for real in real_pairs(data):
        yield real.name, partial(_same, real)
    potsdam = data / "enmap_potsdam" / "enmap_potsdam_30m.tif"
    yield _named("potsdam x4", simulated, folder, potsdam, 4, "sentinel-2a")
    for scene in ("abu_airport_4", "abu_beach_3", "abu_urban_1"):
        path = data / "aviris_other" / f"{scene}.tif"
        yield _named(f"{scene} x4", simulated_aviris, folder, path, 4, FOUR_BOXES)
    for scene in ("paints", "pompoms"):
        path = data / "cave" / "test" / f"{scene}.tif"
        nikon = str(data / "srf" / "nikon_d700.csv")
        yield _named(f"{scene} x8", simulated, folder, path, 8, nikon)
    airport = data / "aviris_la205" / "abu_airport_1.tif"
    yield _named("abu_airport_1 x4, PAN", simulated_aviris, folder, airport, 4, PANCHROMATIC)
    if large:
        yield "300 x 300 x 224", partial(large_aviris, airport, folder / "large")


def _same(pair: PairFiles) -> PairFiles:
    return pair


def _named(name: str, make: Callable[..., PairFiles], folder: Path, *arguments: object) -> tuple[str, Make]:
    return name, partial(make, name, *arguments, folder / name)


def _work(make: Make, record: Record, output: Path, runs: int, literature: bool) -> Iterator[str]:
    """What is not in the record yet of a pair's times and scores, one after the other; says what was done."""
    seconds, scores = record["seconds"], record["scores"]
    missing = [method for method in _TIMED if len(seconds.get(method, ())) < runs]
    unscored = [method for method in END_POINTS if method not in scores]
    papers = [method for method in PAPERS if literature and method not in scores]
    if not (missing or ((unscored or papers) and record.get("truth", True))):
        return
    pair = make()
    record["truth"] = pair.truth is not None
    while missing:
        for method in missing:
            chosen = _timed(pair, output, method, seconds.setdefault(method, []))
            if method == AUTO:
                record["chosen"] = chosen
            scores[method] = _scored_output(pair, output)
            yield f"{method}, {seconds[method][-1]:.1f} s"
        missing = [method for method in _TIMED if len(seconds[method]) < runs]
    if pair.truth is None:
        return
    for method in (method for method in END_POINTS if method not in scores):
        _timed(pair, output, method, seconds.setdefault(method, []))
        scores[method] = _scored_output(pair, output)
        yield f"{method}, {scores[method]}"
    if not output.exists():
        _timed(pair, output, FAVOURITE, [])
    for method in papers:
        scores[method] = _scored_paper(pair, output, method)
        yield f"{method}, {scores[method]}"
    output.unlink()


def _timed(pair: PairFiles, output: Path, method: str, into: list[float]) -> str:
    """Fuse in a process of its own; adds its user and system time, and returns the method that was taken."""
    command = [sys.executable, "-m", "emrdiff_cli", "fuse", pair.lr_hsi, pair.hr_msi, output]
    asked = [*map(str, command), "--method", method, "--overwrite", "-q", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(asked, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    into.append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3))
    return str(json.loads(ended.stdout)["method"])


def _scored_output(pair: PairFiles, output: Path) -> list[float]:
    """PSNR and SAM of a fused raster; nothing without a truth."""
    if pair.truth is None:
        return []
    with opened_view(output, pair.lr_hsi, pair.hr_msi) as view:
        truth, where = _truth(pair.truth, view, output)
        return _scores(read_common(output, output)[view.bands][:, where], truth[:, where])


def _scored_paper(pair: PairFiles, output: Path, method: str) -> list[float]:
    """PSNR and SAM of a method of the literature on the ground of a fused raster, in the geometry of its tags."""
    assert pair.truth is not None
    with opened_view(output, pair.lr_hsi, pair.hr_msi) as view:
        truth, where = _truth(pair.truth, view, output)
        seen = observe_scene(view.pair)
        lr = seen.lr.hsi[view.bands]
        msi = np.concatenate([strip.values for strip in view.pair.strips()], axis=1)
        response = msi_response(view, pair.srf)
        taken = (msi - response.offset[:, None, None]).astype(np.float32)
        maps = view.pair.resampling
        images: dict[str, Callable[[], Any]] = {
            "sfim-hs": lambda: sfim_hs(lr, msi, maps),
            "cnmf": lambda: cnmf(lr, taken, response.matrix, maps),
            "hysure": lambda: hysure(lr, taken, response.matrix, maps),
            "pixel-mlp": lambda: pixel_mlp(lr, taken, response.matrix),
        }
        return _scores(images[method]()[:, where], truth[:, where])


def _truth(path: Path, view: PairView, output: Path) -> tuple[Cube, NDArray[np.bool_]]:
    """The truth (B, H, W) in the bands that are scored, and the pixels: known, without the outer LR pixel."""
    truth = read_common(path, output)[view.bands]
    fused, margin = read_common(output, output)[view.bands], int(np.ceil(view.pair.alignment.ratio))
    where = np.asarray(np.isfinite(truth).all(axis=0) & np.isfinite(fused).all(axis=0))
    where[:margin] = where[-margin:] = where[:, :margin] = where[:, -margin:] = False
    return truth, where


def _scores(image: Cube, truth: Cube) -> list[float]:
    """PSNR and SAM of pixels (B, n)."""
    mse = np.square(image - truth, dtype=np.float64).mean(axis=1)
    psnr = float(psnr_db(truth.max(axis=1), np.maximum(mse, 1e-30)).mean())
    lengths = np.linalg.norm(image, axis=0) * np.linalg.norm(truth, axis=0)
    cosine = (image * truth).sum(axis=0) / np.maximum(lengths, 1e-30)
    return [psnr, float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ten_pairs", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where results are kept")
    parser.add_argument("--data", type=Path, required=True, help="folder of berlin/, cave/ and others")
    parser.add_argument("--literature", action="store_true", help="methods of papers too")
    parser.add_argument("--large", action="store_true", help="the times of a pair of 300 x 300 LR pixels too")
    parser.add_argument(
        "--runs", type=int, default=2, help="timed runs of each, the least of which counts [2]"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="after which nothing is begun [60]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
