"""The standard deviation of a pair fused by kriging by band: the posterior's, made as wide as the errors are.

A posterior takes its covariance for true, and is too narrow; beside it stands texture of which the MSI tells
nothing. By how much each band is wider than both, edges and flat ground apart, is told by the evidence of the pair
(core.evidence.interval_scale).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.least_squares import mean_and_spread
from emrdiff_cli.core.methods.posterior import Posterior, kriged_posterior, white_parts
from emrdiff_cli.core.sensor.edges import sobel_magnitude
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strips
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import Basis
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_LEAST = 1e-30  # variance: nothing is divided by zero


@dataclass(frozen=True)
class IntervalScale:
    """What the expected standard deviation is multiplied by so that 90 % of the errors lie within 1.645 of it.

    `bands` (B,), times a factor of the MSI's edges: `by_edge` (e,) at the magnitudes `edges` (e,), between them
    linear, beyond them as at the ends. `half`: what 0.6745 standard deviations are multiplied by so that they hold
    half of the errors, whose tails are heavy. `by` names the evidence. `msi_noise` (m,): variances of the MSI's
    noise, which the detail takes with it, unscaled.
    """

    bands: Doubles
    edges: Doubles
    by_edge: Doubles
    half: float
    by: tuple[str, ...]
    msi_noise: Doubles

    def at(self, magnitude: Floats) -> Field:
        """The edges' factor at edge magnitudes (n, W); that between the ends where they are all one."""
        if self.edges[0] == self.edges[-1]:
            return np.full(magnitude.shape, np.median(self.by_edge), np.float32)
        return np.interp(magnitude, self.edges, self.by_edge).astype(np.float32)


@dataclass(frozen=True)
class BandVariances:
    """Variances by band of a scene that was kriged in the coefficients of a basis.

    `outside` (B,): the mean square of the LR-HSI outside of the basis, of which no detail is known; `texture`
    (B,) the variance of texture that the MSI may tell nothing of; `detail` (B,): the mean square of the detail that
    the MSI gives, which is missing where the ground changed and none is taken (0 where nothing changed). `slopes`
    (B, m): of the bands on the MSI's.
    """

    posterior: Posterior
    basis: Basis
    outside: Doubles
    texture: Doubles
    detail: Doubles
    slopes: Doubles

    @classmethod
    def of_scene(
        cls,
        scene: LrScene,
        strips: Strips,
        resampling: Resampling,
        basis: Basis,
        covariance: Covariance = USUAL,
        noisy: bool = True,
    ) -> BandVariances:
        """Those of the kriging of a scene; not `noisy`: of one that was degraded and nothing else."""
        coefficients = basis.project(scene.hsi)
        in_basis = replace(scene, hsi=coefficients)
        fit = SceneToFit(in_basis, strips, resampling, regress(in_basis), covariance)
        posterior = kriged_posterior(fit)
        outside = (scene.hsi - basis.expand(coefficients))[:, scene.valid]
        shares = np.square(basis.vectors, dtype=np.float64)
        return cls(
            posterior=posterior,
            basis=basis,
            outside=np.square(outside, dtype=np.float64).mean(axis=1),
            texture=shares @ white_parts(posterior, noisy).texture,
            detail=np.zeros(len(scene.hsi)) if scene.changed is None else _mean_detail(fit, basis),
            slopes=basis.vectors.astype(np.float64) @ fit.linear.slopes,
        )

    def of(self, channels: Field) -> Field:
        """Those expected (B, ...) from the posterior's of the channels (k, ...), taken as uncorrelated."""
        shares = np.square(self.basis.vectors)
        flat = shares @ channels.reshape(len(channels), -1)
        flat += np.maximum(self._white, _LEAST).astype(np.float32)[:, None]
        return np.asarray(flat.reshape(-1, *channels.shape[1:]), np.float32)

    def scaled_error(
        self,
        error: Field,
        scale: IntervalScale,
        magnitude: Floats,
        lost: Field,
        white: tuple[Field, Field],
    ) -> Field:
        """An error (k, n, W) drawn from the posterior as one of the bands (B, n, W), of these deviations.

        `white` (B, n, W) twice, of unit variance: what becomes of it the texture with the part outside of the
        basis, and what is beside that: detail that is missing, and noise that came with it.
        """
        edges, (beside, other) = scale.at(magnitude), white
        flat = self.basis.vectors @ error.reshape(len(error), -1)
        result = flat.reshape(-1, *error.shape[1:])
        result += np.sqrt(self._white).astype(np.float32)[:, None, None] * beside
        result *= scale.bands.astype(np.float32)[:, None, None] * edges
        result += np.sqrt(self._unscaled(scale, lost)) * other
        return np.asarray(result, np.float32)

    def deviation(self, channels: Field, scale: IntervalScale, magnitude: Floats, lost: Field) -> Field:
        """Standard deviations (B, n, W), scaled, at such edge magnitudes (n, W).

        `lost` (n, W): the share of the detail that is not taken.
        """
        variance = self.of(channels)
        variance *= np.square(scale.bands).astype(np.float32)[:, None, None]
        variance *= np.square(scale.at(magnitude))
        variance += self._unscaled(scale, lost)
        return np.sqrt(variance)

    @property
    def _white(self) -> Doubles:
        """The variances (B,) of texture and of what is outside of the basis."""
        return self.texture + self.outside

    def _unscaled(self, scale: IntervalScale, lost: Field) -> Field:
        """Variances (B, n, W) of missing detail, and of the MSI's noise in what is taken."""
        noise = np.square(self.slopes) @ scale.msi_noise
        missing, taken = (
            variance.astype(np.float32)[:, None, None] * np.square(share)
            for variance, share in ((self.detail, lost), (noise, 1 - lost))
        )
        return np.asarray(missing + taken, np.float32)


def _mean_detail(fit: SceneToFit, basis: Basis) -> Doubles:
    """The mean square (B,) of the detail that the scene-wide map gives where nothing changed, in a pass."""
    products, count = np.zeros((len(fit.lr.msi), len(fit.lr.msi))), 0
    for top, msi, valid in fit.strips_to_learn_from():
        up = fit.resampling.up_part(Window(top, 0, *valid.shape))
        detail = (msi - apply_taps(np.asarray(fit.lr.msi, np.float32), *up))[:, valid].astype(np.float64)
        products += detail @ detail.T
        count += detail.shape[1]
    slopes = basis.vectors.astype(np.float64) @ fit.linear.slopes
    return np.asarray(np.einsum("bi,ij,bj->b", slopes, products / max(1, count), slopes))


def msi_spread(lr: LrScene) -> Field:
    """Standard deviations (m,) of the MSI's bands at the valid LR pixels; infinite for one of a single value."""
    if not lr.valid.any():
        return np.full(len(lr.msi), np.inf, np.float32)
    _, spread = mean_and_spread(lr.msi[:, lr.valid])
    return spread.astype(np.float32)


def edge_magnitude(msi: Floats, spread: Floats) -> Field:
    """The root mean square, over the MSI's bands, of their gradients in units of each one's spread (m,).

    (m, n + 2, W + 2) -> (n, W), with a pixel more on each side. Bands of infinite spread have no say.
    """
    total = np.zeros((msi.shape[1] - 2, msi.shape[2] - 2), np.float32)
    told = np.flatnonzero(np.isfinite(spread))
    for band in told:
        total += np.square(sobel_magnitude(msi[[band]]) / spread[band])
    return np.asarray(np.sqrt(total / np.float32(max(1, len(told)))), np.float32)
