"""Memory and room on the disk that a fusion needs, told before the work."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.errors import UsageError, WriteError
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.row_blocks import ROWS_AT_ONCE
from emrdiff_cli.fusion.tile_rows import Tiling
from emrdiff_cli.methods import AUTO, FAVOURITE
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, PairReader
from emrdiff_cli.raster.spec import RasterSpec

MOST_TILES = 4  # at a time, where nothing else is asked for

_FLOAT = 4  # bytes
_PROGRAM = 150e6  # Python with GDAL,
_TORCH = 300e6  # and what torch adds
_LR_COPIES = 6  # of the LR-HSI in float32, while the end point is fitted
_WEIGHT_COPIES = 2  # of kriging's weights at nodes, in the fit,
_SLOPE_TERMS = 5  # and of its slopes, by MSI band
_HELD_ROWS = 256  # of the output, in the writer
_ROW_COPIES = 6  # of a tile row's corrections, on their way to the writer
_PREPARED = 3  # batches: one in the network, two ahead
_MAPS = 48  # of the network's width, float32, that it holds of a tile
_EXPANDED_COPIES = 10  # of a block of rows in all bands, while deviations are worked out,
_DRAWN_COPIES = 6  # and more for a draw
_EXCERPT_SIDE, _LANDMARKS = (
    24,
    192,
)  # LR pixels on which MSI bands are held out, with so many functions of colour
_CHANNELS = 32  # that are kriged, at most
_NODE_SPACING, _COLOUR_MARGIN, _COLOUR_COPIES = 4, 5, 4  # of a draw's fields of colour, which lie at nodes,
_SLOPE_MARGIN, _SLOPE_COPIES = 32, 3  # and of its slopes, at LR pixels
_PACKED = 0.1  # least size of a compressed raster, as a share of the uncompressed
_STRIP_ROWS = 256


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a fusion holds at its peak: `fixed`, and for each tile of a batch."""

    fixed: float
    each_tile: float

    def of(self, batch_size: int) -> float:
        """The peak with so many tiles at a time."""
        return self.fixed + batch_size * self.each_tile


def estimate_memory(
    pair: PairReader,
    spec: RasterSpec,
    method: str,
    config: ModelConfig | None,
    tiling: Tiling | None,
    options: FusionOptions | None = None,
) -> MemoryEstimate:
    """The peak, whatever the height: of the scene only what is at LR grows with it.

    `method`: the one that is run, of a model its end point counts. `options`: whether errors are told.
    """
    end = method if config is None else config.end_point
    lr, hr = pair.alignment.lr_window, pair.alignment.hr_window
    msi, bands = pair.msi_info.bands.count, spec.bands.count
    itemsize = np.dtype(spec.dtype).itemsize
    fixed = _PROGRAM + CACHE_MEGABYTES * 2**20
    fixed += _LR_COPIES * bands * lr.height * lr.width * _FLOAT
    if end in (AUTO, FAVOURITE):
        fixed += _of_kriging(min(_CHANNELS, bands), msi) * lr.height * lr.width * _FLOAT
    fixed += 6 * _STRIP_ROWS * hr.width * msi * _FLOAT
    fixed += bands * hr.width * (_HELD_ROWS * itemsize + 32 * 4 * _FLOAT)
    if options is not None and options.tells_errors:
        fixed += _of_told_errors(pair, bands, drawn=options.samples > 0)
    if config is None or tiling is None:
        return MemoryEstimate(fixed, 0.0)
    fixed += _TORCH
    tile = tiling.rows[0].tiles[0]
    k, pixels = config.hsi_channels, tile.height * tile.width
    fixed += _ROW_COPIES * math.prod(tiling.row_shape(k)) * _FLOAT
    inputs = config.channels + config.guidance_channels + 1 + 2 * k
    width = config.width or config.channels
    return MemoryEstimate(fixed, _FLOAT * pixels * (_PREPARED * inputs + _MAPS * width))


def _of_kriging(channels: int, msi: int) -> float:
    """Values that the fit of kriging holds for each LR pixel."""
    return _WEIGHT_COPIES * _LANDMARKS * channels / _NODE_SPACING**2 + _SLOPE_TERMS * channels * msi


