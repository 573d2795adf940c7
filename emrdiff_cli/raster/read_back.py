"""Pixels of a closed raster against what was handed in, and overviews against them, in one pass over the file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import rasterio
from numpy.typing import NDArray

from emrdiff_cli.core.side_by_side import allowed_threads
from emrdiff_cli.raster.closed_file import open_closed, read_rows
from emrdiff_cli.raster.overview_check import (
    MeansAbove,
    checked_levels,
    opened_levels,
    stored_together,
    wrong_neighbours,
)
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.runtime.interruption import safe_point

_OPTIONS = {"GDAL_NUM_THREADS": "1", "GDAL_CACHEMAX": 2**26}
_WORTH_A_THREAD = 2**24  # values
_STRIP_VALUES = 2**22
_READ_VALUES = 2**20  # at a time, where fewer bands are stored together


class RowChecksums:
    """Checksums of each band of rows that go by, so many at a time."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        """Count of rows that a checksum is of; the last may be of fewer."""
        self._sums: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, rows: NDArray[Any]) -> None:
        """Take in the next rows (B, n, W), contiguous."""
        self._sums.append([zlib.crc32(band) for band in rows])

    def fit(self, bands: list[int], top: int, rows: NDArray[Any]) -> bool:
        """Whether these are some bands' (from 1) rows (b, n, W), of one checksum, from `top` on; contiguous."""
        of_rows = self._sums[top // self.rows]
        return all(zlib.crc32(values) == of_rows[band - 1] for band, values in zip(bands, rows, strict=True))


def wrong_pixels(path: Path, spec: RasterSpec, checksums: RowChecksums) -> str | None:
    """Say in what a closed file's pixels differ from what was handed in, or its overviews from them; None: nothing.

    Bands that are not stored together are read in as many threads as are allowed. Raises rasterio's errors and
    OSError where the file cannot be read.
    """
    levels = checked_levels(spec)
    with rasterio.Env(**_OPTIONS), _opened(path, spec) as dataset:
        if levels is not None and len(dataset.overviews(1)) != levels:
            return "its overviews are not there"
        groups = list(_joined(stored_together(dataset), min(checksums.rows, dataset.height) * dataset.width))
        values = dataset.count * dataset.height * dataset.width
    count = min(len(groups), allowed_threads() if values > _WORTH_A_THREAD else 1)
    followed = 0 if levels is None or spec.undeclared_nan else levels
    found = _first_of(
        partial(_wrong_in, path, spec, checksums, followed),
        [groups[number::count] for number in range(count)],
    )
    if found is None and levels and spec.undeclared_nan:
        with rasterio.Env(**_OPTIONS):
            found = _wrong_overview(wrong_neighbours(path, levels))
    return found


def _joined(groups: Sequence[list[int]], values: int) -> Iterator[list[int]]:
    """Groups of bands (from 1) put together, as each reading costs something beside its `values` a band."""
    count = max(1, _READ_VALUES // (values * len(groups[0])))
    for start in range(0, len(groups), count):
        yield [band for group in groups[start : start + count] for band in group]


def _first_of(work: Callable[[Sequence[list[int]], Event], str | None], parts: Sequence[Any]) -> str | None:
    """The first thing that is found in any of the parts, the first of which is this thread's own."""
    ended = Event()
    with ExitStack() as leaving:
        pool = leaving.enter_context(ThreadPoolExecutor(len(parts)))
        leaving.callback(ended.set)  # where an exception, or a signal, is raised here
        others = [pool.submit(work, part, ended) for part in parts[1:]]
        found = [work(parts[0], ended), *(other.result() for other in others)]
    return next((what for what in found if what is not None), None)


def _wrong_in(
    path: Path,
    spec: RasterSpec,
    checksums: RowChecksums,
    levels: int,
    groups: Sequence[list[int]],
    ended: Event,
) -> str | None:
    """Say what is wrong in some groups of bands (from 1), through handles of their own."""
    with rasterio.Env(**_OPTIONS), _opened(path, spec) as dataset, opened_levels(path, levels) as coarser:
        for bands in groups:
            means = MeansAbove((dataset.height, dataset.width), coarser, bands, spec)
            for top in range(0, dataset.height, checksums.rows):
                safe_point()
                if ended.is_set():
                    return None
                rows = read_rows(dataset, bands, top, min(top + checksums.rows, dataset.height))
                if not checksums.fit(bands, top, rows):
                    return f"rows from {top} on differ"
                wrong = next(filter(None, map(means.wrong, _cut(rows))), None)
                if wrong is not None:
                    return _wrong_overview(wrong)
    return None


def _wrong_overview(number: int | None) -> str | None:
    return None if number is None else f"its overview {number} differs from its pixels"


def _cut(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The rows (b, n, W) by strips whose bands are of no more than so many values, or one row."""
    step = max(1, _STRIP_VALUES // rows.shape[2])
    for top in range(0, rows.shape[1], step):
        yield rows[:, top : top + step]


def _opened(path: Path, spec: RasterSpec) -> Any:
    return open_closed(path, "ENVI" if spec.driver == "ENVI" else "GTiff")
