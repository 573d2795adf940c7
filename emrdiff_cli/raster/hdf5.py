"""HDF5, and with it netCDF-4 and HDF-EOS5: arrays by hyperslabs and attributes, checked before memory is taken.

Nothing is followed out of the file: no soft or external links, no virtual or external arrays. The library itself
runs in a process of its own (`hdf5_child`), since files of flipped bytes end it by a signal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.hdf5_process import Hdf5Handle

MAGIC = b"\x89HDF\r\n\x1a\n"
_BYTES_AT_ONCE = 32 * 2**20
_CHUNK_CACHE = 128 * 2**20
_LARGEST_CHUNK = 512 * 2**20
_LARGEST_ATTRIBUTE = 2**20  # numbers or characters
_MOST_TEXTS = 10_000
_LEAST_ENTRY = 8  # bytes that a chunk takes in a file at least, for its address
MOST_DEFLATED = 1100  # bytes that one byte can stand for: deflate's 1032, and some


def is_hdf5(path: Path) -> bool:
    """Tell HDF5 by its first bytes. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """Open a file for reading. Raises InputError where it is damaged or cut short."""
    handle = Hdf5Handle(path, _CHUNK_CACHE)
    try:
        yield Hdf5File(handle)
    finally:
        handle.close()


@dataclass(frozen=True)
class Hdf5Item:
    """What lies under a name: an array of a shape, or with `kind` "group" or "link" none."""

    kind: str
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype("V"))
    fields: tuple[str, ...] | None = None
    chunks: tuple[int, ...] | None = None
    elsewhere: bool = False
    """Its values are kept in other files."""


