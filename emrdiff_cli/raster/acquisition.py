"""When a raster was taken, as far as its tags tell, or a user says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from emrdiff_cli.errors import UsageError

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


Span = tuple[datetime, datetime]
"""First and last moment, in UTC; the same where a time is known, a day's where only the day is."""

_TIME = re.compile(r"T?\s*(\d{2}:?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)\s*(Z|UTC|[+-]\d{2}:?\d{2})?", re.IGNORECASE)


def acquired_in(tags: Mapping[str, str]) -> Span | None:
    """The time on the day that `acquired_on` finds, UTC if it names no zone; the whole day where no tag has one."""
    day = acquired_on(tags)
    if day is None:
        return None
    spans = [
        _span(day, tags[key][found.end() :])
        for key in sorted(tags)
        if _KEY.search(key) and (found := _DATE.search(tags[key])) is not None
        if "".join(found.group(1, 3, 4)) == day.strftime("%Y%m%d")
    ]
    return next((span for span in spans if span[0] == span[1]), spans[0])


def _span(day: date, rest: str) -> Span:
    found = _TIME.match(rest)
    try:
        if found is not None:
            zone = (found[2] or "Z").upper().replace("UTC", "Z")
            moment = datetime.fromisoformat(f"{day}T{found[1].replace(',', '.')}{zone}").astimezone(UTC)
            return moment, moment
    except ValueError:
        pass
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1, microseconds=-1)


def parse_span(text: str) -> Span:
    """A day, a time or START/END as ISO 8601 has them, UTC where no zone is named. Raises UsageError."""
    first, _, last = text.partition("/")
    try:
        start, end = _moments(first)[0], _moments(last or first)[1]
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--stac {text}: must be auto, a day (2024-06-01), a time (2024-06-01T10:30:00Z) or START/END"
        ) from error
    if end < start:
        raise UsageError(f"--stac {text}: ends before it starts")
    return start, end


def _moments(text: str) -> Span:
    try:
        return _span(date.fromisoformat(text), "")
    except ValueError:
        moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment, moment
