"""The files of a raster: those an existing one is read from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.envi import DATA_SUFFIXES, find_data, find_header, header_paths

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIDECARS = (".aux.xml", ".msk")  # that change what is read


def locate(path: Path) -> tuple[Path, Literal["GTiff", "ENVI"]]:
    """Find a raster's data file and its driver by content, so that no other driver of GDAL gets to see it.

    `path`: of the data or, for ENVI, of the header. Raises InputError where there is no such raster.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder: name a raster file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is a device or a pipe: name a raster file")
        if path.suffix.lower() == ".hdr":
            return find_data(path), "ENVI"
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


def _no_driver(path: Path) -> str:
    if not path.stat().st_size:
        return f"{path}: is empty: write or copy it anew"
    looked_for = " and ".join(dict.fromkeys(header.name for header in header_paths(path)))
    if path.suffix.lower() in DATA_SUFFIXES:
        return f"{path}: no ENVI header beside it (looked for {looked_for}): put it there"
    return f"{path}: neither GeoTIFF nor ENVI: convert it, e.g. `gdal_translate {path.name} {path.stem}.tif`"


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that decide what is read of an existing raster: its data, an ENVI header, `.aux.xml` and `.msk`.

    In this order, the data first; those that are not there are left out, and so are overviews, which hold
    nothing of their own. `path`: of the data or, for ENVI, of the header. Raises InputError where there is no
    such raster.
    """
    data, driver = locate(path)
    header = find_header(data) if driver == "ENVI" else None
    beside = (_beside(data, suffix) for suffix in _SIDECARS)
    return (data, *([] if header is None else [header]), *(file for file in beside if file.is_file()))


def _beside(data: Path, suffix: str) -> Path:
    return data.with_name(data.name + suffix)
