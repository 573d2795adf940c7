"""The keywords of `fuse`: the command's options by its flags' names, as values or as the command line has them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.options import OPTIONS, FusionSettings
from emrdiff_cli.fusion.precision import AskedPrecision
from emrdiff_cli.methods import Effort
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.raster.spec import Driver

Pathlike = str | os.PathLike[str]
Method = Literal["auto", "kriging", "glp", "glp-local", "bicubic", "emrdiff"]

_OF_FILES = (
    "output",
    "format",
    "dtype",
    "co",
    "overviews",
    "clip",
    "samples_dir",
    "report",
    "stac",
    "qml",
    "overwrite",
    "resume",
)


class HowToFuse(TypedDict, total=False):
    """Keywords that hold whatever is fused."""

    model: Pathlike | None
    effort: Effort
    bounds: Sequence[float] | None
    register: Register
    shift: Sequence[float] | None
    psf_fwhm: float | Sequence[float] | None
    src_nodata: float | Sequence[float | None] | None
    mask: str | Sequence[str]
    srf: Any
    steps: int | None
    seed: int
    tile: int
    overlap: int | None
    batch_size: int | None
    num_threads: int | None
    max_memory: int | str | None
    device: str
    precision: AskedPrecision
    physical: bool
    samples: int


class FuseFiles(HowToFuse, total=False):
    """Keywords for rasters in files."""

    method: Method
    format: Driver | None
    dtype: str | None
    co: Mapping[str, str] | None
    overviews: bool | None
    clip: bool
    changed: Pathlike | None
    uncertainty: Pathlike | None
    samples_dir: Pathlike | None
    report: Pathlike | None
    stac: str | None
    qml: bool
    overwrite: bool
    resume: bool


class FuseImages(HowToFuse, total=False):
    """Keywords for arrays and DataArrays."""

    method: Method
    changed: bool
    uncertainty: bool


def settings(given: Mapping[str, Any]) -> FusionSettings:
    """The settings that keywords ask for. Raises UsageError as the command does."""
    asked = {name: option_value(name, given.get(keyword_of(name))) for name in OPTIONS}
    return FusionSettings(**{name: value for name, value in asked.items() if value is not None})


def keyword_of(name: str) -> str:
    """The keyword of an option by its field's name: its flag, as Python spells it."""
    return OPTIONS[name].flag.removeprefix("--").replace("-", "_")


def option_value(name: str, value: Any) -> Any:
    """A value of an option by its field's name, as the command line's text would give it; None for none.

    Raises UsageError.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or (isinstance(value, Sequence) and not value):
        return None
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return OPTIONS[name].cell(_text(value), Path())
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{keyword_of(name)}={value!r}: must be {error}") from error


def _text(value: Any) -> str:
    """A value as the command line has it; numbers in all of their digits."""
    if value is None:
        return "none"
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, Sequence):
        return ",".join(map(_text, value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def refuse_file_keywords(given: Mapping[str, Any]) -> None:
    """Raise UsageError for keywords that are for files, where images are fused."""
    unfit = [name for name in _OF_FILES if given[name] not in (None, False)]
    if unfit:
        raise UsageError(f"{', '.join(unfit)}: for rasters in files; an image comes back as it was handed in")
    for name in ("uncertainty", "changed"):
        if not isinstance(given[name], bool | None):
            raise UsageError(f"{name}={given[name]!r}: must be True or False: it comes back beside the cube")


def refuse_image_keywords(given: Mapping[str, Any]) -> None:
    """Raise UsageError for keywords that are for arrays, where files are fused."""
    unfit = [name for name in ("ratio", "wavelengths", "msi_wavelengths") if given[name] is not None]
    if unfit:
        raise UsageError(f"{', '.join(unfit)}: for arrays; files record their own")
    for name in ("uncertainty", "changed"):
        if isinstance(given[name], bool) and given[name]:
            raise UsageError(f"{name}=True: name the file to be written")
    if given["output"] is None:
        raise UsageError("output: is missing: name the raster to be written")
