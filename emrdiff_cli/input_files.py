"""The files that a pair is read from: their content as hashes, and whether they are still what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.scene import RasterInfo


class InputFiles:
    """The files of some rasters, as they were when this was made."""

    def __init__(self, *rasters: RasterInfo) -> None:
        self._files = [path for info in rasters for path in files_of(info.path)]
        self._stamps = self._look()

    def refuse_changed(self) -> None:
        """Raise InputError where a file was changed, replaced or removed meanwhile."""
        for path, was, now in zip(self._files, self._stamps, self._look(), strict=True):
            if was != now:
                raise InputError(f"{path}: was changed while it was read: start again when it is complete")

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_stamp(path) for path in self._files]


def content_hash(info: RasterInfo) -> str:
    """BLAKE2b of a raster's files: the data, an ENVI header and what else GDAL reads beside it."""
    return hash_files(files_of(info.path))


def hash_files(paths: Iterable[Path]) -> str:
    """BLAKE2b of the contents, one after the other. Raises InputError."""
    digest = hashlib.blake2b(digest_size=32)
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
