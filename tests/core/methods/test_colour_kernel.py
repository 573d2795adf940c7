"""Features of colour: a Gaussian kernel's factors, means at LR of what they are at HR, the same by parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.methods.colour_kernel import (
    ColourKernel,
    degraded_features,
    learn_kernel,
    neighbourhood_of,
    observe_neighbourhood,
)
from emrdiff_cli.core.methods.covariance import USUAL
from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.support.pair_arrays import by_strips, learned, resampling, texture

Image = NDArray[np.float32]


def pixels(count: int, bands: int = 3, seed: int = 0) -> tuple[Image, Image]:
    """Colours (m, N) and their surroundings."""
    values = np.random.default_rng(seed).uniform(0.05, 0.8, (2, bands, count)).astype(np.float32)
    return values[0], values[1]


def gaussian(kernel: ColourKernel, own: Image, around: Image) -> NDArray[np.float64]:
    """(N, N): the kernel that the features stand for, brightness aside."""
    roots = np.sqrt(np.concatenate([own, around]).astype(np.float64) - kernel.lowest)
    points = (kernel.axes[:, :-1] @ roots + kernel.axes[:, -1:]).T
    apart, share = np.square(points[:, None] - points), kernel.neighbourhood_share
    by_colour, by_both = np.exp(-0.5 * apart[..., : len(own)].sum(axis=2)), np.exp(-0.5 * apart.sum(axis=2))
    return np.asarray((1 - share) * by_colour + share * by_both)


def cosines(products: NDArray[Any]) -> NDArray[np.float64]:
    length = np.sqrt(np.diag(products))
    return np.asarray(products / length / length[:, None])


def roughness(values: Image) -> float:
    return float(np.abs(np.diff(values, axis=-1)).mean())


# The kernel


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_products_of_whitened_features_are_the_gaussian_kernel(share: float) -> None:
    own, around = pixels(40)
    kernel = ColourKernel.learn(own, around, replace(USUAL, neighbourhood_share=share))
    whitened = kernel.whitening() @ kernel(own, around)
    expected = gaussian(kernel, own, around)
    assert expected.min() < 0.5
    np.testing.assert_allclose(cosines(whitened.T @ whitened), expected, atol=2e-3)


def test_landmarks_cover_the_colours_of_a_scene_that_they_were_not_chosen_from() -> None:
    own, around = (np.concatenate([part, part**2], axis=1) for part in pixels(3000))
    kernel = ColourKernel.learn(own[:, ::2], around[:, ::2])
    others = own[:, 1::97], around[:, 1::97]
    whitened = kernel.whitening() @ kernel(*others)
    np.testing.assert_allclose(cosines(whitened.T @ whitened), gaussian(kernel, *others), atol=0.05)


def test_brighter_pixels_count_for_more() -> None:
    own, around = pixels(60)
    kernel = ColourKernel.learn(own, around)
    whitened = kernel.whitening() @ kernel(own, around)
    lengths = np.square(whitened).sum(axis=0)
    assert np.corrcoef(lengths, own.mean(axis=0))[0, 1] > 0.95


def test_few_colours_have_few_landmarks() -> None:
    palette, surroundings = pixels(3)
    of = np.random.default_rng(0).integers(0, 3, 500)
    assert len(ColourKernel.learn(palette[:, of], surroundings[:, of]).landmarks) == 3
    assert len(ColourKernel.learn(*pixels(500)).landmarks) > 40
    grey = np.full((3, 500), 0.3, np.float32)
    assert len(ColourKernel.learn(grey, grey).landmarks) == 1


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_units_are_of_no_consequence(factor: float) -> None:
    own, around = pixels(200)
    kernel = ColourKernel.learn(own, around)
    other_own, other_around = (np.float32(factor) * part for part in (own, around))
    other = ColourKernel.learn(other_own, other_around)
    np.testing.assert_allclose(other(other_own, other_around), kernel(own, around), rtol=1e-3, atol=1e-4)


def test_negative_values_count_from_the_lowest() -> None:
    own, around = pixels(200)
    lowest = min(own.min(), around.min())
    kernel = ColourKernel.learn(own - lowest, around - lowest)
    below = own - lowest - np.float32(0.25), around - lowest - np.float32(0.25)
    other = ColourKernel.learn(*below)
    np.testing.assert_allclose(other(*below), kernel(own - lowest, around - lowest), rtol=1e-3, atol=1e-4)
    assert np.isfinite(kernel(own - 1, around - 1)).all()


def test_what_looks_alike_is_told_apart_by_its_surroundings_but_less_than_by_itself() -> None:
    own, around = pixels(200)
    kernel = ColourKernel.learn(own, around)
    middle, aside = (np.full((3, 1), value, np.float32) for value in (0.3, 0.6))
    whitened = kernel.whitening() @ np.concatenate(
        [kernel(*pair) for pair in ((middle, middle), (middle, aside), (aside, middle))], axis=1
    )
    alike = cosines(whitened.T @ whitened)[0]
    assert alike[2] < alike[1] < 0.99


# Over a scene


def test_features_at_lr_are_the_means_of_those_at_hr() -> None:
    msi = texture(2, 140, 280, 1)  # higher and wider than what is held at once
    maps, (kernel, neighbourhood) = resampling(140, 280, 2), learned(msi, ratio=2)
    fine = kernel(msi, neighbourhood_of(neighbourhood, *maps.up))
    coarse = degraded_features(kernel, neighbourhood, by_strips(msi, 140), maps)
    assert coarse.shape == (len(kernel.landmarks), 70, 140)
    np.testing.assert_allclose(coarse, apply_taps(fine, *maps.down), atol=1e-5)


@pytest.mark.parametrize("height", [7, 64])
def test_strips_make_no_difference(height: int) -> None:
    msi = texture(2, 260, 256, 2)  # so many that landmarks are chosen among some of them
    maps, (kernel, neighbourhood), (other, by_parts) = (
        resampling(260, 256),
        learned(msi, 260),
        learned(msi, height),
    )
    np.testing.assert_allclose(by_parts, neighbourhood, atol=1e-6)
    np.testing.assert_allclose(other.landmarks, kernel.landmarks, atol=1e-4)
    np.testing.assert_allclose(
        degraded_features(kernel, neighbourhood, by_strips(msi, height), maps),
        degraded_features(kernel, neighbourhood, by_strips(msi, 260), maps),
        atol=1e-5,
    )


def test_what_invalid_pixels_hold_is_of_no_consequence() -> None:
    msi, maps = texture(3, 64, 64, 3), resampling(64, 64)
    valid = np.ones((64, 64), bool)
    valid[20:40, 30:50] = False
    found = []
    for garbage in (0.1, 50.0):
        strips = by_strips(np.where(valid, msi, np.float32(garbage)), 7, valid)
        neighbourhood = observe_neighbourhood(strips, maps.up)
        found.append((neighbourhood, learn_kernel(strips, neighbourhood, maps)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1].landmarks, found[1][1].landmarks)
    assert found[0][0].max() < msi.max()


@pytest.mark.parametrize("ratio", [4.0, 2.5])
def test_surroundings_lie_where_they_are(ratio: float) -> None:
    side = int(20 * ratio)
    rows, cols = np.mgrid[:side, :side].astype(np.float32)
    msi, maps = np.stack([0.5 + 0.01 * rows, 0.2 + 0.02 * cols]), resampling(side, side, ratio)
    around = neighbourhood_of(observe_neighbourhood(by_strips(msi), maps.up), *maps.up)
    inner = np.s_[:, 8:-8, 8:-8]
    np.testing.assert_allclose(around[inner], msi[inner], atol=5e-3)


@pytest.mark.parametrize("ratio", [4.0, 2.5])
@pytest.mark.parametrize("axis", [1, 2])
def test_surroundings_do_not_tell_one_end_of_the_scene_from_the_other(ratio: float, axis: int) -> None:
    side = int(20 * ratio)
    msi, maps = texture(2, side, side, 6), resampling(side, side, ratio)
    around, turned = (
        neighbourhood_of(observe_neighbourhood(by_strips(image), maps.up), *maps.up)
        for image in (msi, np.flip(msi, axis))
    )
    np.testing.assert_allclose(np.flip(turned, axis), around, atol=2e-3)


def test_rounding_is_no_colour() -> None:
    """The surroundings of a constant are constant but for float32's last digits."""
    constant = np.full((2, 64, 56), 0.4, np.float32)
    kernel, neighbourhood = learned(constant)
    assert np.ptp(neighbourhood) < 1e-6
    assert len(kernel.landmarks) == 1


def test_surroundings_are_smooth_and_a_tiles_are_the_scenes() -> None:
    msi, maps = texture(2, 64, 64, 4), resampling(64, 64)
    neighbourhood = observe_neighbourhood(by_strips(msi), maps.up)
    around = neighbourhood_of(neighbourhood, *maps.up)
    assert 0.01 < roughness(around) < 0.5 * roughness(msi)
    part = neighbourhood_of(neighbourhood, maps.up[0].part(13, 29), maps.up[1].part(40, 41))
    np.testing.assert_allclose(part, around[:, 13:29, 40:41], atol=1e-6)


@pytest.mark.parametrize("seen", [0, 1])
def test_a_scene_of_hardly_a_valid_pixel_has_a_kernel(seen: int) -> None:
    msi, maps = texture(2, 32, 32, 5), resampling(32, 32)
    valid = np.zeros((32, 32), bool)
    valid[0, :seen] = True
    strips = by_strips(msi, 7, valid)
    neighbourhood = observe_neighbourhood(strips, maps.up)
    kernel = learn_kernel(strips, neighbourhood, maps)
    assert np.isfinite(kernel.whitening() @ kernel(msi[:, 0], msi[:, 1])).all()
