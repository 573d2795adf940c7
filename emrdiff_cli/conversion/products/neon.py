"""NEON AOP reflectance (HDF5): rows x columns x bands of scaled integers, in a group of the site's name."""

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
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo


def read(file: Hdf5File, container: Container) -> Image:
    """The cube on its map grid: stored values stay, with their scale and the value of what is not there."""
    quantity = container.root.rpartition("/")[2]
    name = f"{container.root}/{quantity}_Data"
    cube = file.array(name, 3)
    height, width, count = cube.shape
    divisor = file.number("Scale_Factor", name)
    if divisor <= 0:
        raise InputError(f"{file.path}: Scale_Factor {divisor:g} is not above 0: get the product again")
    info = RasterInfo(
        file.path,
        "HDF5",
        _grid(file, f"{container.root}/Metadata/Coordinate_System", height, width),
        _bands(file, container.root, count),
        cube.dtype.name,
        fill_value(file, cube, ("Data_Ignore_Value", "_FillValue")),
        scale=1 / divisor,
        scale_recorded=True,
        tags=scene_tags(file, container.name) | {"quantity": quantity.lower()},
    )
    return Image(info, lambda: _strips(cube), container.name, [file.path], counted=True)


def _bands(file: Hdf5File, root: str, count: int) -> Bands:
    spectral = f"{root}/Metadata/Spectral_Data"
    lengths = file.numbers(f"{spectral}/Wavelength")
    units = file.attribute("Units", f"{spectral}/Wavelength")
    widths = file.numbers(f"{spectral}/FWHM") if f"{spectral}/FWHM" in file else None
    lengths, widths = in_nm(file.path, lengths, widths, units)
    good = np.ones(len(lengths), bool)
    for number in (1, 2):
        window = file.attribute(f"Band_Window_{number}_Nanometers", root)
        if window is not None and np.asarray(window).shape == (2,):
            good &= ~((lengths >= window[0]) & (lengths <= window[1]))
    return spectral_bands(file.path, count, lengths, widths, None if good.all() else good)


def _grid(file: Hdf5File, where: str, height: int, width: int) -> Grid:
    """The grid that ENVI's map info tells: the place of a pixel's corner, counted from 1, and the pixels' size."""
    parts = [part.strip() for part in str(file.scalar(f"{where}/Map_Info") or "").split(",")]
    epsg = str(file.scalar(f"{where}/EPSG Code") or "")
    try:
        col, row, x, y, across, down = (float(part) for part in parts[1:7])
        turn = next(
            (float(part.partition("=")[2]) for part in parts if part.lower().startswith("rotation")), 0.0
        )
        code = int(epsg)
    except ValueError as error:
        raise InputError(
            f"{file.path}: has no Map_Info and EPSG Code to place it by: get the product again"
        ) from error
    if turn != 0 or not math.isfinite(x + y):
        raise InputError(f"{file.path}: is turned by {turn:g} degrees in its Map_Info: take the mosaic (DP3)")
    transform = Affine(across, 0, x - (col - 1) * across, 0, -down, y + (row - 1) * down)
    return map_grid(file.path, height, width, transform, code)


def _strips(cube: Hdf5Array) -> Iterator[NDArray[Any]]:
    for start, stop in cube.rows(0):
        yield cube.read((slice(start, stop),)).transpose(2, 0, 1)
