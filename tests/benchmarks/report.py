"""Findings of a quality benchmark as JSON, a Markdown table and a plot of the score by sampling step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from tests.benchmarks.configurations import Row

_Result = Mapping[str, Any]

_HEADINGS = (
    "row",
    "",
    "PSNR (dB)",
    "by seed",
    "SAM (deg)",
    "ERGAS",
    "SSIM",
    "by sampling step (dB)",
    "iterations",
    "parameters",
    "ms an iteration",
    "samples/s",
    "peak MB",
)


def write_report(folder: Path, rows: Sequence[Row], results: Sequence[_Result]) -> None:
    """Write results.json, table.md and steps.png; rows stand in the table's order."""
    by_row = {row: [r for r in results if r["row"] == row.name] for row in rows}
    done = {row: found for row, found in by_row.items() if found}
    (folder / "results.json").write_text(json.dumps(list(results), indent=1) + "\n", encoding="utf-8")
    lines = [_line(_HEADINGS), _line(["---"] * len(_HEADINGS))]
    lines += [_line(_cells(row, found)) for row, found in done.items()]
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _plot(done).savefig(folder / "steps.png", dpi=120)


def _cells(row: Row, found: Sequence[_Result]) -> list[str]:
    def mean(key: str) -> float:
        return fmean(result["scores"][key] for result in found)

    psnr = [result["scores"]["psnr_db"] for result in found]
    by_seed = " ".join(f"{value:.2f}" for value in psnr) if len(psnr) > 1 else ""
    steps = [fmean(values) for values in zip(*(r["psnr_by_step_db"] for r in found), strict=True)]
    first = found[0]
    learned = first["parameters"] > 0
    timed = learned and first["seconds_an_iteration"] is not None
    return [
        f"`{row.name}`",
        row.says,
        f"{mean('psnr_db'):.2f}",
        by_seed,
        f"{mean('sam_deg'):.2f}",
        f"{mean('ergas'):.2f}",
        f"{mean('ssim'):.4f}",
        " ".join(f"{value:.3f}" for value in steps) if len(steps) > 1 else "",
        str(first["iterations"]) if learned else "",
        f"{first['parameters']:,}" if learned else "",
        f"{1000 * first['seconds_an_iteration']:.0f}" if timed else "",
        f"{first['samples_a_second']:.1f}" if timed else "",
        f"{max(result['peak_memory_mb'] for result in found):.0f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plot(done: Mapping[Row, Sequence[_Result]]) -> Figure:
    """PSNR after each sampling step against the first step's, for the rows with several steps."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for row, found in done.items():
        steps = [fmean(values) for values in zip(*(r["psnr_by_step_db"] for r in found), strict=True)]
        if len(steps) > 1:
            axes.plot(range(1, len(steps) + 1), [s - steps[0] for s in steps], marker=".", label=row.name)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.set(xlabel="sampling step", ylabel="PSNR against the first step (dB)")
    if axes.lines[1:]:
        axes.legend(fontsize=7, ncols=2)
    return figure
