"""Use case: lessons -> a trained model in a folder, resumable at any moment."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from emrdiff_cli.atomic import replacing
from emrdiff_cli.checkpoint import save_model
from emrdiff_cli.config import ModelConfig, TrainConfig
from emrdiff_cli.core.conditioning import Calibration
from emrdiff_cli.core.emr_diff import EMRDiff, channels_last
from emrdiff_cli.core.learning import (
    Draws,
    TrainingScene,
    average_weights,
    draw_batch,
    learning_rate_at,
    make_optimizer,
    settle_gates,
    training_loss,
)
from emrdiff_cli.core.supervision import (
    Lesson,
    end_point_image,
    fuse_lesson,
    mean_psnr,
    training_scene,
)
from emrdiff_cli.distributed import ALONE, Team
from emrdiff_cli.errors import InputError, ModelError, WriteError
from emrdiff_cli.zoo import WEIGHTS

STATE = "training-state.pt"
_GRADIENT_LIMIT = 1.0
_GATE_BATCHES = 16
_REPORTS_ON_DEVICE = 10  # iterations between reports, each of which waits for the device


@dataclass(frozen=True)
class Validation:
    """Mean PSNR (dB) over the held-out lessons after each sampling step, and of the end point alone."""

    iteration: int
    psnr_by_step_db: tuple[float, ...]
    end_point_db: float


@dataclass(frozen=True)
class Moment:
    """What is reported after an iteration: the running loss, seconds left, the newest validation."""

    iteration: int
    iterations: int
    loss: float
    seconds_left: float
    validation: Validation | None


@dataclass(frozen=True)
class Curriculum:
    """Lessons to learn from and lessons held out (with the peak their PSNR refers to)."""

    learned: Sequence[Lesson]
    held_out: Sequence[Lesson]
    peak: float


@dataclass
class _Run:
    """The state that a checkpoint holds."""

    model: EMRDiff
    average: EMRDiff
    optimizer: torch.optim.Optimizer
    draws: Draws
    iteration: int = 0
    loss: torch.Tensor | None = None  # a running mean, left on the device: reading it would wait for it
    best: float = -math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[Validation] = field(default_factory=list)


def train(
    curriculum: Curriculum,
    model_config: ModelConfig,
    config: TrainConfig,
    folder: Path | str,
    device: torch.device,
    *,
    report: Callable[[Moment], None] | None = None,
    resume: bool = False,
    team: Team = ALONE,
) -> tuple[EMRDiff, list[Validation]]:
    """Train to the last iteration and write the weights that validated best into `folder`.

    A checkpoint is written at the start and every `checkpoint_every` iterations, between two iterations and
    in one step, so whatever stops the training leaves a whole one. With `resume` training goes on from it, to
    the same weights bit for bit (CPU) as without the interruption.
    Each process of a team learns from its share of every batch. The first alone validates, reports and
    writes; the others return the averaged weights and no history.
    Raises ModelError when the checkpoint belongs to another configuration.
    """
    folder = Path(folder)
    key = _run_key(model_config, config, curriculum)
    with team.as_one():
        _check_patch(curriculum, model_config, config)
        run = _start(curriculum, model_config, config, device)
        if resume:
            require_state(folder)
            _restore(run, folder / STATE, key, device)
    scenes = [training_scene(model_config, config, lesson, device) for lesson in curriculum.learned]
    if team.leads and not run.history:
        _validate(run, curriculum)
        _save_state(run, folder / STATE, key)
    started, first = time.monotonic(), run.iteration
    every = 1 if device.type == "cpu" else _REPORTS_ON_DEVICE
    while run.iteration < config.iterations:
        _iterate(run, scenes, config, team)
        if not team.leads:
            continue
        due = run.iteration % config.validate_every == 0 or run.iteration == config.iterations
        if due:
            _validate(run, curriculum)
        if run.iteration % config.checkpoint_every == 0:
            _save_state(run, folder / STATE, key)
        if report is not None and (due or run.iteration % every == 0):
            pace = (time.monotonic() - started) / (run.iteration - first)
            left = pace * (config.iterations - run.iteration)
            newest = run.history[-1] if due else None
            report(Moment(run.iteration, config.iterations, _running_loss(run), left, newest))
    if not team.leads:
        return run.average, []
    best = _finished(run, scenes, curriculum, config)
    save_model(best, folder / WEIGHTS)
    (folder / STATE).unlink(missing_ok=True)
    return best, run.history


def require_state(folder: Path) -> None:
    """Raise ModelError where no training was interrupted."""
    if not (folder / STATE).exists():
        raise ModelError(f"{folder}: no training to resume: leave --resume away to start one")


def smallest_side(lessons: Sequence[Lesson]) -> int:
    """The shortest side of any lesson, in HR pixels."""
    return min(int(side) for lesson in lessons for side in lesson.target.shape[1:])


def validate(
    model: EMRDiff, curriculum: Curriculum, iteration: int = 0, steps: int | None = None
) -> Validation:
    """Score the model on the held-out lessons after each sampling step."""
    curves = [
        [mean_psnr(image, lesson, curriculum.peak) for image in fuse_lesson(model, lesson, steps=steps)]
        for lesson in curriculum.held_out
    ]
    starts = [mean_psnr(end_point_image(lesson), lesson, curriculum.peak) for lesson in curriculum.held_out]
    mean = tuple(sum(values) / len(values) for values in zip(*curves, strict=True))
    return Validation(iteration, mean, sum(starts) / len(starts))


def _finished(
    run: _Run, scenes: Sequence[TrainingScene], curriculum: Curriculum, config: TrainConfig
) -> EMRDiff:
    """The weights that validated best, their gates settled; scored once more as they will be used."""
    best = run.average
    best.load_state_dict(run.best_weights)
    if best.config.gates == "training":
        batches = [
            draw_batch(scenes, config.batch, config.patch, run.draws.choices) for _ in range(_GATE_BATCHES)
        ]
        settle_gates(best, batches, run.draws.noise)
    run.history.append(validate(best, curriculum, run.iteration))
    return best


def _start(
    curriculum: Curriculum, model_config: ModelConfig, config: TrainConfig, device: torch.device
) -> _Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = channels_last(EMRDiff(model_config).to(device))
    if model_config.calibration == "archive":
        lesson = curriculum.learned[0]
        model.keep_calibration(Calibration(lesson.end.basis, lesson.channels))
    average = copy.deepcopy(model).requires_grad_(False)
    return _Run(model, average, make_optimizer(model, config), Draws.on(device, config.seed))


def _check_patch(curriculum: Curriculum, model_config: ModelConfig, config: TrainConfig) -> None:
    shortest = smallest_side(curriculum.learned)
    if shortest < config.patch:
        raise InputError(
            f"patch = {config.patch} is larger than the smallest scene: give at most --patch "
            f"{shortest // model_config.stride * model_config.stride}"
        )


def _iterate(run: _Run, scenes: Sequence[TrainingScene], config: TrainConfig, team: Team) -> None:
    device = next(run.model.parameters()).device
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate_at(run.iteration, config)
    batch = draw_batch(scenes, config.batch, config.patch, run.draws.choices)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        loss = training_loss(run.model, batch, config, run.draws, team.share(config.batch))
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    team.sum_gradients(run.model.parameters())
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), _GRADIENT_LIMIT)
    run.optimizer.step()
    average_weights(run.average, run.model, run.iteration, config.ema)
    run.iteration += 1
    value = team.total(loss.detach())
    run.loss = value if run.loss is None else 0.98 * run.loss + 0.02 * value


def _running_loss(run: _Run) -> float:
    return math.nan if run.loss is None else float(run.loss)


def _validate(run: _Run, curriculum: Curriculum) -> None:
    result = validate(run.average, curriculum, run.iteration)
    run.history.append(result)
    if result.psnr_by_step_db[-1] > run.best:
        run.best = result.psnr_by_step_db[-1]
        run.best_weights = {name: value.clone() for name, value in run.average.state_dict().items()}


def _save_state(run: _Run, path: Path, key: str) -> None:
    state = {
        "key": key,
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "choices": run.draws.choices.get_state(),
        "noise": run.draws.noise.get_state(),
        "iteration": run.iteration,
        "loss": _running_loss(run),
        "best": run.best,
        "best_weights": run.best_weights,
        "history": [dataclasses.asdict(v) for v in run.history],
    }
    try:
        with replacing(path) as part:
            torch.save(state, part)
    except RuntimeError as error:
        raise WriteError(f"{path}: cannot be written: is the disk full?") from error


def _restore(run: _Run, path: Path, key: str, device: torch.device) -> None:
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found = state["key"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: is damaged: give --overwrite to start anew") from error
    if found != key:
        raise ModelError(
            f"{path}: belongs to a training with other options or data: repeat those, or train into another folder"
        )
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.draws.choices.set_state(state["choices"].cpu())
    run.draws.noise.set_state(state["noise"].cpu())
    run.iteration, run.best = state["iteration"], state["best"]
    run.loss = None if math.isnan(state["loss"]) else torch.tensor(state["loss"], device=device)
    run.best_weights = state["best_weights"]
    run.history = [
        Validation(**{**v, "psnr_by_step_db": tuple(v["psnr_by_step_db"])}) for v in state["history"]
    ]


def _run_key(model_config: ModelConfig, config: TrainConfig, curriculum: Curriculum) -> str:
    """A hash of everything the weights depend on."""
    digest = hashlib.sha256(
        json.dumps([dataclasses.asdict(model_config), dataclasses.asdict(config)], sort_keys=True).encode()
    )
    for lesson in (*curriculum.learned, *curriculum.held_out):
        digest.update(lesson.target.tobytes())
        digest.update(lesson.pair.judged.tobytes())
    return digest.hexdigest()
