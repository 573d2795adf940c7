"""The uncertainty of a fusion by kriging: a raster of standard deviations on the output's grid, and their mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.interval_scale import Excerpt, find_interval_scale
from emrdiff_cli.core.evidence.uncertainty import BandVariances, IntervalScale, edge_magnitude
from emrdiff_cli.core.methods.end_point import DetailInjection
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene, Resampling
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.options import FusionOptions, uncertainty_files
from emrdiff_cli.fusion.prepared_scene import PreparedScene
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Window
from emrdiff_cli.runtime.interruption import safe_point

Field = NDArray[np.float32]

METHOD = "kriging"
"""The one method whose errors have a posterior."""

SCALE_TAG = "emrdiff_interval_scale"

_ROWS = 32  # expanded to all bands at a time
_EXCERPT = 24  # LR pixels along a side on which MSI bands are held out
_HELD_OUT = 4  # MSI bands at most


def refuse_uncertainty(
    pair: PairReader, output: Path, method: str, spec: RasterSpec, options: FusionOptions
) -> None:
    """Refuse an uncertainty that cannot be told or written, or would replace another file, before any work.

    Raises UsageError, OutputExistsError, WriteError.
    """
    if options.uncertainty is None:
        return
    if method != METHOD:
        raise UsageError(
            f"--uncertainty: only kriging tells how far it may be off, and this is {method}: give --method kriging"
        )
    outputs = [*files_written(output, options.driver_for(output), options.creation_options)]
    outputs += [] if options.changed is None else [options.changed]
    for path, described in zip(uncertainty_files(options.uncertainty), _specs(spec), strict=True):
        written = files_written(path, described.driver, {})
        refuse_inputs_as_outputs(written, [pair.lr_info.path, pair.msi_info.path])
        refuse_inputs_as_outputs([path], outputs)
        VerifiedWriter(path, described, options.overwrite)


def write_uncertainty(
    scene: PreparedScene, area: Window, spec: RasterSpec, options: FusionOptions
) -> IntervalScale:
    """Write the standard deviations of a scene fused by kriging, and their mean over the bands.

    `spec` is the output's, `area` what it covers of the scene. NaN where the output has nothing, and in bands that
    were passed through. Raises OutputExistsError, WriteError.
    """
    if options.uncertainty is None:
        raise ValueError("no place for the uncertainty was given")
    told = _Told.of(scene)
    by_band, mean = _specs(spec, told.scale, scene)
    files = uncertainty_files(options.uncertainty)
    with (
        VerifiedWriter(files[0], by_band, options.overwrite) as writer,
        VerifiedWriter(files[1], mean, options.overwrite) as of_mean,
    ):
        for rows in told.rows(area):
            safe_point()
            writer.append(rows)
            of_mean.append(_mean(rows, scene.fused))
    return told.scale


@dataclass(frozen=True)
class _Told:
    """What a scene's uncertainty is worked out from; `spread` (m,) of the MSI's bands."""

    scene: PreparedScene
    variances: BandVariances
    scale: IntervalScale
    spread: Field

    @classmethod
    def of(cls, scene: PreparedScene) -> _Told:
        pair, lr = scene.pair, _lr_scene(scene)
        variances = BandVariances.of_scene(lr, pair.strips, scene.resampling, scene.end.basis)
        place = pair.alignment
        scale = find_interval_scale(
            lr, _excerpt(scene, lr), pair.psf, (place.rows.ratio, place.cols.ratio), _HELD_OUT
        )
        return cls(scene, variances, scale, lr.msi[:, lr.valid].std(axis=1))

    def rows(self, area: Window) -> Iterator[Field]:
        """The area's rows, some at a time, in all bands (B, n, width)."""
        scene = self.scene
        for window in self.variances.posterior.windows():
            first, last = max(window.row, area.row), min(window.rows.stop, area.rows.stop)
            if last <= first:
                continue
            around = scene.pair.read_msi_around(window)
            _, msi_valid = scene.pair.read_msi(window)
            channels = self.variances.posterior.variances(around[:, 1:-1, 1:-1], window)
            magnitude = edge_magnitude(around, self.spread)
            rows, cols = scene.pair.nearest_lr
            valid = msi_valid & scene.lr_valid[rows[window.rows]][:, cols]
            for top in range(first, last, _ROWS):
                part = slice(top - window.row, min(top + _ROWS, last) - window.row)
                fused = self.variances.deviation(channels[:, part], self.scale, magnitude[part])
                every = np.full((scene.band_count, *fused.shape[1:]), np.nan, np.float32)
                every[scene.fused] = fused
                every[scene.passed.bands] = np.nan
                every[:, ~valid[part]] = np.nan
                yield every[:, :, area.cols]


