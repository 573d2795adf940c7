"""`emrdiff evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emrdiff_cli.cli import evaluate_options, score_output
from emrdiff_cli.cli.options import Device, Overwrite, Quiet
from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import EmrdiffError, ThresholdError, UsageError

if TYPE_CHECKING:
    from emrdiff_cli.core.metrics.conventions import Convention
    from emrdiff_cli.core.metrics.error_survey import Seams
    from emrdiff_cli.core.metrics.metric import Metric
    from emrdiff_cli.evaluation.full_reference import Evaluation
    from emrdiff_cli.evaluation.reduced_resolution import WaldTest
    from emrdiff_cli.evaluation.score_table import ScoreTable
    from emrdiff_cli.evaluation.thresholds import Threshold
    from emrdiff_cli.methods import EndPoint
    from emrdiff_cli.tiles.edges import TileEdges

_UNFIT = {
    "pair": ("--lr-hsi", "--srf", "--wald", "--model", "--method"),
    "inputs": ("--baseline", "--ratio", "--border", "--convention", "--report", "--seams"),
    "manifest": (
        *("FUSED", "REFERENCE", "--baseline", "--lr-hsi", "--hr-msi", "--srf"),
        *("--wald", "--model", "--method", "--report", "--seams"),
    ),
}
_HINTS = {
    "pair": "a raster with REFERENCE: leave REFERENCE out to hold it against its inputs",
    "inputs": "evaluation without REFERENCE: name a REFERENCE",
    "manifest": "--manifest, which names the rasters",
}


@dataclass(frozen=True)
class _Asked:
    """Options that hold for every pair: how it is scored and where the scores go."""

    peak: float | None
    ratio: float | None
    metrics: tuple[str, ...]
    border: int
    conventions: tuple[Convention, ...]
    table: ScoreTable | None
    thresholds: tuple[Threshold, ...]
    as_json: bool
    quiet: bool


@dataclass(frozen=True)
class _Test:
    """Means of fusion in Wald's test: a model, or a method where that is None."""

    model: str | None
    method: EndPoint | None
    device: str


@dataclass(frozen=True)
class _CloserLookRequest:
    """Request for a second pass: a report in `folder`, with the MSI, and the seams at tile edges."""

    folder: Path | None = None
    msi: Path | None = None
    edges: TileEdges | None = None
    overwrite: bool = False
    seams: bool = False


