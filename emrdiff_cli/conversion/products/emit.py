"""EMIT L2A reflectance and L1B radiance (netCDF-4), orthorectified through the product's geometry lookup table.

Layout: `reflectance` or `radiance`, downtrack x crosstrack x bands of float32; `location/glt_x`, `glt_y`, rows
x columns of the ground: the crosstrack and downtrack position of each of its pixels, from 1, 0 where there is
none; the root's `geotransform` and `spatial_ref` for that grid; `sensor_band_parameters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.conversion.image import Image
from emrdiff_cli.conversion.products.emit_mask import EmitMask
from emrdiff_cli.conversion.products.parts import fill_value, in_nm, map_grid, scene_tags, spectral_bands
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.containers import Container
from emrdiff_cli.raster.hdf5 import Hdf5Array, Hdf5File
from emrdiff_cli.raster_info import Bands, RasterInfo, Window

_TILE = (
    64  # rows and columns of the ground filled at a time, so that few rows of the sensor are read for them
)
_FILL = -9999.0
_BANDS = "sensor_band_parameters"


def read(file: Hdf5File, container: Container, mask: EmitMask | None = None) -> Image:
    """The cube on the ground's grid, by the nearest sensor pixel, as the table has it; values stay.

    What the `mask` hides becomes nodata.
    """
    cube = cube_of(file, container)
    table = [file.array(f"location/{name}", 2) for name in ("glt_y", "glt_x")]
    if table[0].shape != table[1].shape or any(part.dtype.kind not in "iu" for part in table):
        raise InputError(f"{file.path}: glt_x and glt_y are no lookup table: get the product again")
    height, width = table[0].shape
    fill = fill_value(file, cube)
    nodata = _FILL if fill is None else fill
    masked = {} if mask is None else {"masked_classes": ",".join(mask.counts)}
    info = RasterInfo(
        file.path,
        "netCDF",
        map_grid(file.path, height, width, _transform(file), file.attribute("spatial_ref")),
        _bands(file, cube.shape[2]),
        cube.dtype.name,
        nodata,
        scale_recorded=container.root == "reflectance",
        tags=scene_tags(file, container.name, acquisition_time="time_coverage_start")
        | {"quantity": container.root}
        | masked,
    )
    whole = Window(0, 0, height, width)
    part = partial(_ortho, cube, table, nodata, mask)
    return Image(
        info,
        partial(part, whole),
        container.name,
        [file.path] if mask is None else [file.path, mask.path],
        counted=True,
        told=None if mask is None else partial(_masked, mask, whole),
        part=part,
    )


def _masked(mask: EmitMask, whole: Window, part: Window | None = None) -> tuple[str, ...]:
    """What was masked of the ground, or of the part of it that was read."""
    window = part or whole
    return (mask.note(window.height * window.width),)


def cube_of(file: Hdf5File, container: Container) -> Hdf5Array:
    """The cube, rows x columns x bands. Raises InputError where the file has none."""
    if not container.root:
        raise InputError(
            f"{file.path}: is an EMIT file without reflectance or radiance: convert the RFL or RAD file beside it"
        )
    return file.array(container.root, 3)


def _transform(file: Hdf5File) -> Affine:
    values = np.asarray(file.attribute("geotransform"))
    if values.shape != (6,) or values.dtype.kind not in "iuf":
        raise InputError(f"{file.path}: has no geotransform of six numbers: get the product again")
    return Affine.from_gdal(*(float(value) for value in values))


def _bands(file: Hdf5File, count: int) -> Bands:
    lengths = file.numbers(f"{_BANDS}/wavelengths")
    units = file.attribute("units", f"{_BANDS}/wavelengths")
    widths = file.numbers(f"{_BANDS}/fwhm") if f"{_BANDS}/fwhm" in file else None
    good = f"{_BANDS}/good_wavelengths"
    return spectral_bands(
        file.path,
        count,
        *in_nm(file.path, lengths, widths, units),
        file.numbers(good) != 0 if good in file else None,
    )


def _ortho(
    cube: Hdf5Array, table: list[Hdf5Array], nodata: float, mask: EmitMask | None, window: Window
) -> Iterator[NDArray[Any]]:
    """Strips of a window of the ground (bands, rows, columns); of the sensor only what a tile needs is read.

    As many bands at a time as a chunk has, so that few chunks are held while the tiles move along a strip.
    """
    count, width = cube.shape[2], window.width
    together = cube.chunks[2] if cube.chunks else count
    for top in range(window.row, window.rows.stop, _TILE):
        ground = slice(top, min(top + _TILE, window.rows.stop)), window.cols
        rows, cols = (part.read(ground).astype(np.int64) for part in table)
        _refuse_beyond(cube, rows, cols)
        strip = np.full((count, *rows.shape), nodata, cube.dtype)
        for first in range(0, count, together):
            bands = slice(first, min(first + together, count))
            for left in range(0, width, _TILE):
                part = np.s_[:, left : left + _TILE]
                _fill(strip[bands][:, *part], cube, bands, rows[part], cols[part])
        if mask is not None:
            for left in range(0, width, _TILE):
                part = np.s_[:, left : left + _TILE]
                strip[:, *part][:, mask.hidden(rows[part], cols[part])] = nodata
        yield strip
        del strip


def _refuse_beyond(cube: Hdf5Array, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> None:
    if rows.max() > cube.shape[0] or cols.max() > cube.shape[1]:
        raise InputError(
            f"{cube.path}: its lookup table points beyond its {cube.shape[0]} x {cube.shape[1]} pixels: "
            "a mixed product: get it again"
        )


def _fill(
    tile: NDArray[Any], cube: Hdf5Array, bands: slice, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> None:
    """Put the sensor's values of these bands where positions, counted from 1, are not 0: a tile is written to."""
    seen = (rows > 0) & (cols > 0)
    if not seen.any():
        return
    down, right = rows[seen] - 1, cols[seen] - 1
    top, left = int(down.min()), int(right.min())
    stored = cube.read((slice(top, int(down.max()) + 1), slice(left, int(right.max()) + 1), bands))
    tile[:, seen] = stored[down - top, right - left].T
