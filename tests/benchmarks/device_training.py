"""Trainings on CAVE of equal minutes on a device: the paper's recipe and the default, resumed from run to run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.config import PAPER_MODEL, PAPER_TRAINING
from emrdiff_cli.core.diffusion.supervision import fuse_sample, make_sample, mean_psnr
from emrdiff_cli.training.loop import STATE, TrainingStatus
from emrdiff_cli.training.model_folder import Job, make_job, run_job
from emrdiff_cli.zoo import WEIGHTS
from tests.benchmarks.scenes import Fold, read_folds

PRESETS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "paper": (PAPER_MODEL, PAPER_TRAINING),
    "default": ({}, {}),
}
_PROBED = 40  # iterations, of which the first half warms up
_CHECKPOINTS = 20  # iterations between them


class TimeIsUpError(Exception):
    """The minutes are over; all up to the last checkpoint is kept."""


def train_preset(
    preset: str,
    data: Path,
    folder: Path,
    device: torch.device,
    minutes: float,
    until: float,
    *,
    small: bool = False,
) -> dict[str, Any]:
    """Train for so many minutes, over all runs, and score; what is left to do where it is not finished `until`.

    The iterations are settled in the first run, by the time that one takes. `small`: of the scenes a
    few.
    """
    kept = folder / f"trained-{preset}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    (fold,) = read_folds("cave", data)
    if small:
        examples = replace(
            fold.examples,
            learned=fold.examples.learned[:2],
            held_out=fold.examples.held_out[:1],
            calibration=fold.examples.calibration[:2],
        )
        fold = replace(fold, examples=examples, tests=fold.tests[:1])
    job, work = make_job(fold.examples, *PRESETS[preset]), folder / "trainings" / preset
    settled = work.with_suffix(".json")
    if not settled.exists():
        settled.parent.mkdir(parents=True, exist_ok=True)
        settled.write_text(json.dumps({"seconds_an_iteration": seconds_an_iteration(job, device)}))
    pace = float(json.loads(settled.read_text())["seconds_an_iteration"])
    iterations = max(_CHECKPOINTS, round(60 * minutes / pace))
    training = replace(
        job.training,
        iterations=iterations,
        warmup=iterations // 10,
        validate_every=iterations,
        checkpoint_every=_CHECKPOINTS,
    )
    reached = 0

    def watch(status: TrainingStatus) -> None:
        nonlocal reached
        reached = status.iteration
        if reached % _CHECKPOINTS == 0 and reached < iterations and time.time() > until:
            raise TimeIsUpError

    if not (work / WEIGHTS).exists():
        try:
            run_job(
                replace(job, training=training),
                work,
                str(device),
                resume=(work / STATE).exists(),
                note="",
                watch=watch,
            )
        except TimeIsUpError:
            return {"iterations": iterations, "reached": reached, "seconds_an_iteration": pace}
    by_step = scores(fold, work, device)
    told = {
        "iterations": iterations,
        "seconds_an_iteration": pace,
        "minutes": minutes,
        "psnr_by_step_db": by_step,
    }
    kept.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return told


def seconds_an_iteration(job: Job, device: torch.device) -> float:
    """The pace of a training on the device, once it is warm."""
    times: dict[int, float] = {}

    def watch(status: TrainingStatus) -> None:
        times[status.iteration] = time.monotonic()
        if status.iteration >= _PROBED:
            raise TimeIsUpError

    probed = replace(
        job.training,
        iterations=2 * _PROBED,
        warmup=1,
        validate_every=2 * _PROBED,
        checkpoint_every=2 * _PROBED,
    )
    with tempfile.TemporaryDirectory() as folder, suppress(TimeIsUpError):
        run_job(replace(job, training=probed), Path(folder), str(device), resume=False, note="", watch=watch)
    return (times[_PROBED] - times[_PROBED // 2]) / (_PROBED - _PROBED // 2)


def scores(fold: Fold, work: Path, device: torch.device) -> list[float]:
    """Mean PSNR (dB) over the test scenes after each step of the sampler."""
    model = load_model(work / WEIGHTS).to(device)
    curves = []
    for scene in fold.tests:
        sample = make_sample(model.config, scene.pair, model.calibration())
        images = fuse_sample(model, sample, tile=max(sample.target.shape[1:]))
        curves.append([mean_psnr(image, sample, fold.examples.peak) for image in images])
    return [fmean(step) for step in zip(*curves, strict=True)]
