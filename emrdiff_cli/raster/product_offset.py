"""The offset that a product states in tags of its own: Sentinel-2's from processing baseline 04.00 on.

GDAL's reader of the product gives each band the tag BOA_ADD_OFFSET (L2A) or RADIO_ADD_OFFSET (L1C), and copies keep
it: reflectance is (stored value + offset) / quantification.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from emrdiff_cli.raster.metadata import StoredTags, normal_key

_log = logging.getLogger(__name__)

_KEYS = ("boa_add_offset", "radio_add_offset")

Scale = tuple[float, float, bool]


def with_product_offset(tags: StoredTags, known: Scale) -> tuple[Scale, bool]:
    """The scale, offset and whether they are stated, with the product's own offset; and whether it was taken.

    `known`: as `read_scale` finds them; an offset among them is the product's own already. It is not taken, with a
    warning, where bands state different ones.
    """
    scale, offset, _ = known
    of_all = _of_product(tags.dataset)
    stated = [_stated({**of_all, **_of_product(band)}) for band in tags.bands]
    if offset != 0 or not stated or all(one is None for one in stated):
        return known, False
    first = stated[0]
    if first is None or any(one != first for one in stated):
        _log.warning(
            "%sits bands state different offsets (BOA_ADD_OFFSET or RADIO_ADD_OFFSET), or one no number: none is "
            "applied; bring the bands to one",
            tags.prefix,
        )
        return known, False
    return ((scale, scale * first, True), True) if first else (known, False)


def without_product_offset(tags: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The bands' tags without those that are held as the raster's offset."""
    return {key: values for key, values in tags.items() if normal_key(key) not in _KEYS}


def _of_product(tags: Mapping[str, str]) -> dict[str, str]:
    return {normal_key(key): value for key, value in tags.items() if normal_key(key) in _KEYS}


def _stated(found: Mapping[str, str]) -> float | None:
    """The offset in stored values; None without one, NaN for text that is no number."""
    text = next((found[key] for key in _KEYS if key in found), None)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
