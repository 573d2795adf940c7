"""Alpha bands of a GeoTIFF: masks, and bands that are only marked so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from emrdiff_cli.raster.metadata import normal_key, split_list

_log = logging.getLogger(__name__)

_MANY = 16  # grey values: a mask, smoothed at its edges too, has few pixels between its ends
_SHARE = 0.25  # of the pixels that are not 0
_LOOKED_AT = 2**18
_BLOCKS = 64


def alpha_bands(path: Path, dataset: Any) -> list[int]:
    """Numbers (from 1) of a GeoTIFF's alpha bands.

    One of a known wavelength is a band like others, and so, with a warning, is one of many grey values: GDAL
    calls the fourth of four uint8 bands alpha unasked.
    """
    if dataset.driver != "GTiff":
        return []
    meanings = zip(dataset.indexes, dataset.colorinterp, strict=True)
    marked = [i for i, meaning in meanings if meaning == ColorInterp.alpha]
    found = [i for i in marked if not _spectral(dataset, i)]
    if len(found) == dataset.count:
        return []
    return [i for i in found if not _said_to_be_a_band(path, dataset, i)]


def _spectral(dataset: Any, band: int) -> bool:
    listed = split_list(dataset.tags(ns="ENVI").get("wavelength", ""))
    own = {normal_key(key) for key in dataset.tags(band)}
    known = "wavelength" in own or "CENTRAL_WAVELENGTH_UM" in dataset.tags(band, ns="IMAGERY")
    return known or len(listed) == dataset.count


def _said_to_be_a_band(path: Path, dataset: Any, band: int) -> bool:
    """Whether a band's values, in blocks from all over it, are no mask's; said in a warning."""
    values = _sample(dataset, band)
    lit = values[values != 0]
    grey = lit[lit != lit.max()] if lit.size else lit
    if np.unique(grey).size < _MANY or grey.size < _SHARE * lit.size:
        return False
    _log.warning(
        "%s: band %d is marked as alpha but holds many grey values: it is taken for a band; write it anew without "
        "the mark (`gdal_translate -colorinterp_%d gray`), or as a mask of 0 and 255",
        *(path.name, band, band),
    )
    return True


def _sample(dataset: Any, band: int) -> Any:
    blocks = [window for _, window in dataset.block_windows(band)]
    most = max(1, min(_BLOCKS, _LOOKED_AT // max(1, int(blocks[0].height * blocks[0].width))))
    chosen = np.unique(np.linspace(0, len(blocks) - 1, most).astype(int))
    return np.concatenate([dataset.read(band, window=blocks[i]).ravel() for i in chosen])
