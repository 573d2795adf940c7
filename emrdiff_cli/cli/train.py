"""`emrdiff train`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emrdiff_cli.cli import completion, panels
from emrdiff_cli.cli.options import (
    Device,
    NumThreads,
    Overwrite,
    PsfFwhm,
    Quiet,
    Registration,
    Shift,
    asked_geometry,
)
from emrdiff_cli.cli.progress import Report, duration, progress
from emrdiff_cli.errors import ConfigError, UsageError
from emrdiff_cli.pair.modes import AskedGeometry

if TYPE_CHECKING:
    from emrdiff_cli.training.examples import Examples
    from emrdiff_cli.training.loop import TrainingStatus
    from emrdiff_cli.training.model_folder import Job
    from emrdiff_cli.training.process_group import ProcessGroup


# A pair's own LR-HSI is small: it is learned, and validated, in minutes.
_SCENE_DEFAULTS = {"iterations": 300, "validate_every": 50}


_Archive = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Learn from the HR-HSI rasters in this folder.", rich_help_panel=panels.READ
    ),
]
_Srf = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:BANDS]|CSV|SAFE",
        help="With --archive: the MSI's response.",
        autocompletion=completion.responses,
        rich_help_panel=panels.GEOMETRY,
    ),
]
_Scene = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        metavar="LR_HSI HR_MSI",
        help="Learn from this pair itself, without ground truth.",
        rich_help_panel=panels.READ,
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML with [model] and [train].", rich_help_panel=panels.LEARNING
    ),
]
_Preset = Annotated[
    Literal["default", "paper"],
    typer.Option(help="`paper`: the paper's choice of everything.", rich_help_panel=panels.LEARNING),
]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any option of the configuration, e.g. kappa=2.0.",
        rich_help_panel=panels.LEARNING,
    ),
]
_Validation = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=0.9,
        help="Share held out: scenes of an archive, rows of a pair.",
        rich_help_panel=panels.LEARNING,
        metavar="SHARE",
    ),
]


def train(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Model folder to write.", rich_help_panel=panels.WRITTEN
        ),
    ],
    archive: _Archive = None,
    ratio: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="With --archive: HR pixels in an LR pixel.",
            rich_help_panel=panels.GEOMETRY,
            metavar="N",
        ),
    ] = None,
    srf: _Srf = None,
    scene: _Scene = None,
    config: _Config = None,
    preset: _Preset = "default",
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Training steps [3000; 300 with --scene].",
            rich_help_panel=panels.LEARNING,
            metavar="N",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Patches in a step.", rich_help_panel=panels.COMPUTING, metavar="N"),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Side of a patch in HR pixels; also the tile.",
            rich_help_panel=panels.COMPUTING,
            metavar="N",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of weights, patches and noise.", rich_help_panel=panels.LEARNING, metavar="N"
        ),
    ] = None,
    settings: _Settings = None,
    register: Registration = "auto",
    shift: Shift = None,
    psf_fwhm: PsfFwhm = None,
    validation: _Validation = 0.15,
    note: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="For the card: the data, its terms, what the model is for.",
            rich_help_panel=panels.WRITTEN,
        ),
    ] = "",
    device: Device = "auto",
    num_threads: NumThreads = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted training.", rich_help_panel=panels.WRITTEN),
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a model, from an archive of HR-HSI or from one LR-HSI and HR-MSI pair.

    Without ground truth (--scene), the pair is put right as `fuse` does, both are degraded by their ratio, and
    the model learns to recover the LR-HSI (Wald's protocol). Interrupted, it can be resumed with the same
    options and --resume.
    Under torchrun, its processes share every batch, and the model is that of one process.

    Examples:
    ```
    emrdiff train --scene lr_hsi.hdr hr_msi.tif -o my-model
    emrdiff train --archive scenes --ratio 8 --srf sentinel-2a -o my-model --iterations 5000
    emrdiff train --config training.toml --archive scenes --ratio 8 --srf sentinel-2a -o my-model --resume
    torchrun --nproc-per-node 2 -m emrdiff_cli train --scene lr_hsi.hdr hr_msi.tif -o my-model
    ```
    """
    from emrdiff_cli.runtime.torch_library import require_torch

    require_torch()
    import torch

    from emrdiff_cli.core.side_by_side import working_side_by_side
    from emrdiff_cli.runtime.threads import thread_count
    from emrdiff_cli.training.model_folder import check_free, sole_training
    from emrdiff_cli.training.process_group import assembled_group

    flags = {"iterations": iterations, "batch": batch, "patch": patch, "seed": seed}
    inputs = [*(scene or ()), *([config] if config else []), *([Path(srf)] if srf else [])]
    threads = thread_count(num_threads)
    torch.set_num_threads(threads)
    with assembled_group() as group, sole_training(output, group), working_side_by_side(threads):
        quiet = quiet or not group.leads
        with group.as_one():
            check_free(output, resume, overwrite, inputs)
            values = _gather(preset, config, settings or [], flags, scene is not None)
            geometry = asked_geometry(register, shift, psf_fwhm)
            examples = _read_examples(archive, ratio, srf, scene, geometry, validation, quiet)
            job = _prepare(examples, values, quiet, group)
        _run(job, output, device, resume, note, scene, quiet, group)


