"""The index of a folder of tiles: a GeoJSON of footprints that carries what it takes to join them again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from affine import Affine

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.crs import lonlat_ring
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.raster_info import Grid, Window
from emrdiff_cli.runtime.atomic import write_whole

INDEX_NAME = "index.geojson"
_VERSION = 1


@dataclass(frozen=True)
class Tile:
    """A tile's file name and its place: the window in its raster's grid, its row and column among the tiles.

    `digest`: SHA-256 of the file as it was written; empty where that is not known.
    """

    file: str
    window: Window
    row: int
    col: int
    digest: str = ""

    def is_untouched(self, folder: Path) -> bool:
        """Whether the file in the folder is the very one that was written. Raises InputError."""
        path = folder / self.file
        return bool(self.digest) and not path.is_symlink() and file_sha256(path) == self.digest


@dataclass(frozen=True)
class TiledRaster:
    """A raster cut into tiles, in row-major order: the grid they cover and the overlap of their ramps.

    `tags`: those of the whole, for a raster made from tiles that have them too. Raises InputError if the tiles are
    no gapless rows and columns over the grid, or it is no grid.
    """

    name: str
    grid: Grid
    overlap: int
    tiles: tuple[Tile, ...]
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        widest = max((max(tile.window.height, tile.window.width) for tile in self.tiles), default=0)
        if self.overlap < 0 or (len(self.tiles) > 1 and self.overlap >= widest):
            raise InputError(
                f"the tiles of {self.name} cannot overlap by {self.overlap} pixels: cut them again"
            )
        numbers = self.grid.transform[:6]
        if not all(map(math.isfinite, numbers)) or self.grid.transform.is_degenerate:
            raise InputError(f"the index puts {self.name} nowhere (transform {numbers}): cut its tiles again")
        rows = {(tile.window.row, tile.window.height) for tile in self.tiles}
        cols = {(tile.window.col, tile.window.width) for tile in self.tiles}
        expected = [(*row, *col) for row in sorted(rows) for col in sorted(cols)]
        found = [(w.row, w.height, w.col, w.width) for w in (tile.window for tile in self.tiles)]
        if found != expected or not (_covers(rows, self.grid.height) and _covers(cols, self.grid.width)):
            raise InputError(f"the tiles of {self.name} leave gaps or are listed twice: cut them again")


def _covers(spans: Iterable[tuple[int, int]], length: int) -> bool:
    ordered = sorted(spans)
    ends = [start + size for start, size in ordered]
    return (
        bool(ordered)
        and ordered[0][0] == 0
        and ends[-1] == length
        and all(size > 0 for _, size in ordered)
        and all(after[0] <= before[0] + before[1] for before, after in pairwise(ordered))
        and ends == sorted(set(ends))
    )


def write_index(folder: Path, rasters: Iterable[TiledRaster], tags: Mapping[str, str] | None = None) -> Path:
    """Write the index of a folder in one step; `tags`: what is known of them all. Raises WriteError."""
    rasters = list(rasters)
    document = {
        "type": "FeatureCollection",
        "emrdiff_tiles": {
            "version": _VERSION,
            "rasters": [_raster_entry(raster) for raster in rasters],
            **({"tags": dict(tags)} if tags else {}),
        },
        "features": [_feature(raster, tile) for raster in rasters for tile in raster.tiles],
    }
    target = folder / INDEX_NAME
    write_whole(target, json.dumps(document, indent=1, allow_nan=False).encode())
    return target


def _raster_entry(raster: TiledRaster) -> dict[str, Any]:
    grid = raster.grid
    return {
        "name": raster.name,
        "height": grid.height,
        "width": grid.width,
        "transform": [float(value) for value in grid.transform[:6]],
        "crs_wkt": grid.crs_wkt,
        "overlap": raster.overlap,
    }


def _feature(raster: TiledRaster, tile: Tile) -> dict[str, Any]:
    ring = lonlat_ring(raster.grid.crop(tile.window))
    return {
        "type": "Feature",
        "geometry": None if ring is None else {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "file": tile.file,
            "raster": raster.name,
            "row": tile.row,
            "col": tile.col,
            "window": list(tile.window),
            **({"sha256": tile.digest} if tile.digest else {}),
        },
    }


def read_index(path: Path) -> dict[str, TiledRaster]:
    """Read an index: the tiled rasters by name. Raises InputError: missing, damaged, of another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(document, ensure_ascii=False).encode()  # raises for what is no text
        held = document["emrdiff_tiles"]
        version = held["version"]
        if version != _VERSION:
            raise InputError(
                f"{path}: of version {version}, this emrdiff reads {_VERSION}: cut the tiles again"
            )
        tags = {str(key): str(value) for key, value in held.get("tags", {}).items()}
        rasters = [_parse_raster(entry, document["features"], tags) for entry in held["rasters"]]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: name a folder made by `emrdiff tile`, or --index") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: not an index made by `emrdiff tile`, or damaged: {error!r}") from error
    if not rasters:
        raise InputError(f"{path}: lists no raster: cut the tiles again")
    return {raster.name: raster for raster in rasters}


def _parse_raster(
    entry: dict[str, Any], features: list[dict[str, Any]], tags: Mapping[str, str]
) -> TiledRaster:
    transform = Affine(*(float(value) for value in entry["transform"]))
    crs = entry["crs_wkt"]
    grid = Grid(int(entry["height"]), int(entry["width"]), transform, None if crs is None else str(crs))
    tiles = [
        _parse_tile(feature["properties"])
        for feature in features
        if feature["properties"]["raster"] == entry["name"]
    ]
    tiles.sort(key=lambda tile: (tile.row, tile.col))
    return TiledRaster(str(entry["name"]), grid, int(entry["overlap"]), tuple(tiles), tags)


def _parse_tile(properties: dict[str, Any]) -> Tile:
    file = str(properties["file"])
    if Path(file).name != file or file == ".." or "\0" in file:
        raise InputError(f"the index names a tile outside its folder ({file}): cut the tiles again")
    row, col, height, width = (int(value) for value in properties["window"])
    place = Window(row, col, height, width)
    return Tile(
        file, place, int(properties["row"]), int(properties["col"]), str(properties.get("sha256", ""))
    )
