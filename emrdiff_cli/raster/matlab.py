"""Arrays in Matlab's .mat files: v5 to v7 as a whole by scipy, v7.3 (HDF5) by hyperslabs.

Axes are in Matlab's order, as its size() gives them; HDF5 has them the other way round. Nothing but
arrays of real numbers is ever read: no objects, no functions, and no links out of the file.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.orientation import AS_STORED, Orientation
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.hdf5 import (
    MAGIC,
    MOST_DEFLATED,
    Hdf5File,
    more_than_held,
    open_hdf5,
    refuse_more_than_held,
)
from emrdiff_cli.raster.mat5_elements import unknown_type

_BYTES_AT_ONCE = 256 * 2**20
# Matlab's names of real types, and numpy's.
_DTYPES = {
    name: name for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
} | {"double": "float64", "single": "float32", "logical": "uint8"}
# What scipy.io raises on damaged files, besides MatReadError.
_SCIPY_ERRORS = (
    *(OSError, ValueError, TypeError, IndexError, KeyError, zlib.error),
    *(NotImplementedError, MemoryError),
)


@dataclass(frozen=True)
class Variable:
    """A variable of a .mat file: `shape` as Matlab's size(); `dtype` is None unless it holds real numbers.

    `content` says in words what it holds.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str | None
    content: str

    @property
    def is_cube(self) -> bool:
        """True for real numbers in three dimensions, none of them empty."""
        return self.dtype is not None and len(self.shape) == 3 and min(self.shape) > 0

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"{self.name} ({size} {self.content})" if size else f"{self.name} ({self.content})"


class MatFile(Protocol):
    """An open .mat file; what goes wrong in reading raises InputError."""

    path: Path
    variables: Mapping[str, Variable]

    def read(self, name: str) -> NDArray[Any]:
        """Read an array of real numbers as a whole, in its dtype."""

    def slab(self, name: str, axis: int, start: int, stop: int) -> NDArray[Any]:
        """Read an array between two positions on one axis, in full on the others."""

    def block(self, name: str, axis: int) -> int:
        """Tell how many positions on an axis lie together in the file, so that it is read in such steps."""


