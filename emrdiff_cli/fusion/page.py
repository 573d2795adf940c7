"""Use case: a fusion -> one HTML page: pictures of what went in and came out, spectra, provenance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import BRIGHTNESS
from emrdiff_cli.fusion.fusing import FusionReport
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.pair import recorded_nodata
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster_info import Grid, Window
from emrdiff_cli.report import panels
from emrdiff_cli.report.charts import Chart, Line
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, page, row, table, write_report

_FACTS = {
    "ratio": "Ratio",
    "tiles": "Tiles",
    "valid_share": "Share of valid pixels",
    "changed_share": "Share of LR pixels on changed ground",
    "clipped_values": "Clipped values",
    "shift_lr_px": "LR-HSI moved down, right (LR pixels)",
    "psf_fwhm_px": "FWHM of the PSF, rows x columns (MSI pixels)",
    "seconds": "Seconds",
}


def write_fusion_report(
    result: FusionReport, lr_hsi: Path, hr_msi: Path, folder: Path, *, overwrite: bool = False
) -> Path:
    """Write `report.html` into a folder, from the rasters of a finished fusion.

    The LR-HSI lies where the fused raster records it to have been moved. What cannot be shown on the fused
    raster's grid (another CRS, a rotated grid) is left out. Raises OutputExistsError, WriteError, InputError.
    """
    with ExitStack() as stack:
        fused = stack.enter_context(open_raster(Path(result.output)))
        invalid = recorded_nodata(fused.info.tags) or (None, None)
        lr, msi = (
            stack.enter_context(open_raster(path, nodata))
            for path, nodata in zip((lr_hsi, hr_msi), invalid, strict=True)
        )
        lr = lr.moved(*PairGeometry.from_tags(fused.info.tags).move)
        sections = [
            ("Pictures", _pictures(fused, lr, msi)),
            ("Spectra", _spectra(fused, lr)),
            ("Provenance", table(_provenance(result, fused, lr, msi))),
        ]
        lead = f"{lr_hsi} and {hr_msi}, fused by {result.method}"
        remarks = notes([*(f"Warning: {text}" for text in result.warnings), *result.notes])
        text = page(
            f"Fusion into {fused.info.path.name}", lead, [("Notes", remarks), *sections], result.record()
        )
    return write_report(folder, text, overwrite)


def _pictures(fused: RasterReader, lr: RasterReader, msi: RasterReader) -> str:
    shown = [
        panels.Shown("LR-HSI", lr),
        panels.Shown("Fused", fused),
        panels.Shown("HR-MSI", msi, own_stretch=True),
    ]
    grid = fused.info.grid
    stretch = (
        "Each band is stretched between the fused raster's 2nd and 98th percentiles; the HR-MSI by its own."
    )
    rows = row(panels.true_colour(shown, grid), 3), row(panels.false_colour(shown, grid), 3)
    return "".join(rows) + notes([stretch])


def _spectra(fused: RasterReader, lr: RasterReader) -> str:
    """An LR pixel of each class of brightness, and the mean of the fused pixels on its ground."""
    if lr.info.bands.count != fused.info.bands.count:
        return ""
    pixels = list(_typical_pixels(lr, fused.info.grid))
    figures, places = [], []
    for number, (name, pixel) in enumerate(pixels, 1):
        ground = lr.info.grid.crop(pixel)
        above = panels.read_on(fused, range(fused.info.bands.count), ground, (1, 1))
        if above is not None:
            figures.append(_spectrum(lr, lr.read(pixel)[:, 0, 0], above[:, 0, 0], f"{number}", name))
            places.append(_place(ground, fused.info.grid, f"{number}"))
    if not figures:
        return ""
    where = figure(panels.marked(fused, fused.info.grid, places), "in the fused raster", "Points")
    text = (
        "Of each third of the LR-HSI by brightness, the median pixel, and the mean of the fused pixels in it."
    )
    return notes([text]) + row(figures, 3) + row([where], 3)


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


def _spectrum(
    lr: RasterReader, below: NDArray[np.float32], above: NDArray[np.float32], number: str, name: str
) -> str:
    centres = lr.info.bands.wavelengths_nm
    axis: Sequence[float] = range(1, len(below) + 1) if centres is None else centres
    lines = tuple(
        Line(title, sorted(zip(axis, map(float, values), strict=True)), colour, dashes)
        for title, values, colour, dashes in (
            ("LR-HSI", below, LINE_COLOURS[6], ""),
            ("fused, mean", above, LINE_COLOURS[1], "6 4"),
        )
    )
    label = "band" if centres is None else "wavelength (nm)"
    unit = "reflectance" if lr.info.scale_recorded else "value"
    return figure(Chart(label, unit, lines, from_zero=True).svg(400, 260), name, number)


def _provenance(
    result: FusionReport, fused: RasterReader, lr: RasterReader, msi: RasterReader
) -> Iterator[tuple[str, object]]:
    yield panels.facts("Fused", fused.info)
    yield panels.facts("LR-HSI", lr.info)
    yield panels.facts("HR-MSI", msi.info)
    for key, label in _FACTS.items():
        yield label, getattr(result, key)
    for key, value in panels.recorded(fused.info):
        yield f"Tag: {key}", value
