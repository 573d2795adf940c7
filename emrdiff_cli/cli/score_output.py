"""Scores as text: tables on a terminal, rows of a CSV, objects of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emrdiff_cli.core.metrics.conventions import Convention
    from emrdiff_cli.core.metrics.cube import Scores
    from emrdiff_cli.core.metrics.metric import Metric
    from emrdiff_cli.evaluation.full_reference import Evaluation
    from emrdiff_cli.evaluation.no_reference import Consistency
    from emrdiff_cli.evaluation.reduced_resolution import WaldTest


def score_columns() -> tuple[str, ...]:
    """Columns of a CSV of full-reference scores."""
    from emrdiff_cli.core.metrics.cube import KEYS

    return (
        *("method", "raster", "reference", *KEYS, "peak", "ratio", "bands", "valid_pixels", "dropped_pixels"),
        *("border_px", "raster_sha256", "reference_sha256", "version"),
    )


def consistency_columns() -> tuple[str, ...]:
    """Columns of a CSV of the consistency with the inputs."""
    from emrdiff_cli.core.metrics.consistency_metrics import KEYS

    return (
        *("fused", "lr_hsi", "hr_msi", *KEYS, "ratio", "srf", "bands", "lr_pixels", "hr_pixels"),
        *("fused_sha256", "lr_hsi_sha256", "hr_msi_sha256", "version"),
    )


def _texts(metric: Metric, values: Sequence[float | None]) -> list[str]:
    """Values of a metric as a terminal shows them."""
    return metric.texts(values, none="-", infinite="inf")


def figure(value: float | None) -> str:
    """Six significant digits; infinity for identical data, a dash where undefined."""
    return "-" if value is None else f"{value:#.6g}"


def print_scores(result: Evaluation, name: str = "fused", conventions: Sequence[Convention] = ()) -> None:
    """Print the scores as a table, the convention they follow, and other papers' figures beside them."""
    from emrdiff_cli.core.metrics.conventions import figures
    from emrdiff_cli.core.metrics.full_reference import METRICS

    columns = _columns(result, name)
    rows = [
        (
            METRICS[key].name,
            METRICS[key].unit,
            *_texts(METRICS[key], [s.overall[key] for s in columns.values()]),
        )
        for key in result.scores.overall
    ]
    _print_table(("metric", "unit", *columns), rows)
    _print_line(_convention(result))
    for convention in conventions:
        others = figures(convention, result.scores)
        rows = [(f.key, figure(f.value), figure(result.scores.overall.get(f.key)), f.differs) for f in others]
        _print_table((f"by {convention}", "theirs", "ours", "what differs"), rows)


def print_consistency(result: Consistency) -> None:
    """Print how a fused raster agrees with its inputs."""
    from emrdiff_cli.core.metrics.consistency_metrics import METRICS

    rows = [(m.name, m.unit, *_texts(m, [result.overall[key]])) for key, m in METRICS.items()]
    by_band = _texts(METRICS["d_sr_mean"], result.d_sr)
    rows += [(f"spatial: D_sR of MSI band {i}", "", text) for i, text in enumerate(by_band, 1)]
    _print_table(("consistency", "unit", "fused"), rows)
    rows_px, cols_px = result.psf_sigma_px
    _print_line(
        f"ratio {result.ratio:.6g}, PSF of sigma {rows_px:.6g} x {cols_px:.6g} px, SRF: {result.srf}, "
        f"{len(result.bands)} bands, {result.lr_pixels} LR pixels, {result.hr_pixels} HR pixels"
    )


def print_wald(result: WaldTest) -> None:
    """Print the scores of Wald's test."""
    print_scores(result.evaluation, f"Wald: {result.method}")


def convention_records(scores: Scores, conventions: Sequence[Convention]) -> dict[str, object]:
    """Other papers' figures for JSON, by convention; nothing where none is asked for."""
    from emrdiff_cli.core.metrics.conventions import figures
    from emrdiff_cli.evaluation.full_reference import plain

    if not conventions:
        return {}
    found = {
        name: [{"key": f.key, "value": plain(f.value), "differs": f.differs} for f in figures(name, scores)]
        for name in conventions
    }
    return {"conventions": found}


def score_rows(result: Evaluation, method: str = "fused") -> list[list[object]]:
    """Rows of `score_columns` in full precision.

    Empty where undefined or not asked for, `inf` for identical data.
    """
    from emrdiff_cli.core.metrics.cube import KEYS
    from emrdiff_cli.version import __version__

    rows: list[list[object]] = []
    for name, scores in _columns(result, method).items():
        own = name == method
        figures = [scores.overall.get(key) for key in KEYS]
        counts = [len(scores.bands), scores.valid_pixels, scores.dropped_pixels, result.border_px]
        role = "fused" if own else "baseline" if name == "bicubic" else ""
        hashes = [result.sha256.get(role), result.sha256.get("reference")]
        raster = result.fused if own else result.baseline_path if name == "bicubic" else ""
        shared = [scores.peak, scores.ratio, *counts, *hashes, __version__]
        rows.append([name, raster, result.reference, *figures, *shared])
    return rows


def consistency_row(result: Consistency) -> list[object]:
    """A row of `consistency_columns`."""
    from emrdiff_cli.core.metrics.consistency_metrics import KEYS
    from emrdiff_cli.version import __version__

    figures = [result.overall[key] for key in KEYS]
    counts = [result.ratio, result.srf, len(result.bands), result.lr_pixels, result.hr_pixels]
    hashes = [result.sha256.get(role) for role in ("fused", "lr_hsi", "hr_msi")]
    return [result.fused, result.lr_hsi, result.hr_msi, *figures, *counts, *hashes, __version__]


def _columns(result: Evaluation, name: str) -> Mapping[str, Scores]:
    return {name if key == "fused" else key: scores for key, scores in result.columns().items()}


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for index, heading in enumerate(headings):
        figures = heading not in ("metric", "unit", "consistency", "what differs") and index > 0
        table.add_column(heading, justify="right" if figures else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_line(text: str) -> None:
    from rich.console import Console

    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _convention(result: Evaluation) -> str:
    scores = result.scores
    ratio = "unknown" if scores.ratio is None else f"{scores.ratio:.6g} ({result.ratio_source})"
    border = f", border {result.border_px}" if result.border_px else ""
    return (
        f"peak {scores.peak:.6g} ({result.peak_source}), ratio {ratio}, {len(scores.bands)} bands, "
        f"{scores.valid_pixels} valid pixels, {scores.dropped_pixels} dropped{border}"
    )
