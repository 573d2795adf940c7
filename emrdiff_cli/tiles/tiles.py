"""Use case: cut rasters into georeferenced overlapping tiles, and blend tiles back into a raster."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import EDGE_SLACK, Alignment, AxisPlacement, same_place
from emrdiff_cli.core.tiling import Mosaic, tile_starts, tile_windows
from emrdiff_cli.errors import InputError, OutputExistsError, UsageError
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.raster.metadata import value_beside
from emrdiff_cli.raster.placement import place_on, placing_notes
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Grid, RasterInfo, Window
from emrdiff_cli.runtime.atomic import (
    check_target,
    failing_as_write_error,
    make_folder,
    refuse_existing,
    target_of,
)
from emrdiff_cli.tiles.index import INDEX_NAME, Tile, TiledRaster, read_index, write_index

Report = Callable[[float, float, str], None]

_log = logging.getLogger(__name__)
_EXACT_INTEGER = 2**53  # beyond it float64 does not hold every integer


@dataclass(frozen=True)
class _Plan:
    """The tiles of one raster; `area` is the window of it that they cover."""

    area: Window
    tiled: TiledRaster


def cut(
    rasters: Sequence[Path | str],
    folder: Path | str,
    *,
    size: int,
    overlap: int,
    overwrite: bool,
    report: Report,
) -> Path:
    """Cut one raster, or an LR and an HR raster on their common area, into GeoTIFF tiles in a folder.

    `size` and `overlap` are in pixels of the finest raster; tile origins of a pair lie on whole LR pixels.
    Stored values and metadata stay as they are. Returns the path of the index, which is written last.
    Raises UsageError, OutputExistsError, InputError, GridError, WriteError.
    """
    folder = Path(folder)
    if not 1 <= len(rasters) <= 2:
        raise UsageError(
            f"{len(rasters)} rasters given: tile takes one, or an LR and an HR raster of one area"
        )
    if size < 1 or not 0 <= overlap < size:
        raise UsageError(
            f"--size {size} --overlap {overlap}: the overlap must be at least 0 and below the size"
        )
    with ExitStack() as stack:
        readers = [stack.enter_context(open_raster(Path(path))) for path in rasters]
        for reader in readers:
            _refuse_mask(reader)
        plans = _plan([reader.info for reader in readers], size, overlap)
        former = _prepare(folder, [Path(path) for path in rasters], plans, overwrite)
        written = _write_tiles(folder, plans, readers, report)
    index = write_index(folder, written)
    for path in former:
        with failing_as_write_error(path):
            path.unlink(missing_ok=True)
    return index


def _refuse_mask(reader: RasterReader) -> None:
    if reader.masked:
        raise InputError(
            f"{reader.info.path}: has a mask or an alpha band, which tiles cannot carry: "
            "write it with a nodata value first, e.g. `gdalwarp -dstnodata`"
        )


def _plan(infos: Sequence[RasterInfo], size: int, overlap: int) -> list[_Plan]:
    names = [info.path.stem for info in infos]
    if len(set(names)) < len(names):
        names = [f"{name}-{i}" for i, name in enumerate(names, 1)]
    if len(infos) == 1:
        grid = infos[0].grid
        windows = tile_windows(grid.height, grid.width, size, overlap)
        return [_planned(names[0], grid, Window(0, 0, grid.height, grid.width), windows, overlap)]
    finest = min((0, 1), key=lambda i: (_pixel_area(infos[i].grid), -infos[i].grid.width, -i))
    lr, hr = infos[1 - finest].grid, infos[finest].grid
    common = place_on(infos[1 - finest], infos[finest]).alignment
    for note in placing_notes(*infos):
        _log.warning("%s, ratio %.4g", note, common.ratio)
    lr_windows, hr_windows, lr_overlap = _pair_windows(common, size, overlap)
    lr_plan = _planned(names[1 - finest], lr, common.lr_window, lr_windows, lr_overlap)
    hr_plan = _planned(names[finest], hr, common.hr_window, hr_windows, overlap)
    return [lr_plan, hr_plan] if finest == 1 else [hr_plan, lr_plan]


def _pixel_area(grid: Grid) -> float:
    return abs(float(grid.transform.determinant))


def _planned(name: str, grid: Grid, area: Window, windows: Sequence[Window], overlap: int) -> _Plan:
    rows = sorted({window.row for window in windows})
    cols = sorted({window.col for window in windows})
    tiles = []
    for window in windows:
        row, col = rows.index(window.row), cols.index(window.col)
        tiles.append(Tile(f"{name}_r{row:03d}_c{col:03d}.tif", window, row, col))
    return _Plan(area, TiledRaster(name, _crop(grid, area), overlap, tuple(tiles)))


def _placed(grid: Grid) -> bool:
    return not grid.transform.is_identity


def _crop(grid: Grid, window: Window) -> Grid:
    """Crop a grid; one without any geotransform gets none."""
    cropped = grid.crop(window)
    return cropped if _placed(grid) else replace(cropped, transform=Affine.identity())


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


def _prepare(
    folder: Path, rasters: Sequence[Path], plans: Sequence[_Plan], overwrite: bool
) -> Sequence[Path]:
    """Make the folder, refuse to overwrite unasked; return the tiles that were there and are none of these."""
    index = folder / INDEX_NAME
    names = [tile.file for plan in plans for tile in plan.tiled.tiles]
    written = [index, *(path for name in names for path in files_written(folder / name, "GTiff", {}))]
    refuse_inputs_as_outputs(written, rasters)
    target_of(index)
    for path in written:
        refuse_existing(path, overwrite)
    former = _former(folder, set(names))
    refuse_inputs_as_outputs(former, rasters)
    make_folder(folder)
    check_target(index, overwrite)
    return former


def _former(folder: Path, kept: set[str]) -> list[Path]:
    """The tiles of the folder's own index, without those to keep.

    They are to be removed: OutputExistsError where one is not the file that was written.
    """
    try:
        listed = read_index(folder / INDEX_NAME)
    except InputError:
        return []
    tiles = [tile for tiled in listed.values() for tile in tiled.tiles if tile.file not in kept]
    there = [tile for tile in tiles if os.path.lexists(folder / tile.file)]
    for tile in there:
        if not tile.is_untouched(folder):
            raise OutputExistsError(
                f"{folder / tile.file}: has the name of a tile that was here, but is not what was written: "
                "move it away, or cut into another folder"
            )
    return [folder / tile.file for tile in there]


def _write_tiles(
    folder: Path, plans: Sequence[_Plan], readers: Sequence[RasterReader], report: Report
) -> list[TiledRaster]:
    """Write the tiles; returns what is written, with the files' digests."""
    total, done = sum(len(plan.tiled.tiles) for plan in plans), 0
    written = []
    for plan, reader in zip(plans, readers, strict=True):
        tiles = []
        for tile in plan.tiled.tiles:
            _write_tile(folder / tile.file, reader, plan, tile.window)
            tiles.append(replace(tile, digest=file_sha256(folder / tile.file)))
            done += 1
            report(done, total, tile.file)
        written.append(replace(plan.tiled, tiles=tuple(tiles)))
    return written


