"""Coverage of an HSI's bands by an MSI's: the detail of those under one is seen, that of the rest inferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.correlation import correlations
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.srf import FittedResponse
from emrdiff_cli.raster_info import Bands

Floats = NDArray[np.floating[Any]]

_AS_GOOD = 0.02  # below the greatest squared correlation: bands that are as good
_HALF = 0.5 - 1e-9  # of a response's maximum, from which a band is covered


@dataclass(frozen=True)
class MsiBandCoverage:
    """An MSI band (from 1) and the HSI bands (from 1) that lie under it.

    `residual`: the share of its variance at LR that its response leaves, `scale`: what the response is
    multiplied by; None where no response was held against the pair.
    """

    band: int
    wavelength_nm: float | None
    hsi_bands: tuple[int, ...]
    residual: float | None = None
    scale: float | None = None


@dataclass(frozen=True)
class Coverage:
    """All MSI bands, `by` what was told which HSI bands lie under them, and the HSI bands (from 1) marked `bad`.

    `by` is `srf NAME`, `wavelengths`, `estimate` or `correlation`.
    """

    by: str
    msi_bands: tuple[MsiBandCoverage, ...]
    bad: tuple[int, ...]
    count: int

    @property
    def uncovered(self) -> tuple[int, ...]:
        """The HSI bands (from 1) that are neither bad nor under any MSI band."""
        labels = enumerate(self.labels(), 1)
        return tuple(band for band, label in labels if label == "extrapolated")

    @property
    def uncovered_share(self) -> float:
        """Share of the good HSI bands that are under no MSI band."""
        return len(self.uncovered) / max(1, self.count - len(self.bad))

    def labels(self) -> list[str]:
        """A label for each HSI band: its spatial detail is `covered` or `extrapolated`, or the band `bad`."""
        covered = {band for msi in self.msi_bands for band in msi.hsi_bands}
        labels = ["covered" if band in covered else "extrapolated" for band in range(1, self.count + 1)]
        for band in self.bad:
            labels[band - 1] = "bad"
        return labels

    def residuals(self) -> tuple[float, ...] | None:
        """Share of each MSI band's variance that its response leaves; None where none was held against the pair."""
        found = [msi.residual for msi in self.msi_bands]
        return tuple(value for value in found if value is not None) if None not in found else None


def coverage(
    by: str,
    under: Sequence[Sequence[int]],
    hsi: Bands,
    msi: Bands,
    fitted: FittedResponse | None = None,
) -> Coverage:
    """Coverage from the HSI bands (0-based) found `under` each MSI band, without those marked bad."""
    bad, centres = set(hsi.bad), msi.wavelengths_nm or (None,) * msi.count
    fits: list[tuple[float | None, float | None]] = [(None, None)] * msi.count
    if fitted is not None:
        pairs = zip(fitted.residual, fitted.scale, strict=True)
        fits = [(round(float(left), 6), float(f"{scale:.6g}")) for left, scale in pairs]
    bands = tuple(
        MsiBandCoverage(number, centre, tuple(i + 1 for i in seen if i not in bad), *fit)
        for number, (centre, seen, fit) in enumerate(zip(centres, under, fits, strict=True), 1)
    )
    return Coverage(by, bands, tuple(i + 1 for i in sorted(bad)), hsi.count)


def covered_by_wavelengths(hsi: Bands, msi: Bands) -> list[tuple[int, ...]] | None:
    """The HSI bands (0-based) whose half-maximum interval overlaps an MSI band's own, for each of these.

    An HSI without FWHM counts by its bands' centres. None where wavelengths, or the MSI's FWHM, are unknown.
    """
    if hsi.wavelengths_nm is None or msi.wavelengths_nm is None or msi.fwhm_nm is None:
        return None
    centres = np.asarray(hsi.wavelengths_nm)
    widths = np.zeros(hsi.count) if hsi.fwhm_nm is None else np.asarray(hsi.fwhm_nm)
    return [
        _positions(np.abs(centres - centre) <= (widths + width) / 2)
        for centre, width in zip(msi.wavelengths_nm, msi.fwhm_nm, strict=True)
    ]


def covered_by_response(matrix: Floats) -> list[tuple[int, ...]]:
    """The bands (0-based) at half of the maximum or more of each row of (m, B); none in a row of zeros."""
    return [_positions((row > 0) & (row >= _HALF * row.max())) for row in matrix]


def covered_by_correlation(scene: LrScene) -> list[tuple[int, ...]]:
    """The HSI bands (0-based) that follow each MSI band best at LR: squared correlation near the most."""
    if not scene.valid.any():
        return [()] * len(scene.msi)
    squared = np.square(correlations(scene.msi[:, scene.valid], scene.hsi[:, scene.valid]))
    return [_positions((row > 0) & (row >= row.max() - _AS_GOOD)) for row in squared]


def _positions(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(band) for band in np.flatnonzero(chosen))
