"""A pair of arrays as the network is given it: calibrated, fitted, whole or by a tile."""

from __future__ import annotations

from typing import Any

import numpy as np

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.conditioning import (
    Calibration,
    TileInputs,
    calibrate,
    chain_target,
    tile_inputs,
)
from emrdiff_cli.core.methods.scene_end_point import SceneEndPoint, find_end_point
from emrdiff_cli.core.sensor.observation import observe_msi
from emrdiff_cli.raster_info import Window
from tests.support.pair_arrays import Image, Pair, texture

BANDS, MSI_BANDS = 6, 2


def config(**changes: Any) -> ModelConfig:
    usual: dict[str, Any] = {"msi_bands": MSI_BANDS, "hsi_bands": BANDS, "ratio": 4, "subspace": 3}
    return ModelConfig(**usual | changes)


class Fitted:
    """A pair with everything scene-wide, whole or by a tile."""

    def __init__(self, settings: ModelConfig) -> None:
        truth = texture(BANDS, 96, 96, 1)
        msi = np.stack([truth[:3].mean(axis=0), truth[2:].mean(axis=0)])
        self.config, self.pair = settings, Pair(truth, msi)
        self.calibration: Calibration = calibrate(settings, [self.pair.lr])
        self.end: SceneEndPoint = find_end_point(
            self.pair.lr, self.pair.strips, self.pair.maps, settings.end_point, self.calibration.basis
        )
        self.edge_range = observe_msi(self.pair.strips, self.pair.maps.down).edge_range
        self.whole = self.tile(Window(0, 0, 96, 96))

    def tile(self, window: Window) -> TileInputs:
        around = np.pad(self.pair.msi, ((0, 0), (1, 1), (1, 1)), mode="edge")
        rows, cols = slice(window.row, window.rows.stop + 2), slice(window.col, window.cols.stop + 2)
        up = self.pair.maps.up_part(window)
        channels = self.calibration.channels
        return tile_inputs(self.config, self.end, channels, self.edge_range, around[:, rows, cols], up)

    def target(self) -> tuple[Image, Image]:
        """Coefficients of the truth, and the chain's X'_0 of them."""
        known = self.end.basis.project(self.pair.truth)
        return known, chain_target(self.config, self.calibration.channels, known, self.whole.a_0)
