"""Edge weights against scipy's Sobel filter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.edges import edge_weights, sobel_magnitude

RNG = np.random.default_rng(0)


def padded(msi: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.pad(msi, ((0, 0), (1, 1), (1, 1)), mode="edge")


def test_magnitude_is_sobels_of_the_band_mean_with_replicated_edges() -> None:
    msi = RNG.normal(size=(4, 13, 17)).astype(np.float32)
    p = msi.mean(axis=0, dtype=np.float64)
    expected = np.hypot(ndimage.sobel(p, 0, mode="nearest"), ndimage.sobel(p, 1, mode="nearest"))
    got = sobel_magnitude(padded(msi))
    assert got.shape == (13, 17)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_step_gives_an_edge_on_both_its_sides_and_no_frame() -> None:
    msi = np.zeros((2, 8, 10), np.float32)
    msi[:, :, 5:] = 3.0
    weights = edge_weights(sobel_magnitude(padded(msi)), 0.0, 12.0)
    assert weights[:, 4:6].min() == weights.max() == 1
    assert np.abs(weights[:, [0, 1, 2, 3, 6, 7, 8, 9]]).max() == 0


def test_weights_span_zero_to_one_of_the_scenes_range() -> None:
    magnitude = sobel_magnitude(padded(RNG.random((3, 20, 20), np.float32)))
    low, high = float(magnitude.min()), float(magnitude.max())
    weights = edge_weights(magnitude, low, high)
    assert (weights.min(), weights.max()) == (0, 1)
    np.testing.assert_allclose(weights, (magnitude - low) / (high - low), atol=1e-6)
    assert weights.dtype == np.float32


def test_weights_of_a_part_are_the_part_of_the_weights() -> None:
    around = padded(RNG.random((3, 20, 20), np.float32))
    whole = edge_weights(sobel_magnitude(around), 0.1, 2.0)
    part = edge_weights(sobel_magnitude(around[:, 4:14, 6:19]), 0.1, 2.0)
    np.testing.assert_array_equal(part, whole[4:12, 6:17])


@pytest.mark.parametrize("level", [0.0, 0.37])
def test_flat_scene_has_no_edges(level: float) -> None:
    magnitude = sobel_magnitude(np.full((3, 6, 6), level))
    weights = edge_weights(magnitude, float(magnitude.min()), float(magnitude.max()))
    np.testing.assert_array_equal(weights, np.zeros((4, 4)))


def test_magnitudes_beyond_the_range_are_held_to_it() -> None:
    np.testing.assert_array_equal(edge_weights(np.array([[-1.0, 5.0]]), 0.0, 2.0), [[0, 1]])
