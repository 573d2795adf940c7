"""Use case: cut rasters into georeferenced overlapping tiles, and blend tiles back into a raster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import same_place
from emrdiff_cli.core.tiling import Mosaic
from emrdiff_cli.errors import InputError, OutputExistsError, UsageError
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.crs import same_crs
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.raster.metadata import value_beside
from emrdiff_cli.raster.qgis_style import writing_style
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.stac_item import writing_item
from emrdiff_cli.raster.tags import PAIR_TAG
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Grid, RasterInfo, Window
from emrdiff_cli.runtime.atomic import (
    check_target,
    failing_as_write_error,
    make_folder,
    refuse_existing,
    target_of,
)
from emrdiff_cli.tiles.index import INDEX_NAME, TiledRaster, read_index, write_index
from emrdiff_cli.tiles.planning import PairTags, Plan, crop, has_place, plan_tiles

Report = Callable[[float, float, str], None]

_EXACT_INTEGER = 2**53  # beyond it float64 does not hold every integer


def cut(
    rasters: Sequence[Path | str],
    folder: Path | str,
    *,
    size: int,
    overlap: int,
    overwrite: bool,
    report: Report,
    known: PairTags | None = None,
    masks: Sequence[AskedMask] = (),
) -> Path:
    """Cut one raster, or an LR and an HR raster on their common area, into GeoTIFF tiles in a folder.

    `size` and `overlap` are in pixels of the finest raster; tile origins of a pair lie on whole LR pixels. Stored
    values and metadata stay as they are. `known`: of a pair, how its LR raster lies; None: as it says. `masks`:
    classes of pixels by each raster that become nodata, by its own masks. Returns the path of the index, which is
    written last. Raises UsageError, OutputExistsError, InputError, GridError, WriteError.
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
        masked = zip(rasters, masks or [()] * len(rasters), strict=True)
        readers = [stack.enter_context(open_raster(Path(path), mask=mask)) for path, mask in masked]
        for reader in readers:
            _refuse_mask(reader)
        known = known or PairTags()
        plans = plan_tiles([reader.info for reader in readers], size, overlap, known)
        former = _prepare(folder, [Path(path) for path in rasters], plans, overwrite)
        written = _write_tiles(folder, plans, readers, report)
    index = write_index(folder, written, known.of_whole)
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


def _prepare(folder: Path, rasters: Sequence[Path], plans: Sequence[Plan], overwrite: bool) -> Sequence[Path]:
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
    folder: Path, plans: Sequence[Plan], readers: Sequence[RasterReader], report: Report
) -> list[TiledRaster]:
    """Write the tiles; returns what is written, with the files' digests."""
    total, done = sum(len(plan.tiled.tiles) for plan in plans), 0
    written = []
    for plan, reader in zip(plans, readers, strict=True):
        tiles = []
        for tile, tags in zip(plan.tiled.tiles, plan.tags, strict=True):
            _write_tile(folder / tile.file, reader, plan.area, tile.window, tags)
            tiles.append(replace(tile, digest=file_sha256(folder / tile.file)))
            done += 1
            report(done, total, tile.file)
        written.append(replace(plan.tiled, tiles=tuple(tiles)))
    return written


def _write_tile(
    path: Path, reader: RasterReader, area: Window, window: Window, tags: Mapping[str, str]
) -> None:
    source = Window(area.row + window.row, area.col + window.col, window.height, window.width)
    info = reader.info
    spec = RasterSpec.like(info, grid=crop(info.grid, source), driver="GTiff", tags={**info.tags, **tags})
    with VerifiedWriter(path, spec, overwrite=True) as writer:
        writer.append_stored(reader.read_stored(source))


def stitch(
    folder: Path | str,
    output: Path | str,
    *,
    index: Path | str | None = None,
    raster: str | None = None,
    driver: Driver = "GTiff",
    overviews: bool | None = None,
    stac: str | None = None,
    qml: bool = False,
    overwrite: bool = False,
    report: Report,
) -> None:
    """Blend the tiles in a folder into one raster on the grid that `cut` had.

    The tiles may have been processed: bands, dtype, nodata and scale are theirs, as long as they agree.
    `index`: None for the folder's own. `raster`: which one's tiles; None if there is only one. Overlaps are
    blended over valid pixels, exactly where tiles agree; only one row of tiles is held. `stac`: the time of a STAC
    item to be written beside it, as `check_item` takes it, `qml`: with a style for QGIS.
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
    first, tags = _described(folder, tiled)
    # The CRS as the tiles spell it, which the index only has to mean.
    grid = replace(tiled.grid, crs_wkt=first.grid.crs_wkt or tiled.grid.crs_wkt)
    spec = RasterSpec.like(first, grid=grid, driver=driver, tags=tags, overviews=overviews)
    styled, described = (
        writing_style(output, spec, qml, overwrite),
        writing_item(output, spec, stac, overwrite),
    )
    with styled, described, VerifiedWriter(output, spec, overwrite) as writer:
        _blend(folder, tiled, first, writer, report)


def _described(folder: Path, tiled: TiledRaster) -> tuple[RasterInfo, dict[str, str]]:
    """The first tile's description, and the tags that are the whole's. Raises InputError where tiles do not agree.

    Of tags that the index knows its own count; others count where all tiles have the same, which those of the
    tiles themselves (edges, shares, names of files) have not.
    """
    with open_raster(folder / tiled.tiles[0].file) as reader:
        first = reader.info
    tags = dict(first.tags)
    for tile in tiled.tiles:
        with open_raster(folder / tile.file) as reader:
            _check_tile(reader, first, tiled.grid.crop(tile.window))
            theirs = reader.info.tags
        tags = {key: value for key, value in tags.items() if key in tiled.tags or theirs.get(key) == value}
    return first, {key: tiled.tags.get(key, value) for key, value in tags.items() if key != PAIR_TAG}


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
    if has_place(info.grid) and has_place(grid) and not same_place(info.grid, grid):
        raise InputError(f"{info.path}: does not lie where the index puts it: cut the tiles again")
    if info.grid.crs_wkt and grid.crs_wkt and not same_crs(info.grid.crs_wkt, grid.crs_wkt):
        raise InputError(f"{info.path}: is not in the CRS that the index states: cut the tiles again")
    for what in ("bands", "dtype", "nodata", "scale", "offset"):
        ours, theirs = getattr(info, what), getattr(first, what)
        if ours != theirs and not (ours != ours and theirs != theirs):
            raise InputError(
                f"{info.path}: differs from {first.path.name} in {what}: process all tiles in the same way"
            )


def _to_stored(rows: NDArray[np.floating], valid: NDArray[np.bool_], info: RasterInfo) -> NDArray[np.generic]:
    """Round blended rows to the stored dtype; a valid mean never turns into nodata."""
    dtype = np.dtype(info.dtype)
    stored = np.empty(rows.shape, dtype)
    for into, band, there in zip(stored, rows, np.broadcast_to(valid, rows.shape), strict=True):
        into[:] = band if dtype.kind == "f" else np.rint(band)
        if info.nodata is not None:
            into[there & (into == dtype.type(info.nodata))] = value_beside(info.nodata, dtype)
    return stored
