"""What is handed in, as files: paths are taken as they are, the rest lies in a folder that is gone afterwards."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.api.arrays import image_of_array
from emrdiff_cli.api.image import Image, read_image
from emrdiff_cli.errors import EmrdiffError, UsageError, WriteError, one_line

Kind = Literal["file", "array", "DataArray"]
Wavelengths = Sequence[float] | NDArray[Any] | None


def kind_of(value: object, name: str) -> Kind:
    """What a value is. Raises UsageError for what is no image."""
    if isinstance(value, str | os.PathLike):
        return "file"
    if isinstance(value, np.ndarray):
        return "array"
    kind = type(value)
    if kind.__module__.partition(".")[0] == "xarray":
        if kind.__name__ == "DataArray":
            return "DataArray"
        raise UsageError(f"{name}: is an xarray {kind.__name__}: hand in one of its DataArrays")
    raise UsageError(
        f"{name}: is {'missing' if value is None else f'a {kind.__name__}'}: hand in a path, a NumPy array (bands, "
        "rows, columns) or an xarray DataArray"
    )


def kind_of_pair(lr_hsi: object, hr_msi: object) -> Kind:
    """What both are. Raises UsageError where they are not the same."""
    kinds = kind_of(lr_hsi, "lr_hsi"), kind_of(hr_msi, "hr_msi")
    if kinds[0] != kinds[1]:
        raise UsageError(f"lr_hsi is a {kinds[0]} and hr_msi a {kinds[1]}: hand in both as the same")
    return kinds[0]


class Scratch:
    """A folder for rasters, made when it is needed, and the warnings that were logged meanwhile."""

    def __init__(self, stack: ExitStack, said: list[str]) -> None:
        self._stack, self._said = stack, said
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder."""
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="emrdiff-")))
        return self._folder

    def file(
        self,
        value: Any,
        name: str,
        wavelengths: Wavelengths = None,
        transform: Affine | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Path:
        """The raster of what is handed in: a path as it is, an image written under its name, with `tags` if given.

        `wavelengths`: of its bands, nm; `transform`: where it does not say itself where it lies. Raises UsageError,
        InputError, WriteError.
        """
        if kind_of(value, name) == "file":
            if wavelengths is not None:
                raise UsageError(f"{name}: wavelengths are for arrays: a file records its own")
            return Path(value)
        path = self.folder / name
        image = image_of(value, name, wavelengths, transform)
        (image if tags is None else replace(image, tags={**image.tags, **tags})).write(path)
        return path

    def like(self, path: Path, value: Any, on: Any, name: str, *, same_bands: bool = True) -> Any:
        """A raster in the folder as `value` is: an array, or a DataArray that lies as `on` does."""
        return as_is(read_image(path), value, on, name, same_bands=same_bands)

    def said(self, lines: Iterable[str] = ()) -> tuple[str, ...]:
        """The warnings that were logged, and lines, without the folder's name."""
        return tuple(dict.fromkeys(self.told(line) for line in (*self._said, *lines)))

    def told(self, line: str) -> str:
        """A line without the folder's name."""
        return line if self._folder is None else line.replace(f"{self._folder}{os.sep}", "")


def image_of(
    value: Any, name: str, wavelengths: Wavelengths = None, transform: Affine | None = None
) -> Image:
    """The image of an array or a DataArray."""
    if isinstance(value, np.ndarray):
        return image_of_array(value, name, wavelengths, transform)
    from emrdiff_cli.api.data_arrays import image_of_data_array

    return image_of_data_array(value, name, wavelengths, transform)


def as_is(image: Image, value: Any, on: Any, name: str, *, same_bands: bool = True) -> Any:
    """An image as `value` is: an array, or a DataArray that lies as `on` does."""
    if isinstance(value, np.ndarray):
        return image.values
    from emrdiff_cli.api.data_arrays import data_array_of

    return data_array_of(image, value, on, name, same_bands=same_bands)


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A `Scratch`, gone afterwards; errors speak of what was handed in, not of the folder."""
    with ExitStack() as stack:
        held = Scratch(stack, stack.enter_context(_hearing()))
        try:
            yield held
        except EmrdiffError as error:
            said = held.told(str(error))
            if said == str(error):
                raise
            if isinstance(error, WriteError):
                said += (
                    f" (it holds rasters in {tempfile.gettempdir()} meanwhile; TMPDIR names another folder)"
                )
            raise type(error)(said).with_traceback(error.__traceback__) from None


class _Heard(logging.Handler):
    """The package's warnings in one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(one_line(record.getMessage()))


@contextmanager
def _hearing() -> Iterator[list[str]]:
    log, heard = logging.getLogger("emrdiff_cli"), _Heard()
    log.addHandler(heard)
    try:
        yield heard.lines
    finally:
        log.removeHandler(heard)
