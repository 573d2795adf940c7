"""Use case: examples -> a model folder with weights, card and the configuration that repeats it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from emrdiff_cli.config import ModelConfig, TrainConfig, build_config
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.errors import ConfigError, InputError, OutputExistsError, WriteError
from emrdiff_cli.raster.files import refuse_inputs_as_outputs
from emrdiff_cli.report.page import REPORT
from emrdiff_cli.runtime.atomic import check_target, make_folder, sweep_parts, write_whole
from emrdiff_cli.runtime.sole_run import sole_run
from emrdiff_cli.training.comparison import Comparison, kriging_scores
from emrdiff_cli.training.examples import LONGEST_SIDE, Examples, make_samples
from emrdiff_cli.training.loop import (
    STATE,
    TrainingSet,
    TrainingStatus,
    Validation,
    require_state,
    train,
)
from emrdiff_cli.training.page import training_report
from emrdiff_cli.training.process_group import ALONE, ProcessGroup
from emrdiff_cli.version import __version__
from emrdiff_cli.zoo import CARD, TRAINING, VALIDATED, WEIGHTS

_FILES = (WEIGHTS, STATE, CARD, TRAINING, VALIDATED, REPORT)
_FOUND_IN_TRAINING = (
    *("residual_gain", "hsi_range_nm", "hsi_centres_nm", "msi_centres_nm"),
    *("msi_bands", "hsi_bands", "ratio"),
)

# With few bands a subspace saves little and costs accuracy: all are kept, in a network as narrow as else.
_FEW_BANDS = 40
_FEW_BANDS_DEFAULTS = {"subspace": 0, "width": 16}
# What a camera's bands have in common is learned from scenes; a pair of its own, degraded, shows another PSF.
_ARCHIVE_DEFAULTS = {"detail_filter": 3}


@dataclass(frozen=True)
class Job:
    """A training made ready: the samples and both configurations.

    `source` and `geometry` say what the samples are, and how the pair lies that they are of.
    """

    training_set: TrainingSet
    model: ModelConfig
    training: TrainConfig
    source: str
    geometry: tuple[str, ...] = ()


@contextmanager
def sole_training(folder: Path, group: ProcessGroup = ALONE) -> Iterator[None]:
    """Hold a model folder, made if need be, against other trainings; if nothing was put there it goes again.

    Of a group the first process holds it for all. Raises UsageError where another training holds it, WriteError.
    """
    with ExitStack() as held:
        with group.as_one():
            if group.leads:
                held.enter_context(_held(folder))
        yield


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    fresh = not folder.exists()
    make_folder(folder)
    try:
        with sole_run(folder / WEIGHTS):
            for name in _FILES:
                sweep_parts(folder / name)
            yield
    finally:
        if fresh:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def check_free(folder: Path, resume: bool, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise OutputExistsError where a model, or a training to resume, would be lost; ModelError with none.

    UsageError where an input would be replaced, WriteError where a file of the model could not be written.
    """
    if resume:
        require_state(folder)
    refuse_inputs_as_outputs([folder / name for name in _FILES], inputs)
    if (folder / WEIGHTS).exists() and not (overwrite or resume):
        raise OutputExistsError(f"{folder} holds a model already: give --overwrite to replace it")
    if (folder / STATE).exists() and not (overwrite or resume):
        raise OutputExistsError(
            f"{folder} holds an interrupted training: give --resume to go on with it, --overwrite to start anew"
        )
    for name in _FILES if folder.exists() else ():
        check_target(folder / name, overwrite or resume)


def make_job(
    examples: Examples,
    model_values: Mapping[str, Any],
    train_values: Mapping[str, Any],
    progress: Callable[[float, float], None] | None = None,
    group: ProcessGroup = ALONE,
) -> Job:
    """Validate the configurations against the examples and the group, and work the samples out."""
    facts = {
        "msi_bands": examples.msi_bands,
        "ratio": examples.ratio,
        "hsi_bands": examples.hsi.bands.count,
        "hsi_range_nm": _range(examples),
        "hsi_centres_nm": examples.hsi.bands.wavelengths_nm or (),
        "msi_centres_nm": tuple(round(v, 2) for v in examples.msi_centres_nm),
    }
    for key in (*_FOUND_IN_TRAINING, "tile"):
        if key in model_values:
            raise ConfigError(f"{key} is found in training: leave it out of the configuration")
    training = build_config(TrainConfig, train_values)
    group.share(training.batch)
    usual = _usual(examples, model_values)
    model = build_config(ModelConfig, {**usual, **model_values, **facts, "tile": 2**10})
    if model.lateral_colour and not examples.uncut:
        raise ConfigError(
            "lateral_colour = True: goes by the place in a frame, and these are not whole frames (scenes of more "
            f"than {LONGEST_SIDE} pixels are cut): give their middle {LONGEST_SIDE} x {LONGEST_SIDE} pixels, or "
            "leave it out"
        )
    shortest = min(side for pair in examples.learned for side in pair.scored.shape)
    patch = min(training.patch, shortest) // model.stride * model.stride
    if patch == 0:
        raise InputError(
            f"scenes of {shortest} pixels are too small for {model.levels} levels: --set levels=2"
        )
    training = replace(training, patch=patch)
    learned, held_out, model = make_samples(examples, replace(model, tile=patch), progress)
    count, kept = len(examples.learned), len(examples.held_out)
    source = f"{count} {examples.described} like {examples.hsi.path.name}, {kept} held out"
    return Job(TrainingSet(learned, held_out, examples.peak), model, training, source, examples.geometry)


