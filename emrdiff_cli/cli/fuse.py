"""`emrdiff fuse`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emrdiff_cli.cli import fuse_options
from emrdiff_cli.cli.evidence_table import print_evidence
from emrdiff_cli.cli.fuse_archive import ArchiveOptions, fuse_listed
from emrdiff_cli.cli.fuse_plan import print_plan
from emrdiff_cli.cli.options import (
    AsJson,
    Mask,
    NumThreads,
    OutputFormat,
    Overviews,
    Overwrite,
    PsfFwhm,
    Qml,
    Quiet,
    Registration,
    Shift,
    SrcNodata,
    Srf,
    Stac,
    asked_mask,
    numbers,
)
from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import UsageError
from emrdiff_cli.methods import AUTO, METHODS

if TYPE_CHECKING:
    from emrdiff_cli.fusion.cluster import ClusterOptions
    from emrdiff_cli.fusion.fusing import FusionReport
    from emrdiff_cli.fusion.job import ChosenModel, FusionJob
    from emrdiff_cli.fusion.options import FusionSettings


def fuse(
    lr_hsi: fuse_options.LrHsi = None,
    hr_msi: fuse_options.HrMsi = None,
    output: fuse_options.Output = None,
    model: fuse_options.Model = None,
    method: fuse_options.Method = "auto",
    effort: fuse_options.Effort = "normal",
    bounds: fuse_options.Bounds = None,
    register: Registration = "auto",
    shift: Shift = None,
    psf_fwhm: PsfFwhm = None,
    src_nodata: SrcNodata = None,
    mask: Mask = None,
    srf: Srf = None,
    steps: fuse_options.Steps = None,
    seed: fuse_options.Seed = 0,
    tile: fuse_options.Tile = 0,
    overlap: fuse_options.Overlap = None,
    batch_size: fuse_options.BatchSize = None,
    max_memory: fuse_options.MaxMemory = None,
    device: fuse_options.Device = "auto",
    precision: fuse_options.Precision = "auto",
    num_threads: NumThreads = None,
    driver: OutputFormat = None,
    dtype: fuse_options.Dtype = None,
    creation_options: fuse_options.CreationOptions = None,
    clip: fuse_options.Clip = False,
    overviews: Overviews = None,
    physical: fuse_options.Physical = True,
    changed: fuse_options.Changed = None,
    uncertainty: fuse_options.Uncertainty = None,
    samples: fuse_options.Samples = 0,
    samples_dir: fuse_options.SamplesDir = None,
    stac: Stac = None,
    qml: Qml = False,
    report: fuse_options.Report = None,
    overwrite: Overwrite = False,
    resume: fuse_options.Resume = False,
    skip_done: fuse_options.SkipDone = False,
    manifest: fuse_options.Manifest = None,
    keep_going: fuse_options.KeepGoing = False,
    num_parts: fuse_options.NumParts = None,
    part_id: fuse_options.PartId = None,
    scheduler: fuse_options.Scheduler = None,
    workers: fuse_options.Workers = None,
    dry_run: fuse_options.DryRun = False,
    no_trial: fuse_options.NoTrial = False,
    quiet: Quiet = False,
    verbose: fuse_options.Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Fuse LR_HSI and HR_MSI into the cube at the MSI's resolution, georeferenced, wavelengths kept.

    The output has the LR-HSI's bands, units and type on the MSI's grid, over the ground both cover. It
    appears only when all of it is written and verified; a run that was killed goes on with `--resume`. Each
    band's tag `emrdiff_detail` says whether an MSI band covers it.

    Examples:
    ```
    emrdiff fuse lr_hsi.hdr hr_msi.tif fused.tif
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.tif --model ./my-model --device cuda
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.dat -f ENVI --method kriging
    emrdiff fuse lr_hsi.tif hr_msi.tif part.tif --bounds 383472 5815000 385000 5816500
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.tif --srf sentinel-2a
    emrdiff fuse enmap/ S2.SAFE fused.tif --mask cloud,cirrus,shadow
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.tif --resume
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.tif --scheduler tcp://head-node:8786
    emrdiff fuse --manifest pairs.csv --keep-going --skip-done > status.jsonl
    ```
    """
    settings = _settings(locals())
    from emrdiff_cli.fusion.cluster import ClusterOptions
    from emrdiff_cli.fusion.job import FusionJob

    _refuse_mixture(manifest, (lr_hsi, hr_msi, output), keep_going, (num_parts, part_id), dry_run)
    if no_trial and not dry_run:
        raise UsageError("--no-trial: is for --dry-run")
    cluster = ClusterOptions(scheduler, workers)
    if manifest is not None:
        options = ArchiveOptions(keep_going, skip_done, num_parts, part_id)
        fuse_listed(manifest, settings, options, cluster, quiet)
    elif lr_hsi and hr_msi and output:
        job = FusionJob(lr_hsi, hr_msi, output, settings)
        if scheduler is not None and method != AUTO and not METHODS[method].needs_model:
            raise UsageError(f"--scheduler: shares out a model's tile rows; --method {method} has none")
        _fuse_one(job, cluster, skip_done, dry_run, no_trial, verbose, quiet, as_json)


