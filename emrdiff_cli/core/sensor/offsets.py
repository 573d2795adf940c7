"""Offsets of an MSI over its LR-HSI, by robust lines at LR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.correlation import correlations
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.radiometry import BandRadiometry, relate

# Of an offset: what bands may differ by, its least share of the rest, and how far below it a dark pixel may lie.
_ALIKE, _LARGE, _NOT_BELOW = 0.25, 0.15, 0.9
_UNTOLD = 0.25  # share of a band's variance that its line leaves at most, to tell anything


@dataclass(frozen=True)
class Offsets:
    """What an MSI's bands have over the LR-HSI beside a factor: `common` to all, else `apart`, by band (from 1).

    Zero and empty where no offset is a good part of its band.
    """

    common: float = 0.0
    apart: tuple[tuple[int, float], ...] = ()


def find_offsets(scene: LrScene, lines: Sequence[BandRadiometry]) -> Offsets:
    """The offsets of bands' lines that are large against what is left of the band without them.

    Common is one that all bands have within a quarter. Bands that do not follow their line tell nothing.
    """
    levels = scene.msi[:, scene.valid].mean(axis=1, dtype=np.float64)
    large = [
        line
        for line in lines
        if line.residual <= _UNTOLD
        and abs(line.offset) >= _LARGE * max(float(levels[line.band - 1]) - line.offset, 0.0)
    ]
    if not large:
        return Offsets()
    middle = float(np.median([line.offset for line in large]))
    alike = max(abs(line.offset - middle) for line in large) <= _ALIKE * abs(middle)
    if alike and len(large) == len(scene.msi) > 1:
        return Offsets(common=float(f"{middle:.3g}"))
    return Offsets(apart=tuple((line.band, line.offset) for line in large))


def common_offset(scene: LrScene, beside: Sequence[int]) -> float:
    """Offset that all MSI bands have over the HSI band (0-based) `beside` each, to three digits; 0 where none is.

    By robust lines at LR. It is one where all bands have it within a quarter, where it is a good part of what is
    left of the MSI without it, and where hardly a pixel of any band lies below it: none that is measured does.
    """
    lines = lines_beside(scene, beside)
    offset = float(np.median([line.offset for line in lines])) if lines else 0.0
    seen = scene.msi[:, scene.valid].astype(np.float64)
    if offset <= 0 or len(lines) < max(2, len(seen)):
        return 0.0
    alike = max(abs(line.offset - offset) for line in lines) <= _ALIKE * offset
    large = offset >= _LARGE * float(np.median(seen.mean(axis=1) - offset))
    below = float(np.percentile(seen, 1, axis=1).min()) < _NOT_BELOW * offset
    return float(f"{offset:.3g}") if alike and large and not below else 0.0


def lines_beside(scene: LrScene, beside: Sequence[int]) -> tuple[BandRadiometry, ...]:
    """The line of each MSI band against the HSI band (0-based) `beside` it."""
    response = np.zeros((len(scene.msi), len(scene.hsi)))
    response[np.arange(len(beside)), list(beside)] = 1
    return relate(scene, response)


def nearest_bands(
    scene: LrScene,
    usable: NDArray[np.bool_],
    wavelengths_nm: Sequence[float] | None,
    centres_nm: Sequence[float] | None,
) -> tuple[int, ...]:
    """The usable HSI band (0-based) nearest to each MSI band's centre, else that of the greatest correlation.

    The latter where wavelengths or centres are unknown.
    """
    candidates = np.flatnonzero(usable)
    if wavelengths_nm is not None and centres_nm is not None and len(centres_nm) == len(scene.msi):
        at = np.asarray(wavelengths_nm)[candidates]
        return tuple(int(candidates[np.abs(at - centre).argmin()]) for centre in centres_nm)
    found = correlations(scene.msi[:, scene.valid], scene.hsi[candidates][:, scene.valid])
    return tuple(int(candidates[row.argmax()]) for row in found)
