"""The uncertainty of a fusion by kriging: a raster of standard deviations on the output's grid, and their mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.uncertainty import IntervalScale
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.draws import draw_specs, write_draws
from emrdiff_cli.fusion.options import FusionOptions, uncertainty_files
from emrdiff_cli.fusion.prepared_scene import PreparedScene
from emrdiff_cli.fusion.told_errors import Told
from emrdiff_cli.methods import AUTO, FAVOURITE
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Window
from emrdiff_cli.runtime.interruption import safe_point

Field = NDArray[np.float32]

SCALE_TAG = "emrdiff_interval_scale"


def refuse_without_posterior(method: str, options: FusionOptions) -> None:
    """Raise UsageError where uncertainty is asked for of a method that cannot tell it."""
    if options.tells_errors and method not in (FAVOURITE, AUTO):
        raise UsageError(
            f"--uncertainty, --samples: kriging alone tells how far it may be off, and this is {method}: give "
            "--method kriging, or leave --method and --model away"
        )


def refuse_uncertainty(
    pair: PairReader, output: Path, method: str, spec: RasterSpec, options: FusionOptions
) -> None:
    """Refuse an uncertainty that cannot be told or written, or would replace another file, before any work.

    Raises UsageError, OutputExistsError, WriteError.
    """
    if not options.tells_errors:
        return
    refuse_without_posterior(method, options)
    outputs = [*files_written(output, options.driver_for(output), options.creation_options)]
    outputs += [] if options.changed is None else [options.changed]
    specs = draw_specs(spec, output, options)
    if options.uncertainty is not None:
        specs |= dict(zip(uncertainty_files(options.uncertainty), _specs(spec), strict=True))
    for path, described in specs.items():
        written = files_written(path, described.driver, {})
        refuse_inputs_as_outputs(written, [pair.lr_info.path, pair.msi_info.path])
        refuse_inputs_as_outputs([path], outputs)
        VerifiedWriter(path, described, options.overwrite)


def write_uncertainty(
    scene: PreparedScene,
    geometry: PairGeometry,
    output: Path,
    area: Window,
    spec: RasterSpec,
    options: FusionOptions,
) -> None:
    """Write what was asked for of a scene fused by kriging: its deviations and their mean, and draws.

    `geometry` is the pair's, of which standard errors are told. `spec` is the output's, `area` what it covers of
    the scene. NaN where the output has nothing; deviations also in bands that were passed through. Raises
    OutputExistsError, WriteError.
    """
    told = Told.of(scene, geometry)
    if options.uncertainty is not None:
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
    write_draws(told, output, area, spec, options)


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
    """The mean (1, n, W) over the bands that were fused, of those that have a value."""
    values = rows[fused]
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan)[None], np.float32)
