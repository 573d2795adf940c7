"""The files of a raster: those an existing one is read from, and those that writing one touches."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emrdiff_cli.errors import InputError, OutputExistsError, UsageError
from emrdiff_cli.products.registry import recognise
from emrdiff_cli.raster.containers import way_out
from emrdiff_cli.raster.envi import (
    DATA_SUFFIXES,
    data_paths,
    find_data,
    find_header,
    header_beside,
    header_paths,
)
from emrdiff_cli.runtime.atomic import refuse_existing, target_of

_log = logging.getLogger(__name__)

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIDECARS = (".aux.xml", ".msk")  # that change what is read
_OVERVIEWS = ".ovr"
_ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z"}


def locate(path: Path) -> tuple[Path, Literal["GTiff", "ENVI"]]:
    """Find a raster's data file and its driver by content, so that no other driver of GDAL gets to see it.

    `path`: of the data or, for ENVI, of the header. A link whose raster has files beside it that are not beside the
    link (a mask, a header) is followed. Raises InputError where there is no such raster.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, and of no known product: name a raster file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is a device or a pipe: name a raster file")
        path = _with_its_files(path)
        if path.suffix.lower() == ".hdr":
            path = find_data(path)
        with path.open("rb") as file:
            magic = file.read(4)
        header = find_header(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if magic in _TIFF_MAGIC and (header is None or path.suffix.lower() not in DATA_SUFFIXES):
        return path, "GTiff"
    if header is not None:
        return path, "ENVI"
    raise InputError(_no_driver(path))


def _with_its_files(path: Path) -> Path:
    """The path; of a link to a raster whose own files lie beside that alone, what it leads to."""
    if not path.is_symlink():
        return path
    real = path.resolve()
    here, there = _kinds_beside(path), _kinds_beside(real)
    if here and there - here:
        _log.warning(
            "%s: is a link to %s, whose %s it does not have beside it: not read: link that too, or name the raster",
            *(path, real, " and ".join(sorted(there - here))),
        )
    return real if there and not here else path


def _kinds_beside(path: Path) -> set[str]:
    """Kinds of files beside a raster, or a header, that change what is read."""
    if path.suffix.lower() == ".hdr":
        named = [path.with_suffix(""), *path.parent.glob(f"{glob.escape(path.stem)}.*")]
        return {"data"} if any(p.is_file() and p.suffix.lower() != ".hdr" for p in named) else set()
    kinds = {suffix for suffix in _SIDECARS if _beside(path, suffix).is_file()}
    return kinds | ({".hdr"} if find_header(path) is not None else set())


def _no_driver(path: Path) -> str:
    if not path.stat().st_size:
        return f"{path}: is empty: write or copy it anew"
    if path.suffix.lower() in _ARCHIVES:
        return f"{path}: is an archive: unpack it, and name the folder or the raster in it"
    container = way_out(path)
    if container is not None:
        return f"{path}: {container}"
    looked_for = " and ".join(dict.fromkeys(header.name for header in header_paths(path)))
    if path.suffix.lower() in DATA_SUFFIXES:
        return f"{path}: no ENVI header beside it (looked for {looked_for}): put it there"
    return f"{path}: neither GeoTIFF nor ENVI: convert it, e.g. `gdal_translate {path.name} {path.stem}.tif`"


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that decide what is read of an existing raster: its data, a header, `.aux.xml` and `.msk`.

    In this order, the data first; those that are not there are left out, and so are overviews, which hold
    nothing of their own. `path`: of the data or, for ENVI, of the header, or a product's. Raises InputError
    where there is no such raster.
    """
    product = recognise(path)
    if product is not None:
        beside = (_beside(image, suffix) for image in product.images for suffix in _SIDECARS)
        return (*product.files, *(file for file in beside if file.is_file()))
    data, driver = locate(path)
    header = find_header(data) if driver == "ENVI" else header_beside(data)
    beside = (_beside(data, suffix) for suffix in _SIDECARS)
    return (data, *([] if header is None else [header]), *(file for file in beside if file.is_file()))


def _beside(data: Path, suffix: str) -> Path:
    return data.with_name(data.name + suffix)


@dataclass(frozen=True)
class WrittenFiles:
    """Files that writing a raster puts in place, and stale ones that it removes: they would shadow its metadata."""

    data: Path
    header: Path | None
    stale: tuple[Path, ...]

    def __iter__(self) -> Iterator[Path]:
        yield from (self.data, *([] if self.header is None else [self.header]), *self.stale)


def files_written(path: Path, driver: str, options: Mapping[str, str]) -> WrittenFiles:
    """The files that writing a raster with these creation options touches, there or not.

    Of a link, also those of what it points to. Raises UsageError for an ENVI header's name, and for a link to
    ENVI data whose header would not lie beside them; WriteError as `target_of` does.
    """
    added = any((key.upper(), value.upper()) == ("SUFFIX", "ADD") for key, value in options.items())
    real = target_of(path)
    beside = [_beside(place, suffix) for place in (path, real) for suffix in (*_SIDECARS, _OVERVIEWS)]
    if driver != "ENVI":
        return WrittenFiles(path, None, tuple(dict.fromkeys(beside)))
    if path.suffix.lower() == ".hdr":
        raise UsageError(f"{path}: is the header's name: give the data file's, e.g. {path.stem}.bsq")
    header, shadowing = _headers(path, added)
    own, more = _headers(real, added)
    if real != path and os.path.realpath(header) != os.path.realpath(own):
        raise UsageError(f"{path}: is a link to {real}: name that, so that its header goes beside it")
    return WrittenFiles(path, header, tuple(dict.fromkeys([*beside, *shadowing, *more])))


def _headers(data: Path, added: bool) -> tuple[Path, list[Path]]:
    """The header to be written, and those that GDAL may take instead."""
    replaced, appended = header_paths(data)
    return (appended, [replaced, replaced.with_suffix(".HDR")]) if added else (replaced, [appended])


def refuse_lost(files: WrittenFiles, overwrite: bool) -> None:
    """Raise OutputExistsError where a header is another raster's, or would be taken for it, and for what is there.

    The first always, the second, which would be removed, without `overwrite` only.
    """
    for header in () if files.header is None else (files.header, *files.stale):
        if header.suffix.lower() == ".hdr" and (header == files.header or header.exists()):
            for other in data_paths(header):
                if not _marks(other) & _marks(files.data) and find_header(other) is not None:
                    raise OutputExistsError(
                        f"{header}: is where {other.name} looks for its header: give the output another name"
                    )
    for path in files.stale:
        refuse_existing(path, overwrite)


def refuse_inputs_as_outputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise UsageError where a file that would be replaced or removed is an input, or a file of an input raster."""
    read = {mark for path in inputs for file in _read_with(path) for mark in _marks(file)}
    for output in outputs:
        if read & _marks(output):
            raise UsageError(f"{output} is an input, or a file of one: give the output another name")


def _read_with(path: Path) -> list[Path]:
    """An input's files: those of a raster with its overviews, else the file itself."""
    try:
        files = files_of(path)
    except InputError:
        return [path]
    return [path, *files, _beside(files[0], _OVERVIEWS)]


def _marks(path: Path) -> set[object]:
    """Marks of a file, whatever its name: its place and, where it is there, its number on its device."""
    try:
        state = path.stat()
    except OSError:
        return {os.path.realpath(path)}
    return {os.path.realpath(path), (state.st_dev, state.st_ino)}
