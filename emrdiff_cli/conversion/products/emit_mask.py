"""EMIT's own masks: the L2A MASK file (netCDF-4) that is shipped beside a scene's cube, in the sensor's geometry.

Layout: `mask`, downtrack x crosstrack x bands of float32, 1 where a flag is set;
`sensor_band_parameters/mask_bands` names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.hdf5 import Hdf5Array, Hdf5File, open_hdf5

_SCENE = re.compile(r"EMIT_L(?:2A_RFL|1B_RAD)_(?P<scene>\w+)\.nc", re.IGNORECASE)
_FLAGS = {
    "cloud": "cloud flag",
    "dilated-cloud": "dilated cloud flag",
    "cirrus": "cirrus flag",
    "water": "water flag",
}
_VALUES = (0, 1, -9999)


class EmitMask:
    """The classes asked for in an open MASK file, by the sensor's rows and columns; counts what it is asked of."""

    def __init__(self, array: Hdf5Array, bands: dict[str, int]) -> None:
        self._array, self._bands = array, bands
        self.path = array.path
        self.counts = dict.fromkeys(bands, 0)

    def note(self, pixels: int) -> str:
        """The share of so many pixels that each class takes of those that were asked for."""
        classes = ", ".join(f"{name} {count / pixels:.2%}" for name, count in self.counts.items())
        return f"masked by {self.path.name}: {classes}"

    def hidden(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where any of the classes is, by the sensor's rows and columns, from 1, of a part of the ground.

        Nowhere where these are 0.
        """
        hidden = np.zeros(rows.shape, bool)
        seen = (rows > 0) & (cols > 0)
        if not seen.any():
            return hidden
        down, right = rows[seen] - 1, cols[seen] - 1
        top, left = int(down.min()), int(right.min())
        stored = self._array.read((slice(top, int(down.max()) + 1), slice(left, int(right.max()) + 1)))
        flags = stored[down - top, right - left][:, list(self._bands.values())]
        if not np.isin(flags, _VALUES).all():
            raise InputError(
                f"{self.path}: holds flags that are neither 0 nor 1: get it again, or leave --mask out"
            )
        for name, of_class in zip(self.counts, flags.T, strict=True):
            self.counts[name] += int((of_class == 1).sum())
        hidden[seen] = (flags == 1).any(axis=1)
        return hidden


@contextmanager
def open_mask(cube: Hdf5File, shape: Sequence[int], classes: AskedMask) -> Iterator[EmitMask]:
    """Open the MASK file beside a cube of so many rows and columns.

    Raises InputError where it is missing, or is that of another scene; UsageError for a class that it does not
    have.
    """
    path = _beside(cube.path)
    with open_hdf5(path) as file:
        array = file.array("mask", 3)
        same = all(
            file.attribute(name) == cube.attribute(name) for name in ("time_coverage_start", "flight_line")
        )
        if tuple(array.shape[:2]) != tuple(shape) or not same:
            raise InputError(
                f"{path}: is not the mask of {cube.path.name}, but of another scene: put this one's own there"
            )
        named = [name.strip().lower() for name in file.texts("sensor_band_parameters/mask_bands")]
        bands = {name: named.index(flag) for name, flag in _FLAGS.items() if flag in named[: array.shape[2]]}
        missing = [name for name in classes if name not in bands]
        if missing:
            raise UsageError(f"--mask {missing[0]}: {path}, EMIT L2A MASK, has masks of {', '.join(bands)}")
        yield EmitMask(array, {name: bands[name] for name in classes})


def _beside(cube: Path) -> Path:
    found = _SCENE.fullmatch(cube.name)
    if found is None:
        raise InputError(
            f"{cube}: is not named as it was shipped (EMIT_L2A_RFL_..., EMIT_L1B_RAD_...), by which its mask is "
            "found: give it that name"
        )
    path = cube.with_name(f"EMIT_L2A_MASK_{found['scene']}.nc")
    if not path.is_file():
        raise InputError(
            f"{cube}: its mask, {path.name}, is not beside it: put it there, or leave --mask out"
        )
    return path
