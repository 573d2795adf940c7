"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Report(Protocol):
    """Takes what is done, of how much, and a note; to be called as often as is handy."""

    def __call__(self, done: float, total: float, note: str = "", /) -> None:
        """Show it."""


_SECONDS_BETWEEN_LINES = 10.0


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
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        # Through rich's redirection, lines for a file or a pipe would end up on stderr.
        shown = Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())
        with shown as bar:
            task = bar.add_task(title, total=None, note="")

            def draw(done: float, total: float, note: str = "") -> None:
                bar.update(task, completed=done, total=total, note=note)

            yield draw
    else:
        yield _plain_lines(title)


def _nothing(_done: float, _total: float, _note: str = "") -> None:
    """Report nowhere."""


def _plain_lines(title: str) -> Report:
    last, ended = time.monotonic(), False

    def line(done: float, total: float, note: str = "") -> None:
        nonlocal last, ended
        now = time.monotonic()
        if (done >= total and not ended) or (done < total and now - last >= _SECONDS_BETWEEN_LINES):
            last, ended = now, done >= total
            sys.stderr.write(f"{title}: {done:.0f}/{total:.0f} {note}".rstrip() + "\n")
            sys.stderr.flush()

    return line
