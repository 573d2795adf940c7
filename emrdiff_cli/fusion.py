"""Use case: LR-HSI + HR-MSI (+ a sampler) -> fused raster, tile by tile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli import __version__
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.conditioning import (
    Calibration,
    Channels,
    TileInputs,
    calibrate,
    hsi_correction,
    tile_inputs,
    usual_levels,
)
from emrdiff_cli.core.end_point import Method, evaluate_tile
from emrdiff_cli.core.holes import mend
from emrdiff_cli.core.observation import LrScene, Observation, observe_msi
from emrdiff_cli.core.resampling import apply_taps
from emrdiff_cli.core.scene_end_point import SceneEndPoint, choose_basis, find_end_point
from emrdiff_cli.core.tiling import Mosaic, tile_windows
from emrdiff_cli.errors import ModelError, UsageError, WriteError
from emrdiff_cli.pairing import PairReader, open_pair, refuse_inputs_as_output
from emrdiff_cli.raster.writing import RASTER_DTYPES, RasterSpec, VerifiedWriter
from emrdiff_cli.scene import Bands, RasterInfo, Window

Field = NDArray[np.float32]
Progress = Callable[[float, float], None]

_LOCAL_COMPONENTS = 32
_UNIT_FACTOR = 20.0  # values further off than that are in other units than the model's
_OVERLAP = 32  # beyond which a tile's edge is not felt: 0.1 % of the data range at most
_ROWS_AT_ONCE = 32  # rows expanded to all bands and handed to the writer at a time


class Sampler(Protocol):
    """Runs the chain on a batch of tiles; corners are absolute (row, column) on the MSI's raster."""

    config: ModelConfig
    calibration: Calibration | None

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Field]:
        """Return the estimate of X'_0 of each tile, relative to the chain's end."""


@dataclass(frozen=True)
class FusionOptions:
    """How a scene is cut and what is written; `tile_size` says what `tile` 0 and `overlap` None stand for."""

    tile: int = 0
    overlap: int | None = None
    batch_size: int = 4
    driver: Literal["GTiff", "ENVI"] = "GTiff"
    dtype: str | None = None
    overwrite: bool = False
    creation_options: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tile < 0 or self.batch_size < 1:
            raise UsageError(f"tile = {self.tile} and batch size = {self.batch_size} must be positive")
        if self.dtype is not None and self.dtype not in RASTER_DTYPES:
            raise UsageError(f"dtype {self.dtype!r}: must be one of {', '.join(RASTER_DTYPES)}")


