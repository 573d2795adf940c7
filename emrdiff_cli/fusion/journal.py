"""Progress of a fusion, kept beside its target so that a killed run can go on where it was.

`.NAME.journal/` holds `run.json` (what the run depends on), `scene.npz` (what is computed once for the whole
scene) and a file for each completed tile row. Each appears whole, under its name, or not at all; what is damaged
later is known by its checksum and not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays
from emrdiff_cli.errors import OutputExistsError, UsageError, WriteError
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.runtime.atomic import failing_as_write_error, replacing, write_whole

Field = NDArray[np.float32]
Key = dict[str, str]

_RUN, _SCENE = "run.json", "scene.npz"
# Names of its files, and of the parts that a kill leaves of them.
_OWN = re.compile(r"(?P<part>\.)?(run\.json|scene\.npz|row-\d{5,})(?(part)\.part-\d+)")
_MAGIC = b"EMRROW01"
_DIGEST = 32  # bytes
_SHOWN = 40  # characters of a value in a message: a digest is no help to a reader
# Of reading what is damaged: of the file system, JSON, zip and numpy.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Begun:
    """A run that was begun: what was decided for it, and the scene's arrays."""

    decided: Mapping[str, Any]
    scene: dict[str, NDArray[Any]]


class Journal:
    """The journal of a target. One run at a time may use it (`sole_run`)."""

    def __init__(self, target: Path) -> None:
        self.folder = target.with_name(f".{target.name}.journal")
        self._target = target
        self._key = b""

    @property
    def begun(self) -> bool:
        """True where a run was begun and not finished."""
        return (self.folder / _RUN).exists()

    @property
    def _holds_rows(self) -> bool:
        return any(self.folder.glob("row-*[0-9]"))

    def held(self, name: str) -> str | None:
        """An entry of the key of the run that was begun; None where there is none, or it is damaged."""
        try:
            record = json.loads((self.folder / _RUN).read_text(encoding="utf-8"))
            return str(record["key"][name])
        except _DAMAGE:
            return None

    def refuse_or_clear(self, overwrite: bool) -> None:
        """Make room for a run that starts anew; raises OutputExistsError where an unfinished one would be lost."""
        if self.begun and self._holds_rows and not overwrite:
            raise OutputExistsError(
                f"{self.folder}: an unfinished run of {self._target.name}: give --resume to go on with it, "
                "--overwrite to start anew"
            )
        self.remove()

    def resume(self, key: Key, large: LargeArrays = IN_MEMORY) -> Begun | None:
        """The run that was begun with the same key; None where there is none, or it is damaged.

        `large`: where the scene's arrays are put. Raises UsageError, naming what is different, where it was begun
        with another key, and what `large` raises.
        """
        try:
            record = json.loads((self.folder / _RUN).read_text(encoding="utf-8"))
            held: Key = dict(record["key"])
            decided, digest = dict(record["decided"]), str(record["scene"])
        except _DAMAGE:
            return None
        changed = [_change(name, held.get(name), key.get(name)) for name in sorted(held.keys() | key.keys())]
        told = ", ".join(change for change in changed if change)
        if told:
            raise UsageError(
                f"{self.folder}: the unfinished run cannot be resumed, it had {told}: repeat it as it was, or "
                "leave --resume away and give --overwrite to start anew"
            )
        self._key = _key_digest(key)
        try:
            path = self.folder / _SCENE
            if file_sha256(path) != digest:
                return None
            with np.load(path, allow_pickle=False) as stored:
                return Begun(decided, {name: _placed(stored[name], large) for name in stored.files})
        except _DAMAGE:
            return None

    def begin(self, key: Key, decided: Mapping[str, Any], scene: Mapping[str, NDArray[Any]]) -> None:
        """Record a new run. Raises WriteError, and leaves nothing then."""
        self.remove()
        self._key = _key_digest(key)
        with ExitStack() as begun, failing_as_write_error(self.folder):
            begun.callback(self.discard)
            self.folder.mkdir()
            with replacing(self.folder / _SCENE) as part, part.open("wb") as file:
                np.savez(file, **dict(scene))  # type: ignore[arg-type]
            digest = file_sha256(self.folder / _SCENE)
            record = {"key": key, "decided": decided, "scene": digest}
            write_whole(self.folder / _RUN, json.dumps(record, indent=1).encode())
            begun.pop_all()

    def keep(self, index: int, values: Field) -> None:
        """Keep a completed tile row (k, rows, columns). Raises WriteError."""
        payload = np.ascontiguousarray(values, "<f4")
        with replacing(self.folder / _row_name(index)) as part, part.open("wb") as file:
            file.write(_MAGIC + self._digest(index, payload))
            file.write(payload.data)

    def row(self, index: int, shape: tuple[int, int, int]) -> Field | None:
        """A tile row that was kept; None where there is none, or it is damaged."""
        try:
            content = (self.folder / _row_name(index)).read_bytes()
            head, body = content[: len(_MAGIC) + _DIGEST], memoryview(content)[len(_MAGIC) + _DIGEST :]
            values = np.frombuffer(body, "<f4").reshape(shape)
        except (OSError, ValueError):
            return None
        return values.astype(np.float32) if head == _MAGIC + self._digest(index, values) else None

    def remove(self) -> None:
        """Remove it; the record first, without which the rest is nothing.

        Raises WriteError, and leaves all as it is where something else than a journal's files lies in its place.
        """
        if not os.path.lexists(self.folder):
            return
        with failing_as_write_error(self.folder):
            files = self._files()
            (self.folder / _RUN).unlink(missing_ok=True)
            for path in files:
                path.unlink(missing_ok=True)
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """The files of the folder, all of which are a journal's. Raises OSError, and WriteError for any other."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            raise WriteError(f"{self.folder}: is no journal's folder: move it away")
        files = list(self.folder.iterdir())
        for path in files:
            if not _OWN.fullmatch(path.name) or path.is_symlink() or not path.is_file():
                raise WriteError(f"{self.folder}: holds {path.name}, which is no journal's: move it away")
        return files

    def discard(self) -> None:
        """Remove it after the run is finished: then what cannot be removed does no harm."""
        with suppress(WriteError):
            self.remove()

    def drop_if_empty(self) -> None:
        """Remove it where no tile row is kept: there is nothing to resume."""
        if self.folder.exists() and not self._holds_rows:
            self.discard()

    def _digest(self, index: int, values: NDArray[Any]) -> bytes:
        digest = hashlib.blake2b(self._key, digest_size=_DIGEST)
        digest.update(f"{index} {values.shape}".encode())
        digest.update(values.data)
        return digest.digest()


def _placed(values: NDArray[Any], large: LargeArrays) -> NDArray[Any]:
    return large.kept(values) if values.dtype == np.float32 else values


def _row_name(index: int) -> str:
    return f"row-{index:05}"


def _change(name: str, held: str | None, given: str | None) -> str:
    """Difference in one entry of the key, in words; empty where there is none."""
    if held == given:
        return ""
    if not name.startswith("--") or held is None or given is None or len(held + given) > _SHOWN:
        return f"another {name}"
    return f"{name} {held} (now {given})"


def _key_digest(key: Key) -> bytes:
    return hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=_DIGEST).digest()
