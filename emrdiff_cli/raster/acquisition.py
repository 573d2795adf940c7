"""The date on which a raster was taken, as far as its tags tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

_KEY = re.compile(
    r"acqui|sensing|imaging_?(date|time)|^(date|time)_?taken|^start_?(date|time)", re.IGNORECASE
)
_DATE = re.compile(r"(?<!\d)(\d{4})([-/.:]?)(\d{2})\2(\d{2})(?!\d)")


def acquired_on(tags: Mapping[str, str]) -> date | None:
    """The first date, year first, in a tag that speaks of acquisition or sensing; a file's own date is none."""
    for key in sorted(tags):
        found = _DATE.search(tags[key]) if _KEY.search(key) else None
        if found is not None:
            year, _, month, day = found.groups()
            try:
                return date(int(year), int(month), int(day))
            except ValueError:
                continue
    return None
