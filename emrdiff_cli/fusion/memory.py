"""Memory and room on the disk that a fusion needs, told before the work."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.core.subspace import BANDS_AT_ONCE
from emrdiff_cli.errors import UsageError, WriteError
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.output import VALUES_AT_ONCE
from emrdiff_cli.fusion.row_blocks import rows_at_once
from emrdiff_cli.fusion.tile_rows import Tiling
from emrdiff_cli.methods import AUTO, FAVOURITE
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, LR_STRIP, PairReader
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.runtime.scratch_file import SMALL

MOST_TILES = 4  # at a time, where nothing else is asked for

_FLOAT = 4  # bytes
_PROGRAM = 175e6  # Python with GDAL,
_TORCH = 300e6  # and what torch adds
_READING_COPIES = 3  # of a strip of the LR-HSI in float32, while it is read
_CHANGE_VALUES, _CHANGE_COPIES = 50, 24  # by LR pixel and by its MSI band, while changed ground is looked for
_KRIGING_COPIES = 10  # of the channels that are kriged and of the MSI's, at LR, while a fit is made;
_FIT_COPIES, _FIT_MSI_COPIES = 2, 30  # of all bands and of the MSI's, by another method,
_MODEL_COPIES = 4  # and more of all bands for a model
_WRITING_MSI_COPIES = 10  # of the MSI's bands at LR, while rows are written
_HELD_ROWS, _HELD_BYTES = 256, 2**26  # of the output, in the writer
_ROW_COPIES = 6  # of a tile row's corrections, on their way to the writer
_PREPARED = 3  # batches: one in the network, two ahead
_MAPS = 48  # of the network's width, float32, that it holds of a tile
_STORED_BLOCKS = 3  # of rows in all bands, as they are stored, on the way to the writer,
_GROUP_COPIES, _DETAIL_COPIES = 6, 12  # of the bands that are expanded together, and of a block's channels,
_EXPANDED_COPIES = 10  # of a block in all bands while deviations are worked out,
_DRAWN_COPIES = 6  # and more for a draw
_EXCERPT_SIDE, _LANDMARKS = (
    24,
    192,
)  # LR pixels on which MSI bands are held out, with so many functions of colour
_CHANNELS = 32  # that are kriged, at most
_LR_FILES, _CHANNEL_FILES = 3, 6  # copies of the LR-HSI and of the channels in files, at a time
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
    evaluator: Evaluator = ON_PROCESSOR,
) -> MemoryEstimate:
    """The peak: of the scene only a part of what is at LR grows with its height, the rest lies in files.

    `method`: the one that is run, of a model its end point counts. `options`: whether errors are told; `evaluator`:
    whether it loads torch.
    """
    end = method if config is None else config.end_point
    lr, hr = pair.alignment.lr_window, pair.alignment.hr_window
    msi, bands = pair.msi_info.bands.count, spec.bands.count
    pixels = lr.height * lr.width * _FLOAT
    fixed = _PROGRAM + CACHE_MEGABYTES * 2**20 + bands * pixels * pair.holds_lr
    reading = _READING_COPIES * min(LR_STRIP, bands * pixels)
    at_lr = max(_CHANGE_VALUES + _CHANGE_COPIES * msi, _of_fit(end, bands, msi))
    if config is not None:
        at_lr += _MODEL_COPIES * bands
    fitting = at_lr * pixels + 6 * _STRIP_ROWS * hr.width * msi * _FLOAT
    row = bands * hr.width * np.dtype(spec.dtype).itemsize
    held = min(_HELD_ROWS * row, max(row, _HELD_BYTES))
    rows = rows_at_once(hr.width)
    block = rows * hr.width
    group = min(bands * block, max(VALUES_AT_ONCE, BANDS_AT_ONCE * block))
    values = _GROUP_COPIES * group + _DETAIL_COPIES * min(_CHANNELS, bands) * block
    writing = held + _STORED_BLOCKS * rows * row + values * _FLOAT
    fixed += max(reading, fitting, writing + _WRITING_MSI_COPIES * msi * pixels)
    if options is not None and options.tells_errors:
        fixed += _of_told_errors(pair, bands, drawn=options.samples > 0)
    if config is not None or evaluator is not ON_PROCESSOR:
        fixed += _TORCH
    if config is None or tiling is None:
        return MemoryEstimate(fixed, 0.0)
    tile = tiling.rows[0].tiles[0]
    k, pixels = config.hsi_channels, tile.height * tile.width
    fixed += _ROW_COPIES * math.prod(tiling.row_shape(k)) * _FLOAT
    inputs = config.channels + config.guidance_channels + 1 + 2 * k
    width = config.width or config.channels
    return MemoryEstimate(fixed, _FLOAT * pixels * (_PREPARED * inputs + _MAPS * width))


def _of_fit(end: str, bands: int, msi: int) -> float:
    """Values that the fit of an end point holds for each LR pixel."""
    if end in (AUTO, FAVOURITE):
        return _KRIGING_COPIES * (min(_CHANNELS, bands) + msi)
    return _FIT_COPIES * bands + _FIT_MSI_COPIES * msi


def scratch_bytes(pair: PairReader, method: str, config: ModelConfig | None) -> int:
    """Bytes that lie in files beside the output while a fusion runs; `method` as for `estimate_memory`."""
    end = method if config is None else config.end_point
    lr, msi, bands = pair.alignment.lr_window, pair.msi_info.bands.count, pair.lr_info.bands.count
    channels = bands if end not in (AUTO, FAVOURITE) else min(_CHANNELS, bands)
    values = [bands] * _LR_FILES + [channels] * _CHANNEL_FILES + [channels * msi]
    if end in (AUTO, FAVOURITE):
        values += [_LANDMARKS, _LANDMARKS * channels // _NODE_SPACING**2]
    sizes = [count * lr.height * lr.width * _FLOAT for count in values]
    return sum(size for size in sizes if size >= SMALL)


def _of_told_errors(pair: PairReader, bands: int, drawn: bool) -> float:
    """Bytes for an uncertainty's deviations, or for draws as well, one after the other."""
    place, m, k = pair.alignment, pair.msi_info.bands.count, min(_CHANNELS, bands)
    lr, width = place.lr_window, place.hr_window.width
    sides = (
        min(_EXCERPT_SIDE, side) * axis.ratio
        for side, axis in ((lr.height, place.rows), (lr.width, place.cols))
    )
    needed = 2 * _LANDMARKS * math.prod(sides)
    needed += (_EXPANDED_COPIES + _DRAWN_COPIES * drawn) * bands * rows_at_once(width) * width
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


def refuse_full_disk(target: Path, spec: RasterSpec, beside: int) -> None:
    """Raise WriteError where the disk cannot hold the output and, `beside` it, what is kept of the run meanwhile.

    An uncompressed output needs its size; of a compressed one no less than a tenth is assumed, of a COG,
    which is copied, twice that. More may be needed: then writing fails, and the old output stays.
    """
    try:
        free = shutil.disk_usage(target.absolute().parent).free
    except OSError:
        return
    needed = beside + output_share(spec) * uncompressed_bytes(spec)
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
