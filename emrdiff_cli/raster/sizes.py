"""Sizes that a header claims, against the file's and this machine's memory."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.envi import check_size
from emrdiff_cli.raster.tags import lower_keys
from emrdiff_cli.raster_info import RasterInfo, Window


def check_envi(info: RasterInfo, dataset: Any) -> None:
    """Compare the file's size with what its header states. Raises InputError."""
    header = lower_keys(dataset.tags(ns="ENVI"))
    if header.get("file_compression", "0").strip() not in {"", "0"}:
        raise InputError(f"{info.path}: is a compressed ENVI file: decompress it with gunzip first")
    grid = info.grid
    expected = grid.height * grid.width * info.bands.count * np.dtype(info.dtype).itemsize
    offset = header.get("header_offset", "0").strip()
    digits = offset.isascii() and offset.isdigit() and len(offset) < 20
    check_size(info.path, int(offset) if digits else 0, expected)


def refuse_beyond_memory(info: RasterInfo, bands: int, area: Window) -> None:
    """Raise InputError, before anything is allocated, for what no memory of this machine holds."""
    wanted = bands * area.height * area.width * np.dtype(info.dtype).itemsize
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > held:
        raise InputError(
            f"{info.path}: {bands} bands of {area.height} x {area.width} take {wanted / 1e9:.0f} GB, this machine "
            f"has {held / 1e9:.0f} GB of memory: cut a part out, e.g. with `gdal_translate -srcwin`"
        )


def check_geotiff(info: RasterInfo, dataset: Any) -> None:
    """Look whether the last band's blocks, which come last in the file, end within it. Raises InputError."""
    size = info.path.stat().st_size
    (rows, cols), band = dataset.block_shapes[-1], dataset.count
    down, across = math.ceil(info.grid.height / rows), math.ceil(info.grid.width / cols)
    if down * across > size:
        # The table of the blocks alone takes more: what is declared is not there, and too much to look through.
        raise InputError(
            f"{info.path}: declares {down * across} blocks in a file of {size} bytes: get it again, or write it "
            "anew"
        )
    for row in range(down):
        for col in range(across):
            start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
            if start and length and int(start) + int(length) > size:
                raise InputError(f"{info.path}: the GeoTIFF is cut short at {size} bytes: get it again")
