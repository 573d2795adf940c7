"""AVIRIS-3 and AVIRIS-5, orthorectified: netCDF-4 of one layout, as readers of both instruments' products have it.

Layout: group `reflectance` (or `radiance`) with the cube of that name, `wavelength` and `fwhm`; `easting` and
`northing` of the root, the pixels' centres; the CRS, and a GeoTransform, as attributes of `transverse_mercator`.
AVIRIS-5's radiance is in sensor geometry, with a `geolocation_lookup_table` for that grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.conversion.image import Image
from emrdiff_cli.conversion.products.parts import fill_value, in_nm, map_grid, scene_tags, spectral_bands
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.containers import Container
from emrdiff_cli.raster.hdf5 import Hdf5Array, Hdf5File
from emrdiff_cli.raster_info import Grid, RasterInfo

_MAPPING = "transverse_mercator"
_FILL = -9999.0
_LOOKUP_TABLE = "geolocation_lookup_table"


def read(file: Hdf5File, container: Container) -> Image:
    """The cube on its map grid; values stay. Raises InputError where it is not orthorectified."""
    group = container.root
    if "easting" not in file or "northing" not in file:
        raise _in_sensor_geometry(file, container)
    cube = file.array(f"{group}/{group}", 3)
    lengths = file.numbers(f"{group}/wavelength")
    easting, northing = file.numbers("easting"), file.numbers("northing")
    wanted = len(lengths), len(northing), len(easting)
    axes = _axes(cube, wanted)
    if axes is None:
        raise _in_sensor_geometry(file, container) if _LOOKUP_TABLE in file else _mixed(cube, wanted)
    units = file.attribute("units", f"{group}/wavelength")
    widths = file.numbers(f"{group}/fwhm") if f"{group}/fwhm" in file else None
    bands = spectral_bands(
        file.path,
        len(lengths),
        *in_nm(file.path, lengths, widths, units),
    )
    fill = fill_value(file, cube)
    info = RasterInfo(
        file.path,
        "netCDF",
        _grid(file, easting, northing),
        bands,
        cube.dtype.name,
        _FILL if fill is None else fill,
        scale_recorded=group == "reflectance",
        tags=scene_tags(file, container.name, acquisition_time="time_coverage_start") | {"quantity": group},
    )
    return Image(info, lambda: _strips(cube, axes), container.name, [file.path], counted=True)


def _axes(cube: Hdf5Array, lengths: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """The axes of bands, rows and columns: as wavelength x northing x easting, or with the bands last."""
    for axes in ((0, 1, 2), (2, 0, 1)):
        if tuple(cube.shape[axis] for axis in axes) == lengths:
            return axes
    return None


def _in_sensor_geometry(file: Hdf5File, container: Container) -> InputError:
    return InputError(
        f"{file.path}: {container.name} in sensor geometry, not on easting and northing: take the orthorectified "
        "product (*_ORT.nc)"
    )


def _mixed(cube: Hdf5Array, lengths: tuple[int, int, int]) -> InputError:
    return InputError(
        f"{cube.path}: {cube.name} has the shape {cube.shape}, its axes {lengths}: a mixed product: get it again"
    )


def _grid(file: Hdf5File, easting: NDArray[np.float64], northing: NDArray[np.float64]) -> Grid:
    """The grid by the GeoTransform, which the coordinates must bear out; without one by their steps."""
    crs = next(
        (words for key in ("crs_wkt", "spatial_ref") if (words := file.attribute(key, _MAPPING)) is not None),
        None,
    )
    if crs is None:
        raise InputError(f"{file.path}: {_MAPPING} has no CRS: get the product again")
    height, width = len(northing), len(easting)
    text = file.attribute("GeoTransform", _MAPPING)
    if text is None:
        steps = [(values[-1] - values[0]) / max(len(values) - 1, 1) for values in (easting, northing)]
        transform = (
            Affine.translation(easting[0], northing[0])
            @ Affine.scale(*steps)
            @ Affine.translation(-0.5, -0.5)
        )
        _refuse_elsewhere(file, transform, easting, northing)
        return map_grid(file.path, height, width, transform, crs)
    try:
        numbers = [float(part) for part in str(text).replace(",", " ").split()]
        transform = Affine.from_gdal(*numbers)
    except (ValueError, TypeError) as error:
        raise InputError(f"{file.path}: its GeoTransform is none: get the product again") from error
    _refuse_elsewhere(file, transform, easting, northing)
    return map_grid(file.path, height, width, transform, crs)


def _refuse_elsewhere(
    file: Hdf5File, transform: Affine, easting: NDArray[np.float64], northing: NDArray[np.float64]
) -> None:
    """Raise InputError where the coordinates of a corner lie more than a pixel from the grid's."""
    size = math.hypot(transform.a, transform.d)
    rows, cols = (0, len(northing) - 1), (0, len(easting) - 1)
    for row in rows:
        for col in cols:
            x, y = transform @ (col + 0.5, row + 0.5)
            if (
                transform.b == transform.d == 0
                and not math.dist((x, y), (easting[col], northing[row])) <= size
            ):
                raise InputError(
                    f"{file.path}: easting and northing lie elsewhere than its GeoTransform: a mixed product: "
                    "get it again"
                )


def _strips(cube: Hdf5Array, axes: tuple[int, int, int]) -> Iterator[NDArray[Any]]:
    for start, stop in cube.rows(axes[1]):
        key = (slice(None),) * axes[1] + (slice(start, stop),)
        yield cube.read(key).transpose(axes)
