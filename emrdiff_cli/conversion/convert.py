"""Use case: an image of another format, such as Matlab's -> a raster that all commands read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from emrdiff_cli.conversion.datasets import CAVE, DATASETS, GENERIC, Dataset, DatasetName, recognise
from emrdiff_cli.conversion.wavelengths import read_wavelengths
from emrdiff_cli.core.sensor.orientation import AS_STORED, ORIENTATIONS, OrientationName
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.matlab import MatCube, MatFile, Variable, find_cube, is_mat, open_mat, wavelengths_in
from emrdiff_cli.raster.metadata import value_beside
from emrdiff_cli.raster.nodata import is_nodata
from emrdiff_cli.raster.png_bands import PngBands, find_bands
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo, Window

Progress = Callable[[float, float], None]

_ROWS_AT_ONCE = 256
# What variables that list wavelengths are called in other data sets.
_WAVELENGTH_NAMES = ("wavelengths", "wavelength", "bands", "lambda", "wl")


@dataclass(frozen=True)
class ConversionOptions:
    """Options about the input; None and "auto" where its contents decide.

    `band_axis` is counted from 1, as Matlab's size() has it. `transform`: the six numbers of rasterio's
    Affine. `nodata` is a stored value.
    """

    dataset: DatasetName = "auto"
    variable: str | None = None
    band_axis: int | None = None
    orientation: OrientationName | None = None
    wavelengths: str | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: str | None = None
    driver: Driver = "GTiff"
    overwrite: bool = False


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


@dataclass(frozen=True)
class _Image:
    """An open image of any format: `strips` are its stored rows from the top down.

    `valid`, where known, is its mask; `files` are those read.
    """

    info: RasterInfo
    strips: Callable[[], Iterator[NDArray[Any]]]
    dataset: str
    files: Sequence[Path]
    variable: str | None = None
    valid: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


def convert(
    source: Path | str, output: Path | str, options: ConversionOptions, progress: Progress | None = None
) -> Conversion:
    """Write a .mat file, a folder of band PNGs or a raster as GeoTIFF or ENVI; stored values stay as they are.

    Invalid pixels of a mask become nodata, NaN for floats unless `options` name another value. The output
    appears when it is written and verified. Raises EmrdiffError's children.
    """
    source, output = Path(source), Path(output)
    with _open(source, options) as image:
        spec = _spec(image, options)
        listed = [] if options.wavelengths is None else [Path(options.wavelengths)]
        refuse_inputs_as_outputs(files_written(output, spec.driver, {}), [source, *image.files, *listed])
        with VerifiedWriter(output, spec, options.overwrite) as writer:
            for rows in image.strips():
                valid = image.valid
                mask = None if valid is None else valid[writer.rows_written :][: rows.shape[1]]
                writer.append_stored(_marked(rows, mask, image.info.nodata, spec))
                del rows
                if progress is not None:
                    progress(writer.rows_written, spec.grid.height)
    return _report(output, image, spec)


def _open(source: Path, options: ConversionOptions) -> AbstractContextManager[_Image]:
    """Open an input of any format, told by what it is."""
    if source.is_dir():
        return _open_pngs(source, options)
    if source.exists() and is_mat(source):
        return _open_mat(source, options)
    return _open_raster(source, options)


@contextmanager
def _open_mat(source: Path, options: ConversionOptions) -> Iterator[_Image]:
    given = _given_bands(options)
    with open_mat(source) as file:
        dataset = _dataset_of_mat(file, options)
        variable = find_cube(file, options.variable or dataset.variable)
        orientation = dataset.orientation
        if options.orientation is not None:
            orientation = ORIENTATIONS[options.orientation]
        cube = MatCube(file, variable, _band_axis(file, variable, dataset, given, options), orientation)
        valid = None if dataset.mask_variable is None else _mask(file, dataset.mask_variable, cube)
        yield _Image(
            info=_info(source, "Matlab", cube, _bands_of_mat(file, cube.bands, dataset, given)),
            strips=cube.strips,
            dataset=dataset.name,
            files=[source],
            variable=variable.name,
            valid=valid,
            notes=_notes(dataset, options),
        )


def _dataset_of_mat(file: MatFile, options: ConversionOptions) -> Dataset:
    if options.dataset == "auto":
        # Another variable than the data set's own is not what is known of it.
        dataset = recognise(file.variables)
        return dataset if options.variable in (None, dataset.variable) else GENERIC
    if options.dataset == "cave":
        raise InputError(f"{file.path}: is a .mat file; CAVE is a folder of band PNGs")
    return DATASETS[options.dataset]


def _band_axis(
    file: MatFile, variable: Variable, dataset: Dataset, given: Bands | None, options: ConversionOptions
) -> int:
    """Find the axis of the bands, from 0: as asked for, or the data set's, else by length.

    By length it is the one with as many as there are wavelengths, the odd one beside two of one length,
    the last if it is the shortest, or one at most half as long as the others. Raises InputError for none.
    """
    if options.band_axis is not None or dataset.variable is not None:
        return 2 if options.band_axis is None else options.band_axis - 1
    lengths = variable.shape
    listed = [axis for axis in range(3) if _has_wavelengths(file, lengths[axis], given)]
    odd = [axis for axis in range(3) if lengths.count(lengths[axis]) == 1]
    for axes in (listed, odd):
        if len(axes) == 1:
            return axes[0]
    shortest, next_length = lengths.index(min(lengths)), sorted(lengths)[1]
    if len(odd) == 3 and (shortest == 2 or 2 * lengths[shortest] <= next_length):
        return shortest
    raise InputError(f"{file.path}: {variable}: which axis has the bands? Give --band-axis 1, 2 or 3")


def _has_wavelengths(file: MatFile, count: int, given: Bands | None) -> bool:
    return given.count == count if given is not None else _listed_wavelengths(file, count) is not None


def _listed_wavelengths(file: MatFile, count: int) -> tuple[float, ...] | None:
    found = (wavelengths_in(file, name, count) for name in _WAVELENGTH_NAMES)
    return next((listed for listed in found if listed is not None), None)


def _bands_of_mat(file: MatFile, count: int, dataset: Dataset, given: Bands | None) -> Bands:
    if given is None and dataset.wavelength_variable is not None:
        listed = wavelengths_in(file, dataset.wavelength_variable, count)
        if listed is None:
            raise InputError(
                f"{file.path}: {dataset.wavelength_variable} does not list ascending wavelengths in nm of "
                f"{count} bands: give --wavelengths"
            )
        return Bands(count, listed)
    if given is None and dataset is GENERIC:
        return Bands(count, _listed_wavelengths(file, count))
    return _bands(file.path, count, dataset, given)


def _given_bands(options: ConversionOptions) -> Bands | None:
    return None if options.wavelengths is None else read_wavelengths(options.wavelengths)


def _bands(source: Path, count: int, dataset: Dataset, given: Bands | None) -> Bands:
    """The bands' metadata that the user gave, else those known of the data set."""
    if given is not None:
        if given.count != count:
            raise UsageError(f"--wavelengths gives {given.count} centres, but {source} has {count} bands")
        return given
    if dataset.bands not in (None, count):
        raise InputError(
            f"{source}: has {count} bands where {dataset.name} has {dataset.bands}: give --wavelengths, "
            "or --dataset generic"
        )
    return Bands(count, dataset.wavelengths_nm)


