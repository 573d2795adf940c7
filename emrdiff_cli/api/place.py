"""Where images lie on each other: by a ratio alone, and which part of one another covers."""

from __future__ import annotations

from typing import Any

import numpy as np
from affine import Affine

from emrdiff_cli.api.scratch import kind_of
from emrdiff_cli.errors import GridError, UsageError
from emrdiff_cli.raster_info import Grid, Window


def lr_transform(lr_hsi: Any, hr_msi: Any, ratio: float | None) -> Affine | None:
    """The place of an LR-HSI by the ratio alone; None where the shapes, or coordinates, tell.

    Raises UsageError, and GridError where one of two DataArrays alone has a CRS.
    """
    kind = kind_of(lr_hsi, "lr_hsi")
    if kind == "DataArray":
        _refuse_one_crs(lr_hsi, hr_msi)
    if ratio is None:
        return None
    if not isinstance(ratio, int | float | np.number) or not 1 < ratio < np.inf:
        raise UsageError(f"ratio={ratio!r}: must be a number above 1, MSI pixels in an LR pixel's side")
    if kind == "file":
        raise UsageError("ratio: for arrays; files record where they lie")
    if kind == "DataArray":
        from emrdiff_cli.api.pixel_places import has_place

        if has_place(lr_hsi, "lr_hsi") or has_place(hr_msi, "hr_msi"):
            raise UsageError("ratio: the DataArrays say by their coordinates where they lie: leave it out")
    return Affine.scale(float(ratio))


def _refuse_one_crs(lr_hsi: Any, hr_msi: Any) -> None:
    from emrdiff_cli.api.pixel_places import has_crs

    placed = {"lr_hsi": has_crs(lr_hsi), "hr_msi": has_crs(hr_msi)}
    if len(set(placed.values())) > 1:
        bare, other = sorted(placed, key=lambda name: placed[name])
        raise GridError(f"{bare} has no CRS but {other} has: give it one with {bare}.rio.write_crs(...)")


def window_of(part: Grid, whole: Grid) -> Window:
    """The part of a grid's pixels that another, on it, covers."""
    col, row = ~whole.transform @ (part.transform.c, part.transform.f)
    return Window(round(row), round(col), part.height, part.width)
