"""Use case: evaluations of several scenes -> one HTML page: their scores side by side, a section for each.

A scene is put into words and small pictures as soon as it is scored: neither rasters nor maps are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path

from emrdiff_cli.core.metrics.full_reference import METRICS, FullReferenceMetric
from emrdiff_cli.evaluation.comparison import Compared, Progress, open_compared
from emrdiff_cli.evaluation.error_charts import psnr_chart
from emrdiff_cli.evaluation.full_reference import Evaluation, plain
from emrdiff_cli.evaluation.scene_means import mean_scores
from emrdiff_cli.report import panels
from emrdiff_cli.report.page import anchors, figure, notes, page, row, write_report
from emrdiff_cli.report.tables import cell, header, meanings, ranked, score_table, wide

_PICTURE_BYTES = 3_500_000  # of all pictures together, at most,
_BYTES_A_PIXEL = 4  # in base 64, where nothing can be compressed,
_PICTURES = 3  # a scene
_LARGEST, _SMALLEST = 320, 24  # pixels along the longer side
_TABLE = "Scenes"

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class _Scene:
    """A row of the list: its name and either its evaluation with its section's body, or the error it ended in."""

    name: str
    line: int
    result: Evaluation | None = None
    body: str = ""
    error: str = ""
    exit_code: int = 0

    def record(self) -> dict[str, object]:
        """Its scores over all bands as plain values for JSON."""
        if self.result is None:
            return {"name": self.name, "line": self.line, "error": self.error, "exit_code": self.exit_code}
        found = self.result
        scores = {
            name: {key: plain(value) for key, value in each.overall.items()}
            for name, each in found.columns().items()
        }
        names = {"name": self.name, "line": self.line}
        files = {"fused": str(found.fused), "reference": str(found.reference)}
        return names | files | scores.pop("fused") | {"beside": scores, "notes": found.all_notes()}


class ScenesPage:
    """A page on the scenes of a list, of so many rows. Its pictures are the smaller the more there are."""

    def __init__(self, manifest: Path, count: int) -> None:
        self._manifest = manifest
        room = _PICTURE_BYTES / (_BYTES_A_PIXEL * _PICTURES * max(1, count))
        self._size = min(_LARGEST, math.floor(math.sqrt(room)))
        self._scenes: list[_Scene] = []

    def add(
        self,
        name: str,
        line: int,
        result: Evaluation,
        report: Progress = lambda done, total, note: None,
        msi: Path | None = None,
    ) -> None:
        """Add a scene that was scored, and the MSI's bands; goes over its rasters once more. Raises InputError."""
        with ExitStack() as stack:
            body = self._body(open_compared(result, msi, stack), report)
        self._scenes.append(_Scene(name, line, result, body))

    def add_failed(self, name: str, line: int, error: str, exit_code: int) -> None:
        """Add a scene that could not be scored, and why."""
        self._scenes.append(_Scene(name, line, error=error, exit_code=exit_code))

    def write(self, asked: Path, overwrite: bool = False) -> Path:
        """Write the page where `--report` asks for it. Raises OutputExistsError, WriteError."""
        scored = [scene.result.scores.overall for scene in self._scenes if scene.result is not None]
        data = {
            "manifest": str(self._manifest),
            "scenes": [scene.record() for scene in self._scenes],
            "mean": {key: plain(value) for key, value in mean_scores(scored).items()},
        }
        title = f"Evaluation of {len(self._scenes)} scenes"
        lead = f"Listed in {self._manifest}"
        return write_report(asked, page(title, lead, self._sections(), data), overwrite)

    def _sections(self) -> list[tuple[str, str]]:
        scored = [scene for scene in self._scenes if scene.result is not None]
        first = next((key for scene in scored if scene.result for key in scene.result.scores.overall), None)
        ordered = scored if first is None else sorted(scored, key=lambda scene: _rank(scene, METRICS[first]))
        names = anchors([_TABLE, *(scene.name for scene in ordered)])[1:]
        failed = [scene for scene in self._scenes if scene.result is None]
        table = _table(list(zip(ordered, names, strict=True)), failed)
        said = (
            []
            if first is None or len(ordered) < 2
            else [f"Ordered by {METRICS[first].name}, the best first."]
        )
        return [(_TABLE, table + notes(said)), *((scene.name, scene.body) for scene in ordered)]

    def _body(self, compared: Compared, report: Progress) -> str:
        result = compared.result
        files = notes([f"{result.fused} compared with {result.reference}"])
        metrics = [METRICS[key] for key in result.scores.overall]
        columns = {name: scores.overall for name, scores in result.columns().items()}
        scores = score_table(metrics, columns, says=False)
        chart = psnr_chart(compared, 560, 260)
        return files + self._pictures(compared, report) + row([scores, chart], 2) + notes(result.all_notes())

    def _pictures(self, compared: Compared, report: Progress) -> str:
        if self._size < _SMALLEST:
            return ""
        reference = compared.reference
        grid = reference.reader.info.grid.crop(reference.area)
        shown = [
            panels.Shown("Fused", compared.fused.reader),
            panels.Shown("Reference", reference.reader),
        ]
        rmse = compared.survey(report, self._size).rmse
        drawn = figure(panels.error_map(rmse, grid, "RMSE (data units)"), "over the bands of a pixel", "RMSE")
        return row([*panels.true_colour(shown, grid, self._size), drawn], 4)