def _prepare(
    examples: Examples, values: tuple[dict[str, Any], dict[str, Any]], quiet: bool, group: ProcessGroup
) -> Job:
    from emrdiff_cli.training.model_folder import make_job

    for line in () if quiet else examples.notes:
        typer.echo(f"Note: {line}", err=True)
    with progress("prepare", quiet) as report:
        return make_job(examples, *values, report, group)


def _run(
    job: Job,
    output: Path,
    device: str,
    resume: bool,
    note: str,
    scene: tuple[Path, Path] | None,
    quiet: bool,
    group: ProcessGroup,
) -> None:
    from emrdiff_cli.training.model_folder import run_job

    try:
        with progress("train", quiet) as report:
            compared = run_job(
                job, output, device, resume=resume, note=note, watch=_watcher(report, quiet), group=group
            )
    except KeyboardInterrupt:
        if group.leads:
            typer.echo("To go on, repeat the command with --resume.", err=True)
        raise
    if compared is not None and not quiet:
        typer.echo(f"{output}: model and card written", err=True)
        typer.echo(f"Note: {compared.sentence}", err=True)
        typer.echo(f"Next: {compared.next_step(str(output), scene)}", err=True)


def _gather(
    preset: str, config: Path | None, settings: list[str], flags: dict[str, int | None], of_a_scene: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """[model] and [train] values: the defaults', the preset's, the file's, --set's, the flags'; the last wins."""
    from emrdiff_cli.config import PAPER_MODEL, PAPER_TRAINING, model_keys, read_toml, train_keys

    model: dict[str, Any] = dict(PAPER_MODEL) if preset == "paper" else {}
    training: dict[str, Any] = dict(_SCENE_DEFAULTS) if of_a_scene else {}
    training |= PAPER_TRAINING if preset == "paper" else {}
    if config is not None:
        from_model, from_train = read_toml(config)
        model |= from_model
        training |= from_train
    for setting in settings:
        key, value = _parse(setting)
        if key not in model_keys() | train_keys():
            raise ConfigError(
                f"--set {setting}: unknown option {key!r}: known are "
                f"{', '.join(sorted(model_keys() | train_keys()))}"
            )
        (model if key in model_keys() else training)[key] = value
    training |= {key: value for key, value in flags.items() if value is not None}
    return model, training


def _parse(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"--set {setting}: must be KEY=VALUE")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def _read_examples(
    archive: Path | None,
    ratio: int | None,
    srf: str | None,
    scene: tuple[Path, Path] | None,
    geometry: AskedGeometry,
    validation: float,
    quiet: bool,
) -> Examples:
    from emrdiff_cli.responses import read_response
    from emrdiff_cli.training.examples import read_archive, read_scene

    if (archive is None) == (scene is None):
        raise UsageError("give either --archive DIR or --scene LR_HSI HR_MSI")
    if scene is not None:
        return read_scene(*scene, validation, geometry)
    if geometry != AskedGeometry():
        raise UsageError(
            "--register, --shift and --psf-fwhm are for --scene: an archive has no pair to put right"
        )
    if archive is None or ratio is None or srf is None:
        raise UsageError("--archive needs --ratio and --srf")
    response = read_response(srf)
    with progress("read", quiet) as report:
        return read_archive(archive, ratio, response, validation, progress=report)


def _watcher(report: Report, quiet: bool) -> Any:
    def watch(status: TrainingStatus) -> None:
        report(status.iteration, status.iterations, f"loss {status.loss:.4f}", left=status.seconds_left)
        if status.validation is not None and not quiet:
            curve = " ".join(f"{value:.2f}" for value in status.validation.psnr_by_step_db)
            typer.echo(
                f"iteration {status.iteration}: loss {status.loss:.4f}; validation PSNR (dB) by sampling step "
                f"{curve}; end point {status.validation.end_point_db:.2f}",
                err=True,
            )
        if status.iteration == status.iterations and not quiet:
            left = f"{duration(status.seconds_left)} left"
            typer.echo(f"train: the weights that validated best are settled and scored, {left}", err=True)

    return watch
