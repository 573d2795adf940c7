"""Spectral responses of sensors: built-in tables, CSV files, and what a product's own metadata tell."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from emrdiff_cli.core.sensor.srf import SpectralResponse
from emrdiff_cli.errors import InputError, UsageError, did_you_mean
from emrdiff_cli.products.product import BandResponse
from emrdiff_cli.products.registry import recognise
from emrdiff_cli.raster_info import Bands
from emrdiff_cli.runtime.csv_text import read_csv_text

_TABLES = files("emrdiff_cli") / "srf_tables"
_USUAL = "# where no bands are named: "
_ALL = "all"


@dataclass(frozen=True)
class _Table:
    """A sensor's responses, and the bands that are meant where none are named."""

    response: SpectralResponse
    usual: tuple[str, ...]


def built_in() -> list[str]:
    """Names of the built-in tables."""
    return sorted(
        entry.name.removesuffix(".csv") for entry in _TABLES.iterdir() if entry.name.endswith(".csv")
    )


def sensor_of(text: str) -> str:
    """The table's name, or the path, in a response's text: `NAME`, `NAME:BANDS`, `PATH` or `PATH:BANDS`."""
    name, colon, _ = text.rpartition(":")
    named = colon and not Path(text).exists() and (name in built_in() or Path(name).exists())
    return name if named else text


def read_response(text: str, msi: Bands | None = None) -> SpectralResponse:
    """Read a response: a built-in table by name, a CSV (`wavelength_nm`, one column a band), or a product's own.

    Of a table and of a product the bands are those named after a colon (`sentinel-2a:B2,B3,B4,B8,B11` or
    `sentinel-2a:all`), else those that the bands of `msi` are named as, else the usual ones. Raises UsageError for
    what is none of these, InputError for a CSV or a product that holds none.
    """
    sensor = sensor_of(text)
    named, path = text[len(sensor) + 1 :], Path(sensor)
    if sensor in built_in():
        return _chosen(text, _built_in(sensor), named, msi)
    own = _product_table(path) if path.exists() else None
    if own is not None:
        return _chosen(text, own, named, msi)
    if not path.is_file():
        raise UsageError(
            f"--srf {text}: no such file, nor one of the built-in responses {', '.join(built_in())}"
            + did_you_mean(text.partition(":")[0], built_in())
        )
    if named:
        raise UsageError(f"--srf {text}: bands are named of a built-in response or a product, not of a CSV")
    return _parsed(text, read_csv_text(path))


def own_response(path: Path) -> SpectralResponse | None:
    """The response that the metadata of the product of a path hold, of its raster's bands; None for any other."""
    own = _product_table(path)
    return None if own is None else _taken(own.response, own.usual)


def _built_in(name: str) -> _Table:
    text = (_TABLES / f"{name}.csv").read_text(encoding="utf-8")
    usual = next(line for line in text.splitlines() if line.startswith(_USUAL))
    return _Table(_parsed(name, text), tuple(usual.removeprefix(_USUAL).split(",")))


def _product_table(path: Path) -> _Table | None:
    product = recognise(path)
    if product is None or not product.responses:
        return None
    return _Table(_on_one_axis(product.responses), product.bands.names or ())


def _on_one_axis(responses: Sequence[BandResponse]) -> SpectralResponse:
    """Bands sampled each at wavelengths of its own, on one axis that has all of these, 0 beyond a band's ends."""
    own = [each.start_nm + each.step_nm * np.arange(len(each.values)) for each in responses]
    beyond = [
        edge
        for at, each in zip(own, responses, strict=True)
        for edge in (at[0] - each.step_nm, at[-1] + each.step_nm)
    ]
    axis = np.unique(np.concatenate([*own, beyond]))
    rows = [
        np.interp(axis, at, each.values, left=0.0, right=0.0) for at, each in zip(own, responses, strict=True)
    ]
    return SpectralResponse(tuple(each.name for each in responses), axis, np.stack(rows))


def _chosen(text: str, table: _Table, named: str, msi: Bands | None) -> SpectralResponse:
    """The bands of a table that a text names, or that an MSI's are named as, or the usual ones."""
    response = table.response
    if named == _ALL:
        return response
    wanted = [_plain(name) for name in named.split(",")] if named else []
    unknown = [name for name in wanted if name not in response.names]
    if unknown:
        raise UsageError(
            f"--srf {text}: has no band {', '.join(unknown)}: its bands are {', '.join(response.names)}"
        )
    if not wanted and msi is not None and msi.names is not None:
        of_msi = [_plain(name) for name in msi.names]
        wanted = of_msi if set(of_msi) <= set(response.names) else []
    return _taken(response, wanted or table.usual)


def _taken(response: SpectralResponse, names: Sequence[str]) -> SpectralResponse:
    """Bands by their names, between the wavelengths that any of them sees."""
    values = response.values[[response.names.index(name) for name in names]]
    seen = np.flatnonzero(values.any(axis=0))
    part = slice(max(0, seen[0] - 1), seen[-1] + 2)
    return SpectralResponse(
        tuple(names), response.wavelengths_nm[part], np.ascontiguousarray(values[:, part])
    )


def _plain(name: str) -> str:
    """A band's name as the tables have it: B2, also where it is spelt B02."""
    return re.sub(r"^B0(?=\d)", "B", name.strip())


def _parsed(name: str, text: str) -> SpectralResponse:
    """A CSV's response. Raises InputError, with its name, where it holds none."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        header, *rows = list(csv.reader(lines)) or [[]]
    except csv.Error as error:
        raise InputError(f"{name}: cannot be read as a CSV: {error}") from error
    if len(header) < 2 or header[0].strip() != "wavelength_nm" or len(rows) < 2:
        raise InputError(f"{name}: the header must be wavelength_nm, then one column a band")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError as error:
        raise InputError(f"{name}: not all cells are numbers: {error}") from error
    if table.ndim != 2 or table.shape[1] != len(header) or not np.isfinite(table).all():
        raise InputError(f"{name}: every row needs {len(header)} finite numbers")
    if (np.diff(table[:, 0]) <= 0).any() or (table[:, 1:] < 0).any():
        raise InputError(f"{name}: wavelengths must ascend and responses be 0 or more")
    names = tuple(column.strip() for column in header[1:])
    return SpectralResponse(names, table[:, 0], np.ascontiguousarray(table[:, 1:].T))
