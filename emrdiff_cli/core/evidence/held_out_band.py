"""A band held out at full resolution: an MSI band taken to LR, fused from the others, and scored against itself.

The scale is the true one, and the truth exact but for the MSI's own noise; what is said is of the ground's detail
in bands that the MSI covers. Degraded from the MSI, the band tells nothing of the geometry, since it and the
others are one image. As the LR-HSI sees it, by the sum of its bands that is nearest to the MSI's, it lies where
the LR-HSI lies, through its PSF and with its noise: then whatever is wrong with them counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.block_errors import BlockErrors
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.detail_injection import Fitted
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.msi_agreement import MsiResponse
from emrdiff_cli.core.methods.scene_end_point import fit_method
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips
from emrdiff_cli.methods import EndPoint
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOutBand:
    """A band (its number from 0) of an MSI held out: `problem` has it, at LR, as the one channel of its HSI.

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


def held_out_bands(
    scene: LrScene,
    strips: Strips,
    resampling: Resampling,
    seen: Field | None = None,
    most: int | None = None,
    covariance: Covariance = USUAL,
) -> Iterator[HeldOutBand]:
    """Each band of the MSI held out, or `most` spread over all; none where it has but one.

    At LR it is as the MSI degraded has it, or as in `seen` (m, h, w): `seen_by_hsi` makes that. Of `scene` the MSI
    and the valid pixels count; `covariance` is a kriging's. Raises InputError with too few pixels to fit.
    """
    count, at_lr = len(scene.msi), scene.msi if seen is None else seen
    held = np.unique(np.linspace(0, count - 1, min(count, most or count)).round().astype(int)).tolist()
    for band in held if count > 1 else ():
        others = [other for other in range(count) if other != band]
        lr = replace(scene, hsi=at_lr[[band]], msi=scene.msi[others])
        problem = SceneToFit(lr, _bands_of(strips, others), resampling, regress(lr), covariance)
        yield HeldOutBand(band, problem, _bands_of(strips, [band]))


def seen_by_hsi(scene: LrScene) -> Field:
    """The MSI's bands (m, h, w) as the LR-HSI has them: the sums of its leading components that are nearest."""
    return MsiResponse.of(scene).seen(scene.hsi)


def _bands_of(strips: Strips, bands: list[int]) -> Strips:
    """Some bands of the MSI's strips."""

    def chosen() -> Iterator[Strip]:
        for top, values, valid in strips():
            yield Strip(top, values[bands], valid)

    return chosen