def _lr_scene(scene: PreparedScene) -> LrScene:
    """The scene at LR as it was fitted, but for a constant in each band."""
    end, ground = scene.end, scene.ground
    if not isinstance(end.fitted, DetailInjection):
        raise TypeError(f"{end.method} has no scene-wide map")
    coefficients = end.unexplained + np.tensordot(end.fitted.slopes, end.msi, axes=1)
    hsi = end.basis.expand(coefficients)
    if end.outside is not None:
        hsi = hsi + end.outside
    changed = ground.changed if ground.changed.any() else None
    return LrScene(hsi, end.msi, ground.compared & ~ground.changed, changed)


def _excerpt(scene: PreparedScene, lr: LrScene) -> Excerpt:
    """The middle of the scene, with its MSI."""
    pair, place = scene.pair, scene.pair.alignment
    rows, hr_rows, placed_rows = _middle(place.rows, lr.valid.shape[0], scene.height)
    cols, hr_cols, placed_cols = _middle(place.cols, lr.valid.shape[1], scene.width)
    window = Window(hr_rows.start, hr_cols.start, hr_rows.stop - hr_rows.start, hr_cols.stop - hr_cols.start)
    msi, valid = pair.read_msi(window)
    part = replace(
        lr,
        hsi=lr.hsi[:1, rows, cols],
        msi=lr.msi[:, rows, cols],
        valid=lr.valid[rows, cols],
        changed=None if lr.changed is None else lr.changed[rows, cols],
    )
    resampling = Resampling.between(
        placed_rows, placed_cols, part.valid.shape, (window.height, window.width), pair.psf
    )
    return Excerpt(part, msi, valid, resampling)


def _middle(axis: AxisPlacement, n_lr: int, n_hr: int) -> tuple[slice, slice, AxisPlacement]:
    """The middle LR pixels of an axis, the HR pixels that they cover, and how they lie on those."""
    count = min(n_lr, _EXCERPT)
    first = (n_lr - count) // 2
    begin, end = (axis.offset + axis.ratio * edge for edge in (first, first + count))
    hr = slice(max(0, int(np.floor(begin))), min(n_hr, int(np.ceil(end))))
    return slice(first, first + count), hr, AxisPlacement(axis.ratio, begin - hr.start)


def _specs(
    spec: RasterSpec, scale: IntervalScale | None = None, scene: PreparedScene | None = None
) -> tuple[RasterSpec, RasterSpec]:
    """The rasters of all bands and of their mean, in the output's units; with what is known of their scale."""
    tags, band_tags = dict(spec.tags), dict(spec.band_tags)
    tags["emrdiff_uncertainty"] = "standard deviation; 1.645 of it on both sides hold 90 % of the errors"
    if scale is not None and scene is not None:
        by_band = np.full(scene.band_count, np.nan)
        by_band[scene.fused] = scale.bands
        band_tags[SCALE_TAG] = [f"{factor:.3f}" for factor in by_band]
        tags |= {
            "emrdiff_interval_scale_by": ", ".join(scale.by),
            "emrdiff_interval_edge_scale": ",".join(f"{factor:.3f}" for factor in scale.by_edge),
            "emrdiff_interval_half": f"{scale.half:.3f}",
        }
    by_band_spec = replace(
        spec,
        dtype="float32",
        nodata=float("nan"),
        offset=0.0,
        driver="GTiff",
        tags=tags,
        band_tags=band_tags,
        creation_options={},
    )
    mean = replace(by_band_spec, bands=Bands(1, names=("mean of the bands",)), band_tags={})
    return by_band_spec, mean


def _mean(rows: Field, fused: NDArray[np.intp]) -> Field:
    """The mean (1, n, W) over the bands that were fused."""
    return np.asarray(rows[fused].mean(axis=0, dtype=np.float64)[None], np.float32)
