"""ENVI headers as programs write them: `map info`, wavelengths, nodata, encodings of all kinds; damaged ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from affine import Affine

from tests.benchmarks.strangers.damage import AWKWARD, damaged
from tests.benchmarks.strangers.door import Door
from tests.benchmarks.strangers.oracles import Truth, converted_faults, record_faults
from tests.support.rasters import write_envi

_DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
_DATUMS = ("WGS-84", "WGS 84", "ETRS89", "GDA94", "North America 1983", "D_GDA_1994", "Atlantis 3", "")
_UNITS = {"Nanometers": 1, "nm": 1, "NANOMETERS": 1, "Micrometers": 1000, "um": 1000, "microns": 1000}
_NODATA = {
    "-9999": -9999.0,
    "-9999.0": -9999.0,
    "-9.999e3": -9999.0,
    "{-9999}": -9999.0,
    "+0": 0.0,
    "0.0": 0.0,
    "65535": 65535.0,
    "255": 255.0,
    "-32768": -32768.0,
    "none": None,
    "n/a": None,
    "-": None,
}
_OTHER_KEYS = (
    *("description", "sensor type", "acquisition time", "default bands", "z plot range", "cloud cover"),
    *("x start", "spectra names", "file_type", "Samples ", "solar irradiance", "comment", "pixel size"),
)


@dataclass
class Header:
    """Entries of a header in order, and what a reader must make of them."""

    fields: dict[str, str] = field(default_factory=dict)
    truth: Truth = field(default_factory=Truth)


def cases(chance: Random, emrdiff: Door) -> Iterator[str]:
    """Make a raster with its header, read and convert it; faults."""
    bands, height, width = chance.randint(1, 5), chance.randint(1, 6), chance.randint(1, 6)
    dtype = chance.choice(_DTYPES)
    values = numbered(bands, height, width, dtype)
    header = Header()
    for chosen in (_placed, _coloured, _declared, _told):
        if chance.random() < 0.7:
            chosen(chance, header, bands, dtype)
    name = "x" + chance.choice(("", ".bsq", ".bil", ".img", ".dat", ".raw", ".hyspex", ".pix"))
    write_envi(
        Path(name),
        values,
        interleave=chance.choice(("bsq", "bil", "bip")),
        byte_order=chance.randint(0, 1),
        offset=chance.choice((0, 0, 0, 7, 128)),
        header=Path("x.hdr"),
        fields=header.fields,
    )
    text = spelt(chance, Path("x.hdr").read_text())
    whole = chance.random() < 0.55
    Path("x.hdr").write_bytes(text if whole else damaged(chance, text))
    asked = chance.choice((name, "x.hdr"))
    found = emrdiff.record(asked)
    if chance.random() < 0.1:
        emrdiff("info", asked)
    yield from record_faults(found, header.truth if whole else Truth(), bands)
    if whole and found is None:
        yield "a sound header is refused"
    if found is None:
        return
    yield from converted_faults(chance, emrdiff, asked, found, values if whole else None)


def numbered(bands: int, height: int, width: int, dtype: str) -> Any:
    """Values that differ in all pixels, which in bytes are up to 5 x 6 x 6."""
    return np.arange(1, bands * height * width + 1).astype(dtype).reshape(bands, height, width)


def spelt(chance: Random, text: str) -> bytes:
    """The same header in another hand: case, blanks, broken lists, comments, ends of lines, encodings."""
    lines = []
    for line in text.splitlines():
        key, equals, value = line.partition(" = ")
        if equals and chance.random() < 0.3:
            key = chance.choice((key.upper(), key.title(), key.replace(" ", "  "), key))
        if value.startswith("{") and chance.random() < 0.3:
            value = value.replace(", ", chance.choice((",\n ", ",", " , ", ",\n"))).replace("{", "{\n ", 1)
        lines.append(key + (chance.choice((" = ", "=", "  =  ", " =")) if equals else "") + value)
        if chance.random() < 0.1:
            lines.append(chance.choice(("; a comment = {1, 2", "", ";", "  ; {", ";wavelength = {1}")))
    end = chance.choice(("\n", "\n", "\r\n"))
    whole = end.join(lines) + chance.choice(("", end))
    encoding = chance.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"))
    return whole.encode(encoding)


def _placed(chance: Random, header: Header, _bands: int, _dtype: str) -> None:
    kind = chance.choice(("UTM", "UTM", "Geographic Lat/Lon", "Arbitrary"))
    col, row = chance.choice(((1.0, 1.0), (1.0, 1.0), (1.5, 1.5), (0.0, 0.0), (3.0, 2.25), (-10.5, 400.0)))
    wide = chance.choice((30.0, 0.5, 17.3))
    high = chance.choice((wide, wide, 2 * wide))
    x, y = round(chance.uniform(2e5, 8e5), 3), round(chance.uniform(1e5, 9e6), 3)
    if kind == "Geographic Lat/Lon":
        x, y, wide, high = round(chance.uniform(-179, 179), 6), round(chance.uniform(-80, 80), 6), 1e-3, 1e-3
    entries = [kind, col, row, x, y, wide, high]
    if kind == "UTM":
        entries += [chance.randint(1, 60), chance.choice(("North", "South"))]
    datum = chance.choice(_DATUMS)
    entries += [datum] if kind != "Arbitrary" and datum else []
    if kind != "Arbitrary" and chance.random() < 0.5:
        entries.append("units=" + ("Degrees" if kind.startswith("Geo") else "Meters"))
    angle = chance.choice((0, 0, 0, 30, -12.5, 90, 170)) if kind == "UTM" else 0
    if angle:
        entries.append(chance.choice(("rotation={}", "rotation = {}", "Rotation={}")).format(angle))
    header.fields["map info"] = "{" + ", ".join(map(str, entries)) + "}"
    turn = math.radians(angle)
    a, b = wide * math.cos(turn), high * math.sin(turn)
    d, e = wide * math.sin(turn), -high * math.cos(turn)
    header.truth.transform = Affine(
        *(a, b, x - a * (col - 1) - b * (row - 1)), *(d, e, y - d * (col - 1) - e * (row - 1))
    )


def _coloured(chance: Random, header: Header, bands: int, _dtype: str) -> None:
    centres = sorted(round(chance.uniform(380, 2500), 2) for _ in range(bands))
    if chance.random() < 0.2:
        centres.reverse()
    if chance.random() < 0.1:
        centres[-1] = centres[0]
    unit, factor = chance.choice(list(_UNITS.items()))
    texts = [f"{centre / factor:.6g}" for centre in centres]
    header.truth.wavelengths = [float(text) * factor for text in texts]
    if chance.random() < 0.25:
        texts[chance.randrange(bands)] = chance.choice(("0", "-1", "nan", "1e308", "inf", "", "x", "1e-320"))
        header.truth.wavelengths = None
        header.truth.no_wavelengths = True
    if chance.random() < 0.05:
        texts.append("2501")
        header.truth.wavelengths, header.truth.no_wavelengths = None, True
    header.fields["wavelength"] = "{" + ", ".join(texts) + "}"
    if chance.random() < 0.85:
        header.fields["wavelength units"] = unit
    if chance.random() < 0.5:
        header.fields["fwhm"] = "{" + ", ".join(f"{10 / factor:g}" for _ in range(bands)) + "}"


def _declared(chance: Random, header: Header, _bands: int, dtype: str) -> None:
    text, value = chance.choice(list(_NODATA.items()))
    header.fields["data ignore value"] = text
    kind = np.dtype(dtype)
    held = value is not None and (kind.kind == "f" or np.iinfo(kind).min <= value <= np.iinfo(kind).max)
    header.truth.nodata = (value if held else None,)


def _told(chance: Random, header: Header, bands: int, _dtype: str) -> None:
    for key in chance.sample(_OTHER_KEYS, chance.randint(1, 3)):
        if key.strip().lower() in ("samples", "file_type"):
            continue
        header.fields[key] = chance.choice(
            ("{a, b}", "{1,\n 2}", "text = with equals", "ä µm", "2020-01-01T00:00:00Z", "{}", *AWKWARD[:5])
        )
    if chance.random() < 0.3:
        header.fields["band names"] = "{" + ", ".join(f"band {i} é" for i in range(bands)) + "}"
    if chance.random() < 0.2:
        header.fields["bbl"] = "{" + ", ".join(str(chance.randint(0, 1)) for _ in range(bands)) + "}"
