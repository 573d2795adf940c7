"""The other side of `hdf5_child`: one process for all files of this one, started when it is first needed."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError

_OUT_OF_TIME = getattr(signal, "SIGXCPU", 24)
_PATIENCE = 1.0  # seconds from the end of its requests


class Hdf5Handle:
    """A file that is open in the other process. All that goes wrong there raises InputError."""

    def __init__(self, path: Path, cache: int) -> None:
        self.path = path
        self._number = next(_numbers)
        self._process = _process_at_work()
        self.ask("open", path=str(path.absolute()), cache=cache)

    def ask(self, what: str, **values: Any) -> tuple[Mapping[str, Any], NDArray[Any] | None]:
        """Ask for what `hdf5_child` tells under this name, and the array that comes with it."""
        try:
            told, array = self._process.ask({"ask": what, "number": self._number, **values})
        except (OSError, EOFError, ValueError) as error:
            said = f"is damaged: the HDF5 library ends by {self._process.ended()} on it: get it again"
            raise InputError(f"{self.path}: {said}") from error
        if "error" in told:
            reason = str(told["error"])
            said = "is cut short" if "truncated file" in reason else "is damaged"
            raise InputError(f"{self.path}: {said}: {reason}: get it again")
        return told, array

    def close(self) -> None:
        """Close the file; where the process is gone, it is."""
        with suppress(InputError):
            self.ask("close")


class _Process:
    """One process and the two pipes to it."""

    def __init__(self) -> None:
        # The import path of this process, without the folder that the user happens to be in.
        path = os.pathsep.join(place for place in sys.path if place)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "emrdiff_cli.raster.hdf5_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # so that a signal to this process does not reach it
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any]) -> tuple[Mapping[str, Any], NDArray[Any] | None]:
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise EOFError
        with self._lock:
            requests.write(json.dumps(request).encode() + b"\n")
            requests.flush()
            told: Mapping[str, Any] = json.loads(answers.readline() or b"{")
            if "of" not in told:
                return told, None
            array = np.empty(told["in"], told["of"])
            into = array.reshape(-1).view(np.uint8).data
            if answers.readinto(into) < into.nbytes:  # type: ignore[attr-defined]
                raise EOFError
        return told, array

    def ended(self) -> str:
        """Say how it ended."""
        self.end()
        code = self._process.returncode
        if code == -_OUT_OF_TIME:
            return "computing for minutes without an answer"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Have it end: at once where it computes, as it only reads and an interrupted command must not wait."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_numbers = count()
_starting = threading.Lock()
_running: list[_Process] = []


def _process_at_work() -> _Process:
    """The running process; a new one where the last has ended."""
    with _starting:
        if not _running or not _running[-1].alive:
            for process in _running:
                process.end()
            _running[:] = [_Process()]
            atexit.register(_running[-1].end)
        return _running[-1]
