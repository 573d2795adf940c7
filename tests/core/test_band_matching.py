"""Bands found by wavelength."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrdiff_cli.core.band_matching import by_rank, in_direction, match_bands, unless_in_order

MODEL = (450.0, 500.0, 550.0, 545.0, 595.0)  # two detectors that overlap


@given(st.permutations(range(5)))
def test_bands_are_found_in_any_order(order: list[int]) -> None:
    found = [MODEL[i] + (-1) ** i for i in order]
    positions = match_bands(MODEL, found)
    assert positions is not None
    assert [order[i] for i in positions] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "found", [MODEL[:4], (*MODEL, 600.0), (450, 500, 550, 545, 640), (450, 475, 500, 545, 550)]
)
def test_other_bands_are_no_match(found: tuple[float, ...]) -> None:
    assert match_bands(MODEL, found) is None


def test_bands_of_one_wavelength_keep_their_order() -> None:
    assert by_rank([500, 500, 400], [400, 500, 500]).tolist() == [1, 2, 0]
    assert match_bands((500.0,), (500.9,)) is not None
    assert match_bands((500.0,), (501.1,)) is None


def test_direction_and_order() -> None:
    assert in_direction((), [3, 1, 2]).tolist() == [1, 2, 0]
    assert in_direction((9, 8, 7, 1), [3, 1, 2]).tolist() == [0, 2, 1]
    assert unless_in_order(np.arange(3)) is None
    assert unless_in_order(np.array([1, 0])) is not None
