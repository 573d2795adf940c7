"""`emrdiff` run again and again in this process, and what is wrong whatever the file was."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.front_door import Ended

MOST_MEMORY = 2**30
"""Bytes that a command on a small file may take."""
_MOST_SECONDS = 20.0
_CODES = (0, 2, 3, 5)
# GDAL and libtiff write some of their own messages to stderr.
_OTHERS = ("_tiff", "TIFF", "Warning 1:", "ERROR ", "HDF5-DIAG")
_SAID = ("Warning: ", "Note: ", "Error: ")
_OF_MEMORY = re.compile(
    r"not enough memory|unable to allocate|out of memory|cannot allocate|bad_alloc", re.IGNORECASE
)
_REFUSED_BY_SIZE = re.compile(r"GB of memory|takes? [\d.,]+ [GMT]B")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


class Door:
    """Runs commands in the current folder; `faults` are those of all commands so far, a line each."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def __call__(self, *arguments: object) -> Ended:
        """Run a command to its end, and look at what is always wrong."""
        from emrdiff_cli.cli.app import main

        before = {path.name for path in Path().iterdir()}
        _forget_peak()
        base, started, escaped = memory("VmRSS"), time.monotonic(), ""
        code: Any = None
        with _captured() as said, _argv(["emrdiff", *map(str, arguments)]):
            try:
                main()
            except SystemExit as left:
                code = left.code or 0
            except BaseException:  # noqa: BLE001 - that any comes out is what is looked for
                escaped = _in_brief()
        seconds, peak = time.monotonic() - started, memory("VmHWM") - base
        ended = Ended(int(code) if isinstance(code, int) else 1, *said)
        found = [*_looked_at(ended, escaped, "--manifest" in arguments), *_left(before)]
        if seconds > _MOST_SECONDS:
            found.append(f"took {seconds:.0f} s")
        if peak > MOST_MEMORY:
            found.append(f"took {peak / 1e9:.1f} GB")
        self.faults += [f"{' '.join(map(str, arguments))}: {fault}" for fault in found]
        return ended

    def record(self, raster: str) -> dict[str, Any] | None:
        """What `emrdiff info` knows of a raster; None where it is refused."""
        ended = self("info", raster, "--json")
        if ended.code:
            return None
        try:
            found: dict[str, Any] = json.loads(ended.out)
        except ValueError as error:
            self.faults.append(f"info {raster}: no JSON ({error}): {ended.out[:200]}")
            return None
        return found


def _in_brief() -> str:
    """The exception that is being handled, and the last places that it went through."""
    kind, error, trace = sys.exc_info()
    places = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_tb(trace)[-6:]))
    return f"{'' if kind is None else kind.__name__}: {error} at {places}"


def _looked_at(ended: Ended, escaped: str, several: bool) -> Iterator[str]:
    if escaped:
        yield f"escaped: {escaped}"
        return
    if ended.code not in _CODES:
        yield f"exit code {ended.code}: {ended.err.strip()[-500:]}"
    lines = [line for line in ended.err.split("\n") if line.strip() and not line.startswith(_OTHERS)]
    errors = [line for line in lines if line.startswith("Error: ")]
    others = [line for line in lines if not line.startswith(_SAID)]
    expected = min(len(errors), 1) if several else len(errors)
    if others or expected != (1 if ended.code else 0):
        yield f"exit code {ended.code}, stderr is not one line an entry: {ended.err[:600]!r}"
    if any(_OF_MEMORY.search(line) and not _REFUSED_BY_SIZE.search(line) for line in lines):
        yield f"asked for too much memory: {ended.err[:300]!r}"
    if _UNPRINTABLE.search(ended.err + ended.out):
        yield f"unprintable signs: {(ended.err + ended.out)[:600]!r}"


def _left(before: set[str]) -> Iterator[str]:
    hidden = [path.name for path in Path().iterdir() if path.name.startswith(".") and path.name not in before]
    if hidden:
        yield f"left behind {', '.join(hidden)}"


@contextmanager
def _argv(arguments: list[str]) -> Iterator[None]:
    kept, sys.argv = sys.argv, arguments
    try:
        yield
    finally:
        sys.argv = kept


@contextmanager
def _captured() -> Iterator[list[str]]:
    """What goes to stdout and stderr meanwhile, that of libraries too; filled at the end."""
    said: list[str] = []
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        for number, file in enumerate((out, err), 1):
            os.dup2(file.fileno(), number)
        try:
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode("utf-8", "backslashreplace"))


def _forget_peak() -> None:
    """Have Linux count the peak of this process's memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(key: str) -> int:
    """Bytes of this process that Linux counts under a key."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0
