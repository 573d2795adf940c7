"""A style beside a raster by which QGIS shows it in true colour; by itself it shows the first three bands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.colours import rgb_bands
from emrdiff_cli.raster.reading import ignoring_missing_georeference
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.runtime.atomic import check_target, write_whole

_log = logging.getLogger(__name__)

_DEVIATIONS = 2.0  # from a band's mean to the ends of its stretch
_COLOURS = ("red", "green", "blue")


def style_path(raster: Path) -> Path:
    """The file of a raster's style, which QGIS looks for."""
    return raster.with_suffix(".qml")


@contextmanager
def writing_style(raster: Path, spec: RasterSpec, asked: bool, overwrite: bool) -> Iterator[None]:
    """Have a raster's style checked before it is written, and written after it.

    Raises UsageError for a raster without statistics or colours, OutputExistsError, WriteError.
    """
    if asked:
        check_style(raster, spec, overwrite)
    yield
    if asked:
        write_style(raster, spec)
    else:
        warn_of_other_style(raster)


def check_style(raster: Path, spec: RasterSpec, overwrite: bool) -> None:
    """Refuse a style before any work; raises as `writing_style`."""
    if spec.driver == "ENVI":
        raise UsageError(
            "--qml: an ENVI file has no statistics to stretch by: write a GeoTIFF (-f GTiff or -f COG)"
        )
    if rgb_bands(spec.bands, spec.tags) is None:
        raise UsageError(
            "--qml: no bands near 650, 550 and 450 nm, and no default bands, to show as red, green and blue"
        )
    check_target(style_path(raster), overwrite)


def warn_of_other_style(raster: Path) -> None:
    """Say that a style lies beside a raster that was written without one: QGIS stretches the new values by it."""
    if style_path(raster).is_file():
        _log.warning(
            "%s: a style for what %s was before, by which QGIS shows it: write it anew by --qml, or remove it",
            *(style_path(raster), raster.name),
        )


def write_style(raster: Path, spec: RasterSpec) -> None:
    """Write the style of a raster that is in place; raises WriteError."""
    bands = rgb_bands(spec.bands, spec.tags)
    if bands is None:
        raise ValueError("a style needs three bands")
    with ignoring_missing_georeference(), rasterio.open(raster) as dataset:
        ends = [_stretch(dataset.tags(band + 1), spec) for band in bands]
    named = " ".join(f'{colour}Band="{band + 1}"' for colour, band in zip(_COLOURS, bands, strict=True))
    stretches = "".join(
        f"<{colour}ContrastEnhancement><minValue>{low!r}</minValue><maxValue>{high!r}</maxValue>"
        f"<algorithm>StretchToMinimumMaximum</algorithm></{colour}ContrastEnhancement>"
        for colour, (low, high) in zip(_COLOURS, ends, strict=True)
    )
    origin = "<minMaxOrigin><limits>None</limits><extent>WholeRaster</extent></minMaxOrigin>"
    write_whole(
        style_path(raster),
        (
            "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
            f'<qgis version="3.0.0"><pipe><rasterrenderer type="multibandcolor" opacity="1" alphaBand="-1" {named}>'
            f"{origin}{stretches}</rasterrenderer></pipe></qgis>\n"
        ).encode(),
    )


def _stretch(tags: dict[str, str], spec: RasterSpec) -> tuple[float, float]:
    """The range of physical values that is shown from dark to light; 0 to 1 of a band without a value."""
    if "STATISTICS_MEAN" not in tags:
        return 0.0, 1.0
    names = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")
    low, high, mean, deviation = (float(tags[f"STATISTICS_{name}"]) for name in names)
    stored = max(low, mean - _DEVIATIONS * deviation), min(high, mean + _DEVIATIONS * deviation)
    ends = sorted(value * spec.scale + spec.offset for value in stored)
    return ends[0], ends[1]
