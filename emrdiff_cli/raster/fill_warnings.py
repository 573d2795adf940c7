"""Probable fill in words, with the way to declare it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emrdiff_cli.core.sensor.fill import ProbableFill
from emrdiff_cli.raster_info import RasterInfo


def fill_warnings(
    lr: tuple[RasterInfo, Sequence[ProbableFill]], msi: tuple[RasterInfo, Sequence[ProbableFill]]
) -> list[str]:
    """One line for each value of a pair's rasters; values are physical, and named as they are stored."""
    return [
        *(_warning(lr[0], fill, "{},none") for fill in lr[1]),
        *(_warning(msi[0], fill, "none,{}") for fill in msi[1]),
    ]


def raster_fill_warnings(info: RasterInfo, found: Sequence[ProbableFill]) -> list[str]:
    """The same of a raster that is read by a command without `--src-nodata`."""
    return [_warning(info, fill, None) for fill in found]


def _warning(info: RasterInfo, fill: ProbableFill, option: str | None) -> str:
    """`option`: of `--src-nodata`; None where the command has none."""
    value, where = (
        _stored(fill.value, info),
        "its pixels along the border" if fill.at_border else "its pixels",
    )
    what = "probable fill or saturation" if _may_be_saturation(value, info) else "probable fill"
    in_file = (
        f"`gdal_edit.py -a_nodata {value} {info.path.name}`"
        if info.driver != "ENVI"
        else (f"`data ignore value = {value}` in the header")
    )
    if math.isnan(fill.other):
        given = in_file if option is None else f"`--src-nodata {option.format(value)}`"
        return (
            f"{info.path.name}: {value} in all bands of {fill.share:.2%} of {where} is {what}, which no nodata "
            f"value declares, so that it counts as measured: declare it with {given}"
        )
    other = _stored(fill.other, info)
    beside = (
        "write it into all bands"
        if option is None
        else (f"the other for one run with `--src-nodata {option.format(other)}`")
    )
    return (
        f"{info.path.name}: {value} in some bands and {other} in the others of {fill.share:.2%} of {where} are "
        f"probable fill of two detectors, which no nodata value declares, so that they count as measured: declare "
        f"the one with {in_file}, {beside}"
    )


def _may_be_saturation(stored: str, info: RasterInfo) -> bool:
    """Whether an integer is the greatest of its type, or of 8 bits or more."""
    kind = np.dtype(info.dtype)
    if kind.kind not in "iu":
        return False
    value = int(stored)
    return value == np.iinfo(kind).max or (value >= 255 and value & (value + 1) == 0)


def _stored(value: float, info: RasterInfo) -> str:
    """The stored value of a physical one, in the fewest digits that read back the same."""
    stored = (value - info.offset) / info.scale
    kind = np.dtype(info.dtype)
    if kind.kind in "iu":
        return str(round(stored))
    plain = info.scale == 1 and info.offset == 0
    # Scaled back it is off by the rounding of float32.
    return f"{float(str(np.float32(stored))) if plain else float(f'{stored:.6g}'):g}"