def _of_told_errors(pair: PairReader, bands: int, drawn: bool) -> float:
    """Bytes for an uncertainty's deviations, or for draws as well, one after the other."""
    place, m, k = pair.alignment, pair.msi_info.bands.count, min(_CHANNELS, bands)
    lr, width = place.lr_window, place.hr_window.width
    sides = (
        min(_EXCERPT_SIDE, side) * axis.ratio
        for side, axis in ((lr.height, place.rows), (lr.width, place.cols))
    )
    needed = 2 * _LANDMARKS * math.prod(sides)
    needed += (_EXPANDED_COPIES + _DRAWN_COPIES * drawn) * bands * ROWS_AT_ONCE * width
    if drawn:
        nodes = math.prod(side / _NODE_SPACING + 2 * _COLOUR_MARGIN for side in (lr.height, lr.width))
        pixels = math.prod(side + 2 * _SLOPE_MARGIN for side in (lr.height, lr.width))
        needed += _COLOUR_COPIES * _LANDMARKS * k * nodes + _SLOPE_COPIES * k * m * pixels
    return _FLOAT * needed


def choose_batch_size(
    estimate: MemoryEstimate, asked: int | None, max_memory: int | None, threads: int = 1
) -> int:
    """The tiles run at a time: as asked, else up to 4, or one for each of the `threads`, as the memory allows.

    Without a limit by the user it is what the machine has free, and one tile is always tried. Raises UsageError
    where the user's limit does not hold what is asked, or a single tile.
    """
    limit = max_memory if max_memory is not None else free_memory()
    wanted = asked or max(MOST_TILES, threads)
    least = asked or 1
    if max_memory is not None and estimate.of(least) > max_memory:
        ways = "--batch-size, --tile or --bounds" if asked else "--tile or --bounds"
        raise UsageError(
            f"--max-memory {readable(max_memory)}: about {readable(estimate.of(least))} are needed with "
            f"{least} {'tile' if least == 1 else 'tiles'} at a time: allow as much, or give a smaller {ways}"
        )
    if asked or limit is None or not estimate.each_tile:
        return wanted
    return max(1, min(wanted, int((limit - estimate.fixed) // estimate.each_tile)))


def free_memory() -> int | None:
    """Bytes that the machine, or the container, has left; None where the system does not tell."""
    known = [free for free in (_machine_free(), _container_free()) if free is not None]
    return min(known) if known else None


def refuse_full_disk(target: Path, spec: RasterSpec, journal_bytes: int) -> None:
    """Raise WriteError where the disk cannot hold the output and what is kept of the run meanwhile.

    An uncompressed output needs its size; of a compressed one no less than a tenth is assumed, of a COG,
    which is copied, twice that. More may be needed: then writing fails, and the old output stays.
    """
    try:
        free = shutil.disk_usage(target.absolute().parent).free
    except OSError:
        return
    needed = journal_bytes + output_share(spec) * uncompressed_bytes(spec)
    if free < needed:
        raise WriteError(
            f"{target}: {readable(free)} free on its disk, at least {readable(needed)} are needed: make room, or "
            "name an output elsewhere"
        )


def uncompressed_bytes(spec: RasterSpec) -> int:
    """Size of the output's pixels."""
    return spec.bands.count * spec.grid.height * spec.grid.width * np.dtype(spec.dtype).itemsize


def output_share(spec: RasterSpec) -> float:
    """The least that an output takes on the disk, as a share of its pixels' size."""
    if spec.driver == "ENVI" or _option(spec.creation_options, "COMPRESS") == "NONE":
        return 1.0
    return 2 * _PACKED if spec.driver == "COG" else _PACKED


def readable(size: float) -> str:
    """A size as a person writes it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _option(options: Mapping[str, str], name: str) -> str:
    return next((value.upper() for key, value in options.items() if key.upper() == name), "")


def _machine_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _container_free() -> int | None:
    """Memory that a control group (version 2) leaves, in bytes; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        return limit - int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
