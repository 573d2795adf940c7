"""Probable fill of a pair in words, with the way to declare it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emrdiff_cli.core.sensor.fill import ProbableFill
from emrdiff_cli.raster_info import RasterInfo


def fill_warnings(
    lr: tuple[RasterInfo, Sequence[ProbableFill]], msi: tuple[RasterInfo, Sequence[ProbableFill]]
) -> list[str]:
    """One line for each value of either raster; values are physical, and named as they are stored."""
    return [
        *(_warning(lr[0], fill, "{},none") for fill in lr[1]),
        *(_warning(msi[0], fill, "none,{}") for fill in msi[1]),
    ]


def _warning(info: RasterInfo, fill: ProbableFill, option: str) -> str:
    stored = _stored(fill.value, info)
    where = "its pixels along the border" if fill.at_border else "its pixels"
    return (
        f"{info.path.name}: {stored} in all bands of {fill.share:.2%} of {where} is probable fill, which no nodata "
        f"value declares, so that it counts as measured: declare it with `--src-nodata {option.format(stored)}`"
    )


def _stored(value: float, info: RasterInfo) -> str:
    """The stored value of a physical one, in the fewest digits that read back the same."""
    stored = (value - info.offset) / info.scale
    kind = np.dtype(info.dtype)
    if kind.kind in "iu":
        return str(round(stored))
    plain = info.scale == 1 and info.offset == 0
    # Scaled back it is off by the rounding of float32.
    return f"{float(str(np.float32(stored))) if plain else float(f'{stored:.6g}'):g}"
