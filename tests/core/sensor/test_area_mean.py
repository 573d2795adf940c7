"""Means over cells: of whole pixels, of parts of them, in strips, around holes."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.core.sensor.area_mean import AreaMean, cell_edges


def means(values: np.ndarray, rows: np.ndarray, cols: np.ndarray, strip: int = 1000) -> np.ndarray:
    mean = AreaMean(len(values), rows, cols)
    for top in range(0, values.shape[1], strip):
        mean.update(top, 0, values[:, top : top + strip])
    return mean.result()


def test_whole_blocks_are_averaged_and_single_pixels_kept() -> None:
    values = np.random.default_rng(0).normal(0, 1, (2, 12, 8))
    blocks = values.reshape(2, 4, 3, 2, 4).mean(axis=(2, 4))
    got = means(values, cell_edges(0, 12, 4), cell_edges(0, 8, 2))
    np.testing.assert_allclose(got, blocks, rtol=1e-6, atol=1e-7)
    large = means(values, cell_edges(0, 12, 36), cell_edges(0, 8, 16))
    np.testing.assert_allclose(large, values.repeat(3, axis=1).repeat(2, axis=2), rtol=1e-5)


def test_pixels_count_by_the_area_that_a_cell_covers() -> None:
    values = np.array([[[0.0, 4.0, 8.0]]])
    got = means(values, cell_edges(0, 1, 1), np.array([0.5, 2.0, 2.75]))
    np.testing.assert_allclose(got[0, 0], [(0.5 * 0 + 4) / 1.5, 8])


@pytest.mark.parametrize("strip", [1, 2, 5])
def test_the_split_into_strips_does_not_matter(strip: int) -> None:
    values = np.random.default_rng(1).normal(0, 1, (1, 11, 7))
    values[0, 4, 2:6] = np.nan
    edges = cell_edges(-1.3, 13.1, 5), cell_edges(0.4, 6.2, 3)
    np.testing.assert_allclose(means(values, *edges, strip), means(values, *edges), rtol=1e-6)


def test_holes_take_no_part_and_empty_cells_are_nan() -> None:
    values = np.array([[[1.0, np.nan, 5.0, 7.0]]])
    got = means(values, cell_edges(0, 1, 1), np.array([-2.0, 0.0, 2.0, 4.0]))
    np.testing.assert_array_equal(got[0, 0], np.array([np.nan, 1, 6], np.float32))
