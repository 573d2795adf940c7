"""GeoTIFFs written tag by tag: places, nodata, GDAL's metadata, both byte orders; damaged and impossible ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from affine import Affine

from tests.benchmarks.strangers.damage import AWKWARD, cut, flipped
from tests.benchmarks.strangers.door import Door
from tests.benchmarks.strangers.envi import numbered
from tests.benchmarks.strangers.oracles import Truth, converted_faults, record_faults

_DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")
_FORMATS = {"u": 1, "i": 2, "f": 3}
_TYPES = {"H": 3, "I": 4, "d": 12, "Q": 16}
_ASCII = 2
_NODATA = {
    "-9999": -9999.0,
    "-9999 ": -9999.0,
    "-9.999e+03": -9999.0,
    "0": 0.0,
    "65535": 65535.0,
    "255": 255.0,
    "nan": "nan",
    "NaN": "nan",
    "none": None,
    "": None,
    "-32768": -32768.0,
}
_KEYS = ("wavelength", "Wavelength", "WAVELENGTH", "wave length", "center_wavelength")
_CODES = (4326, 32633, 32755, 3857, 25833, 28355)
_GEOGRAPHIC = (4326,)

Entry = tuple[int, str, tuple[Any, ...] | bytes]


@dataclass
class Tiff:
    """Entries of a TIFF by tag, and what a reader must make of it."""

    values: Any
    entries: dict[int, tuple[str, Any]] = field(default_factory=dict)
    items: list[str] = field(default_factory=list)
    truth: Truth = field(default_factory=Truth)

    def content(self, order: str, big: bool) -> bytes:
        """The file: header, pixels plane by plane, what does not fit in the directory, directory."""
        bands, height, width = self.values.shape
        dtype = self.values.dtype
        pixels = self.values.astype(dtype.newbyteorder(order)).tobytes()
        start, plane = (16 if big else 8), len(pixels) // bands
        fixed: dict[int, tuple[str, Any]] = {
            256: ("I", (width,)),
            257: ("I", (height,)),
            258: ("H", (8 * dtype.itemsize,) * bands),
            259: ("H", (1,)),
            262: ("H", (1,)),
            273: ("I", tuple(start + plane * band for band in range(bands))),
            277: ("H", (bands,)),
            278: ("I", (height,)),
            279: ("I", (plane,) * bands),
            284: ("H", (2,)),
            339: ("H", (_FORMATS[dtype.kind],) * bands),
            **({338: ("H", (0,) * (bands - 1))} if bands > 1 else {}),
        }
        if self.items:
            fixed[42112] = ("s", f"<GDALMetadata>{''.join(self.items)}</GDALMetadata>".encode())
        return _file(order, big, pixels, fixed | self.entries)


def _file(order: str, big: bool, pixels: bytes, entries: dict[int, tuple[str, Any]]) -> bytes:
    offset, count = ("Q", "Q") if big else ("I", "H")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    body = pixels + bytes(len(pixels) % 2)
    room = struct.calcsize("=" + offset)
    at = len(head) + room
    directory = struct.pack(order + count, len(entries))
    for tag, (kind, value) in sorted(entries.items()):
        data = value + b"\0" if kind == "s" else struct.pack(f"{order}{len(value)}{kind}", *value)
        directory += struct.pack(order + "HH", tag, _ASCII if kind == "s" else _TYPES[kind])
        directory += struct.pack(order + offset, len(value) + (kind == "s"))
        if len(data) <= room:
            directory += data.ljust(room, b"\0")
        else:
            directory += struct.pack(order + offset, at + len(body))
            body += data + bytes(len(data) % 2)
    return head + struct.pack(order + offset, at + len(body)) + body + directory + bytes(room)


def cases(chance: Random, emrdiff: Door) -> Iterator[str]:
    """Make a GeoTIFF, read and convert it; faults."""
    bands, height, width = chance.randint(1, 5), chance.randint(1, 6), chance.randint(1, 6)
    made = Tiff(numbered(bands, height, width, chance.choice(_DTYPES)))
    for chosen in (_placed, _coloured, _declared, _told):
        if chance.random() < 0.7:
            chosen(chance, made)
    whole = chance.random() < 0.5
    if not whole and chance.random() < 0.6:
        _broken(chance, made)
    content = made.content(chance.choice("<>"), chance.random() < 0.2)
    if not whole and chance.random() < 0.6:
        content = cut(chance, content) if chance.random() < 0.2 else flipped(chance, content)
    Path("x.tif").write_bytes(content)
    found = emrdiff.record("x.tif")
    if chance.random() < 0.1:
        emrdiff("info", "x.tif")
    yield from record_faults(found, made.truth if whole else Truth(), bands)
    if whole and found is None:
        yield "a sound file is refused"
    if found is not None:
        yield from converted_faults(chance, emrdiff, "x.tif", found, made.values if whole else None)


def _placed(chance: Random, made: Tiff) -> None:
    code = chance.choice(_CODES)
    geographic = code in _GEOGRAPHIC
    x, y = (10.0, 50.0) if geographic else (round(chance.uniform(2e5, 8e5), 3), 5.8e6)
    wide = 1e-3 if geographic else chance.choice((30.0, 0.5, 17.3))
    point = chance.random() < 0.3
    keys = [1, 1, 0, 3, 1024, 0, 1, 2 if geographic else 1, 1025, 0, 1, 2 if point else 1]
    keys += [2048 if geographic else 3072, 0, 1, code]
    made.entries[34735] = ("H", tuple(keys))
    if chance.random() < 0.3:
        a, b, d, e = wide, chance.choice((0.0, wide / 3)), chance.choice((0.0, wide / 5)), -wide
        made.entries[34264] = ("d", (a, b, 0, x, d, e, 0, y, 0, 0, 0, 0, 0, 0, 0, 1))
        transform = Affine(a, b, x, d, e, y)
    else:
        col, row = chance.choice(((0.0, 0.0), (0.0, 0.0), (3.0, 2.0), (0.5, 0.5)))
        high = chance.choice((wide, 2 * wide))
        made.entries[33550] = ("d", (wide, high, 0.0))
        made.entries[33922] = ("d", (col, row, 0.0, x, y, 0.0))
        transform = Affine(wide, 0, x - col * wide, 0, -high, y + row * high)
    made.truth.transform = transform @ Affine.translation(-0.5, -0.5) if point else transform


def _coloured(chance: Random, made: Tiff) -> None:
    bands = len(made.values)
    centres = sorted(round(chance.uniform(380, 2500), 2) for _ in range(bands))
    factor, unit = chance.choice(((1, "Nanometers"), (1000, "Micrometers"), (1, "nm"), (1000, "um")))
    texts = [f"{centre / factor:.6g}" for centre in centres]
    key = chance.choice(_KEYS)
    known = key.lower() == "wavelength"
    made.truth.wavelengths = [float(text) * factor for text in texts] if known else None
    if chance.random() < 0.2:
        texts[chance.randrange(bands)] = chance.choice(("0", "-1", "nan", "1e308", "", "x"))
        made.truth.wavelengths, made.truth.no_wavelengths = None, known
    for band, text in enumerate(texts):
        made.items.append(_item(key, text, sample=band))
        made.items.append(_item(chance.choice(("wavelength_units", "Wavelength_Units")), unit, sample=band))


def _declared(chance: Random, made: Tiff) -> None:
    text, value = chance.choice(list(_NODATA.items()))
    made.entries[42113] = ("s", text.encode())
    kind = made.values.dtype
    if isinstance(value, float):
        held = kind.kind == "f" or np.iinfo(kind).min <= value <= np.iinfo(kind).max
    else:
        held = kind.kind == "f"
    made.truth.nodata = (value if held else None,)  # type: ignore[assignment]


def _told(chance: Random, made: Tiff) -> None:
    if chance.random() < 0.3:
        for band in range(len(made.values)):
            made.items.append(_item("SCALE", "0.0001", sample=band, role="scale"))
            made.items.append(_item("OFFSET", "-0.1", sample=band, role="offset"))
    for _ in range(chance.randint(0, 3)):
        key = chance.choice(
            ("samples", "map info", "a=b", "é", "data type", "Band_1", "wavelength units", "x:y")
        )
        made.items.append(_item(key, chance.choice(("{1, 2", "text", "}", "ä µm", "a\nb", "=1+1"))))
    if chance.random() < 0.3:
        made.items.append(_item("DESCRIPTION", "é, {", sample=0, role="description"))


def _item(name: str, value: str, **attributes: object) -> str:
    own = "".join(f" {key}={quoteattr(str(said))}" for key, said in attributes.items())
    return f"<Item name={quoteattr(name)}{own}>{escape(value)}</Item>"


def _broken(chance: Random, made: Tiff) -> None:
    """Entries that no sound file has: sizes and counts beyond all, text for numbers, other metadata."""
    numbers = (0, 1, 2, 3, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(4)
        if kind == 0:
            tag = chance.choice((256, 257, 277, 278, 259, 284, 258, 339, 322, 323, 262, 338))
            made.entries[tag] = ("I", (chance.choice(numbers),) * chance.randint(1, 3))
        elif kind == 1:
            made.entries[42113] = ("s", chance.choice(AWKWARD).encode())
        elif kind == 2:
            some = [
                chance.choice((0.0, -1.0, 1e308, float("nan"), float("inf"), 1e-320, 30.0)) for _ in range(16)
            ]
            tag, count = chance.choice(((33550, 3), (33922, 6), (33922, 12), (34264, 16), (33550, 2)))
            made.entries[tag] = ("d", tuple(some[:count]))
        else:
            made.items.append(
                chance.choice(
                    (
                        "<Item",
                        "&#1;",
                        _item("SCALE", chance.choice(AWKWARD).replace("\0", ""), sample=0, role="scale"),
                        _item("wavelength", "500", sample=chance.choice((-1, 0, 70000, "x"))),
                        "<Item name='wavelength' sample='0'><b/></Item>" * 100,
                    )
                )
            )
