"""The report of a training: loss and validation over the iterations, and its configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from emrdiff_cli.report.charts import Chart, Line
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, page, table

_MOST_POINTS = 1000


def training_report(
    name: str,
    losses: Sequence[tuple[int, float]],
    steps_db: Sequence[tuple[int, Sequence[float]]],
    kept_db: float,
    end_point_db: float,
    tables: Mapping[str, Mapping[str, object]],
) -> str:
    """A page of curves: `losses` by iteration, `steps_db` the validation PSNR after each sampling step.

    `kept_db` is that of the weights that were kept, `end_point_db` the end point's own. The
    `tables` are shown as they are.
    """
    best = max(((curve[-1], iteration) for iteration, curve in steps_db), key=lambda found: found[0])
    validation = [
        _line("last step", [(i, curve[-1]) for i, curve in steps_db], LINE_COLOURS[1]),
        _line("first step", [(i, curve[0]) for i, curve in steps_db], LINE_COLOURS[2], "2 3"),
        _line("end point alone", [(i, end_point_db) for i, _ in steps_db], LINE_COLOURS[0], "6 4"),
    ]
    charts = [
        ("Validation", Chart("iteration", "PSNR (dB)", tuple(validation))),
        ("Loss", Chart("iteration", "running mean", (_line("loss", losses, LINE_COLOURS[0]),))),
    ]
    curves = "".join(figure(chart.svg(1000, 300), "", title) for title, chart in charts)
    said = (
        f"Best on what was held out: {best[0]:.2f} dB at iteration {best[1]}; as kept "
        f"{kept_db:.2f} dB; the end point alone {end_point_db:.2f} dB."
    )
    sections = [("Curves", notes([said]) + curves)]
    sections += [(title.capitalize(), table(values.items())) for title, values in tables.items()]
    data = {
        "loss": [list(point) if math.isfinite(point[1]) else [point[0], None] for point in losses],
        "validation_psnr_db": [[iteration, list(curve)] for iteration, curve in steps_db],
        "kept_psnr_db": kept_db,
        "end_point_psnr_db": end_point_db,
    }
    return page(f"Training of {name}", "Loss and validation by iteration", sections, data)


def _line(name: str, points: Sequence[tuple[int, float]], colour: str, dashes: str = "") -> Line:
    every = max(1, math.ceil(len(points) / _MOST_POINTS))
    return Line(name, [(float(x), y) for x, y in (*points[:-1:every], *points[-1:])], colour, dashes)
