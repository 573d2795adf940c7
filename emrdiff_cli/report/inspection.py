"""Use case: what is known of a raster, for people and for scripts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emrdiff_cli.core.band_numbers import numbered
from emrdiff_cli.raster.crs import crs_label
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import Grid, RasterInfo


@dataclass(frozen=True)
class RasterSummary:
    """A raster's metadata. Lengths are in the CRS's units, bands count from 1, spectral values are in nm.

    `transform`: a, b, c, d, e, f of x = a col + b row + c, y = d col + e row + f. `bounds`: least x, least y,
    greatest x, greatest y. `nodata` is a stored value, physical value = stored value x scale + offset.
    `masked_by`: what makes pixels invalid besides nodata; `mask_classes`: what does on request, by a product's
    masks.
    """

    path: str
    driver: str
    height: int
    width: int
    bands: int
    dtype: str
    crs: str | None
    epsg: int | None
    transform: tuple[float, ...] | None
    pixel_size: tuple[float, float] | None
    bounds: tuple[float, float, float, float] | None
    wavelengths_nm: tuple[float, ...] | None
    fwhm_nm: tuple[float, ...] | None
    bad_bands: tuple[int, ...] | None
    band_names: tuple[str, ...] | None
    nodata: float | None
    masked_by: str | None
    mask_classes: tuple[str, ...]
    scale: float
    offset: float
    scale_recorded: bool
    tags: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes; NaN, which JSON has not, as a string."""
        nodata = self.nodata
        finite = nodata is None or math.isfinite(nodata)
        return asdict(self) | {"nodata": nodata if finite else str(nodata)}

    def to_lines(self) -> list[str]:
        """Return lines of text."""
        rows = {
            "File": f"{self.path} ({self.driver})",
            "Size": f"{self.height} rows x {self.width} columns x {self.bands} bands, {self.dtype}",
            **self._place(),
            "Wavelengths": _span(self.wavelengths_nm, "nm"),
            "FWHM": _span(self.fwhm_nm, "nm"),
            "Bad bands": _numbers(self.bad_bands),
            "Nodata": "none" if self.nodata is None else f"{self.nodata:.9g}",
            **({} if self.masked_by is None else {"Masked by": self.masked_by}),
            **(
                {}
                if not self.mask_classes
                else {"Masks": f"{', '.join(self.mask_classes)} (on request: --mask)"}
            ),
            "Scale": self._scale(),
        }
        return [f"{label:<12} {value}" for label, value in rows.items()]

    def _place(self) -> dict[str, str]:
        code = "" if self.epsg is None else f" (EPSG:{self.epsg})"
        place = {"CRS": "none" if self.crs is None else self.crs + code}
        for label, values in (
            ("Transform", self.transform),
            ("Pixel size", self.pixel_size),
            ("Bounds", self.bounds),
        ):
            place[label] = "none" if values is None else ", ".join(f"{value:.12g}" for value in values)
        return place

    def _scale(self) -> str:
        if not self.scale_recorded:
            return "none recorded"
        return f"stored value x {self.scale:.9g}" + (f" + {self.offset:.9g}" if self.offset else "")


def inspect(path: Path | str) -> RasterSummary:
    """Read a raster's metadata. Raises InputError where it is no readable raster."""
    return summarise(read_info(Path(path)))


def summarise(info: RasterInfo) -> RasterSummary:
    """Put a raster's metadata into the words of the command."""
    grid, bands = info.grid, info.bands
    label = None if grid.crs_wkt is None else crs_label(grid.crs_wkt)
    placed = grid.crs_wkt is not None or not grid.transform.is_identity
    good = bands.good
    return RasterSummary(
        path=str(info.path),
        driver=info.driver,
        height=grid.height,
        width=grid.width,
        bands=bands.count,
        dtype=info.dtype,
        crs=None if label is None else label.name,
        epsg=None if label is None else label.epsg,
        transform=tuple(value + 0.0 for value in grid.transform[:6]) if placed else None,
        pixel_size=_pixel_size(grid) if placed else None,
        bounds=_bounds(grid) if placed else None,
        wavelengths_nm=bands.wavelengths_nm,
        fwhm_nm=bands.fwhm_nm,
        bad_bands=None if good is None else tuple(i for i, fine in enumerate(good, 1) if not fine),
        band_names=bands.names,
        nodata=info.nodata,
        masked_by=info.masked_by,
        mask_classes=info.mask_classes,
        scale=info.scale,
        offset=info.offset,
        scale_recorded=info.scale_recorded,
        tags=dict(info.tags),
    )


def _pixel_size(grid: Grid) -> tuple[float, float]:
    """Width and height of a pixel, also of a rotated one."""
    t = grid.transform
    return math.hypot(t.a, t.d), math.hypot(t.b, t.e)


def _bounds(grid: Grid) -> tuple[float, float, float, float]:
    corners = [grid.transform @ (col, row) for col in (0, grid.width) for row in (0, grid.height)]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _span(values: tuple[float, ...] | None, unit: str) -> str:
    if values is None:
        return "not recorded"
    return f"{min(values):.9g} to {max(values):.9g} {unit}"


def _numbers(bands: tuple[int, ...] | None) -> str:
    return "not recorded" if bands is None else numbered(bands)
