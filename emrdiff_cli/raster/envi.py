"""ENVI files by their names, sizes and header text: what GDAL does not look at."""

from __future__ import annotations

import glob
import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from affine import Affine

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.metadata_envi import ENTRY, entries, is_header, stated_size

_log = logging.getLogger(__name__)

DATA_SUFFIXES = ("", ".bsq", ".bil", ".bip", ".img", ".dat", ".raw", ".bin", ".hyspex", ".envi", ".pix")
_TIFF_SUFFIXES = (".tif", ".tiff")
_DTYPES = {
    "1": "uint8",
    "2": "int16",
    "3": "int32",
    "4": "float32",
    "5": "float64",
    "12": "uint16",
    "13": "uint32",
    "14": "int64",
    "15": "uint64",
}
_SCALES = ("reflectance_scale_factor", "data_gain_values", "data_offset_values")
# What GDAL quotes in its messages, which rasterio takes for UTF-8: it prints a traceback where they are not.
_QUOTED = {"map info", "projection info", "coordinate system string"}


def header_paths(data: Path) -> tuple[Path, Path]:
    """Name the two headers GDAL looks for: with the suffix replaced, and with `.hdr` added."""
    return data.with_suffix(".hdr"), data.with_name(data.name + ".hdr")


def find_header(data: Path) -> Path | None:
    """Find the ENVI header beside a data file."""
    for path in header_paths(data):
        for candidate in (path, path.with_suffix(".HDR")):
            if candidate.is_file() and candidate != data and is_header(candidate):
                return candidate
    return None


def data_paths(header: Path) -> Iterator[Path]:
    """Name the data files that are there and that GDAL may read through a header."""
    return _with_suffixes(header, DATA_SUFFIXES)


def _with_suffixes(header: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    stem = header.with_suffix("")
    names = (stem.with_name(stem.name + case) for s in suffixes for case in dict.fromkeys((s, s.upper())))
    return (candidate for candidate in names if candidate.is_file())


def find_data(header: Path) -> Path:
    """Find the data file of a header: of a usual suffix, else a GeoTIFF, else of any suffix and the size stated.

    Raises InputError if there is none, or more than one of the last.
    """
    for data in (*data_paths(header), *_with_suffixes(header, _TIFF_SUFFIXES)):
        return data
    if not is_header(header):
        raise InputError(f"{header}: does not begin with ENVI: is it an ENVI header?")
    size, stem = stated_size(header), header.with_suffix("")
    others = sorted(
        p for p in header.parent.glob(f"{glob.escape(stem.name)}.*") if p.is_file() and p != header
    )
    fitting = [path for path in others if path.stat().st_size == size and path.with_suffix("") == stem]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f"{header}: is the header of {' or '.join(path.name for path in fitting)}: name the data file"
        )
    there = f"; {others[0].name} is there, but not of the {size} bytes it states" if others and size else ""
    raise InputError(
        f"{header}: no data file beside this header (looked for {stem.name} and {stem.name}.bsq, .bil, .bip, "
        f".img, .dat, .tif{there}): put it there"
    )


def header_beside(tiff: Path) -> Path | None:
    """The ENVI header beside a GeoTIFF that has no other data file: the GeoTIFF's own, as DESIS' products have."""
    header = find_header(tiff)
    if header is None or any(path != tiff for path in data_paths(header)):
        return None
    return header


def entries_beside(tiff: Path, shape: tuple[int, int, int], dtype: str) -> dict[str, str]:
    """What the header beside a GeoTIFF of this shape (bands, rows, columns) states; said, if it is another's.

    One that states another type of values is of the same image stored otherwise: its scale is left out.
    """
    header = header_beside(tiff)
    if header is None:
        return {}
    found = entries(header)
    stated = [found.get(key, "").lstrip("0") for key in ("bands", "lines", "samples")]
    if stated != [str(length) for length in shape]:
        _log.warning("%s: describes another raster than %s: ignored", header.name, tiff.name)
        return {}
    kind = _DTYPES.get(found.get("data_type", ""))
    scales = [key for key in _SCALES if key in found]
    if kind in (None, dtype) or not scales:
        return found
    _log.warning(
        "%s: is of %s values, %s holds %s: its %s is ignored; `gdal_edit.py -scale ... %s` records one",
        *(header.name, kind, tiff.name, dtype, " and ".join(scales).replace("_", " "), tiff.name),
    )
    return {key: value for key, value in found.items() if key not in scales}


