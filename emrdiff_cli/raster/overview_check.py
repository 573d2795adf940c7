"""Overviews of a closed GeoTIFF or COG, held against the pixels that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Interleaving

from emrdiff_cli.raster.closed_file import open_closed, read_rows
from emrdiff_cli.raster.cog_options import geotiff_options
from emrdiff_cli.raster.nodata import valid_values
from emrdiff_cli.raster.overviews import overview_factors
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.runtime.interruption import safe_point

_STRIP_VALUES = 2**22


def checked_levels(spec: RasterSpec) -> int | None:
    """Count of the overviews that there have to be; None: those of the COG driver are taken as they are."""
    as_they_are = spec.driver == "ENVI" or (spec.driver == "COG" and geotiff_options(spec) is None)
    return None if as_they_are else len(overview_factors(spec))


@contextmanager
def opened_levels(path: Path, count: int) -> Iterator[list[Any]]:
    """Yield the so many overviews of a closed file, each opened as a dataset, finest first."""
    with ExitStack() as opened:
        yield [opened.enter_context(open_closed(path, overview_level=level)) for level in range(count)]


class MeansAbove:
    """The overviews of some bands (from 1), held against the pixels while their rows go by from the top.

    A mean has to be that of the valid pixels of the next finer level that it covers, or else to lie between the
    least and the greatest of those around its place, of which GDAL makes it, and be valid where all of these are.
    """

    def __init__(
        self, size: tuple[int, int], levels: Sequence[Any], bands: list[int], spec: RasterSpec
    ) -> None:
        self._levels: list[_Level] = []
        for level in levels:
            self._levels.append(_Level(size, level, bands, spec))
            size = level.height, level.width

    def wrong(self, rows: NDArray[Any]) -> int | None:
        """Take the raster's next rows (b, n, W); the number, from 1, of an overview that they do not make."""
        for number, level in enumerate(self._levels, 1):
            above = level.of(rows)
            if above is None:
                return number
            rows = above
        return None


