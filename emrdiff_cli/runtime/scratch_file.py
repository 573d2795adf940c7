"""Arrays in nameless files: what a run needs and memory should not hold, gone with the run however that ends."""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.runtime.atomic import failing_as_write_error

Field = NDArray[np.float32]

SMALL = 8 * 2**20  # bytes of an array that is held in memory all the same
_AT_ONCE = 2**20


class ScratchArrays:
    """Arrays (`core.large_arrays`) in files of a folder, which have no name there and go when nobody holds them.

    Those of less than `small` bytes are in memory.
    """

    def __init__(self, folder: Path, small: int = SMALL) -> None:
        self._folder, self._small = folder, small

    def zeros(self, shape: tuple[int, ...]) -> Field:
        """An array of zeros. Raises WriteError where the disk has no room for it."""
        size = 4 * math.prod(shape)
        if size < self._small or not size:
            return np.zeros(shape, np.float32)
        with failing_as_write_error(self._folder), TemporaryFile(dir=self._folder) as file:
            _reserve(file, size)
            return np.ndarray(shape, np.float32, buffer=mmap.mmap(file.fileno(), size))

    def kept(self, values: Field) -> Field:
        """The values, in a file; those that are in one already, or few, as they are. Raises as `zeros`."""
        if values.nbytes < self._small or isinstance(values.base, mmap.mmap):
            return values
        moved = self.zeros(values.shape)
        moved[:] = values
        return moved


def _reserve(file: IO[bytes], size: int) -> None:
    """Have a file hold so many zeros: where the disk has no room it is told now. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(_AT_ONCE)
    for start in range(0, size, _AT_ONCE):
        file.write(zeros[: size - start])
    file.flush()
