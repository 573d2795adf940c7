"""Findings of the geometry's benchmark as Markdown: PSFs, displaced pairs, and what of the goals is met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

Record = Mapping[str, Any]

METHODS = ("bicubic", "glp", "glp-local", "kriging")
ROWS = (
    *(f"{method}, {how}" for method in METHODS for how in ("assumed", "found")),
    "kriging, true",
    "pixel-mlp",
)
LEAST_LOSS_DB = 0.05  # a loss below it has no share that comes back


def tables(records: Sequence[Record]) -> list[str]:
    """Lines of Markdown about all records."""
    lines: list[str] = []
    for kind, made in (("psf", psf_table), ("displaced", displaced_table)):
        held = [record for record in records if record["table"] == kind]
        if held:
            lines += [*made(held), ""]
    return lines[:-1]


def psf_table(records: Sequence[Record]) -> list[str]:
    """A pair a line, PSNR / SAM of each row; then means by scene, and the comparison with GLP."""
    lines = _head(("scene", "PSF", *ROWS))
    for record in records:
        cells = [_both(record["scores"].get(row)) for row in ROWS]
        lines.append(_line((record["scene"], record["case"], *cells)))
    for scene in dict.fromkeys(record["scene"] for record in records):
        held = [record["scores"] for record in records if record["scene"] == scene]
        means = [_both(_mean(held, row)) if row != "kriging, true" else "" for row in ROWS]
        lines.append(_line((scene, "mean", *means)))
    return [*lines, "", *comparison(records)]


def comparison(records: Sequence[Record]) -> Iterator[str]:
    """Sentences that hold kriging with the PSF found against GLP, and against kriging with the true one."""
    held = [record["scores"] for record in records]
    better = [scores["kriging, found"][0] - scores["glp, found"][0] for scores in held]
    finer = [scores["kriging, found"][1] < scores["glp, found"][1] for scores in held]
    yield (
        f"With the PSF found kriging is above GLP in PSNR on {sum(by > 0 for by in better)} of {len(held)} pairs, "
        f"by {fmean(better):.2f} dB on average, and in SAM on {sum(finer)}."
    )
    left = [s["kriging, true"][0] - s["kriging, found"][0] for s in held if "kriging, true" in s]
    if left:
        within = sum(by <= 0.5 for by in left)
        yield (
            f"It is within 0.5 dB of kriging with the true kernel on {within} of {len(left)} pairs, "
            f"{max(left):.2f} dB below it at most."
        )


def displaced_table(records: Sequence[Record]) -> list[str]:
    """A pair a line; LR pixels, shares of the FWHM and of the lost dB in percent."""
    lines = _head(
        (
            "scene",
            "pair",
            "as it lies",
            "put right",
            "exact",
            "comes back (%)",
            "shift off by",
            "FWHM off by (%)",
        )
    )
    for record in records:
        lies, right, exact = (record["scores"][key][0] for key in ("lies", "right", "exact"))
        share = _share_back(record)
        back = "" if share is None else f"{100 * share:.0f}"
        errors = f"{record['shift_error']:.3f}", f"{100 * record['fwhm_error']:.1f}"
        values = (f"{value:.2f}" for value in (lies, right, exact))
        lines.append(_line((record["scene"], record["case"], *values, back, *errors)))
    return [*lines, "", *_put_right(records)]


def _put_right(records: Sequence[Record]) -> Iterator[str]:
    """Sentences on what comes back, and on the largest errors."""
    shares = [share for share in map(_share_back, records) if share is not None]
    if shares:
        yield (
            f"Of {len(records)} pairs {len(shares)} lost something; at least {100 * min(shares):.0f} % of the lost "
            f"dB come back, {100 * fmean(shares):.0f} % on average."
        )
    shift, fwhm = (max(record[error] for record in records) for error in ("shift_error", "fwhm_error"))
    yield f"The displacement is off by {shift:.3f} LR pixels at most, the FWHM by {100 * fwhm:.1f} %."


def _share_back(record: Record) -> float | None:
    """The share of what the pair lost that comes back; None where it lost nothing to speak of."""
    lies, right, exact = (record["scores"][key][0] for key in ("lies", "right", "exact"))
    return (right - lies) / (exact - lies) if exact - lies >= LEAST_LOSS_DB else None


def _mean(scores: Sequence[Mapping[str, Sequence[float]]], row: str) -> tuple[float, float]:
    return fmean(each[row][0] for each in scores), fmean(each[row][1] for each in scores)


def _both(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{found[0]:.2f} / {found[1]:.2f}"


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
