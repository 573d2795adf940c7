"""Use case: an image of another format, such as Matlab's -> a raster that all commands read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from emrdiff_cli.conversion import extent
from emrdiff_cli.conversion.datasets import CAVE, DATASETS, GENERIC
from emrdiff_cli.conversion.image import (
    ConversionOptions,
    Image,
    given_bands,
    known_bands,
    refuse_mask,
    refuse_matlab_options,
    stored_info,
)
from emrdiff_cli.conversion.mat_image import open_mat_image
from emrdiff_cli.conversion.products.opening import open_product
from emrdiff_cli.conversion.whole_product import masked, open_whole
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.products.manifest import refuse_spoilt
from emrdiff_cli.products.mask_classes import plain_classes
from emrdiff_cli.products.registry import grids_of, recognise
from emrdiff_cli.raster.containers import find_container
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.matlab import is_mat
from emrdiff_cli.raster.metadata import value_beside
from emrdiff_cli.raster.nodata import is_nodata
from emrdiff_cli.raster.png_bands import PngBands, find_bands
from emrdiff_cli.raster.qgis_style import writing_style
from emrdiff_cli.raster.reading import RasterReader, bounded_cache, open_raster
from emrdiff_cli.raster.stac_item import writing_item
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Grid, Window

__all__ = ["Conversion", "ConversionOptions", "convert"]

Progress = Callable[[float, float], None]

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 256, 2**26
_BLOCK_BYTES = 2**27  # that a row of the blocks of a file may take to be read at once
_CACHE_MEGABYTES = 64


@dataclass(frozen=True)
class Conversion:
    """Record of a conversion, printed as text and as JSON."""

    output: str
    dataset: str
    variable: str | None
    bands: int
    height: int
    width: int
    dtype: str
    wavelengths_nm: tuple[float, ...] | None
    nodata: str | None
    masked_pixels: int
    notes: tuple[str, ...]


def convert(
    source: Path | str, output: Path | str, options: ConversionOptions, progress: Progress | None = None
) -> Conversion:
    """Write a product, a .mat file, a folder of band PNGs or a raster as GeoTIFF or ENVI.

    Stored values stay as they are, but where a product's bands differ in scale: then they become physical.

    Invalid pixels of a mask become nodata, NaN for floats unless `options` name another value. The output
    appears when it is written and verified. Raises EmrdiffError's children.
    """
    source, output = Path(source), Path(output)
    holes = 0
    with bounded_cache(_CACHE_MEGABYTES), _open(source, options) as opened:
        image = _cut(opened, options)
        spec = _spec(image, options)
        listed = [] if options.wavelengths is None else [Path(options.wavelengths)]
        refuse_inputs_as_outputs(files_written(output, spec.driver, {}), [source, *image.files, *listed])
        described = writing_item(output, spec, options.stac, options.overwrite)
        styled = writing_style(output, spec, options.qml, options.overwrite)
        with styled, described, VerifiedWriter(output, spec, options.overwrite) as writer:
            for rows in image.strips():
                valid = image.valid
                mask = None if valid is None else valid[writer.rows_written :][: rows.shape[1]]
                marked = rows if image.physical else _marked(rows, mask, image.info.nodata, spec)
                del rows
                holes += _holes(marked, spec, image.physical) if image.counted else 0
                writer.append(marked) if image.physical else writer.append_stored(marked)
                del marked
                if progress is not None:
                    progress(writer.rows_written, spec.grid.height)
        notes = image.notes if image.told is None else (*image.notes, *image.told())
    return _report(output, replace(image, notes=notes), spec, holes)


def _cut(image: Image, options: ConversionOptions) -> Image:
    """The image on the ground that is asked for."""
    if options.extent is None:
        return image
    if options.crs is not None or options.transform is not None:
        raise UsageError(
            "--extent cuts by the input's own georeference: convert with --crs and --transform first"
        )
    return extent.cut(image, options.extent)


def _open(source: Path, options: ConversionOptions) -> AbstractContextManager[Image]:
    """Open an input of any format, told by what it is."""
    grids = grids_of(source)
    if grids and not options.pan and options.wavelengths is None:
        refuse_matlab_options(source, options)
        return open_whole(source, grids, options)
    if options.resolution is not None or options.bands is not None:
        if grids and not options.pan:
            raise UsageError(
                "--resolution and --bands take the product's own wavelengths: not with --wavelengths"
            )
        raise UsageError(f"--resolution and --bands are for Sentinel-2 and Landsat, which {source} is not")
    if options.pan and (source.is_dir() or not source.exists() or find_container(source) is None):
        raise UsageError(f"--pan is for PRISMA, which {source} is not")
    if source.is_dir():
        return _open_pngs(source, options) if recognise(source) is None else _open_raster(source, options)
    if source.exists() and is_mat(source):
        refuse_mask(source, "a .mat file", options)
        return open_mat_image(source, options)
    container = find_container(source) if source.exists() else None
    if container is not None:
        return open_product(source, container, options)
    return _open_raster(source, options)


@contextmanager
def _open_pngs(source: Path, options: ConversionOptions) -> Iterator[Image]:
    refuse_matlab_options(source, options)
    refuse_mask(source, "a folder of PNGs", options)
    given = given_bands(options)
    if options.dataset not in ("auto", "cave", "generic"):
        raise InputError(f"{source}: is a folder; {options.dataset} comes in .mat files")
    paths = find_bands(source)
    known = CAVE if options.dataset != "generic" and len(paths) == CAVE.bands else GENERIC
    dataset = CAVE if options.dataset == "cave" else known
    with PngBands(paths) as cube:
        bands = known_bands(source, cube.bands, dataset, given)
        yield Image(stored_info(source, "PNG", cube, bands), cube.strips, dataset.name, paths)


@contextmanager
def _open_raster(source: Path, options: ConversionOptions) -> Iterator[Image]:
    refuse_matlab_options(source, options)
    given = given_bands(options)
    dataset = GENERIC if options.dataset == "auto" else DATASETS[options.dataset]
    if options.extent is None:
        refuse_spoilt(source, masks=bool(options.mask))
    with open_raster(source, mask=plain_classes(options.mask)) as reader:
        info = reader.info
        if reader.masked:
            raise InputError(
                f"{source}: has a mask or an alpha band: write it with a nodata value first, "
                "e.g. `gdalwarp -dstnodata`"
            )
        if given is not None or info.bands.wavelengths_nm is None:
            bands = known_bands(source, info.bands.count, dataset, given)
            width = bands.fwhm_nm or info.bands.fwhm_nm
            info = replace(
                info, bands=replace(info.bands, wavelengths_nm=bands.wavelengths_nm, fwhm_nm=width)
            )
        files = [info.path, info.path.with_suffix(".hdr")]
        part = partial(_raster_strips, reader)
        yield Image(
            info,
            partial(part, Window(0, 0, info.grid.height, info.grid.width)),
            dataset.name,
            files,
            counted=bool(reader.given_mask),
            told=partial(masked, reader),
            part=part,
        )


def _raster_strips(reader: RasterReader, window: Window) -> Iterator[NDArray[Any]]:
    row_bytes = reader.info.bands.count * window.width * np.dtype(reader.info.dtype).itemsize
    step = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // row_bytes))
    together = reader.block_shape[0]
    # Blocks that a strip parts are decoded for each of its sides.
    if together * row_bytes <= _BLOCK_BYTES:
        step = max(1, step // together) * together
    top = window.row
    while top < window.rows.stop:
        stop = min((top // step + 1) * step, window.rows.stop)
        yield reader.read_stored(window._replace(row=top, height=stop - top))
        top = stop


def _spec(image: Image, options: ConversionOptions) -> RasterSpec:
    nodata = image.info.nodata if options.nodata is None else options.nodata
    if nodata is None and image.valid is not None and not image.valid.all():
        raise UsageError(
            f"{image.info.path}: has pixels marked invalid, for which {image.info.dtype} has no value of its "
            "own: give --nodata"
        )
    grid = _placed(image.info.grid, options)
    return RasterSpec.like(
        image.info, grid=grid, nodata=nodata, driver=options.driver, overviews=options.overviews
    )


def _placed(grid: Grid, options: ConversionOptions) -> Grid:
    """Georeference a grid as asked for."""
    if options.crs is None and options.transform is None:
        return grid
    transform = grid.transform if options.transform is None else _transform(options.transform)
    crs_wkt = grid.crs_wkt if options.crs is None else _crs_wkt(options.crs)
    if transform == Affine.identity():
        raise UsageError("--crs places nothing without --transform: give both")
    return replace(grid, transform=transform, crs_wkt=crs_wkt)


def _transform(text: str) -> Affine:
    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise UsageError(f"--transform {text}: not all are numbers") from error
    if len(numbers) != 6 or not np.isfinite(numbers).all() or Affine(*numbers).is_degenerate:
        raise UsageError(
            f"--transform {text}: needs the six numbers a,b,c,d,e,f of x = a col + b row + c, "
            "y = d col + e row + f, such as 2.5,0,411050,0,-2.5,4016650"
        )
    return Affine(*numbers)


def _crs_wkt(text: str) -> str:
    try:
        return str(CRS.from_user_input(text).to_wkt())
    except CRSError as error:
        raise UsageError(f"--crs {text}: is no CRS known to PROJ, such as EPSG:32654") from error


def _marked(
    rows: NDArray[Any], mask: NDArray[np.bool_] | None, stored: float | None, spec: RasterSpec
) -> NDArray[Any]:
    """Put nodata where the mask or the input's own nodata says so; a valid value that is it goes beside it."""
    renamed = stored is not None and not _same(stored, spec.nodata)
    if spec.nodata is None or (mask is None and not renamed):
        return rows
    valid = np.ones(rows.shape, bool) if mask is None else np.broadcast_to(mask, rows.shape).copy()
    if stored is not None:
        valid &= ~(is_nodata(rows, stored) | (np.isnan(rows) if rows.dtype.kind == "f" else False))
    marked = rows.copy()
    marked[is_nodata(rows, spec.nodata) & valid] = value_beside(spec.nodata, rows.dtype)
    marked[~valid] = spec.nodata
    return marked


