"""Scores worked out and shown as a command was asked to: of a pair, of its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emrdiff_cli.cli import score_output
from emrdiff_cli.cli.evidence_table import print_evidence
from emrdiff_cli.cli.progress import progress

if TYPE_CHECKING:
    from emrdiff_cli.core.metrics.conventions import Convention
    from emrdiff_cli.core.metrics.error_survey import Seams
    from emrdiff_cli.evaluation.full_reference import Evaluation
    from emrdiff_cli.evaluation.no_reference import Consistency
    from emrdiff_cli.evaluation.pair_evidence import PairEvidence
    from emrdiff_cli.evaluation.reduced_resolution import WaldTest
    from emrdiff_cli.evaluation.score_table import ScoreTable
    from emrdiff_cli.evaluation.thresholds import Threshold
    from emrdiff_cli.methods import EndPoint
    from emrdiff_cli.pair.modes import AskedGeometry
    from emrdiff_cli.products.mask_classes import AskedMask
    from emrdiff_cli.tiles.edges import TileEdges


@dataclass(frozen=True)
class Scoring:
    """Options that hold for every pair: how it is scored and where the scores go."""

    peak: float | None
    ratio: float | None
    metrics: tuple[str, ...]
    border: int
    align: bool
    mask: AskedMask
    conventions: tuple[Convention, ...]
    table: ScoreTable | None
    thresholds: tuple[Threshold, ...]
    as_json: bool
    quiet: bool


@dataclass(frozen=True)
class TestedFusion:
    """Means of fusion in Wald's test: a model, or a method where that is None."""

    model: str | None
    method: EndPoint | None
    device: str
    geometry: AskedGeometry


@dataclass(frozen=True)
class CloserLookRequest:
    """Request for a second pass: a report in `folder`, with the MSI, seams at tile edges, the pair's evidence."""

    folder: Path | None = None
    msi: Path | None = None
    edges: TileEdges | None = None
    overwrite: bool = False
    seams: bool = False
    evidence: bool = False


def score_pair(
    fused: Path,
    reference: Path,
    baseline: Path | None,
    scoring: Scoring,
    closer: CloserLookRequest,
) -> None:
    """Score one raster and print it; raises ThresholdError after that."""
    from emrdiff_cli.evaluation.thresholds import hold_to

    result = evaluated(fused, reference, baseline, closer.msi, scoring)
    show(result, scoring, _look_closer(result, closer, scoring.quiet))
    hold_to(scoring.thresholds, result.scores.overall)


def evaluated(
    fused: Path, reference: Path, baseline: Path | None, msi: Path | None, scoring: Scoring
) -> Evaluation:
    """Score one raster as the options ask; with both the LR-HSI and the MSI kriging beside it."""
    from emrdiff_cli.evaluation.full_reference import evaluate
    from emrdiff_cli.evaluation.kriged_beside import with_kriging

    with progress("evaluate", scoring.quiet) as shown:
        result = evaluate(
            fused,
            reference,
            baseline=baseline,
            peak=scoring.peak,
            ratio=scoring.ratio,
            metrics=scoring.metrics,
            border=scoring.border,
            align=scoring.align,
            mask=scoring.mask,
            hashes=scoring.as_json or scoring.table is not None,
            report=shown,
        )
    if baseline is None or msi is None:
        return result
    with progress("kriging", scoring.quiet) as shown:
        return with_kriging(result, baseline, msi, metrics=scoring.metrics, report=shown)


def show(result: Evaluation, scoring: Scoring, measured: Seams | None = None) -> None:
    """Print the scores, and the seams where they were measured, and append them to the table."""
    if scoring.table is not None:
        scoring.table.append(score_output.score_rows(result))
    if scoring.as_json:
        found: dict[str, object] = {} if measured is None else {"seams": measured._asdict()}
        found |= score_output.convention_records(result.scores, scoring.conventions)
        print_json(result.record() | found)
    else:
        score_output.print_scores(result, conventions=scoring.conventions)
        if measured is not None:
            ratio = score_output.figure(measured.ratio)
            typer.echo(f"seams {ratio} (error steps at tile edges / elsewhere, 1: none)")
    _print_notes(result.all_notes(), scoring.quiet)


