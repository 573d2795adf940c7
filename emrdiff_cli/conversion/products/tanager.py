"""Tanager ortho reflectance and radiance (HDF-EOS5): bands x rows x columns, the grid in StructMetadata.0."""

from __future__ import annotations

import re
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
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo

_FILL = -9999.0
_STRUCTURE = "HDFEOS INFORMATION/StructMetadata.0"


def read(file: Hdf5File, container: Container) -> Image:
    """The cube on its map grid; values stay, and are nodata where `nodata_pixels` says so."""
    if "/GRIDS/" not in container.root:
        raise InputError(
            f"{file.path}: is {container.name}, in the sensor's geometry: take the ortho product"
        )
    cube = file.array(container.root, 3)
    count, height, width = cube.shape
    fields = container.root.rpartition("/")[0]
    name = f"{fields}/nodata_pixels"
    empty = file.array(name, 2) if name in file else None
    if empty is not None and empty.shape != (height, width):
        raise InputError(
            f"{file.path}: nodata_pixels is not of the cube's size: a mixed product: get it again"
        )
    fill = fill_value(file, cube)
    nodata = _FILL if fill is None else fill
    quantity = "radiance" if container.root.endswith("radiance") else "reflectance"
    info = RasterInfo(
        file.path,
        "HDF5",
        _grid(file, container.root, height, width),
        _bands(file, container.root, count),
        cube.dtype.name,
        nodata,
        scale_recorded=quantity == "reflectance",
        tags=scene_tags(file, container.name) | {"quantity": quantity},
    )
    return Image(info, lambda: _strips(cube, empty, nodata), container.name, [file.path], counted=True)


def _bands(file: Hdf5File, cube: str, count: int) -> Bands:
    stated = {name: file.attribute(name, cube) for name in ("wavelengths", "fwhm", "good_wavelengths")}
    if stated["wavelengths"] is None:
        raise InputError(f"{file.path}: its cube has no wavelengths: get the product again")
    lists = {
        name: np.atleast_1d(values).astype(float) for name, values in stated.items() if values is not None
    }
    units = file.attribute("wavelengths_units", cube)
    return spectral_bands(
        file.path,
        count,
        *in_nm(file.path, lists["wavelengths"], lists.get("fwhm"), units),
        lists["good_wavelengths"] != 0 if "good_wavelengths" in lists else None,
    )


def _grid(file: Hdf5File, cube: str, height: int, width: int) -> Grid:
    """The grid between the corners of HDF-EOS's structure: the outer edges of the outer pixels."""
    text = str(file.scalar(_STRUCTURE) or "")
    grid = cube.split("/")[2]
    own = next((part for part in text.split("GridName=")[1:] if part.startswith(f'"{grid}"')), "")
    found = [
        _numbers(rf"{key}=\(([^,)]+),([^,)]+)\)", own) for key in ("UpperLeftPointMtrs", "LowerRightMtrs")
    ]
    sizes = [_numbers(rf"\b{key}=(\d+)", own) for key in ("YDim", "XDim")]
    epsg = next(
        (code for of in _parents(cube) if (code := file.attribute("epsg_code", of)) is not None), None
    )
    if not all(found) or epsg is None:
        raise InputError(
            f"{file.path}: has no corners in StructMetadata.0, or no epsg_code: get the product again"
        )
    if all(sizes) and (sizes[0][0], sizes[1][0]) != (height, width):
        raise InputError(
            f"{file.path}: StructMetadata.0 tells another size than its cube's: a mixed product: get it again"
        )
    (left, top), (right, bottom) = found
    transform = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
    return map_grid(file.path, height, width, transform, epsg)


def _numbers(pattern: str, text: str) -> tuple[float, ...]:
    found = re.search(pattern, text)
    try:
        return tuple(float(part) for part in found.groups()) if found else ()
    except ValueError:
        return ()


def _parents(name: str) -> Iterator[str]:
    """A name, and the groups that it lies in, up to the root."""
    while name:
        yield name
        name = name.rpartition("/")[0]
    yield "/"


def _strips(cube: Hdf5Array, empty: Hdf5Array | None, nodata: float) -> Iterator[NDArray[Any]]:
    for start, stop in cube.rows(1):
        strip = cube.read((slice(None), slice(start, stop)))
        if empty is not None:
            strip[:, empty.read((slice(start, stop),)) != 0] = nodata
        yield strip
