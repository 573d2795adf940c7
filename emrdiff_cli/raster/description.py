"""What is known of an open raster besides its pixels: GDAL's tags and numbers, put together and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.contents import refuse_other_contents
from emrdiff_cli.raster.envi import entries_beside, whole_value
from emrdiff_cli.raster.georeference import georeference, is_place, unplaced_remedy
from emrdiff_cli.raster.metadata import StoredTags, common_value, read_bands, read_scale, split_list
from emrdiff_cli.raster.nodata import nodata_text, stored_nodata
from emrdiff_cli.raster.product_offset import with_product_offset, without_product_offset
from emrdiff_cli.raster.tags import lower_keys
from emrdiff_cli.raster_info import Grid, RasterInfo


def describe(path: Path, dataset: Any, indexes: Sequence[int]) -> RasterInfo:
    """What is known of an open dataset besides its pixels; its bands are those of `indexes`, from 1.

    Raises InputError: values that are not real, or are colours' numbers, more images than one, bands that differ in
    nodata or scale, a scale or a place that cannot be.
    """
    refuse_other_contents(path, dataset)
    tags = _stored_tags(path, dataset, indexes)
    dtype = str(dataset.dtypes[0])
    if np.dtype(dtype).kind not in "iuf":
        raise InputError(f"{path}: holds {dtype} values: convert them to real ones")
    scales, offsets = dataset.scales, dataset.offsets
    scale = common_value([scales[i - 1] for i in indexes], "scales", str(path))
    offset = common_value([offsets[i - 1] for i in indexes], "offsets", str(path))
    gdal = (1.0 if scale is None else scale, 0.0 if offset is None else offset)
    (scale, offset, recorded), of_product = with_product_offset(tags, read_scale(tags, gdal))
    if not np.isfinite([scale, offset]).all() or scale == 0:
        raise InputError(
            f"{path}: records scale {scale:g} and offset {offset:g}: correct them, e.g. with "
            f"`gdal_edit.py -scale 1 -offset 0 {path.name}`"
        )
    transform, crs_wkt = georeference(path, dataset)
    if not is_place(transform, dataset.height, dataset.width):
        raise InputError(
            f"{path}: has pixels of no size, or no place (transform {', '.join(f'{v:g}' for v in transform[:6])}): "
            f"correct its geotransform, e.g. with `gdal_edit.py -a_ullr ... {path.name}`"
        )
    return RasterInfo(
        path=path,
        driver=dataset.driver,
        grid=Grid(dataset.height, dataset.width, transform, crs_wkt),
        bands=read_bands(tags),
        dtype=dtype,
        nodata=stored_nodata(
            path,
            dtype,
            common_value(dataset.nodatavals, "nodata values", str(path)),
            _nodata_text(path, dataset.driver, tags),
        ),
        scale=scale,
        offset=offset,
        scale_recorded=recorded,
        tags=tags.user_tags(),
        unplaced=unplaced_remedy(path, dataset),
        band_tags=without_product_offset(tags.user_band_tags()) if of_product else tags.user_band_tags(),
    )


def _stored_tags(path: Path, dataset: Any, indexes: Sequence[int]) -> StoredTags:
    envi = {key: whole_value(value) for key, value in lower_keys(dataset.tags(ns="ENVI")).items()}
    shape = (dataset.count, dataset.height, dataset.width)
    beside = entries_beside(path, shape, str(dataset.dtypes[0])) if dataset.driver == "GTiff" else {}
    names = _descriptions(dataset, indexes)
    if dataset.driver == "ENVI":
        # GDAL adds the wavelength to the names; the header's own stay the same from copy to copy.
        names = _listed_names(envi, dataset.count)
    elif not any(names) and len(indexes) == dataset.count:
        names = _listed_names(beside, dataset.count)
    return StoredTags(
        dataset=dataset.tags(),
        envi=envi,
        name=path.name,
        bands=[dataset.tags(i) for i in indexes],
        imagery=[dataset.tags(i, ns="IMAGERY") for i in indexes],
        names=names,
        units=[dataset.units[i - 1] or "" for i in indexes],
        header_alone=dataset.driver == "ENVI",
        beside=beside if len(indexes) == dataset.count else {},
    )


def _listed_names(header: Mapping[str, str], count: int) -> list[str]:
    own = split_list(header.get("band_names", ""))
    return own if len(own) == count else [""] * count


def _descriptions(dataset: Any, indexes: Sequence[int]) -> list[str]:
    """The bands' names; none where one is not in UTF-8, which rasterio insists on."""
    try:
        told = dataset.descriptions
    except UnicodeDecodeError:
        return [""] * len(indexes)
    return [told[i - 1] or "" for i in indexes]


def _nodata_text(path: Path, driver: str, tags: StoredTags) -> str | None:
    """The nodata as the file states it, where that is its data file or ENVI header, or the header beside it."""
    if driver != "GTiff":
        return tags.envi.get("data_ignore_value")
    return nodata_text(path) or tags.beside.get("data_ignore_value")
