"""The mask of changed ground: a byte GeoTIFF on the LR-HSI's own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.prepared_scene import PreparedScene
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands
from emrdiff_cli.version import __version__

_UNKNOWN = 255  # the nodata value: not compared with the MSI


def write_changed(scene: PreparedScene, path: Path, overwrite: bool) -> None:
    """Write 1 where an LR pixel shows other ground than the MSI, 0 where the same, nodata where that is unknown.

    On the grid that the LR-HSI states, wherever it was found to lie. Raises OutputExistsError, WriteError.
    """
    spec, area = _spec(scene.pair), scene.pair.alignment.lr_window
    mask = np.full((1, spec.grid.height, spec.grid.width), np.nan, np.float32)
    found = np.where(scene.ground.compared, scene.ground.changed, np.nan)
    mask[0, area.row : area.row + area.height, area.col : area.col + area.width] = found
    with VerifiedWriter(path, spec, overwrite) as writer:
        writer.append(mask)


def refuse_changed_mask(pair: PairReader, output: Path, options: FusionOptions) -> None:
    """Refuse a mask that cannot be written, or would replace an input or the output, before any work.

    Raises UsageError, OutputExistsError, WriteError.
    """
    if options.changed is None:
        return
    written = files_written(options.changed, "GTiff", {})
    refuse_inputs_as_outputs(written, [pair.lr_info.path, pair.msi_info.path])
    outputs = files_written(output, options.driver_for(output), options.creation_options)
    refuse_inputs_as_outputs([options.changed], list(outputs))
    VerifiedWriter(options.changed, _spec(pair), options.overwrite)


def _spec(pair: PairReader) -> RasterSpec:
    tags = {"emrdiff_version": __version__, "emrdiff_lr_hsi": pair.lr_info.path.name}
    return RasterSpec(pair.lr_info.grid, Bands(1), "uint8", nodata=_UNKNOWN, tags=tags)
