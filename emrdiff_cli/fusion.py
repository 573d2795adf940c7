"""Use case: LR-HSI + HR-MSI (+ a sampler) -> fused raster, tile by tile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli import __version__
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.conditioning import Channels, TileInputs, hsi_correction, tile_inputs
from emrdiff_cli.core.coverage import covered_by_correlation, covered_by_wavelengths
from emrdiff_cli.core.end_point import Method, evaluate_tile
from emrdiff_cli.core.grid import bounds_window
from emrdiff_cli.core.resampling import apply_taps
from emrdiff_cli.core.tiling import Mosaic, tile_windows
from emrdiff_cli.coregistration import register
from emrdiff_cli.errors import ModelError, UsageError, WriteError
from emrdiff_cli.pairing import PairReader, open_pair, refuse_inputs_as_output
from emrdiff_cli.prepared_scene import PreparedScene, Sampler
from emrdiff_cli.raster.writing import RASTER_DTYPES, RasterSpec, VerifiedWriter
from emrdiff_cli.scene import Bands, Grid, RasterInfo, Window

Field = NDArray[np.float32]
Progress = Callable[[float, float], None]

_OVERLAP = 32  # beyond which a tile's edge is not felt: 0.1 % of the data range at most
_ROWS_AT_ONCE = 32  # rows expanded to all bands and handed to the writer at a time


@dataclass(frozen=True)
class FusionOptions:
    """How a scene is cut and what is written; `tile_size` says what `tile` 0 and `overlap` None stand for.

    `bounds`: left, bottom, right, top in the MSI's CRS of the part that is written; None: all. `coregister`:
    move the LR-HSI's grid by the displacement that the pair itself tells; without, warn of a large one.
    """

    tile: int = 0
    overlap: int | None = None
    batch_size: int = 4
    driver: Literal["GTiff", "ENVI"] = "GTiff"
    dtype: str | None = None
    overwrite: bool = False
    bounds: tuple[float, float, float, float] | None = None
    coregister: bool = False
    creation_options: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tile < 0 or self.batch_size < 1:
            raise UsageError(f"tile = {self.tile} and batch size = {self.batch_size} must be positive")
        if self.dtype is not None and self.dtype not in RASTER_DTYPES:
            raise UsageError(f"dtype {self.dtype!r}: must be one of {', '.join(RASTER_DTYPES)}")


@dataclass(frozen=True)
class FusionReport:
    """What was done: printed as text and as JSON. `shift_lr_px`: what the LR-HSI was moved by, down and right."""

    output: str
    method: str
    bands: int
    height: int
    width: int
    ratio: float
    tiles: int
    local_window: tuple[float, float] | None
    valid_share: float
    clipped_values: int
    seconds: float
    shift_lr_px: tuple[float, float]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def fuse(
    lr_path: Path,
    msi_path: Path,
    output: Path,
    method: Method,
    sampler: Sampler | None,
    options: FusionOptions,
    progress: Progress | None = None,
) -> FusionReport:
    """Fuse a pair on the MSI's grid; with a sampler its model's end point and chain, else `method` alone.

    The output changes only when everything is written and verified. Raises EmrdiffError's children.
    """
    started = time.monotonic()
    with open_pair(lr_path, msi_path) as pair:
        refuse_inputs_as_output(output, pair.lr_info, pair.msi_info)
        if sampler is not None:
            check_fit(sampler.config, pair.lr_info, pair.msi_info)
        registration = register(pair, options.coregister)
        pair = pair.moved(registration.move)
        options = replace(options, provenance=options.provenance | registration.tags)
        spec = output_spec(pair, method if sampler is None else "emrdiff", options)
        area = output_area(pair, options)
        VerifiedWriter(output, spec, options.overwrite)  # refuses what cannot be written, before any work
        scene = PreparedScene(pair, method, sampler)
        with VerifiedWriter(output, _with_detail(spec, scene), options.overwrite) as writer:
            valid = 0
            rows = (
                _plain_rows(scene, area) if sampler is None else _sampled_rows(scene, sampler, options, area)
            )
            for top, correction in rows:
                for values in _expanded(scene, area, top, correction):
                    valid += int(np.isfinite(values).any(axis=0).sum())
                    writer.append(values)
                if progress is not None:
                    progress(writer.rows_written, area.height)
        window = scene.end.window
    return FusionReport(
        output=str(output),
        method=method if sampler is None else "emrdiff",
        bands=spec.bands.count,
        height=area.height,
        width=area.width,
        ratio=round(pair.alignment.ratio, 6),
        tiles=0 if sampler is None else len(_windows_over(area, pair, sampler.config, options)),
        local_window=None if window is None else (window.sigma, window.ridge),
        valid_share=valid / (area.height * area.width),
        clipped_values=writer.clipped,
        seconds=round(time.monotonic() - started, 3),
        shift_lr_px=registration.move,
        notes=(*pair.notes, *registration.notes),
        warnings=registration.warnings,
    )


def plan(
    lr_path: Path,
    msi_path: Path,
    output: Path,
    config: ModelConfig | None,
    method: str,
    options: FusionOptions,
) -> dict[str, Any]:
    """What `fuse` would do, without reading a pixel."""
    if not output.absolute().parent.is_dir():
        raise WriteError(f"{output}: the folder is not there: make it first")
    with open_pair(lr_path, msi_path) as pair:
        refuse_inputs_as_output(output, pair.lr_info, pair.msi_info)
        spec = output_spec(pair, method, options)
        area = output_area(pair, options)
    height, width, bands = area.height, area.width, spec.bands.count
    tiles = 0 if config is None else len(_windows_over(area, pair, config, options))
    origin = pair.alignment.hr_window
    return {
        "output": str(output),
        "method": method,
        "bands": bands,
        "height": height,
        "width": width,
        "ratio": round(pair.alignment.ratio, 6),
        "hr_window": area._replace(row=area.row + origin.row, col=area.col + origin.col)._asdict(),
        "tiles": tiles,
        "dtype": spec.dtype,
        "notes": list(pair.notes),
        "uncompressed_bytes": bands * height * width * np.dtype(spec.dtype).itemsize,
    }


def check_fit(config: ModelConfig, lr: RasterInfo, msi: RasterInfo) -> None:
    """Raise ModelError when a model cannot work on these bands."""
    if config.msi_bands != msi.bands.count:
        raise ModelError(
            f"the model takes {config.msi_bands} MSI bands, {msi.path} has {msi.bands.count}: "
            "choose another model (`emrdiff models`) or train one (`emrdiff train --scene`)"
        )
    if config.fixed_bands and config.hsi_bands != lr.bands.count:
        raise ModelError(
            f"the model takes {config.hsi_bands} HSI bands, {lr.path} has {lr.bands.count}: "
            "choose another model (`emrdiff models`) or train one (`emrdiff train --scene`)"
        )


def output_spec(pair: PairReader, method: str, options: FusionOptions) -> RasterSpec:
    """The fused raster: the HSI's bands and units on the MSI's grid, with its provenance in the tags."""
    info = pair.lr_info
    dtype = options.dtype or info.dtype
    tags = {
        "emrdiff_version": __version__,
        "emrdiff_method": method,
        "emrdiff_ratio": f"{pair.alignment.ratio:.6g}",
        "emrdiff_lr_hsi": pair.lr_info.path.name,
        "emrdiff_hr_msi": pair.msi_info.path.name,
        **options.provenance,
    }
    return RasterSpec(
        grid=_common_grid(pair).crop(output_area(pair, options)),
        bands=Bands(
            info.bands.count,
            info.bands.wavelengths_nm,
            info.bands.fwhm_nm,
            info.bands.good,
            info.bands.names,
        ),
        dtype=dtype,
        nodata=info.nodata if info.nodata is not None and dtype == info.dtype else _nodata(dtype),
        scale=info.scale,
        offset=info.offset,
        scale_recorded=info.scale_recorded,
        driver=options.driver,
        tags=tags,
        creation_options=options.creation_options,
    )


def _with_detail(spec: RasterSpec, scene: PreparedScene) -> RasterSpec:
    """The spec with each band's tag: its spatial detail is `covered` by an MSI band, or `extrapolated`.

    By wavelengths and FWHM where both rasters record them, else by the bands' correlation at LR.
    """
    covered = covered_by_wavelengths(scene.pair.lr_info.bands, scene.pair.msi_info.bands)
    source = "correlation" if covered is None else "wavelengths"
    bands = {band for under in covered or covered_by_correlation(scene.lr) for band in under}
    values = ["covered" if band + 1 in bands else "extrapolated" for band in range(spec.bands.count)]
    tags = {**spec.tags, "emrdiff_detail_by": source}
    return replace(spec, tags=tags, band_tags={"emrdiff_detail": values})


def output_area(pair: PairReader, options: FusionOptions) -> Window:
    """The part of the common ground that is written; raises GridError where the bounds hold none of it."""
    common = _common_grid(pair)
    if options.bounds is None:
        return Window(0, 0, common.height, common.width)
    return bounds_window(common, options.bounds)


def _common_grid(pair: PairReader) -> Grid:
    return pair.msi_info.grid.crop(pair.alignment.hr_window)


def tile_size(config: ModelConfig, options: FusionOptions) -> tuple[int, int]:
    """Tile side and overlap in HR pixels.

    With settled gates a tile may be larger than the training patch, and is: less of it lies near an edge.
    """
    size = options.tile or config.tile * (2 if config.gates == "training" else 1)
    if size % config.stride:
        raise UsageError(f"tile = {size}: this model needs a multiple of {config.stride}")
    most = min(size // 2, size - config.stride)
    overlap = min(max(size // 4, _OVERLAP), most) if options.overlap is None else options.overlap
    if not 0 <= overlap <= most:
        raise UsageError(f"overlap = {overlap}: must be between 0 and {most} at tile = {size}")
    return size, overlap


def _plain_rows(scene: PreparedScene, area: Window) -> Iterator[tuple[int, Field]]:
    """Without a sampler nothing is added to the end point."""
    k = len(scene.end.fields.base)
    for top in range(area.row // _ROWS_AT_ONCE * _ROWS_AT_ONCE, area.rows.stop, _ROWS_AT_ONCE):
        yield top, np.zeros((k, min(_ROWS_AT_ONCE, scene.height - top), scene.width), np.float32)


def _sampled_rows(
    scene: PreparedScene, sampler: Sampler, options: FusionOptions, area: Window
) -> Iterator[tuple[int, Field]]:
    """Blended corrections (k, n, W) of finished rows, top to bottom; batches do not cross tile rows.

    The tiles are those of the whole scene that reach into the area, so that it comes out as in the whole.
    """
    config = sampler.config
    channels = scene.channels
    windows = _windows_over(area, scene.pair, config, options)
    size, overlap = tile_size(config, options)
    height, width = _padded(scene.height, config), _padded(scene.width, config)
    mosaic = Mosaic(config.hsi_channels, height, width, size, overlap, windows=windows, power=2)
    origin = scene.pair.alignment.hr_window
    top = windows[0].row
    for batch in _batches(windows, options.batch_size):
        inputs = [_inputs(scene, config, channels, window) for window in batch]
        corners = [(origin.row + window.row, origin.col + window.col) for window in batch]
        for window, tile, estimate in zip(batch, inputs, sampler(inputs, corners), strict=True):
            rows = mosaic.add(window, hsi_correction(config, channels, estimate, tile.end_point))
            if rows is not None:
                kept = np.asarray(rows[:, : scene.height - top, : scene.width], np.float32)
                yield top, kept
                top += kept.shape[1]


def _windows_over(
    area: Window, pair: PairReader, config: ModelConfig, options: FusionOptions
) -> list[Window]:
    """The tiles that reach into an area, with corners on the network's stride, over the scene in whole strides.

    So every tile is decimated in the same phase, and a pixel comes out the same from any of them.
    """
    size, overlap = tile_size(config, options)
    scene = pair.alignment.hr_window
    height, width = _padded(scene.height, config), _padded(scene.width, config)
    windows = tile_windows(height, width, size, overlap, config.stride)
    return [window for window in windows if _overlap(window, area)]


def _overlap(one: Window, other: Window) -> bool:
    rows = max(one.row, other.row) < min(one.rows.stop, other.rows.stop)
    cols = max(one.col, other.col) < min(one.cols.stop, other.cols.stop)
    return bool(rows and cols)


def _padded(length: int, config: ModelConfig) -> int:
    return -(-length // config.stride) * config.stride


def _batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    batch: list[Window] = []
    for window in windows:
        if batch and (len(batch) == size or window.row != batch[0].row):
            yield batch
            batch = []
        batch.append(window)
    yield batch


def _inputs(scene: PreparedScene, config: ModelConfig, channels: Channels, window: Window) -> TileInputs:
    around = scene.pair.read_msi_around(window)
    return tile_inputs(
        config, scene.end, channels, scene.seen.edge_range, around, scene.resampling.up_part(window)
    )


def _expanded(scene: PreparedScene, area: Window, top: int, correction: Field) -> Iterator[Field]:
    """The area's share of rows, end point plus correction in all bands; NaN where there is nothing to fuse.

    Worked out for whole rows, in blocks that do not depend on the area: sums are rounded as in the whole.
    """
    for start in range(0, correction.shape[1], _ROWS_AT_ONCE):
        part = correction[:, start : start + _ROWS_AT_ONCE]
        window = Window(top + start, 0, part.shape[1], scene.width)
        first, last = max(window.row, area.row), min(window.rows.stop, area.rows.stop)
        if last <= first:
            continue
        msi, msi_valid = scene.pair.read_msi(window)
        up = scene.resampling.up_part(window)
        tile = evaluate_tile(scene.end.fields, msi, *up)
        values = scene.end.basis.expand(tile.values + part)
        if scene.end.outside is not None:
            values += apply_taps(scene.end.outside, *up)
        rows, cols = scene.pair.nearest_lr
        valid = msi_valid & scene.lr_valid[rows[window.rows]][:, cols]
        values[:, ~valid] = np.nan
        values[scene.dead] = np.nan
        yield values[:, first - window.row : last - window.row, area.cols]


def _nodata(dtype: str) -> float | None:
    """A nodata value for a dtype whose input declares none: NaN, or the end of the range away from zero."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind == "f":
        return float("nan")
    limits = np.iinfo(kind)
    return float(limits.min if limits.min < 0 else limits.max)
