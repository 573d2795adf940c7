"""A geometry other than the one in use, told by what the LR-HSI leaves unexplained of the MSI at LR.

An MSI that lies elsewhere, or is seen through a wider or narrower PSF, differs to first order by its derivatives:
the first along an axis for a shift, the second for the PSF's variance. Where they explain a good share of what is
left, it is the geometry; other spectral bands or noise leave what does not look like them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strips
from emrdiff_cli.core.sensor.resampling import apply_taps

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FIELDS = 4  # a shift and a variance along each axis
_EXPLAINED = 0.3  # share of what is left that they explain where it is the geometry
_SHIFT = 0.1  # LR pixels,
_VARIANCE = 0.016  # and squared LR pixels, from which on kriging was below `glp` on pairs of a known truth


class Misplacement(NamedTuple):
    """What the derivatives tell: `shift` in LR pixels, `variance` of a PSF in squared ones, each the larger axis'.

    Both are lower bounds: the LR-HSI that the MSI is told from lies wrong itself. `explained`: the share of what
    is left that they explain.
    """

    shift: float
    variance: float
    explained: float

    @property
    def is_sure(self) -> bool:
        """Whether the geometry is so far off that what is learned at LR misleads."""
        return self.explained > _EXPLAINED and (self.shift > _SHIFT or self.variance > _VARIANCE)


@dataclass
class Derivatives:
    """The regression of what is left of the MSI on its derivatives, over parts of a pair."""

    normal: Doubles = field(default_factory=lambda: np.zeros((_FIELDS, _FIELDS)))
    products: Doubles = field(default_factory=lambda: np.zeros(_FIELDS))
    square: float = 0.0

    def add(
        self,
        scene: LrScene,
        strips: Strips,
        resampling: Resampling,
        seen: Floats,
        ratio: tuple[float, float],
    ) -> None:
        """Add a part; `seen` (m, h, w): its MSI at LR as the LR-HSI has it."""
        used = scene.valid.copy()
        used[[0, -1]] = used[:, [0, -1]] = False  # derivatives end there
        if not used.any():
            return
        msi = np.concatenate([strip.values for strip in strips()], axis=1)
        spread = np.maximum(scene.msi[:, used].std(axis=1, dtype=np.float64), 1e-30)[:, None]
        left = _centred((scene.msi - seen)[:, used]) / spread
        fields = []
        for axis, step in zip((1, 2), ratio, strict=True):
            first = np.gradient(msi, axis=axis) * np.float32(step)
            second = np.gradient(first, axis=axis) * np.float32(step)
            fields += [
                _centred(apply_taps(image, *resampling.down)[:, used]) / spread for image in (first, second)
            ]
        flat = np.stack([image.ravel() for image in fields])
        self.normal += flat @ flat.T
        self.products += flat @ left.ravel()
        self.square += float(np.square(left).sum())

    def told(self) -> Misplacement | None:
        """What they tell; None without a pixel."""
        if self.square <= 0:
            return None
        found = np.linalg.lstsq(self.normal, self.products, rcond=None)[0]
        shift, variance = np.abs(found.reshape(2, 2)).max(axis=0)
        return Misplacement(float(shift), float(variance), float(found @ self.products / self.square))


def _centred(values: Floats) -> Doubles:
    return np.asarray(values - values.mean(axis=1, keepdims=True), np.float64)
