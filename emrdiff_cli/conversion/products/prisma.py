"""PRISMA L1, L2B, L2C and L2D (HDF-EOS5): the joined cube of both detectors, and the panchromatic band.

Layout: `HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/{VNIR,SWIR}_Cube`, rows x bands x columns of uint16, descending;
`PRS_L2D_PCO/Data Fields/Cube`, rows x columns; scales, wavelengths and corners as attributes of the root.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError

from emrdiff_cli.conversion.image import Image
from emrdiff_cli.conversion.products.parts import map_grid, scene_tags, spectral_bands
from emrdiff_cli.conversion.products.prisma_mask import PrismaMask
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.containers import Container
from emrdiff_cli.raster.hdf5 import Hdf5Array, Hdf5File
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo

_MOST_DN = 65535
_NEAR = 0.25  # of a pixel: a corner that lies so close to a place is meant to be there


@dataclass(frozen=True)
class _Detector:
    """One cube: rows x bands x columns, its errors if it has any, and the used bands by their index in it."""

    name: str
    cube: Hdf5Array
    errors: Hdf5Array | None
    used: NDArray[np.intp]
    wavelengths: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    scale: float
    offset: float


def read_cube(file: Hdf5File, container: Container, mask: PrismaMask | None = None) -> Image:
    """The hyperspectral cube: both detectors in one order of wavelengths, float32, NaN where there is nothing.

    NaN too is what the `mask` hides.
    """
    detectors = [_detector(file, container, name) for name in ("VNIR", "SWIR")]
    height, _, width = detectors[0].cube.shape
    if detectors[1].cube.shape[::2] != (height, width):
        raise InputError(f"{file.path}: VNIR and SWIR differ in size: a mixed product: get it again")
    order = np.argsort(np.concatenate([detector.wavelengths for detector in detectors]), kind="stable")
    bands = _bands(file.path, detectors, order)
    grid, notes = _placed(file, container, height, width)
    image = _image(file, container, grid, bands, lambda: _joined(detectors, order, mask), notes)
    if mask is None:
        return image
    tags = {**image.info.tags, "masked_classes": ",".join(mask.counts)}
    return replace(image, info=replace(image.info, tags=tags), told=lambda: (mask.note(),))


def read_pan(file: Hdf5File, container: Container) -> Image:
    """The panchromatic band, of 5 m in L2D. Raises InputError where the product has none."""
    fields = f"{container.root}_PCO/Data Fields"
    cube = file.array(f"{fields}/Cube", 2)
    error_names = [name for name in file.names(fields) if "ERR_MATRIX" in name]
    errors = file.array(f"{fields}/{error_names[0]}", 2) if error_names else None
    _refuse_other_shape(file.path, cube, errors)
    scale, offset = _scale(file, container, "Pan")
    height, width = cube.shape
    grid, notes = _placed_pan(file, container, height, width)
    return _image(
        file, container, grid, Bands(1, names=("PAN",)), lambda: _pan_rows(cube, errors, scale, offset), notes
    )


def _detector(file: Hdf5File, container: Container, name: str) -> _Detector:
    fields = f"{container.root}_HCO/Data Fields"
    cube = file.array(f"{fields}/{name}_Cube", 3)
    kind = "SAT" if container.name == "PRISMA L1" else "L2"
    matrix = f"{fields}/{name}_PIXEL_{kind}_ERR_MATRIX"
    errors = file.array(matrix, 3) if matrix in file else None
    _refuse_other_shape(file.path, cube, errors)
    title = name.capitalize()
    wavelengths = _per_band(file, f"List_Cw_{title}", cube)
    fwhm = _per_band(file, f"List_Fwhm_{title}", cube)
    flags = file.attribute(f"List_Cw_{title}_Flags")
    used = (wavelengths > 0) & (fwhm > 0)
    if flags is not None:
        used &= _per_band(file, f"List_Cw_{title}_Flags", cube) != 0
    if not used.any():
        raise InputError(f"{file.path}: has no used bands in {name}: get the product again")
    scale, offset = _scale(file, container, title)
    kept = np.flatnonzero(used)
    return _Detector(name, cube, errors, kept, wavelengths[kept], fwhm[kept], scale, offset)


def _per_band(file: Hdf5File, attribute: str, cube: Hdf5Array) -> NDArray[np.float64]:
    values = file.attribute(attribute)
    if values is None or np.asarray(values).shape != (cube.shape[1],):
        raise InputError(
            f"{file.path}: {attribute} does not list {cube.shape[1]} bands: a mixed product: get it again"
        )
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        raise InputError(f"{file.path}: {attribute} holds no numbers: get the product again")
    return numbers.astype(np.float64)


def _refuse_other_shape(path: Path, cube: Hdf5Array, errors: Hdf5Array | None) -> None:
    if errors is not None and errors.shape != cube.shape:
        raise InputError(f"{path}: {errors.name} is not of its cube's size: a mixed product: get it again")
    if cube.dtype != np.uint16:
        raise InputError(
            f"{path}: {cube.name} holds {cube.dtype}, not uint16: no PRISMA product as delivered"
        )


def _scale(file: Hdf5File, container: Container, title: str) -> tuple[float, float]:
    """Scale and offset of stored values: of L1 by a divisor, of L2 between two ends."""
    if container.name == "PRISMA L1":
        divisor = file.number(f"ScaleFactor_{title}")
        # Readers disagree on the sign of an offset, which is 0 in all products seen.
        if divisor <= 0 or file.number(f"Offset_{title}") != 0:
            raise InputError(
                f"{file.path}: has a ScaleFactor or Offset of {title} that is not known: use the L2D"
            )
        return 1 / divisor, 0.0
    least, most = file.number(f"L2Scale{title}Min"), file.number(f"L2Scale{title}Max")
    if not most > least:
        raise InputError(
            f"{file.path}: L2Scale{title}Max is not above L2Scale{title}Min: get the product again"
        )
    return (most - least) / _MOST_DN, least


def _bands(path: Path, detectors: list[_Detector], order: NDArray[np.intp]) -> Bands:
    names = [f"{detector.name} {index + 1}" for detector in detectors for index in detector.used]
    centres = np.concatenate([detector.wavelengths for detector in detectors])[order]
    widths = np.concatenate([detector.fwhm for detector in detectors])[order]
    return spectral_bands(path, len(order), centres, widths, names=[names[i] for i in order])


def _joined(
    detectors: list[_Detector], order: NDArray[np.intp], mask: PrismaMask | None
) -> Iterator[NDArray[Any]]:
    """Strips of both cubes, (bands, rows, columns) by wavelength."""
    rank = np.argsort(order)
    firsts = (0, len(detectors[0].used))
    height, _, width = detectors[0].cube.shape
    edges = sorted({0, height} | {edge for each in detectors for rows in each.cube.rows(0) for edge in rows})
    for start, stop in pairwise(edges):
        strip = np.empty((len(order), stop - start, width), np.float32)
        for first, detector in zip(firsts, detectors, strict=True):
            stored = detector.cube.read((slice(start, stop),))[:, detector.used]
            seen = np.asarray(stored.any(axis=1))
            invalid = np.repeat(~seen[:, None], stored.shape[1], axis=1)
            if detector.errors is not None:
                invalid |= detector.errors.read((slice(start, stop),))[:, detector.used] != 0
            values = _physical(stored, invalid, detector.scale, detector.offset)
            strip[rank[first : first + len(detector.used)]] = values.transpose(1, 0, 2)
        if mask is not None:
            strip[:, mask.hidden(start, stop)] = np.nan
        yield strip


def _pan_rows(
    cube: Hdf5Array, errors: Hdf5Array | None, scale: float, offset: float
) -> Iterator[NDArray[Any]]:
    for start, stop in cube.rows(0):
        stored = cube.read((slice(start, stop),))
        invalid: NDArray[np.bool_] = (
            stored == 0 if errors is None else errors.read((slice(start, stop),)) != 0
        )
        yield _physical(stored, invalid, scale, offset)[None]


def _physical(
    stored: NDArray[Any], invalid: NDArray[np.bool_], scale: float, offset: float
) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.multiply(stored, np.float32(scale), dtype=np.float32)
    values += np.float32(offset)
    values[invalid] = np.nan
    return values


def _placed(file: Hdf5File, container: Container, height: int, width: int) -> tuple[Grid, tuple[str, ...]]:
    """The cube's grid on the map: of L2D by its corners, of the other levels none."""
    if container.name != "PRISMA L2D":
        note = (
            f"{container.name} is in the sensor's geometry and has no map georeference: take the L2D for one"
        )
        return Grid(height, width, Affine.identity()), (note,)
    corners = [
        file.number(f"Product_{corner}corner_{axis}")
        for corner in ("UL", "LR")
        for axis in ("easting", "northing")
    ]
    left, top, right, bottom = corners
    epsg = file.attribute("Epsg_Code")
    centres = _centres(file, container, epsg, height, width)
    notes: tuple[str, ...] = ()
    away = None if centres is None else math.dist(centres[:2], (left, top))
    pixel = (right - left) / max(width - 1, 1), (bottom - top) / max(height - 1, 1)
    half = math.hypot(*pixel) / 2
    if away is not None and abs(away - half) < _NEAR * half:
        # Corners at the edges: the first pixel's centre lies half a pixel in.
        step = (right - left) / width, (bottom - top) / height
        return map_grid(file.path, height, width, Affine(step[0], 0, left, 0, step[1], top), epsg), notes
    if away is not None and away > _NEAR * half:
        notes = (f"the corners lie {away:.1f} m from what Latitude and Longitude say: check the place",)
    transform = Affine(pixel[0], 0, left - pixel[0] / 2, 0, pixel[1], top - pixel[1] / 2)
    return map_grid(file.path, height, width, transform, epsg), notes