class Hdf5File:
    """An open file; names are paths from its root. What goes wrong in reading raises InputError."""

    def __init__(self, handle: Hdf5Handle) -> None:
        self.path = handle.path
        self._handle = handle

    def names(self, group: str = "/") -> tuple[str, ...]:
        """What a group holds; nothing where there is no such group."""
        told, _ = self._handle.ask("names", group=group)
        return tuple(told["names"])

    def __contains__(self, name: str) -> bool:
        item = self.describe(name)
        return item is not None and item.kind != "link"

    def describe(self, name: str) -> Hdf5Item | None:
        """What lies under a name, links not followed; None where there is nothing."""
        told, _ = self._handle.ask("describe", name=name)
        if told["kind"] != "array":
            return None if told["kind"] is None else Hdf5Item(told["kind"])
        shape, chunks, fields = (
            None if told[key] is None else tuple(told[key]) for key in ("shape", "chunks", "fields")
        )
        return Hdf5Item("array", shape, np.dtype(told["dtype"]), fields, chunks, told["elsewhere"])

    def array(self, name: str, dimensions: int) -> Hdf5Array:
        """An array of real numbers, not yet read. Raises InputError where it is missing or of another kind."""
        item = self.describe(name)
        if item is None or item.kind == "link":
            raise InputError(f"{self.path}: has no {name}: get the product again")
        shape = item.shape
        if shape is None or len(shape) != dimensions or min(shape) < 1 or item.dtype.kind not in "iuf":
            raise InputError(f"{self.path}: {name} is no array of numbers in {dimensions} dimensions")
        if item.elsewhere:
            raise InputError(f"{self.path}: {name} is kept in another file: get the product again")
        refuse_more_than_held(self.path, item, name)
        return Hdf5Array(self._handle, name, item)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A short list of numbers as a whole."""
        return self.array(name, 1).read(()).astype(np.float64)

    def texts(self, name: str) -> tuple[str, ...]:
        """A short list of texts. Raises InputError where there is none."""
        item = self.describe(name)
        shape = None if item is None else item.shape
        if item is None or shape is None or len(shape) != 1 or shape[0] > _MOST_TEXTS or item.elsewhere:
            raise InputError(f"{self.path}: {name} is no list of texts: get the product again")
        refuse_more_than_held(self.path, item, name)
        told, _ = self._handle.ask("scalar", name=name)
        texts = told.get("text", ())
        return (texts,) if isinstance(texts, str) else tuple(texts)

    def scalar(self, name: str) -> Any:
        """A number or a text that stands alone; None where there is none."""
        item = self.describe(name)
        if item is None or item.shape is None:
            return None
        refuse_more_than_held(self.path, item, name)
        if math.prod(item.shape) > _LARGEST_ATTRIBUTE:
            raise InputError(f"{self.path}: {name} is no single value: get the product again")
        return _plain(*self._handle.ask("scalar", name=name))

    def attribute(self, name: str, of: str = "/") -> Any:
        """An attribute: text as str, one number as a number, several as an array; None where it is missing."""
        told, array = self._handle.ask("attribute", name=name, of=of, most=_LARGEST_ATTRIBUTE)
        if "long" in told:
            raise InputError(f"{self.path}: attribute {name} is too long: get the product again")
        return _plain(told, array)

    def number(self, name: str, of: str = "/") -> float:
        """An attribute that is a finite number. Raises InputError where it is none."""
        value = self.attribute(name, of)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{self.path}: attribute {name} is no number: get the product again")
        return number


class Hdf5Array:
    """An array in a file, of which parts are read."""

    def __init__(self, handle: Hdf5Handle, name: str, item: Hdf5Item) -> None:
        self.path, self.name = handle.path, name
        self._handle = handle
        self.shape = item.shape or ()
        self.dtype = item.dtype.newbyteorder("=")
        self.chunks = item.chunks
        held = math.prod(item.chunks or ()) * item.dtype.itemsize
        if item.chunks and held > _LARGEST_CHUNK:
            raise InputError(
                f"{self.path}: {name} is stored in chunks of {held / 2**20:.0f} MB, more than "
                f"{_LARGEST_CHUNK >> 20}: write it anew in smaller ones, e.g. with `h5repack`"
            )

    def read(self, key: tuple[slice, ...]) -> NDArray[Any]:
        """Read a hyperslab in the machine's byte order; () for all."""
        bounds = [(part.start, part.stop) for part in key]
        _, values = self._handle.ask("read", name=self.name, key=bounds)
        if values is None:
            raise InputError(f"{self.path}: {self.name} holds no numbers: get it again")
        return values.astype(self.dtype, copy=False)

    def rows(self, axis: int) -> Iterator[tuple[int, int]]:
        """Give starts and stops along an axis: whole chunks where they fit, some 32 MB at a time."""
        height = self.shape[axis]
        step = self._rows_at_once(axis)
        for start in range(0, height, step):
            yield start, min(start + step, height)

    def _rows_at_once(self, axis: int) -> int:
        row_bytes = math.prod(self.shape) // self.shape[axis] * int(self.dtype.itemsize)
        fit = max(1, _BYTES_AT_ONCE // row_bytes)
        chunk = self.chunks[axis] if self.chunks else 1
        return fit if chunk > 2 * fit else max(1, fit // chunk) * chunk


def refuse_more_than_held(path: Path, item: Hdf5Item, name: str, axes: int = 1) -> None:
    """Raise InputError for more chunks, or bytes, than a file of its size holds: to look for them takes memory.

    `axes` is -1 where the shape is told in the reverse of HDF5's order.
    """
    size = path.stat().st_size
    values = math.prod(item.shape or ())
    each = math.prod(item.chunks) if item.chunks else values
    if values > each * (size // _LEAST_ENTRY + 1) or values * item.dtype.itemsize > size * MOST_DEFLATED:
        raise more_than_held(path, name, (item.shape or ())[::axes])


def more_than_held(path: Path, name: str, shape: Sequence[int]) -> InputError:
    """The error of an array that its file has no room for."""
    said = f"{name} ({' x '.join(map(str, shape))})"
    return InputError(f"{path}: {said} is more than its {path.stat().st_size} bytes can hold: write it anew")


def _plain(told: Mapping[str, Any], array: NDArray[Any] | None) -> Any:
    """A value as it was told: of several the array, of one the number or text; of no kind that is known, itself."""
    if array is not None:
        return array.reshape(-1)[0] if array.size == 1 else array
    text = told.get("text")
    if isinstance(text, str):
        return text.rstrip("\0").strip()
    return told if "other" in told else text
