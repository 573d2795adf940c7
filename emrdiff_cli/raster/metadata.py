"""Spectral metadata and scale: GDAL's tags to values and back; no file is touched here.

Wavelengths and FWHM are in nm throughout. They are looked up in the dataset's ENVI list, then the tags
of the bands, then GDAL's IMAGERY domain, which GDAL rounds to 0.001 µm when it fills it from an ENVI header,
then in a header beside the file and in the bands' names. Of an ENVI raster its own header alone counts.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.spectral import (
    Stated,
    fwhm_nm,
    lengths_in_names,
    parse_lengths,
    parse_numbers,
    wavelengths_nm,
)
from emrdiff_cli.raster.tags import printable
from emrdiff_cli.raster_info import Bands

_log = logging.getLogger(__name__)

_OWN_TAGS = {
    *("wavelength", "wavelength_units", "fwhm", "bbl", "band_names", "band_units"),
    *("reflectance_scale_factor", "data_ignore_value", "data_gain_values", "data_offset_values"),
    *("samples", "lines", "bands", "header_offset", "file_type", "file_compression", "data_type"),
    *("interleave", "byte_order", "map_info", "projection_info", "coordinate_system_string"),
    *("x_start", "y_start", "pixel_size", "geo_points", "rpc_info"),
    *("classes", "class_lookup", "class_names", "area_or_point"),
}


_BAND_KEYS = {"wavelength", "wavelength_units", "fwhm", "bbl"}


@dataclass(frozen=True)
class StoredTags:
    """The key-value pairs of a raster as GDAL gives them: of the dataset, its ENVI domain and each band.

    `units`: of the bands' values, "" for none; `name`: the raster's, for messages.
    `header_alone`: `envi` is an ENVI raster's own header, and what GDAL made of that elsewhere does not count.
    `beside`: the header of another ENVI file of the same image, for what the raster itself does not tell.
    """

    dataset: Mapping[str, str]
    envi: Mapping[str, str]
    bands: Sequence[Mapping[str, str]]
    imagery: Sequence[Mapping[str, str]]
    names: Sequence[str]
    units: Sequence[str] = ()
    name: str = ""
    header_alone: bool = False
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """The beginning of a message about this raster."""
        return f"{self.name}: " if self.name else ""

    def user_tags(self) -> dict[str, str]:
        """Collect the pairs that say something other than the structure and the bands."""
        pairs = {**self.beside, **self.envi, **self.dataset}
        return {
            key: value
            for key, value in pairs.items()
            if normal_key(key) not in _OWN_TAGS and not re.fullmatch(r"Band_\d+", key)
        }

    def user_band_tags(self) -> dict[str, tuple[str, ...]]:
        """Collect the bands' pairs that say something else than their `Bands`; "" for a band without one."""
        keys = dict.fromkeys(key for tags in self.bands for key in tags if not _of_bands(key))
        return {key: tuple(tags.get(key, "") for tags in self.bands) for key in keys}


def _of_bands(key: str) -> bool:
    """Whether a band's tag is held in `Bands`, or is what GDAL once counted of the whole file's pixels."""
    normal = normal_key(key)
    return normal in _BAND_KEYS or normal.startswith("statistics_")


def normal_key(key: str) -> str:
    """A key as others may spell it, and as it may be written: `Wavelength: Units` is `wavelength_units`."""
    return re.sub(r"[\s:=-]+", "_", printable(key).lower())


def is_structure(key: str) -> bool:
    """Whether a header's entry of that key, in any spelling, is of the file's structure or the bands."""
    return normal_key(key) in _OWN_TAGS


def read_bands(tags: StoredTags) -> Bands:
    """The bands' metadata from the tags; what these do not tell of all bands is None."""
    count = len(tags.bands)
    tags = _spelt_alike(tags)
    good = (
        _envi_numbers(tags.envi, "bbl", tags)
        or parse_numbers(pairs.get("bbl", "") for pairs in tags.bands)
        or _envi_numbers(tags.beside, "bbl", tags)
    )
    stated = _stated(tags, "wavelength", "CENTRAL_WAVELENGTH_UM")
    wavelengths = None if stated is None else wavelengths_nm(stated)
    width = _stated(tags, "fwhm", "FWHM_UM")
    return Bands(
        count=count,
        wavelengths_nm=wavelengths,
        fwhm_nm=None if width is None else fwhm_nm(width, wavelengths),
        good=None if good is None else tuple(value != 0 for value in good),
        names=_own_names(tags, wavelengths),
        units=_units(tags),
    )


def _units(tags: StoredTags) -> tuple[str, ...] | None:
    """The units of the bands' values; those of an ENVI header where GDAL has none."""
    listed = split_list(tags.envi.get("band_units", ""))
    units = tuple(tags.units) if any(tags.units) else tuple(listed)
    return units if any(units) and len(units) == len(tags.bands) else None


