"""Frozen dataclasses as named arrays: how a journal keeps them and a cluster's workers are sent them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Kept = TypeVar("Kept")


def to_arrays(value: Any) -> Arrays:
    """The members of a dataclass by name: arrays, numbers and strings as arrays, None left out.

    A member that is a dataclass is taken apart: `member.name`.
    """
    arrays: Arrays = {}
    for name, member in vars(value).items():
        if is_dataclass(member):
            arrays |= {f"{name}.{inner}": array for inner, array in to_arrays(member).items()}
        elif member is not None:
            arrays[name] = np.asarray(member)
    return arrays


def from_arrays(kind: type[Kept], arrays: Mapping[str, NDArray[Any]], **kinds: type) -> Kept:
    """The dataclass of that kind that `to_arrays` took apart; `kinds`: members' classes that differ from declared.

    Raises KeyError where an array is missing.
    """
    hints = get_type_hints(kind)
    members = {}
    for name in (field.name for field in fields(kind)):  # type: ignore[arg-type]
        declared = kinds.get(name, hints[name])
        options = get_args(declared) if isinstance(declared, UnionType) else (declared,)
        members[name] = _member(name, options, arrays)
    return kind(**members)


def part(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays of a member, by their names in it."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _member(name: str, options: tuple[Any, ...], arrays: Mapping[str, NDArray[Any]]) -> Any:
    (kind,) = (option for option in options if option is not type(None))
    inner = part(name, arrays)
    if len(options) > 1 and not inner and name not in arrays:
        return None
    if is_dataclass(kind):
        return from_arrays(kind, inner)  # type: ignore[arg-type]
    return arrays[name] if arrays[name].ndim else arrays[name].item()
