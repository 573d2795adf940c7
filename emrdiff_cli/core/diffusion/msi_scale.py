"""The scale of an MSI against its HSI, held to that of a model's training: regression at LR, nothing assumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.conditioning import Calibration
from emrdiff_cli.core.sensor.observation import LrScene

Floats = NDArray[np.floating[Any]]

# Other scenes of a model's sensor pair came out between 1.00 and 1.08, a single MSI band at 1.25 at most (CAVE,
# the sample): it is broader than the HSI band it is held against. Other units are a factor of 2 or more.
_SAME_SCALE = 1.5


def scale_relations(scene: LrScene, beside: Sequence[int]) -> Floats:
    """The factor s of MSI = s x HSI at LR for each MSI band, with the HSI band (0-based) `beside` it.

    Least absolute deviations through the origin, i.e. the median of MSI / HSI weighted by |HSI|, over the
    valid pixels; NaN where the HSI band is 0 throughout.
    """
    pairs = zip(scene.msi[:, scene.valid], scene.hsi[list(beside)][:, scene.valid], strict=True)
    return np.array([_slope(msi.astype(np.float64), hsi.astype(np.float64)) for msi, hsi in pairs])


def known_relations(calibration: Calibration, beside: Sequence[int]) -> Floats | None:
    """The factors of a calibration, as ratios of the means it was found on; None where it kept only peaks."""
    channels = calibration.channels
    if not channels.msi_shift.any():
        return None
    spectrum = calibration.basis.expand(channels.hsi_shift)[list(beside)].astype(np.float64)
    known = spectrum != 0
    return np.where(known, channels.msi_shift / np.where(known, spectrum, 1.0), np.nan)


def msi_factor(found: Floats, known: Floats) -> float:
    """Factor to multiply the MSI by: the median over its bands of known / found, to four digits.

    1 where that lies within a factor of 1.5, or no band tells (a relation that is not positive).
    """
    tells = (found > 0) & (known > 0)
    if not tells.any():
        return 1.0
    factor = float(np.median(known[tells] / found[tells]))
    return 1.0 if 1 / _SAME_SCALE <= factor <= _SAME_SCALE else float(f"{factor:.4g}")


def _slope(msi: Floats, hsi: Floats) -> float:
    lit = hsi != 0
    if not lit.any():
        return float("nan")
    ratios, weights = msi[lit] / hsi[lit], np.abs(hsi[lit])
    order = np.argsort(ratios)
    total = np.cumsum(weights[order])
    return float(ratios[order][np.searchsorted(total, total[-1] / 2)])
