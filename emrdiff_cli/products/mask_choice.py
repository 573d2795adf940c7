"""Which of the classes that a run masks each of its rasters is to mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emrdiff_cli.errors import UsageError
from emrdiff_cli.products.mask_classes import AskedMask, asked_of
from emrdiff_cli.products.registry import recognise


def choose_masks(
    mask: AskedMask, rasters: Sequence[Path], sides: Sequence[str | None] | None = None
) -> list[AskedMask]:
    """Classes that each raster is to mask; nothing where no mask is asked for.

    A class that is asked of all is for whichever rasters are products with masks of their own. `sides`: what each
    is called in `lr:CLASS` and `msi:CLASS`; None: nothing. Raises UsageError where no raster has masks, or a
    product not all those that are asked of it; InputError as `recognise` does.
    """
    if not mask:
        return [()] * len(rasters)
    sides = sides or [None] * len(rasters)
    chosen = []
    for raster, side, (common, own) in zip(rasters, sides, asked_of(mask, sides), strict=True):
        product = recognise(raster)
        if own or (product is not None and product.masks):
            wanted = tuple(dict.fromkeys((*common, *own)))
            _refuse_missing(raster, side, wanted)
            chosen.append(wanted)
        else:
            chosen.append(())
    if not any(chosen):
        raise UsageError(f"--mask: {' and '.join(map(_without, rasters))}: leave the option out")
    return chosen


def available(mask: AskedMask, raster: Path) -> AskedMask:
    """Those of the classes that a raster has masks of."""
    product = recognise(raster)
    return () if product is None else tuple(name for name in mask if name in product.masks)


def _refuse_missing(raster: Path, side: str | None, wanted: AskedMask) -> None:
    product = recognise(raster)
    if product is None or not product.masks:
        raise UsageError(f"--mask {side}:{wanted[0]}: {_without(raster)}")
    missing = [name for name in wanted if name not in product.masks]
    if missing:
        other = {"lr": "msi", "msi": "lr"}.get(side or "")
        hint = "" if other is None else f"; of the other raster alone ask it by {other}:{missing[0]}"
        raise UsageError(
            f"--mask {missing[0]}: {raster}, {product.name}, has masks of {', '.join(product.masks)}{hint}"
        )


def _without(raster: Path) -> str:
    product = recognise(raster)
    if product is None:
        return f"{raster} is no product that has masks of its own"
    return f"{raster}, {product.name}, has none: {product.no_masks}"
