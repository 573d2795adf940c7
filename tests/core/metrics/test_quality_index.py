"""The universal image quality index against its formula, window by window, and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.cube import Scores, score

Floats = NDArray[np.float64]


def scored(fused: Floats, reference: Floats) -> Scores:
    return score(fused, reference, 1.0, metrics=["uiqi"])


def index(x: Floats, y: Floats) -> float:
    """Wang and Bovik's formula on one window, with sample (co)variances."""
    (xx, xy), (_, yy) = np.cov(x.ravel(), y.ravel())
    mx, my = x.mean(), y.mean()
    return float(4 * xy * mx * my / ((xx + yy) * (mx**2 + my**2)))


@pytest.mark.parametrize("count", [0, 2])
def test_the_index_is_the_mean_of_the_formula_over_windows(count: int) -> None:
    rng = np.random.default_rng(count)
    reference = rng.uniform(0.1, 0.9, (2, 39, 36))
    fused = 0.9 * reference + rng.normal(0, 0.1, reference.shape)
    fused[:, 0, :count] = np.nan
    windows = [
        (slice(None), slice(i, i + 32), slice(j, j + 32))
        for i in range(8)
        for j in range(5)
        if np.isfinite(fused[:, i : i + 32, j : j + 32]).all()
    ]
    expected = [np.mean([index(fused[w][b], reference[w][b]) for w in windows]) for b in range(2)]
    got = scored(fused, reference)
    assert got.windows["uiqi_windows"] == len(windows)
    assert got.per_band["uiqi"] == pytest.approx(expected, rel=1e-6)
    assert got.overall["uiqi"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_gain_worked_by_hand() -> None:
    """With x = 2 y: cov = 2 v, var = 4 v + v; luminance 2 * 2 / (4 + 1): the index is 0.8 * 0.8."""
    reference = np.random.default_rng(0).uniform(1, 2, (1, 32, 32))
    assert scored(2 * reference, reference).overall["uiqi"] == pytest.approx(0.64)
    assert scored(-reference, reference).overall["uiqi"] == pytest.approx(1.0)


@pytest.mark.parametrize(("level", "expected"), [(0.3, 0.6), (0.1, 1.0), (0.0, 0.0)])
def test_flat_windows_are_scored_by_their_level_alone(level: float, expected: float) -> None:
    """2 * 0.3 * 0.1 / (0.09 + 0.01) = 0.6; 0.1 has no exact double, so rounding must not pass for texture."""
    got = scored(np.full((1, 40, 40), level), np.full((1, 40, 40), 0.1))
    assert got.overall["uiqi"] == pytest.approx(expected, abs=1e-12)


def test_two_empty_windows_are_alike() -> None:
    assert scored(np.zeros((1, 32, 32)), np.zeros((1, 32, 32))).overall["uiqi"] == 1.0


def test_without_a_whole_window_the_index_is_null() -> None:
    cube = np.random.default_rng(0).uniform(size=(2, 31, 60))
    got = scored(cube, cube)
    assert got.overall["uiqi"] is None
    assert got.notes == ("uiqi is null: no 32 x 32 window lies wholly inside valid data",)