def _holes(rows: NDArray[Any], spec: RasterSpec, physical: bool) -> int:
    """Count pixels that are nodata, of physical values NaN, in a band that is not bad."""
    if spec.nodata is None:
        return 0
    holes = np.zeros(rows.shape[1:], bool)
    for band in sorted(set(range(len(rows))) - set(spec.bands.bad)):
        holes |= np.isnan(rows[band])
        if not physical:
            holes |= is_nodata(rows[band], spec.nodata)
    return int(holes.sum())


def _same(nodata: float, other: float | None) -> bool:
    return other is not None and (nodata == other or (math.isnan(nodata) and math.isnan(other)))


def _report(output: Path, image: Image, spec: RasterSpec, masked: int) -> Conversion:
    notes = tuple(image.notes)
    if spec.bands.wavelengths_nm is None:
        notes += ("the bands have no wavelengths: give --wavelengths for commands that need them",)
    return Conversion(
        output=str(output),
        dataset=image.dataset,
        variable=image.variable,
        bands=spec.bands.count,
        height=spec.grid.height,
        width=spec.grid.width,
        dtype=spec.dtype,
        wavelengths_nm=spec.bands.wavelengths_nm,
        nodata=None if spec.nodata is None else f"{spec.nodata:g}",
        masked_pixels=masked if image.valid is None else int((~image.valid).sum()),
        notes=notes,
    )
