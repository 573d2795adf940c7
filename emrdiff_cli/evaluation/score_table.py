"""A CSV file of scores that several commands may append to, also at the same time."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from emrdiff_cli.errors import UsageError, WriteError
from emrdiff_cli.runtime.atomic import target_of
from emrdiff_cli.runtime.csv_text import guarded

_LONGEST_HEADER = 2**16  # bytes


class ScoreTable:
    """A CSV file with these columns; its header is written once, when the file is new or empty.

    Raises, on construction, UsageError for a file with other columns and WriteError where none can be
    written; both before any work.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._columns = target_of(path), list(columns)
        with self._opened() as descriptor:
            self._refuse_other_columns(descriptor)

    def append(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows in one write under a lock, so that no other writer's rows end up among them."""
        with self._opened() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._refuse_other_columns(descriptor)
            self._write(descriptor, self._text(descriptor, rows))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise WriteError(f"{self._path}: cannot be appended to: {error.strerror}") from error

    def _refuse_other_columns(self, descriptor: int) -> None:
        first = os.pread(descriptor, _LONGEST_HEADER, 0)
        if not first:
            return
        found = _cells(first.split(b"\n", 1)[0].decode("utf-8", "replace"))
        if found != self._columns:
            raise UsageError(
                f"{self._path}: has {len(found)} columns ({','.join(found)[:60]}...), not the "
                f"{len(self._columns)} of this command: give --csv another file"
            )

    def _text(self, descriptor: int, rows: Iterable[Sequence[object]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        size = os.fstat(descriptor).st_size
        if not size:
            writer.writerow(self._columns)
        elif os.pread(descriptor, 1, size - 1) != b"\n":
            text.write("\n")
        writer.writerows([guarded(cell) for cell in row] for row in rows)
        return text.getvalue().encode()

    def _write(self, descriptor: int, text: bytes) -> None:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, text)
        if written < len(text):
            os.ftruncate(descriptor, before)
            raise WriteError(f"{self._path}: cannot be appended to: the disk is full")


def _cells(line: str) -> list[str]:
    """The cells of a header; none where it is no CSV's."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []
