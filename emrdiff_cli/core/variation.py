"""The same scene under another light: more spectra than an archive has, at no cost of data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.supervision import SupervisedPair

_TERMS = 5
_AMPLITUDE = 0.25  # of each term of the gain's logarithm


def random_gain(bands: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(B,) factors above 0 that vary smoothly from band to band: exp of a few cosines of random size and phase."""
    place = np.linspace(0, np.pi, bands)
    sizes, phases = generator.normal(0, _AMPLITUDE, _TERMS), generator.uniform(0, np.pi, _TERMS)
    waves = np.cos(np.arange(_TERMS)[:, None] * place + phases[:, None])
    return np.asarray(np.exp(sizes @ waves), np.float32)


def varied(pair: SupervisedPair, generator: np.random.Generator) -> SupervisedPair:
    """The pair with every spectrum multiplied by one random gain, and the MSI that its response makes of it.

    A gain of bands commutes with what degrades space, so the LR-HSI needs no simulation.
    Raises ValueError for a pair whose MSI no known response made.
    """
    if pair.srf is None:
        raise ValueError("the MSI of this pair is a sensor's own: it cannot be seen under another light")
    gain = random_gain(len(pair.hr_hsi), generator)[:, None, None]
    truth = pair.hr_hsi * gain
    msi = np.tensordot(pair.srf.astype(np.float32), truth, axes=1)
    return replace(pair, hr_hsi=truth, lr_hsi=pair.lr_hsi * gain, hr_msi=msi.astype(np.float32))
