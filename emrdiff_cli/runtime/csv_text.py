"""The text of a CSV that a person made, and cells of one that a spreadsheet may open."""

from __future__ import annotations

from pathlib import Path

from emrdiff_cli.errors import InputError

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_csv_text(path: Path) -> str:
    """Read it, without the byte order mark that spreadsheets put in front. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a CSV: {error.strerror}: name a CSV file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as a CSV: {error}: save it as UTF-8") from error


def guarded(cell: object) -> object:
    """A cell for a CSV file; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
