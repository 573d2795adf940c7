"""Spectral metadata and scale: GDAL's tags to values and back; no file is touched here.

Wavelengths and FWHM are in nm throughout. They are looked up in the dataset's ENVI list, then the tags
of the bands, then GDAL's IMAGERY domain, which GDAL rounds to 0.001 µm when it fills it from an ENVI header.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import numpy as np

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster_info import Bands

_log = logging.getLogger(__name__)

_POWER_TO_NM = {
    **dict.fromkeys(("nanometers", "nanometer", "nanometres", "nanometre", "nm"), 0),
    **dict.fromkeys(("micrometers", "micrometer", "micrometres", "micrometre", "microns", "micron"), 3),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm"), 3),
    **dict.fromkeys(("millimeters", "millimeter", "mm"), 6),
    **dict.fromkeys(("meters", "meter", "metres", "metre", "m"), 9),
}
_NOT_A_LENGTH = {"index", "wavenumber", "ghz", "mhz", "hertz"}
_LEAST_IN_NM = 100.0  # without a unit: no optical wavelength is below 100 nm or above 100 µm

_OWN_TAGS = {
    *("wavelength", "wavelength_units", "fwhm", "bbl", "band_names"),
    *("reflectance_scale_factor", "data_ignore_value", "data_gain_values", "data_offset_values"),
    *("samples", "lines", "bands", "header_offset", "file_type", "file_compression", "data_type"),
    *("interleave", "byte_order", "map_info", "projection_info", "coordinate_system_string"),
    *("x_start", "y_start", "pixel_size", "geo_points", "rpc_info"),
    *("classes", "class_lookup", "class_names", "AREA_OR_POINT"),
}


@dataclass(frozen=True)
class StoredTags:
    """The key-value pairs of a raster as GDAL gives them: of the dataset, its ENVI domain and each band."""

    dataset: Mapping[str, str]
    envi: Mapping[str, str]
    bands: Sequence[Mapping[str, str]]
    imagery: Sequence[Mapping[str, str]]
    names: Sequence[str]

    def user_tags(self) -> dict[str, str]:
        """Collect the pairs that say something other than the structure and the bands."""
        pairs = {**self.envi, **self.dataset}
        return {
            key: value
            for key, value in pairs.items()
            if key not in _OWN_TAGS and not re.fullmatch(r"Band_\d+", key)
        }


def read_bands(tags: StoredTags) -> Bands:
    """The bands' metadata from the tags; what these do not tell of all bands is None."""
    count = len(tags.bands)
    unit = tags.envi.get("wavelength_units") or tags.dataset.get("wavelength_units", "")
    good = _envi_numbers(tags, "bbl") or _band_numbers(tags.bands, "bbl")
    return Bands(
        count=count,
        wavelengths_nm=_spectral(tags, "wavelength", "CENTRAL_WAVELENGTH_UM", unit),
        fwhm_nm=_spectral(tags, "fwhm", "FWHM_UM", unit),
        good=None if good is None else tuple(value != 0 for value in good),
        names=_names(tags.names),
    )


def _spectral(tags: StoredTags, key: str, imagery_key: str, unit: str) -> tuple[float, ...] | None:
    listed = _envi_numbers(tags, key)
    if listed is not None:
        return _to_nm(listed, unit, key)
    tagged = _band_numbers(tags.bands, key)
    if tagged is not None:
        return _to_nm(tagged, tags.bands[0].get("wavelength_units", unit), key)
    imagery = _band_numbers(tags.imagery, imagery_key)
    return None if imagery is None else _to_nm(imagery, "um", key)


def _envi_numbers(tags: StoredTags, key: str) -> list[Decimal] | None:
    """Read the dataset's list of numbers; None, with a warning, if it does not fit the bands."""
    text = tags.envi.get(key)
    if text is None:
        return None
    numbers = _numbers(split_list(text))
    if numbers is None or len(numbers) != len(tags.bands):
        found = "holds something other than numbers" if numbers is None else f"has {len(numbers)} entries"
        _log.warning("the list '%s' %s for %d bands: ignored", key, found, len(tags.bands))
        return None
    return numbers


def _band_numbers(bands: Sequence[Mapping[str, str]], key: str) -> list[Decimal] | None:
    return _numbers([tags.get(key, "") for tags in bands])


def _numbers(texts: Iterable[str]) -> list[Decimal] | None:
    try:
        numbers = [Decimal(text.strip()) for text in texts]
    except InvalidOperation:
        return None
    finite = bool(numbers) and all(number.is_finite() and number.adjusted() < 300 for number in numbers)
    return numbers if finite else None


def _to_nm(numbers: Sequence[Decimal], unit: str, key: str) -> tuple[float, ...] | None:
    """Convert to nm in decimal, so that 0.5584 µm is 558.4 nm and not 558.4000000000001 nm."""
    unit = unit.strip().lower()
    if unit in _NOT_A_LENGTH:
        _log.warning("the list '%s' is in the unit '%s', not a wavelength: ignored", key, unit)
        return None
    power = _POWER_TO_NM.get(unit)
    if power is None:
        power = 0 if max(numbers) > (1 if key == "fwhm" else _LEAST_IN_NM) else 3
        guess = "nm" if power == 0 else "um"
        _log.warning("the list '%s' states no known unit ('%s'): taken as %s", key, unit, guess)
    return tuple(float(number.scaleb(power)) for number in numbers)


def _names(names: Sequence[str]) -> tuple[str, ...] | None:
    """Take the names, unless they are GDAL's own for bands without one."""
    unnamed = all(not name or name == f"Band {i}" for i, name in enumerate(names, 1))
    return None if unnamed else tuple(names)


def split_list(text: str) -> list[str]:
    """Split an ENVI list, `{a, b, c}`, into its entries."""
    inner = text.strip().removeprefix("{").removesuffix("}").strip()
    return [entry.strip() for entry in inner.split(",")] if inner else []


def join_list(entries: Iterable[object]) -> str:
    """Write an ENVI list; floats in the fewest digits that read back the same."""
    return "{" + ", ".join(str(entry) for entry in entries) + "}"


def read_scale(tags: StoredTags, gdal: tuple[float, float]) -> tuple[float, float, bool]:
    """Find scale, offset and whether the file states them; physical value = stored value x scale + offset.

    `gdal`: the scale and offset of GDAL's bands, (1, 0) if not set.
    """
    factor = parse_factor(tags.envi.get("reflectance_scale_factor"))
    if factor is not None:
        return factor, 0.0, True
    if gdal != (1.0, 0.0):
        return gdal[0], gdal[1], True
    factor = parse_factor(tags.dataset.get("reflectance_scale_factor"))
    return (1.0, 0.0, False) if factor is None else (factor, 0.0, True)


def parse_factor(text: str | None) -> float | None:
    """Read a reflectance scale factor f as the scale 1/f; None if it is missing or not positive."""
    if text is None or (numbers := _numbers([text])) is None or numbers[0].adjusted() < -300:
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
