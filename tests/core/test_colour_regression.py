"""Regression by colour, against a plain second implementation and by what it must not see."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.colour_regression import COLOUR_WINDOWS, ColourWindow, colour_axes, regress_by_colour
from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.resampling import Taps, cubic_upsampler

Image = NDArray[np.float32]
LR, BANDS = (7, 9), 3


def grids(ratio: float = 4.0) -> tuple[Taps, Taps]:
    place = AxisPlacement(ratio, 0.0)
    rows, cols = (cubic_upsampler(place, n, int(n * ratio)) for n in LR)
    return rows, cols


def images(seed: int = 0, ratio: float = 4.0) -> tuple[Image, Image, Image]:
    """Values (2, h, w), the MSI at LR and the MSI."""
    rng = np.random.default_rng(seed)
    rows, cols = grids(ratio)
    fine = rng.normal(size=(BANDS, rows.n_out, cols.n_out))
    return tuple(
        image.astype(np.float32) for image in (rng.normal(size=(2, *LR)), rng.normal(size=(BANDS, *LR)), fine)
    )  # type: ignore[return-value]


def plainly(
    window: ColourWindow,
    values: Image,
    known: Image,
    valid: NDArray[np.bool_],
    colour: Image,
    place: tuple[float, float],
) -> NDArray[np.float64]:
    """The weighted ridge fit at one pixel of a colour (m,) at LR coordinates, by least squares with pseudo-data."""
    near = [round(v) for v in place]
    rows, cols = (range(max(0, n - 2), min(size, n + 3)) for n, size in zip(near, LR, strict=True))
    at = [(r, c) for r in rows for c in cols if valid[r, c]]
    away = np.array([known[:, r, c] - colour for r, c in at], float)
    distance = np.array([(r - place[0]) ** 2 + (c - place[1]) ** 2 for r, c in at])
    weight = np.exp(-0.5 * distance / window.sigma**2)
    weight *= np.exp(-0.5 * np.square(away).sum(axis=1) / window.bandwidth**2) + 1e-7
    weight /= weight.sum()
    targets = np.array([values[:, r, c] for r, c in at], float)
    design = np.concatenate([np.ones((len(at), 1)), away], axis=1) * np.sqrt(weight)[:, None]
    penalty = np.sqrt(window.ridge) * np.eye(BANDS + 1)[1:]
    left = np.concatenate([design, penalty])
    right = np.concatenate([targets * np.sqrt(weight)[:, None], np.zeros((BANDS, values.shape[0]))])
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0][0])


@pytest.mark.parametrize("window", COLOUR_WINDOWS)
@pytest.mark.parametrize("ratio", [4.0, 2.5])
def test_each_pixel_is_the_weighted_ridge_fit_around_it(window: ColourWindow, ratio: float) -> None:
    values, known, fine = images(ratio=ratio)
    valid = np.random.default_rng(1).random(LR) > 0.2
    axes = np.eye(BANDS, dtype=np.float32)
    result = regress_by_colour(window, values, known, valid, axes, fine, *grids(ratio))
    limit = np.abs(np.where(valid, values, 0)).max(axis=(1, 2))
    for row, col in ((10, 11), (13, 16), (7, 9), (9, 13)):
        place = ((row + 0.5) / ratio - 0.5, (col + 0.5) / ratio - 0.5)
        expected = plainly(window, values, known, valid, fine[:, row, col], place)
        np.testing.assert_allclose(result[:, row, col], np.clip(expected, -limit, limit), atol=2e-4)


def test_what_is_linear_in_colour_is_recovered() -> None:
    _, known, fine = images()
    mix = np.array([[0.5, -0.2, 0.1]], np.float32)
    values = np.tensordot(mix, known, axes=1)
    window = ColourWindow(1.5, 3.0, 1e-6)
    result = regress_by_colour(
        window, values, known, np.ones(LR, bool), np.eye(BANDS, dtype=np.float32), fine, *grids()
    )
    expected = np.clip(np.tensordot(mix, fine, axes=1), -np.abs(values).max(), np.abs(values).max())
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_invalid_pixels_have_no_say_and_a_pixel_without_valid_ones_gets_zero() -> None:
    values, known, fine = images()
    valid = np.ones(LR, bool)
    valid[:, :5] = False
    axes = colour_axes(known, valid)
    results = []
    for spoilt in (0.0, 1e6):
        changed, msi = values.copy(), known.copy()
        changed[:, ~valid] += spoilt
        msi[:, ~valid] += spoilt
        results.append(regress_by_colour(COLOUR_WINDOWS[0], changed, msi, valid, axes, fine, *grids()))
    np.testing.assert_array_equal(*results)
    assert (results[0][:, :, :8] == 0).all()
    assert (results[0][:, :, 24:] != 0).any()


@pytest.mark.parametrize("part", [(0, 28, 0, 36), (5, 6, 7, 8), (3, 20, 11, 36)])
def test_a_part_is_bit_equal_to_the_same_part_of_the_whole(part: tuple[int, int, int, int]) -> None:
    values, known, fine = images()
    top, bottom, left, right = part
    rows, cols = grids()
    fixed = (COLOUR_WINDOWS[1], values, known, np.ones(LR, bool), colour_axes(known, np.ones(LR, bool)))
    whole = regress_by_colour(*fixed, fine, rows, cols)
    piece = regress_by_colour(
        *fixed, fine[:, top:bottom, left:right], rows.part(top, bottom), cols.part(left, right)
    )
    np.testing.assert_array_equal(piece, whole[:, top:bottom, left:right])


def test_along_its_axes_the_msi_has_unit_variance_and_a_constant_band_is_no_axis() -> None:
    _, known, _ = images()
    known[1] = 0.5 * known[0] + 3 * known[1]
    valid = np.random.default_rng(2).random(LR) > 0.3
    seen = np.tensordot(colour_axes(known, valid), known[:, valid], axes=1)
    np.testing.assert_allclose(np.cov(seen), np.eye(BANDS), atol=1e-4)
    known[2] = 7
    spread = np.tensordot(colour_axes(known, valid), known[:, valid], axes=1).var(axis=1, ddof=1)
    np.testing.assert_allclose(sorted(spread), [0, 1, 1], atol=1e-3)