def _write_tile(path: Path, reader: RasterReader, plan: _Plan, window: Window) -> None:
    area = plan.area
    source = Window(area.row + window.row, area.col + window.col, window.height, window.width)
    spec = RasterSpec.like(reader.info, grid=_crop(reader.info.grid, source), driver="GTiff")
    with VerifiedWriter(path, spec, overwrite=True) as writer:
        writer.append_stored(reader.read_stored(source))


def stitch(
    folder: Path | str,
    output: Path | str,
    *,
    index: Path | str | None = None,
    raster: str | None = None,
    driver: Driver = "GTiff",
    overwrite: bool = False,
    report: Report,
) -> None:
    """Blend the tiles in a folder into one raster on the grid that `cut` had.

    The tiles may have been processed: bands, dtype, nodata and scale are theirs, as long as they agree.
    `index`: None for the folder's own. `raster`: which one's tiles; None if there is only one. Overlaps are
    blended over valid pixels, exactly where tiles agree; only one row of tiles is held.
    Raises UsageError, OutputExistsError, InputError, WriteError.
    """
    folder, output = Path(folder), Path(output)
    index = folder / INDEX_NAME if index is None else Path(index)
    listed = read_index(index)
    tiled = _choose(listed, raster)
    sources = [folder / tile.file for other in listed.values() for tile in other.tiles]
    refuse_inputs_as_outputs(files_written(output, driver, {}), [index, *sources])
    missing = [tile.file for tile in tiled.tiles if not (folder / tile.file).is_file()]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(tiled.tiles)} tiles are missing, the first is {missing[0]}: "
            "put them there or cut the tiles again"
        )
    with open_raster(folder / tiled.tiles[0].file) as reader:
        first = reader.info
    spec = RasterSpec.like(first, grid=tiled.grid, driver=driver)
    with VerifiedWriter(output, spec, overwrite) as writer:
        _blend(folder, tiled, first, writer, report)


