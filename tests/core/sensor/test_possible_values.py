"""The range that an LR-HSI shows, and values brought back into it, against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.possible_values import PossibleValues, cell_numbers
from emrdiff_cli.core.sensor.resampling import gaussian_downsampler

DOWN = (gaussian_downsampler(AxisPlacement(2, 0.0), 4, 8, 0.85),) * 2
EVERY = np.ones((4, 4), np.bool_)
CELLS = np.array([0, 0, 1, 1])


def ranges(*least: float, most: float = 1.0) -> PossibleValues:
    bands = np.asarray(least, np.float32)
    return PossibleValues(bands, np.full_like(bands, most), np.zeros_like(bands))


@pytest.mark.parametrize(
    ("low", "share", "expected"),
    [(0.1, 0.0, 0.0), (-0.2, 0.005, -0.2), (-0.2, 0.05, -np.inf)],
    ids=["none is negative", "few are", "many are"],
)
def test_the_least_value_of_a_band(low: float, share: float, expected: float) -> None:
    hsi = np.linspace(0.1, 1, 200, dtype=np.float32).reshape(1, 10, 20).repeat(3, axis=0)
    hsi[0].flat[: round(share * 200) or 1] = low
    found = PossibleValues.of(hsi, np.ones((10, 20), np.bool_), DOWN)
    np.testing.assert_array_equal(found.lowest, [np.float32(expected), 0, 0])
    peak = DOWN[0].weights.max() ** 2
    assert found.highest[1] == pytest.approx(1 / peak, rel=1e-6)


def test_data_around_zero_have_no_range() -> None:
    hsi = np.random.default_rng(0).normal(size=(5, 10, 20)).astype(np.float32)
    hsi[0] = 3
    assert not np.isfinite(PossibleValues.of(hsi, np.ones((10, 20), np.bool_), DOWN).lowest).any()


def test_holes_tell_nothing() -> None:
    hsi, valid = np.full((2, 4, 4), 0.5, np.float32), EVERY.copy()
    hsi[:, 0, 0], valid[0, 0] = -9, False
    np.testing.assert_array_equal(PossibleValues.of(hsi, valid, DOWN).lowest, [0, 0])
    assert not np.isfinite(PossibleValues.of(hsi, np.zeros_like(valid), DOWN).lowest).any()


def test_what_is_added_is_taken_from_the_rest_of_the_cell() -> None:
    values = np.zeros((2, 4, 4), np.float32)
    values[:, :2, :2] = [[-1, 1], [2, 3]]
    lifted = ranges(0.0, -np.inf).lifted(values, EVERY, CELLS, CELLS)
    np.testing.assert_allclose(lifted[0, :2, :2], [[0, 2 / 3], [5 / 3, 8 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(lifted[1], values[1])
    valid = EVERY.copy()
    valid[1, 1] = False  # gives nothing, and is left alone
    lifted = ranges(0.0, 0.0).lifted(values, valid, CELLS, CELLS)
    np.testing.assert_allclose(lifted[0, :2, :2], [[0, 0.5], [1.5, 3]], rtol=1e-6)


def test_an_image_of_the_same_means_is_not_further_from_it() -> None:
    rng = np.random.default_rng(1)
    truth = np.maximum(rng.normal(0.3, 0.5, (9, 4, 4)), 0)
    error = rng.normal(0, 0.4, truth.shape).reshape(9, 2, 2, 2, 2)
    values = (truth + (error - error.mean(axis=(2, 4), keepdims=True)).reshape(truth.shape)).astype(
        np.float32
    )
    lifted = ranges(*[0.0] * 9).lifted(values, EVERY, CELLS, CELLS)
    after, before = (
        ((image - truth) ** 2).reshape(9, 2, 2, 2, 2).sum(axis=(2, 4)) for image in (lifted, values)
    )
    assert (after <= before + 1e-6).all()
    assert (after < before).mean() > 0.5


@given(st.integers(0, 2**32 - 1), st.floats(-1, 1))
def test_no_value_stays_below_and_the_means_stay(seed: int, mean: float) -> None:
    values = np.random.default_rng(seed).normal(mean, 1, (3, 4, 4)).astype(np.float32)
    lowest = np.array([0, 0.25, -0.5])[:, None, None]
    lifted = ranges(0, 0.25, -0.5).lifted(values, EVERY, CELLS, CELLS)
    assert (lifted >= lowest).all()
    before, after = (image.reshape(3, 2, 2, 2, 2).mean(axis=(2, 4)) for image in (values, lifted))
    np.testing.assert_allclose(after, np.maximum(before, lowest), atol=1e-6)


def test_values_beyond_are_counted_but_for_holes_and_rounding() -> None:
    values = np.array([[[-1, 0.5, np.nan, 7, -1e-9]]], np.float32)
    limits = PossibleValues(*(np.array([limit], np.float32) for limit in (0, 5, 1e-6)))
    assert limits.count_beyond(values) == 2


def test_cells_are_cut_where_they_are_long() -> None:
    nearest = np.array([3] * 2 + [4] * 7 + [5])
    assert cell_numbers(nearest, 3).tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 4]
    assert cell_numbers(nearest, 9).tolist() == [0, 0, *[1] * 7, 2]
