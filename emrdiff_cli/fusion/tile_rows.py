"""The unit of fusion: a row of tiles, sampled and blended, as a function of the scene and the row alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.conditioning import Channels, TileInputs, hsi_correction, tile_inputs
from emrdiff_cli.core.tiling import Mosaic, tile_windows
from emrdiff_cli.errors import EmrdiffError, UsageError
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.prepared_scene import PreparedScene, Sampler
from emrdiff_cli.fusion.row_blocks import RowBlocks
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, PairReader
from emrdiff_cli.raster.reading import bounded_cache
from emrdiff_cli.raster_info import Window
from emrdiff_cli.runtime.interruption import at_once
from emrdiff_cli.runtime.pipeline import ahead

Field = NDArray[np.float32]
Watch = Callable[[int, float], None]

_OVERLAP = 32  # beyond which a tile's edge is not felt: 0.1 % of the data range at most
_POWER = 2  # of the blending weights


class TileRow(NamedTuple):
    """Tiles side by side, from the left; `number` counts the rows from the top."""

    number: int
    tiles: tuple[Window, ...]


class Batch(NamedTuple):
    """Tiles of one row that are prepared and run together."""

    row: TileRow
    tiles: tuple[Window, ...]


@dataclass(frozen=True)
class Tiling:
    """The tile rows that reach into an area of a scene of `height` x `width`, made up to whole strides."""

    height: int
    width: int
    overlap: int
    rows: tuple[TileRow, ...]

    @property
    def tiles(self) -> list[Window]:
        """All tiles, in row-major order."""
        return [tile for row in self.rows for tile in row.tiles]

    def row_shape(self, channels: int) -> tuple[int, int, int]:
        """Shape of a blended row."""
        return channels, self.rows[0].tiles[0].height, self.width


def tile_size(config: ModelConfig, options: FusionOptions) -> tuple[int, int]:
    """Tile side and overlap in HR pixels.

    With settled gates a tile may be larger than the training patch, and is: less of it lies near an edge.
    """
    size = options.tile or config.tile * (2 if config.gates == "training" else 1)
    if size % config.stride:
        raise UsageError(f"--tile {size}: this model needs a multiple of {config.stride}")
    most = min(size // 2, size - config.stride)
    overlap = min(max(size // 4, _OVERLAP), most) if options.overlap is None else options.overlap
    if not 0 <= overlap <= most:
        raise UsageError(f"--overlap {overlap}: must be between 0 and {most} at --tile {size}")
    return size, overlap


def tiling_over(area: Window, pair: PairReader, config: ModelConfig, options: FusionOptions) -> Tiling:
    """The tiles that reach into an area's LR pixels, over the scene in whole strides.

    Corners lie on the network's stride: every tile is decimated in the same phase, and a pixel comes out the
    same from any of them.
    """
    size, overlap = tile_size(config, options)
    scene = pair.alignment.hr_window
    height, width = (-(-side // config.stride) * config.stride for side in (scene.height, scene.width))
    windows = tile_windows(height, width, size, overlap, config.stride)
    whole = RowBlocks(pair).around(area)
    reached = [window for window in windows if _overlap(window, whole)]
    by_row = groupby(reached, key=lambda window: window.row)
    rows = tuple(TileRow(number, tuple(tiles)) for number, (_, tiles) in enumerate(by_row))
    return Tiling(height, width, overlap, rows)


RowSampling = Callable[[PreparedScene, Tiling, Sequence[TileRow], int, Watch], Generator[Field]]
"""`sample_rows` with its sampler, or what does the same elsewhere."""


def sample_rows(
    sampler: Sampler,
    scene: PreparedScene,
    tiling: Tiling,
    rows: Sequence[TileRow],
    batch_size: int,
    watch: Watch,
) -> Generator[Field]:
    """Sample tile rows and blend each from left to right: corrections (k, tile height, width) in float32.

    A row comes out the same whichever others are asked for: batches do not cross rows. The next batches are
    prepared while the sampler works, in a thread that alone reads the scene's pair meanwhile. A batch that does
    not fit into memory is halved, and so are those after it. `watch` hears of the
    tiles that are done, and of the seconds that the sampler took.
    """
    config, channels = sampler.config, _channels(scene)
    batches = [batch for row in rows for batch in _batches(row, batch_size)]
    run = _Halving(sampler, scene.pair.alignment.hr_window)
    prepare = _Preparation(scene, config)
    with ahead(lambda batch: (batch, prepare(batch)), batches) as prepared:

        def blended(row: TileRow) -> Field:
            mosaic, done = _row_mosaic(tiling, row, config.hsi_channels), None
            while done is None:
                batch, inputs = next(prepared)
                started = time.monotonic()
                with at_once():
                    estimates = run(batch, inputs)
                watch(len(batch.tiles), time.monotonic() - started)
                for window, tile, estimate in zip(batch.tiles, inputs, estimates, strict=True):
                    correction = hsi_correction(config, channels, estimate, tile.end_point)
                    done = mosaic.add(window._replace(row=0), correction)
            return np.asarray(done, np.float32)

        for row in rows:
            yield blended(row)  # which is held by nobody here while the next one is worked out


def corrected_tile(sampler: Sampler, scene: PreparedScene, tile: Window) -> Field:
    """The correction (k, H, W) of one tile by itself."""
    batch = Batch(TileRow(0, (tile,)), (tile,))
    inputs = _Preparation(scene, sampler.config)(batch)
    with at_once():
        (estimate,) = _Halving(sampler, scene.pair.alignment.hr_window)(batch, inputs)
    return hsi_correction(sampler.config, _channels(scene), estimate, inputs[0].end_point)


class Blending:
    """Blends tile rows, in order, into rows of the scene."""

    def __init__(self, tiling: Tiling, channels: int, height: int, width: int) -> None:
        self._windows = [
            Window(row.tiles[0].row, 0, row.tiles[0].height, tiling.width) for row in tiling.rows
        ]
        size = self._windows[0].height
        self._mosaic = Mosaic(
            channels, tiling.height, tiling.width, size, tiling.overlap, windows=self._windows, power=_POWER
        )
        self._left = iter(self._windows)
        self._top, self._height, self._width = self._windows[0].row, height, width

    def add(self, row: Field) -> tuple[int, Field]:
        """Add the next tile row; the rows (k, n, width) that no later one touches, and the first's number."""
        finished = self._mosaic.add(next(self._left), row)
        if finished is None:
            raise ValueError("a tile row is as wide as the scene")
        top = self._top
        kept = np.asarray(finished[:, : self._height - top, : self._width], np.float32)
        self._top += kept.shape[1]
        return top, kept


