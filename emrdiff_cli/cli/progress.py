"""Progress on stderr: a bar on a terminal, plain lines elsewhere; either tells the time left, by one estimate."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Report(Protocol):
    """Takes what is done, of how much, and a note; to be called as often as is handy.

    `left`: the seconds left, where the caller knows better than by how fast it went so far.
    """

    def __call__(self, done: float, total: float, note: str = "", /, left: float | None = None) -> None:
        """Show it."""


_SECONDS_BETWEEN_LINES = 30.0
_LEAST_SECONDS_BETWEEN_LINES = 2.0  # however fast it goes
_SHARE_BETWEEN_LINES = 0.1


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Report]:
    """Yield `report(done, total, note)`, to be called as often as is handy."""
    if quiet:
        yield _nothing
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[note]}"),
        )
        # Through rich's redirection, lines for a file or a pipe would end up on stderr.
        shown = Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())
        with shown as bar:
            task, pace = bar.add_task(title, total=None, note="", left=""), _Pace(time.monotonic())

            def draw(done: float, total: float, note: str = "", /, left: float | None = None) -> None:
                told = _left(pace.left(done, total, time.monotonic()) if left is None else left)
                bar.update(task, completed=done, total=total, note=note, left=told)

            yield draw
    else:
        yield _PlainLines(title)


def duration(seconds: float) -> str:
    """Time as a person says it."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} left"


def _nothing(_done: float, _total: float, _note: str = "", /, left: float | None = None) -> None:
    """Report nowhere."""


@dataclass
class _Pace:
    """How fast it goes, from when the first of it was under way: what was got ready before is no measure."""

    began: float
    first: float | None = None

    def left(self, done: float, total: float, now: float) -> float | None:
        """The seconds left; None while nothing tells."""
        if self.first is None or done <= self.first:
            self.began, self.first = now, done
            return None
        return max(0.0, (now - self.began) * (total - done) / (done - self.first))


class _PlainLines:
    """Lines for a file: every half minute, at every tenth of the way, where that takes seconds, and at the end."""

    def __init__(self, title: str) -> None:
        now = time.monotonic()
        self._title, self._pace = title, _Pace(now)
        self._last, self._share, self._ended = now, 0.0, False

    def __call__(self, done: float, total: float, note: str = "", /, left: float | None = None) -> None:
        """Write a line, if one is due."""
        now = time.monotonic()
        reckoned = self._pace.left(done, total, now)
        ends, share = done >= total, done / total if total else 0.0
        since = now - self._last
        due = since >= _SECONDS_BETWEEN_LINES or (
            since >= _LEAST_SECONDS_BETWEEN_LINES and share >= self._share + _SHARE_BETWEEN_LINES
        )
        if self._ended if ends else not due:
            return
        self._last, self._share, self._ended = now, share, ends
        told = "" if ends else _left(reckoned if left is None else left)
        parts = [part for part in (told, note) if part]
        sys.stderr.write(f"{self._title}: {done:.0f}/{total:.0f} {', '.join(parts)}".rstrip() + "\n")
        sys.stderr.flush()
