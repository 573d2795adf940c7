"""`emrdiff evaluate --manifest`: a line of JSON a scene on stdout, errors and means on stderr, a page on all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emrdiff_cli.cli.progress import progress
from emrdiff_cli.cli.scoring import Scoring, evaluated, print_json, show
from emrdiff_cli.errors import ThresholdError, failure_of

if TYPE_CHECKING:
    from emrdiff_cli.evaluation.full_reference import Evaluation
    from emrdiff_cli.evaluation.scenes_page import ScenesPage
    from emrdiff_cli.runtime.manifest import Listed

_MEMORY = "give --metrics cheap, or score the scene on another machine"


def score_listed(manifest: Path, scoring: Scoring, report: Path | None, overwrite: bool) -> None:
    """Score every pair of a list, and write a page on them where `report` asks for one.

    One that fails stops no other; the first failure is the exit code, one that missed a threshold comes last.
    """
    from emrdiff_cli.evaluation.scenes_page import ScenesPage
    from emrdiff_cli.report.page import check_report
    from emrdiff_cli.runtime.manifest import read_manifest

    pairs = read_manifest(manifest)
    if report is not None:
        check_report(report, overwrite)
    page = None if report is None else ScenesPage(manifest, len(pairs))
    results: list[Evaluation] = []
    codes = [_score_listed(pair, scoring, page, results) for pair in pairs]
    if page is not None and report is not None:
        written = page.write(report, overwrite)
        if not scoring.quiet:
            typer.echo(f"{written}: written", err=True)
    if not scoring.quiet:
        _summarise(results, len(pairs))
    failed = [code for code in codes if code]
    if failed:
        # A raster that could not be scored says more than one that scored too low.
        failed.sort(key=lambda code: code == ThresholdError.exit_code)
        raise typer.Exit(failed[0])


def _score_listed(pair: Listed, scoring: Scoring, page: ScenesPage | None, results: list[Evaluation]) -> int:
    """Score a pair of the list; its exit code."""
    from emrdiff_cli.evaluation.thresholds import hold_to

    try:
        result = evaluated(pair.fused, pair.reference, pair.baseline, pair.hr_msi, scoring)
        if page is not None:
            with progress("look closer", scoring.quiet) as shown:
                page.add(pair.name, pair.line, result, shown, msi=pair.hr_msi)
        show(result, scoring)
    except Exception as error:  # noqa: BLE001 (a fault of the program: of this scene alone, and said as such)
        said, code = failure_of(error, _MEMORY)
        typer.echo(f"Error: {pair.fused}: {said}", err=True)
        print_json(
            {"fused": str(pair.fused), "reference": str(pair.reference), "error": said, "exit_code": code}
        )
        if page is not None:
            page.add_failed(pair.name, pair.line, said, code)
        return code
    results.append(result)
    try:
        hold_to(scoring.thresholds, result.scores.overall)
    except ThresholdError as error:
        typer.echo(f"Error: {pair.fused}: {error}", err=True)
        return error.exit_code
    return 0


def _summarise(results: Sequence[Evaluation], every: int) -> None:
    """How many of the scenes were scored, and the means over them."""
    from emrdiff_cli.core.metrics.full_reference import METRICS
    from emrdiff_cli.evaluation.scene_means import mean_scores

    means = mean_scores([result.scores.overall for result in results])
    told = [f"{key} {METRICS[key].texts([value], none='-')[0]}" for key, value in means.items()]
    said = f"{len(results)} of {every} scenes scored"
    typer.echo(f"{said}; means: {', '.join(told)}" if told else said, err=True)
