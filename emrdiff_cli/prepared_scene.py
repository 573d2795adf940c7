"""A pair made ready for fusion: everything scene-wide, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.conditioning import Calibration, Channels, TileInputs, calibrate, usual_levels
from emrdiff_cli.core.end_point import Method
from emrdiff_cli.core.holes import mend
from emrdiff_cli.core.observation import LrScene, Observation, observe_msi
from emrdiff_cli.core.scene_end_point import SceneEndPoint, choose_basis, find_end_point
from emrdiff_cli.errors import ModelError
from emrdiff_cli.pairing import PairReader

Field = NDArray[np.float32]

_LOCAL_COMPONENTS = 32
_UNIT_FACTOR = 20.0  # values further off than that are in other units than the model's


class Sampler(Protocol):
    """Runs the chain on a batch of tiles; corners are absolute (row, column) on the MSI's raster."""

    config: ModelConfig
    calibration: Calibration | None

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Field]:
        """Return the estimate of X'_0 of each tile, relative to the chain's end."""


class PreparedScene:
    """A pair with its LR scene, what was seen of the MSI, the calibration and the end point."""

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
