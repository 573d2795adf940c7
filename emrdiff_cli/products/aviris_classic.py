"""AVIRIS-Classic L1B, orthorectified: ENVI of int16, `f*rdn_*_sc01_ort_img`, with its line's `.gain` and `.spc`.

Radiance in uW/cm^2/nm/sr = stored value / gain, by band (AVIRIS Distribution Document, JPL 2003); -50 where the
scanner saw nothing, which headers do not say. Centres and FWHM are the header's, or the first two columns of the
`.spc`. Bands stay in their order: the spectrometers A to D overlap, so that wavelengths step back between them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.metadata_envi import entries
from emrdiff_cli.products.product import Layer, Product
from emrdiff_cli.raster_info import Bands

_FILE = re.compile(
    r"(?P<line>f(?P<date>\d{6})t\d{2}p\d{2}r\d{2}rdn_\w+?)_sc\d{2}(?:_ort)?_img(?P<header>\.hdr)?",
    re.IGNORECASE,
)
_INT16 = "2"  # ENVI's number of the type
_UNITS = "uW/cm^2/nm/sr"
_FILL = -50.0
_LONGEST_TABLE = 2**20  # bytes: those of 224 bands have 7 KB
_MICROMETRES_BELOW = 100.0  # AVIRIS sees 365 to 2500 nm
_FIRST_YEAR = 80  # of the century before


def metadata_of(path: Path) -> Path | None:
    """The header of stored radiance or of itself; None for any other file, floating point too, which is no more."""
    found = _FILE.fullmatch(path.name)
    if found is None:
        return None
    header = path if found["header"] else _beside(path, f"{path.name}.hdr")
    return header if header is not None and entries(header).get("data_type") == _INT16 else None


def metadata_in(folder: Path) -> list[Path]:
    """The headers of all scenes of stored radiance in a folder."""
    named = (_FILE.fullmatch(path.name) for path in sorted(folder.iterdir()))
    headers = (folder / found.string for found in named if found is not None and found["header"])
    return [header for header in headers if metadata_of(header) is not None]


def read(metadata: Path) -> Product:
    """The product of a header. Raises InputError: no image, gain or header missing or damaged."""
    stated = _FILE.fullmatch(metadata.name)
    line, taken = (stated["line"], stated["date"]) if stated else ("", "")
    image = _beside(metadata, metadata.stem)
    if image is None:
        raise InputError(f"{metadata}: has no {metadata.stem} beside it, the pixels: put it there")
    gain, spectral = _beside(metadata, f"{line}.gain"), _beside(metadata, f"{line}.spc")
    if gain is None:
        raise InputError(
            f"{metadata}: is AVIRIS-Classic's radiance times a factor by band, and has no {line}.gain beside it, "
            "the factors: put it there, or give what was made of it another name"
        )
    header = entries(metadata)
    # The gain's rows hold the header's count of bands to what is there, before anything is made of it.
    lines, samples, bands = (_whole(header, key, metadata) for key in ("lines", "samples", "bands"))
    factors = _factors(gain, bands)
    return Product(
        name="AVIRIS-Classic L1B",
        path=image,
        metadata=metadata,
        driver="ENVI",
        layers=tuple(Layer(image, band) for band in range(1, bands + 1)),
        bands=_bands(header, bands, spectral, metadata),
        nodata=tuple(dict.fromkeys((_fill(header, metadata), _FILL))),
        scales=tuple(1 / factor for factor in factors),
        offsets=(0.0,) * bands,
        size=(lines, samples),
        tags={
            **({"acquisition_time": day} if (day := _day(taken)) else {}),
            "sensor_type": "AVIRIS-Classic",
            "processing_level": "L1B",
            "product_id": metadata.stem,
        },
        beside=(gain, *([] if spectral is None else [spectral])),
    )


def _beside(path: Path, name: str) -> Path | None:
    """The file of a name, in any case, beside another."""
    alike = (entry for entry in sorted(path.parent.iterdir()) if entry.name.lower() == name.lower())
    return next((entry for entry in alike if entry.is_file()), None)


def _whole(header: Mapping[str, str], key: str, path: Path) -> int:
    text = header.get(key, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise InputError(f"{path}: states '{text[:20]}' {key}: get the product again")
    return int(text)


def _fill(header: Mapping[str, str], path: Path) -> float:
    text = header.get("data_ignore_value", str(_FILL))
    try:
        fill = float(text)
    except ValueError:
        fill = math.nan
    if not math.isfinite(fill):
        raise InputError(f"{path}: its data ignore value '{text[:20]}' is none: correct it")
    return fill


def _bands(header: Mapping[str, str], count: int, spectral: Path | None, path: Path) -> Bands:
    """Centres and FWHM of the header, or what it has not of the spectral calibration; its marks of bad bands."""
    lengths, widths, marks = (_listed(header, key, count, path) for key in ("wavelength", "fwhm", "bbl"))
    if lengths is not None and max(lengths) < _MICROMETRES_BELOW:
        lengths, widths = (
            None if each is None else tuple(1000 * v for v in each) for each in (lengths, widths)
        )
    if spectral is not None and (lengths is None or widths is None):
        calibrated = _columns(spectral, count, 2)
        lengths, widths = lengths or calibrated[0], widths or calibrated[1]
    if min((*(lengths or ()), *(widths or ())), default=1.0) <= 0:
        raise InputError(f"{spectral or path}: has a wavelength or FWHM of no length: get the product again")
    return Bands(
        count=count,
        wavelengths_nm=lengths,
        fwhm_nm=widths,
        good=None if marks is None else tuple(mark != 0 for mark in marks),
        units=(_UNITS,) * count,
    )


def _listed(header: Mapping[str, str], key: str, count: int, path: Path) -> tuple[float, ...] | None:
    """A header's list of a number a band; None without one."""
    words = re.split(r"[,\s]+", header.get(key, "").strip("{} \t\r\n"))
    if words == [""]:
        return None
    numbers = _numbers(words)
    if numbers is None or len(numbers) != count:
        raise InputError(f"{path}: its {key} is no list of {count} numbers: get the product again")
    return numbers


