"""The evidence of a pair as a table: methods by kinds of evidence, with standard errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emrdiff_cli.core.evidence.verdict import Score, Verdict


def print_evidence(verdict: Verdict, on_stderr: bool = True) -> None:
    """Print the table: each method's dB over kriging, with its standard error, the choice marked."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("dB over kriging")
    for kind in verdict.kinds:
        table.add_column(kind, justify="right")
    for standing in verdict.standings:
        chosen = standing.method == verdict.method
        cells = [_cell(standing.scores[kind]) for kind in verdict.kinds]
        table.add_row(f"{standing.method}{' *' if chosen else ''}", *cells)
    Console(stderr=on_stderr, highlight=False).print(table)


def _cell(score: Score) -> str:
    """The gain with its error; of kriging itself, which gains nothing, the bands' spread over its error."""
    gain = score.gain_db
    if gain.value == 0 and gain.error == 0:
        return f"({score.snr_db:.2f} dB)"
    error = f" ± {gain.error:.2f}" if math.isfinite(gain.error) else ""
    return f"{gain.value:+.2f}{error}"