def _mask(file: MatFile, name: str, cube: MatCube) -> NDArray[np.bool_]:
    """Read which pixels are valid, turned as the image is. Raises InputError where it cannot be, or none is."""
    stored = file.variables.get(name)
    if stored is None or stored.dtype is None or stored.shape != cube.matrix_shape:
        raise InputError(
            f"{file.path}: has no mask {name} of the image's size: give --dataset generic to do without"
        )
    valid: NDArray[np.bool_] = cube.orientation.apply(file.read(name) != 0)
    if not valid.any():
        raise InputError(
            f"{file.path}: {name} marks all pixels invalid: give --dataset generic to do without"
        )
    return valid


def _notes(dataset: Dataset, options: ConversionOptions) -> tuple[str, ...]:
    """Notes on what is done to a data set without being asked, or is missing, unless the user said otherwise."""
    said = options.transform if dataset.orientation == AS_STORED else options.orientation
    return (dataset.note,) if dataset.note and said is None else ()


@contextmanager
def _open_pngs(source: Path, options: ConversionOptions) -> Iterator[_Image]:
    _refuse_matlab_options(source, options)
    given = _given_bands(options)
    if options.dataset not in ("auto", "cave", "generic"):
        raise InputError(f"{source}: is a folder; {options.dataset} comes in .mat files")
    paths = find_bands(source)
    known = CAVE if options.dataset != "generic" and len(paths) == CAVE.bands else GENERIC
    dataset = CAVE if options.dataset == "cave" else known
    with PngBands(paths) as cube:
        bands = _bands(source, cube.bands, dataset, given)
        yield _Image(_info(source, "PNG", cube, bands), cube.strips, dataset.name, paths)


