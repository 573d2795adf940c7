"""What of a pair its products' own masks hide, in words."""

from __future__ import annotations

from collections.abc import Mapping

from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.quality_mask import mask_note

MaskShares = tuple[Mapping[str, float], Mapping[str, float]]
"""By class the share of the common ground, in the LR-HSI and in the HR-MSI."""


def mask_notes(pair: PairReader, shares: MaskShares) -> tuple[str, ...]:
    """A line for each raster that is masked, with the share of each class."""
    told = zip((pair.lr_info, pair.msi_info), shares, strict=True)
    return tuple(
        f"{mask_note(info, by_class)} of the ground in common" for info, by_class in told if by_class
    )


def planned_mask_notes(pair: PairReader) -> tuple[str, ...]:
    """The same without shares, for which the masks would have to be read."""
    return (f"to be masked: {', '.join(pair.mask)}",) if pair.mask else ()
