"""A scene as kriging leaves it: the posterior's mean and standard deviation, and the MSI as a network sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.methods.colour_kernel import neighbourhood_of, unit_axes
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import PreparedKriging, injected, prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess, predictor
from emrdiff_cli.core.methods.msi_agreement import MsiAgreement
from emrdiff_cli.core.methods.posterior import Posterior, posterior_of
from emrdiff_cli.core.methods.scene_end_point import own_basis
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import Basis

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

AXES = 4  # of the MSI's colours, the leading ones, that are seen
SEEN = 2 * AXES + 2
_NARROWEST = 1e-2  # of the largest axis' variance
_DARK = 0.1  # of the mean brightness


@dataclass(frozen=True)
class KrigedScene:
    """A scene fused by kriging in k channels, on H x W HR pixels, as `fuse --method kriging` does.

    `msi` (m, H, W); `mean` (k, H, W), back-projected and in agreement with the MSI; `left` (k, h, w), of the
    channels at LR, when the mean is degraded; `residual` (k,), the rms of what the scene-wide map leaves. `seen`
    (SEEN, H, W), see `seen_colours`. `posterior`: the mean's, for variances and draws; `prepared`: what it was
    kriged from.
    """

    scene: SceneToFit
    msi: Field
    mean: Field
    left: Field
    residual: Field
    seen: Field
    agreement: MsiAgreement | None
    posterior: Posterior
    prepared: PreparedKriging

    @classmethod
    def of(cls, scene: SceneToFit, msi: Field) -> KrigedScene:
        """A scene kriged; `msi` (m, H, W) is the whole of it."""
        agreement = MsiAgreement.of(scene.lr, scene.linear.unexplained, scene.resampling)
        prepared = prepare_kriging(scene, scene.covariance)
        field = GaussianProcess.likeliest(prepared.data, scene.covariance)
        kriged = predictor(field, kept=None if agreement is None else agreement.kept)
        agreeing = prepared
        if agreement is not None:
            agreeing = replace(prepared, injection=agreement.applied(prepared.injection))
        mean = injected(agreeing, kriged, scene).tile(msi, *scene.resampling.up).values
        posterior = posterior_of(field, prepared, scene.resampling)
        unexplained = scene.linear.unexplained[:, scene.lr.valid]
        return cls(
            scene=scene,
            msi=msi,
            mean=mean,
            left=np.asarray(scene.lr.hsi - apply_taps(mean, *scene.resampling.down), np.float32),
            residual=np.sqrt(np.square(unexplained).mean(axis=1)),
            seen=seen_colours(prepared, scene, msi),
            agreement=agreement,
            posterior=posterior,
            prepared=prepared,
        )

    @cached_property
    def sigma(self) -> Field:
        """The posterior's standard deviation (k, H, W), unscaled."""
        return np.sqrt(self.posterior.scene_variances(self.msi))


@dataclass(frozen=True)
class KrigedPair:
    """A pair with a truth, kriged in the coefficients of its own basis; `truth` (k, H, W) is in them too.

    `outside` (B, H, W): the LR-HSI outside of the basis, upsampled.
    """

    pair: SupervisedPair
    basis: Basis
    kriged: KrigedScene
    truth: Field
    outside: Field

    @classmethod
    def of(cls, pair: SupervisedPair) -> KrigedPair:
        """A pair kriged."""
        lr, _ = at_lr(pair)
        basis = own_basis(lr)
        in_basis = replace(lr, hsi=basis.project(lr.hsi))
        scene = SceneToFit(in_basis, pair.strips, pair.resampling, regress(in_basis))
        outside = apply_taps(lr.hsi - basis.expand(in_basis.hsi), *pair.resampling.up)
        kriged = KrigedScene.of(scene, pair.hr_msi)
        return cls(pair, basis, kriged, basis.project(pair.hr_hsi), np.asarray(outside, np.float32))

    def bands(self, channels: Floats) -> Field:
        """All bands (B, H, W) of an image in the basis' coefficients (k, H, W)."""
        return self.basis.expand(channels) + self.outside


def seen_colours(prepared: PreparedKriging, scene: SceneToFit, msi: Field) -> Field:
    """What is seen of an MSI (m, H, W) of any bands: (SEEN, H, W).

    The roots of its bands along their leading axes, of unit spread, widest first, each of a sum of weights that is
    not negative; then the neighbourhood's along the same axes; the logarithms of the brightness and of the ratio.
    Axes that the MSI has not are zero.
    """
    up, lowest = scene.resampling.up, np.float32(prepared.kernel.lowest)
    around = neighbourhood_of(prepared.neighbourhood, *up)
    own, near = (np.sqrt(np.maximum(image - lowest, 0)).reshape(len(msi), -1) for image in (msi, around))
    axes = unit_axes(own.astype(np.float64), _NARROWEST)[::-1][:AXES]
    axes = axes * np.where(axes.sum(axis=1, keepdims=True) < 0, -1, 1)
    centre = own.mean(axis=1, keepdims=True)
    seen = np.zeros((SEEN, own.shape[1]), np.float32)
    seen[: len(axes)], seen[AXES : AXES + len(axes)] = axes @ (own - centre), axes @ (near - centre)
    brightness = prepared.kernel.relative_brightness(msi).ravel()
    seen[-2] = np.log(np.maximum(brightness, 0) + np.float32(_DARK))
    seen[-1] = np.log2(msi.shape[1] / up[0].n_in) - 2
    return seen.reshape(SEEN, *msi.shape[1:])