@contextmanager
def _open_raster(source: Path, options: ConversionOptions) -> Iterator[_Image]:
    _refuse_matlab_options(source, options)
    given = _given_bands(options)
    dataset = GENERIC if options.dataset == "auto" else DATASETS[options.dataset]
    with open_raster(source) as reader:
        info = reader.info
        if reader.masked:
            raise InputError(
                f"{source}: has a mask or an alpha band: write it with a nodata value first, "
                "e.g. `gdalwarp -dstnodata`"
            )
        if given is not None or info.bands.wavelengths_nm is None:
            bands = _bands(source, info.bands.count, dataset, given)
            info = replace(info, bands=replace(bands, good=info.bands.good, names=info.bands.names))
        files = [info.path, info.path.with_suffix(".hdr")]
        yield _Image(info, lambda: _raster_strips(reader), dataset.name, files)


def _raster_strips(reader: RasterReader) -> Iterator[NDArray[Any]]:
    grid = reader.info.grid
    for top in range(0, grid.height, _ROWS_AT_ONCE):
        yield reader.read_stored(Window(top, 0, min(_ROWS_AT_ONCE, grid.height - top), grid.width))


def _refuse_matlab_options(source: Path, options: ConversionOptions) -> None:
    for name in ("variable", "band_axis", "orientation"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for .mat files, which {source} is not")


def _info(source: Path, driver: str, cube: MatCube | PngBands, bands: Bands) -> RasterInfo:
    grid = Grid(cube.height, cube.width, Affine.identity())
    # Floats that are no numbers are holes in every case.
    nodata = math.nan if np.dtype(cube.dtype).kind == "f" else None
    return RasterInfo(source, driver, grid, bands, cube.dtype, nodata)


def _spec(image: _Image, options: ConversionOptions) -> RasterSpec:
    nodata = image.info.nodata if options.nodata is None else options.nodata
    if nodata is None and image.valid is not None and not image.valid.all():
        raise UsageError(
            f"{image.info.path}: has pixels marked invalid, for which {image.info.dtype} has no value of its "
            "own: give --nodata"
        )
    grid = _placed(image.info.grid, options)
    return RasterSpec.like(image.info, grid=grid, nodata=nodata, driver=options.driver)


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


def _same(nodata: float, other: float | None) -> bool:
    return other is not None and (nodata == other or (math.isnan(nodata) and math.isnan(other)))


def _report(output: Path, image: _Image, spec: RasterSpec) -> Conversion:
    notes = image.notes
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
        masked_pixels=0 if image.valid is None else int((~image.valid).sum()),
        notes=notes,
    )