def evaluate(
    fused: evaluate_options.Fused = None,
    reference: evaluate_options.Reference = None,
    baseline: evaluate_options.Baseline = None,
    lr_hsi: evaluate_options.LrHsi = None,
    hr_msi: evaluate_options.HrMsi = None,
    srf: evaluate_options.Srf = None,
    wald: evaluate_options.Wald = False,
    model: evaluate_options.Model = None,
    method: evaluate_options.Method = None,
    device: Device = "auto",
    manifest: evaluate_options.Manifest = None,
    metrics: evaluate_options.Metrics = "all",
    border: evaluate_options.Border = 0,
    peak: evaluate_options.Peak = None,
    ratio: evaluate_options.Ratio = None,
    convention: evaluate_options.Conventions = None,
    fail_under: evaluate_options.FailUnder = None,
    fail_over: evaluate_options.FailOver = None,
    report: evaluate_options.Report = None,
    seams: evaluate_options.SeamsOf = None,
    overwrite: Overwrite = False,
    as_json: evaluate_options.AsJson = False,
    csv: evaluate_options.Csv = None,
    quiet: Quiet = False,
) -> None:
    """Score FUSED against REFERENCE on their common ground, or against the images it was made from.

    Georeferenced rasters are compared where they overlap, bands by their wavelengths; pixels invalid in
    either, and bands marked bad, are left out. Without REFERENCE: spectral, spatial and SRF consistency.

    Examples:
    ```
    emrdiff evaluate fused.tif hr_hsi.tif --baseline lr_hsi.hdr
    emrdiff evaluate fused.tif hr_hsi.tif --json -q --fail-under psnr_db=40 --fail-over sam_deg=2
    emrdiff evaluate fused.tif hr_hsi.tif --report report/ --seams 256,64
    emrdiff evaluate fused.tif --lr-hsi lr_hsi.hdr --hr-msi hr_msi.tif
    emrdiff evaluate --lr-hsi lr_hsi.hdr --hr-msi hr_msi.tif --wald --method kriging
    emrdiff evaluate --manifest pairs.csv --csv scores.csv > scores.jsonl
    ```
    """
    mode = "manifest" if manifest is not None else "inputs" if reference is None else "pair"
    given: dict[str, object] = {
        "FUSED": fused,
        "REFERENCE": reference,
        "--baseline": baseline,
        "--lr-hsi": lr_hsi,
    }
    given |= {"--hr-msi": hr_msi, "--srf": srf, "--wald": wald, "--model": model, "--method": method}
    given |= {"--ratio": ratio, "--border": border, "--convention": convention}
    _refuse_unfit(mode, given | {"--report": report, "--seams": seams})
    _refuse_inputs(csv, report, (fused, reference, baseline, lr_hsi, hr_msi, manifest))
    chosen = _chosen_metrics(metrics)
    known = _known_scores(mode, fused is not None, wald, chosen)
    asked = _Asked(
        peak=peak,
        ratio=ratio,
        metrics=chosen,
        border=border,
        conventions=_chosen_conventions(convention or []),
        table=_table(csv, mode == "inputs" and fused is not None, wald),
        thresholds=_thresholds(fail_under, fail_over, known),
        as_json=as_json or mode == "manifest",
        quiet=quiet,
    )
    if manifest is not None:
        _evaluate_listed(manifest, asked)
    elif fused is not None and reference is not None:
        edges = _tile_edges(fused, report, hr_msi, seams, overwrite)
        closer = _CloserLookRequest(report, hr_msi, edges, overwrite, seams=seams is not None)
        _evaluate_pair(fused, reference, baseline, asked, closer)
    else:
        test = _Test(model, method, device) if wald else None
        _evaluate_inputs(fused, lr_hsi or Path(), hr_msi or Path(), srf, test, asked)


def _refuse_unfit(mode: str, given: Mapping[str, object]) -> None:
    """Raise UsageError for options that say nothing in this mode, and inputs that are missing."""
    unfit = [name for name in _UNFIT[mode] if given[name]]
    if unfit and not (mode == "inputs" and not given["--lr-hsi"]):
        raise UsageError(f"{', '.join(unfit)}: not for {_HINTS[mode]}")
    if mode != "inputs":
        return
    if not (given["--lr-hsi"] and given["--hr-msi"] and (given["FUSED"] or given["--wald"])):
        raise UsageError(
            "nothing to score against: give FUSED and REFERENCE, or FUSED (or --wald) with --lr-hsi and "
            "--hr-msi, or --manifest"
        )
    if given["--wald"] and bool(given["--model"]) == bool(given["--method"]):
        raise UsageError("--wald needs to know what fuses: give either --model or --method")
    if not given["--wald"] and (given["--model"] or given["--method"]):
        raise UsageError("--model and --method are for Wald's test: give --wald too")


def _refuse_inputs(csv: Path | None, report: Path | None, inputs: Iterable[Path | None]) -> None:
    """Raise UsageError where the table or the report would go into a file that is read."""
    from emrdiff_cli.raster.files import refuse_inputs_as_outputs
    from emrdiff_cli.report.page import REPORT

    written = [*([] if csv is None else [csv]), *([] if report is None else [report / REPORT])]
    if written:
        refuse_inputs_as_outputs(written, [path for path in inputs if path is not None])


def _chosen_metrics(text: str) -> tuple[str, ...]:
    from emrdiff_cli.evaluation.full_reference import chosen_metrics

    return chosen_metrics(text)


def _chosen_conventions(names: list[str]) -> tuple[Convention, ...]:
    from emrdiff_cli.core.metrics.conventions import CONVENTIONS

    unknown = [name for name in names if name not in CONVENTIONS]
    if unknown:
        raise UsageError(f"--convention {unknown[0]}: give one of {', '.join(CONVENTIONS)}")
    return tuple(convention for convention in CONVENTIONS if convention in names)


