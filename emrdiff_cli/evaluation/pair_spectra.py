"""Spectra of a fused raster beside those of its LR-HSI, with their intervals where those are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import BRIGHTNESS
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Bands, Grid, Window
from emrdiff_cli.report import panels
from emrdiff_cli.report.charts import Area, Chart, Line
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, row

Field = NDArray[np.float32]

_WATER_NM = ((1350.0, 1450.0), (1800.0, 1950.0))  # where the air lets no light through
_NINETY = 1.645  # standard deviations on both sides that hold 90 % of a Gaussian


@dataclass(frozen=True)
class SpectraSource:
    """What spectra are read from; `deviations`: the fused raster's standard deviations, None where unknown.

    `extrapolated`: bands of the LR-HSI (0-based) whose detail no MSI band has seen.
    """

    lr: RasterReader
    fused: RasterReader
    deviations: RasterReader | None
    extrapolated: Sequence[int]


def spectra(source: SpectraSource) -> str:
    """An LR pixel of each class of brightness, and the fused pixels on its ground."""
    lr, fused = source.lr, source.fused
    if lr.info.bands.count != fused.info.bands.count:
        return ""
    pixels = list(_typical_pixels(lr, fused.info.grid))
    figures, places = [], []
    for number, (name, pixel) in enumerate(pixels, 1):
        ground = lr.info.grid.crop(pixel)
        above = _on(fused, ground)
        if above is not None:
            below = lr.read(pixel)[:, 0, 0]
            figures.append(figure(_chart(source, ground, below, above).svg(400, 260), name, f"{number}"))
            places.append(_place(ground, fused.info.grid, f"{number}"))
    if not figures:
        return ""
    where = figure(panels.marked(fused, fused.info.grid, places), "in the fused raster", "Points")
    return notes(_told(source)) + row(figures, 3) + row([where], 3)


def _told(source: SpectraSource) -> Iterator[str]:
    yield (
        "Of each third of the LR-HSI by brightness, the median pixel, and the mean of the fused pixels in it. Bad "
        "bands and those that the air's water takes are left open; tinted bands are under none of the HR-MSI's."
    )
    if source.deviations is not None:
        yield "Around the fused spectrum the 90 % interval of a single pixel, mean over the pixels."


def _chart(source: SpectraSource, ground: Grid, below: Field, above: Field) -> Chart:
    bands = source.lr.info.bands
    axis: Sequence[float] = bands.wavelengths_nm or range(1, bands.count + 1)
    shown = _shown(bands)
    lines = tuple(
        Line(title, sorted(zip(axis, np.where(shown, line, np.nan).tolist(), strict=True)), colour, dashes)
        for title, line, colour, dashes in (
            ("LR-HSI", below, LINE_COLOURS[6], ""),
            ("fused, mean", above, LINE_COLOURS[1], "6 4"),
        )
    )
    spread = None if source.deviations is None else _on(source.deviations, ground)
    areas: tuple[Area, ...] = ()
    if spread is not None and len(spread) == len(above):
        half = np.where(shown, _NINETY * spread, np.nan)
        areas = (
            Area(
                sorted(zip(axis, (above - half).tolist(), (above + half).tolist(), strict=True)),
                LINE_COLOURS[1],
            ),
        )
    return Chart(
        "band" if bands.wavelengths_nm is None else "wavelength (nm)",
        "reflectance" if source.lr.info.scale_recorded else "value",
        lines,
        tinted=tuple(_spans(axis, set(source.extrapolated))),
        areas=areas,
        from_zero=True,
    )


def _shown(bands: Bands) -> NDArray[np.bool_]:
    """Bands whose values say something."""
    shown = np.ones(bands.count, np.bool_)
    shown[list(bands.bad)] = False
    if bands.wavelengths_nm is not None:
        centres = np.array(bands.wavelengths_nm)
        for low, high in _WATER_NM:
            shown[(centres >= low) & (centres <= high)] = False
    return shown


def _spans(axis: Sequence[float], chosen: set[int]) -> Iterator[tuple[float, float]]:
    """Ranges of the axis around runs of chosen bands, each half-way to the next band."""
    order = sorted(range(len(axis)), key=lambda band: axis[band])
    edges = [
        axis[order[0]],
        *((axis[a] + axis[b]) / 2 for a, b in pairwise(order)),
        axis[order[-1]],
    ]
    start: float | None = None
    for place, band in enumerate(order):
        if band in chosen and start is None:
            start = edges[place]
        if start is not None and (band not in chosen or place == len(order) - 1):
            yield start, edges[place + (band in chosen)]
            start = None


def _on(reader: RasterReader, ground: Grid) -> Field | None:
    """The mean of a raster's pixels on a ground, by band."""
    seen = panels.read_on(reader, range(reader.info.bands.count), ground, (1, 1))
    return None if seen is None else seen[:, 0, 0]


def _typical_pixels(lr: RasterReader, grid: Grid) -> Iterator[tuple[str, Window]]:
    """The LR pixel of median brightness of each third of those wholly on the fused ground."""
    box = panels.box_on(lr.info, grid)
    if box is None or not grid.georeferenced:
        return
    top, left = max(0, math.ceil(box.row - 1e-6)), max(0, math.ceil(box.col - 1e-6))
    bottom = min(lr.info.grid.height, math.floor(box.row + box.height + 1e-6))
    right = min(lr.info.grid.width, math.floor(box.col + box.width + 1e-6))
    if bottom <= top or right <= left:
        return
    cube = lr.read(Window(top, left, bottom - top, right - left))
    brightness = np.where(np.isfinite(cube).all(axis=0), cube.mean(axis=0, dtype=np.float64), np.nan)
    order = np.argsort(brightness, axis=None, kind="stable")[: int(np.isfinite(brightness).sum())]
    for name, members in zip(BRIGHTNESS, np.array_split(order, len(BRIGHTNESS)), strict=True):
        if members.size:
            rows, cols = np.unravel_index(members[len(members) // 2], brightness.shape)
            yield name, Window(top + int(rows), left + int(cols), 1, 1)


def _place(ground: Grid, grid: Grid, name: str) -> panels.Place:
    col, row_ = ~grid.transform @ ground.transform @ (0.5, 0.5)
    return panels.Place(row_ / grid.height, col / grid.width, name)
