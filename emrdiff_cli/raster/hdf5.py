"""HDF5, and with it netCDF-4 and HDF-EOS5: arrays by hyperslabs and attributes, checked before memory is taken.

Nothing is followed out of the file: no soft or external links, no virtual or external arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)
MAGIC = b"\x89HDF\r\n\x1a\n"
_BYTES_AT_ONCE = 64 * 2**20
_CHUNK_CACHE = 256 * 2**20
_CACHE_SLOTS = 100_003  # a prime, far above the number of chunks held
_LARGEST_CHUNK = 512 * 2**20
_LARGEST_ATTRIBUTE = 2**20  # numbers or characters
_LEAST_ENTRY = 8  # bytes that a chunk takes in a file at least, for its address
MOST_DEFLATED = 1100  # bytes that one byte can stand for: deflate's 1032, and some


def is_hdf5(path: Path) -> bool:
    """Tell HDF5 by its first bytes. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """Open a file for reading. Raises InputError where it is damaged or cut short."""
    import h5py

    try:
        file = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE, rdcc_nslots=_CACHE_SLOTS)
    except HDF5_ERRORS as error:
        raise _damaged(path, error) from error
    with file:
        yield Hdf5File(path, file)


class Hdf5File:
    """An open file; names are paths from its root. What goes wrong in reading raises InputError."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file

    def names(self, group: str = "/") -> tuple[str, ...]:
        """What a group holds; nothing where there is no such group."""
        item = self._item(group)
        try:
            names = tuple(item) if item is not None and hasattr(item, "keys") else ()
        except HDF5_ERRORS as error:
            raise _damaged(self.path, error) from error
        # A name that is no UTF-8 is given as bytes.
        return tuple(name for name in names if isinstance(name, str))

    def __contains__(self, name: str) -> bool:
        return self._item(name) is not None

    def array(self, name: str, dimensions: int) -> Hdf5Array:
        """An array of real numbers, not yet read. Raises InputError where it is missing or of another kind."""
        item = self._item(name)
        if item is None:
            raise InputError(f"{self.path}: has no {name}: get the product again")
        shape = self._shape(item)
        if shape is None or len(shape) != dimensions or min(shape) < 1 or item.dtype.kind not in "iuf":
            raise InputError(f"{self.path}: {name} is no array of numbers in {dimensions} dimensions")
        if item.external or item.is_virtual:
            raise InputError(f"{self.path}: {name} is kept in another file: get the product again")
        refuse_more_than_held(self.path, item, name)
        return Hdf5Array(self.path, name, item)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A short list of numbers as a whole."""
        return self.array(name, 1).read(()).astype(np.float64)

    def scalar(self, name: str) -> Any:
        """A number or a text that stands alone; None where there is none."""
        item = self._item(name)
        if item is None or self._shape(item) is None:
            return None
        refuse_more_than_held(self.path, item, name)
        if item.size > _LARGEST_ATTRIBUTE:
            raise InputError(f"{self.path}: {name} is no single value: get the product again")
        try:
            return _plain(item[()])
        except HDF5_ERRORS as error:
            raise _damaged(self.path, error) from error

    def attribute(self, name: str, of: str = "/") -> Any:
        """An attribute: text as str, one number as a number, several as an array; None where it is missing."""
        item = self._item(of)
        try:
            if item is None or name not in item.attrs:
                return None
            if math.prod(item.attrs.get_id(name).shape) > _LARGEST_ATTRIBUTE:
                raise InputError(f"{self.path}: attribute {name} is too long: get the product again")
            return _plain(item.attrs[name])
        except HDF5_ERRORS as error:
            if isinstance(error, InputError):
                raise
            raise _damaged(self.path, error) from error

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

    def _shape(self, item: Any) -> tuple[int, ...] | None:
        """An array's shape, where its type can be read too; None for a group."""
        try:
            shape = getattr(item, "shape", None)
            return None if shape is None or item.dtype is None else tuple(shape)
        except HDF5_ERRORS as error:
            raise _damaged(self.path, error) from error

    def _item(self, name: str) -> Any:
        """A group or an array, by hard links alone; None where there is none."""
        import h5py

        item = self._file
        try:
            for part in name.strip("/").split("/") if name.strip("/") else ():
                if not isinstance(item, h5py.Group) or part not in item:
                    return None
                if not isinstance(item.get(part, getlink=True), h5py.HardLink):
                    return None
                item = item[part]
        except HDF5_ERRORS as error:
            raise _damaged(self.path, error) from error
        return item


class Hdf5Array:
    """An array in a file, of which parts are read."""

    def __init__(self, path: Path, name: str, item: Any) -> None:
        self.path, self._item = path, item
        self.name = name
        self.shape = tuple(int(length) for length in item.shape)
        self.dtype = item.dtype.newbyteorder("=")
        if item.chunks and math.prod(item.chunks) * item.dtype.itemsize > _LARGEST_CHUNK:
            held = math.prod(item.chunks) * item.dtype.itemsize
            raise InputError(
                f"{path}: {name} is stored in chunks of {held / 2**20:.0f} MB, more than {_LARGEST_CHUNK >> 20}: "
                "write it anew in smaller ones, e.g. with `h5repack`"
            )

    def read(self, key: tuple[slice, ...]) -> NDArray[Any]:
        """Read a hyperslab in the machine's byte order; () for all."""
        try:
            values: NDArray[Any] = self._item[key]
        except HDF5_ERRORS as error:
            raise _damaged(self.path, error) from error
        return values.astype(self.dtype, copy=False)

    def rows(self, axis: int) -> Iterator[tuple[int, int]]:
        """Give starts and stops along an axis: whole chunks where they fit, some 64 MB at a time."""
        height = self.shape[axis]
        step = self._rows_at_once(axis)
        for start in range(0, height, step):
            yield start, min(start + step, height)

    def _rows_at_once(self, axis: int) -> int:
        row_bytes = math.prod(self.shape) // self.shape[axis] * int(self.dtype.itemsize)
        fit = max(1, _BYTES_AT_ONCE // row_bytes)
        chunk = int(self._item.chunks[axis]) if self._item.chunks else 1
        return fit if chunk > 2 * fit else max(1, fit // chunk) * chunk


def refuse_more_than_held(path: Path, item: Any, name: str, axes: int = 1) -> None:
    """Raise InputError for more chunks, or bytes, than a file of its size holds: to look for them takes memory.

    `axes` is -1 where the shape is told in the reverse of HDF5's order.
    """
    size = path.stat().st_size
    values = math.prod(int(length) for length in item.shape or ())
    each = math.prod(item.chunks) if item.chunks else values
    if values > each * (size // _LEAST_ENTRY + 1) or values * item.dtype.itemsize > size * MOST_DEFLATED:
        raise more_than_held(path, name, item.shape[::axes])


def more_than_held(path: Path, name: str, shape: Sequence[int]) -> InputError:
    """The error of an array that its file has no room for."""
    said = f"{name} ({' x '.join(map(str, shape))})"
    return InputError(f"{path}: {said} is more than its {path.stat().st_size} bytes can hold: write it anew")


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    if array.size == 1:
        value = array.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0").strip()
    return value


def _damaged(path: Path, error: BaseException) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    said = "is cut short" if "truncated file" in reason else "is damaged"
    return InputError(f"{path}: {said}: {reason}: get it again")
