"""Use case: samples -> a trained model in a folder, resumable at any moment."""

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

from emrdiff_cli.checkpoint import save_model
from emrdiff_cli.config import ModelConfig, TrainConfig
from emrdiff_cli.core.diffusion.conditioning import Calibration
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff, channels_last
from emrdiff_cli.core.diffusion.learning import (
    Draws,
    TrainingScene,
    average_weights,
    draw_batch,
    learning_rate_at,
    make_optimizer,
    settle_gates,
    training_loss,
)
from emrdiff_cli.core.diffusion.supervision import (
    TrainingSample,
    end_point_image,
    fuse_sample,
    mean_psnr,
    mean_sam_deg,
    training_scene,
)
from emrdiff_cli.errors import InputError, ModelError, WriteError
from emrdiff_cli.runtime.atomic import replacing
from emrdiff_cli.training.process_group import ALONE, ProcessGroup
from emrdiff_cli.zoo import WEIGHTS

STATE = "training-state.pt"
_GRADIENT_LIMIT = 1.0
_GATE_BATCHES = 16
_FORWARD = 1 / 3  # of an iteration, which goes backward too
_REPORTS_ON_DEVICE = 10  # iterations between reports, each of which waits for the device


@dataclass(frozen=True)
class Validation:
    """Mean PSNR (dB) over the held-out samples after each sampling step, and of the end point alone.

    `sam_deg`: their mean spectral angle after the last step.
    """

    iteration: int
    psnr_by_step_db: tuple[float, ...]
    end_point_db: float
    sam_deg: float = math.nan


@dataclass(frozen=True)
class TrainingStatus:
    """Report of an iteration: the running loss, the newest validation, and the seconds left.

    Those of validations to come count, and those of what follows on the last iteration.
    """

    iteration: int
    iterations: int
    loss: float
    seconds_left: float
    validation: Validation | None


@dataclass(frozen=True)
class TrainingSet:
    """Samples to learn from and samples held out (with the peak their PSNR refers to)."""

    learned: Sequence[TrainingSample]
    held_out: Sequence[TrainingSample]
    peak: float