def _settings(given: Mapping[str, Any]) -> FusionSettings:
    """The options among the command's parameters, which bear the names of the fields. Raises UsageError."""
    from emrdiff_cli.fusion.option_cells import parse_size
    from emrdiff_cli.fusion.options import OPTIONS, FusionSettings

    asked = {name: given[name] for name in OPTIONS}
    if asked["max_memory"] is not None:
        asked["max_memory"] = parse_size(asked["max_memory"])
    for name in ("shift", "psf_fwhm", "src_nodata"):
        asked[name] = numbers(name, asked[name])
    asked["mask"] = asked_mask(asked["mask"])
    asked["creation_options"] = _creation_options(asked["creation_options"] or [])
    return FusionSettings(**asked)


def _refuse_mixture(
    manifest: Path | None,
    files: tuple[Path | None, ...],
    keep_going: bool,
    parts: tuple[int | None, ...],
    dry_run: bool,
) -> None:
    """Raise UsageError for one scene's arguments and a manifest's together, and for neither."""
    if manifest is not None and (any(files) or dry_run):
        raise UsageError(
            f"{'--dry-run' if dry_run else files[0]}: not with --manifest, which names the files"
        )
    if manifest is None and not all(files):
        raise UsageError("give LR_HSI, HR_MSI and OUTPUT, or --manifest, which lists them")
    if manifest is None and (keep_going or any(part is not None for part in parts)):
        raise UsageError("--keep-going, --num-parts and --part-id are for --manifest")


def _fuse_one(
    job: FusionJob,
    cluster: ClusterOptions,
    skip_done: bool,
    dry_run: bool,
    no_trial: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from emrdiff_cli.fusion.job import choose_model, is_done, plan_job, refuse_existing, to_be_done

    if not skip_done:
        refuse_existing(job)
    chosen = choose_model(job)
    if chosen is not None:
        for concern in chosen.concerns:
            typer.echo(f"Warning: {concern}", err=True)
        if verbose:
            typer.echo(f"Model: {chosen.model.name} ({chosen.model.folder})", err=True)
    if skip_done:
        if is_done(job, chosen):
            _say_skipped(job, quiet, as_json)
            return
        job = to_be_done(job, chosen)
    if dry_run:
        print_plan(plan_job(job, chosen, trial=not no_trial), as_json)
    else:
        _run(job, chosen, cluster, quiet, as_json)


def _run(
    job: FusionJob, chosen: ChosenModel | None, cluster: ClusterOptions, quiet: bool, as_json: bool
) -> None:
    from emrdiff_cli.fusion.cluster import workers_of
    from emrdiff_cli.fusion.job import run_job

    with workers_of(cluster, job.settings.device) as workers, progress("fuse", quiet) as shown:
        result = run_job(job, chosen, shown, workers)
    _print_result(result, quiet, as_json)
    if job.settings.report is None:
        return
    from emrdiff_cli.evaluation.fusion_page import write_job_report

    page = write_job_report(job, result)
    if not quiet:
        typer.echo(f"{page}: written", err=True)


def _print_result(result: FusionReport, quiet: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.record()))
    if quiet:
        return
    if not as_json:
        typer.echo(
            f"{result.output}: {result.bands} bands of {result.height} x {result.width} by {result.method} "
            f"in {result.seconds:.1f} s",
            err=True,
        )
    if result.verdict is not None and result.verdict.standings and not as_json:
        print_evidence(result.verdict)
    for note in result.notes:
        typer.echo(f"Note: {note}", err=True)
    for warning in result.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    if result.clipped_values:
        typer.echo(
            f"Warning: {result.clipped_values} values clipped to the range of the output's type", err=True
        )


def _say_skipped(job: FusionJob, quiet: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"output": str(job.output), "status": "skipped"}))
    elif not quiet:
        typer.echo(f"{job.output}: is done already", err=True)


def _creation_options(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--co {pair}: must be KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
