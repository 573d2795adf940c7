"""`emrdiff evaluate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrdiff_cli.cli import evaluate_options, score_output
from emrdiff_cli.cli.options import (
    Device,
    Mask,
    Overwrite,
    PsfFwhm,
    Quiet,
    Registration,
    Shift,
    asked_geometry,
    asked_mask,
)
from emrdiff_cli.cli.score_listed import score_listed
from emrdiff_cli.cli.scoring import (
    CloserLookRequest,
    Scoring,
    TestedFusion,
    score_inputs,
    score_pair,
)
from emrdiff_cli.errors import UsageError

if TYPE_CHECKING:
    from emrdiff_cli.core.metrics.conventions import Convention
    from emrdiff_cli.core.metrics.metric import Metric
    from emrdiff_cli.evaluation.score_table import ScoreTable
    from emrdiff_cli.evaluation.thresholds import Threshold
    from emrdiff_cli.tiles.edges import TileEdges

_OF_WALD = ("--model", "--method", "--register", "--shift", "--psf-fwhm")
_UNFIT = {
    "pair": ("--lr-hsi", "--srf", "--evidence", "--wald", *_OF_WALD),
    "inputs": ("--baseline", "--ratio", "--border", "--align", "--convention", "--seams"),
    "manifest": (
        *("FUSED", "REFERENCE", "--baseline", "--lr-hsi", "--hr-msi", "--srf", "--evidence"),
        *("--wald", *_OF_WALD, "--seams"),
    ),
}
_HINTS = {
    "pair": "a raster with REFERENCE: leave REFERENCE out to hold it against its inputs",
    "inputs": "evaluation without REFERENCE: name a REFERENCE",
    "manifest": "--manifest, which names the rasters",
}


def evaluate(
    fused: evaluate_options.Fused = None,
    reference: evaluate_options.Reference = None,
    baseline: evaluate_options.Baseline = None,
    lr_hsi: evaluate_options.LrHsi = None,
    hr_msi: evaluate_options.HrMsi = None,
    srf: evaluate_options.Srf = None,
    evidence: evaluate_options.Evidence = False,
    wald: evaluate_options.Wald = False,
    model: evaluate_options.Model = None,
    method: evaluate_options.Method = None,
    register: Registration = "auto",
    shift: Shift = None,
    psf_fwhm: PsfFwhm = None,
    mask: Mask = None,
    device: Device = "auto",
    manifest: evaluate_options.Manifest = None,
    metrics: evaluate_options.Metrics = "all",
    border: evaluate_options.Border = 0,
    align: evaluate_options.Align = False,
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
    emrdiff evaluate fused.tif hr_hsi.tif --baseline lr_hsi.hdr --hr-msi hr_msi.tif
    emrdiff evaluate fused.tif hr_hsi.tif --align
    emrdiff evaluate fused.tif enmap/ --mask cloud,shadow
    emrdiff evaluate fused.tif --lr-hsi lr_hsi.hdr --hr-msi hr_msi.tif
    emrdiff evaluate fused.tif --lr-hsi lr_hsi.hdr --hr-msi hr_msi.tif --evidence
    emrdiff evaluate --lr-hsi lr_hsi.hdr --hr-msi hr_msi.tif --wald --method kriging
    emrdiff evaluate --manifest pairs.csv --csv scores.csv > scores.jsonl
    emrdiff evaluate --manifest pairs.csv --report scenes.html > scores.jsonl
    ```
    """
    given = dict(locals())
    mode = "manifest" if manifest is not None else "inputs" if reference is None else "pair"
    _refuse_unfit(
        mode, {_flag(name): value for name, value in given.items()} | {"--register": register != "auto"}
    )
    _refuse_inputs(csv, report, (fused, reference, baseline, lr_hsi, hr_msi, manifest))
    scoring = _scoring(mode, given)
    if manifest is not None:
        score_listed(manifest, scoring, report, overwrite)
    elif fused is not None and reference is not None:
        if hr_msi is not None and report is None and baseline is None:
            raise UsageError(
                "--hr-msi is shown in the report, and fused with the LR-HSI of --baseline: give either one too"
            )
        edges = _tile_edges(fused, report, seams, overwrite)
        closer = CloserLookRequest(report, hr_msi, edges, overwrite, seams=seams is not None)
        score_pair(fused, reference, baseline, scoring, closer)
    else:
        geometry = asked_geometry(register, shift, psf_fwhm)
        test = TestedFusion(model, method, device, geometry) if wald else None
        _check_page(fused, report, overwrite)
        if evidence and fused is None:
            raise UsageError("--evidence: is on a raster and its pair: give FUSED too")
        page = CloserLookRequest(report, overwrite=overwrite, evidence=evidence)
        score_inputs(fused, lr_hsi or Path(), hr_msi or Path(), srf, test, scoring, page)


def _check_page(fused: Path | None, folder: Path | None, overwrite: bool) -> None:
    """Refuse a page that cannot be written, before any work."""
    if folder is None:
        return
    if fused is None:
        raise UsageError("--report: is on a raster: give FUSED too")
    from emrdiff_cli.report.page import check_report

    check_report(folder, overwrite)


def _flag(name: str) -> str:
    """A parameter's name as the command line has it."""
    return name.upper() if name in ("fused", "reference") else f"--{name.replace('_', '-')}"


def _scoring(mode: str, given: Mapping[str, Any]) -> Scoring:
    """The options among the command's parameters that hold for every pair. Raises UsageError."""
    fused, wald = given["fused"] is not None, given["wald"]
    chosen = _chosen_metrics(given["metrics"])
    known = _known_scores(mode, fused, wald, chosen)
    return Scoring(
        peak=given["peak"],
        ratio=given["ratio"],
        metrics=chosen,
        border=given["border"],
        align=given["align"],
        mask=asked_mask(given["mask"]),
        conventions=_chosen_conventions(given["convention"] or []),
        table=_table(given["csv"], mode == "inputs" and fused, wald),
        thresholds=_thresholds(given["fail_under"], given["fail_over"], known),
        as_json=given["as_json"] or mode == "manifest",
        quiet=given["quiet"],
    )


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
    if given["--mask"] and not given["--wald"]:
        raise UsageError("--mask: FUSED records what was masked, which is masked again: leave the option out")
    if given["--wald"] and bool(given["--model"]) == bool(given["--method"]):
        raise UsageError("--wald needs to know what fuses: give either --model or --method")
    if not given["--wald"] and any(given[name] for name in _OF_WALD):
        raise UsageError(f"{', '.join(_OF_WALD)}: are for Wald's test: give --wald too")


def _refuse_inputs(csv: Path | None, report: Path | None, inputs: Iterable[Path | None]) -> None:
    """Raise UsageError where the table or the report would go into a file that is read."""
    from emrdiff_cli.raster.files import refuse_inputs_as_outputs
    from emrdiff_cli.report.page import report_file

    written = [*([] if csv is None else [csv]), *([] if report is None else [report_file(report)])]
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


def _tile_edges(fused: Path, folder: Path | None, seams: str | None, overwrite: bool) -> TileEdges | None:
    """The tile edges asked for or, for a report, recorded; what cannot be done is refused before any work."""
    if seams is None and folder is None:
        return None
    from emrdiff_cli.raster.reading import read_info
    from emrdiff_cli.report.page import check_report
    from emrdiff_cli.tiles.edges import parse_edges, recorded_edges

    if folder is not None:
        check_report(folder, overwrite)
    info = read_info(fused)
    return recorded_edges(info) if seams is None else parse_edges(seams, info)
