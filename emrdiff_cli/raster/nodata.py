"""The nodata value that a file declares, as its values can hold it, and which stored values it makes invalid."""

from __future__ import annotations

import logging
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.raster.metadata import fits_dtype

_log = logging.getLogger(__name__)

# Programs write the extreme of float32 in few digits, -3.403e+38 for one; no physical value is of that size.
_HUGE = 0.999 * float(np.finfo(np.float32).max)
_GDAL_NODATA = 42113  # TIFF's tag
_ASCII = 2


def stored_nodata(path: Path, dtype: str, declared: float | None, text: str | None) -> float | None:
    """The declared nodata as a stored value; None where there is none, or the dtype cannot hold it.

    `declared`: as GDAL gives it; `text`: as the file states it, of which GDAL drops what the dtype cannot hold
    and takes what is no number for 0. A float that rounds to beyond the dtype's extreme is that extreme. What is
    dropped is said in a warning, with the value that was likely meant.
    """
    stated = None if text is None else _number(text)
    if text is not None and stated is None:
        _log.warning("%s: declares nodata '%s', which is no number: it is ignored", path, text.strip())
        return None
    # Where GDAL has one it may be that of a file beside, which wins.
    stated = stated if declared is None else declared
    if stated is None:
        return None
    kind = np.dtype(dtype)
    if fits_dtype(stated, dtype):
        return float(kind.type(stated))
    if kind.kind == "f":
        return math.copysign(float(np.finfo(kind).max), stated)
    likely = _likely(stated, kind)
    _log.warning(
        "%s: declares nodata %.10g, which %s cannot hold: no pixel is taken for it; likely %d is meant: declare "
        "that in the file, or for one run with `--src-nodata %d` of `fuse` and `check`",
        *(path, stated, dtype, likely, likely),
    )
    return None


def is_nodata(stored: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Tell which stored values are a nodata value that their dtype can hold; NaN is none.

    Near the extreme of float32 all values beyond count: it is written and rounded in many ways.
    """
    if stored.dtype.kind == "f" and abs(nodata) >= _HUGE:
        return np.asarray(stored >= _HUGE if nodata > 0 else stored <= -_HUGE)
    if math.isnan(nodata) or not fits_dtype(nodata, str(stored.dtype)):
        return np.zeros(stored.shape, bool)
    return np.asarray(stored == stored.dtype.type(nodata))


def valid_values(stored: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Tell which stored values are neither a nodata value, nor NaN or infinite."""
    valid: NDArray[np.bool_] = np.isfinite(stored)
    if nodata is not None and not math.isnan(nodata):
        valid &= ~is_nodata(stored, nodata)
    return valid


def nodata_text(path: Path) -> str | None:
    """Text of GDAL's nodata in the first directory of a TIFF or BigTIFF; None without one."""
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}[head[:2]]
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        count_of, entry_of, offset_of = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
        start = struct.unpack_from(order + offset_of, head, 8 if big else 4)[0]
        file.seek(start)
        count = struct.unpack(order + count_of, _exactly(file, struct.calcsize(order + count_of)))[0]
        for _ in range(min(count, 4096)):
            tag, kind, length, value = struct.unpack(
                order + entry_of, _exactly(file, struct.calcsize(order + entry_of))
            )
            if tag == _GDAL_NODATA and kind == _ASCII and length < 256:
                if length > len(value):
                    file.seek(struct.unpack(order + offset_of, value)[0])
                    value = _exactly(file, length)
                return str(value[:length].split(b"\0")[0].decode("latin-1")) or None
    return None


def _exactly(file: Any, size: int) -> bytes:
    """Read so many bytes; those that a file cut short lacks are 0."""
    read: bytes = file.read(size)
    return read.ljust(size, b"\0")


def _number(text: str) -> float | None:
    try:
        return float(text.strip().strip("{}"))
    except ValueError:
        return None


def _likely(value: float, kind: np.dtype[Any]) -> int:
    """The integer that a program likely stored for a value beyond its dtype: wrapped round, or the nearest."""
    if math.isnan(value):
        return 0
    limits, bits = np.iinfo(kind), 8 * kind.itemsize
    least, greatest = int(limits.min), int(limits.max)
    if math.isinf(value) or abs(value) >= 2.0**bits:
        return int(greatest if value > 0 else least)
    if value != int(value):
        return min(max(round(value), least), greatest)
    wrapped: int = int(value) % int(2**bits)
    return wrapped - 2**bits if wrapped > greatest else wrapped
