"""A folder with one PNG a band, numbered from 1 on, as one image."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.reading import ignoring_missing_georeference

_NUMBERED = re.compile(r"(.*?)(\d{1,3})\.png", re.IGNORECASE)
_ROWS_AT_ONCE = 256


def find_bands(folder: Path) -> tuple[Path, ...]:
    """Find `*_01.png`, `*_02.png`, ... in a folder, or in the only folder in it that has any.

    Raises InputError: none there, several images' bands, a number missing or there twice.
    """
    try:
        found = _numbered(folder)
        if not found:
            within = [below for path in folder.iterdir() if path.is_dir() and (below := _numbered(path))]
            found = within[0] if len(within) == 1 else []
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    stems = sorted({stem for stem, _, _ in found})
    if len(stems) != 1:
        what = f"bands of {len(stems)} images, such as {stems[0]}*" if stems else "no numbered bands *_01.png"
        raise InputError(f"{folder}: holds {what}: name the folder of one image")
    numbers = [number for _, number, _ in found]
    if numbers != list(range(1, len(numbers) + 1)):
        odd = next(n for n in range(1, len(numbers) + 1) if numbers[n - 1] != n)
        raise InputError(f"{folder}: band {odd} is missing, or there twice: bands must run from 1 on")
    return tuple(path for _, _, path in found)


def _numbered(folder: Path) -> list[tuple[str, int, Path]]:
    """Stem, number and path of each band, in order; files that begin with a dot are a system's own."""
    found = []
    for path in folder.iterdir():
        match = _NUMBERED.fullmatch(path.name)
        if match and path.is_file() and not path.name.startswith("."):
            found.append((match[1], int(match[2]), path))
    return sorted(found)


class PngBands:
    """Band PNGs of one size and type, as a context manager. Raises InputError where they differ."""

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as opened:
            self._datasets = [opened.enter_context(_open(path)) for path in paths]
            first = self._datasets[0]
            self.bands, self.height, self.width = len(paths), int(first.height), int(first.width)
            self.dtype = str(first.dtypes[0])
            for path, dataset in zip(paths, self._datasets, strict=True):
                if (dataset.shape, dataset.dtypes[0]) != (first.shape, self.dtype):
                    raise InputError(f"{path}: differs from {paths[0].name} in size or type")
            self._opened = opened.pop_all()
        self._paths = tuple(paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def strips(self) -> Iterator[NDArray[Any]]:
        """Give all rows in order, (bands, some rows, width)."""
        for top in range(0, self.height, _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, self.height - top)
            place = GdalWindow(0, top, self.width, rows)
            yield np.stack([_grey(*pair, place) for pair in zip(self._paths, self._datasets, strict=True)])


def _open(path: Path) -> Any:
    _check_chunks(path)
    try:
        with ignoring_missing_georeference():
            dataset = rasterio.open(path.absolute(), driver="PNG", sharing=False)
    except (RasterioError, OSError) as error:
        raise InputError(f"{path}: cannot be opened as PNG: {_one_line(error)}") from error
    if dataset.colorinterp[0] == ColorInterp.palette:
        dataset.close()
        raise InputError(f"{path}: has a palette: bands must be grey levels")
    return dataset


def _check_chunks(path: Path) -> None:
    """Walk through to the end and compare checksums: what is cut off, GDAL reads as zeros without a word."""
    try:
        with path.open("rb") as file:
            file.seek(8)
            kind = b""
            while kind != b"IEND":
                head = file.read(8)
                length, kind = int.from_bytes(head[:4]), head[4:]
                body = file.read(length)
                if len(head) < 8 or zlib.crc32(kind + body) != int.from_bytes(file.read(4)):
                    raise InputError(f"{path}: is no PNG, cut short or damaged: get it again")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _grey(path: Path, dataset: Any, place: GdalWindow) -> NDArray[Any]:
    """Read a band; one saved in colour must be grey in fact, and opaque."""
    try:
        channels: NDArray[Any] = dataset.read(window=place)
    except (RasterioError, OSError) as error:
        raise InputError(f"{path}: cannot be read, it may be damaged: {_one_line(error)}") from error
    alpha = [i for i, meaning in enumerate(dataset.colorinterp) if meaning == ColorInterp.alpha]
    colours = np.delete(channels, alpha, axis=0)
    opaque = (channels[alpha] == np.iinfo(channels.dtype).max).all()
    if not opaque or (colours != colours[0]).any():
        raise InputError(f"{path}: is a colour image or transparent: bands must be grey levels")
    grey: NDArray[Any] = colours[0]
    return grey


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
