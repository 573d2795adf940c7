"""Parts that reports share: composites of several rasters on one ground, error maps, facts of a raster."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.raster.crs import crs_label, pixel_width_m, same_crs
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster.warping import restated
from emrdiff_cli.raster_info import Grid, RasterInfo
from emrdiff_cli.report.charts import colour_bar
from emrdiff_cli.report.colour import Limits, colour_map, composite, percentile_limits
from emrdiff_cli.report.composite import (
    FALSE_COLOUR_NM,
    Box,
    Composite,
    choose_bands,
    near_bands,
    read_box,
    whole,
)
from emrdiff_cli.report.page import data_uri, figure, image
from emrdiff_cli.report.scale_bar import scale_bar

SIZE = 480  # longer side of a composite in pixels
MAP_SIZE = 800

_PREFIX, _TILES = "emrdiff_", "emrdiff_tile_"
_OPENING = ("[", "{")  # of values in JSON, which are for programs
_TAG_LABELS = {
    "emrdiff_detail_by": "bands under the MSI's, told by",
    "emrdiff_hr_msi": "HR-MSI",
    "emrdiff_lr_hsi": "LR-HSI",
    "emrdiff_physical": "impossible values corrected",
    "emrdiff_psf_fwhm_standard_error_of_ratio": "standard errors of the PSF's FWHM (of the ratio; rows, columns)",
    "emrdiff_shift_lr_px": "LR-HSI moved down, right (LR pixels)",
    "emrdiff_shift_standard_error_lr_px": "standard errors of the move (LR pixels; down, right)",
    "emrdiff_srf_residual": "variance of each MSI band that its response leaves (shares)",
    "emrdiff_changed_share": "changed ground (share of the LR pixels)",
}
_WIDTH = 480  # of a drawing with a picture in it, in its own units
_SHEAR = 1e-6
_BARB = 0.3  # of an arrow's length
_BARBS = tuple((math.cos(turn), math.sin(turn)) for turn in (0.85 * math.pi, -0.85 * math.pi))


class Shown(NamedTuple):
    """A raster in a row of composites; one with a stretch of its own has other units or bands than the rest."""

    name: str
    reader: RasterReader
    own_stretch: bool = False


@dataclass(frozen=True)
class Place:
    """A point to mark on a picture: its cell's row and column as shares of the picture, and its name."""

    row: float
    col: float
    name: str


@dataclass(frozen=True)
class Pointer:
    """An arrow on a picture, from a place and by so much, down and right, as shares of the picture."""

    row: float
    col: float
    down: float
    right: float


def shape_of(grid: Grid, size: int) -> tuple[int, int]:
    """Rows and columns of a picture of a grid, at most `size` along the longer side; never enlarged."""
    share = min(1.0, size / max(grid.height, grid.width))
    return max(1, round(grid.height * share)), max(1, round(grid.width * share))


def true_colour(shown: Sequence[Shown], grid: Grid, size: int = SIZE) -> list[str]:
    """Figures of the rasters on a grid's ground, in bands for red, green and blue; `size` as `shape_of` has it."""
    chosen = {raster.name: choose_bands(raster.reader) for raster in shown}
    return list(_composites(shown, grid, chosen, size))


def false_colour(shown: Sequence[Shown], grid: Grid) -> list[str]:
    """Figures with the near infrared as red, of the rasters that have it."""
    found = {raster.name: near_bands(raster.reader.info, FALSE_COLOUR_NM) for raster in shown}
    chosen = {name: bands for name, bands in found.items() if bands is not None}
    return list(_composites([raster for raster in shown if raster.name in chosen], grid, chosen))


def _composites(
    shown: Sequence[Shown], grid: Grid, chosen: Mapping[str, Composite], size: int = SIZE
) -> Iterator[str]:
    """The last raster without a stretch of its own gives the stretch of the others."""
    shape = shape_of(grid, size)
    values = {raster.name: read_on(raster.reader, chosen[raster.name].bands, grid, shape) for raster in shown}
    common = [v for r in shown if not r.own_stretch and (v := values[r.name]) is not None]
    shared = percentile_limits(common[-1]) if common else ()
    for raster in shown:
        cube = values[raster.name]
        if cube is not None:
            limits = (
                shared if not raster.own_stretch and len(shared) == len(cube) else percentile_limits(cube)
            )
            legend = chosen[raster.name].legend
            picture = image(composite(cube, limits), f"{raster.name}, {legend}") + scale(grid)
            yield figure(picture, legend, raster.name)


