"""Values of options as they are written in a manifest's cells: text -> value, paths from the manifest's folder.

Each reader raises ValueError that says what the text must be, or UsageError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emrdiff_cli.errors import UsageError
from emrdiff_cli.products.mask_classes import AskedMask, parse_mask
from emrdiff_cli.responses import built_in, sensor_of
from emrdiff_cli.zoo import shipped

Cell = Callable[[str, Path], Any]
"""Reads the text of a cell; paths count from the folder."""


def at_least(least: int) -> Cell:
    """Whole numbers from `least` on."""

    def parse(text: str, _folder: Path) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
            raise ValueError(f"a whole number, {least} or more")
        return int(text)

    return parse


def whole(text: str, _folder: Path) -> int:
    """A whole number of either sign."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ValueError("a whole number")
    return int(text)


def one_of(choices: Sequence[str]) -> Cell:
    """One of a few words."""

    def parse(text: str, _folder: Path) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse


def truth(text: str, _folder: Path) -> bool:
    """A flag: yes or no, in some spellings."""
    known = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in known:
        raise ValueError("yes or no")
    return known[text.lower()]


def words(text: str, _folder: Path) -> str:
    """Any text."""
    return text


def size(text: str, _folder: Path) -> int:
    """Bytes, as `parse_size` reads them."""
    return parse_size(text)


def numbers(*names: str) -> Cell:
    """A finite number for each name, with blanks or commas between."""
    wanted = f"{len(names)} numbers, {' '.join(names)}, with blanks between"

    def parse(text: str, _folder: Path) -> tuple[float, ...]:
        try:
            found = tuple(float(part) for part in text.replace(",", " ").split())
        except ValueError as error:
            raise ValueError(wanted) from error
        if len(found) != len(names) or not all(map(math.isfinite, found)):
            raise ValueError(wanted)
        return found

    return parse


def one_or_two(text: str, _folder: Path) -> tuple[float, float]:
    """A number for rows and columns alike, or one for each, with a comma between."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError("a number, or two with a comma between") from error
    if len(found) not in (1, 2) or not all(map(math.isfinite, found)):
        raise ValueError("a number, or two with a comma between")
    return found[0], found[-1]


def nodata(text: str, _folder: Path) -> tuple[float | None, float | None]:
    """A value for the LR-HSI and the HR-MSI alike, or one for each, with a comma between; `none`: none."""
    wanted = "a number, or two (LR-HSI,HR-MSI) of which one may be none"
    try:
        found = [None if part.strip().lower() == "none" else float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(wanted) from error
    if len(found) not in (1, 2):
        raise ValueError(wanted)
    return found[0], found[-1]


def mask(text: str, _folder: Path) -> AskedMask:
    """Classes of pixels that products mask themselves."""
    return parse_mask(text)


def pairs(text: str, _folder: Path) -> dict[str, str]:
    """Values by key."""
    parts = text.split()
    if not all("=" in part for part in parts):
        raise ValueError("KEY=VALUE, several with blanks between")
    return dict(part.split("=", 1) for part in parts)


def below(text: str, folder: Path) -> Path:
    """A path."""
    if "\0" in text:
        raise ValueError("a path, without a NUL")
    return folder / text


def model(text: str, folder: Path) -> str:
    """A shipped model's name, or the path of a model's folder."""
    return text if text in {known.name for known in shipped()} else str(below(text, folder))


def response(text: str, folder: Path) -> str:
    """A response's name, or the path of its CSV."""
    return text if sensor_of(text) in (*built_in(), "metadata", "estimate") else str(below(text, folder))


def parse_size(text: str) -> int:
    """Bytes of a size such as 2GB, 1.5G, 800MB or 500000000; raises UsageError."""
    units = {"": 1, "B": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    number = text.strip().upper().rstrip("B").strip()
    unit = number[-1:] if number[-1:] in "KMGT" else ""
    try:
        found = float(number.removesuffix(unit)) * units[unit]
    except ValueError:
        found = math.nan
    if not 1 <= found < math.inf:
        raise UsageError(f"--max-memory {text}: must be a size such as 2GB or 800MB")
    return int(found)