def run_job(
    job: Job,
    folder: Path,
    device: str,
    *,
    resume: bool,
    note: str,
    watch: Callable[[TrainingStatus], None] | None = None,
    group: ProcessGroup = ALONE,
) -> Comparison | None:
    """Train and write weights, card, the configuration and a report into the folder; compare it with kriging.

    Of a group the first process alone writes, and tells `watch`. The weights come first, and stay where a later
    file cannot be written, which is a WriteError.
    """
    started = time.monotonic()
    with group.as_one():
        chosen = group.device(device)
        make_folder(folder)
    # Before the training, which is not over when the last iteration is: nothing long follows on that.
    kriged = kriging_scores(job.training_set.held_out, job.training_set.peak) if group.leads else None
    losses: list[tuple[int, float]] = []

    def follow(status: TrainingStatus) -> None:
        losses.append((status.iteration, status.loss))
        if watch is not None:
            watch(status)

    model, history = train(
        job.training_set, job.model, job.training, folder, chosen, report=follow, resume=resume, group=group
    )
    if kriged is None:
        return None
    compared = Comparison(history[-1].psnr_by_step_db[-1], kriged[0], history[-1].sam_deg, kriged[1])
    processes = f"{group.size} processes, " if group.size > 1 else ""
    effort = f"{chosen.type}, {processes}{(time.monotonic() - started) / 60:.0f} minutes"
    card = _card(folder.name, job, model, history, compared, note, effort)
    report = _report(folder.name, job, history, losses)
    validated = _validated(compared, job)
    texts = ((CARD, card), (TRAINING, _toml(job)), (VALIDATED, validated), (REPORT, report))
    for name, text in texts:
        try:
            write_whole(folder / name, text.encode())
        except WriteError as error:
            raise WriteError(f"{error}; the weights are kept in {folder / WEIGHTS}") from error
    return compared


def _validated(compared: Comparison, job: Job) -> str:
    """What `fuse --method auto` goes by: the model against kriging on what was held out."""
    found = {
        "psnr_db": round(compared.psnr_db, 4),
        "kriging_db": round(compared.kriging_db, 4),
        "gain_over_kriging_db": round(compared.gain_db, 4),
        "sam_deg": round(compared.sam_deg, 4),
        "kriging_sam_deg": round(compared.kriging_sam_deg, 4),
        "held_out": job.source,
    }
    return json.dumps(found, indent=1) + "\n"


def _report(name: str, job: Job, history: list[Validation], losses: list[tuple[int, float]]) -> str:
    """Curves of the loss, from where this run began or was resumed, and of every validation."""
    *during, kept = history
    curves = [(validation.iteration, validation.psnr_by_step_db) for validation in during]
    tables = {"model": asdict(job.model), "training": {"learned from": job.source, **asdict(job.training)}}
    figures = kept.psnr_by_step_db[-1], kept.end_point_db
    return training_report(name, losses, curves, *figures, tables)


def _usual(examples: Examples, values: Mapping[str, Any]) -> dict[str, int]:
    """Defaults that depend on the data, where the configuration leaves them open."""
    if examples.hsi.bands.count > _FEW_BANDS:
        return {}
    shared = examples.archive and values.get("calibration", "archive") == "archive"
    return _FEW_BANDS_DEFAULTS | (_ARCHIVE_DEFAULTS if shared else {})


def _range(examples: Examples) -> tuple[float, ...]:
    wavelengths = examples.hsi.bands.wavelengths_nm
    return () if wavelengths is None else (min(wavelengths), max(wavelengths))


def _toml(job: Job) -> str:
    """[model] and [train] as `--config` takes them; what the data decides is left out."""
    tables = {
        "model": {k: v for k, v in asdict(job.model).items() if k not in (*_FOUND_IN_TRAINING, "tile")},
        "train": asdict(job.training),
    }
    lines = [f"# The pair's geometry: {line}" for line in job.geometry]
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{key} = {_toml_value(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _nm(between: str, wavelengths: tuple[float, ...]) -> str:
    return f"{between.join(f'{v:.0f}' for v in wavelengths)} nm" if wavelengths else "not recorded"


def _card(
    name: str,
    job: Job,
    model: EMRDiff,
    history: list[Validation],
    compared: Comparison,
    note: str,
    effort: str,
) -> str:
    config = job.model
    best = history[-1]
    curve = ", ".join(f"{value:.2f}" for value in best.psnr_by_step_db)
    bands = f"{config.hsi_bands}" if config.fixed_bands else f"any number (trained on {config.hsi_bands})"
    lines = [
        f"# {name}",
        "",
        note or "No note was given on the data and its terms.",
        "",
        f"- HSI: {bands} bands, {_nm(' to ', config.hsi_range_nm)}",
        f"- MSI: {config.msi_bands} bands, centres {_nm(' ', config.msi_centres_nm)}",
        f"- Ratio: {config.ratio:g}; degraded by protocol `wald`",
        *(f"- The pair's geometry: {line}" for line in job.geometry),
        f"- Parameters: {sum(p.numel() for p in model.parameters())}",
        f"- Trained on: {job.source}; {job.training.iterations} iterations of {job.training.batch} patches of "
        f"{job.training.patch} pixels, seed {job.training.seed}; {effort} ({platform.machine()}), "
        f"emrdiff {__version__}, torch {torch.__version__}",
        f"- Held out: PSNR {best.psnr_by_step_db[-1]:.2f} dB (mean over bands, "
        f"peak {job.training_set.peak:g}; after each sampling step {curve}); "
        f"its end point alone {best.end_point_db:.2f} dB",
        f"- Against kriging, which needs no training: {compared.sentence}",
        "",
        "Every option stands in `training.toml` (`emrdiff train --config`).",
        "",
    ]
    return "\n".join(lines)
