"""How an MSI's values relate to the LR-HSI's under the MSI's response: gain and offset by band, found robustly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.observation import LrScene

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

_ROUNDS = 30
_CUT = 4.685  # of the scale: Tukey's biweight, 95 % efficient on normal errors
_MAD = 1.4826  # from the median of absolute values to a normal distribution's standard deviation
_LEAST_PIXELS = 16


@dataclass(frozen=True)
class BandRadiometry:
    """MSI `band` (from 1) = `gain` x (LR-HSI under the band's response) + `offset`, in the files' units.

    `residual`: the share of the band's variance at LR that this leaves, by the median absolute deviation.
    """

    band: int
    gain: float
    offset: float
    residual: float


def relate(scene: LrScene, response: Floats) -> tuple[BandRadiometry, ...]:
    """Gain and offset of each MSI band against the LR-HSI under a response (m, B), its rows summing to 1 or to 0.

    By iteratively reweighted least squares: ground that changed decides nothing. Bands that see nothing of the
    LR-HSI, or nothing that varies, are left out; all with too few valid pixels.
    """
    if scene.valid.sum() < _LEAST_PIXELS:
        return ()
    expected = response @ scene.hsi[:, scene.valid].astype(np.float64)
    seen = scene.msi[:, scene.valid].astype(np.float64)
    bands = enumerate(zip(response, expected, seen, strict=True), 1)
    return tuple(
        _line(band, of_hsi, of_msi)
        for band, (row, of_hsi, of_msi) in bands
        if row.any() and min(_spread(of_hsi), _spread(of_msi)) > 0
    )


def _line(band: int, expected: Doubles, seen: Doubles) -> BandRadiometry:
    """The line through one band's pixels, from the one by least squares on."""
    weights = np.ones_like(seen)
    for _ in range(_ROUNDS):
        total = weights.sum()
        middle, level = (weights @ expected) / total, (weights @ seen) / total
        apart = expected - middle
        gain = (weights * apart) @ (seen - level) / max(float((weights * apart) @ apart), 1e-30)
        rest = seen - level - gain * apart
        scale = _MAD * float(np.median(np.abs(rest)))
        if scale <= 1e-9 * _spread(seen):
            break
        weights = np.square(np.maximum(1 - np.square(rest / (_CUT * scale)), 0))
    left = (_spread(rest) / _spread(seen)) ** 2
    return BandRadiometry(band, float(gain), float(level - gain * middle), float(left))


def _spread(values: Doubles) -> float:
    return _MAD * float(np.median(np.abs(values - np.median(values))))
