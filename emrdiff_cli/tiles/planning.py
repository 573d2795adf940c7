"""Windows of the tiles that one raster, or two of one area, are cut into."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from affine import Affine

from emrdiff_cli.core.sensor.grid import EDGE_SLACK, Alignment, AxisPlacement, moved_grid
from emrdiff_cli.core.tiling import tile_starts, tile_windows
from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.placement import Placement, place_on, placing_notes
from emrdiff_cli.raster_info import Grid, RasterInfo, Window
from emrdiff_cli.tiles.index import Tile, TiledRaster

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairTags:
    """What is known of how the LR raster of a pair lies, handed on to its tiles.

    `move`: of the LR raster's grid, in its pixels, down and to the right, by which the tiles of both cover the same
    ground. `of_tile`: tags of both tiles of a place, by the window of the LR raster; `of_whole`: of a raster made
    from the whole pair.
    """

    move: tuple[float, float] = (0.0, 0.0)
    of_tile: Callable[[Window], Mapping[str, str]] = lambda window: {}
    of_whole: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The tiles of one raster; `area` is the window of it that they cover, `tags` those that tiles get besides."""

    area: Window
    tiled: TiledRaster
    tags: tuple[Mapping[str, str], ...]


def plan_tiles(infos: Sequence[RasterInfo], size: int, overlap: int, known: PairTags) -> list[Plan]:
    """Plan the tiles of one raster or of a pair, in the order given. Raises UsageError, GridError."""
    names = [info.path.stem for info in infos]
    if len(set(names)) < len(names):
        names = [f"{name}-{i}" for i, name in enumerate(names, 1)]
    if len(infos) == 1:
        grid = infos[0].grid
        windows = tile_windows(grid.height, grid.width, size, overlap)
        return [_planned(names[0], grid, Window(0, 0, grid.height, grid.width), windows, overlap, ())]
    hr = finest(infos)
    lr_info, hr_info = infos[1 - hr], infos[hr]
    placed = place_on(lr_info, hr_info)
    for note in placing_notes(*infos):
        _log.warning("%s, ratio %.4g", note, placed.alignment.ratio)
    common = _moved(placed, hr_info.grid, known.move)
    lr_windows, hr_windows, lr_overlap = _pair_windows(common, size, overlap)
    area = common.lr_window
    _refuse_apart(lr_windows[0], known.move, size, common.ratio)
    tags = tuple(
        known.of_tile(window._replace(row=window.row + area.row, col=window.col + area.col))
        for window in lr_windows
    )
    lr_plan = _planned(names[1 - hr], lr_info.grid, area, lr_windows, lr_overlap, tags)
    hr_plan = _planned(names[hr], hr_info.grid, common.hr_window, hr_windows, overlap, tags)
    return [lr_plan, hr_plan] if hr == 1 else [hr_plan, lr_plan]


def finest(infos: Sequence[RasterInfo]) -> int:
    """Which of two rasters has the smaller pixels, or without a difference the more of them."""
    return min((0, 1), key=lambda i: (_pixel_area(infos[i].grid), -infos[i].grid.width, -i))


def has_place(grid: Grid) -> bool:
    """Whether a grid has a geotransform."""
    return not grid.transform.is_identity


def crop(grid: Grid, window: Window) -> Grid:
    """Crop a grid; one without any geotransform gets none."""
    cropped = grid.crop(window)
    return cropped if has_place(grid) else replace(cropped, transform=Affine.identity())


def _pixel_area(grid: Grid) -> float:
    return abs(float(grid.transform.determinant))


def _moved(placed: Placement, hr: Grid, move: tuple[float, float]) -> Alignment:
    """The common area once the LR grid is moved. Raises UsageError where its tiles could not say so."""
    if move == (0.0, 0.0):
        return placed.alignment
    if placed.by == "sizes":
        raise UsageError(
            "neither raster says where it lies, so tiles of one that is moved cannot be placed: georeference both, "
            "or give --register off"
        )
    return moved_grid(placed.alignment, placed.grid, hr, move)


def _refuse_apart(tile: Window, move: tuple[float, float], size: int, ratio: float) -> None:
    """Raise UsageError where tiles of both, as they lie, have no ground in common for a command to begin with."""
    shorter = min(tile.height, tile.width)
    farthest = max(map(abs, move))
    if farthest > shorter - 1:
        raise UsageError(
            f"--size {size}: the LR raster is displaced by {farthest:.1f} of its pixels, more than a tile has: "
            f"give a size of at least {math.ceil((farthest + 2) * ratio)}"
        )


def _planned(
    name: str,
    grid: Grid,
    area: Window,
    windows: Sequence[Window],
    overlap: int,
    tags: tuple[Mapping[str, str], ...],
) -> Plan:
    rows = sorted({window.row for window in windows})
    cols = sorted({window.col for window in windows})
    tiles = []
    for window in windows:
        row, col = rows.index(window.row), cols.index(window.col)
        tiles.append(Tile(f"{name}_r{row:03d}_c{col:03d}.tif", window, row, col))
    tiled = TiledRaster(name, crop(grid, area), overlap, tuple(tiles))
    return Plan(area, tiled, tags or ({},) * len(tiles))


def _pair_windows(place: Alignment, size: int, overlap: int) -> tuple[list[Window], list[Window], int]:
    """Cut the common area at whole LR pixels: LR windows, HR windows and the overlap in LR pixels."""
    lr, hr, ratio = place.lr_window, place.hr_window, max(place.rows.ratio, place.cols.ratio)
    lr_size, lr_overlap = math.floor(size / ratio), math.ceil(overlap / ratio)
    if lr_size <= lr_overlap:
        raise UsageError(
            f"--size {size} --overlap {overlap} leaves no step of whole LR pixels at ratio {ratio:.4g}: "
            f"give a size of at least {math.ceil((lr_overlap + 1) * ratio)}"
        )
    lr_rows, hr_rows = _axis_spans(place.rows, lr.height, hr.height, lr_size, lr_overlap)
    lr_cols, hr_cols = _axis_spans(place.cols, lr.width, hr.width, lr_size, lr_overlap)
    return _cross(lr_rows, lr_cols), _cross(hr_rows, hr_cols), lr_overlap


def _axis_spans(
    axis: AxisPlacement, n_lr: int, n_hr: int, size: int, overlap: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(start, length) of the tiles of one axis in LR pixels, and in the HR pixels whose centres they hold."""

    def hr_edge(lr_edge: int) -> int:
        if lr_edge in (0, n_lr):
            return n_hr if lr_edge else 0
        return math.ceil(axis.offset + axis.ratio * lr_edge - 0.5 - EDGE_SLACK)

    length = min(size, n_lr)
    starts = tile_starts(n_lr, size, overlap)
    edges = [(hr_edge(start), hr_edge(start + length)) for start in starts]
    return [(start, length) for start in starts], [(first, stop - first) for first, stop in edges]


def _cross(rows: Sequence[tuple[int, int]], cols: Sequence[tuple[int, int]]) -> list[Window]:
    return [Window(row, col, height, width) for row, height in rows for col, width in cols]
