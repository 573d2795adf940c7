"""Folders of tiles whose index was changed, damaged or invented, and what comes of joining them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import rasterio

from emrdiff_cli.raster.reading import ignoring_missing_georeference
from tests.benchmarks.strangers.damage import damaged
from tests.benchmarks.strangers.door import Door
from tests.benchmarks.strangers.envi import numbered
from tests.support.rasters import NORTH_UP, write_tif

_HEIGHT, _WIDTH = 9, 11
_TILES: dict[tuple[int, int], dict[str, bytes]] = {}  # bytes of the files by size and overlap
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        5,
        2**31,
        2**63,
        10**400,
        1.5,
        1e308,
        "",
        "x",
        "..",
        "../x.tif",
        "a\0b",
        "\ud800",
    ),
    *(
        [],
        [1],
        [0, 0, 0, 0],
        {},
        {"a": []},
        float("nan"),
        float("inf"),
        [30, 0, 0, 0, -30, 0],
        "\x1b[31m",
        "a\nb",
    ),
)


def cases(chance: Random, emrdiff: Door) -> Iterator[str]:
    """Cut a raster, change the index, join; faults."""
    size, overlap = chance.choice(((4, 1), (5, 2), (6, 0), (20, 4)))
    if not _cut(emrdiff, size, overlap):
        yield "a sound raster is not cut"
        return
    index = Path("tiles/index.geojson")
    whole = chance.random() < 0.1
    text = index.read_text()
    if not whole:
        index.write_bytes(_changed(chance, text))
    ended = emrdiff("stitch", "tiles", "out.tif", "-q")
    if ended.code:
        if whole:
            yield f"sound tiles are not joined: {ended.err.strip()}"
        if Path("out.tif").exists():
            yield "an output of a command that failed"
        return
    yield from _misplaced()


def _cut(emrdiff: Door, size: int, overlap: int) -> bool:
    """Put the tiles of the raster into a folder, cut the first time; False where that failed."""
    tiles = Path("tiles")
    if (size, overlap) not in _TILES:
        raster = write_tif(Path("x.tif"), _values())
        if emrdiff("tile", raster, tiles, "--size", size, "--overlap", overlap, "-q").code:
            return False
        _TILES[size, overlap] = {path.name: path.read_bytes() for path in tiles.iterdir()}
    tiles.mkdir(exist_ok=True)
    for name, content in _TILES[size, overlap].items():
        (tiles / name).write_bytes(content)
    return True


def _values() -> Any:
    return np.concatenate([numbered(1, _HEIGHT, _WIDTH, "int32") + 1000 * band for band in range(2)])


def _misplaced() -> Iterator[str]:
    """Whether each pixel of the output has the value that the raster has on that ground."""
    with ignoring_missing_georeference(), rasterio.open("out.tif") as dataset:
        values, transform, crs = dataset.read(), dataset.transform, dataset.crs
    if crs is None or crs.to_epsg() != 32633:
        yield f"the CRS becomes {crs}"
    rows, cols = np.indices(values.shape[1:])
    to_source = ~NORTH_UP @ transform
    there_cols, there_rows = to_source @ (cols + 0.5, rows + 0.5)
    at = np.floor(there_rows).astype(int), np.floor(there_cols).astype(int)
    if not (((at[0] >= 0) & (at[0] < _HEIGHT)).all() and ((at[1] >= 0) & (at[1] < _WIDTH)).all()):
        yield f"the output lies elsewhere: {tuple(transform)[:6]}"
    elif not np.array_equal(values, _values()[:, at[0], at[1]]):
        yield "pixels changed place or value"


def _changed(chance: Random, text: str) -> bytes:
    if chance.random() < 0.25:
        return damaged(chance, text.encode())
    if chance.random() < 0.05:
        deep = chance.choice((50, 900, 100_000))
        return b"[" * deep + b"]" * deep
    document = json.loads(text)
    for _ in range(chance.randint(1, 2)):
        _spoil(chance, document)
    return json.dumps(document).encode(chance.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")))


def _spoil(chance: Random, document: Any) -> None:
    """Change, drop or double a value somewhere in the tree, deeper rather than higher."""
    node = document
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return
        place = chance.choice(places)
        if isinstance(node[place], dict | list) and chance.random() < 0.9:
            node = node[place]
            continue
        match chance.randrange(6):
            case 0:
                del node[place]
            case 1 if isinstance(node, list):
                node.append(node[place])
            case 2 | 3 if isinstance(node[place], int | float):
                node[place] += chance.choice((-1, 1, 0.5, 30, -3600.0, 1e7))
            case _:
                node[place] = chance.choice(_VALUES)
        return
