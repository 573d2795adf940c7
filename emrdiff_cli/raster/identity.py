"""Identity of files: by name, size and time of change, which costs nothing, or by a hash of the content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of

State = tuple[int, int, int, int]
"""Device and inode of a file, its size in bytes and its time of change in ns."""


class Stamp(NamedTuple):
    """A file as it is known on any machine: its name, its size in bytes and its time of change in ns."""

    name: str
    size: int
    changed: int


def stamps(raster: Path) -> tuple[Stamp, ...]:
    """Stamps of the files that decide what is read of a raster. Raises InputError where it is not there.

    A copy that keeps the times of change is the same raster, one that does not is another.
    """
    return tuple(Stamp(path.name, *file_state(path)[2:]) for path in files_of(raster))


def file_state(path: Path) -> State:
    """State of a file on this machine. Raises InputError where it cannot be told."""
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, worked out once for each of its states. Raises InputError."""
    return _sha256(path, file_state(path))


@lru_cache(maxsize=64)
def _sha256(path: Path, _state: State) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


class InputFiles:
    """The files of some rasters, as they were when this was made."""

    def __init__(self, *rasters: Path) -> None:
        self._states = {path: file_state(path) for raster in rasters for path in files_of(raster)}

    def refuse_changed(self) -> None:
        """Raise InputError where a file was changed, replaced or removed meanwhile."""
        for path, state in self._states.items():
            if not path.exists() or file_state(path) != state:
                raise InputError(f"{path}: was changed while it was read: start again when it is complete")
