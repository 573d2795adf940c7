"""What must hold of a raster that was read, and of one made from it, whatever the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from emrdiff_cli.raster.reading import ignoring_missing_georeference
from tests.benchmarks.strangers.door import Door

_LIGHT_NM = (100.0, 100_000.0)
_ENVI_CANNOT = re.compile("rotated, sheared|cannot hold dtype")


@dataclass
class Truth:
    """What the maker of a file meant by it; None where it is not known. `nodata`: a value, or none, in a tuple."""

    transform: Affine | None = None
    wavelengths: list[float] | None = None
    no_wavelengths: bool = False
    nodata: tuple[float | None] | None = None


def record_faults(found: dict[str, Any] | None, truth: Truth, bands: int | None = None) -> Iterator[str]:
    """Faults of what `info` tells of a file."""
    if found is None:
        return
    numbers = found["transform"]
    if numbers is not None:
        if not all(map(math.isfinite, numbers)) or Affine(*numbers).is_degenerate:
            yield f"a transform that cannot be: {numbers}"
        elif truth.transform is not None and not _near(Affine(*numbers), truth.transform):
            yield f"the transform is {numbers}, not {tuple(truth.transform)[:6]}"
    elif truth.transform is not None:
        yield f"no transform, where {tuple(truth.transform)[:6]} is stated"
    yield from _spectral_faults(found, truth)
    if truth.nodata is not None and found["nodata"] != truth.nodata[0]:
        yield f"nodata is {found['nodata']}, not {truth.nodata[0]}"
    if truth.nodata is not None and bands is not None and found["bands"] != bands:
        yield f"{found['bands']} bands, not {bands}"


def _spectral_faults(found: dict[str, Any], truth: Truth) -> Iterator[str]:
    wavelengths = found["wavelengths_nm"]
    for name, least in (("wavelengths_nm", _LIGHT_NM[0]), ("fwhm_nm", 1e-3)):
        values = found[name]
        if values is None:
            continue
        if len(values) != found["bands"] or not all(least <= v <= _LIGHT_NM[1] for v in values):
            yield f"{name} that cannot be: {values}"
    if truth.no_wavelengths and wavelengths is not None:
        yield f"wavelengths {wavelengths} from a list that has none"
    if truth.wavelengths is not None and (
        wavelengths is None or not np.allclose(wavelengths, truth.wavelengths, rtol=1e-6)
    ):
        yield f"wavelengths are {wavelengths}, not {truth.wavelengths}"


def _near(a: Affine, b: Affine) -> bool:
    """Whether both put pixels of a small raster on one place, to a thousandth of a pixel."""
    size = math.sqrt(abs(b.determinant))
    corners = [(0, 0), (6, 0), (0, 6)]
    return all(math.dist(a @ corner, b @ corner) < 1e-3 * size for corner in corners)


def converted_faults(
    chance: Random, emrdiff: Door, asked: str, found: dict[str, Any], values: Any
) -> Iterator[str]:
    """Faults of what `convert` or `quicklook` makes of a raster that `info` reads; `values`: its own, if sound."""
    if chance.random() < 0.15:
        emrdiff("quicklook", asked, "x.png", "-q", "--size", "64")
        return
    output = chance.choice(("out.tif", "out.tif", "out.bsq"))
    ended = emrdiff("convert", asked, output, "-q")
    if ended.code:
        if Path(output).exists():
            yield "an output of a command that failed"
        if values is not None and not _ENVI_CANNOT.search(ended.err):
            yield f"a sound file is not converted: {ended.err.strip()}"
        return
    made = emrdiff.record(output)
    if made is None:
        yield "its own output is refused"
        return
    yield from _differences(found, made)
    yield from _as_gdal_finds(output, found, values)


def _as_gdal_finds(output: str, found: dict[str, Any], values: Any) -> Iterator[str]:
    """What GDAL alone reads of an output otherwise than `info` of its source."""
    driver = "ENVI" if output.endswith(".bsq") else "GTiff"
    with ignoring_missing_georeference(), rasterio.open(output, driver=driver) as dataset:
        placed, written = dataset.transform, dataset.read()
    wanted = Affine.identity() if found["transform"] is None else Affine(*found["transform"])
    if placed.is_identity != wanted.is_identity or not _near(placed, wanted):
        yield f"GDAL finds the output at {tuple(placed)[:6]}, not at {tuple(wanted)[:6]}"
    if values is not None and not np.array_equal(written, values):
        yield f"pixels changed place or value: {written.ravel()[:8]}, not {values.ravel()[:8]}"


def _differences(found: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
    """What a converted raster tells otherwise than its source."""
    for key in (
        "height",
        "width",
        "bands",
        "dtype",
        "wavelengths_nm",
        "fwhm_nm",
        "bad_bands",
        "nodata",
        "epsg",
    ):
        if found[key] != made[key]:
            yield f"{key} becomes {made[key]}, was {found[key]}"
    for key in ("scale", "offset"):
        if not math.isclose(found[key], made[key], rel_tol=1e-9):
            yield f"{key} becomes {made[key]}, was {found[key]}"
    if (found["crs"] is None) != (made["crs"] is None):
        yield f"the CRS becomes {made['crs']}, was {found['crs']}"
    one, other = found["transform"], made["transform"]
    if (one is None) != (other is None) or (one is not None and not _near(Affine(*other), Affine(*one))):
        yield f"the transform becomes {other}, was {one}"
