"""Tiles and their blending: geometry, partition of unity, exactness, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emrdiff_cli.core.tiling import Mosaic, blend_weights, tile_starts, tile_windows
from emrdiff_cli.raster_info import Window


@st.composite
def tilings(draw: st.DrawFn, longest: int = 200) -> tuple[int, int, int]:
    length = draw(st.integers(1, longest))
    size = draw(st.integers(1, 80))
    return length, size, draw(st.integers(0, size - 1))


@given(tilings(), st.integers(1, 7))
@settings(deadline=None)
def test_starts_are_even_full_and_overlap_enough(tiling: tuple[int, int, int], multiple: int) -> None:
    length, size, overlap = tiling
    if size - overlap < multiple:
        return
    starts = tile_starts(length, size, overlap, multiple)
    tile = min(size, length)
    steps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] + tile == length
    assert all(0 < step <= size - overlap for step in steps)
    assert all(start % multiple == 0 for start in starts[:-1])
    if multiple == 1:
        assert steps.size == 0 or steps.max() - steps.min() <= 1
        assert len(starts) == 1 + -(-(length - tile) // (size - overlap))


@pytest.mark.parametrize(
    ("length", "size", "overlap", "multiple"), [(0, 4, 1, 1), (9, 4, 4, 1), (9, 4, -1, 1), (99, 8, 5, 4)]
)
def test_impossible_tilings_are_refused(length: int, size: int, overlap: int, multiple: int) -> None:
    with pytest.raises(ValueError, match="size"):
        tile_starts(length, size, overlap, multiple)


def test_windows_are_row_major_and_cover() -> None:
    windows = tile_windows(10, 7, 4, 1)
    assert windows == sorted(windows)
    covered = np.zeros((10, 7), bool)
    for window in windows:
        covered[window.rows, window.cols] = True
        assert (window.height, window.width) == (4, 4)
    assert covered.all()


def test_weights_ramp_inside_and_are_flat_at_the_scene_edge() -> None:
    weights = blend_weights(Window(0, 6, 8, 8), 20, 14, 4)
    assert weights.min() > 0
    assert weights.max() == 1
    assert (weights[0, 4:] == 1).all()
    assert (weights[:4, -1] == 1).all()
    ramp = weights[0, :4]
    assert (np.diff(ramp) > 0).all()
    # Hann: the ramps of two neighbours add up to one.
    np.testing.assert_allclose(ramp + ramp[::-1], 1)


def test_a_higher_power_trusts_the_outermost_pixels_less() -> None:
    windows = tile_windows(8, 14, 8, 2)
    assert [window.col for window in windows] == [0, 6]
    shares = []
    for power in (1, 2, 4):
        mosaic = Mosaic(1, 8, 14, 8, 2, dtype=np.float64, power=power)
        assert mosaic.add(windows[0], np.zeros((1, 8, 8))) is None
        rows = mosaic.add(windows[1], np.ones((1, 8, 8)))
        assert rows is not None
        assert (rows[0, :, :6] == 0).all()
        assert (rows[0, :, 8:] == 1).all()
        np.testing.assert_allclose(rows[0, :, 6] + rows[0, :, 7], 1)
        shares.append(rows[0, 0, 6])
    assert shares[0] > 3 * shares[1] > 9 * shares[2] > 0


def blended(
    values: NDArray[np.floating], size: int, overlap: int, dtype: str = "float32"
) -> NDArray[np.floating]:
    bands, height, width = values.shape
    mosaic = Mosaic(bands, height, width, size, overlap, dtype=dtype)
    rows = [
        mosaic.add(window, values[:, window.rows, window.cols])
        for window in tile_windows(height, width, size, overlap)
    ]
    assert mosaic.finished
    return np.concatenate([part for part in rows if part is not None], axis=1)


@given(tilings(50), tilings(50), st.booleans())
@settings(deadline=None, max_examples=30)
def test_tiles_of_a_scene_blend_back_to_the_scene_bit_for_bit(
    rows: tuple[int, int, int], cols: tuple[int, int, int], holes: bool
) -> None:
    height, width, (_, size, overlap) = rows[0], cols[0], cols
    rng = np.random.default_rng(height * 1000 + width)
    values = rng.normal(size=(2, height, width)).astype(np.float32)
    values[0, height // 2] = -0.0
    if holes:
        values[rng.random(values.shape) < 0.3] = np.nan
    assert blended(values, size, overlap).tobytes() == values.tobytes()


def test_weights_normalise_to_one_where_tiles_differ() -> None:
    """One tile holds 1, the others 0: over all tiles in turn, the outcomes add up to 1 everywhere."""
    windows = tile_windows(23, 31, 10, 4)
    total = np.zeros((1, 23, 31))
    for lit in windows:
        mosaic = Mosaic(1, 23, 31, 10, 4, dtype=np.float64)
        parts = [mosaic.add(w, np.full((1, 10, 10), float(w == lit))) for w in windows]
        outcome = np.concatenate([part for part in parts if part is not None], axis=1)
        assert outcome.min() >= 0
        total += outcome
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_mean_is_the_weighted_mean_over_valid_pixels() -> None:
    windows = tile_windows(6, 14, 8, 2)
    assert [window.col for window in windows] == [0, 6]
    left, right = np.full((2, 6, 8), 10.0), np.full((2, 6, 8), 20.0)
    right[1, :, 0] = np.nan
    mosaic = Mosaic(2, 6, 14, 8, 2, dtype=np.float64)
    assert mosaic.add(windows[0], left) is None
    rows = mosaic.add(windows[1], right)
    assert rows is not None
    rise = np.sin(np.pi / 2 * (np.arange(2) + 0.5) / 2) ** 2
    np.testing.assert_allclose(rows[0, 0, 6:8], 10 * rise[::-1] + 20 * rise)
    assert rows[1, 0, 6] == 10
    np.testing.assert_allclose(rows[1, 0, 7], rows[0, 0, 7])


def test_pixel_invalid_everywhere_keeps_the_last_value_and_is_said_to_be_invalid() -> None:
    windows = tile_windows(4, 6, 4, 2)
    mosaic = Mosaic(1, 4, 6, 4, 2)
    for stored, window in ((-99.0, windows[0]), (np.inf, windows[1])):
        values = np.full((1, 4, 4), stored)
        rows = mosaic.add(window, values, np.zeros((1, 4, 4), bool))
    assert rows is not None
    assert (rows[0, :, :2] == -99).all()
    assert np.isinf(rows[0, :, 2:]).all()
    assert not mosaic.valid_rows.any()


def test_rows_come_as_soon_as_no_later_tile_touches_them() -> None:
    mosaic = Mosaic(1, 20, 8, 8, 2)
    counts = []
    for window in tile_windows(20, 8, 8, 2):
        rows = mosaic.add(window, np.ones((1, 8, 8)))
        assert rows is not None
        counts.append(rows.shape[1])
    assert counts == [6, 6, 8]


def test_memory_does_not_grow_with_the_scene() -> None:
    sizes = {
        sum(
            held.nbytes
            for held in vars(Mosaic(3, height, 40, 16, 4)).values()
            if isinstance(held, np.ndarray)
        )
        for height in (100, 10_000)
    }
    assert len(sizes) == 1


def test_tile_out_of_turn_or_of_another_shape_is_refused() -> None:
    first, second = tile_windows(8, 12, 8, 2)
    mosaic = Mosaic(1, 8, 12, 8, 2)
    with pytest.raises(ValueError, match="out of turn"):
        mosaic.add(second, np.ones((1, 8, 8)))
    with pytest.raises(ValueError, match="shape"):
        mosaic.add(first, np.ones((2, 8, 8)))
    mosaic.add(first, np.ones((1, 8, 8)))
    mosaic.add(second, np.ones((1, 8, 8)))
    with pytest.raises(ValueError, match="expected none"):
        mosaic.add(second, np.ones((1, 8, 8)))
