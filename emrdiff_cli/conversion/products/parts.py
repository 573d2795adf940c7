"""What the readers of products share: bands, grids and tags from checked values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.hdf5 import Hdf5Array, Hdf5File
from emrdiff_cli.raster.spectral import are_spectral
from emrdiff_cli.raster_info import Bands, Grid


def spectral_bands(
    path: Path,
    count: int,
    wavelengths: NDArray[Any],
    fwhm: NDArray[Any] | None,
    good: NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
) -> Bands:
    """Describe bands in nm. Raises InputError where there are not `count` of all, or they are no wavelengths."""
    lists: Iterable[Sequence[Any] | NDArray[Any] | None] = (wavelengths, fwhm, good)
    if any(values is not None and len(values) != count for values in lists):
        raise InputError(
            f"{path}: has {count} bands and {len(wavelengths)} wavelengths: a mixed product: get it again"
        )
    # As short as the stored precision has them.
    centres, widths = _short(wavelengths), None if fwhm is None else _short(fwhm)
    if not are_spectral(centres, widths):
        raise InputError(f"{path}: its wavelengths or FWHM are none in nm: get the product again")
    return Bands(
        count,
        centres,
        widths,
        None if good is None else tuple(map(bool, good)),
        None if names is None else tuple(names),
    )


def _short(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(str(value)) for value in np.asarray(values).astype(np.float32))


def in_nm(
    path: Path, wavelengths: NDArray[Any], fwhm: NDArray[Any] | None, units: object
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Centres and FWHM in nm by the units that both are in; without any, centres below 100 are micrometres."""
    said = str(units or "").strip().lower()
    if said in ("um", "µm", "micrometers", "micrometer", "microns") or (not said and wavelengths.max() < 100):
        return wavelengths * 1000, None if fwhm is None else fwhm * 1000
    if said in ("", "nm", "nanometers", "nanometer", "nanometres"):
        return wavelengths, fwhm
    raise InputError(f"{path}: gives wavelengths in {said[:20]!r}, which is neither nm nor um")


def map_grid(path: Path, height: int, width: int, transform: Affine, crs: object) -> Grid:
    """A grid in a CRS, given as an EPSG code or in words. Raises InputError where either is none."""
    numbers = tuple(transform)[:6]
    if not all(map(math.isfinite, numbers)) or transform.is_degenerate:
        raise InputError(f"{path}: its pixels have no place on the map: get the product again")
    try:
        known = CRS.from_user_input(int(crs) if isinstance(crs, (int, float, np.number)) else str(crs))
    except (CRSError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: its CRS {str(crs)[:60]!r} is none known to PROJ: get the product again"
        ) from error
    return Grid(height, width, transform, known.to_wkt())


def scene_tags(file: Hdf5File, product: str, **attributes: str) -> dict[str, str]:
    """The product's name, and root attributes under the tags' names, where they are text."""
    found = {tag: file.attribute(name) for tag, name in attributes.items()}
    return {"product": product} | {
        tag: value for tag, value in found.items() if isinstance(value, str) and value
    }


def fill_value(file: Hdf5File, array: Hdf5Array, names: Sequence[str] = ("_FillValue",)) -> float | None:
    """The stored value that an array's attributes declare to be none."""
    for name in names:
        value: Any = file.attribute(name, array.name)
        if isinstance(value, (int, float, np.number)):
            return float(value)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                continue
    return None
