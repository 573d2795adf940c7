"""Use case: a raster -> a stretched composite as PNG, with a scale bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.products.mask_classes import AskedMask, plain_classes
from emrdiff_cli.raster.crs import pixel_width_m
from emrdiff_cli.raster.files import refuse_inputs_as_outputs
from emrdiff_cli.raster.png import encode_png
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster_info import Grid
from emrdiff_cli.report.colour import composite, percentile_limits
from emrdiff_cli.report.composite import choose_bands, picture_shape, read_box, whole
from emrdiff_cli.report.scale_bar import ScaleBar, footer, scale_bar
from emrdiff_cli.runtime.atomic import check_target, write_whole

_LEAST_SIZE, _MOST_SIZE = 16, 16384


@dataclass(frozen=True)
class Quicklook:
    """Record of a picture. Bands count from 1; `limits`: the physical values shown as darkest and brightest."""

    output: str
    height: int
    width: int
    bands: tuple[int, ...]
    legend: str
    limits: tuple[tuple[float, float], ...]
    scale_bar: str
    scale_bar_pixels: int

    def record(self) -> dict[str, object]:
        """All of it as plain values for JSON."""
        return asdict(self)


def quicklook(
    raster: Path | str,
    output: Path | str,
    *,
    bands: Sequence[int] | None = None,
    wavelengths_nm: Sequence[float] | None = None,
    size: int = 1024,
    percentiles: tuple[float, float] = (2.0, 98.0),
    mask: AskedMask = (),
    overwrite: bool = False,
) -> Quicklook:
    """Draw a raster into a PNG whose longer side is about `size` pixels, a scale bar underneath.

    Mirrored rasters are drawn north up. Each band is stretched between the percentiles of its valid values; invalid
    pixels are transparent, and those of the classes of `mask`, by the product's own masks. Raises UsageError,
    OutputExistsError, InputError (nothing valid, no wavelengths), WriteError.
    """
    raster, output = Path(raster), Path(output)
    _check(output, size, percentiles)
    with open_raster(raster, mask=plain_classes(mask)) as reader:
        info = reader.info
        refuse_inputs_as_outputs([output], [raster])
        check_target(output, overwrite)
        chosen = choose_bands(reader, bands, wavelengths_nm)
        shape = picture_shape(info.grid.height, info.grid.width, size)
        values = read_box(reader, chosen.bands, whole(info), shape)
    if not np.isfinite(values).all(axis=0).any():
        raise InputError(f"{raster}: no pixel is valid in all of {chosen.legend}: there is nothing to draw")
    limits = percentile_limits(values, *percentiles)
    bar = bar_of(info.grid, shape[1])
    pixels = _with_footer(_north_up(composite(values, limits), info.grid), bar, chosen.legend)
    write_whole(output, encode_png(pixels))
    return Quicklook(
        output=str(output),
        height=pixels.shape[1],
        width=pixels.shape[2],
        bands=tuple(band + 1 for band in chosen.bands),
        legend=chosen.legend,
        limits=tuple((limit.low, limit.high) for limit in limits),
        scale_bar=bar.label,
        scale_bar_pixels=bar.pixels,
    )


def bar_of(grid: Grid, width: int) -> ScaleBar:
    """The scale bar of a picture of the whole grid, so many pixels wide: metres, or pixels without a CRS."""
    metres = pixel_width_m(grid) if grid.georeferenced else None
    zoom = grid.width / width
    return scale_bar(width, zoom if metres is None else zoom * metres, "px" if metres is None else "m")


def _check(output: Path, size: int, percentiles: tuple[float, float]) -> None:
    if output.suffix.lower() != ".png":
        raise UsageError(f"{output}: a quicklook is a PNG: give it a name that ends in .png")
    if not _LEAST_SIZE <= size <= _MOST_SIZE:
        raise UsageError(f"--size {size}: must be between {_LEAST_SIZE} and {_MOST_SIZE} pixels")
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise UsageError(
            f"--stretch {percentiles[0]:g} {percentiles[1]:g}: must be two percentiles, ascending in 0 to 100"
        )


def _north_up(picture: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The picture of a mirrored raster with its rows from the north and its columns from the west."""
    t = grid.transform
    if not grid.georeferenced or abs(t.b) > abs(t.a) or abs(t.d) > abs(t.e):
        return picture
    return picture[:, :: -1 if t.e > 0 else 1, :: -1 if t.a < 0 else 1]


def _with_footer(picture: NDArray[np.uint8], bar: ScaleBar, legend: str) -> NDArray[np.uint8]:
    strip = footer(picture.shape[2], bar, legend)
    opaque = np.full_like(strip, 255)
    return np.concatenate([picture, np.stack([strip, strip, strip, opaque])], axis=1)
