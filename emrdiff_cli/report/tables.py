"""Tables of scores: figures one under the other, what each score says, its definition underneath."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from emrdiff_cli.core.metrics.metric import Metric

Values = Mapping[str, float | None]


def score_table(metrics: Sequence[Metric], columns: Mapping[str, Values], says: bool = True) -> str:
    """Scores by metric (rows) of what the columns name, the best of each row marked, and what each one `says`."""
    head = header(["score", *columns], says)
    body = "".join(
        _row(metric, [values.get(metric.key) for values in columns.values()], says) for metric in metrics
    )
    table = f'<table class="scores">{head}<tbody>{body}</tbody></table>'
    return wide(table, "Scores") + (definitions(metrics) if says else "")


def _row(metric: Metric, values: Sequence[float | None], says: bool) -> str:
    marks = ranked(metric, values) if len(values) > 1 else [""] * len(values)
    cells = "".join(
        cell(text, "best" if mark == "best" else "")
        for text, mark in zip(metric.texts(values), marks, strict=True)
    )
    last = f'<td class="says">{escape(metric.meaning)}</td>' if says else ""
    return f'<tr><th scope="row">{escape(metric.title)}</th>{cells}{last}</tr>'


def header(names: Iterable[str], says: bool = False) -> str:
    """The head of a table of scores; with `says` a last column for what each one says."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    last = '<th scope="col" class="says">what it says</th>' if says else ""
    return f"<thead><tr>{cells}{last}</tr></thead>"


def cell(text: str, mark: str = "") -> str:
    """A figure; `mark`: `best`, `worst` or nothing, told by colour, weight and slant."""
    return f'<td class="{mark}" title="{mark}">{escape(text)}</td>' if mark else f"<td>{escape(text)}</td>"


def ranked(metric: Metric, values: Sequence[float | None]) -> list[str]:
    """Which values are `best` and `worst` of those that are defined; nothing where all are alike."""
    known = [value for value in values if value is not None and value == value]
    if len(known) < 2 or min(known) == max(known):
        return [""] * len(values)
    best, worst = (max(known), min(known)) if metric.better == "higher" else (min(known), max(known))
    return ["best" if value == best else "worst" if value == worst else "" for value in values]


def definitions(metrics: Sequence[Metric]) -> str:
    """The metrics' formulas, folded away on a screen and open in print."""
    return _folded("Definitions", [(metric.title, metric.convention) for metric in metrics])


def meanings(metrics: Sequence[Metric]) -> str:
    """What each score says, and its formula, folded away on a screen and open in print."""
    told = [(metric.title, f"{metric.meaning} ({metric.convention})") for metric in metrics]
    return _folded("What the scores say", told)


def _folded(name: str, items: Iterable[tuple[str, str]]) -> str:
    listed = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in items)
    return f"<details><summary>{name}</summary><dl>{listed}</dl></details>"


def wide(table: str, name: str) -> str:
    """A table that may be wider than the page: it scrolls by itself, by keyboard too."""
    return (
        f'<div class="wide" role="region" aria-label="{escape(name, quote=True)}" tabindex="0">{table}</div>'
    )
