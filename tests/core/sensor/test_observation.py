"""An MSI seen at LR: what holes and the scene's edges do to its values, to which pixels count, to its own edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import degradation_taps
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import Observation, Strip, observe_msi

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
RATIO = 4
LR_SIDE = 8
SIDE = RATIO * LR_SIDE


def observed(msi: Image, valid: Mask | None = None, *, beyond: int = 0, height: int = 5) -> Observation:
    """The MSI at LR, from strips; the LR grid begins so many HR pixels before the MSI, and ends so many behind."""
    mask = np.ones(msi.shape[1:], bool) if valid is None else valid
    place = AxisPlacement(float(RATIO), -float(beyond))
    down = [degradation_taps("wald", place, (side + 2 * beyond) // RATIO, side) for side in mask.shape]

    def strips() -> Iterator[Strip]:
        for top in range(0, len(mask), height):
            rows = slice(top, top + height)
            yield Strip(top, msi[:, rows], mask[rows])

    return observe_msi(strips, (down[0], down[1]))


def with_hole(*hole: slice) -> Mask:
    valid = np.ones((SIDE, SIDE), bool)
    valid[hole] = False
    return valid


@pytest.mark.parametrize("hole", [np.s_[9:12, 17:19], np.s_[:, 13:14], np.s_[6:22, 10:25]])
def test_an_lr_pixel_that_sees_a_hole_is_as_bright_as_what_it_sees_besides(hole: tuple[slice, ...]) -> None:
    valid = with_hole(*hole)
    msi = np.where(valid, np.float32(0.4), np.float32(7))[None]
    seen = observed(msi, valid)
    np.testing.assert_allclose(seen.msi_at_lr, 0.4, rtol=1e-5)
    assert not seen.covered.all()


def test_lr_pixels_that_lie_half_off_the_msi_do_not_count() -> None:
    msi = np.random.default_rng(0).uniform(0.1, 0.9, (2, SIDE, SIDE)).astype(np.float32)
    within, across = observed(msi).covered, observed(msi, beyond=RATIO // 2).covered
    assert within.shape == (LR_SIDE, LR_SIDE)
    assert within.all()
    expected = np.zeros((LR_SIDE + 1, LR_SIDE + 1), bool)
    expected[1:-1, 1:-1] = True
    np.testing.assert_array_equal(across, expected)


@pytest.mark.parametrize("height", [1, 5, SIDE])
def test_what_a_hole_is_filled_with_has_no_edges(height: int) -> None:
    valid = with_hole(np.s_[9:12], np.s_[17:19])
    rows = np.arange(SIDE, dtype=np.float32)[:, None]
    slope = np.broadcast_to(0.01 * rows, (1, SIDE, SIDE))
    low, high = observed(np.where(valid, slope, np.float32(0.9)), valid, height=height).edge_range
    assert (low, high) == pytest.approx(observed(slope, height=height).edge_range, rel=1e-4)
    assert 0 < low < high < 0.2
