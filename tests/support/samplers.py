"""Samplers of two lines in place of a network, and what is fused with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.conditioning import Calibration, TileInputs, calibrate
from emrdiff_cli.core.sensor.observation import LrScene, observe_msi
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.pair.pair import open_pair
from tests.support.pairs import BANDS, MSI_BANDS
from tests.support.scenes import read

Image = NDArray[np.float32]
Estimate = Callable[[TileInputs, tuple[int, int]], Image]


def zeros(tile: TileInputs, _corner: tuple[int, int]) -> Image:
    return np.zeros_like(tile.a_0)


def of_position(tile: TileInputs, corner: tuple[int, int]) -> Image:
    """An estimate that depends on the absolute position alone."""
    channels, height, width = tile.a_0.shape
    k, row, col = np.ogrid[:channels, :height, :width]
    return np.sin(0.3 * (row + corner[0]) + 0.2 * (col + corner[1]) + k).astype(np.float32)


def settings(**changes: Any) -> ModelConfig:
    usual: dict[str, Any] = {"msi_bands": MSI_BANDS, "hsi_bands": BANDS, "ratio": 4, "subspace": 4}
    usual |= {"calibration": "scene", "gates": "tile", "levels": 2, "tile": 16}
    return ModelConfig(**usual | changes)


@dataclass
class Fake:
    """A sampler that asks `estimate` for each tile."""

    config: ModelConfig
    estimate: Estimate = zeros
    calibration: Calibration | None = None
    identity: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Image]:
        self.batches.append(list(corners))
        return [self.estimate(tile, corner) for tile, corner in zip(tiles, corners, strict=True)]


def fuse_and_read(
    folder: Path, pair: tuple[Path, Path], sampler: Fake | None = None, method: str = "glp", **options: Any
) -> NDArray[np.float32]:
    """The fused values, through a file that is overwritten; the pair as it lies."""
    output = folder / "fused.tif"
    fuse(*pair, output, method, sampler, FusionOptions(**{"overwrite": True, "register": "off", **options}))
    return read(output)


def archive_fake(pair: tuple[Path, Path], **changes: Any) -> Fake:
    """A sampler that carries the calibration of the pair itself, as of an archive."""
    config = settings(calibration="archive", **changes)
    with open_pair(*pair) as opened:
        seen = observe_msi(opened.strips, opened.resampling.down)
        scene = LrScene(opened.read_lr(), seen.msi_at_lr, seen.covered)
    return Fake(config, calibration=calibrate(config, [scene]))
