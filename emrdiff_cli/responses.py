"""Spectral responses of sensors: built-in tables and CSV files."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np

from emrdiff_cli.core.sensor.srf import SpectralResponse
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.runtime.csv_text import read_csv_text

_TABLES = files("emrdiff_cli") / "srf_tables"


def built_in() -> list[str]:
    """Names of the built-in tables."""
    return sorted(
        entry.name.removesuffix(".csv") for entry in _TABLES.iterdir() if entry.name.endswith(".csv")
    )


def read_response(name_or_path: str) -> SpectralResponse:
    """Read a built-in table by name, or a CSV: `wavelength_nm`, then one column a band.

    Raises UsageError for neither, InputError for a CSV that does not hold that.
    """
    if name_or_path in built_in():
        text = (_TABLES / f"{name_or_path}.csv").read_text(encoding="utf-8")
    elif Path(name_or_path).is_file():
        text = read_csv_text(Path(name_or_path))
    else:
        raise UsageError(
            f"--srf {name_or_path}: no such file, nor one of the built-in responses {', '.join(built_in())}"
        )
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        header, *rows = list(csv.reader(lines)) or [[]]
    except csv.Error as error:
        raise InputError(f"{name_or_path}: cannot be read as a CSV: {error}") from error
    if len(header) < 2 or header[0].strip() != "wavelength_nm" or len(rows) < 2:
        raise InputError(f"{name_or_path}: the header must be wavelength_nm, then one column a band")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError as error:
        raise InputError(f"{name_or_path}: not all cells are numbers: {error}") from error
    if table.ndim != 2 or table.shape[1] != len(header) or not np.isfinite(table).all():
        raise InputError(f"{name_or_path}: every row needs {len(header)} finite numbers")
    if (np.diff(table[:, 0]) <= 0).any() or (table[:, 1:] < 0).any():
        raise InputError(f"{name_or_path}: wavelengths must ascend and responses be 0 or more")
    names = tuple(name.strip() for name in header[1:])
    return SpectralResponse(names, table[:, 0], np.ascontiguousarray(table[:, 1:].T))
