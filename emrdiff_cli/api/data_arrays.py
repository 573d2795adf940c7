"""xarray DataArrays as images and back, as rioxarray places them: coordinates, CRS and wavelengths kept.

Of the package this module and `pixel_places` alone know xarray and rioxarray, of the extra `emrdiff[xarray]`, and
import them on demand.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.api.arrays import image_of_array, wavelengths_of
from emrdiff_cli.api.image import Image
from emrdiff_cli.api.pixel_places import EVEN, Axes, accessor_of, axes_of, transform_of
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.metadata import fits_dtype, is_structure, parse_factor
from emrdiff_cli.raster.spectral import Stated, fwhm_nm, lengths_in_names, wavelengths_nm
from emrdiff_cli.raster_info import Bands, Grid

if TYPE_CHECKING:
    import xarray as xr

_WAVELENGTH, _FWHM = "wavelength", "fwhm"
_HOLES = ("_FillValue", "missing_value")
_KEPT = {"wavelength_units", "reflectance_scale_factor"}  # of what describes a file's structure
_MOST_REFLECTANCE = 2.0
_LARGEST_APPLIED = 0.01  # scale factors up to which values of reflectance cannot be stored ones


def image_of_data_array(
    cube: xr.DataArray,
    name: str,
    wavelengths: Sequence[float] | NDArray[Any] | None = None,
    transform: Affine | None = None,
) -> Image:
    """The image of a DataArray with dimensions band, y and x in any order, or y and x, which is not changed.

    Holes are NaN and its nodata (`_FillValue`); a `scale_factor` and `add_offset` in its attributes hold for the
    values. `wavelengths` (nm): instead of those of its coordinate; `transform`: where it has no coordinates. Raises
    InputError, UsageError.
    """
    axes = axes_of(cube, name)
    leading = [] if axes.band is None else [axes.band]
    values = cube.transpose(*leading, axes.y, axes.x).to_numpy()
    image = image_of_array(values, name)
    scale, offset = _scale(cube, name)
    crs = accessor_of(cube).crs
    found = transform_of(cube, axes, name)
    placed = found if found is not None or transform is None else transform
    height, width = image.grid.height, image.grid.width
    return replace(
        image,
        grid=Grid(height, width, placed or Affine.identity(), None if crs is None else crs.to_wkt()),
        bands=_bands(cube, axes, image.bands.count, name, wavelengths),
        nodata=_nodata(cube, image),
        scale=scale,
        offset=offset,
        tags={
            str(key): value
            for key, value in cube.attrs.items()
            if isinstance(value, str) and not is_structure(str(key))
        },
    )


def data_array_of(
    image: Image, like: xr.DataArray, on: xr.DataArray, name: str, *, same_bands: bool = True
) -> xr.DataArray:
    """The DataArray of an image: dimensions, bands' coordinates and attributes of `like`, place of `on`.

    Where the image lies on the grid of `on`, the coordinates are the same numbers. Without `same_bands` the bands
    are the image's own.
    """
    import xarray as xr

    axes = axes_of(like, name)
    band = "band" if axes.band is None else axes.band
    attributes = {key: value for key, value in like.attrs.items() if _is_kept(str(key))}
    by_band = _band_coordinates(like, axes, band, image.bands) if same_bands else None
    if by_band is None:
        attributes.pop("long_name", None)
        by_band = _own_coordinates(band, image.bands)
        if image.bands.names is not None:
            attributes["long_name"] = image.bands.names
    cube = xr.DataArray(
        image.values,
        dims=(band, axes.y, axes.x),
        coords={**by_band, **_places(image.grid, axes, on, name)},
        attrs=attributes | {key: text for key, text in image.tags.items() if key.startswith("emrdiff_")},
        name=like.name,
    )
    order = like.dims if axes.band is not None else (band, axes.y, axes.x)
    return _georeferenced(cube.transpose(*order), accessor_of(on).crs, image.grid)


def _scale(cube: xr.DataArray, name: str) -> tuple[float, float]:
    """Scale and offset that the attributes state. Raises InputError where they were applied already."""
    scale, offset = (
        _number(cube, key, name, none) for key, none in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    key = "scale_factor"
    if (scale, offset) == (1.0, 0.0):
        key = "reflectance_scale_factor"
        factor = cube.attrs.get(key)
        scale = parse_factor(None if factor is None else str(factor)) or 1.0
    if cube.dtype.kind != "f" or scale > _LARGEST_APPLIED:
        return scale, offset
    highest = float(cube.max())
    if 0 < highest <= _MOST_REFLECTANCE:
        raise InputError(
            f"{name}: its attribute {key} says {cube.attrs[key]}, and its largest value is {highest:.3g}: that was "
            f"applied already; drop the attribute (`del cube.attrs[{key!r}]`)"
        )
    return scale, offset


def _number(cube: xr.DataArray, key: str, name: str, otherwise: float) -> float:
    stated = cube.attrs.get(key, otherwise)
    try:
        values = set(np.ravel(np.asarray(stated, np.float64)).tolist())
    except (TypeError, ValueError):
        values = set()
    if not values:
        raise InputError(f"{name}: its attribute {key} is {stated!r}, no number: correct or drop it")
    if len(values) > 1:
        raise InputError(f"{name}: its bands have different {key}: bring them to one")
    return float(values.pop())


def _nodata(cube: xr.DataArray, image: Image) -> float | None:
    stated = accessor_of(cube).nodata
    if stated is None or not fits_dtype(float(stated), image.values.dtype.name):
        return image.nodata
    return float(stated)


def _bands(
    cube: xr.DataArray,
    axes: Axes,
    count: int,
    name: str,
    wavelengths: Sequence[float] | NDArray[Any] | None,
) -> Bands:
    names, units = cube.attrs.get("long_name"), cube.attrs.get("units")
    listed = (names,) if isinstance(names, str) and count == 1 else names
    labels = tuple(map(str, listed)) if isinstance(listed, tuple | list) and len(listed) == count else None
    known = wavelengths_of(wavelengths, count, name)
    if known is None:
        stated = _stated(cube, axes, _WAVELENGTH, name) or (
            None if labels is None else lengths_in_names(labels)
        )
        known = None if stated is None else wavelengths_nm(stated)
    widths = _stated(cube, axes, _FWHM, name)
    return Bands(
        count=count,
        wavelengths_nm=known,
        fwhm_nm=None if widths is None else fwhm_nm(widths, known),
        good=_good(cube, axes),
        names=labels,
        units=(units,) * count if isinstance(units, str) and units else None,
    )


def _along_bands(cube: xr.DataArray, axes: Axes, key: str) -> xr.DataArray | None:
    found = cube.coords.get(key)
    return None if found is None or axes.band is None or found.dims != (axes.band,) else found


def _stated(cube: xr.DataArray, axes: Axes, key: str, name: str) -> Stated | None:
    """The lengths of a coordinate of the bands, in its `units`, else in the `wavelength_units` of the cube."""
    found = _along_bands(cube, axes, key)
    if found is None or found.dtype.kind not in "iuf" or not np.isfinite(found.to_numpy()).all():
        return None
    unit = str(found.attrs.get("units") or cube.attrs.get("wavelength_units") or "")
    numbers = tuple(Decimal(str(value)) for value in found.to_numpy().tolist())
    return Stated(numbers, (unit,) * len(numbers), f"{name}: the coordinate '{key}'")


def _good(cube: xr.DataArray, axes: Axes) -> tuple[bool, ...] | None:
    """Which bands are good, by a coordinate `good` or `bbl`."""
    for key in ("good", "bbl"):
        found = _along_bands(cube, axes, key)
        if found is not None:
            return tuple(bool(value) for value in found.to_numpy())
    return None


def _is_kept(key: str) -> bool:
    """Whether an attribute holds for a cube made of another; what GDAL lists of ENVI bands is repeated."""
    listed = re.fullmatch(r"Band_\d+", key) is not None or key.startswith("emrdiff_")
    return key in _KEPT or not (listed or key in _HOLES or is_structure(key))


def _band_coordinates(
    like: xr.DataArray, axes: Axes, band: Hashable, bands: Bands
) -> dict[Hashable, Any] | None:
    """The coordinates of the bands, and of all of the cube; None where the bands are others."""
    if axes.band is None or like.sizes[axes.band] != bands.count:
        return None
    found: dict[Hashable, Any] = {
        key: coordinate.variable
        for key, coordinate in like.coords.items()
        if set(coordinate.dims) <= {axes.band} and key not in ("spatial_ref", accessor_of(like).grid_mapping)
    }
    if bands.wavelengths_nm is not None and _WAVELENGTH not in found:
        found[_WAVELENGTH] = (band, list(bands.wavelengths_nm), {"units": "nm"})
    return found


def _own_coordinates(band: Hashable, bands: Bands) -> dict[Hashable, Any]:
    found: dict[Hashable, Any] = {band: (band, np.arange(1, bands.count + 1))}
    for key, values in ((_WAVELENGTH, bands.wavelengths_nm), (_FWHM, bands.fwhm_nm)):
        if values is not None:
            found[key] = (band, list(values), {"units": "nm"})
    return found


def _places(grid: Grid, axes: Axes, on: xr.DataArray, name: str) -> dict[Hashable, Any]:
    """The coordinates of a grid along y and x: numbers of `on` where they are of its pixels."""
    its = axes_of(on, name)
    if its.x not in on.coords or its.y not in on.coords:
        return {}
    place = grid.transform
    if not place.is_rectilinear:
        return {}
    centres = {
        "x": place.c + place.a * (np.arange(grid.width) + 0.5),
        "y": place.f + place.e * (np.arange(grid.height) + 0.5),
    }
    found = {}
    for dim, other, values in ((axes.x, its.x, centres["x"]), (axes.y, its.y, centres["y"])):
        of_on = on.coords[other]
        found[dim] = (dim, _same_numbers(values, of_on.to_numpy()), of_on.attrs)
    return found


def _same_numbers(values: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    """The part of `known` coordinates that the values are, but for rounding; else the values."""
    if len(known) < 2:
        return known if len(values) == len(known) == 1 else values
    step = (known[-1] - known[0]) / (len(known) - 1)
    first = round(float((values[0] - known[0]) / step))
    part = known[max(0, first) : max(0, first) + len(values)]
    same = first >= 0 and len(part) == len(values) and np.abs(part - values).max() < EVEN * abs(step)
    return np.asarray(part if same else values)


def _georeferenced(cube: xr.DataArray, crs: Any, grid: Grid) -> xr.DataArray:
    """The cube with its CRS, its transform and NaN as its nodata."""
    placed: Any = accessor_of(cube)
    if crs is not None:
        placed = accessor_of(placed.write_crs(crs))
    if grid.transform != Affine.identity():
        placed = accessor_of(placed.write_transform(grid.transform))
    done: xr.DataArray = placed.write_nodata(np.nan)
    return done
