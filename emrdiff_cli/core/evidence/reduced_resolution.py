"""Reduced resolution (Wald's protocol) in memory: a pair at LR degraded once more, fused, held against the LR-HSI.

All bands are scored, but at another scale than that of the fusion: what is sharp there is coarser, and mixed
otherwise, than what is to be found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.block_errors import BlockErrors
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.scene_end_point import choose_basis, find_end_point, own_basis
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.methods import METHODS, EndPoint

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

_LEAST_SIDE = 6  # pixels that must be left along a side,
_PIXELS_EACH = 4  # and valid ones for each coefficient of the scene-wide map


@dataclass(frozen=True)
class ReducedPair:
    """A pair at LR, `truth`, and the same degraded once more, `lower`, with the maps between their grids."""

    truth: LrScene
    lower: LrScene
    resampling: Resampling
    factor: float

    @classmethod
    def of(cls, scene: LrScene, psf: Psf, ratio: tuple[float, float], factor: float) -> ReducedPair | None:
        """The pair degraded by a factor, through the PSF as wide against its pixels as it is; None with too few.

        `ratio`: of the pair itself, along rows and columns, to which the PSF's width belongs.
        """
        sides = scene.valid.shape
        height, width = (int(side / factor) for side in sides)
        if min(height, width) < _LEAST_SIDE:
            return None
        placed = AxisPlacement(factor, 0.0)
        own = psf.scaled(factor / ratio[0], factor / ratio[1])
        resampling = Resampling.between(placed, placed, (height, width), (sides[0], sides[1]), own)
        seen = observe_msi(_one_strip(scene), resampling.down)
        if seen.covered.sum() < _PIXELS_EACH * (len(scene.msi) + 1):
            return None
        hsi = apply_taps(np.asarray(scene.hsi, np.float32), *resampling.down)
        return cls(scene, LrScene(hsi, seen.msi_at_lr, seen.covered), resampling, factor)

    def fused(self, method: EndPoint, covariance: Covariance = USUAL) -> Field:
        """The pair fused (B, h, w): what the LR-HSI is held against; `covariance` is a kriging's."""
        basis = own_basis(self.lower) if METHODS[method].subspace else choose_basis(self.lower, 0)
        end = find_end_point(self.lower, _one_strip(self.truth), self.resampling, method, basis, covariance)
        return end.bands(self.truth.msi, *self.resampling.up)

    def errors(self, fused: Field) -> BlockErrors:
        """Squared errors at the valid pixels on valid pixels of the degraded pair, each a block of its own."""
        scored = self._scored()
        wrong = np.square(fused - self.truth.hsi, dtype=np.float64)
        return BlockErrors(np.where(scored, wrong, 0.0), scored.astype(np.float64))

    def sam_deg(self, fused: Field) -> float:
        """The mean spectral angle at the same pixels, in degrees."""
        scored = self._scored()
        found, truth = (image[:, scored].astype(np.float64) for image in (fused, self.truth.hsi))
        lengths = np.sqrt(np.square(truth).sum(axis=0) * np.square(found).sum(axis=0))
        cosine = (truth * found).sum(axis=0) / np.maximum(lengths, 1e-300)
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())

    def _scored(self) -> Mask:
        rows, cols = self.resampling.nearest_lr
        return np.asarray(self.truth.valid & self.lower.valid[rows][:, cols])


def _one_strip(scene: LrScene) -> Strips:
    def strips() -> Iterator[Strip]:
        yield Strip(0, scene.msi, scene.valid)

    return strips