def is_mat(path: Path) -> bool:
    """Tell a .mat file by its suffix, or by how Matlab begins one. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".mat" or file.read(7) == b"MATLAB "
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


@contextmanager
def open_mat(path: Path) -> Iterator[MatFile]:
    """Open a .mat file of any version. Raises InputError where it is none, or damaged."""
    if not _is_hdf5(path):
        yield _Mat5(path)
        return
    with open_hdf5(path) as file:
        yield _Mat73(file)


def _is_hdf5(path: Path) -> bool:
    """Tell HDF5 by its signature, before which Matlab writes a header."""
    try:
        with path.open("rb") as file:
            for place in (0, *(512 << step for step in range(12))):
                file.seek(place)
                if file.read(len(MAGIC)) == MAGIC:
                    return True
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return False


def find_cube(file: MatFile, name: str | None) -> Variable:
    """Find an array by its name, or the only one that is a cube. Raises InputError where it is none."""
    known = ", ".join(map(str, file.variables.values())) or "nothing"
    if name is not None:
        if name not in file.variables:
            raise InputError(f"{file.path}: has no variable {name}; it holds {known}")
        if not file.variables[name].is_cube:
            raise InputError(
                f"{file.path}: {file.variables[name]} is no image: only three dimensions of real numbers are"
            )
        return file.variables[name]
    cubes = [variable for variable in file.variables.values() if variable.is_cube]
    if not cubes:
        raise InputError(f"{file.path}: has no real numbers in three dimensions; it holds {known}")
    if len(cubes) > 1:
        raise InputError(f"{file.path}: holds several images: choose one with --variable ({known})")
    return cubes[0]


class MatCube:
    """A variable as an image: strips of it from the top down, in the dtype of the file.

    `band_axis` is counted from 0; the other two axes, in their order, are the matrix that `orientation` turns.
    """

    def __init__(
        self, file: MatFile, variable: Variable, band_axis: int, orientation: Orientation = AS_STORED
    ) -> None:
        if variable.dtype is None:
            raise InputError(f"{file.path}: {variable} holds no real numbers")
        self._file, self._variable, self.orientation = file, variable, orientation
        matrix = [axis for axis in range(3) if axis != band_axis]
        self.matrix_shape = tuple(variable.shape[axis] for axis in matrix)
        self._axes = (band_axis, *matrix)
        self._row_axis, col_axis = reversed(matrix) if orientation.swapped else matrix
        self.dtype = variable.dtype
        self.bands, self.height, self.width = (
            variable.shape[axis] for axis in (band_axis, self._row_axis, col_axis)
        )

    def strips(self) -> Iterator[NDArray[Any]]:
        """Give all rows in order, (bands, some rows, width); at most some 512 MB at a time."""
        step = self._rows_at_once()
        starts = range(0, self.height, step)
        for start in reversed(starts) if self.orientation.flip_rows else starts:
            stop = min(start + step, self.height)
            # Not kept in a name, so that it is gone before the next is read.
            yield self.orientation.apply(
                self._file.slab(self._variable.name, self._row_axis, start, stop).transpose(self._axes)
            )

    def _rows_at_once(self) -> int:
        """Whole blocks of the file where they fit, so that none is decompressed twice."""
        row_bytes = self.bands * self.width * np.dtype(self.dtype).itemsize
        fit = max(1, _BYTES_AT_ONCE // row_bytes)
        block = self._file.block(self._variable.name, self._row_axis)
        return fit if block > 2 * fit else max(1, fit // block) * block


class _Mat5:
    """Versions 4 to 7, which scipy reads a variable at a time."""

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat

        self.path = path
        with _reading_by_scipy(path):
            unknown = unknown_type(path)
            if unknown is not None:
                raise ValueError(f"an element of type {unknown}, which is none")
            listed = whosmat(path, appendmat=False)
        self.variables: Mapping[str, Variable] = {
            name: Variable(name, tuple(shape), _DTYPES.get(kind), kind) for name, shape, kind in listed
        }
        for variable in self.variables.values():
            if variable.is_cube and math.prod(variable.shape) > path.stat().st_size * MOST_DEFLATED:
                raise more_than_held(path, variable.name, variable.shape)
        self._held: dict[str, NDArray[Any]] = {}

    def read(self, name: str) -> NDArray[Any]:
        """Read it, once."""
        if name not in self._held:
            self._held[name] = self._read(name)
        return self._held[name]

    def _read(self, name: str) -> NDArray[Any]:
        from scipy.io import loadmat

        with _reading_by_scipy(self.path):
            array = loadmat(self.path, appendmat=False, variable_names=[name])[name]
        if np.iscomplexobj(array):
            raise InputError(f"{self.path}: {name} holds complex numbers: only real ones can be converted")
        # Matlab stores doubles in fewer bytes where they fit.
        whole: NDArray[Any] = array.astype(self.variables[name].dtype, copy=False)
        return whole

    def slab(self, name: str, axis: int, start: int, stop: int) -> NDArray[Any]:
        """Cut from the whole, which is kept."""
        return self.read(name)[(slice(None),) * axis + (slice(start, stop),)]

    def block(self, _name: str, _axis: int) -> int:
        """No blocks in memory."""
        return 1


@contextmanager
def _reading_by_scipy(path: Path) -> Iterator[None]:
    from scipy.io.matlab import MatReadError

    try:
        yield
    except (*_SCIPY_ERRORS, MatReadError) as error:
        raise _damaged(path, error) from error


class _Mat73:
    """Version 7.3: HDF5 with Matlab's names for types in attributes."""

    def __init__(self, file: Hdf5File) -> None:
        self.path = file.path
        names = [name for name in file.names() if not name.startswith("#")]
        self.variables: Mapping[str, Variable] = {name: _examined(file, name) for name in names}
        self._arrays = {
            name: file.array(name, len(variable.shape))
            for name, variable in self.variables.items()
            if variable.dtype is not None and min(variable.shape, default=1) > 0
        }

    def read(self, name: str) -> NDArray[Any]:
        """Read all of it."""
        return self._stored(name, ())

    def slab(self, name: str, axis: int, start: int, stop: int) -> NDArray[Any]:
        """Read a hyperslab."""
        last = len(self.variables[name].shape) - 1
        return self._stored(name, (slice(None),) * (last - axis) + (slice(start, stop),))

    def block(self, name: str, axis: int) -> int:
        """Count by chunks; an array without any is read as it comes."""
        chunks = self._arrays[name].chunks
        return 1 if chunks is None else chunks[::-1][axis]

    def _stored(self, name: str, key: tuple[slice, ...]) -> NDArray[Any]:
        array: NDArray[Any] = self._arrays[name].read(key)
        return array.astype(self.variables[name].dtype, copy=False).T


def _examined(file: Hdf5File, name: str) -> Variable:
    """Look at a dataset without reading it."""
    item = file.describe(name)
    if item is None or item.kind == "link":
        return Variable(name, (), None, "a link")
    if item.kind == "group":
        return Variable(name, (), None, "struct")
    if item.elsewhere:
        return Variable(name, (), None, "kept in another file")
    label = file.attribute("MATLAB_class", name)
    kind = (label or "") if isinstance(label, str | None) else f"of class {type(label).__name__}"
    shape = tuple(reversed(item.shape or ()))
    if item.fields:
        return Variable(name, shape, None, "complex" if item.fields[-1] == "imag" else "struct")
    refuse_more_than_held(file.path, item, name, axes=-1)
    numeric = item.dtype.kind in "iuf" and item.dtype.itemsize in (1, 2, 4, 8) and item.dtype != np.float16
    empty = file.attribute("MATLAB_empty", name) is not None
    if not numeric or (kind and kind not in _DTYPES) or empty:
        return Variable(name, shape, None, kind or str(item.dtype))
    return Variable(name, shape, item.dtype.newbyteorder("=").name, kind or item.dtype.name)


def _damaged(path: Path, error: BaseException) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path}: cannot be read as a .mat file, it may be damaged: {reason}")


def wavelengths_in(file: MatFile, name: str, count: int) -> tuple[float, ...] | None:
    """Read the wavelengths in nm that a variable lists; None unless it has `count` that ascend from 100 on.

    Numbers below 100 may be micrometres or indices; nothing is guessed from them.
    """
    variable = file.variables.get(name)
    if variable is None or variable.dtype is None or math.prod(variable.shape) != count:
        return None
    values = file.read(name).astype(np.float64).ravel()
    if not np.isfinite(values).all() or values[0] < 100 or (np.diff(values) <= 0).any():
        return None
    return tuple(float(value) for value in values)
