"""Means of scores over scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean


def mean_scores(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each score over the scenes where it is defined and finite; None where it is nowhere."""
    keys = dict.fromkeys(key for each in scores for key in each)
    found = {key: [value for each in scores if (value := each.get(key)) is not None] for key in keys}
    finite = {key: [value for value in values if math.isfinite(value)] for key, values in found.items()}
    return {key: fmean(values) if values else None for key, values in finite.items()}
