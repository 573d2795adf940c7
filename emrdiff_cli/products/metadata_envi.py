"""ENVI headers: their entries, whatever they are encoded in, in GDAL's spelling."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from emrdiff_cli.errors import InputError

ENTRY = re.compile(r"^([^=\n{}]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", re.MULTILINE)

_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"E\0N\0", "utf-16-le"),
    (b"\0E\0N", "utf-16-be"),
)
_COMMENT = re.compile(rb"^[ \t]*;.*(?:\n|\Z)", re.MULTILINE)
_ENTRY = re.compile(ENTRY.pattern.encode(), re.MULTILINE)  # by bytes, of which \s takes none of a letter's
_OF_MAP_INFO = re.compile(rb"\b(rotation|units)\s*=\s*", re.IGNORECASE)
_LONGEST = 2**26  # bytes: no header of any sensor comes near
_BYTES = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 9: 16, 12: 2, 13: 4, 14: 8, 15: 8}


def is_header(path: Path) -> bool:
    """Whether a file begins as an ENVI header does, in any encoding."""
    with path.open("rb") as file:
        return _plain(file.read(16)).startswith(b"ENVI")


def plain_content(header: Path) -> bytes:
    """A header in UTF-8 (or the 8-bit encoding that it is in) and GDAL's spelling, without comment lines.

    Raises InputError where it cannot be read, is too long for a header, or not in the encoding that it begins in.
    """
    try:
        if header.stat().st_size > _LONGEST:
            raise InputError(f"{header}: has more than {_LONGEST // 2**20} MB: is it a header?")
        return _ENTRY.sub(_respelt, _COMMENT.sub(b"", _plain(header.read_bytes(), "strict")))
    except OSError as error:
        raise InputError(f"{header}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{header}: is not the text that it begins as ({error.reason}): save it as UTF-8"
        ) from error


def entries(header: Path) -> dict[str, str]:
    """A header's entries; keys as GDAL has them: in lower case, `_` for blanks. Raises as `plain_content`."""
    text = plain_content(header).decode("utf-8", "replace")
    return {"_".join(match[1].lower().split()): match[2].strip() for match in ENTRY.finditer(text)}


def stated_size(header: Path) -> int | None:
    """Size in bytes of the data file that a header describes; None where it does not say. Raises as `entries`."""
    fields = entries(header)
    numbers = [fields.get(key, "") for key in ("samples", "lines", "bands", "data_type")]
    numbers.append(fields.get("header_offset", "0"))
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in numbers):
        return None
    samples, lines, bands, kind, offset = map(int, numbers)
    return offset + samples * lines * bands * _BYTES[kind] if kind in _BYTES else None


def _respelt(entry: re.Match[bytes]) -> bytes:
    """An entry as GDAL spells it; one that is so already, unchanged."""
    key, value = b" ".join(entry[1].split()), entry[2]
    if key.lower() == b"map info":
        value = _OF_MAP_INFO.sub(lambda found: found[1].lower() + b"=", value)
    elif key.lower() == b"data ignore value" and value.startswith(b"{"):
        value = value.strip(b"{} \t\r\n")
    return entry[0] if (key, value) == (entry[1], entry[2]) else key + b" = " + value


def _plain(content: bytes, errors: str = "ignore") -> bytes:
    for mark, encoding in _ENCODINGS:
        if content.startswith(mark):
            return content.decode(encoding, errors).encode()
    return content
