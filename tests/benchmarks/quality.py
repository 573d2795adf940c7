"""Quality benchmark: trains and scores a table of configurations on real scenes, row by row.

    python -m tests.benchmarks.quality cave --data DATA --output FOLDER

Rows that are done are kept in FOLDER and not repeated; a training that was stopped goes on where it was. With
`--minutes` the command ends by then, so a table can be made in several runs. Writes results.json, table.md
and steps.png.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.supervision import end_point_image, fuse_sample, make_sample
from emrdiff_cli.core.metrics.cube import score
from emrdiff_cli.fusion.sampler import choose_device
from emrdiff_cli.training import model_folder
from emrdiff_cli.training.loop import STATE, TrainingStatus
from emrdiff_cli.zoo import WEIGHTS
from tests.benchmarks.baselines import cnmf, hysure, sfim_hs
from tests.benchmarks.configurations import TABLES, Row, Table
from tests.benchmarks.report import write_report
from tests.benchmarks.scenes import Fold, Scene, read_folds

Field = NDArray[np.float32]
METRICS = ("psnr_db", "sam_deg", "ergas", "ssim")
_BASELINES: Mapping[str, Callable[[Scene], Field]] = {
    "sfim-hs": lambda s: sfim_hs(s.pair.lr_hsi, s.pair.hr_msi, s.pair.resampling),
    "cnmf": lambda s: cnmf(s.pair.lr_hsi, s.pair.hr_msi, s.srf, s.pair.resampling),
    "hysure": lambda s: hysure(s.pair.lr_hsi, s.pair.hr_msi, s.srf, s.pair.resampling),
}


@dataclass(frozen=True)
class Plan:
    """Plan of one run of the command."""

    table: Table
    data: Path
    output: Path
    iterations: int
    device: str
    deadline: float


@dataclass(frozen=True)
class Result:
    """A row, trained with one seed: mean scores over the test scenes, and what it cost.

    `psnr_by_step_db` is the mean after each sampling step; seconds are of one iteration; memory is the
    process's peak, on a GPU the device's.
    """

    row: str
    seed: int
    scores: Mapping[str, float]
    psnr_by_scene_db: Mapping[str, float]
    psnr_by_step_db: tuple[float, ...]
    iterations: int
    parameters: int
    seconds_an_iteration: float | None
    samples_a_second: float | None
    peak_memory_mb: float
    seconds_a_scene: float
    device: str


class TimeIsUpError(Exception):
    """The run's minutes are spent; everything up to the last checkpoint is kept."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that are not done yet and write the report of those that are."""
    options = _parser().parse_args(arguments)
    plan = Plan(
        options.table,
        options.data,
        options.output / options.table,
        options.iterations,
        options.device,
        time.time() + 60 * options.minutes,
    )
    (plan.output / "rows").mkdir(parents=True, exist_ok=True)
    wanted = set(options.rows.split(",")) if options.rows else None
    rows = [row for row in TABLES[plan.table] if wanted is None or row.name in wanted]
    todo = [(row, seed) for seed in range(options.seeds) for row in rows if seed < row.seeds]
    todo = [(row, seed) for row, seed in todo if not _path(plan, row, seed).exists()]
    spawn = multiprocessing.get_context("spawn")
    # A process a row: what one leaves in memory does not count for the next.
    with ProcessPoolExecutor(options.jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        running = {pool.submit(run_row, plan, row, seed): (row, seed) for row, seed in todo}
        for done in as_completed(running):
            row, seed = running[done]
            state = "done" if done.result() else "not finished: repeat the command to go on"
            sys.stderr.write(f"{row.name}, seed {seed}: {state}\n")
    results = [json.loads(path.read_text()) for path in sorted((plan.output / "rows").glob("*.json"))]
    write_report(plan.output, TABLES[plan.table], results)
    return 0


def run_row(plan: Plan, row: Row, seed: int) -> bool:
    """Train and score one row; False where time was up before it was done."""
    if time.time() > plan.deadline:
        return False
    device = choose_device(plan.device)
    try:
        folds = [_run_fold(plan, row, seed, number, fold) for number, fold in enumerate(_folds(plan))]
    except TimeIsUpError:
        return False
    result = _joined(row, seed, folds, device)
    part = _path(plan, row, seed).with_suffix(".part")
    part.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    part.replace(_path(plan, row, seed))
    return True


@dataclass(frozen=True)
class _FoldResult:
    by_scene: Mapping[str, tuple[Mapping[str, float], tuple[float, ...]]]
    iterations: int = 0
    batch: int = 0
    parameters: int = 0
    seconds: float = 0.0
    timed_iterations: int = 0
    scoring_seconds: float = 0.0


def _folds(plan: Plan) -> list[Fold]:
    return list(read_folds(plan.table, plan.data))


def _run_fold(plan: Plan, row: Row, seed: int, number: int, fold: Fold) -> _FoldResult:
    if row.method:
        started = time.monotonic()
        images = {scene.name: [_without_training(row.method, scene)] for scene in fold.tests}
        return _FoldResult(_scored(fold, images), scoring_seconds=time.monotonic() - started)
    folder = plan.output / "work" / f"{row.name}-{seed}-{number}"
    iterations = max(1, round(row.effort * plan.iterations))
    job = model_folder.make_job(
        fold.examples,
        row.model,
        {"validate_every": iterations, "warmup": iterations // 10}
        | dict(row.training)
        | {"iterations": iterations, "seed": seed},
    )
    watch = _Watch(plan, folder)
    if not (folder / WEIGHTS).exists():
        resume = (folder / STATE).exists()
        model_folder.run_job(job, folder, plan.device, resume=resume, note="", watch=watch)
    device = choose_device(plan.device)
    model = load_model(folder / WEIGHTS).to(device)
    started = time.monotonic()
    images = {}
    for scene in fold.tests:
        sample = make_sample(model.config, scene.pair, model.calibration())
        images[scene.name] = fuse_sample(model, sample, tile=max(sample.target.shape[1:]))
    elapsed = time.monotonic() - started
    return _FoldResult(
        _scored(fold, images),
        iterations,
        job.training.batch,
        sum(p.numel() for p in model.parameters()),
        *watch.timing(),
        scoring_seconds=elapsed,
    )


class _Watch:
    """Times the iterations, over all runs that a training took, and ends the run in time."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._deadline = plan.deadline
        self._log = folder / "timing.json"
        self._last: tuple[float, int] | None = None
        seconds, count = json.loads(self._log.read_text()) if self._log.exists() else (0.0, 0)
        self._seconds, self._count = float(seconds), int(count)

    def __call__(self, status: TrainingStatus) -> None:
        now = time.monotonic(), status.iteration
        # The first iterations of a run choose algorithms and warm caches, validation is no training.
        if self._last is not None and status.validation is None:
            self._seconds += now[0] - self._last[0]
            self._count += now[1] - self._last[1]
        self._last = now
        if status.iteration % 50 == 0:
            self._log.write_text(json.dumps([self._seconds, self._count]))
            if time.time() > self._deadline:
                raise TimeIsUpError

    def timing(self) -> tuple[float, int]:
        return self._seconds, self._count


def _without_training(method: str, scene: Scene) -> Field:
    if method in _BASELINES:
        return _BASELINES[method](scene)
    bands, msi_bands = len(scene.pair.lr_hsi), len(scene.pair.hr_msi)
    config = ModelConfig(msi_bands, 2.0, bands, end_point=method, subspace=0)
    return end_point_image(make_sample(config, scene.pair))


def _scored(
    fold: Fold, images: Mapping[str, Sequence[Field]]
) -> dict[str, tuple[dict[str, float], tuple[float, ...]]]:
    results = {}
    for scene in fold.tests:
        truth = scene.pair.hr_hsi
        by_step = [
            score(np.maximum(image, 0), truth, fold.examples.peak, fold.examples.ratio).overall
            for image in images[scene.name]
        ]
        last = {key: float(by_step[-1][key] or 0.0) for key in METRICS}
        results[scene.name] = last, tuple(float(step["psnr_db"] or 0.0) for step in by_step)
    return results


def _joined(row: Row, seed: int, folds: Sequence[_FoldResult], device: torch.device) -> Result:
    scenes = {name: value for fold in folds for name, value in fold.by_scene.items()}
    seconds, count = sum(fold.seconds for fold in folds), sum(fold.timed_iterations for fold in folds)
    return Result(
        row=row.name,
        seed=seed,
        scores={key: fmean(scores[key] for scores, _ in scenes.values()) for key in METRICS},
        psnr_by_scene_db={name: scores["psnr_db"] for name, (scores, _) in scenes.items()},
        psnr_by_step_db=tuple(fmean(s) for s in zip(*(steps for _, steps in scenes.values()), strict=True)),
        iterations=folds[0].iterations,
        parameters=folds[0].parameters,
        seconds_an_iteration=seconds / count if count else None,
        samples_a_second=folds[0].batch * count / seconds if count else None,
        peak_memory_mb=_peak_memory_mb(device),
        seconds_a_scene=sum(fold.scoring_seconds for fold in folds) / len(scenes),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    )


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _path(plan: Plan, row: Row, seed: int) -> Path:
    return plan.output / "rows" / f"{row.name}-{seed}.json"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train and score a table of configurations on real scenes.")
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--data", type=Path, required=True, help="folder with cave, aviris_la205 and srf")
    parser.add_argument("--output", type=Path, required=True, help="folder for results, kept between runs")
    parser.add_argument("--iterations", type=int, default=300, help="training steps of every learned row")
    parser.add_argument("--rows", default="", help="names of rows, comma between (default: all)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of a main row at most")
    parser.add_argument("--minutes", type=float, default=1e6, help="end by then, repeat to go on")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--jobs", type=int, default=1, help="rows at once")
    return parser


if __name__ == "__main__":
    sys.exit(main())
