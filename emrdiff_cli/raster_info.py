"""Description of a raster besides its pixels: frozen values, no I/O.

Arrays are band first throughout: (bands, rows, columns).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from affine import Affine


class Window(NamedTuple):
    """A rectangle of pixels: upper left corner and size, in whole pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows as a slice of an array's second last axis."""
        return slice(self.row, self.row + self.height)

    @property
    def cols(self) -> slice:
        """The columns as a slice of an array's last axis."""
        return slice(self.col, self.col + self.width)


@dataclass(frozen=True)
class Grid:
    """Size, transform (pixel corner to world, as GDAL's) and CRS (WKT; None: not georeferenced)."""

    height: int
    width: int
    transform: Affine
    crs_wkt: str | None = None

    @property
    def georeferenced(self) -> bool:
        """True with a CRS and a transform other than the identity."""
        return self.crs_wkt is not None and self.transform != Affine.identity()

    def crop(self, window: Window) -> Grid:
        """The grid of a window of this one; its corner may lie outside."""
        shifted = self.transform @ Affine.translation(window.col, window.row)
        return replace(self, height=window.height, width=window.width, transform=shifted)


_BY_BAND = ("wavelengths_nm", "fwhm_nm", "good", "names", "units")


@dataclass(frozen=True)
class Bands:
    """Description of the bands: tuples with one entry a band, or None where nothing is known.

    `units` are those of the values, "" where a band has none.
    """

    count: int
    wavelengths_nm: tuple[float, ...] | None = None
    fwhm_nm: tuple[float, ...] | None = None
    good: tuple[bool, ...] | None = None
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for label in _BY_BAND:
            values = getattr(self, label)
            if values is not None and len(values) != self.count:
                raise ValueError(f"{label} has {len(values)} entries for {self.count} bands")

    @property
    def bad(self) -> tuple[int, ...]:
        """0-based positions of the bands marked bad; none where all are, which says nothing."""
        if self.good is None or not any(self.good):
            return ()
        return tuple(i for i, fine in enumerate(self.good) if not fine)

    def take(self, indices: Iterable[int]) -> Bands:
        """The bands at these 0-based positions, in this order."""
        order = list(indices)
        picked = {
            label: None if (values := getattr(self, label)) is None else tuple(values[i] for i in order)
            for label in _BY_BAND
        }
        return Bands(count=len(order), **picked)


@dataclass(frozen=True)
class RasterInfo:
    """A raster on disk: physical value = stored value x `scale` + `offset`, in `dtype`; `nodata` is a stored value.

    `scale_recorded` says whether the file states its scale (a reflectance scale factor or GDAL's scale);
    otherwise `scale` is 1. `tags` are the dataset's own key-value pairs,
    `band_tags` the bands', with "" for a band without. A mask of its own (`has_mask`) and an
    alpha band (`has_alpha`), which is none of the `bands`, make pixels invalid besides nodata.
    `mask_classes`: those of which a product has masks at hand, which make pixels invalid on request alone.
    `unplaced`: what the file is placed by that is no transform, and how to bring it to one.
    """

    path: Path
    driver: str
    grid: Grid
    bands: Bands
    dtype: str
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    scale_recorded: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_mask: bool = False
    has_alpha: bool = False
    mask_classes: tuple[str, ...] = ()
    unplaced: str | None = None

    @property
    def masked_by(self) -> str | None:
        """Mask, alpha band or both, in words; None where only nodata makes pixels invalid."""
        there = {"mask": self.has_mask, "alpha band": self.has_alpha}
        return " and ".join(name for name, given in there.items() if given) or None
