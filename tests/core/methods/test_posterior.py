"""Posterior variance of kriging: the formula's own value, right where the model is, less where more is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.methods.colour_kernel import centre_of, neighbourhood_of
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess
from emrdiff_cli.core.methods.posterior import Posterior, posterior_of, white_parts
from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.support.pair_arrays import Pair, texture

SIDE = 32  # HR pixels: 8 LR pixels, a single block
Doubles = NDArray[np.float64]


def posterior(side: int = SIDE, noise: float = 0.0, covariance: Covariance = USUAL) -> tuple[Pair, Posterior]:
    msi = texture(2, side, side, 3)
    truth = np.stack([msi[0] * (1 + msi[1]), msi[1] - msi[0] ** 2])
    pair = Pair(np.asarray(truth, np.float32), msi)
    rng = np.random.default_rng(5)
    hsi = pair.lr.hsi + noise * rng.normal(size=pair.lr.hsi.shape).astype(np.float32)
    lr = replace(pair.lr, hsi=hsi)
    scene = SceneToFit(lr, pair.strips, pair.maps, regress(lr))
    prepared = prepare_kriging(scene, covariance)
    field = GaussianProcess.likeliest(prepared.data, covariance)
    return pair, posterior_of(field, prepared, pair.maps)


def joint_covariance(pair: Pair, found: Posterior) -> tuple[Doubles, Doubles, Doubles]:
    """K of the LR pixels, their covariance with the HR pixels, and the HR pixels' variances, pixel by pixel."""
    data, prior, (sill, reach) = found.field.data, found.field.covariance, found.field.slope_prior
    rows, cols = (centre_of(taps) for taps in pair.maps.up)
    places = np.array([(row, col) for row in rows for col in cols])
    around = neighbourhood_of(found.neighbourhood, *pair.maps.up)
    colours = data.whitening @ found.kernel(pair.msi, around).reshape(len(data.features), -1)
    msi = found.axes @ (pair.msi - found.centre[:, None, None]).reshape(len(pair.msi), -1)
    coarse = np.argwhere(data.valid).astype(float)
    bright = data.brightness[data.valid], found.kernel.relative_brightness(pair.msi).ravel()
    seen = data.whitening @ data.features[:, data.valid], data.msi[:, data.valid]

    def covariance(one: Doubles, other: Doubles, *products: NDArray[np.floating]) -> Doubles:
        apart = np.square(one[:, None] - other).sum(axis=2)
        colour_near, slope_near, ground = (
            np.exp(-0.5 * apart / r**2) for r in (prior.colour_range, reach, prior.ground_range)
        )
        common, (colour, slope, brightness) = prior.common_slope_sill, products
        return np.asarray(
            prior.colour_sill * colour_near * colour
            + (sill * slope_near + common) * slope
            + (prior.ground_sill + prior.shape_sill * brightness) * ground
        )

    between = covariance(
        coarse, coarse, seen[0].T @ seen[0], seen[1].T @ seen[1], np.outer(bright[0], bright[0])
    )
    across = covariance(coarse, places, seen[0].T @ colours, seen[1].T @ msi, np.outer(*bright))
    own = prior.colour_sill * np.square(found.kernel.brightness_factor(pair.msi)).ravel()
    own = own + (sill + prior.common_slope_sill) * np.square(msi).sum(axis=0) + prior.ground_sill
    own = own + prior.shape_sill * np.square(bright[1])
    return between, across, np.asarray(own, np.float64)


@pytest.mark.parametrize("shape_sill", [0.0, 0.3])
def test_it_is_the_formulas_own_value(shape_sill: float) -> None:
    pair, found = posterior(covariance=replace(USUAL, shape_sill=shape_sill))
    between, across, own = joint_covariance(pair, found)
    for nugget, told in zip(found.nuggets, found.maps(pair.msi, found.windows()[0]), strict=True):
        solved = np.linalg.solve(between + nugget * np.eye(len(between)), across)
        expected = own - (across * solved).sum(axis=0)
        np.testing.assert_allclose(told.ravel(), expected, rtol=1e-3, atol=1e-6)


def test_errors_of_fields_drawn_from_the_model_are_as_large_as_it_says() -> None:
    pair, found = posterior()
    between, across, own = joint_covariance(pair, found)
    nugget, rng = 0.01, np.random.default_rng(0)
    noisy = between + nugget * np.eye(len(between))
    pixels = rng.choice(across.shape[1], 20, replace=False)
    joint = np.block([[noisy, across[:, pixels]], [across[:, pixels].T, np.diag(own[pixels])]])
    np.fill_diagonal(joint[len(between) :, len(between) :], own[pixels])
    told = replace(found, nuggets=np.array([nugget])).maps(pair.msi, found.windows()[0]).ravel()[pixels]
    within = []
    for place, pixel in enumerate(pixels):
        of_pixel = [*range(len(between)), len(between) + place]
        root = np.linalg.cholesky(joint[np.ix_(of_pixel, of_pixel)] + 1e-9 * np.eye(len(of_pixel)))
        draws = root @ rng.normal(size=(len(of_pixel), 400))
        predicted = across[:, pixel] @ np.linalg.solve(noisy, draws[:-1])
        within.append(np.abs(draws[-1] - predicted) < 1.645 * np.sqrt(told[place]))
    assert abs(np.mean(within) - 0.9) < 0.02  # standard error 0.003 of 8000 draws


def test_nothing_tells_more_than_all_the_lr_pixels() -> None:
    pair, found = posterior()
    window = found.windows()[0]
    fewer = found.field.data.valid.copy()
    fewer[:, :3] = False
    without = replace(found, field=replace(found.field, data=replace(found.field.data, valid=fewer)))
    more, less = found.maps(pair.msi, window), without.maps(pair.msi, window)
    assert (less >= more * (1 - 1e-5)).all()
    assert np.median(less[0, :, :8] / more[0, :, :8]) > 1.1


@pytest.mark.slow
def test_texture_is_told_from_noise() -> None:
    """White noise of the LR-HSI is white at LR and no texture of the HR scene."""
    deviation = 0.02
    _, found = posterior(96, deviation)
    white = white_parts(found)
    np.testing.assert_allclose(np.sqrt(white.at_lr.min()), deviation, rtol=0.5)
    assert (white.texture * np.square(apply_weights(found)) < 0.8 * white.at_lr).all()


def apply_weights(found: Posterior) -> float:
    """The root of the share of white texture's variance that an LR pixel sees."""
    rng = np.random.default_rng(1)
    rows, cols = found.resampling.down
    white = rng.normal(size=(30, rows.n_in, cols.n_in)).astype(np.float32)
    return float(apply_taps(white, rows, cols).std())
