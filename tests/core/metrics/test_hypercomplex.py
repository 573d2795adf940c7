"""Q2n against hypercomplex arithmetic pixel by pixel, and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.cube import score
from emrdiff_cli.core.metrics.hypercomplex import block_index, conjugate_signs

Floats = NDArray[np.float64]


def conjugate(a: Floats) -> Floats:
    return np.concatenate([a[:1], -a[1:]])


def times(x: Floats, y: Floats) -> Floats:
    """Cayley and Dickson's product of arrays of hypercomplex numbers, components first."""
    if len(x) == 1:
        return x * y
    half = len(x) // 2
    (a, b), (c, d) = (x[:half], x[half:]), (y[:half], y[half:])
    return np.concatenate([times(a, c) - times(conjugate(d), b), times(d, a) + times(b, conjugate(c))])


def direct(fused: Floats, reference: Floats) -> float:
    """The definition, with a product for every pixel."""
    mean = reference.mean(axis=(1, 2), keepdims=True)
    deviation = reference.std(axis=(1, 2), ddof=1, keepdims=True)
    size = 1 << (len(fused) - 1).bit_length()
    z, w = np.zeros((2, size, *fused.shape[1:]))
    z[: len(fused)], w[: len(fused)] = ((x - mean) / deviation + 1 for x in (reference, fused))

    def average(x: Floats) -> Floats:
        return np.asarray(x.mean(axis=(1, 2)))

    mz, mw = average(z), average(w)
    covariance = average(times(z, conjugate(w))) - times(mz, conjugate(mw))
    variances = [np.sum(average(x * x)) - np.sum(m * m) for x, m in ((z, mz), (w, mw))]
    a, b = np.linalg.norm(mz), np.linalg.norm(mw)
    return float(2 * np.linalg.norm(covariance) / sum(variances) * 2 * a * b / (a * a + b * b))


def pair(bands: int, side: int = 32, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.1, 0.9, (bands, side, side)) * np.linspace(1, 30, bands)[:, None, None]
    return 0.95 * reference + rng.normal(0, 0.1, reference.shape) + 0.02, reference


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7, 8, 16, 20])
def test_a_block_agrees_with_arithmetic_pixel_by_pixel(bands: int) -> None:
    fused, reference = pair(bands)
    assert block_index(fused, reference) == pytest.approx(direct(fused, reference), rel=1e-9)


@pytest.mark.parametrize("units", [2, 4, 8, 16])
def test_signs_are_those_of_the_algebra(units: int) -> None:
    basis = np.eye(units)
    signs = conjugate_signs(units)
    for i, one in enumerate(basis):
        for j, other in enumerate(basis):
            assert np.array_equal(times(one, conjugate(other)), signs[i, j] * basis[i ^ j])


def test_quaternions_multiply_as_hamilton_carved() -> None:
    one, i, j, k = np.eye(4)
    assert np.array_equal(times(i, j), k)
    for unit in (i, j, k):
        assert np.array_equal(times(unit, unit), -one)


def test_two_bands_worked_by_hand() -> None:
    """Complex numbers. Reference bands p and q of values -1 and 1 in all four combinations: z = p + iq.

    Their deviation is s = sqrt(1024 / 1023); normalised z = 1 + p/s + i (1 + q/s). The fused cube with its
    bands exchanged is w = 1 + q/s + i (1 + p/s): E[z w*] - E[z] E[w]* = (pq + qp + i (qq - pp)) / s^2 has mean
    0 for independent p and q. With a sign turned, w = 1 + p/s + i (1 - q/s): pp - qq + i (...) = 0 too. With
    half the contrast in both, w = 1 + p/2s + i (1 + q/2s): cov = 1/s^2, variances 2/s^2 and 0.5/s^2.
    """
    row, col = np.indices((32, 32)) % 2 * 2.0 - 1
    reference = np.stack([row, col])
    assert block_index(np.stack([col, row]), reference) == pytest.approx(0, abs=1e-12)
    assert block_index(np.stack([row, -col]), reference) == pytest.approx(0, abs=1e-12)
    assert block_index(reference / 2, reference) == pytest.approx(2 * 1 / 2.5)


def test_the_index_is_the_mean_over_whole_valid_blocks() -> None:
    fused, reference = pair(5, side=100)
    fused[2, 70, 5] = np.nan
    starts = [(i, j) for i in (0, 32, 64) for j in (0, 32, 64) if (i, j) != (64, 0)]
    blocks = [
        direct(fused[:, i : i + 32, j : j + 32], reference[:, i : i + 32, j : j + 32]) for i, j in starts
    ]
    got = score(fused, reference, 1.0, metrics=["q2n"])
    assert got.windows["q2n_blocks"] == 8
    assert got.overall == {"q2n": pytest.approx(np.mean(blocks), rel=1e-6)}


def test_flat_bands_and_blocks_are_scored_by_their_level() -> None:
    """Flat in both: z = 1 and w = 1.5 - 1 + 1 = 1.5 in units of the reference's level: 2 * 1.5 / 3.25."""
    flat = np.full((4, 32, 32), 0.1)
    assert block_index(1.5 * flat, flat) == pytest.approx(2 * 1.5 / 3.25)
    assert block_index(flat, flat) == pytest.approx(1.0)
    assert block_index(np.zeros_like(flat), np.zeros_like(flat)) == pytest.approx(1.0)
    fused, reference = pair(4)
    fused[1], reference[1] = 0.1, 0.1
    assert 0.5 < block_index(fused, reference) < 1


def test_without_a_whole_block_the_index_is_null() -> None:
    fused, reference = pair(3, side=31)
    got = score(fused, reference, 1.0, metrics=["q2n"])
    assert got.overall == {"q2n": None}
    assert got.notes == ("q2n is null: no 32 x 32 block lies wholly inside valid data",)