def _rank(scene: _Scene, metric: FullReferenceMetric) -> float:
    """The place of a scene in the order of a score: the best first, those without it last."""
    value = None if scene.result is None else scene.result.scores.overall.get(metric.key)
    if value is None or math.isnan(value):
        return math.inf
    return -value if metric.better == "higher" else value


def _table(ordered: Sequence[tuple[_Scene, str]], failed: Sequence[_Scene]) -> str:
    """Scores of the scenes (rows), the best and the worst of each marked, and the means underneath."""
    results = [scene.result for scene, _ in ordered if scene.result is not None]
    found = {key for result in results for key in result.scores.overall}
    metrics = [metric for key, metric in METRICS.items() if key in found]
    above = [result.scores.overall for result in results]
    below = list(_means(results))
    columns = [_column(metric, above, [values for _, values in below]) for metric in metrics]
    rows = [
        _row(f'<a href="#{anchor}">{escape(scene.name)}</a>', [column[i] for column in columns])
        for i, (scene, anchor) in enumerate(ordered)
    ]
    rows += [_failed_row(scene, len(metrics)) for scene in failed]
    feet = [_row(escape(name), [c[len(ordered) + i] for c in columns]) for i, (name, _) in enumerate(below)]
    foot = f"<tfoot>{''.join(feet)}</tfoot>" if feet else ""
    head = header(["scene", *(metric.title for metric in metrics)])
    body = f'<table class="scores compared">{head}<tbody>{"".join(rows)}</tbody>{foot}</table>'
    said = (
        ["Of each score the best scene is bold on green, the worst slanted on orange."]
        if len(ordered) > 1
        else []
    )
    return (
        wide(body, "Scores of the scenes")
        + meanings(metrics)
        + notes([*said, *_partial(metrics, above), *_other_units(results)])
    )


def _means(results: Sequence[Evaluation]) -> Iterator[tuple[str, Values]]:
    """The mean scores of what was scored, by their names, and over how many scenes."""
    for name in dict.fromkeys(name for result in results for name in result.columns()):
        scores = [result.columns()[name].overall for result in results if name in result.columns()]
        yield f"{name}, mean of {len(scores)}", mean_scores(scores)


def _column(metric: FullReferenceMetric, above: Sequence[Values], below: Sequence[Values]) -> list[str]:
    """The cells of a score: the scenes' and the means', with the same decimals."""
    values = [each.get(metric.key) for each in above]
    marks = [*ranked(metric, values), *("" for _ in below)]
    texts = metric.texts([*values, *(each.get(metric.key) for each in below)])
    return [cell(text, mark) for text, mark in zip(texts, marks, strict=True)]


def _partial(metrics: Sequence[FullReferenceMetric], scores: Sequence[Values]) -> Iterator[str]:
    """What the means leave out."""
    for metric in metrics:
        known = [
            value for each in scores if (value := each.get(metric.key)) is not None and math.isfinite(value)
        ]
        if len(known) < len(scores):
            yield f"{metric.name}: the mean is of the {len(known)} scenes where it is defined and finite."


def _other_units(results: Sequence[Evaluation]) -> Iterator[str]:
    """What keeps scores from being compared between scenes."""
    peaks = dict.fromkeys(f"{result.scores.peak:.6g}" for result in results)
    if len(peaks) > 1:
        yield (
            f"The scenes' peaks differ ({', '.join(peaks)}): between these, RMSE does not compare, and PSNR and "
            "SSIM only as far as each peak is the scene's own."
        )


def _row(name: str, cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>'


def _failed_row(scene: _Scene, count: int) -> str:
    told = f'<td class="failed" colspan="{max(1, count)}">not scored: {escape(scene.error)}</td>'
    return _row(escape(scene.name), [told])
