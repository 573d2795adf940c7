"""Band centres as a user gives them: a range or a CSV file."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path

from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.raster.spectral import are_spectral
from emrdiff_cli.raster_info import Bands
from emrdiff_cli.runtime.csv_text import read_csv_text

_MOST_BANDS = 100_000


def read_wavelengths(text: str) -> Bands:
    """Read `START:STOP:STEP` in nm, the stop included, or a CSV with one centre a line.

    The CSV may have a header and a second column, the FWHM. Raises UsageError for neither, InputError for
    a CSV that does not hold that.
    """
    given = _from_csv(Path(text)) if Path(text).is_file() else _from_range(text)
    if not are_spectral(given.wavelengths_nm, given.fwhm_nm):
        raise UsageError(f"--wavelengths {text}: are no centres of optical bands in nm, or not their FWHM")
    return given


def _from_range(text: str) -> Bands:
    try:
        start, stop, step = (Decimal(part) for part in text.split(":"))
        steps = int((stop - start) / step)
    except (ValueError, ArithmeticError) as error:
        raise UsageError(
            f"--wavelengths {text}: no such file, nor a range START:STOP:STEP in nm, such as 400:700:10"
        ) from error
    if start <= 0 or step <= 0 or not 0 <= steps < _MOST_BANDS:
        raise UsageError(f"--wavelengths {text}: must ascend from above 0, in at most {_MOST_BANDS} steps")
    return Bands(steps + 1, tuple(float(start + i * step) for i in range(steps + 1)))


def _from_csv(path: Path) -> Bands:
    text = read_csv_text(path)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = [cells for line in lines if (cells := re.findall(r"[^\s,;]+", line))]
    if rows and _number(rows[0][0]) is None:
        rows = rows[1:]
    table = [[_number(cell) for cell in row] for row in rows]
    columns = {len(row) for row in table}
    if columns not in ({1}, {2}) or any(value is None or value <= 0 for row in table for value in row):
        raise InputError(f"{path}: every line needs a centre in nm above 0, and the FWHM in all or in none")
    values = [[float(value) for value in row if value is not None] for row in table]
    fwhm = tuple(row[1] for row in values) if columns == {2} else None
    return Bands(len(values), tuple(row[0] for row in values), fwhm)


def _number(cell: str) -> Decimal | None:
    try:
        number = Decimal(cell)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
