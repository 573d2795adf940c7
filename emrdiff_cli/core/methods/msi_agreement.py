"""Detail that agrees with the MSI at full resolution: what the injected detail leaves of the MSI's is added to it.

The MSI's bands at LR are sums R of the LR-HSI's channels, but for noise. So is its detail d of the detail x that is
injected, and R x - d is known at each HR pixel. Errors of x that are alike in all directions of the spectra, of
variance v, beside noise N of the MSI are met by x + G (d - R x), G = v R' (v R R' + N)^-1: the least change, along
the MSI's own responses alone. Where R fits badly, for the noise or the responses, G is small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.end_point import Floats
from emrdiff_cli.core.methods.least_squares import fit_linear
from emrdiff_cli.core.sensor.observation import LrScene, Resampling
from emrdiff_cli.core.subspace import find_basis

Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_COMPONENTS = 24  # of the LR-HSI, at most, that the MSI's bands are made of
_PIXELS_EACH = 12  # LR pixels that each of them needs
_WRONG = 0.05  # variance of the injected detail's errors, by the square that the scene-wide map leaves at LR


@dataclass(frozen=True)
class MsiResponse:
    """The sums of the LR-HSI's channels that are nearest to the MSI's bands: `weights` (m, k), `constant` (m,).

    `noise` (m, m): the covariance at LR of what they leave.
    """

    weights: Field
    constant: Field
    noise: Doubles

    @classmethod
    def of(cls, scene: LrScene) -> MsiResponse:
        """By least squares on the leading components of the valid pixels; of all channels where pixels are few."""
        pixels, msi = scene.hsi[:, scene.valid], scene.msi[:, scene.valid]
        channels, count = pixels.shape
        size = min(_COMPONENTS, channels, count // _PIXELS_EACH)
        if 0 < size < channels:
            basis = find_basis(pixels, size)
            on_components, at_mean = fit_linear(basis.project(pixels), msi)
            weights = on_components @ basis.vectors.T
            constant = (at_mean - weights @ basis.mean).astype(np.float32)
        else:
            size = channels
            weights, constant = fit_linear(pixels, msi)
        rest = (msi - weights @ pixels - constant[:, None]).astype(np.float64)
        return cls(weights, constant, rest @ rest.T / max(1, count - size - 1))

    def seen(self, hsi: Floats) -> Field:
        """The MSI's bands (m, ...) of spectra (k, ...)."""
        constant = self.constant.reshape(-1, *(1,) * (hsi.ndim - 1))
        return np.asarray(np.tensordot(self.weights, hsi, axes=1) + constant, np.float32)


@dataclass(frozen=True)
class MsiAgreement:
    """How injected detail is made to agree with the MSI's: the response `weights` (m, k) and the `gain` (k, m)."""

    weights: Doubles
    gain: Doubles

    @classmethod
    def of(cls, scene: LrScene, unexplained: Floats, resampling: Resampling) -> MsiAgreement | None:
        """That of a scene; None for no more channels than the MSI has bands, of which they are no sums.

        `unexplained` (k, h, w): what the scene-wide map leaves; its median pixel counts, not rare materials. The
        noise is taken for white, larger at HR by what the PSF's mean takes off.
        """
        if len(scene.hsi) <= len(scene.msi):
            return None
        response = MsiResponse.of(scene)
        weights = response.weights.astype(np.float64)
        squares = (np.square(channel[scene.valid], dtype=np.float64) for channel in unexplained)
        wrong = _WRONG * float(np.median(sum(squares) / len(unexplained)))
        noise = response.noise / resampling.white_share
        total = wrong * weights @ weights.T + noise
        return cls(weights, wrong * weights.T @ np.linalg.pinv(total, hermitian=True))

    @property
    def kept(self) -> Doubles:
        """(k, k): what is left of detail beside the MSI's, I - G R."""
        return np.asarray(np.eye(len(self.gain)) - self.gain @ self.weights)

    def applied(self, injection: DetailInjection) -> DetailInjection:
        """The injection whose slopes agree; local detail has to be multiplied by `kept` where it comes from.

        Its base is as before, and back-projection has yet to follow.
        """
        slopes = (self.kept @ injection.slopes + self.gain).astype(np.float32)
        return replace(injection, slopes=slopes)
