"""A raster's free key-value pairs: which may be written, and which still hold for a raster made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping

PAIR_TAG = "emrdiff_pair_geometry"  # of both tiles of one place of a pair: how the pair lies, for `fuse`

# Of the file, its place on the ground or the program that made it: untrue of any other raster.
_OF_THE_FILE = {
    *("description", "dem_band", "dem_file", "read_procedures", "spectra_names", "z_plot_average"),
    *("tifftag_documentname", "tifftag_software", "tifftag_datetime", "tifftag_imagedescription"),
    *("tifftag_xresolution", "tifftag_yresolution", "tifftag_resolutionunit", "ovr_resampling_alg"),
}
_OWN_PREFIX = "emrdiff_"
_OF_THE_SCENE = re.compile(r"acqui|sensing|imaging|date|time|^sun_|cloud", re.IGNORECASE)


def carried_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Pick the tags that hold on another grid with the same bands: default bands, acquisition, sensor and all else.

    Left out: what is about the file, the old grid, or how this program made it.
    """
    return {
        key: value
        for key, value in tags.items()
        if key.lower() not in _OF_THE_FILE and not key.lower().startswith(_OWN_PREFIX)
    }


def carried_band_tags(tags: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Pick the bands' tags that hold on another grid: all but what this program found."""
    return {key: values for key, values in tags.items() if not key.lower().startswith(_OWN_PREFIX)}


def scene_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Pick the tags that hold for another sensor's bands too: when, and under what sun and clouds."""
    return {
        key: value
        for key, value in carried_tags(tags).items()
        if _OF_THE_SCENE.search(key) and not value.startswith("{")
    }


def clean_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Fit tags to what GDAL gives back: no sign in a key that ends it, nothing unprintable, no empty value."""
    cleaned = {re.sub(r"[:=]", "_", printable(key)): printable(value) for key, value in tags.items()}
    return {key: value for key, value in cleaned.items() if key and value}


def lower_keys(header: Mapping[str, str]) -> dict[str, str]:
    """Give an ENVI header's keys in lower case: `Wavelength Units` is the same key as `wavelength units`."""
    return {key.lower(): value for key, value in header.items()}


def printable(text: str) -> str:
    """Drop signs that GDAL drops or stumbles over, and blanks around the text."""
    if not text.isprintable():
        text = "".join(sign for sign in text if sign in "\t\n" or sign.isprintable())
    return text.strip()