def _spelt_alike(tags: StoredTags) -> StoredTags:
    """The same tags with their keys in one spelling; of two, the one that is in it already counts."""

    def normal(pairs: Mapping[str, str]) -> dict[str, str]:
        return {normal_key(key): value for key, value in pairs.items()} | dict(pairs)

    return replace(
        tags,
        dataset=normal(tags.dataset),
        envi=normal(tags.envi),
        bands=[normal(pairs) for pairs in tags.bands],
        beside=normal(tags.beside),
    )


def _stated(tags: StoredTags, key: str, imagery_key: str) -> Stated | None:
    """What the first source to state them for all bands says; None, with a warning for each that fails, if none."""
    unit = tags.envi.get("wavelength_units") or tags.dataset.get("wavelength_units", "")
    found = _listed(tags.envi, key, unit, tags)
    if found is not None or (tags.header_alone and key in tags.envi):
        return found
    found = _banded(tags, key, unit) or _imagery(tags.imagery, key, imagery_key)
    for pairs in (tags.dataset, tags.beside):
        found = found or _listed(pairs, key, pairs.get("wavelength_units", ""), tags)
    in_names = key == "wavelength" and not any(
        key in pairs for pairs in (tags.envi, *tags.bands, tags.beside)
    )
    return lengths_in_names(tags.names) if found is None and in_names else found


def _listed(pairs: Mapping[str, str], key: str, unit: str, tags: StoredTags) -> Stated | None:
    numbers = _envi_numbers(pairs, key, tags)
    if numbers is None:
        return None
    return Stated(tuple(numbers), (unit,) * len(numbers), f"{tags.prefix}the list '{key}'")


def _envi_numbers(pairs: Mapping[str, str], key: str, tags: StoredTags) -> list[Decimal] | None:
    """Read a list of numbers; None, with a warning, if it does not fit the bands."""
    text, count = pairs.get(key), len(tags.bands)
    if text is None:
        return None
    entries = split_list(text)
    # A comma after the last one ends it, for those who write each so.
    numbers = parse_numbers(entries[:-1] if entries and not entries[-1] else entries)
    if numbers is None or len(numbers) != count:
        found = "holds something other than numbers" if numbers is None else f"has {len(numbers)} entries"
        _log.warning("%sthe list '%s' %s for %d bands: ignored", tags.prefix, key, found, count)
        return None
    return numbers


def _banded(tags: StoredTags, key: str, unit: str) -> Stated | None:
    """Read the bands' own tags; None, with a warning where some are there, if they do not tell of all."""
    bands, label = tags.bands, f"{tags.prefix}the band tag '{key}'"
    lacking = [i for i, own in enumerate(bands, 1) if key not in own]
    if len(lacking) == len(bands):
        return None
    if lacking:
        _log.warning("%s is missing in %s: ignored", label, numbered_bands(lacking))
        return None
    units = [own["wavelength_units"] for own in bands if "wavelength_units" in own]
    usual = units[0] if units else unit
    each = [parse_lengths([own[key]], own.get("wavelength_units", usual), key) for own in bands]
    other = [i for i, stated in enumerate(each, 1) if stated is None]
    if other:
        said = bands[other[0] - 1][key]
        _log.warning("%s is no number (%r) in %s: ignored", label, said, numbered_bands(other))
        return None
    known = [stated for stated in each if stated is not None]
    numbers, told = (tuple(getattr(stated, name)[0] for stated in known) for name in ("numbers", "units"))
    return Stated(numbers, told, f"{tags.prefix}the band tags '{key}'")


def _imagery(bands: Sequence[Mapping[str, str]], key: str, imagery_key: str) -> Stated | None:
    numbers = parse_numbers(tags.get(imagery_key, "") for tags in bands)
    return None if numbers is None else Stated(tuple(numbers), ("um",) * len(numbers), f"GDAL's '{key}'")


def _names(names: Sequence[str]) -> tuple[str, ...] | None:
    """Take the names, unless they are GDAL's own for bands without one."""
    unnamed = all(not name or name == f"Band {i}" for i, name in enumerate(names, 1))
    return None if unnamed else tuple(names)


def _own_names(tags: StoredTags, wavelengths: Sequence[float] | None) -> tuple[str, ...] | None:
    """The names, unless they say nothing but the wavelengths, as those that are written where there are none."""
    names = _names(tags.names)
    repeated = not tags.header_alone and wavelengths is not None and names == wavelength_names(wavelengths)
    return None if repeated else names


def wavelength_names(wavelengths: Sequence[float]) -> tuple[str, ...]:
    """Names for bands that have none of their own, such as `652.3 nm`."""
    return tuple(f"{round(nm, 2):.8g} nm" for nm in wavelengths)


def split_list(text: str) -> list[str]:
    """Split an ENVI list, `{a, b, c}`, into its entries."""
    inner = text.strip().removeprefix("{").removesuffix("}").strip()
    return [entry.strip() for entry in inner.split(",")] if inner else []


