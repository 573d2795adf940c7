"""An image of any format on its way to a raster, and what a user says about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.conversion.datasets import Dataset, DatasetName
from emrdiff_cli.conversion.wavelengths import read_wavelengths
from emrdiff_cli.core.sensor.orientation import OrientationName
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.matlab import MatCube
from emrdiff_cli.raster.png_bands import PngBands
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo, Window


@dataclass(frozen=True)
class ConversionOptions:
    """Options about the input; None and "auto" where its contents decide.

    `band_axis` is counted from 1, as Matlab's size() has it. `transform`: the six numbers of rasterio's
    Affine. `nodata` is a stored value. `pan` asks for a product's panchromatic band instead of its cube,
    `mask` for classes of pixels that become nodata, by the product's own masks. `resolution` (m) and `bands`
    (`all`, `all60` or names) are of products with bands on several grids. `extent`: a raster on whose ground the
    image is cut.
    """

    dataset: DatasetName = "auto"
    variable: str | None = None
    band_axis: int | None = None
    orientation: OrientationName | None = None
    wavelengths: str | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: str | None = None
    pan: bool = False
    mask: AskedMask = ()
    resolution: float | None = None
    bands: str | None = None
    extent: Path | None = None
    driver: Driver = "GTiff"
    overviews: bool | None = None
    stac: str | None = None
    qml: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Image:
    """An open image of any format: `strips` are its stored rows from the top down.

    `valid`, where known, is its mask; `files` are those read. `counted`: the report counts pixels that are
    nodata in a band that is not bad. `told`: notes that stand once all strips were read; of an image with a `part`,
    on a window of it. `part` gives the strips of a window, where it alone is read for them; its edges lie on every
    `snap`-th pixel's. `physical`: the strips are physical values, NaN in holes. `notes` may grow while strips are
    read.
    """

    info: RasterInfo
    strips: Callable[[], Iterator[NDArray[Any]]]
    dataset: str
    files: Sequence[Path]
    variable: str | None = None
    valid: NDArray[np.bool_] | None = None
    notes: Sequence[str] = ()
    counted: bool = False
    told: Callable[..., tuple[str, ...]] | None = None
    part: Callable[[Window], Iterator[NDArray[Any]]] | None = None
    snap: int = 1
    physical: bool = False


def given_bands(options: ConversionOptions) -> Bands | None:
    """The bands as the user lists them, if so."""
    return None if options.wavelengths is None else read_wavelengths(options.wavelengths)


def known_bands(source: Path, count: int, dataset: Dataset, given: Bands | None) -> Bands:
    """The bands' metadata that the user gave, else those known of the data set."""
    if given is not None:
        if given.count != count:
            raise UsageError(f"--wavelengths gives {given.count} centres, but {source} has {count} bands")
        return given
    if dataset.bands not in (None, count):
        raise InputError(
            f"{source}: has {count} bands where {dataset.name} has {dataset.bands}: give --wavelengths, "
            "or --dataset generic"
        )
    return Bands(count, dataset.wavelengths_nm)


def refuse_matlab_options(source: Path, options: ConversionOptions) -> None:
    """Raise UsageError for options that speak of .mat files alone."""
    for name in ("variable", "band_axis", "orientation"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for .mat files, which {source} is not")


def refuse_mask(source: Path, what: str, options: ConversionOptions) -> None:
    """Raise UsageError where masks are asked for of an input that has none."""
    if options.mask:
        raise UsageError(f"--mask: {source}, {what}, has no masks of these classes: leave the option out")


def stored_info(source: Path, driver: str, cube: MatCube | PngBands, bands: Bands) -> RasterInfo:
    """Describe an image that has a shape, a type and bands, and no place."""
    grid = Grid(cube.height, cube.width, Affine.identity())
    # Floats that are no numbers are holes in every case.
    nodata = math.nan if np.dtype(cube.dtype).kind == "f" else None
    return RasterInfo(source, driver, grid, bands, cube.dtype, nodata)