@dataclass(frozen=True)
class FusionReport:
    """What was done: printed as text and as JSON."""

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
    notes: tuple[str, ...]


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
        spec = output_spec(pair, method if sampler is None else "emrdiff", options)
        with VerifiedWriter(output, spec, options.overwrite) as writer:
            scene = _Scene(pair, method, sampler)
            valid = 0
            rows = _plain_rows(scene) if sampler is None else _sampled_rows(scene, sampler, options)
            for top, correction in rows:
                for values in _expanded(scene, top, correction):
                    valid += int(np.isfinite(values).any(axis=0).sum())
                    writer.append(values)
                if progress is not None:
                    progress(top + correction.shape[1], scene.height)
        window = scene.end.window
    return FusionReport(
        output=str(output),
        method=method if sampler is None else "emrdiff",
        bands=spec.bands.count,
        height=scene.height,
        width=scene.width,
        ratio=round(pair.alignment.ratio, 6),
        tiles=0
        if sampler is None
        else len(_aligned_windows(scene.height, scene.width, sampler.config, options)),
        local_window=None if window is None else (window.sigma, window.ridge),
        valid_share=valid / (scene.height * scene.width),
        clipped_values=writer.clipped,
        seconds=round(time.monotonic() - started, 3),
        notes=pair.notes,
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
        area = pair.alignment.hr_window
    height, width, bands = area.height, area.width, spec.bands.count
    tiles = 0 if config is None else len(_aligned_windows(height, width, config, options))
    return {
        "output": str(output),
        "method": method,
        "bands": bands,
        "height": height,
        "width": width,
        "ratio": round(pair.alignment.ratio, 6),
        "hr_window": area._asdict(),
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
        grid=pair.msi_info.grid.crop(pair.alignment.hr_window),
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


class _Scene:
    """Everything scene-wide, computed once from the pair."""

    def __init__(self, pair: PairReader, method: Method, sampler: Sampler | None) -> None:
        self.pair = pair
        self.height, self.width = pair.alignment.hr_window.height, pair.alignment.hr_window.width
        self.resampling = pair.resampling
        hsi, self.lr_valid, self.dead = mend(pair.read_lr())
        self.seen: Observation = observe_msi(pair.strips, self.resampling.down)
        self.lr = LrScene(hsi, self.seen.msi_at_lr, self.lr_valid & self.seen.covered)
        self.calibration = None if sampler is None else _calibration(sampler, self.lr)
        if self.calibration is None:
            basis = choose_basis(self.lr, _local_subspace(method, self.lr))
        else:
            basis = self.calibration.basis
        end_point = method if sampler is None else sampler.config.end_point
        self.end: SceneEndPoint = find_end_point(self.lr, pair.strips, self.resampling, end_point, basis)

    @property
    def channels(self) -> Channels:
        """Shift, scale and unit of the chain's channels."""
        if self.calibration is None:
            raise ValueError("a scene fused without a sampler has no channels")
        return self.calibration.channels


def _plain_rows(scene: _Scene) -> Iterator[tuple[int, Field]]:
    """Without a sampler nothing is added to the end point."""
    k = len(scene.end.fields.base)
    for top in range(0, scene.height, _ROWS_AT_ONCE):
        yield top, np.zeros((k, min(_ROWS_AT_ONCE, scene.height - top), scene.width), np.float32)


def _sampled_rows(scene: _Scene, sampler: Sampler, options: FusionOptions) -> Iterator[tuple[int, Field]]:
    """Blended corrections (k, n, W) of finished rows, top to bottom; batches do not cross tile rows."""
    config = sampler.config
    channels = scene.channels
    windows = _aligned_windows(scene.height, scene.width, config, options)
    size, overlap = tile_size(config, options)
    height, width = _padded(scene.height, config), _padded(scene.width, config)
    mosaic = Mosaic(config.hsi_channels, height, width, size, overlap, windows=windows, power=2)
    origin = scene.pair.alignment.hr_window
    top = 0
    for batch in _batches(windows, options.batch_size):
        inputs = [_inputs(scene, config, channels, window) for window in batch]
        corners = [(origin.row + window.row, origin.col + window.col) for window in batch]
        for window, tile, estimate in zip(batch, inputs, sampler(inputs, corners), strict=True):
            rows = mosaic.add(window, hsi_correction(config, channels, estimate, tile.end_point))
            if rows is not None:
                kept = np.asarray(rows[:, : scene.height - top, : scene.width], np.float32)
                yield top, kept
                top += kept.shape[1]


def _aligned_windows(height: int, width: int, config: ModelConfig, options: FusionOptions) -> list[Window]:
    """Tiles with corners on the network's stride, over the scene extended to whole strides.

    So every tile is decimated in the same phase, and a pixel comes out the same from any of them.
    """
    size, overlap = tile_size(config, options)
    return tile_windows(_padded(height, config), _padded(width, config), size, overlap, config.stride)


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


def _inputs(scene: _Scene, config: ModelConfig, channels: Channels, window: Window) -> TileInputs:
    around = scene.pair.read_msi_around(window)
    return tile_inputs(
        config, scene.end, channels, scene.seen.edge_range, around, scene.resampling.up_part(window)
    )


def _expanded(scene: _Scene, top: int, correction: Field) -> Iterator[Field]:
    """The rows' end point plus correction in all bands, NaN where there is nothing to fuse."""
    for start in range(0, correction.shape[1], _ROWS_AT_ONCE):
        part = correction[:, start : start + _ROWS_AT_ONCE]
        window = Window(top + start, 0, part.shape[1], scene.width)
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
        yield values


def _calibration(sampler: Sampler, scene: LrScene) -> Calibration:
    """The model's calibration, or the scene's own; raises ModelError when the values are in other units."""
    if sampler.calibration is None:
        return calibrate(sampler.config, [scene])
    usual = usual_levels(sampler.calibration)
    for name, values, level in zip(("LR-HSI", "HR-MSI"), (scene.hsi, scene.msi), usual, strict=True):
        found = float(np.abs(values[:, scene.valid]).mean()) if scene.valid.any() else level
        if not level / _UNIT_FACTOR <= found <= level * _UNIT_FACTOR:
            raise ModelError(
                f"the {name}'s values are on average {found:.3g}, those the model was trained on {level:.3g}: "
                "they seem to be in other units; record the scale in the file (reflectance scale factor or GDAL's)"
            )
    return sampler.calibration


def _local_subspace(method: Method, scene: LrScene) -> int:
    """`glp-local` alone on many bands regresses their leading components; the rest is upsampled."""
    size = min(_LOCAL_COMPONENTS, int(scene.valid.sum()) - 1)
    return size if method == "glp-local" and 0 < size < len(scene.hsi) else 0


def _nodata(dtype: str) -> float | None:
    """A nodata value for a dtype whose input declares none: NaN, or the end of the range away from zero."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind == "f":
        return float("nan")
    limits = np.iinfo(kind)
    return float(limits.min if limits.min < 0 else limits.max)
