"""What pixels that have values in some bands alone come to, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.band_numbers import numbered
from emrdiff_cli.core.sensor.missing_bands import MissingBands
from emrdiff_cli.fusion.observed_scene import Lost


def hole_notes(missing: MissingBands, fused: NDArray[np.intp], lost: Lost) -> Iterator[str]:
    """One line for the LR pixels that are fused in part, the LR-HSI's that are lost, and the HR-MSI's.

    `missing`: of the `fused` bands (0-based).
    """
    if share := missing.share:
        bands = numbered([int(fused[band]) + 1 for band in missing.bands])
        yield (
            f"{share:.2%} of the LR pixels have values in some bands alone: the output has these there, and nodata "
            f"in the others (of bands {bands})"
        )
    if lost.lr:
        yield (
            f"{lost.lr:.2%} of the LR pixels have values in some bands alone, too few or in too many ways to fuse "
            "these, and are nodata in all of the output; mark bands that lack many as bad (`bbl`)"
        )
    if lost.msi:
        yield f"{lost.msi:.2%} of the HR-MSI's pixels have values in some bands alone, and are nodata in the output"
