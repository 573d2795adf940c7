"""Detail by area-to-point kriging over the ground and the MSI's colour, and back-projection (`kriging`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import let_go
from emrdiff_cli.core.methods.back_projection import consistent
from emrdiff_cli.core.methods.colour_kernel import (
    ColourKernel,
    degraded_features,
    learn_kernel,
    observe_neighbourhood,
    unit_axes,
)
from emrdiff_cli.core.methods.colour_term import ColourTerm
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.end_point import SceneToFit, fit_glp
from emrdiff_cli.core.methods.kriging import Kriged, KrigingData, krige
from emrdiff_cli.core.methods.msi_agreement import MsiAgreement
from emrdiff_cli.core.methods.texture import psf_overlap

Field = NDArray[np.float32]

_NARROWEST = 1e-6  # of the MSI's largest axis' variance: a narrower one is noise


@dataclass(frozen=True)
class PreparedKriging:
    """The data of a scene's kriging, before a covariance of places is settled.

    `axes` (m, m) from the MSI's bands to the axes of `data.msi`; `neighbourhood` (m, 2 h, 2 w), the MSI's;
    `injection`, the scene-wide map's detail that kriging adds to.
    """

    data: KrigingData
    kernel: ColourKernel
    neighbourhood: Field
    axes: Field
    injection: DetailInjection


def prepare_kriging(scene: SceneToFit, covariance: Covariance = USUAL) -> PreparedKriging:
    """The residual of the scene-wide map at LR, with its covariates there."""
    injection, valid, resampling = fit_glp(scene), scene.lr.valid, scene.resampling
    neighbourhood = observe_neighbourhood(
        scene.strips_to_learn_from, resampling.up, covariance.neighbourhood_range
    )
    kernel = learn_kernel(scene.strips_to_learn_from, neighbourhood, resampling, covariance)
    pixels = injection.msi[:, valid].astype(np.float64)
    axes = unit_axes(pixels, _NARROWEST).astype(np.float32)
    centred = injection.msi - injection.msi[:, valid].mean(axis=1)[:, None, None]
    data = KrigingData(
        residual=scene.linear.unexplained,
        spread=np.array([channel[valid].std(dtype=np.float64) for channel in injection.base]),
        msi=np.tensordot(axes, centred, axes=1),
        features=degraded_features(
            *(kernel, neighbourhood, scene.strips, resampling, scene.large),
            *(scene.evaluator.features_seen, scene.evaluator.columns_at_once),
        ),
        whitening=kernel.whitening(),
        valid=valid,
        overlap=psf_overlap(resampling.down),
        brightness=kernel.relative_brightness(injection.msi),
        axes=axes,
    )
    return PreparedKriging(data, kernel, neighbourhood, axes, injection)


def fit_kriging(scene: SceneToFit, covariance: Covariance | None = None) -> DetailInjection:
    """The scene-wide map's detail and the kriged prediction of the residual that it leaves.

    `covariance`: None for the scene's. Where the scene asks for it, the detail agrees with the MSI's.
    """
    covariance = covariance or scene.covariance
    agreement = None
    if scene.agreeing:
        agreement = MsiAgreement.of(scene.lr, scene.linear.unexplained, scene.resampling)
    prepared = prepare_kriging(scene, covariance)
    kept = None if agreement is None else agreement.kept
    kriged = krige(prepared.data, covariance, kept=kept, large=scene.large)
    nothing = np.empty((0, *scene.lr.valid.shape), np.float32)
    prepared = replace(prepared, data=replace(prepared.data, features=nothing))  # makes room
    if agreement is not None:
        prepared = replace(prepared, injection=agreement.applied(prepared.injection))
    return injected(prepared, kriged, scene)


def injected(prepared: PreparedKriging, kriged: Kriged, scene: SceneToFit) -> DetailInjection:
    """The scene-wide map's detail and a kriged prediction, back-projected; slopes on brightness join the others."""
    injection = prepared.injection
    at_lr = np.zeros_like(injection.base)
    colour = ColourTerm(prepared.kernel, kriged.weights, prepared.neighbourhood, at_lr)
    if kriged.shape.any():
        for slopes, shape in zip(kriged.slopes, kriged.shape, strict=True):
            slopes += shape / np.float32(len(prepared.axes) * prepared.kernel.brightness)
            let_go(slopes, shape)
    detail = replace(injection, local_slopes=kriged.slopes, colour=colour)
    return consistent(detail, scene, kriged.texture)