def _choose(rasters: Mapping[str, TiledRaster], name: str | None) -> TiledRaster:
    known = ", ".join(rasters)
    if name is None and len(rasters) > 1:
        raise UsageError(f"the tiles are of {len(rasters)} rasters: choose one with --raster ({known})")
    chosen = next(iter(rasters)) if name is None else name
    if chosen not in rasters:
        raise UsageError(f"no tiles of a raster {chosen}: choose one with --raster ({known})")
    return rasters[chosen]


def _blend(
    folder: Path, tiled: TiledRaster, first: RasterInfo, writer: VerifiedWriter, report: Report
) -> None:
    windows = [tile.window for tile in tiled.tiles]
    mosaic = Mosaic(
        first.bands.count,
        tiled.grid.height,
        tiled.grid.width,
        windows[0].height,
        tiled.overlap,
        windows=windows,
        dtype=_blend_dtype(first.dtype),
    )
    for done, tile in enumerate(tiled.tiles, 1):
        with open_raster(folder / tile.file) as reader:
            _check_tile(reader, first, tiled.grid.crop(tile.window))
            stored = reader.read_stored()
            valid = reader.valid(stored)
        _refuse_inexact(stored, valid, folder / tile.file)
        rows = mosaic.add(tile.window, stored, valid)
        if rows is not None:
            writer.append_stored(_to_stored(rows, mosaic.valid_rows, first))
        report(done, len(windows), tile.file)


def _blend_dtype(dtype: str) -> type[np.floating]:
    """Choose the accumulator that holds every value of a dtype."""
    return np.float32 if dtype in {"uint8", "int8", "uint16", "int16", "float32"} else np.float64


def _refuse_inexact(stored: NDArray[np.generic], valid: NDArray[np.bool_], path: Path) -> None:
    if stored.dtype.kind in "iu" and stored.dtype.itemsize == 8:
        held = stored[valid]
        if held.size and (int(held.max()) > _EXACT_INTEGER or int(held.min()) < -_EXACT_INTEGER):
            raise InputError(f"{path}: holds integers beyond 2^53, which cannot be blended: use float64")


def _check_tile(reader: RasterReader, first: RasterInfo, grid: Grid) -> None:
    """Compare a tile with its place and with the first tile. Raises InputError."""
    info = reader.info
    _refuse_mask(reader)
    if (info.grid.height, info.grid.width) != (grid.height, grid.width):
        raise InputError(
            f"{info.path}: has {info.grid.height} x {info.grid.width} pixels where the index has "
            f"{grid.height} x {grid.width}: tiles must keep their size"
        )
    if _placed(info.grid) and _placed(grid) and not same_place(info.grid, grid):
        raise InputError(f"{info.path}: does not lie where the index puts it: cut the tiles again")
    for what in ("bands", "dtype", "nodata", "scale", "offset"):
        ours, theirs = getattr(info, what), getattr(first, what)
        if ours != theirs and not (ours != ours and theirs != theirs):
            raise InputError(
                f"{info.path}: differs from {first.path.name} in {what}: process all tiles in the same way"
            )


def _to_stored(rows: NDArray[np.floating], valid: NDArray[np.bool_], info: RasterInfo) -> NDArray[np.generic]:
    """Round blended rows to the stored dtype; a valid mean never turns into nodata."""
    dtype = np.dtype(info.dtype)
    stored = (rows if dtype.kind == "f" else np.rint(rows)).astype(dtype)
    if info.nodata is not None:
        stored[valid & (stored == dtype.type(info.nodata))] = value_beside(info.nodata, dtype)
    return stored
