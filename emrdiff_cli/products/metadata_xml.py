"""Metadata files in XML: parsed without entities and in bounded memory, and what is found in them by its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from emrdiff_cli.errors import InputError

MOST_BYTES = 64 * 2**20
"""No product's metadata are larger: EnMAP's, with every state of the orbit, take 4 MB."""

_Value = TypeVar("_Value", int, float)


def read_xml(path: Path, root: str | None = None) -> Element:
    """The root element of a metadata file, whose name, without its namespace, is `root`; None: any.

    Raises InputError where the file cannot be read, is too large, no XML, cut short, declares a document type (as
    no agency's does) or is of another kind.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: has {size} bytes, no product's metadata do: get the product again")
        element: Element = fromstring(path.read_bytes(), forbid_dtd=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except DefusedXmlException as error:
        raise InputError(
            f"{path}: declares a document type or entities, no product's metadata do: get the product again"
        ) from error
    except (ParseError, UnicodeDecodeError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no XML, or is cut short ({error}): get the product again") from error
    found = element.tag.rpartition("}")[2]
    if root is not None and found != root:
        raise InputError(
            f"{path}: holds '{found[:60]}' where a product's metadata hold '{root}': get it again"
        )
    return element


def text_at(element: Element, place: str, path: Path) -> str:
    """The text at a place below an element. Raises InputError where there is none."""
    found = element.findtext(place)
    if found is None or not found.strip():
        raise InputError(f"{path}: has no {place}: get the product again")
    return found.strip()


def number_at(element: Element, place: str, path: Path) -> float:
    """The finite number at a place below an element. Raises InputError where there is none."""
    return _number(element, place, path, float)


def whole_number_at(element: Element, place: str, path: Path) -> int:
    """The whole number at a place below an element. Raises InputError where there is none."""
    return _number(element, place, path, int)


def _number(element: Element, place: str, path: Path, kind: Callable[[str], _Value]) -> _Value:
    text = text_at(element, place, path)
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not math.isfinite(number):
        raise InputError(f"{path}: has '{text[:40]}' as {place}, which is no number: get the product again")
    return number
