"""What a file holds besides the values of one image: colours by number, and more images."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from emrdiff_cli.errors import InputError

_log = logging.getLogger(__name__)

_SIZE = re.compile(r"\((\d+)P x (\d+)L x \d+B\)")


def refuse_other_contents(path: Path, dataset: Any) -> None:
    """Raise InputError for what is read wrongly as one image of values.

    That is a palette's colour numbers, and a TIFF of several images of one size, of which GDAL opens the first.
    Images of other sizes, such as previews, are said in a warning.
    """
    if any(_colour_numbers(dataset, band) for band in dataset.indexes):
        raise InputError(
            f"{path}: holds the numbers of a palette's colours, no measured values: give the image that it is "
            f"made of, or its colours, `gdal_translate -expand rgb {path.name} ...`"
        )
    if dataset.driver != "GTiff":
        return
    sizes = list(_image_sizes(dataset))
    alike = sizes.count((dataset.width, dataset.height))
    if alike > 1:
        raise InputError(
            f"{path}: holds {alike} images of {dataset.height} x {dataset.width} pixels, not one of as many bands: "
            f"make one of them, `gdal_merge.py -separate -o ... GTIFF_DIR:1:{path.name} "
            f"GTIFF_DIR:2:{path.name} ...`"
        )
    if len(sizes) > 1:
        _log.warning("%s: holds %d images: the first is read", path.name, len(sizes))


def _image_sizes(dataset: Any) -> Iterator[tuple[int, int]]:
    """Width and height of each image of a TIFF that has several."""
    for key, value in dataset.tags(ns="SUBDATASETS").items():
        found = _SIZE.search(value) if key.endswith("_DESC") else None
        if found:
            yield int(found[1]), int(found[2])


def _colour_numbers(dataset: Any, band: int) -> bool:
    """Whether a band has a palette other than greys that grow with their number, as some grey images have."""
    if dataset.colorinterp[band - 1] != ColorInterp.palette:
        return False
    try:
        colours = np.array([colour[:3] for _, colour in sorted(dataset.colormap(band).items())])
    except ValueError:
        return False
    grey = (colours == colours[:, :1]).all()
    return not (grey and (np.diff(colours[:, 0]) > 0).all())
