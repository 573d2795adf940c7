"""Use case: a fused raster and its inputs -> one HTML page: the verdict, where it agrees with them, spectra.

For a fusion that was just made, and for an evaluation without a reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from emrdiff_cli.core.metrics.consistency_metrics import METRICS
from emrdiff_cli.errors import InputError
from emrdiff_cli.evaluation import pair_sections
from emrdiff_cli.evaluation.no_reference import Consistency
from emrdiff_cli.evaluation.pair_evidence import PairEvidence
from emrdiff_cli.evaluation.pair_maps import survey_pair
from emrdiff_cli.evaluation.pair_spectra import SpectraSource, spectra
from emrdiff_cli.evaluation.pair_view import PairView, msi_response, opened_view
from emrdiff_cli.evaluation.placed_reader import PlacedReader
from emrdiff_cli.fusion.fusing import FusionReport
from emrdiff_cli.fusion.job import FusionJob
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.report import panels
from emrdiff_cli.report.page import notes, page, table, write_report
from emrdiff_cli.report.tables import score_table

Section = tuple[str, str]


def write_job_report(job: FusionJob, result: FusionReport) -> Path | None:
    """Write the page that a job asks for, and return its path; None where it asks for none.

    Raises OutputExistsError, WriteError, InputError.
    """
    asked = job.settings
    if asked.report is None:
        return None
    return write_fusion_report(
        result,
        job.lr_hsi,
        job.hr_msi,
        asked.report,
        srf=asked.srf,
        uncertainty=asked.uncertainty,
        overwrite=asked.overwrite,
    )


def write_fusion_report(
    result: FusionReport,
    lr_hsi: Path,
    hr_msi: Path,
    folder: Path,
    *,
    srf: str | None = None,
    uncertainty: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `report.html` into a folder, from the rasters of a finished fusion.

    The pair lies as the fused raster records it, its response is that of `srf` (`msi_response`); `uncertainty`: the
    raster of standard deviations. What cannot be shown on the fused raster's grid (another CRS, a rotated grid) is
    left out. Raises OutputExistsError, WriteError, InputError.
    """
    remarks = notes([*(f"Warning: {text}" for text in result.warnings), *result.notes])
    lead = f"{lr_hsi} and {hr_msi}, fused by {result.method}"
    with opened_view(Path(result.output), lr_hsi, hr_msi) as view:
        middle = _sections(view, srf, uncertainty, list(_impossible(result)))
        sections = [*middle[:1], ("Notes", remarks), *middle[1:], _provenance(view, _facts(result))]
        title = f"Fusion into {view.reader.info.path.name}"
        text = page(title, lead, sections, result.record())
    return write_report(folder, text, overwrite)


def write_consistency_report(
    result: Consistency,
    folder: Path,
    *,
    srf: str | None = None,
    evidence: PairEvidence | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `report.html` on a fused raster that was held against its inputs; raises as `write_fusion_report`.

    `evidence`: what the pair says of the methods; None: what the raster records of it.
    """
    with opened_view(result.fused, result.lr_hsi, result.hr_msi) as view:
        by_band = {b - 1: v for b, v in zip(result.bands, result.spectral_rmse_by_band, strict=True)}
        middle = _sections(view, srf, None, (), evidence, by_band)
        scores = ("Scores", _scores(result) + notes(result.notes))
        sections = [*middle[:1], scores, *middle[1:], _provenance(view, ())]
        lead = f"Held against {result.lr_hsi} and {result.hr_msi}"
        record = result.record() | ({} if evidence is None else evidence.record())
        text = page(f"Evaluation of {result.fused.name}", lead, sections, record)
    return write_report(folder, text, overwrite)


def _sections(
    view: PairView,
    srf: str | None,
    uncertainty: Path | None,
    facts: Sequence[tuple[str, object]],
    evidence: PairEvidence | None = None,
    by_band: Mapping[int, float | None] | None = None,
) -> list[Section]:
    """The verdict first, then what the rasters show; `by_band`: RMSE at LR by band of the LR-HSI, where known."""
    try:
        response, untold = msi_response(view, srf), ""
    except InputError as error:
        response, untold = None, notes([f"Not held against the HR-MSI: {error}"])
    maps = survey_pair(view, response)
    chart = "" if by_band is None else pair_sections.spectral_errors(view, by_band, maps.under)
    fused, lr = view.reader, PlacedReader(view)
    with ExitStack() as stack:
        msi = stack.enter_context(view.pair.reopened_msi())
        deviations: RasterReader | None = None
        if uncertainty is not None:
            deviations = stack.enter_context(open_raster(uncertainty))
        return [
            ("Verdict", pair_sections.verdict(fused, evidence)),
            ("Pictures", pair_sections.pictures(view, lr, msi)),
            ("Agreement with the inputs", pair_sections.agreement(view, maps) + chart + untold),
            ("Uncertainty", pair_sections.uncertainty(deviations, fused.info.grid)),
            ("Geometry", pair_sections.geometry(view, msi)),
            ("Spectra", spectra(SpectraSource(lr, fused, deviations, maps.under))),
            ("Values", pair_sections.values(maps, facts)),
        ]


def _facts(result: FusionReport) -> Iterator[tuple[str, object]]:
    """Figures of the fusion that no other section has."""
    yield "Ratio", f"{result.ratio:.6g}"
    if result.tiles:
        yield "Tiles", result.tiles
    yield "Valid pixels", f"{result.valid_share:.2%}"
    yield "LR pixels on changed ground", f"{result.changed_share:.2%}"
    yield "Clipped values", result.clipped_values
    yield "Time", f"{result.seconds:.1f} s"


def _scores(result: Consistency) -> str:
    return score_table(list(METRICS.values()), {"fused": result.overall})


def _impossible(result: FusionReport) -> Iterator[tuple[str, object]]:
    done = "were corrected" if result.physical else "were left (--no-physical)"
    yield "As they came out of the fusion", f"{result.impossible_share:.4%} impossible; they {done}"


def _provenance(view: PairView, facts: Iterable[tuple[str, object]]) -> Section:
    fused = view.reader.info
    rows = [
        panels.facts("Fused", fused),
        panels.facts("LR-HSI", view.pair.lr_info),
        panels.facts("HR-MSI", view.pair.msi_info),
        *facts,
        *((f"Recorded: {key}", value) for key, value in panels.recorded(fused, pair_sections.GEOMETRY_TAGS)),
    ]
    return "Provenance", table(rows)
