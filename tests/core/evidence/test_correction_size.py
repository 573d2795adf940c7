"""The size of a correction beside the residual that a scene leaves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.correction_size import CorrectionSize

SPREADS = np.array([4.0, 1.0, 0.25])


def drawn(seed: int, spreads: NDArray[np.float64], count: int = 4000) -> NDArray[np.float32]:
    """Values (3, n) of these spreads along turned axes."""
    turned, _ = np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))
    found = turned @ (spreads[:, None] * np.random.default_rng(seed).standard_normal((3, count)))
    return found.astype(np.float32)


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_a_correction_like_the_residual_has_its_size_along_every_direction(factor: float) -> None:
    size = CorrectionSize.of(factor * drawn(1, SPREADS), drawn(2, SPREADS))
    assert size == pytest.approx((factor, factor), rel=0.05)
    assert size.is_foreign == (factor > 1.4)


def test_a_correction_where_nothing_is_left_is_foreign_however_small_on_the_whole() -> None:
    size = CorrectionSize.of(drawn(1, SPREADS[::-1]), drawn(2, np.array([4.0, 0.1, 0.1])))
    assert size.whole < 1.4
    assert size.along > 5
    assert size.is_foreign


def test_a_constant_of_the_residual_is_no_part_of_its_size() -> None:
    residual = drawn(2, SPREADS)
    assert CorrectionSize.of(residual, residual + 100).whole == pytest.approx(1, rel=0.01)


def test_directions_are_told_by_pixels_enough() -> None:
    """Of 8 pixels two directions at most: the third, of rounding alone, would make any correction foreign."""
    flat = drawn(2, np.array([4.0, 1.0, 0.0]), 8)
    size = CorrectionSize.of(drawn(1, np.array([2.0, 0.5, 0.01])), flat)
    assert size.along < 5
