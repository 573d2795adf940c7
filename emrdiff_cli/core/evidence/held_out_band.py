"""A band held out at full resolution: an MSI band degraded, fused from the others, and scored against itself.

The scale is the true one and the truth is exact, but for the MSI's own noise; what is said is of bands that the MSI
covers, and nothing of the geometry, since band and others are one image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.block_errors import BlockErrors
from emrdiff_cli.core.methods.end_point import Fitted, SceneToFit, regress
from emrdiff_cli.core.methods.scene_end_point import fit_method
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips
from emrdiff_cli.methods import EndPoint
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class HeldOutBand:
    """A band (its number from 0) of an MSI held out: `problem` has it, degraded, as the one channel of its HSI.

    The other bands are the problem's MSI; `truth` gives the band itself, strips of (1, n, W) at the same rows.
    """

    band: int
    problem: SceneToFit
    truth: Strips

    @property
    def spread(self) -> float:
        """The band's standard deviation over the valid LR pixels."""
        return float(self.problem.lr.hsi[:, self.problem.lr.valid].std(dtype=np.float64))

    def fitted(self, method: EndPoint) -> Fitted:
        """A method fitted to the problem."""
        return fit_method(method, self.problem)

    def errors(self, fitted: Fitted) -> BlockErrors:
        """Errors at the band's valid HR pixels that lie on valid LR pixels, by LR pixel."""
        resampling, seen = self.problem.resampling, self.problem.lr.valid
        rows, cols = resampling.nearest_lr
        found = BlockErrors.none(1, (len(seen), seen.shape[1]))
        for (top, msi, _), (_, truth, valid) in zip(self.problem.strips(), self.truth(), strict=True):
            own = slice(top, top + len(valid))
            values = fitted.tile(msi, *resampling.up_part(Window(top, 0, *valid.shape))).values
            counted = valid & seen[rows[own]][:, cols]
            found = found.with_rows(values - truth, counted, rows[own], cols)
        return found


def held_out_bands(scene: LrScene, strips: Strips, resampling: Resampling) -> Iterator[HeldOutBand]:
    """Each band of the MSI held out; none where it has but one.

    Of `scene` the MSI at LR and the valid pixels count. Raises InputError with too few of them to fit.
    """
    count = len(scene.msi)
    for band in range(count if count > 1 else 0):
        others = [other for other in range(count) if other != band]
        lr = replace(scene, hsi=scene.msi[[band]], msi=scene.msi[others])
        problem = SceneToFit(lr, _bands_of(strips, others), resampling, regress(lr))
        yield HeldOutBand(band, problem, _bands_of(strips, [band]))


def _bands_of(strips: Strips, bands: list[int]) -> Strips:
    """Some bands of the MSI's strips."""

    def chosen() -> Iterator[Strip]:
        for top, values, valid in strips():
            yield Strip(top, values[bands], valid)

    return chosen