class _Pace:
    """How long iterations and validations take, and from that the seconds left."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._began = self._first = self._validating = 0.0
        self._each: float | None = None  # validation, the newest

    def begin(self, iteration: int) -> None:
        """Count from here."""
        self._began, self._first, self._validating = time.monotonic(), iteration, 0.0

    def validated(self, validate: Callable[[], None]) -> None:
        """Take the time of a validation."""
        began = time.monotonic()
        validate()
        self._each = time.monotonic() - began
        self._validating += self._each

    def left(self, iteration: int) -> float:
        """Seconds of the iterations and validations to come, of settling the gates and of the last validation."""
        last, every = self._config.iterations, self._config.validate_every
        each = (time.monotonic() - self._began - self._validating) / max(1, iteration - self._first)
        validations = last // every - iteration // every + (last % every > 0) * (iteration < last) + 1
        return each * (last - iteration + _GATE_BATCHES * _FORWARD) + (self._each or each) * validations


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
    training_set: TrainingSet,
    model_config: ModelConfig,
    config: TrainConfig,
    folder: Path | str,
    device: torch.device,
    *,
    report: Callable[[TrainingStatus], None] | None = None,
    resume: bool = False,
    group: ProcessGroup = ALONE,
) -> tuple[EMRDiff, list[Validation]]:
    """Train to the last iteration and write the weights that validated best into `folder`.

    A checkpoint is written at the start and every `checkpoint_every` iterations, between two iterations and
    in one step, so whatever stops the training leaves a whole one. With `resume` training goes on from it, to
    the same weights bit for bit (CPU) as without the interruption.
    Each process of a group learns from its share of every batch. The first alone validates, reports and
    writes; the others return the averaged weights and no history.
    Raises ModelError when the checkpoint belongs to another configuration.
    """
    folder = Path(folder)
    key = _run_key(model_config, config, training_set)
    with group.as_one():
        _check_patch(training_set, model_config, config)
        run = _start(training_set, model_config, config, device)
        if resume:
            require_state(folder)
            _restore(run, folder / STATE, key, device)
    scenes = [training_scene(model_config, config, sample, device) for sample in training_set.learned]
    pace = _Pace(config)
    if group.leads and not run.history:
        pace.validated(lambda: _validate(run, training_set))
        _save_state(run, folder / STATE, key)
    pace.begin(run.iteration)
    every = 1 if device.type == "cpu" else _REPORTS_ON_DEVICE
    while run.iteration < config.iterations:
        _iterate(run, scenes, config, group)
        if not group.leads:
            continue
        due = run.iteration % config.validate_every == 0 or run.iteration == config.iterations
        if due:
            pace.validated(lambda: _validate(run, training_set))
        if run.iteration % config.checkpoint_every == 0:
            _save_state(run, folder / STATE, key)
        if report is not None and (due or run.iteration % every == 0):
            left = pace.left(run.iteration)
            newest = run.history[-1] if due else None
            report(TrainingStatus(run.iteration, config.iterations, _running_loss(run), left, newest))
    if not group.leads:
        return run.average, []
    best = _finished(run, scenes, training_set, config)
    save_model(best, folder / WEIGHTS)
    (folder / STATE).unlink(missing_ok=True)
    return best, run.history


def require_state(folder: Path) -> None:
    """Raise ModelError where no training was interrupted."""
    if not (folder / STATE).exists():
        raise ModelError(f"{folder}: no training to resume: leave --resume away to start one")


def smallest_side(samples: Sequence[TrainingSample]) -> int:
    """The shortest side of any sample, in HR pixels."""
    return min(int(side) for sample in samples for side in sample.target.shape[1:])


def validate(
    model: EMRDiff, training_set: TrainingSet, iteration: int = 0, steps: int | None = None
) -> Validation:
    """Score the model on the held-out samples after each sampling step."""
    curves, angles = [], []
    for sample in training_set.held_out:
        images = fuse_sample(model, sample, steps=steps)
        curves.append([mean_psnr(image, sample, training_set.peak) for image in images])
        angles.append(mean_sam_deg(images[-1], sample))
    starts = [
        mean_psnr(end_point_image(sample), sample, training_set.peak) for sample in training_set.held_out
    ]
    mean = tuple(sum(values) / len(values) for values in zip(*curves, strict=True))
    return Validation(iteration, mean, sum(starts) / len(starts), sum(angles) / len(angles))


def _finished(
    run: _Run, scenes: Sequence[TrainingScene], training_set: TrainingSet, config: TrainConfig
) -> EMRDiff:
    """The weights that validated best, their gates settled; scored once more as they will be used."""
    best = run.average
    best.load_state_dict(run.best_weights)
    if best.config.gates == "training":
        batches = [
            draw_batch(scenes, config.batch, config.patch, run.draws.choices) for _ in range(_GATE_BATCHES)
        ]
        settle_gates(best, batches, run.draws.noise)
    run.history.append(validate(best, training_set, run.iteration))
    return best


def _start(
    training_set: TrainingSet, model_config: ModelConfig, config: TrainConfig, device: torch.device
) -> _Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = channels_last(EMRDiff(model_config).to(device))
    if model_config.calibration == "archive":
        sample = training_set.learned[0]
        model.keep_calibration(Calibration(sample.end.basis, sample.channels))
    average = copy.deepcopy(model).requires_grad_(False)
    return _Run(model, average, make_optimizer(model, config), Draws.on(device, config.seed))


def _check_patch(training_set: TrainingSet, model_config: ModelConfig, config: TrainConfig) -> None:
    shortest = smallest_side(training_set.learned)
    if shortest < config.patch:
        raise InputError(
            f"patch = {config.patch} is larger than the smallest scene: give at most --patch "
            f"{shortest // model_config.stride * model_config.stride}"
        )


def _iterate(run: _Run, scenes: Sequence[TrainingScene], config: TrainConfig, group: ProcessGroup) -> None:
    device = next(run.model.parameters()).device
    for parameters in run.optimizer.param_groups:
        parameters["lr"] = learning_rate_at(run.iteration, config)
    batch = draw_batch(scenes, config.batch, config.patch, run.draws.choices)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        loss = training_loss(run.model, batch, config, run.draws, group.share(config.batch))
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    group.sum_gradients(run.model.parameters())
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), _GRADIENT_LIMIT)
    run.optimizer.step()
    average_weights(run.average, run.model, run.iteration, config.ema)
    run.iteration += 1
    value = group.total(loss.detach())
    run.loss = value if run.loss is None else 0.98 * run.loss + 0.02 * value


def _running_loss(run: _Run) -> float:
    return math.nan if run.loss is None else float(run.loss)


def _validate(run: _Run, training_set: TrainingSet) -> None:
    result = validate(run.average, training_set, run.iteration)
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


def _run_key(model_config: ModelConfig, config: TrainConfig, training_set: TrainingSet) -> str:
    """A hash of everything the weights depend on."""
    digest = hashlib.sha256(
        json.dumps([dataclasses.asdict(model_config), dataclasses.asdict(config)], sort_keys=True).encode()
    )
    for sample in (*training_set.learned, *training_set.held_out):
        digest.update(sample.target.tobytes())
        digest.update(sample.pair.scored.tobytes())
    return digest.hexdigest()
