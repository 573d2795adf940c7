"""Edges of a raster's tiles: those that fusion recorded in its tags, or of tiles of a given size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emrdiff_cli.core.tiling import tile_starts
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.raster_info import Grid, RasterInfo, Window

ROWS_TAG, COLS_TAG = "emrdiff_tile_rows", "emrdiff_tile_cols"
_NONE = "none"


@dataclass(frozen=True)
class TileEdges:
    """Rows and columns, from 0, that are the first of a tile or the first after one; not the raster's own edges."""

    rows: tuple[int, ...]
    cols: tuple[int, ...]

    def within(self, area: Window) -> TileEdges:
        """The edges inside a window, counted from its corner."""
        return TileEdges(_inside(self.rows, area.row, area.height), _inside(self.cols, area.col, area.width))

    def tags(self) -> dict[str, str]:
        """The tags that record them."""
        return {
            tag: " ".join(map(str, edges)) or _NONE
            for tag, edges in ((ROWS_TAG, self.rows), (COLS_TAG, self.cols))
        }


def edges_of(windows: Iterable[Window], area: Window) -> TileEdges:
    """The edges of tiles inside an area, counted from its corner."""
    tiles = list(windows)
    rows = {edge for tile in tiles for edge in (tile.row, tile.row + tile.height)}
    cols = {edge for tile in tiles for edge in (tile.col, tile.col + tile.width)}
    return TileEdges(tuple(sorted(rows)), tuple(sorted(cols))).within(area)


def regular_edges(grid: Grid, size: int, overlap: int) -> TileEdges:
    """The edges of even-spaced tiles over a whole raster. Raises UsageError where there are no such tiles."""
    try:
        rows, cols = (tile_starts(length, size, overlap) for length in (grid.height, grid.width))
    except ValueError as error:
        raise UsageError(f"--seams {size},{overlap}: the overlap must be smaller than the size") from error
    height, width = min(size, grid.height), min(size, grid.width)
    windows = [Window(row, cols[0], height, width) for row in rows]
    windows += [Window(rows[0], col, height, width) for col in cols]
    return edges_of(windows, Window(0, 0, grid.height, grid.width))


def parse_edges(text: str, info: RasterInfo) -> TileEdges:
    """The edges that `auto`, for those recorded, or SIZE,OVERLAP name. Raises UsageError, InputError."""
    if text == "auto":
        found = recorded_edges(info)
        if found is None:
            raise UsageError(
                f"--seams auto: {info.path} does not record its tiles: give --seams SIZE,OVERLAP"
            )
        return found
    numbers = text.split(",")
    if len(numbers) != 2 or not all(number.strip().isdigit() for number in numbers):
        raise UsageError(f"--seams {text}: give auto, or SIZE,OVERLAP in pixels, such as 256,64")
    return regular_edges(info.grid, int(numbers[0]), int(numbers[1]))


def recorded_edges(info: RasterInfo) -> TileEdges | None:
    """The edges that a fused raster's tags record; None without. Raises InputError on tags that hold else."""
    texts = info.tags.get(ROWS_TAG), info.tags.get(COLS_TAG)
    if texts[0] is None or texts[1] is None:
        return None
    try:
        rows, cols = (tuple(int(n) for n in text.split() if n != _NONE) for text in texts if text is not None)
    except ValueError as error:
        raise InputError(f"{info.path}: its tag {ROWS_TAG} or {COLS_TAG} holds no pixel numbers") from error
    return TileEdges(rows, cols)


def _inside(edges: Iterable[int], start: int, length: int) -> tuple[int, ...]:
    return tuple(edge - start for edge in edges if 0 < edge - start < length)
