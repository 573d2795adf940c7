"""Matlab's files for tests, written without the package; arrays are in Matlab's order of axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from tests.support.rasters import pixels

_CLASSES = {"float64": "double", "float32": "single"}


def matrix(height: int, width: int, bands: int, dtype: str = "float64") -> NDArray[Any]:
    """An image as Matlab has it, bands last; different from all neighbours, and no two axes alike."""
    return pixels(bands, height, width, dtype).transpose(1, 2, 0)


def write_mat5(path: Path, **arrays: Any) -> Path:
    """Write version 7, as `save` does by default."""
    savemat(path, arrays, do_compression=True)
    return path


def write_mat73(path: Path, *, chunks: tuple[int, ...] | None = None, **arrays: NDArray[Any]) -> Path:
    """Write version 7.3: Matlab's first 512 bytes, axes reversed, types by name; `chunks` as HDF5 has them."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            shape = array.T.shape if chunks is None or array.ndim < 3 else chunks
            dataset = file.create_dataset(name, data=array.T, chunks=shape, compression="gzip")
            dataset.attrs["MATLAB_class"] = np.bytes_(_CLASSES.get(array.dtype.name, array.dtype.name))
    begin_as_matlab(path)
    return path


def begin_as_matlab(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