def check_text(data: Path) -> None:
    """Raise InputError where the georeference in a data file's header is not text in UTF-8."""
    header = find_header(data)
    content = b"" if header is None else header.read_bytes()
    for match in ENTRY.finditer(content.decode("latin-1")):
        key = " ".join(match[1].lower().split())
        try:
            match[2].encode("latin-1").decode("utf-8")
        except UnicodeDecodeError as error:
            if key in _QUOTED:
                raise InputError(f"{data}: '{key}' of its header is not text in UTF-8: correct it") from error


def check_size(data: Path, offset: int, expected: int) -> None:
    """Compare a data file's size with its header's, which GDAL does not. Raises InputError."""
    size = data.stat().st_size
    if size == offset + expected:
        return
    state = "cut short" if size < offset + expected else "too long"
    raise InputError(
        f"{data}: {size} bytes where its header states {offset + expected} "
        f"(offset + samples x lines x bands x bytes a value): it is {state}, or the header is another file's"
    )


def clean_value(text: str) -> str:
    """Fit a tag's value to a header: one line, no stray braces.

    JSON, which is nothing without its braces, becomes a string of JSON that has them escaped, for `whole_value`.
    """
    line = _one_line(text)
    if _is_json(line):
        return re.sub(r"[{}]", lambda brace: f"\\u{ord(brace[0]):04x}", json.dumps(line))
    if line.startswith("{") and line.endswith("}"):
        return "{" + re.sub(r"[{}]", "", line) + "}"
    return re.sub(r"[{}]", "", line)


def whole_value(value: str) -> str:
    """The text of which `clean_value` made this: JSON is JSON again."""
    if not value.startswith('"'):
        return value
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text if isinstance(text, str) and _is_json(text) else value


def _is_json(line: str) -> bool:
    """Whether a line is a record or a list of JSON with braces in it."""
    if "{" not in line or line[0] not in "[{":
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def clean_name(text: str) -> str:
    """Fit a band's name to a header's list, where a comma would end it."""
    return _one_line(re.sub(r"[{},=]", " ", text))


def _one_line(text: str) -> str:
    """Join lines, leaving runs of blanks within them."""
    return re.sub(r"\s*[\r\n]+\s*", " ", text).strip()


def finish_header(text: str, transform: Affine, *, named: bool, description: str | None) -> str:
    """Improve on the header GDAL wrote.

    The description, for which GDAL puts the part file's name, becomes the one given; invented band names
    are dropped; corner and pixel size get all digits of `transform`, of which GDAL keeps 15.
    """
    entries = {match[1].strip(): match[2] for match in ENTRY.finditer(text)}
    entries.pop("description", None)
    if description is not None:
        entries = {"description": "{" + clean_value(description).strip("{}") + "}", **entries}
    if not named:
        entries.pop("band names", None)
    if "map info" in entries:
        entries["map info"] = _exact_map_info(entries["map info"], transform)
    lines = [f"{key} = {_one_line(value)}" for key, value in entries.items()]
    return "\n".join(["ENVI", *lines, ""])


def _exact_map_info(text: str, transform: Affine) -> str:
    fields = [field.strip() for field in text.strip("{}").split(",")]
    exact = {3: transform.c, 4: transform.f, 5: transform.a, 6: -transform.e}
    for i, value in exact.items():
        # Leave what GDAL put in other words, such as a rotation of 180 degrees for south-up.
        if abs(float(fields[i]) - value) <= 1e-9 * abs(value):
            fields[i] = repr(float(value))
    return "{" + ", ".join(fields) + "}"