class _Level:
    """An overview of some bands, and those of the next finer level's rows that it is still to be held against."""

    def __init__(self, size: tuple[int, int], coarse: Any, bands: list[int], spec: RasterSpec) -> None:
        self._coarse, self._bands, self._spec = coarse, bands, spec
        self._height, width = size
        self._axes = _Axis(size[0], coarse.height), _Axis(width, coarse.width)
        self._held: list[NDArray[Any]] = [np.empty((0, width), coarse.dtypes[0]) for _ in bands]
        self._first = self._done = 0

    def of(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """The overview's rows (b, n, w) that these complete; None where they are not made of them."""
        along, _ = self._axes
        end = self._first + len(self._held[0]) + rows.shape[1]
        stop = self._coarse.height if end == self._height else end // along.factor
        above = read_rows(self._coarse, self._bands, self._done, stop)
        strip = _Rows(self._done, stop, self._first)
        first = max(self._first, along.start(stop))
        for number, (found, added) in enumerate(zip(above, rows, strict=True)):
            below = np.concatenate([self._held[number], added])
            if stop > self._done and not _made_of(found, below, strip, self._axes, self._spec):
                return None
            self._held[number] = below[first - self._first :].copy()
        self._first, self._done = first, stop
        return above


class _Rows(NamedTuple):
    """Rows of an overview, `top` to `stop`, beside the finer level's from `first` on."""

    top: int
    stop: int
    first: int


class _Axis:
    """An overview's pixels along rows or columns, each of `factor` of the finer ones.

    Sizes are rounded up: a pixel is a little shorter than `factor`, and the last ones begin one pixel earlier.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        self._fine, self._coarse = fine, coarse
        self.factor = 1 if fine == coarse else 2

    @property
    def span(self) -> int:
        """Finer pixels that one may be made of."""
        return 2 * self.factor - 1

    def start(self, index: int) -> int:
        """The first of the finer pixels that one may be made of; before the raster's own, for the first."""
        return self.factor * index - (self.factor - 1)

    @cached_property
    def shares(self) -> NDArray[np.float32]:
        """The share (span, n) of each pixel that lies on the finer ones that it may be made of."""
        length = self._fine / self._coarse
        begin = np.arange(self._coarse) * length
        fine = np.array([self.start(index) for index in range(self._coarse)]) + np.arange(self.span)[:, None]
        common = np.minimum(fine + 1, begin + length) - np.maximum(fine, begin)
        return np.asarray(np.clip(common, 0, None) / length, np.float32)


def _made_of(
    above: NDArray[Any], below: NDArray[Any], strip: _Rows, axes: tuple[_Axis, _Axis], spec: RasterSpec
) -> bool:
    """Hold rows of one band against those that they were made of."""
    seen, there = valid_values(above, spec.nodata), valid_values(below, spec.nodata)
    whole, plain = above.dtype.kind in "iu", bool(seen.all() and there.all())
    slack = 1.0 if whole else 1e-5 * _greatest(above if plain else above[seen])
    if plain and _are_means(above, below, strip, axes, slack):
        return True
    ends = np.iinfo(above.dtype) if whole else np.finfo(above.dtype)
    low = _extreme(np.where(there, below, ends.max), strip, axes, np.minimum, ends.max, above.shape[1])
    high = _extreme(np.where(there, below, ends.min), strip, axes, np.maximum, ends.min, above.shape[1])
    # A mean of valid pixels may come out as the nodata value.
    fits = (above >= low - slack) & (above <= high + slack)
    if not fits.all():
        fits |= ~seen & _extreme(~there, strip, axes, np.logical_or, False, above.shape[1])
    return bool(fits.all())


def _are_means(
    above: NDArray[Any], below: NDArray[Any], strip: _Rows, axes: tuple[_Axis, _Axis], slack: float
) -> bool:
    """Whether they are the plain means, as where all pixels are valid."""
    rows, cols = axes
    values = below.astype(np.result_type(below.dtype, np.float32), copy=False)
    shares = rows.shares[:, strip.top : strip.stop]
    with np.errstate(over="ignore", invalid="ignore"):
        along = _weighted(values, rows.start(strip.top) - strip.first, rows.factor, shares)
        means = _weighted(along.T, cols.start(0), cols.factor, cols.shares).T
        return bool((np.abs(means - above) <= slack).all())


def _weighted(values: NDArray[Any], start: int, factor: int, shares: NDArray[np.float32]) -> NDArray[Any]:
    """Sums (n, w) of every so many rows, from `start` on, times their shares (span, n)."""
    total: NDArray[Any] | None = None
    for away, share in enumerate(shares):
        inside = np.flatnonzero(share)
        if not inside.size:
            continue
        first, last = int(inside[0]), int(inside[-1])
        taken = values[start + away + factor * first : start + away + factor * last + 1 : factor]
        part = taken * share[first : last + 1, None].astype(values.dtype)
        if total is None and len(part) == len(share):
            total = part
            continue
        if total is None:
            total = np.zeros((len(share), values.shape[1]), values.dtype)
        total[first : last + 1] += part
    return np.empty((0, values.shape[1]), values.dtype) if total is None else total


def _extreme(
    values: NDArray[Any], strip: _Rows, axes: tuple[_Axis, _Axis], joined: np.ufunc, empty: Any, width: int
) -> NDArray[Any]:
    """The extreme of the finer pixels that a coarser one may stand for."""
    rows, cols = axes
    counts = strip.stop - strip.top, width
    sizes = [axis.factor * (count - 1) + axis.span for axis, count in zip(axes, counts, strict=True)]
    padded = np.full(sizes, empty, values.dtype)
    part = padded[strip.first - rows.start(strip.top) :, -cols.start(0) :]
    part[: values.shape[0], : values.shape[1]] = values[: part.shape[0], : part.shape[1]]
    return _along_rows(_along_rows(padded, rows, joined).T, cols, joined).T


def _along_rows(values: NDArray[Any], axis: _Axis, joined: np.ufunc) -> NDArray[Any]:
    stop = len(values) - axis.span + 1
    found = values[: stop : axis.factor]
    for away in range(1, axis.span):
        found = joined(found, values[away : stop + away : axis.factor])
    return found


def _greatest(values: NDArray[Any]) -> float:
    """The greatest magnitude; 0 of none."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def wrong_neighbours(path: Path, count: int) -> int | None:
    """The number, from 1, of the first of so many overviews of a closed file that are not its nearest neighbours.

    They have to be the raster's own or, as where bands are stored pixel by pixel, the next finer level's: of a
    single band GDAL does not say how it is stored.
    """
    for level in range(count):
        next_finer: dict[str, Any] = {} if level == 0 else {"overview_level": level - 1}
        sources = [{}, next_finer] if level else [next_finer]
        if not any(_neighbours_fit(path, level, finer) for finer in sources):
            return level + 1
    return None


def _neighbours_fit(path: Path, level: int, finer: dict[str, Any]) -> bool:
    with open_closed(path, **finer) as fine, open_closed(path, overview_level=level) as coarse:
        return all(_holds_neighbours(fine, coarse, strip) for strip in _strips(fine, coarse))


class _Strip(NamedTuple):
    """Rows of an overview, `top` to `stop`, of bands that are stored together."""

    bands: list[int]
    top: int
    stop: int


def _strips(fine: Any, coarse: Any) -> Iterator[_Strip]:
    """Strips of which no more than `_STRIP_VALUES` finer pixels are held at a time, or one row's."""
    groups = stored_together(fine)
    row_values = fine.width * len(groups[0]) * fine.height / coarse.height
    step = max(1, min(256, int(_STRIP_VALUES / row_values)))
    for bands in groups:
        for top in range(0, coarse.height, step):
            safe_point()
            yield _Strip(bands, top, min(coarse.height, top + step))


def stored_together(dataset: Any) -> list[list[int]]:
    """The bands (from 1) of an open dataset in groups to be read together."""
    by_band = dataset.interleaving in (None, Interleaving.band)
    return [[band] for band in dataset.indexes] if by_band else [list(dataset.indexes)]


def _holds_neighbours(fine: Any, coarse: Any, strip: _Strip) -> bool:
    """Hold nearest neighbours against the raster's pixel or the next one, as sizes are rounded."""
    rows = [_nearest(fine.height, coarse.height, away)[strip.top : strip.stop] for away in (0, 1)]
    cols = [_nearest(fine.width, coarse.width, away) for away in (0, 1)]
    first = int(rows[0][0])
    below = read_rows(fine, strip.bands, first, int(rows[1][-1]) + 1)
    above = read_rows(coarse, strip.bands, strip.top, strip.stop)
    found = np.zeros(above.shape, bool)
    for row in rows:
        for col in cols:
            taken = below[:, row - first][:, :, col]
            found |= (taken == above) | (np.isnan(taken) & np.isnan(above))
    return bool(found.all())


def _nearest(fine: int, coarse: int, away: int) -> NDArray[np.intp]:
    return np.minimum((np.arange(coarse) * fine / coarse).astype(np.intp) + away, fine - 1)
