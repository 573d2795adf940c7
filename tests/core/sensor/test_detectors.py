"""Bands told apart by detector: by where their order falls back, else at 1000 nm."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.core.sensor.detectors import bands_by_detector

SILICON = np.arange(420, 1000, 10.0)  # 58 bands
FARTHER = np.arange(900, 2450, 10.0)  # 155 bands, the first ten in silicon's range


def as_lists(found: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: bands.tolist() for name, bands in found.items()}


@pytest.mark.parametrize("listed", [1, -1])
def test_detectors_listed_one_after_the_other_are_told_by_their_overlap(listed: int) -> None:
    """From short to long, or all of it from long to short: the overlap at 900 to 1000 nm goes to its own."""
    centres = np.concatenate([SILICON, FARTHER])[::listed]
    near, far = np.arange(58), np.arange(58, 213)
    if listed < 0:
        near, far = 212 - near[::-1], 212 - far[::-1]
    assert as_lists(bands_by_detector(centres.tolist())) == {"VNIR": near.tolist(), "SWIR": far.tolist()}


def test_the_short_wave_detector_may_come_first() -> None:
    found = bands_by_detector(np.concatenate([FARTHER, SILICON]).tolist())
    assert as_lists(found) == {"VNIR": list(range(155, 213)), "SWIR": list(range(155))}


def test_four_spectrometers_are_four_groups_by_their_ranges() -> None:
    ends = [(370, 680), (650, 1260), (1240, 1880), (1850, 2500)]
    runs = [np.arange(low, high, 10.0) for low, high in ends]
    found = bands_by_detector(np.concatenate(runs).tolist())
    assert list(found) == ["370-670 nm", "650-1250 nm", "1240-1870 nm", "1850-2490 nm"]
    assert [len(bands) for bands in found.values()] == [len(run) for run in runs]


def test_sorted_bands_are_parted_at_1000_nm() -> None:
    """Interleaved in the overlap as they are, they do not tell whose a band is."""
    centres = np.sort(np.concatenate([SILICON, FARTHER + 1]))
    found = bands_by_detector(centres.tolist())
    assert as_lists(found) == {"VNIR": list(range(68)), "SWIR": list(range(68, 213))}


def test_bad_bands_belong_to_no_group_and_do_not_part_any() -> None:
    centres = np.concatenate([SILICON, FARTHER])
    centres[20] = 0.0
    good = np.ones(213, bool)
    good[[20, 100]] = False
    found = bands_by_detector(centres.tolist(), good.tolist())
    assert as_lists(found) == {
        "VNIR": [band for band in range(58) if band != 20],
        "SWIR": [band for band in range(58, 213) if band != 100],
    }


def test_a_few_bands_make_no_detector() -> None:
    assert bands_by_detector(SILICON.tolist()) == {}
    assert bands_by_detector(np.concatenate([SILICON, FARTHER[:7]]).tolist()) == {}
    assert bands_by_detector([]) == {}