def _known_scores(mode: str, fused: bool, wald: bool, chosen: tuple[str, ...]) -> dict[str, Metric]:
    """Metrics that a threshold may name, by their keys."""
    from emrdiff_cli.core.metrics.full_reference import METRICS

    full: dict[str, Metric] = {key: METRICS[key] for key in chosen}
    if mode != "inputs":
        return full
    from emrdiff_cli.core.metrics import consistency_metrics

    return {**(consistency_metrics.METRICS if fused else {}), **(full if wald else {})}


def _thresholds(
    under: list[str] | None, over: list[str] | None, known: Mapping[str, Metric]
) -> tuple[Threshold, ...]:
    from emrdiff_cli.evaluation.thresholds import read_thresholds

    return tuple(read_thresholds(under or (), over or (), known))


def _table(path: Path | None, consistency: bool, wald: bool) -> ScoreTable | None:
    from emrdiff_cli.evaluation.score_table import ScoreTable

    if path is None:
        return None
    if consistency and wald:
        raise UsageError("--csv takes one kind of rows: give --wald without FUSED, or FUSED without --wald")
    columns = score_output.consistency_columns if consistency else score_output.score_columns
    return ScoreTable(path, columns())


def _evaluate_pair(
    fused: Path,
    reference: Path,
    baseline: Path | None,
    asked: _Asked,
    closer: _CloserLookRequest,
) -> None:
    """Score one raster and print it; raises ThresholdError after that."""
    from emrdiff_cli.evaluation import full_reference as evaluation
    from emrdiff_cli.evaluation.thresholds import hold_to

    with progress("evaluate", asked.quiet) as shown:
        result = evaluation.evaluate(
            fused,
            reference,
            baseline=baseline,
            peak=asked.peak,
            ratio=asked.ratio,
            metrics=asked.metrics,
            border=asked.border,
            hashes=asked.as_json or asked.table is not None,
            report=shown,
        )
    measured = _look_closer(result, closer, asked.quiet)
    if asked.table is not None:
        asked.table.append(score_output.score_rows(result))
    if asked.as_json:
        found: dict[str, object] = {} if measured is None else {"seams": measured._asdict()}
        found |= score_output.convention_records(result.scores, asked.conventions)
        _print_json(result.record() | found)
    else:
        score_output.print_scores(result, conventions=asked.conventions)
        if measured is not None:
            ratio = score_output.figure(measured.ratio)
            typer.echo(f"seams {ratio} (error steps at tile edges / elsewhere, 1: none)")
    _print_notes(result.all_notes(), asked.quiet)
    hold_to(asked.thresholds, result.scores.overall)


def _evaluate_inputs(
    fused: Path | None,
    lr_hsi: Path,
    hr_msi: Path,
    srf: str | None,
    test: _Test | None,
    asked: _Asked,
) -> None:
    """Hold a raster against its inputs, put a method to Wald's test on them, or both."""
    from emrdiff_cli.evaluation.no_reference import check_consistency
    from emrdiff_cli.evaluation.thresholds import hold_to

    hashes = asked.as_json or asked.table is not None
    scores: dict[str, float | None] = {}
    record: dict[str, object] = {}
    notes: list[str] = []
    if fused is not None:
        with progress("evaluate", asked.quiet) as shown:
            found = check_consistency(fused, lr_hsi, hr_msi, srf=srf, hashes=hashes, report=shown)
        scores, record, notes = dict(found.overall), found.record(), list(found.notes)
        if asked.table is not None:
            asked.table.append([score_output.consistency_row(found)])
        if not asked.as_json:
            score_output.print_consistency(found)
    if test is not None:
        tested = _wald_test(lr_hsi, hr_msi, test, asked)
        scores |= tested.evaluation.scores.overall
        inputs = {"lr_hsi": str(lr_hsi), "hr_msi": str(hr_msi)}
        record = record | {"wald": tested.record()} if record else inputs | tested.record()
        notes += [f"Wald's test: {note}" for note in tested.evaluation.all_notes()]
        if asked.table is not None:
            asked.table.append(score_output.score_rows(tested.evaluation, f"wald {tested.method}"))
        if not asked.as_json:
            score_output.print_wald(tested)
    if asked.as_json:
        _print_json(record)
    _print_notes(notes, asked.quiet)
    hold_to(asked.thresholds, scores)


