"""Classes of pixels that products mask by themselves, such as clouds, and those of them that a run asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError, UsageError, did_you_mean

CLASSES = ("cloud", "dilated-cloud", "cirrus", "haze", "shadow", "snow", "water")
SIDES = ("lr", "msi")
"""What a class is prefixed by where it is asked of the LR-HSI, or of the HR-MSI, alone."""

AskedMask = tuple[str, ...]
"""Classes of a run, `cloud` of every product, `lr:cloud` or `msi:cloud` of one of a pair."""

_WANTED = f"some of {', '.join(CLASSES)} with commas between; of one raster alone lr:CLASS or msi:CLASS"


@dataclass(frozen=True)
class MaskClass:
    """A class in bands (from 1) of a mask's file: pixels of one of `values` in any, or with one of `bits` set.

    `known`: all values that the format names; empty: any may be.
    """

    path: Path
    values: tuple[int, ...] = ()
    bits: int = 0
    bands: tuple[int, ...] = (1,)
    known: tuple[int, ...] = ()

    def found(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which stored values are of the class. Raises InputError for values that the format does not name."""
        if self.known:
            strange = ~np.isin(stored, self.known)
            if strange.any():
                raise InputError(
                    f"{self.path}: holds {stored[strange][0]}, which no class of its format has: get the product "
                    "again, or leave it out of --mask"
                )
        if self.bits:
            return np.asarray(stored & self.bits != 0)
        return np.isin(stored, self.values)


def parse_mask(text: str) -> AskedMask:
    """The classes of a text, each once, in one order. Raises ValueError that says what it must be."""
    parts = {part.lower() for part in text.replace(",", " ").split()}
    known = [*CLASSES, *(f"{side}:{name}" for side in SIDES for name in CLASSES)]
    if not parts or not parts <= set(known):
        raise ValueError(
            _WANTED + "".join(did_you_mean(part, known) for part in sorted(parts - set(known))[:1])
        )
    return tuple(part for part in known if part in parts and part.rpartition(":")[2] not in parts - {part})


def asked_of(mask: AskedMask, sides: Sequence[str | None]) -> list[tuple[AskedMask, AskedMask]]:
    """For each raster, by its side: the classes asked of any product, and those asked of it alone.

    Raises UsageError for one that is asked of a side where no raster has one.
    """
    for part in mask:
        side, _, _ = part.rpartition(":")
        if side and side not in sides:
            raise UsageError(
                f"--mask {part}: is for an LR-HSI with an HR-MSI: give {part.rpartition(':')[2]}"
            )
    common = tuple(part for part in mask if ":" not in part)
    return [(common, _of_side(mask, side)) for side in sides]


def _of_side(mask: AskedMask, side: str | None) -> AskedMask:
    return tuple(part.partition(":")[2] for part in mask if side is not None and part.startswith(f"{side}:"))


def plain_classes(mask: AskedMask) -> AskedMask:
    """The classes asked of a raster that is none of a pair. Raises UsageError for those asked of one of a pair."""
    return asked_of(mask, [None])[0][0]


def by_side(mask: AskedMask) -> list[AskedMask]:
    """The classes asked of the LR-HSI alone, and of the HR-MSI alone."""
    return [_of_side(mask, side) for side in SIDES]


def sided(classes: Iterable[AskedMask]) -> AskedMask:
    """The classes of the LR-HSI and of the HR-MSI as a run would ask for them one by one: undoes `by_side`."""
    return tuple(f"{side}:{name}" for side, names in zip(SIDES, classes, strict=True) for name in names)
