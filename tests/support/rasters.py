"""Rasters for tests, written without the package: pixel values are a function of band, row and column."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

UTM33 = "EPSG:32633"
NORTH_UP = Affine(30, 0, 383472.37, 0, -30, 5818302.35)

_ENVI_TYPES = {
    "uint8": 1,
    "int16": 2,
    "int32": 3,
    "float32": 4,
    "float64": 5,
    "uint16": 12,
    "uint32": 13,
    "int64": 14,
    "uint64": 15,
}
_ENVI_AXES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def pixels(bands: int, height: int, width: int, dtype: str = "int16") -> NDArray[Any]:
    """Values from 1 to 121, different from those of every neighbour in all three axes."""
    band, row, col = np.ogrid[:bands, :height, :width]
    return np.asarray((band * 47 + row * 31 + col * 17) % 121 + 1, dtype)


def write_tif(
    path: Path, values: NDArray[Any], *, crs: str | None = UTM33, transform: Affine = NORTH_UP, **profile: Any
) -> Path:
    placed = {"crs": crs, "transform": transform} if crs else {}
    bands, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=bands,
            height=height,
            width=width,
            dtype=values.dtype.name,
            photometric="MINISBLACK",
            alpha="NO",
            **placed,
            **profile,
        ) as dataset:
            dataset.write(values)
    return path


def write_envi(
    data: Path,
    values: NDArray[Any],
    *,
    interleave: str = "bsq",
    byte_order: int = 0,
    offset: int = 0,
    header: Path | None = None,
    fields: Mapping[str, str] | None = None,
) -> Path:
    """Write an ENVI pair by hand: header text and raw bytes."""
    bands, height, width = values.shape
    lines = {
        "samples": width,
        "lines": height,
        "bands": bands,
        "header offset": offset,
        "file type": "ENVI Standard",
        "data type": _ENVI_TYPES[values.dtype.name],
        "interleave": interleave,
        "byte order": byte_order,
        **(fields or {}),
    }
    text = "\n".join(["ENVI", *(f"{key} = {value}" for key, value in lines.items()), ""])
    (header or data.with_suffix(".hdr")).write_text(text)
    stored = values.astype(values.dtype.newbyteorder(">" if byte_order else "<"))
    raw = np.ascontiguousarray(stored.transpose(_ENVI_AXES[interleave])).tobytes()
    data.write_bytes(b"\0" * offset + raw)
    return data


def read_back(path: Path) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return np.asarray(dataset.read())
