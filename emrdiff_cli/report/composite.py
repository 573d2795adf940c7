"""Pictures of rasters: which bands make one, and a part of a raster averaged onto a picture's pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.area_mean import AreaMean, cell_edges
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.raster import colours
from emrdiff_cli.raster.colours import TRUE_COLOUR_NM
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import RasterInfo, Window

FALSE_COLOUR_NM = (850.0, 650.0, 550.0)

_STRIP_VALUES = 2**22


@dataclass(frozen=True)
class Composite:
    """The bands of a picture, positions from 0: red, green and blue, or one in grey; `legend` names them."""

    bands: tuple[int, ...]
    legend: str


class Box(NamedTuple):
    """A rectangle of a raster in its pixels; edges may lie between pixels and outside."""

    row: float
    col: float
    height: float
    width: float


def choose_bands(
    reader: RasterReader,
    bands: Sequence[int] | None = None,
    wavelengths_nm: Sequence[float] | None = None,
) -> Composite:
    """Choose by numbers from 1, else by the nearest wavelengths, else as the raster itself suggests.

    That is: the header's `default bands`, the bands nearest to 650, 550 and 450 nm, the colours the file
    declares, three bands as red, green and blue, four as blue, green, red and more, bands spread over all.
    Raises UsageError (other than one or three, a band that is not there), InputError (no wavelengths).
    """
    info = reader.info
    for option, values in (("--bands", bands), ("--wavelengths", wavelengths_nm)):
        if values is not None and len(values) not in (1, 3):
            raise UsageError(f"{option} names {len(values)} bands: give one, or three as R,G,B")
    if bands is not None:
        wrong = [band for band in bands if not 1 <= band <= info.bands.count]
        if wrong:
            raise UsageError(
                f"--bands: there is no band {wrong[0]} in {info.path}: it has 1 to {info.bands.count}"
            )
        return _named(info, [band - 1 for band in bands])
    if wavelengths_nm is not None:
        return _named(info, _nearest(info, wavelengths_nm))
    suggested = colours.default_bands(info.tags, info.bands.count)
    true = colours.near_bands(info.bands, TRUE_COLOUR_NM)
    return _named(info, suggested or true or reader.rgb or _spread(info.bands.count))


def near_bands(info: RasterInfo, wavelengths_nm: Sequence[float]) -> Composite | None:
    """The bands nearest to these wavelengths; None where one is farther than 60 nm, or taken twice."""
    found = colours.near_bands(info.bands, wavelengths_nm)
    return None if found is None else _named(info, found)


def read_box(
    reader: RasterReader, bands: Sequence[int], box: Box, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Average a part of a raster onto `shape` pixels, (bands, rows, columns); NaN where nothing is valid.

    Memory does not grow with the raster's height.
    """
    grid = reader.info.grid
    mean = AreaMean(
        len(bands), cell_edges(box.row, box.height, shape[0]), cell_edges(box.col, box.width, shape[1])
    )
    rows = _covered(box.row, box.height, grid.height)
    cols = _covered(box.col, box.width, grid.width)
    if rows and cols:
        step = max(1, _STRIP_VALUES // (len(bands) * len(cols)))
        for top in range(rows.start, rows.stop, step):
            window = Window(top, cols.start, min(step, rows.stop - top), len(cols))
            mean.update(top, cols.start, reader.read(window, bands))
    return mean.result()


def whole(info: RasterInfo) -> Box:
    """All of a raster."""
    return Box(0, 0, info.grid.height, info.grid.width)


def picture_shape(height: float, width: float, size: int) -> tuple[int, int]:
    """Rows and columns of a picture whose longer side is `size`; small ones are enlarged by whole factors."""
    longest = max(height, width)
    factor = size / longest if longest > size else float(size // longest)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _covered(start: float, length: float, count: int) -> range:
    return range(max(0, math.floor(start)), min(count, math.ceil(start + length)))


def _named(info: RasterInfo, bands: Sequence[int]) -> Composite:
    centres = info.bands.wavelengths_nm
    if centres is not None:
        return Composite(tuple(bands), ", ".join(f"{centres[band]:.0f}" for band in bands) + " nm")
    numbers = ", ".join(str(band + 1) for band in bands)
    return Composite(tuple(bands), f"band{'s' if len(bands) > 1 else ''} {numbers}")


def _nearest(info: RasterInfo, wavelengths_nm: Sequence[float]) -> tuple[int, ...]:
    centres = info.bands.wavelengths_nm
    if centres is None:
        raise InputError(f"{info.path} records no wavelengths: name its bands with --bands")
    return colours.nearest_bands(centres, wavelengths_nm)


def _spread(count: int) -> list[int]:
    if count < 3:
        return [0]
    few = {3: [0, 1, 2], 4: [2, 1, 0]}
    return few.get(count, [5 * count // 6, count // 2, count // 6])