def _factors(gain: Path, count: int) -> tuple[float, ...]:
    """The factor by band of a table of factor and channel, counted from 1 or from 0."""
    factors, channels = _columns(gain, count, 2)
    counted = (tuple(map(float, range(first, first + count))) for first in (0, 1))
    if min(factors) <= 0 or channels not in counted:
        raise InputError(
            f"{gain}: has no factor of each of {count} channels, in their order: get the product again"
        )
    return factors


def _columns(path: Path, rows: int, columns: int) -> list[tuple[float, ...]]:
    """The first columns of a table in ASCII of so many rows of numbers. Raises InputError where it is another."""
    try:
        with path.open(encoding="latin-1") as file:
            lines = [line.split() for line in file.read(_LONGEST_TABLE).splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    read = (_numbers(line[:columns]) for line in lines)
    found = [numbers for numbers in read if numbers is not None and len(numbers) == columns]
    if not len(lines) == len(found) == rows:
        raise InputError(
            f"{path}: has {len(lines)} rows, {len(found)} of numbers, for {rows} bands: it is cut short, damaged "
            "or another product's: get the product again"
        )
    return list(zip(*found, strict=True))


def _numbers(words: list[str]) -> tuple[float, ...] | None:
    """Finite numbers; None where one is none."""
    try:
        numbers = tuple(map(float, words))
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _day(digits: str) -> str | None:
    """The day of a flight, yymmdd in its name, in full; None where it is no day."""
    year = int(digits[:2])
    century = 1900 if year >= _FIRST_YEAR else 2000
    try:
        return date(century + year, int(digits[2:4]), int(digits[4:])).isoformat()
    except ValueError:
        return None
