"""Band numbers in words, runs drawn together."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def numbered(bands: Iterable[int]) -> str:
    """Ascending band numbers, neighbours as ranges: `1-4, 7`; `none` without any."""
    numbers = [int(band) for band in bands]
    if not numbers:
        return "none"
    breaks = [(a, b) for a, b in pairwise(numbers) if b - a != 1]
    starts, stops = [numbers[0], *(b for _, b in breaks)], [*(a for a, _ in breaks), numbers[-1]]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, stops, strict=True))


def numbered_bands(bands: Iterable[int]) -> str:
    """Ascending band numbers after the word for them: `bands 1-4, 7`, `band 7`."""
    numbers = list(bands)
    return f"band{'s' if len(numbers) > 1 else ''} {numbered(numbers)}"
