"""Draws of a scene fused by kriging: cubes as likely as the fused one, to see what errors do to a product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.uncertainty import edge_magnitude
from emrdiff_cli.core.methods.conditional_draw import draw_error
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import prepare_kriging
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.output import expanded, plain_rows
from emrdiff_cli.fusion.told_errors import Told, lr_scene
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Window
from emrdiff_cli.runtime.interruption import safe_point

Field = NDArray[np.float32]

_FIELD, _WHITE, _GEOMETRY = 0, 1, 2  # what noise is drawn for
_SEEDS = 2**64


def draw_specs(spec: RasterSpec, output: Path, options: FusionOptions) -> dict[Path, RasterSpec]:
    """The draws' files, each a GeoTIFF as the output is."""
    described = replace(spec, driver="GTiff", creation_options={})
    seed = {"emrdiff_seed": f"{options.seed}"}
    return {
        path: replace(described, tags={**spec.tags, **seed, "emrdiff_sample": f"{number}"})
        for number, path in enumerate(options.draw_files(output), 1)
    }


def write_draws(told: Told, output: Path, area: Window, spec: RasterSpec, options: FusionOptions) -> None:
    """Write the draws asked for: the fused rows and an error that is as large as the deviations say.

    The same seed gives the same draws, a part of the area the same pixels. Raises OutputExistsError, WriteError.
    """
    if not options.samples:
        return
    scene, posterior = told.scene, told.variances.posterior
    coarse = lr_scene(scene)
    in_basis = replace(coarse, hsi=scene.end.basis.project(coarse.hsi))
    fit = SceneToFit(in_basis, scene.pair.strips, scene.resampling, regress(in_basis), scene.covariance)
    prepared = prepare_kriging(fit, scene.covariance)
    for number, (path, described) in enumerate(draw_specs(spec, output, options).items(), 1):
        safe_point()
        error = draw_error(
            posterior, prepared, fit, np.random.default_rng([options.seed % _SEEDS, number, _FIELD])
        )
        misplaced = _misplaced(told, options.seed, number)
        with VerifiedWriter(path, described, options.overwrite) as writer:
            for top, none in plain_rows(scene, area):
                values = expanded(scene, area, top, none, physical=options.physical)
                window = Window(top, 0, none.shape[1], scene.width)
                around, _ = scene.pair.read_msi_around(window)
                up = scene.resampling.up_part(window)
                drawn = error.tile(around[:, 1:-1, 1:-1], *up)
                white = _white(options.seed, number, window, len(scene.fused))
                magnitude = edge_magnitude(around, told.spread)
                in_bands = told.variances.scaled_error(drawn, told.scale, magnitude, told.lost(window), white)
                if misplaced is not None:
                    in_bands += apply_taps(misplaced, *up)
                first = max(top, area.row) - top
                values[scene.fused] += in_bands[:, first : first + values.shape[1], area.cols]
                writer.append(values)


def _misplaced(told: Told, seed: int, number: int) -> Field | None:
    """What errors of the geometry, one draw of them for the scene, make of the LR pixels (B, h, w)."""
    if told.geometry is None:
        return None
    rng = np.random.default_rng([seed % _SEEDS, number, _GEOMETRY])
    return told.geometry.drawn(rng.standard_normal(4).tolist())


def _white(seed: int, number: int, window: Window, bands: int) -> tuple[Field, Field]:
    """Unit noise (bands, n, W) twice, of each row of the scene its own: whatever rows are worked out together."""
    rows = [
        np.random.default_rng([seed % _SEEDS, number, _WHITE, row]).standard_normal(
            (2, bands, window.width), np.float32
        )
        for row in range(window.row, window.rows.stop)
    ]
    one, other = np.stack(rows, axis=2)
    return one, other
