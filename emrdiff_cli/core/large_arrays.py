"""Arrays that grow with a scene, kept where whoever works on it has room: in memory, or in files.

Of an array in a file the system holds in memory what was touched, as long as nobody lets go of it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

_MOST_TOUCHED = 32 * 2**20  # bytes of an array that are passed over before they are let go of


class LargeArrays(Protocol):
    """Makes arrays of zeros, in a place of its own."""

    def zeros(self, shape: tuple[int, ...]) -> Field:
        """An array of zeros."""
        ...

    def kept(self, values: Field) -> Field:
        """The values, moved there."""
        ...


class InMemory:
    """Arrays in memory."""

    def zeros(self, shape: tuple[int, ...]) -> Field:
        """An array of zeros."""
        return np.zeros(shape, np.float32)

    def kept(self, values: Field) -> Field:
        """The values themselves."""
        return values


IN_MEMORY = InMemory()


def let_go(*arrays: NDArray[Any]) -> None:
    """Have the system take back the memory of arrays that lie in files; their values stay."""
    for mapped in {id(found): found for found in map(_mapped, arrays) if found is not None}.values():
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def let_go_of(holder: Any) -> None:
    """`let_go` of all arrays of a dataclass, and of the dataclasses in it."""
    let_go(*_arrays_of(holder))


def chosen_bands(image: Field, chosen: NDArray[np.bool_], large: LargeArrays) -> Field:
    """The bands of an image (B, ...) that are `chosen` (B,): a copy in `large`, of all of them the image itself."""
    if chosen.all():
        return image
    taken = large.zeros((int(chosen.sum()), *image.shape[1:]))
    for band, into in zip(np.flatnonzero(chosen), taken, strict=True):
        into[:] = image[band]
        let_go(image, taken)
    return taken


def one_by_one(image: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The parts of an array along its first axis, each of which is let go of once it was passed over."""
    touched = 0
    for part in image:
        yield part
        touched += part.nbytes
        if touched > _MOST_TOUCHED:
            let_go(image)
            touched = 0
    let_go(image)


def _arrays_of(holder: Any) -> Iterator[NDArray[Any]]:
    for member in vars(holder).values():
        if isinstance(member, np.ndarray):
            yield member
        elif is_dataclass(member):
            yield from _arrays_of(member)


def _mapped(array: NDArray[Any]) -> mmap.mmap | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
