"""Elements of a .mat file of version 5 to 7: the types that it states, before a library follows them.

scipy looks types up in a table without asking whether they are in it: a damaged one ends the process.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = frozenset((*range(1, 8), 9, 12, 13))
_CLASSES_OF_NUMBERS = range(6, 16)
_NAMES = frozenset((1, 2, 16))
_KNOWN = (_NUMBERS, _NUMBERS, _NAMES, _NUMBERS)
_LOOKED_AT = 2**16  # bytes of an array: flags, sizes and name come first


def unknown_type(path: Path) -> int | None:
    """The first type of an array's own elements that is none; None where all are known, or in another version."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        size = path.stat().st_size
        at = _HEADER
        while order is not None and at + 8 <= size:
            file.seek(at)
            kind, length = struct.unpack(order + "II", file.read(8))
            content = file.read(min(length, _LOOKED_AT))
            if kind == _COMPRESSED:
                content = zlib.decompressobj().decompress(content, _LOOKED_AT)[8:]
            if kind in (_MATRIX, _COMPRESSED):
                wrong = [
                    kind
                    for kind, known in zip(_types(content, order), _KNOWN, strict=False)
                    if kind not in known
                ]
                if wrong:
                    return wrong[0]
            at += 8 + length
    return None


def _types(content: bytes, order: str) -> Iterator[int]:
    """Types of the elements in an array of numbers: flags, sizes, name, values; of others that of the flags."""
    at = 0
    for place in range(4):
        if at + 8 > len(content):
            return
        first, length = struct.unpack_from(order + "II", content, at)
        small, kind = first >> 16, first & 0xFFFF
        if place and content[8 if order == "<" else 11] not in _CLASSES_OF_NUMBERS:
            return
        yield kind if small else first
        at += 8 if small else 8 + length + -length % 8