class _Preparation:
    """Yield the sampler's inputs in batches of tiles; each row of the MSI is read once, as a whole."""

    def __init__(self, scene: PreparedScene, config: ModelConfig) -> None:
        self._scene, self._config = scene, config
        self._row: TileRow | None = None
        self._msi = np.empty((0, 0, 0), np.float32)

    def __call__(self, batch: Batch) -> list[TileInputs]:
        if batch.row != self._row:
            first, last = batch.row.tiles[0], batch.row.tiles[-1]
            width = max(self._scene.width, last.cols.stop)
            with bounded_cache(CACHE_MEGABYTES):
                self._msi, _ = self._scene.pair.read_msi_around(Window(first.row, 0, first.height, width))
            self._row = batch.row
        return [self._inputs(tile) for tile in batch.tiles]

    def _inputs(self, tile: Window) -> TileInputs:
        around = self._msi[:, :, tile.col : tile.col + tile.width + 2]
        scene = self._scene
        up = scene.resampling.up_part(tile)
        return tile_inputs(
            *(self._config, scene.end, _channels(scene), scene.edge_range, around, up), scene.evaluator
        )


class _Halving:
    """Runs the sampler on batches, or on halves of them where the memory does not hold more."""

    def __init__(self, sampler: Sampler, origin: Window) -> None:
        self._sampler, self._origin = sampler, origin
        self._most: int | None = None

    def __call__(self, batch: Batch, inputs: Sequence[TileInputs]) -> list[Field]:
        corners = [(self._origin.row + tile.row, self._origin.col + tile.col) for tile in batch.tiles]
        done: list[Field] = []
        while len(done) < len(inputs):
            part = slice(len(done), len(done) + (self._most or len(inputs)))
            tiles = inputs[part]
            try:
                done += self._sampler(tiles, corners[part])
            except MemoryError as error:
                if len(tiles) == 1:
                    height, width = batch.tiles[0].height, batch.tiles[0].width
                    raise EmrdiffError(
                        f"a single tile of {height} x {width} pixels does not fit into memory: give a smaller "
                        "--tile, or --device cpu"
                    ) from error
                self._most = len(tiles) // 2
        return done


def _row_mosaic(tiling: Tiling, row: TileRow, channels: int) -> Mosaic:
    windows = [tile._replace(row=0) for tile in row.tiles]
    height, width = windows[0].height, windows[0].width
    size = max(height, width)
    return Mosaic(channels, height, tiling.width, size, tiling.overlap, windows=windows, power=_POWER)


def _batches(row: TileRow, size: int) -> Iterator[Batch]:
    for start in range(0, len(row.tiles), size):
        yield Batch(row, row.tiles[start : start + size])


def _channels(scene: PreparedScene) -> Channels:
    if scene.channels is None:
        raise ValueError("a scene prepared without a sampler has no channels")
    return scene.channels


def _overlap(one: Window, other: Window) -> bool:
    rows = max(one.row, other.row) < min(one.rows.stop, other.rows.stop)
    cols = max(one.col, other.col) < min(one.cols.stop, other.cols.stop)
    return bool(rows and cols)
