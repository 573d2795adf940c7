"""LR pixels brought onto their grid: as they are where they lie on it, and better than by splines where not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.methods.guided_resampling import on_grid
from tests.support.geometries import Cube, Doubles, lattice, seen_at, turned
from tests.support.pairs import see
from tests.support.scenes import textured

Mask = NDArray[np.bool_]
SIDE, RATIO = 160, 4
INNER = np.s_[:, 3:-3, 3:-3]
TRUTH = textured(8, SIDE, SIDE)
GRID = lattice((SIDE, SIDE), RATIO)


def brought(displacement: Doubles, hsi: Cube, valid: Mask) -> tuple[Cube, Mask]:
    msi = see(TRUTH)
    return on_grid(
        hsi,
        valid,
        displacement,
        seen_at(msi, RATIO, GRID),
        seen_at(msi, RATIO, GRID + displacement),
        np.ones_like(valid),
    )


def rms(difference: Cube) -> float:
    return float(np.sqrt(np.square(difference).mean()))


def test_pixels_on_the_grid_stay_as_they_are() -> None:
    hsi = seen_at(TRUTH, RATIO, GRID)
    valid = np.random.default_rng(0).random(hsi.shape[1:]) > 0.1
    moved, usable = brought(np.zeros_like(GRID), hsi, valid)
    np.testing.assert_allclose(moved, hsi, atol=2e-6)
    np.testing.assert_array_equal(usable, valid)


@pytest.mark.parametrize(
    "displacement",
    [np.zeros_like(GRID) + np.reshape((0.4, -0.3), (2, 1, 1)), turned((SIDE, SIDE), RATIO, 1.0, 1.005)],
    ids=["shift", "turn"],
)
def test_what_is_displaced_is_put_right_better_than_by_splines(displacement: Doubles) -> None:
    on, off = seen_at(TRUTH, RATIO, GRID), seen_at(TRUTH, RATIO, GRID + displacement)
    moved, usable = brought(displacement, off, np.ones(off.shape[1:], bool))
    assert usable[2:-2, 2:-2].all()
    splines = np.stack(
        [ndimage.map_coordinates(band, GRID - displacement, order=5, mode="nearest") for band in off]
    )
    guided, plain, as_it_lay = (rms((image - on)[INNER]) for image in (moved, splines, off))
    assert guided < 0.5 * plain
    assert guided < 0.15 * as_it_lay


def test_pixels_next_to_a_hole_are_not_used() -> None:
    displacement = np.zeros_like(GRID) + np.reshape((0.4, 0.0), (2, 1, 1))
    off = seen_at(TRUTH, RATIO, GRID + displacement)
    valid = np.ones(off.shape[1:], bool)
    valid[20, 15] = False
    _, usable = brought(displacement, off, valid)
    rows, cols = np.nonzero(~usable)
    assert set(zip(rows.tolist(), cols.tolist(), strict=True)) == {(20, 15), (21, 15)}
