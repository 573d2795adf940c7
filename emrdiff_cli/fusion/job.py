"""A fusion asked for, on the command line or in a manifest's row: its files, its settings, its model."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from emrdiff_cli import zoo
from emrdiff_cli.core.evidence.verdict import Candidate
from emrdiff_cli.core.side_by_side import working_side_by_side
from emrdiff_cli.errors import (
    EmrdiffError,
    ModelError,
    OutputExistsError,
    TorchError,
    UnfitModelError,
    UsageError,
)
from emrdiff_cli.fusion.fusing import FusionReport, check_fit, fuse, tile_size
from emrdiff_cli.fusion.fusion_plan import FusionPlan, plan
from emrdiff_cli.fusion.journal import Journal
from emrdiff_cli.fusion.options import FusionSettings
from emrdiff_cli.fusion.precision import Precision, measured_precision
from emrdiff_cli.fusion.prepared_scene import Sampler
from emrdiff_cli.fusion.run import Progress
from emrdiff_cli.fusion.run_record import RUN_TAG, holds_run, run_record
from emrdiff_cli.fusion.trial import TimeEstimate, estimate_time
from emrdiff_cli.fusion.uncertainty import refuse_without_posterior
from emrdiff_cli.methods import AUTO, END_POINTS, FAVOURITE, METHODS, MethodChoice
from emrdiff_cli.pair.pair import PairReader, place
from emrdiff_cli.raster.identity import State, file_sha256, file_state
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import Window
from emrdiff_cli.report.page import check_report, report_file
from emrdiff_cli.runtime.threads import thread_count
from emrdiff_cli.runtime.torch_library import has_torch, require_torch
from emrdiff_cli.zoo import ZooModel

if TYPE_CHECKING:
    from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
    from emrdiff_cli.fusion.cluster import Workers
    from emrdiff_cli.fusion.tile_rows import RowSampling

PRECISION_TAG = "emrdiff_precision"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FusionJob:
    """A pair, its output and its settings. Raises UsageError on settings that contradict each other."""

    lr_hsi: Path
    hr_msi: Path
    output: Path
    settings: FusionSettings

    def __post_init__(self) -> None:
        method = self.settings.method
        if method != AUTO and not METHODS[method].needs_model and self.settings.model is not None:
            raise UsageError(f"--model is for --method emrdiff; {method} needs none")
        self.settings.driver_for(self.output)


@dataclass(frozen=True)
class ChosenModel:
    """A model for a job; `concerns` say where it was made for other pairs."""

    model: ZooModel
    concerns: tuple[str, ...] = ()

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.model.folder / zoo.WEIGHTS


def choose_model(job: FusionJob) -> ChosenModel | None:
    """The model that was asked for, or the shipped one that fits; None for a method that needs none.

    Where the method is left to the pair, a shipped model has to be known to be better than kriging. None too where
    none is, where what kriging alone tells is asked for, and, with a warning, where PyTorch is missing. Raises
    InputError's children.
    """
    method = job.settings.method
    if method == AUTO and job.settings.tells_errors and job.settings.model is None:
        return None
    if method != AUTO and not METHODS[method].needs_model:
        return None
    found = _fitting(job)
    if found is None or method != AUTO or job.settings.model is not None or has_torch():
        return found
    _log.warning("model %s, which fits, is left: torch, which it needs, is not installed", found.model.name)
    return None


def _fitting(job: FusionJob) -> ChosenModel | None:
    """`choose_model`, whatever else the method depends on."""
    method = job.settings.method
    lr, msi = read_info(job.lr_hsi), read_info(job.hr_msi)
    ratio = place(lr, msi).ratio
    if job.settings.model is None:
        try:
            found = zoo.match(lr, msi, ratio)
        except ModelError:
            if method == AUTO:
                return None
            raise
        return None if method == AUTO and (found.gain_over_kriging_db or 0) <= 0 else ChosenModel(found)
    chosen = zoo.find(job.settings.model)
    check_fit(chosen.config, lr, msi)
    if zoo.fits(chosen.config, lr, msi, ratio):
        return ChosenModel(chosen)
    concern = (
        f"{chosen.name} was made for ratio {chosen.config.ratio:g} or other wavelengths; this pair has ratio "
        f"{ratio:.3g}"
    )
    if lr.bands.wavelengths_nm is None:
        concern += f", and {lr.path.name} records no wavelengths: its bands are taken in the model's order"
    return ChosenModel(chosen, (concern,))


def method_of(job: FusionJob, chosen: ChosenModel | None) -> MethodChoice:
    """The method that a job comes to, with the model chosen for it; `auto` where the pair itself decides."""
    if job.settings.method != AUTO:
        return job.settings.method
    if chosen is not None:
        return "emrdiff"
    return FAVOURITE if job.settings.tells_errors else AUTO


def is_done(job: FusionJob, chosen: ChosenModel | None) -> bool:
    """Whether all is there and was made from these files, by this model, with these settings."""
    asked = job.settings
    beside = [*asked.side_files(job.output), *(() if asked.report is None else [report_file(asked.report)])]
    return all(path.exists() for path in beside) and _is_made(job, chosen)


def to_be_done(job: FusionJob, chosen: ChosenModel | None) -> FusionJob:
    """The job, where `is_done` is False: its own output, without what is to lie beside it, is made once more.

    Raises OutputExistsError where something else would be replaced without `overwrite`.
    """
    if _is_made(job, chosen):
        _refuse_existing_beside(job)
        return replace(job, settings=replace(job.settings, overwrite=True))
    if job.output.exists() and not job.settings.overwrite:
        raise OutputExistsError(
            f"{job.output} is there already, but does not record that it was made from these inputs, model and "
            "options: give --overwrite to replace it"
        )
    refuse_existing(job)
    return job


def _is_made(job: FusionJob, chosen: ChosenModel | None) -> bool:
    return job.output.exists() and holds_run(job.output, _record(job, chosen))


def refuse_existing(job: FusionJob) -> None:
    """Raise OutputExistsError where something would be replaced without `overwrite`."""
    if job.output.exists() and not job.settings.overwrite:
        raise OutputExistsError(f"{job.output} is there already: give --overwrite to replace it")
    _refuse_existing_beside(job)


def _refuse_existing_beside(job: FusionJob) -> None:
    for path in job.settings.side_files(job.output):
        if path.exists() and not job.settings.overwrite:
            raise OutputExistsError(f"{path} is there already: give --overwrite to replace it")
    if job.settings.report is not None:
        check_report(job.settings.report, job.settings.overwrite)


def plan_job(job: FusionJob, chosen: ChosenModel | None, *, trial: bool = True) -> FusionPlan:
    """Plan what `run_job` would do; with a `trial` on a part of the pair, and how long it would take.

    Where the trial fails a note says why. Raises EmrdiffError's children.
    """
    model = None if chosen is None else chosen.model
    config = None if model is None else model.config
    method = method_of(job, chosen)
    refuse_without_posterior(method, job.settings)
    notes: list[str] = []
    make = None if chosen is None else partial(_own_sampler, job, chosen)

    def estimate(pair: PairReader, area: Window, tiles: int) -> TimeEstimate | None:
        try:
            with working_side_by_side(thread_count(job.settings.num_threads)):
                return estimate_time(pair, area, tiles, method, make, job.settings)
        except (EmrdiffError, MemoryError, OSError) as error:
            notes.append(f"how long it would take was not tried out: {error}")
            return None

    planned = plan(
        *(job.lr_hsi, job.hr_msi, job.output, config, method, job.settings), estimate if trial else None
    )
    name = None if model is None else model.name
    return replace(planned, model=name, method_by=_decided_by(job, chosen), notes=(*planned.notes, *notes))


def _decided_by(job: FusionJob, chosen: ChosenModel | None) -> str:
    """What decides on the method."""
    asked = job.settings
    if chosen is not None:
        gain = chosen.model.gain_over_kriging_db
        worth = "" if gain is None else f", {gain:+.2f} dB over kriging on what was held out of its training"
        if asked.model or asked.method != AUTO:
            return f"as asked for{worth}"
        return (
            f"a shipped one that fits{worth}, unless its trial on the pair tells that it is for other scenes"
        )
    if asked.method != AUTO:
        return "as asked for"
    if asked.tells_errors:
        return "it alone tells its uncertainty"
    return f"the pair's own evidence chooses among {', '.join(END_POINTS)}, by --effort {asked.effort}"


def run_job(
    job: FusionJob,
    chosen: ChosenModel | None,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> FusionReport:
    """Fuse the job's pair; the output records what it was made from. Raises EmrdiffError's children.

    With `workers` they run the model, and this process does the rest; a method without a model is all its. A model
    that nobody named is left where it does not fit the scene, or cannot be run here.
    """
    if chosen is None:
        return _fuse_without_model(job, None, _passed_over(job), progress)
    try:
        return _fuse_by_model(job, chosen, progress, workers)
    except (ModelError, TorchError) as error:
        asked_for = job.settings.method != AUTO or job.settings.model is not None
        if asked_for or (workers is not None and not isinstance(error, UnfitModelError)):
            raise
        # With PyTorch mended the model is to be run: no record that it was.
        recorded = None if isinstance(error, TorchError) else chosen
        done = _fuse_without_model(job, recorded, None, progress)
        said = f"model {chosen.model.name}, whose bands fit, is left: {error}"
        return replace(done, warnings=(said, *done.warnings))


def _passed_over(job: FusionJob) -> Candidate | None:
    """The model that would be chosen, if it told its uncertainty, which is asked for."""
    if job.settings.method != AUTO or not job.settings.tells_errors:
        return None
    fitting = _fitting(job)
    return None if fitting is None else _candidate(job, fitting)


def _candidate(job: FusionJob, chosen: ChosenModel) -> Candidate | None:
    model, gain = chosen.model, chosen.model.gain_over_kriging_db
    named = job.settings.model is not None
    return None if gain is None else Candidate(model.name, gain, model.held_out, named)


def _fuse_without_model(
    job: FusionJob,
    chosen: ChosenModel | None,
    candidate: Candidate | None,
    progress: Progress | None,
) -> FusionReport:
    """Fuse by a method without a model; `chosen`: the model that the job came with."""
    options = replace(job.settings, provenance={RUN_TAG: _record(job, chosen)})
    return fuse(
        *(job.lr_hsi, job.hr_msi, job.output, job.settings.method, None, options),
        model=candidate,
        progress=progress,
    )


def _fuse_by_model(
    job: FusionJob,
    chosen: ChosenModel,
    progress: Progress | None,
    workers: Workers | None,
) -> FusionReport:
    asked = replace(job.settings, precision=_precision(job, chosen))
    sampling: RowSampling | None = None
    sampler = _sampler(chosen, asked if workers is None else replace(asked, device="cpu"))
    if workers is not None:
        make = partial(worker_sampler, _known_as(chosen), file_sha256(chosen.weights), asked)
        sampling = partial(workers.sample_rows, make)
    provenance = {
        RUN_TAG: _record(job, chosen),
        "emrdiff_model": chosen.model.name,
        "emrdiff_model_sha256": file_sha256(chosen.weights),
        "emrdiff_steps": str(asked.steps or chosen.model.config.steps),
        "emrdiff_seed": str(asked.seed),
        PRECISION_TAG: asked.precision,
    }
    # A device that is named may be the workers' alone.
    own = asked.device if workers is None or asked.device == "cpu" else "auto"
    options = replace(asked, provenance=provenance, device=own)
    return fuse(
        *(job.lr_hsi, job.hr_msi, job.output, "emrdiff", sampler, options),
        model=_candidate(job, chosen) if asked.method == AUTO else None,
        progress=progress,
        sampling=sampling,
    )


def _precision(job: FusionJob, chosen: ChosenModel) -> Precision:
    """The precision asked for, that of the unfinished run that is resumed, or the one found by measurement."""
    asked = job.settings
    if asked.precision != "auto":
        return asked.precision
    held = Journal(job.output).held("--precision") if asked.resume else None
    known: dict[str | None, Precision] = {"fp32": "fp32", "bf16": "bf16"}
    if held in known:
        return known[held]
    require_torch()
    from emrdiff_cli.fusion.sampler import choose_device

    config = chosen.model.config
    return measured_precision(choose_device(asked.device), config.width or config.channels)


def worker_sampler(model: str, sha256: str, asked: FusionSettings, number: int) -> Sampler:
    """The sampler of a worker from its own copy of the model; raises ModelError where that is another."""
    chosen = ChosenModel(zoo.find(model))
    if file_sha256(chosen.weights) != sha256:
        raise ModelError(f"{chosen.weights}: is not the model that was chosen: have the same on all machines")
    return _sampler(chosen, asked, number)


def _record(job: FusionJob, chosen: ChosenModel | None) -> str:
    asked = job.settings
    draw: tuple[object, ...] | None = None
    tiles = None
    if chosen is not None:
        config = chosen.model.config
        draw = file_sha256(chosen.weights), asked.seed, asked.steps or config.steps
        # What `auto` comes to is the machine's: what it made is done.
        draw = draw if asked.precision == "auto" else (*draw, asked.precision)
        tiles = tile_size(config, asked)
    if asked.samples:
        draw = (*(draw or ()), "samples", asked.seed)
    open_choice = asked.method == AUTO and asked.model is None and not asked.tells_errors
    # A model that turns out not to be for the values is left: another run than one by the model alone.
    method = AUTO if open_choice else method_of(job, chosen)
    if not open_choice:
        asked = replace(asked, effort="normal")
    return run_record(job.lr_hsi, job.hr_msi, job.output, (method, draw), asked, tiles)


def _known_as(chosen: ChosenModel) -> str:
    """Name that finds the model on another machine: a shipped one's own, else the folder."""
    if any(model.folder == chosen.model.folder for model in zoo.shipped()):
        return chosen.model.name
    return str(chosen.model.folder.absolute())


def _own_sampler(job: FusionJob, chosen: ChosenModel) -> Sampler:
    return _sampler(chosen, replace(job.settings, precision=_precision(job, chosen)))


def _sampler(chosen: ChosenModel, asked: FusionSettings, number: int = 0) -> Sampler:
    require_torch()
    from emrdiff_cli.fusion.sampler import ModelSampler, choose_device

    device = choose_device(asked.device, number)
    precision: Precision = "bf16" if asked.precision == "bf16" else "fp32"
    weights = _weights(chosen.weights, file_state(chosen.weights))
    return ModelSampler(weights, device, asked.seed, asked.steps, precision, asked.num_threads)


# Scenes of an archive share a model: it is loaded once, and again where the file was replaced.
@lru_cache(maxsize=2)
def _weights(path: Path, _state: State) -> EMRDiff:
    from emrdiff_cli.checkpoint import load_model

    return load_model(path)
