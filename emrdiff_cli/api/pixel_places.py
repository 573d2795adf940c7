"""Where the pixels of a DataArray lie: its dimensions, and the transform that its coordinates tell.

They tell more than the transform that is recorded, which stays the whole raster's when a part is cut out.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine

from emrdiff_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    import xarray as xr

EVEN = 1e-3
"""Pixels by which coordinates may be off an even spacing."""

_SAME = 1e-6  # pixels by which a transform may be off the coordinates to be theirs


class Axes(NamedTuple):
    """Names of a DataArray's dimensions; `band` is None for one of two dimensions."""

    band: Hashable | None
    y: Hashable
    x: Hashable


def has_place(cube: xr.DataArray, name: str) -> bool:
    """Whether a DataArray says where its pixels lie."""
    return transform_of(cube, axes_of(cube, name), name) is not None


def has_crs(cube: xr.DataArray) -> bool:
    """Whether a DataArray has a CRS."""
    return accessor_of(cube).crs is not None


def accessor_of(cube: xr.DataArray) -> Any:
    """The accessor of rioxarray. Raises UsageError where that is not installed."""
    try:
        import rioxarray  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"DataArrays need rioxarray, which cannot be imported ({error}): pip install 'emrdiff[xarray]'"
        ) from error
    accessor: Any = getattr(cube, "rio")  # noqa: B009 - a type checker does not know it
    return accessor


def axes_of(cube: xr.DataArray, name: str) -> Axes:
    """The dimensions of a DataArray. Raises InputError where they are not those of one image."""
    place = accessor_of(cube)
    from rioxarray.exceptions import MissingSpatialDimensionError

    try:
        y, x = place.y_dim, place.x_dim
    except MissingSpatialDimensionError as error:
        raise InputError(
            f"{name}: its dimensions are {', '.join(map(str, cube.dims))}: name those of space y and x, or set "
            "them with .rio.set_spatial_dims"
        ) from error
    others = [dim for dim in cube.dims if dim not in (y, x)]
    if len(others) > 1:
        raise InputError(
            f"{name}: has {', '.join(map(str, others))} besides {y} and {x}: choose one image, with one dimension "
            "of bands"
        )
    return Axes(others[0] if others else None, y, x)


def transform_of(cube: xr.DataArray, axes: Axes, name: str) -> Affine | None:
    """The transform by the coordinates; the one that is recorded where it says the same, to the last digit.

    None without coordinates and without one. Raises InputError for coordinates that are not evenly spaced.
    """
    place = accessor_of(cube)
    for dim in (axes.y, axes.x):
        if dim in cube.coords and cube.coords[dim].dtype.kind not in "iuf":
            raise InputError(
                f"{name}: its coordinates {dim} are no numbers: give it those of its pixels' centres"
            )
    recorded: Affine = place.transform()
    if not recorded.is_rectilinear:
        return _turned(cube, axes, recorded, name)
    if axes.x not in cube.coords or axes.y not in cube.coords:
        return None if recorded == Affine.identity() else recorded
    for dim in (axes.x, axes.y):
        _refuse_uneven(cube, dim, name)
    found: Affine = place.transform(recalc=True)
    ends = ((0, 0), (cube.sizes[axes.x], cube.sizes[axes.y]))
    there = ~found
    same = all(
        abs(went - came) < _SAME
        for end in ends
        for went, came in zip(there @ (recorded @ end), end, strict=True)
    )
    return recorded if same else found


def _turned(cube: xr.DataArray, axes: Axes, recorded: Affine, name: str) -> Affine:
    """A turned transform, from the first pixel on that the centres `xc` and `yc` (y, x) of rioxarray have.

    The one that is recorded is of the raster that was opened, of which the cube may be a part. Raises InputError
    for a part that leaves pixels out.
    """
    centres = [cube.coords[key] for key in ("xc", "yc") if key in cube.coords]
    if len(centres) < 2 or any(set(found.dims) != {axes.y, axes.x} for found in centres):
        return recorded
    x, y = (found.transpose(axes.y, axes.x).to_numpy().astype(np.float64) for found in centres)
    col, row = ~recorded @ (float(x[0, 0]), float(y[0, 0]))
    found = recorded @ Affine.translation(round(col - 0.5), round(row - 0.5))
    back = ~found
    cols, rows = back.a * x + back.b * y + back.c - 0.5, back.d * x + back.e * y + back.f - 0.5
    off = np.abs(cols - np.arange(x.shape[1])) + np.abs(rows - np.arange(len(x))[:, None])
    if not off.max() < EVEN:
        raise InputError(f"{name}: its coordinates xc and yc are not its transform's: take whole, even parts")
    return found


def _refuse_uneven(cube: xr.DataArray, dim: Hashable, name: str) -> None:
    stored = cube.coords[dim].to_numpy()
    at = stored.astype(np.float64)
    if len(at) < 2:
        return
    step = abs(at[-1] - at[0]) / (len(at) - 1)
    # Those of float32 are rounded to a visible share of a pixel.
    rounded = 0.0 if stored.dtype.kind != "f" else 2 * np.finfo(stored.dtype).eps * np.abs(at).max()
    off = np.abs(at - np.linspace(at[0], at[-1], len(at))).max()
    if not off < max(EVEN * step, min(rounded, step / 4)):
        raise InputError(f"{name}: its coordinates {dim} are not evenly spaced: bring it to a grid first")