def _wald_test(lr_hsi: Path, hr_msi: Path, test: _Test, asked: _Asked) -> WaldTest:
    from emrdiff_cli.evaluation.reduced_resolution import wald_test

    sampler = None
    if test.model is not None:
        from emrdiff_cli.checkpoint import load_model
        from emrdiff_cli.fusion.sampler import ModelSampler, choose_device
        from emrdiff_cli.zoo import WEIGHTS, find

        sampler = ModelSampler(load_model(find(test.model).folder / WEIGHTS), choose_device(test.device))
    with progress("Wald's test", asked.quiet) as shown:
        return wald_test(
            lr_hsi,
            hr_msi,
            test.method or "bicubic",
            sampler,
            name=test.model,
            peak=asked.peak,
            metrics=asked.metrics,
            hashes=asked.as_json or asked.table is not None,
            report=shown,
        )


def _evaluate_listed(manifest: Path, asked: _Asked) -> None:
    """Score every pair of a list; one that fails stops no other, and the first failure is the exit code."""
    from emrdiff_cli.runtime.manifest import read_manifest

    failures: list[EmrdiffError] = []
    for pair in read_manifest(manifest):
        try:
            _evaluate_pair(pair.fused, pair.reference, pair.baseline, asked, _CloserLookRequest())
        except EmrdiffError as error:
            failures.append(error)
            typer.echo(f"Error: {pair.fused}: {error}", err=True)
            if not isinstance(error, ThresholdError):
                names = {"fused": str(pair.fused), "reference": str(pair.reference)}
                _print_json(names | {"error": str(error), "exit_code": error.exit_code})
    if failures:
        # A raster that could not be scored says more than one that scored too low.
        failures.sort(key=lambda error: isinstance(error, ThresholdError))
        raise typer.Exit(failures[0].exit_code)


def _print_json(record: Mapping[str, object]) -> None:
    typer.echo(json.dumps(record, allow_nan=False))


def _print_notes(notes: list[str], quiet: bool) -> None:
    for note in () if quiet else notes:
        typer.echo(f"Note: {note}", err=True)


def _tile_edges(
    fused: Path, folder: Path | None, msi: Path | None, seams: str | None, overwrite: bool
) -> TileEdges | None:
    """The tile edges asked for or, for a report, recorded; what cannot be done is refused before any work."""
    if msi is not None and folder is None:
        raise UsageError("--hr-msi is shown in the report: give --report DIR too")
    if seams is None and folder is None:
        return None
    from emrdiff_cli.raster.reading import read_info
    from emrdiff_cli.report.page import check_report
    from emrdiff_cli.tiles.edges import parse_edges, recorded_edges

    if folder is not None:
        check_report(folder, overwrite)
    info = read_info(fused)
    return recorded_edges(info) if seams is None else parse_edges(seams, info)


def _look_closer(result: Evaluation, closer: _CloserLookRequest, quiet: bool) -> Seams | None:
    """A second pass over the rasters where the seams or a report are asked for; gives the seams asked for."""
    if closer.folder is None and closer.edges is None:
        return None
    from emrdiff_cli.evaluation.page import survey_errors, write_evaluation_report

    with progress("look closer", quiet) as shown:
        errors = survey_errors(result, shown)
    if closer.folder is not None:
        page = write_evaluation_report(
            result, errors, closer.folder, msi=closer.msi, edges=closer.edges, overwrite=closer.overwrite
        )
        if not quiet:
            typer.echo(f"{page}: written", err=True)
    return errors.seams(closer.edges) if closer.seams and closer.edges is not None else None
