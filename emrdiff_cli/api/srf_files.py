"""A spectral response that is handed in as an array, as the CSV that the options name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.api.scratch import Scratch, Wavelengths
from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.reading import read_info


def response_text(srf: Any, held: Scratch, hsi: Path, wavelengths: Wavelengths = None) -> str | None:
    """A response by name or path as it is; an array (MSI bands, bands of the HSI) as a CSV in the folder.

    Raises UsageError for an array of another shape, and without wavelengths to sample it at.
    """
    if srf is None or isinstance(srf, str | os.PathLike):
        return None if srf is None else os.fspath(srf)
    if not isinstance(srf, np.ndarray):
        raise UsageError(
            f"srf: is a {type(srf).__name__}: give a name, a path or an array (MSI bands, HSI bands)"
        )
    at = wavelengths if wavelengths is not None else read_info(Path(hsi)).bands.wavelengths_nm
    if at is None:
        raise UsageError("srf: an array is of the HSI's wavelengths: give these too (`wavelengths`, nm)")
    path = held.folder / "srf.csv"
    path.write_text(_csv(srf, np.asarray(at, np.float64)), encoding="utf-8")
    return str(path)


def _csv(values: NDArray[Any], wavelengths: NDArray[np.float64]) -> str:
    if values.ndim != 2 or values.shape[1] != len(wavelengths):
        raise UsageError(
            f"srf: has shape {values.shape}: hand in (MSI bands, {len(wavelengths)} bands of the HSI)"
        )
    order = np.argsort(wavelengths)
    header = ",".join(["wavelength_nm", *(f"{band}" for band in range(1, len(values) + 1))])
    rows = (",".join(repr(float(cell)) for cell in (wavelengths[i], *values[:, i])) for i in order)
    return "\n".join([header, *rows]) + "\n"