def _centres(
    file: Hdf5File, container: Container, epsg: object, height: int, width: int
) -> tuple[float, float] | None:
    """The first pixel's centre in the CRS by the geolocation arrays; None without them, or without a CRS."""
    fields = f"{container.root}_HCO/Geolocation Fields"
    if f"{fields}/Latitude" not in file or f"{fields}/Longitude" not in file:
        return None
    first = (slice(0, 1), slice(0, 1))
    arrays = [file.array(f"{fields}/{name}", 2) for name in ("Longitude", "Latitude")]
    if any(array.shape != (height, width) for array in arrays):
        raise InputError(f"{file.path}: Latitude is not of the cube's size: a mixed product: get it again")
    longitude, latitude = (float(array.read(first)[0, 0]) for array in arrays)
    try:
        transformer = Transformer.from_crs(4326, int(str(epsg)), always_xy=True)
        x, y = transformer.transform(longitude, latitude)
    except (ProjError, ValueError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _placed_pan(
    file: Hdf5File, container: Container, height: int, width: int
) -> tuple[Grid, tuple[str, ...]]:
    """The panchromatic grid: the cube's edges, more finely divided."""
    rows, _, cols = file.array(f"{container.root}_HCO/Data Fields/VNIR_Cube", 3).shape
    if height * cols != width * rows or width % cols:
        raise InputError(
            f"{file.path}: the panchromatic band does not fit the cube: a mixed product: get it again"
        )
    coarse, notes = _placed(file, container, rows, cols)
    if not coarse.georeferenced:
        return Grid(height, width, Affine.identity()), notes
    ratio = width // cols
    return Grid(height, width, coarse.transform @ Affine.scale(1 / ratio), coarse.crs_wkt), notes


def _image(
    file: Hdf5File,
    container: Container,
    grid: Grid,
    bands: Bands,
    strips: Callable[[], Iterator[NDArray[Any]]],
    notes: tuple[str, ...],
) -> Image:
    tags = scene_tags(file, container.name, acquisition_time="Product_StartTime")
    tags["quantity"] = "radiance" if container.name in ("PRISMA L1", "PRISMA L2B") else "reflectance"
    info = RasterInfo(
        file.path,
        "HDF5",
        grid,
        bands,
        "float32",
        math.nan,
        scale_recorded=tags["quantity"] == "reflectance",
        tags=tags,
    )
    return Image(info, strips, container.name, [file.path], notes=notes, counted=True)
