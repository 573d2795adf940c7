"""NumPy arrays as images: (bands, rows, columns), NaN and masked values are holes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.api.image import Image
from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.spectral import are_spectral
from emrdiff_cli.raster_info import Bands, Grid


def image_of_array(
    values: NDArray[Any],
    name: str,
    wavelengths: Sequence[float] | NDArray[Any] | None = None,
    transform: Affine | None = None,
) -> Image:
    """The image of an array (bands, rows, columns), or (rows, columns) of one band, which is not changed.

    `wavelengths`: of the bands, nm. Raises UsageError, with the array's `name`, for another shape or type.
    """
    stored = _stored(values, name)
    if stored.ndim == 2:
        stored = stored[None]
    if stored.ndim != 3 or not stored.size:
        raise UsageError(f"{name}: has shape {values.shape}: hand in (bands, rows, columns)")
    bands = Bands(len(stored), wavelengths_of(wavelengths, len(stored), name))
    grid = Grid(stored.shape[1], stored.shape[2], transform or Affine.identity())
    return Image(stored, grid, bands, float("nan") if stored.dtype.kind == "f" else None)


def wavelengths_of(
    values: Sequence[float] | NDArray[Any] | None, count: int, name: str
) -> tuple[float, ...] | None:
    """Wavelengths in nm of so many bands; None for none. Raises UsageError for what cannot be those."""
    if values is None:
        return None
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: its wavelengths are no numbers: give one for each band, in nm") from error
    if len(found) != count:
        raise UsageError(f"{name}: {len(found)} wavelengths for {count} bands: give one for each")
    if not are_spectral(found, None):
        raise UsageError(f"{name}: wavelengths of {min(found):g} to {max(found):g}: give them in nm")
    return found


def _stored(values: NDArray[Any], name: str) -> NDArray[Any]:
    """The values in a type that rasters have, in the machine's byte order; masked ones are NaN."""
    if values.dtype.kind not in "iuf":
        raise UsageError(f"{name}: holds {values.dtype} values: hand in integers or floats")
    if isinstance(values, np.ma.MaskedArray):
        wide = np.float64 if values.dtype.itemsize > 4 else np.float32
        return np.asarray(np.ma.filled(values.astype(wide), np.nan))
    if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
        return np.asarray(values, np.float32 if values.dtype.itemsize < 4 else np.float64)
    return np.asarray(values, values.dtype.newbyteorder("="))