def score_inputs(
    fused: Path | None,
    lr_hsi: Path,
    hr_msi: Path,
    srf: str | None,
    test: TestedFusion | None,
    scoring: Scoring,
    closer: CloserLookRequest,
) -> None:
    """Hold a raster against its inputs, put a method to Wald's test on them, or both."""
    from emrdiff_cli.evaluation.thresholds import hold_to

    scores: dict[str, float | None] = {}
    record: dict[str, object] = {}
    notes: list[str] = []
    if fused is not None:
        found, gathered = _hold_against_inputs((fused, lr_hsi, hr_msi), srf, scoring, closer)
        scores, record, notes = dict(found.overall), found.record(), list(found.notes)
        if gathered is not None:
            notes.insert(0, gathered.sentence)
    if test is not None:
        tested = _wald_test(lr_hsi, hr_msi, test, scoring)
        scores |= tested.evaluation.scores.overall
        inputs = {"lr_hsi": str(lr_hsi), "hr_msi": str(hr_msi)}
        record = record | {"wald": tested.record()} if record else inputs | tested.record()
        notes += [f"Wald's test: {note}" for note in tested.evaluation.all_notes()]
        if scoring.table is not None:
            scoring.table.append(score_output.score_rows(tested.evaluation, f"wald {tested.method}"))
        if not scoring.as_json:
            score_output.print_wald(tested)
    if scoring.as_json:
        print_json(record)
    _print_notes(notes, scoring.quiet)
    hold_to(scoring.thresholds, scores)


def _hold_against_inputs(
    files: tuple[Path, Path, Path], srf: str | None, scoring: Scoring, closer: CloserLookRequest
) -> tuple[Consistency, PairEvidence | None]:
    """Hold a raster against its LR-HSI and HR-MSI, and print, list and draw what was asked for."""
    from emrdiff_cli.evaluation.no_reference import check_consistency

    hashes = scoring.as_json or scoring.table is not None
    with progress("evaluate", scoring.quiet) as shown:
        found = check_consistency(*files, srf=srf, hashes=hashes, report=shown)
    gathered = _evidence(found, srf, scoring) if closer.evidence else None
    if scoring.table is not None:
        scoring.table.append([score_output.consistency_row(found)])
    if not scoring.as_json:
        score_output.print_consistency(found)
        if gathered is not None:
            print_evidence(gathered.verdict, on_stderr=False)
    if closer.folder is not None:
        _write_pair_page(found, srf, gathered, closer, scoring.quiet)
    return replace(found, evidence=gathered), gathered


def _evidence(found: Consistency, srf: str | None, scoring: Scoring) -> PairEvidence:
    from emrdiff_cli.evaluation.pair_evidence import gather_evidence

    with progress("evidence", scoring.quiet) as shown:
        return gather_evidence(found.fused, found.lr_hsi, found.hr_msi, srf=srf, report=shown)


def _write_pair_page(
    found: Consistency,
    srf: str | None,
    gathered: PairEvidence | None,
    closer: CloserLookRequest,
    quiet: bool,
) -> None:
    from emrdiff_cli.evaluation.fusion_page import write_consistency_report

    if closer.folder is not None:
        page = write_consistency_report(
            found, closer.folder, srf=srf, evidence=gathered, overwrite=closer.overwrite
        )
        if not quiet:
            typer.echo(f"{page}: written", err=True)


def _wald_test(lr_hsi: Path, hr_msi: Path, test: TestedFusion, scoring: Scoring) -> WaldTest:
    from emrdiff_cli.evaluation.reduced_resolution import tested_sampler, wald_test

    sampler = None if test.model is None else tested_sampler(test.model, test.device)
    with progress("Wald's test", scoring.quiet) as shown:
        return wald_test(
            lr_hsi,
            hr_msi,
            test.method or "bicubic",
            sampler,
            name=test.model,
            geometry=test.geometry,
            mask=scoring.mask,
            peak=scoring.peak,
            metrics=scoring.metrics,
            hashes=scoring.as_json or scoring.table is not None,
            report=shown,
        )


def _look_closer(result: Evaluation, closer: CloserLookRequest, quiet: bool) -> Seams | None:
    """A second pass over the rasters where the seams or a report are asked for; gives the seams asked for."""
    if closer.folder is None and closer.edges is None:
        return None
    from emrdiff_cli.evaluation.comparison import survey_errors
    from emrdiff_cli.evaluation.page import write_evaluation_report

    with progress("look closer", quiet) as shown:
        errors = survey_errors(result, shown)
    if closer.folder is not None:
        page = write_evaluation_report(
            result, errors, closer.folder, msi=closer.msi, edges=closer.edges, overwrite=closer.overwrite
        )
        if not quiet:
            typer.echo(f"{page}: written", err=True)
    return errors.seams(closer.edges) if closer.seams and closer.edges is not None else None


def print_json(record: Mapping[str, object]) -> None:
    """Print an object on a line of its own."""
    typer.echo(json.dumps(record, allow_nan=False))


def _print_notes(notes: list[str], quiet: bool) -> None:
    for note in () if quiet else notes:
        typer.echo(f"Note: {note}", err=True)
