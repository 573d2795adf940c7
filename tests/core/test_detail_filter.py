"""The archive's detail filter: what it finds, and where it stops."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.detail_filter import DetailSample, apply_detail_filter, fit_detail_filter
from emrdiff_cli.errors import ConfigError


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_filter_is_found_again(side: int) -> None:
    taps = 0.1 * noise(1, 4, 4, side, side)
    details = [noise(seed, 4, 90, 120) for seed in (2, 3)]
    samples = [DetailSample(d, apply_detail_filter(taps, d), np.ones(d.shape[1:], bool)) for d in details]
    assert fit_detail_filter(samples, side) == pytest.approx(taps, abs=5e-3)


def test_a_filter_weighs_the_neighbours_as_convolution_does() -> None:
    taps = np.zeros((2, 2, 3, 3), np.float32)
    taps[0, 1, 0, 2] = 2.0  # channel 0 takes twice channel 1, one row up and one column to the right
    detail = noise(4, 2, 6, 7)
    result = apply_detail_filter(taps, detail)
    assert result[0, 1:, :-1] == pytest.approx(2 * detail[1, :-1, 1:], abs=1e-6)
    assert result[0, 0, :-1] == pytest.approx(2 * detail[1, 0, 1:], abs=1e-6)
    assert (result[1] == 0).all()


def test_a_part_is_filtered_as_in_the_whole_but_for_its_edge() -> None:
    taps, detail = 0.1 * noise(5, 3, 3, 5, 5), noise(6, 3, 40, 40)
    whole, part = apply_detail_filter(taps, detail), apply_detail_filter(taps, detail[:, 8:32, 8:32])
    assert part[:, 2:-2, 2:-2] == pytest.approx(whole[:, 10:30, 10:30], abs=1e-6)


def test_what_is_not_judged_has_no_say() -> None:
    detail, residual = noise(7, 2, 60, 60), noise(8, 2, 60, 60)
    judged = np.ones((60, 60), bool)
    judged[:, 30:] = False
    spoilt = residual.copy()
    spoilt[:, :, 30:] = 1e6
    fits = [fit_detail_filter([DetailSample(detail, r, judged)], 3) for r in (residual, spoilt)]
    assert (fits[0] == fits[1]).all()


def test_a_quiet_scene_counts_as_much_as_a_loud_one() -> None:
    loud, quiet = noise(9, 1, 90, 90), noise(10, 1, 90, 90)
    every = np.ones((90, 90), bool)
    cases = ((100, loud, 1.0), (0.01, quiet, -1.0))
    samples = [DetailSample(gain * d, gain * sign * d, every) for gain, d, sign in cases]
    assert abs(fit_detail_filter(samples, 1)[0, 0, 0, 0]) < 0.1


def test_nothing_to_fit_on() -> None:
    with pytest.raises(ValueError, match="no scene"):
        fit_detail_filter([], 3)


@pytest.mark.parametrize("options", [{"detail_filter": 2}, {"detail_filter": 17}, {"detail_filter": -1}])
def test_sides_that_cannot_be(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"detail_filter = .*must be 0, or odd"):
        ModelConfig(3, 4.0, 31, **options)


def test_scenes_that_calibrate_themselves_have_no_common_filter() -> None:
    with pytest.raises(ConfigError, match="must be 0 with calibration"):
        ModelConfig(3, 4.0, 31, calibration="scene", detail_filter=3)