def join_list(entries: Iterable[object]) -> str:
    """Write an ENVI list; floats in the fewest digits that read back the same."""
    return "{" + ", ".join(str(entry) for entry in entries) + "}"


def read_scale(tags: StoredTags, gdal: tuple[float, float]) -> tuple[float, float, bool]:
    """Find scale, offset and whether the file states them; physical value = stored value x scale + offset.

    `gdal`: the scale and offset of GDAL's bands, (1, 0) if not set. The header beside a raster counts last.
    """
    factor = parse_factor(tags.envi.get("reflectance_scale_factor"))
    if factor is not None:
        return factor, 0.0, True
    if gdal != (1.0, 0.0):
        return gdal[0], gdal[1], True
    factor = parse_factor(tags.dataset.get("reflectance_scale_factor"))
    factor = factor or parse_factor(tags.beside.get("reflectance_scale_factor"))
    if factor is not None:
        return factor, 0.0, True
    gains = _listed_scale(tags, "data_gain_values"), _listed_scale(tags, "data_offset_values")
    return (1.0, 0.0, False) if gains == (None, None) else (gains[0] or 1.0, gains[1] or 0.0, True)


def _listed_scale(tags: StoredTags, key: str) -> float | None:
    """The one value of all bands in the header beside a raster, if any. Raises InputError where they differ."""
    numbers = _envi_numbers(tags.beside, key, tags)
    return None if numbers is None else common_value([float(n) for n in numbers], key, "the header beside it")


def parse_factor(text: str | None) -> float | None:
    """Read a reflectance scale factor f as the scale 1/f; None if it is missing or not positive."""
    if text is None or (numbers := parse_numbers([text])) is None or numbers[0].adjusted() < -300:
        return None
    return float(1 / Fraction(numbers[0])) if numbers[0] > 0 else None


def format_factor(scale: float) -> str:
    """Write 1/scale in the fewest digits from which `parse_factor` gets the same scale back."""
    short = f"{1 / scale:.15g}"
    if parse_factor(short) == scale:
        return short
    return str(Decimal(1) / Decimal(scale))


def common_value(values: Sequence[float | None], what: str, name: str) -> float | None:
    """Return the one value of all bands. Raises InputError where they differ."""
    distinct = {None if value is None else "nan" if math.isnan(value) else value for value in values}
    if len(distinct) > 1:
        some = ", ".join(str(value) for value in sorted(distinct, key=str)[:3])
        raise InputError(
            f"{name}: its bands have different {what} ({some}): bring them to one, "
            "e.g. with `gdal_calc.py` or `rio edit-info`"
        )
    return values[0]


def fits_dtype(value: float, dtype: str) -> bool:
    """Tell whether a stored value of this dtype can equal `value` (NaN: whether the dtype has NaN)."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return math.isnan(value) or math.isinf(value) or abs(value) <= float(np.finfo(kind).max)
    return (
        math.isfinite(value)
        and value == int(value)
        and int(np.iinfo(kind).min) <= int(value) <= int(np.iinfo(kind).max)
    )


def value_beside(nodata: float, dtype: np.dtype[Any]) -> Any:
    """Give the stored value next to nodata, for a valid value that would be taken for nodata."""
    if dtype.kind == "f":
        return np.nextafter(dtype.type(nodata), dtype.type(0 if nodata else 1))
    return dtype.type(int(nodata) + (1 if int(nodata) < int(np.iinfo(dtype).max) else -1))


def envi_lists(bands: Bands) -> dict[str, str]:
    """Write the bands' metadata as the ENVI lists of a dataset; names are not among them."""
    lists: dict[str, str] = {}
    if bands.wavelengths_nm is not None:
        lists["wavelength"] = join_list(bands.wavelengths_nm)
    if bands.fwhm_nm is not None:
        lists["fwhm"] = join_list(bands.fwhm_nm)
    if lists:
        lists["wavelength_units"] = "Nanometers"
    if bands.good is not None:
        lists["bbl"] = join_list(int(good) for good in bands.good)
    return lists


def band_tags(bands: Bands, band: int) -> tuple[dict[str, str], dict[str, str]]:
    """Write one band's metadata as tags of the band and of its IMAGERY domain."""
    own: dict[str, str] = {}
    imagery: dict[str, str] = {}
    for key, imagery_key, values in (
        ("wavelength", "CENTRAL_WAVELENGTH_UM", bands.wavelengths_nm),
        ("fwhm", "FWHM_UM", bands.fwhm_nm),
    ):
        if values is not None:
            own[key] = str(values[band])
            own["wavelength_units"] = "Nanometers"
            imagery[imagery_key] = f"{Decimal(str(values[band])).scaleb(-3):f}"
    if bands.good is not None:
        own["bbl"] = str(int(bands.good[band]))
    return own, imagery
