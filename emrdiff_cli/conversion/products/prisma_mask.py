"""PRISMA L1's own masks, on the pixels of its cube, where the processor wrote them: clouds, and by land cover.

Layout: `Cloud_Mask` and `LandCover_Mask`, rows x columns of uint8 (PRISMA Products Specification Document 2.3):
clouds 0 no, 1 yes; cover 0 water, 1 snow and ice, 2 to 6 other land; of both 10 none of these and 255 an error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.containers import Container
from emrdiff_cli.raster.hdf5 import Hdf5Array, Hdf5File

_LEVEL = "PRISMA L1"
_CLASSES = {"cloud": ("Cloud_Mask", 1), "snow": ("LandCover_Mask", 1), "water": ("LandCover_Mask", 0)}
_UNKNOWN, _ERROR = 10, 255
_KNOWN = {"Cloud_Mask": (0, 1, _UNKNOWN, _ERROR), "LandCover_Mask": (*range(7), _UNKNOWN, _ERROR)}


class PrismaMask:
    """The classes asked for of an open L1 file; counts what it is asked of.

    Raises UsageError for another level or class, InputError for a mask that is missing or of another size.
    """

    def __init__(self, file: Hdf5File, container: Container, classes: AskedMask) -> None:
        strange = [name for name in classes if name not in _CLASSES]
        if container.name != _LEVEL or strange:
            raise UsageError(
                f"--mask {(strange or classes)[0]}: {file.path} is {container.name}: L1 alone has masks, of "
                f"{', '.join(_CLASSES)}"
            )
        fields = f"{container.root}_HCO/Data Fields"
        rows, _, cols = file.array(f"{fields}/VNIR_Cube", 3).shape
        self._path = file.path
        self._arrays = {name: _array(file, fields, name, (rows, cols)) for name in classes}
        self._size = rows * cols
        self.counts = dict.fromkeys(classes, 0)

    def hidden(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Where any of the classes is in these rows. Raises InputError for values that are no class."""
        found = []
        for name, array in self._arrays.items():
            layer, value = _CLASSES[name]
            stored = array.read((slice(start, stop),))
            if not np.isin(stored, _KNOWN[layer]).all():
                raise InputError(
                    f"{self._path}: {layer} holds values of no class: get it again, or leave --mask out"
                )
            found.append(stored == value)
            self.counts[name] += int(found[-1].sum())
        return np.asarray(np.logical_or.reduce(found))

    def note(self) -> str:
        """The share of the cube's pixels that each class takes, of those that were asked of."""
        classes = ", ".join(f"{name} {count / self._size:.2%}" for name, count in self.counts.items())
        return f"masked in {self._path.name}: {classes}"


def _array(file: Hdf5File, fields: str, name: str, size: tuple[int, int]) -> Hdf5Array:
    layer = f"{fields}/{_CLASSES[name][0]}"
    if layer not in file:
        raise InputError(
            f"{file.path}: has no {_CLASSES[name][0]}, which is written where its bands were there alone: leave "
            f"{name} out of --mask"
        )
    array = file.array(layer, 2)
    if array.shape != size or array.dtype.kind not in "iu":
        raise InputError(f"{file.path}: {layer} is not of its cube's size: a mixed product: get it again")
    return array
