"""An LR-HSI brought onto its grid from where its pixels were found to lie, with the MSI as a guide.

What the MSI explains of a pixel by one least-squares map is worked out from the MSI itself, at both places, and is
exact; only the rest, which is small and smooth, is interpolated (quintic splines). Interpolating the LR-HSI itself
would lose what lies near its Nyquist frequency.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.methods.least_squares import fit_linear

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

_ORDER = 5
_INVERSIONS = 3  # rounds in which the place that belongs to a grid point is found
_WHOLE = 0.999


def on_grid(
    hsi: Floats, valid: Mask, displacement: Doubles, msi: Floats, msi_displaced: Floats, seen: Mask
) -> tuple[Field, Mask]:
    """The LR-HSI (B, h, w) on its grid, and its valid pixels there.

    Pixels of `hsi` lie `displacement` (2, h, w) LR pixels down and right of the grid's; `msi` and `msi_displaced`
    (m, h, w) are the degraded MSI on the grid and at the pixels' own places, which is whole where `seen` (h, w).
    Holes have to be filled.
    """
    fit = valid & seen
    slopes, intercept = fit_linear(msi_displaced[:, fit], hsi[:, fit])
    rest = hsi - np.tensordot(slopes, msi_displaced, axes=1) - intercept[:, None, None]
    places = _places(displacement)
    moved = np.empty(hsi.shape, np.float32)
    for band, left in enumerate(rest):
        interpolated = ndimage.map_coordinates(left, places, order=_ORDER, mode="nearest")
        moved[band] = np.tensordot(slopes[band], msi, axes=1) + intercept[band] + interpolated
    usable = ndimage.map_coordinates(fit.astype(np.float32), places, order=1, mode="nearest") > _WHOLE
    return moved, np.asarray(usable)


def _places(displacement: Doubles) -> Doubles:
    """(2, h, w): where in the image the points of the grid lie; the inverse of pixels' displacement."""
    grid = np.mgrid[: displacement.shape[1], : displacement.shape[2]].astype(np.float64)
    places = grid - displacement
    for _ in range(_INVERSIONS):
        away = [ndimage.map_coordinates(axis, places, order=1, mode="nearest") for axis in displacement]
        places = grid - np.stack(away)
    return places
