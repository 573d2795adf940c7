"""Metadata of the USGS in groups: `GROUP = NAME`, `KEY = VALUE`, `END_GROUP = NAME`, and the values in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.metadata_xml import MOST_BYTES

Groups = Mapping[str, Mapping[str, str]]


def read_odl(path: Path, root: str, mission: str) -> Groups:
    """The values of a text file by group and key. Raises InputError where it is another's, or cut short."""
    try:
        return groups_of(metadata_text(path), root)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{path}: holds no metadata of {mission}, or is cut short: get the product again"
        ) from error


def metadata_text(path: Path) -> str:
    """The text of a metadata file. Raises InputError: cannot be read, too large; ValueError: no text."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: is larger than any product's metadata: get the product again")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def groups_of(text: str, root: str) -> Groups:
    """The groups within that of the whole file, which is called `root`. Raises ValueError where one has no end."""
    groups: dict[str, dict[str, str]] = {}
    inside: list[str] = []
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            inside.append(value)
        elif key == "END_GROUP" and inside and inside.pop() != value:
            raise ValueError(value)
        elif key == "END" and not inside:
            break
        elif value and inside:
            groups.setdefault(inside[-1], {}).setdefault(key, value.strip('"'))
    if inside or root not in text[:200]:
        raise ValueError(root)
    return groups


def text_of(groups: Groups, group: str, key: str, path: Path) -> str:
    """The text of a key. Raises InputError where there is none."""
    found = groups.get(group, {}).get(key)
    if not found:
        raise InputError(f"{path}: has no {group}/{key}: get the product again")
    return found


def number_of(groups: Groups, group: str, key: str, path: Path) -> float:
    """The finite number of a key. Raises InputError where there is none."""
    text = text_of(groups, group, key, path)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{path}: has '{text[:40]}' as {group}/{key}, which is no number: get the product again"
        )
    return number
