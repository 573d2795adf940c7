"""The tables of the ten pairs: times beside kriging's, and scores of every method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emrdiff_cli.methods import AUTO, END_POINTS, FAVOURITE

PAPERS = ("sfim-hs", "cnmf", "hysure", "pixel-mlp")
_PUBLISHED = ("bicubic", "glp", "glp-local", *PAPERS)

Record = dict[str, Any]
_CLOSE_DB = 0.1
_MOST_TIMES = 2.5


def tables(records: Mapping[str, Record]) -> Iterator[str]:
    """Lines of Markdown: the times, then the scores of the pairs with a truth."""
    yield from time_lines(records)
    yield ""
    yield from score_lines({name: record for name, record in records.items() if record.get("truth")})


def time_lines(records: Mapping[str, Record]) -> Iterator[str]:
    """Processor time of `auto` and of kriging, their ratio, and the method that was taken."""
    yield "| pair | taken | auto (s) | kriging (s) | ratio |"
    yield "| --- | --- | --- | --- | --- |"
    ratios = []
    for name, record in records.items():
        auto, kriging = (min(record["seconds"].get(method, [0.0])) for method in (AUTO, FAVOURITE))
        if auto and kriging:
            ratios.append(auto / kriging)
            yield f"| {name} | {record['chosen']} | {auto:.1f} | {kriging:.1f} | {ratios[-1]:.2f} |"
    if ratios:
        within = sum(ratio <= _MOST_TIMES for ratio in ratios)
        yield ""
        yield f"At most {_MOST_TIMES} times kriging's on {within} of {len(ratios)}; {max(ratios):.2f} at worst."


def score_lines(records: Mapping[str, Record]) -> Iterator[str]:
    """PSNR / SAM of what was written and of each method, and by how much it lies below the best, above others'."""
    columns = [*END_POINTS, *(m for m in PAPERS if any(m in record["scores"] for record in records.values()))]
    header = ["pair", "written", *columns, "below the best (dB)", "above the literature (dB)"]
    yield f"| {' | '.join(header)} |"
    yield "| --- " * len(header) + "|"
    below, above = [], []
    for name, record in records.items():
        scores = record["scores"]
        if AUTO not in scores:
            continue
        own = scores[AUTO][0]
        below.append(max(score[0] for score in scores.values()) - own)
        published = [scores[m][0] for m in _PUBLISHED if m in scores and m != record["chosen"]]
        above.append(own - max(published))
        cells = [f"{scores[m][0]:.2f} / {scores[m][1]:.2f}" if m in scores else "" for m in columns]
        written = f"{record['chosen']} {own:.2f} / {scores[AUTO][1]:.2f}"
        yield f"| {name} | {written} | {' | '.join(cells)} | {below[-1]:.2f} | {above[-1]:+.2f} |"
    if below:
        close = sum(regret <= _CLOSE_DB for regret in below)
        yield ""
        yield (
            f"Within {_CLOSE_DB} dB of the best on {close} of {len(below)} pairs, {max(below):.2f} dB below it at "
            f"worst; above every method of the literature on {sum(margin > 0 for margin in above)}."
        )
