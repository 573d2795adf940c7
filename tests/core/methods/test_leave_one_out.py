"""Leave-one-out residuals: those of a kriging that is solved again without the pixel, and as large as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess
from emrdiff_cli.core.methods.leave_one_out import leave_one_out, leave_one_out_of
from tests.support.geometries import noisy
from tests.support.pair_arrays import local_pair

HOLE = (3, 5)


def noisy_scene(share: float) -> SceneToFit:
    """24 x 24 LR pixels, of which one is not valid."""
    pair = local_pair()
    valid = pair.lr.valid.copy()
    valid[HOLE] = False
    lr = replace(pair.lr, hsi=noisy(pair.lr.hsi, share), valid=valid)
    return SceneToFit(lr, pair.strips, pair.maps, regress(lr))


def likeliest(scene: SceneToFit) -> GaussianProcess:
    return GaussianProcess.likeliest(prepare_kriging(scene).data)


def test_a_residual_is_that_of_a_kriging_without_the_pixel() -> None:
    field = likeliest(noisy_scene(0.1))
    found, block = leave_one_out_of(field), field.block(8, 8)
    place = np.flatnonzero((block.places == [10, 13]).all(axis=1))
    others = np.setdiff1d(np.arange(len(block.places)), place)
    covariance = block.covariance_matrix()
    for channel, nugget in enumerate(field.nuggets):
        noisy_covariance = covariance[np.ix_(others, others)] + nugget * np.eye(len(others))
        weights = np.linalg.solve(noisy_covariance, covariance[others, place[0]])
        missed = block.residual[channel, place[0]] - weights @ block.residual[channel, others]
        assert found.residual[channel, 10, 13] == pytest.approx(missed * field.spread[channel], rel=1e-3)


def test_residuals_are_as_large_as_their_deviations_say() -> None:
    found = leave_one_out(noisy_scene(0.3))
    score = found.residual[:, found.known] / found.deviation[:, found.known]
    assert np.sqrt(np.square(score).mean(axis=1)) == pytest.approx(1, abs=0.15)


def test_they_are_of_the_valid_pixels_of_the_blocks_that_were_sampled() -> None:
    scene = noisy_scene(0.1)
    field = likeliest(scene)
    whole, sampled = leave_one_out_of(field), leave_one_out_of(field, blocks=3)
    assert (whole.known == scene.lr.valid).all()
    assert whole.known.sum() > 2 * sampled.known.sum() > 0
    assert np.isnan(sampled.deviation[:, ~sampled.known]).all()
    assert np.array_equal(sampled.residual[:, sampled.known], whole.residual[:, sampled.known])