def read_on(
    reader: RasterReader, bands: Sequence[int], grid: Grid, shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """A raster's bands averaged onto a picture of another grid; None where it lies apart or on other axes."""
    box = box_on(reader.info, grid)
    if box is None:
        return None
    values = read_box(reader, bands, box, shape)
    return values if np.isfinite(values).any() else None


def box_on(info: RasterInfo, grid: Grid) -> Box | None:
    """A grid's rectangle in a raster's pixels; the whole raster where neither is georeferenced."""
    own = restated(info.grid, grid)
    if own.georeferenced != grid.georeferenced or not same_crs(own.crs_wkt, grid.crs_wkt):
        return None
    if not grid.georeferenced and own.transform.is_identity:
        return whole(info)
    onto = ~own.transform @ grid.transform
    turned = max(abs(onto.b) * grid.height, abs(onto.d) * grid.width) > _SHEAR * max(own.height, own.width)
    if turned or onto.a <= 0 or onto.e <= 0:
        return None
    return Box(onto.f, onto.c, onto.e * grid.height, onto.a * grid.width)


def marked(reader: RasterReader, grid: Grid, places: Sequence[Place]) -> str:
    """A true-colour picture with numbered points on it; nothing where the raster cannot be shown."""
    height = _WIDTH * grid.height / grid.width
    parts = []
    for place in places:
        x, y = place.col * _WIDTH, place.row * height
        side, anchor = (9, "start") if x < _WIDTH - 30 else (-9, "end")
        circle = f'cx="{x:.1f}" cy="{y:.1f}" r="5"'
        text_y = min(max(y + 5, 14), height - 4)
        parts += [f'<circle class="halo" {circle}/><circle class="ring" {circle}/>']
        parts += [
            f'<text class="dot" x="{x + side:.1f}" y="{text_y:.1f}" text-anchor="{anchor}">{place.name}</text>'
        ]
    return _drawn_on(reader, grid, parts, f"{len(places)} numbered points on a picture in true colour")


def pointed(reader: RasterReader, grid: Grid, arrows: Sequence[Pointer]) -> str:
    """A true-colour picture with arrows on it; nothing where the raster cannot be shown."""
    height = _WIDTH * grid.height / grid.width
    parts = []
    for arrow in arrows:
        x, y = arrow.col * _WIDTH, arrow.row * height
        by = arrow.right * _WIDTH, arrow.down * height
        left, right = ((by[0] * c - by[1] * s, by[0] * s + by[1] * c) for c, s in _BARBS)
        tip = x + by[0], y + by[1]
        ends = ((tip[0] + _BARB * dx, tip[1] + _BARB * dy) for dx, dy in (left, right))
        barbs = "L{:.1f} {:.1f}L".join("{:.1f} {:.1f}".format(*end) for end in ends).format(*tip)
        line = f'd="M{x:.1f} {y:.1f}L{tip[0]:.1f} {tip[1]:.1f}M{barbs}"'
        parts.append(f'<path class="halo" {line}/><path class="ring" {line}/>')
    return _drawn_on(reader, grid, parts, f"{len(arrows)} arrows on a picture in true colour")


def _drawn_on(reader: RasterReader, grid: Grid, parts: Sequence[str], told: str) -> str:
    """A drawing over a true-colour picture, with its scale; nothing where the raster cannot be shown."""
    cube = read_on(reader, choose_bands(reader).bands, grid, shape_of(grid, SIZE))
    if cube is None:
        return ""
    height = _WIDTH * grid.height / grid.width
    uri = data_uri(composite(cube, percentile_limits(cube)))
    picture = f'<image href="{uri}" width="{_WIDTH}" height="{height:.1f}" preserveAspectRatio="none"/>'
    head = f'<svg viewBox="0 0 {_WIDTH} {height:.1f}" role="img" aria-label="{told}">'
    return f"{head}{picture}{''.join(parts)}</svg>{scale(grid)}"


def error_map(values: NDArray[np.float32], grid: Grid, label: str) -> str:
    """A map in the colour map from 0 to the 98th percentile, its scale and its colour bar underneath."""
    high = percentile_limits(values[None], 0, 98)[0].high if np.isfinite(values).any() else 0.0
    limits = Limits(0.0, high)
    told = f"{label}, a map of it from 0 to {high:.3g}"
    return image(colour_map(values, limits), told) + scale(grid) + colour_bar(limits, label)


def scale(grid: Grid) -> str:
    """A scale bar for a picture of the grid that is as wide as the drawing."""
    metres = pixel_width_m(grid) if grid.georeferenced else None
    pixel = grid.width / _WIDTH * (1.0 if metres is None else metres)
    bar = scale_bar(_WIDTH, pixel, "px" if metres is None else "m")
    line = f'<path class="scale" d="M1 8V20M1 14H{bar.pixels}M{bar.pixels} 8V20"/>'
    text = f'<text class="big" x="{bar.pixels + 9}" y="20">{bar.label}</text>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} 26" role="img" aria-label="scale bar of {bar.label}">{line}{text}</svg>'
    )


def facts(name: str, info: RasterInfo) -> tuple[str, str]:
    """A raster's row of the table of inputs and outputs."""
    grid = info.grid
    where = "not georeferenced"
    if grid.crs_wkt is not None:
        label = crs_label(grid.crs_wkt)
        where = label.name + (f" (EPSG:{label.epsg})" if label.epsg is not None else "")
        where += f", pixel {abs(grid.transform.a):.10g} x {abs(grid.transform.e):.10g}"
    return (
        name,
        f"{info.path}: {grid.height} x {grid.width} pixels, {info.bands.count} bands, {info.dtype}, {where}",
    )


def recorded(info: RasterInfo, told: Collection[str] = ()) -> list[tuple[str, str]]:
    """Tags of a raster that tell of its making; without those `told` elsewhere and those that programs read."""
    return [
        (_TAG_LABELS.get(key, key.removeprefix(_PREFIX).replace("_", " ")), re.sub(r",(?=\S)", ", ", value))
        for key, value in sorted(info.tags.items())
        if key.startswith(_PREFIX)
        and key not in told
        and not key.startswith(_TILES)
        and value[:1] not in _OPENING
    ]
