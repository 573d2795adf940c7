"""Noise as a function of seed, step, channel and absolute position."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from emrdiff_cli.core.diffusion.noise import counter_noise, edge_noise
from emrdiff_cli.raster_info import Window

SIDE = 256


def field(seed: int = 0, step: int = 1, channels: int = 1, top: int = 0, left: int = 0) -> Tensor:
    return counter_noise(seed, step, channels, Window(top, left, SIDE, SIDE))


@given(st.integers(0, 2**40), st.integers(0, 2**31 - 200), st.integers(0, 2**31 - 200), st.data())
@settings(deadline=None, max_examples=25)
def test_a_window_sees_the_same_noise_as_a_larger_one(
    seed: int, top: int, left: int, data: st.DataObject
) -> None:
    row, col = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    large = counter_noise(seed, 3, 2, Window(top, left, 32, 32))
    small = counter_noise(seed, 3, 2, Window(top + row, left + col, height, width))
    assert torch.equal(small, large[:, row : row + height, col : col + width])


def test_more_channels_leave_the_first_ones_as_they_were() -> None:
    assert torch.equal(field(channels=5)[:2], field(channels=2))


def test_is_standard_normal() -> None:
    values = field(seed=7, channels=8).numpy().astype(np.float64).ravel()
    n = len(values)
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 5 / math.sqrt(n)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs(stats.skew(values)) < 5 * math.sqrt(6 / n)
    assert abs(stats.kurtosis(values)) < 5 * math.sqrt(24 / n)
    assert stats.kstest(values, "norm").pvalue > 1e-3


def test_neighbours_are_independent() -> None:
    values = field(seed=5)[0].double()
    limit = 5 / SIDE
    for row, col in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (7, 3), (16, 0), (0, 64)]:
        shifted = values.roll((row, col), (0, 1))
        assert abs(float((values * shifted).mean())) < limit
        # A dependence of size alone would show in the squares.
        assert abs(float(((values**2 - 1) * (shifted**2 - 1)).mean())) / 2 < limit
    assert abs(float((values * values.T).mean())) < limit


def test_seeds_steps_and_channels_are_independent() -> None:
    fields = [field(seed, step) for seed in (0, 1, 2**63, -1) for step in (1, 2, 5)]
    stack = torch.cat([*fields, field(seed=11, channels=4)]).flatten(1).double()
    correlation = np.corrcoef(stack.numpy())
    off_diagonal = correlation[~np.eye(len(correlation), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / SIDE


def test_places_far_apart_are_independent() -> None:
    corners = [0, 1 << 16, 1 << 24, 1 << 30]
    stack = torch.cat([field(top=top, left=left) for top, left in itertools.product(corners, corners)])
    correlation = np.corrcoef(stack.flatten(1).double().numpy())
    assert np.abs(correlation[~np.eye(len(correlation), dtype=bool)]).max() < 5 / SIDE


def test_nothing_repeats() -> None:
    values = field(seed=3, channels=4)
    assert len(torch.unique(values.reshape(-1, SIDE), dim=0)) == 4 * SIDE
    assert len(torch.unique(values.transpose(1, 2).reshape(-1, SIDE), dim=0)) == 4 * SIDE
    pairs = values.reshape(-1, 2)
    assert len(torch.unique(pairs, dim=0)) == len(pairs)


def test_overlapping_tiles_agree_in_any_batch_and_order() -> None:
    whole = torch.rand(1, 24, 24)
    corners = [(100, 40), (108, 40), (108, 52)]
    edges = torch.stack([whole[:, r - 100 : r - 84, c - 40 : c - 28] for r, c in corners])
    together = edge_noise(9, (3, 2, 16, 12), corners, edges)(4)
    backwards = edge_noise(9, (3, 2, 16, 12), corners[::-1], edges.flip(0))(4)
    assert torch.equal(together, backwards.flip(0))
    assert torch.equal(together[0][:, 8:], together[1][:, :8])
    expected = whole * counter_noise(9, 4, 2, Window(100, 40, 24, 24))
    assert torch.equal(together[2], expected[:, 8:24, 12:24])


@pytest.mark.parametrize("step", [1, 5])
def test_edge_noise_scales_with_the_edge_weight(step: int) -> None:
    edges = torch.full((1, 1, SIDE, SIDE), 0.25)
    edges[..., : SIDE // 2] = 0
    drawn = edge_noise(1, (1, 1, SIDE, SIDE), [(0, 0)], edges)(step)
    assert drawn[..., : SIDE // 2].abs().max() == 0
    assert float(drawn[..., SIDE // 2 :].std()) == pytest.approx(0.25, rel=0.02)
