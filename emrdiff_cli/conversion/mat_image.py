"""The image in a .mat file: which variable, which axes, which bands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.conversion.datasets import DATASETS, GENERIC, Dataset, recognise
from emrdiff_cli.conversion.image import ConversionOptions, Image, given_bands, known_bands, stored_info
from emrdiff_cli.core.sensor.orientation import AS_STORED, ORIENTATIONS
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.matlab import MatCube, MatFile, Variable, find_cube, open_mat, wavelengths_in
from emrdiff_cli.raster_info import Bands

# What variables that list wavelengths are called in other data sets.
_WAVELENGTH_NAMES = ("wavelengths", "wavelength", "bands", "lambda", "wl")


@contextmanager
def open_mat_image(source: Path, options: ConversionOptions) -> Iterator[Image]:
    """Open the image in a .mat file of any version, as the data set or the options have it."""
    given = given_bands(options)
    with open_mat(source) as file:
        dataset = _dataset_of_mat(file, options)
        variable = find_cube(file, options.variable or dataset.variable)
        orientation = dataset.orientation
        if options.orientation is not None:
            orientation = ORIENTATIONS[options.orientation]
        cube = MatCube(file, variable, _band_axis(file, variable, dataset, given, options), orientation)
        valid = None if dataset.mask_variable is None else _mask(file, dataset.mask_variable, cube)
        yield Image(
            info=stored_info(source, "Matlab", cube, _bands_of_mat(file, cube.bands, dataset, given)),
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
    return known_bands(file.path, count, dataset, given)


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
