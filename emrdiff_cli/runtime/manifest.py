"""Lists of scenes in CSV files: a header and a row for each, paths from the file's folder."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.runtime.csv_text import read_csv_text

_NEEDED, _OPTIONAL = ("fused", "reference"), ("baseline", "hr_msi", "name")


@dataclass(frozen=True)
class Row:
    """A row of a list: the line it ends on, and its cells by column, stripped."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Listed:
    """A row of the list of pairs to evaluate; `name`: the scene's, that of the fused raster where none is given."""

    line: int
    name: str
    fused: Path
    reference: Path
    baseline: Path | None
    hr_msi: Path | None


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Read a CSV's header and rows; blank lines are left out, cells missing at a row's end are empty.

    Raises InputError: unreadable, no rows, a column twice, more cells than columns.
    """
    text = read_csv_text(path)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as a CSV: {error}") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if len(lines) < 2:
        raise InputError(f"{path}: lists nothing: give a header and a row for each pair")
    (_, columns), *rows = lines
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: has the column {twice!r} twice: leave one")
    for number, cells in rows:
        if any(cells[len(columns) :]):
            raise InputError(
                f"{path}: line {number} has {len(cells)} cells for {len(columns)} columns: put a cell that "
                "holds a comma between quotes"
            )
    padding = [""] * len(columns)
    return columns, [Row(number, dict(zip(columns, cells + padding, strict=False))) for number, cells in rows]


def read_manifest(path: Path) -> list[Listed]:
    """Read a CSV with the columns fused, reference and, if wanted, baseline, hr_msi and name.

    Paths count from its folder.

    Raises InputError for other columns, an empty cell of those needed, or no rows.
    """
    columns, rows = read_rows(path)
    if not set(_NEEDED) <= set(columns) <= {*_NEEDED, *_OPTIONAL}:
        raise InputError(
            f"{path}: the header must be fused,reference and, if wanted, baseline, hr_msi and name"
        )
    return [_listed(path, row) for row in rows]


def _listed(path: Path, row: Row) -> Listed:
    if not all(row.cells[key] for key in _NEEDED):
        raise InputError(f"{path}: line {row.line} lacks a fused raster or a reference: fill it in")
    fused, reference = (path.parent / row.cells[key] for key in _NEEDED)
    baseline, hr_msi = (
        path.parent / cell if (cell := row.cells.get(column)) else None for column in ("baseline", "hr_msi")
    )
    name = row.cells.get("name") or row.cells["fused"]
    return Listed(row.line, name, fused, reference, baseline, hr_msi)
