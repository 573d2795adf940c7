"""Sizes that a header claims, against the file's and this machine's memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import Compression, Interleaving

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.envi import check_size
from emrdiff_cli.raster.tags import lower_keys
from emrdiff_cli.raster_info import RasterInfo, Window

_END_OF_CODESTREAM = b"\xff\xd9"
_MOST_EXPANDED = 2**15  # ZSTD repeats a byte over 128 KB in four


def check_envi(path: Path, dataset: Any) -> None:
    """Compare an ENVI file's size with what its header states. Raises InputError."""
    header = lower_keys(dataset.tags(ns="ENVI"))
    if header.get("file_compression", "0").strip() not in {"", "0"}:
        raise InputError(f"{path}: is a compressed ENVI file: decompress it with gunzip first")
    expected = dataset.height * dataset.width * dataset.count * np.dtype(dataset.dtypes[0]).itemsize
    offset = header.get("header_offset", "0").strip()
    digits = offset.isascii() and offset.isdigit() and len(offset) < 20
    check_size(path, int(offset) if digits else 0, expected)


def refuse_beyond_memory(info: RasterInfo, bands: int, area: Window) -> None:
    """Raise InputError, before anything is allocated, for what no memory of this machine holds."""
    wanted = bands * area.height * area.width * np.dtype(info.dtype).itemsize
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > held:
        raise InputError(
            f"{info.path}: {bands} bands of {area.height} x {area.width} take {wanted / 1e9:.0f} GB, this machine "
            f"has {held / 1e9:.0f} GB of memory: cut a part out, e.g. with `gdal_translate -srcwin`"
        )


def check_geotiff(path: Path, dataset: Any) -> None:
    """Look whether the block that lies last in the file ends within it. Raises InputError."""
    size = path.stat().st_size
    rows, cols = dataset.block_shapes[-1]
    down, across = math.ceil(dataset.height / rows), math.ceil(dataset.width / cols)
    # Where values lie pixel by pixel, a block holds all bands.
    bands = dataset.indexes[-1:] if dataset.interleaving is Interleaving.pixel else dataset.indexes
    count = down * across * len(bands)
    if count > size:
        # The table of the blocks alone takes more: what is declared is not there, and too much to look through.
        raise InputError(
            f"{path}: declares {count} blocks in a file of {size} bytes: get it again, or write it anew"
        )
    blocks = ((band, f"{col}_{row}") for band in bands for row in range(down) for col in range(across))
    most = size * _most_expanded(dataset)
    stored = rows * cols * np.dtype(dataset.dtypes[0]).itemsize * (dataset.count // len(bands))
    start, band, block = max((_number(dataset, "OFFSET", *block), *block) for block in blocks)
    if start and stored > most:
        raise InputError(
            f"{path}: declares blocks of {stored} bytes, more than a file of {size} bytes can hold: get it "
            "again, or write it anew"
        )
    if start + _number(dataset, "SIZE", band, block) > size:
        raise InputError(f"{path}: the GeoTIFF is cut short at {size} bytes: get it again")


def _most_expanded(dataset: Any) -> int:
    """Bytes that a byte of a GeoTIFF's block may stand for."""
    packed = dataset.compression not in (None, Compression.none)
    return _MOST_EXPANDED if packed else 8  # values of one bit come as bytes


def _number(dataset: Any, name: str, band: int, block: str) -> int:
    """A block's place in the file or its size there, in bytes; 0 for one that was never written."""
    return int(dataset.get_tag_item(f"BLOCK_{name}_{block}", "TIFF", bidx=band) or 0)


def check_jpeg2000(path: Path) -> None:
    """Look whether the boxes of a JPEG 2000 file are whole and end with it. Raises InputError."""
    size, place, kind = path.stat().st_size, 0, b""
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            # 1: the length follows in 8 bytes; 0: to the end of the file.
            length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - place
            if length < 8:
                break
            place += length
        file.seek(max(0, size - len(_END_OF_CODESTREAM)))
        ended = kind != b"jp2c" or file.read() == _END_OF_CODESTREAM
    if place != size or not size or not ended:
        raise InputError(f"{path}: the JPEG 2000 file is cut short or damaged at {size} bytes: get it again")
