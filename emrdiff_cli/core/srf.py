"""Spectral response functions: how an MSI's bands weigh the bands of an HSI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError

FWHM_PER_SIGMA = 2.355


@dataclass(frozen=True)
class SpectralResponse:
    """Responses of m MSI bands: `values` is (m, n) at the ascending `wavelengths_nm` (n,)."""

    names: tuple[str, ...]
    wavelengths_nm: NDArray[np.float64]
    values: NDArray[np.float64]

    def centres_nm(self) -> tuple[float, ...]:
        """Each band's response-weighted mean wavelength."""
        weighted = self.values @ self.wavelengths_nm / self.values.sum(axis=1)
        return tuple(float(v) for v in weighted)

    def fwhm_nm(self) -> tuple[float, ...]:
        """Each band's width between the outermost wavelengths at half of its maximum."""
        half = self.values >= 0.5 * self.values.max(axis=1, keepdims=True)
        return tuple(float(np.ptp(self.wavelengths_nm[row])) for row in half)


def srf_matrix(response: SpectralResponse, hsi_wavelengths_nm: Sequence[float]) -> NDArray[np.float64]:
    """The (m, B) matrix S with MSI = S x HSI; each row sums to 1 over the HSI bands used.

    Raises InputError when an MSI band sees none of the HSI's bands.
    """
    at = np.asarray(hsi_wavelengths_nm, dtype=np.float64)
    sampled = np.stack(
        [np.interp(at, response.wavelengths_nm, row, left=0.0, right=0.0) for row in response.values]
    )
    sums = sampled.sum(axis=1)
    for name, total in zip(response.names, sums, strict=True):
        if total <= 0:
            raise InputError(
                f"MSI band {name} sees none of the HSI's bands ({at.min():.0f}-{at.max():.0f} nm): "
                "give the response of a sensor within that range"
            )
    return np.asarray(sampled / sums[:, None])


def gaussian_response(
    centres_nm: Sequence[float], fwhm_nm: Sequence[float], names: Sequence[str] | None = None
) -> SpectralResponse:
    """Gaussian bands from centre wavelengths and FWHM (sigma = FWHM / 2.355), sampled each nm."""
    low = min(c - 2 * f for c, f in zip(centres_nm, fwhm_nm, strict=True))
    high = max(c + 2 * f for c, f in zip(centres_nm, fwhm_nm, strict=True))
    at = np.arange(np.floor(low), np.ceil(high) + 1)
    centres = np.asarray(centres_nm, dtype=np.float64)[:, None]
    sigmas = np.asarray(fwhm_nm, dtype=np.float64)[:, None] / FWHM_PER_SIGMA
    values: NDArray[Any] = np.exp(-0.5 * ((at - centres) / sigmas) ** 2)
    labels = tuple(names) if names is not None else tuple(f"{c:.0f} nm" for c in centres_nm)
    return SpectralResponse(labels, at, values)
