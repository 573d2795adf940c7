"""A CSV file of scores that several commands may append to, also at the same time."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from emrdiff_cli.errors import UsageError, WriteError


class ScoreTable:
    """A CSV file with these columns; its header is written once, when the file is new or empty.

    Raises, on construction, UsageError for a file with other columns and WriteError where none can be
    written; both before any work.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._columns = path, list(columns)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            os.close(descriptor)
            self._refuse_other_columns(path.read_bytes())
        except OSError as error:
            raise WriteError(f"{path}: cannot be appended to: {error.strerror}") from error

    def append(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows in one write under a lock, so that no other writer's rows end up among them."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                there = self._path.read_bytes()
                self._refuse_other_columns(there)
                self._write(descriptor, self._text(there, rows))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise WriteError(f"{self._path}: cannot be appended to: {error.strerror}") from error

    def _refuse_other_columns(self, there: bytes) -> None:
        if not there:
            return
        found = next(csv.reader([there.split(b"\n", 1)[0].decode("utf-8", "replace")]), [])
        if found != self._columns:
            raise UsageError(
                f"{self._path}: has {len(found)} columns ({','.join(found)[:60]}...), not the "
                f"{len(self._columns)} of this command: give --csv another file"
            )

    def _text(self, there: bytes, rows: Iterable[Sequence[object]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not there:
            writer.writerow(self._columns)
        elif not there.endswith(b"\n"):
            text.write("\n")
        writer.writerows(rows)
        return text.getvalue().encode()

    def _write(self, descriptor: int, text: bytes) -> None:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, text)
        if written < len(text):
            os.ftruncate(descriptor, before)
            raise WriteError(f"{self._path}: cannot be appended to: the disk is full")
