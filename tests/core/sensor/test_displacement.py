"""Displacements that vary over the scene, or of detectors, are found as they are, and only where they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.displacement import (
    BandShift,
    Displacement,
    DisplacementField,
    FoundField,
    PlacedBlock,
    estimate_field,
    estimate_group_shift,
    estimate_shift_finely,
)
from tests.support.geometries import Cube, Doubles, block, lattice, noisy, seen_at, turned
from tests.support.pairs import see
from tests.support.scenes import textured

SIDE, RATIO = 192, 4
SIDES = (SIDE, SIDE)
BY = (0.4, -0.7)


def shifted(by: tuple[float, float]) -> Doubles:
    return np.asarray(np.zeros((2, SIDE // RATIO, SIDE // RATIO)) + np.reshape(by, (2, 1, 1)))


def displaced(displacement: Doubles, noise: float = 0.0, seed: int = 0) -> tuple[Cube, Cube]:
    """LR-HSI and MSI, the former's pixels lying a displacement (2, h, w) away from their places."""
    truth = textured(8, SIDE, SIDE, seed)
    return noisy(seen_at(truth, RATIO, lattice(SIDES, RATIO) + displacement), noise, seed), see(truth)


def field_of(lr: Cube, msi: Cube) -> FoundField:
    found = estimate_field([PlacedBlock(block(lr, msi, RATIO))], lr.shape[1:], WALD_PSF)
    assert found is not None
    return found


def affine(degrees: float, scale: float) -> Doubles:
    """The coefficients of 1, v and u of a scene that is turned and scaled about its middle."""
    half, angle = SIDE / RATIO / 2, math.radians(degrees)
    along, across = half * (scale * math.cos(angle) - 1), half * scale * math.sin(angle)
    return np.array([[0, along, -across], [0, across, along]])


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize(("degrees", "scale"), [(0.3, 1.002), (0.0, 1.002), (0.3, 1.0), (1.0, 1.005)])
def test_a_scene_that_is_turned_and_scaled(degrees: float, scale: float, noise: float) -> None:
    found = field_of(*displaced(turned(SIDES, RATIO, degrees, scale), noise))
    true = affine(degrees, scale)
    assert found.field.coefficients.shape == true.shape
    off = np.abs(found.field.coefficients - true)
    assert (off < np.maximum(3 * found.standard_errors, 0.002)).all()
    assert off.max() < 0.03
    assert found.unexplained < found.of_shift


def test_blocks_of_a_scene_tell_its_field_together() -> None:
    truth_field = turned(SIDES, RATIO, 0.5, 0.997)
    lr, msi = displaced(truth_field)
    side, hr = 20, 20 * RATIO
    placed = [
        PlacedBlock(
            block(
                lr[:, top : top + side, left : left + side],
                msi[:, high : high + hr + 32, low : low + hr + 32],
                RATIO,
                (top * RATIO - high, left * RATIO - low),
            ),
            top,
            left,
        )
        for top, left in ((0, 0), (0, 28), (28, 0), (28, 28))
        for high, low in [(max(0, top * RATIO - 32), max(0, left * RATIO - 32))]
    ]
    found = estimate_field(placed, lr.shape[1:], WALD_PSF)
    assert found is not None
    np.testing.assert_allclose(found.field.over(), truth_field, atol=0.01)


@pytest.mark.parametrize("by", [(0.0, 0.0), BY])
@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_a_scene_that_is_merely_shifted_has_no_field(by: tuple[float, float], noise: float) -> None:
    found = field_of(*displaced(shifted(by), noise))
    assert not found.field.varies
    assert found.field.coefficients[:, 0] == pytest.approx(by, abs=0.03)
    assert found.unexplained == found.of_shift


@pytest.mark.parametrize("seed", range(8))
def test_noise_has_no_field(seed: int) -> None:
    lr, msi = displaced(shifted((0.0, 0.0)))
    noise = np.random.default_rng(seed).normal(size=lr.shape).astype(np.float32)
    assert not field_of(noise, msi).field.varies


@pytest.mark.parametrize("start", [(0.0, 0.0), (0.3, -0.9)])
def test_a_shift_is_found_from_near_it(start: tuple[float, float]) -> None:
    found = estimate_shift_finely(block(*displaced(shifted(BY), 0.05), RATIO), WALD_PSF, start)
    assert found is not None
    assert found.field.coefficients[:, 0] == pytest.approx(BY, abs=0.005)
    assert found.standard_errors.max() < 0.01


def test_a_few_pixels_do_not_tell() -> None:
    truth = textured(8, 32, 32)
    few = block(seen_at(truth, RATIO, lattice((32, 32), RATIO)), see(truth), RATIO)
    assert estimate_field([PlacedBlock(few)], (8, 8), WALD_PSF) is None
    assert estimate_shift_finely(few, WALD_PSF, (0.0, 0.0)) is None
    still = DisplacementField(np.zeros((2, 1)), (8, 8))
    assert estimate_group_shift([PlacedBlock(few)], still, WALD_PSF) is None


def test_bands_are_displaced_besides_the_field_that_all_share() -> None:
    whole = turned(SIDES, RATIO, 0.3, 1.002)
    lr, msi = displaced(whole + np.reshape((0.4, -0.1), (2, 1, 1)), 0.02)
    shared = DisplacementField(affine(0.3, 1.002), lr.shape[1:])
    found = estimate_group_shift([PlacedBlock(block(lr, msi, RATIO))], shared, WALD_PSF)
    assert found is not None
    assert found[0] == pytest.approx((0.4, -0.1), abs=0.01)
    assert max(found[1]) < 0.01


def test_a_field_is_a_polynomial_of_the_place() -> None:
    """Turned about the middle: the middle stays, the corners move by half the diagonal times the angle."""
    field = DisplacementField(affine(0.3, 1.0), (48, 48))
    np.testing.assert_allclose(field.over(), turned(SIDES, RATIO, 0.3, 1.0), atol=1e-3)
    np.testing.assert_allclose(field.at(np.array([23.5]), np.array([23.5])), 0, atol=1e-12)
    assert not DisplacementField(np.ones((2, 1)), (4, 4)).varies


def test_groups_of_bands_lie_where_the_field_and_their_shift_put_them() -> None:
    field = DisplacementField(np.array([[0.1, 0.2, 0.0], [0.0, 0.0, 0.3]]), (10, 10))
    displacement = Displacement(field, (BandShift((1, 3), (0.5, -0.5)),))
    rows, cols = np.mgrid[:10, :10].astype(np.float64)
    groups = {tuple(bands): moved for bands, moved in displacement.by_group(4, rows, cols)}
    np.testing.assert_allclose(groups[(0, 2)], field.over())
    np.testing.assert_allclose(groups[(1, 3)], field.over() + np.reshape((0.5, -0.5), (2, 1, 1)))
