"""Limits that scores are held to, as a user gives them: `psnr_db=40`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emrdiff_cli.core.metrics.metric import Metric
from emrdiff_cli.errors import ThresholdError, UsageError


@dataclass(frozen=True)
class Threshold:
    """A score's limit: the least that passes with `under`, else the most."""

    key: str
    limit: float
    under: bool

    def missed(self, value: float | None) -> str | None:
        """The reason that a value does not pass; None where it does. An undefined one does not."""
        if value is None or math.isnan(value):
            return f"{self.key} is null"
        if value < self.limit if self.under else value > self.limit:
            return f"{self.key} {value:.6g} is {'under' if self.under else 'over'} {self.limit:g}"
        return None


def read_thresholds(
    under: Iterable[str], over: Iterable[str], known: Mapping[str, Metric]
) -> list[Threshold]:
    """Read KEY=NUMBER limits of `known` metrics, by their keys.

    Raises UsageError on anything else, a key that is not scored, or a limit that good values would miss.
    """
    return [
        _read(option, text, known)
        for option, texts in (("--fail-under", under), ("--fail-over", over))
        for text in texts
    ]


def _read(option: str, text: str, known: Mapping[str, Metric]) -> Threshold:
    key, _, number = text.partition("=")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        raise UsageError(f"{option} {text}: must be KEY=NUMBER, such as psnr_db=40")
    if key not in known:
        raise UsageError(f"{option} {text}: {key} is not scored here: give one of {', '.join(known)}")
    fitting = "--fail-under" if known[key].better == "higher" else "--fail-over"
    if option != fitting:
        raise UsageError(f"{option} {text}: {known[key].better} is better of {key}: give {fitting}")
    return Threshold(key, limit, option == "--fail-under")


def hold_to(thresholds: Iterable[Threshold], scores: Mapping[str, float | None]) -> None:
    """Raise ThresholdError with every limit that is missed."""
    missed = [why for t in thresholds if (why := t.missed(scores.get(t.key))) is not None]
    if missed:
        raise ThresholdError("; ".join(missed))
