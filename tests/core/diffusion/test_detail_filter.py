"""The archive's detail filter: what it finds, and where it stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig, build_config
from emrdiff_cli.core.diffusion.detail_filter import (
    DetailSample,
    FilterInputs,
    Holding,
    apply_detail_filter,
    detail_products,
    fit_detail_filter,
    input_count,
    solve_detail_filter,
)
from emrdiff_cli.core.methods.detail_injection import EndPointTile
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import cubic_upsampler
from emrdiff_cli.errors import ConfigError


def noise(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def inputs(seed: int, channels: int, bands: int, height: int, width: int) -> FilterInputs:
    return FilterInputs(
        noise(seed, channels, height, width),
        noise(seed + 100, bands, height, width),
        noise(seed + 200, height, width),
        np.linspace(-4, 4, height),
        np.linspace(-5, 5, width),
    )


def tile_of(detail: np.ndarray, msi_detail: np.ndarray) -> EndPointTile:
    return EndPointTile(detail, detail, detail, msi_detail)


def sample(seen: FilterInputs, residual: np.ndarray) -> DetailSample:
    return DetailSample(seen, residual, np.ones(residual.shape[1:], bool))


@pytest.mark.parametrize("lateral", [False, True])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_filter_is_found_again(side: int, lateral: bool) -> None:
    weights = 0.1 * noise(1, 4, 1 + 3, input_count(side, lateral))
    seen = [inputs(seed, 4, 3, 50, 60) for seed in (2, 3)]
    samples = [sample(s, apply_detail_filter(weights, s)) for s in seen]
    plain = Holding(own_ridge=1e-6, msi_ridge=1e-6, trust=1.0)
    count = input_count(side, lateral)
    found = solve_detail_filter((detail_products(s, count) for s in samples), count, plain)
    assert found == pytest.approx(weights, abs=1e-3)
    assert fit_detail_filter(samples, side, lateral) == pytest.approx(0.85 * weights, abs=3e-3)


def test_what_own_detail_and_the_msi_tell_alike_is_left_to_the_own() -> None:
    """Both carry one signal, each in noise of its own: the MSI's ridge, being larger, moves its share over."""
    signal = noise(11, 1, 80, 80)
    seen = inputs(12, 1, 1, 80, 80)
    seen = replace(seen, detail=signal + 0.03 * seen.detail, msi=signal + 0.03 * seen.msi)
    own, msi = fit_detail_filter([sample(seen, signal)], 1)[0, :, 0]
    assert own > 1.5 * msi > 0
    assert own + msi == pytest.approx(0.85, abs=0.01)


def test_taps_weigh_the_neighbours_as_convolution_does() -> None:
    seen = inputs(4, 2, 3, 6, 7)
    weights = np.zeros((2, 4, 10), np.float32)
    weights[0, 0, 2] = 2.0  # channel 0 takes twice its own, one row up and one column to the right,
    weights[1, 3, 3] = 3.0  # channel 1 three times the MSI's last band, one column to the left
    result = apply_detail_filter(weights, seen)
    assert result[0, 1:, :-1] == pytest.approx(2 * seen.detail[0, :-1, 1:], abs=1e-6)
    assert result[0, 0, :-1] == pytest.approx(2 * seen.detail[0, 0, 1:], abs=1e-6)
    assert result[1, :, 1:] == pytest.approx(3 * seen.msi[2, :, :-1], abs=1e-6)


def test_sharpness_goes_with_the_logarithm_of_the_brightness() -> None:
    weights = np.zeros((1, 2, 10), np.float32)
    weights[0, 0, -1] = 1.0
    seen = replace(inputs(5, 1, 1, 20, 20), brightness=np.full((20, 20), 0.5))
    once, twice = (
        apply_detail_filter(weights, replace(seen, brightness=b * seen.brightness)) for b in (1, 2)
    )
    laplacian = np.zeros((20, 20))
    for axis in (0, 1):
        laplacian += np.roll(seen.detail[0], 1, axis) + np.roll(seen.detail[0], -1, axis) - 2 * seen.detail[0]
    assert once[0, 1:-1, 1:-1] == pytest.approx(0.5 * laplacian[1:-1, 1:-1], abs=1e-5)
    assert twice == pytest.approx(2 * once, abs=1e-5)


def test_a_magnified_band_is_brought_back() -> None:
    """A smooth band, magnified by 1 % around the frame's centre, as the radial derivative describes it."""
    ratio, lr = 4, 16
    y, x = (np.arange(ratio * lr) - (ratio * lr - 1) / 2 for _ in range(2))

    def picture(scale: float) -> np.ndarray:
        return np.asarray(np.sin(0.3 * scale * y)[:, None] * np.cos(0.2 * scale * x)[None])

    taps = cubic_upsampler(AxisPlacement(float(ratio), 0.0), lr, ratio * lr)
    plain = np.zeros((1, lr, lr), np.float32)
    tile = tile_of(picture(1.0)[None], noise(0, 1, 64, 64))
    seen = FilterInputs.of(tile, noise(0, 1, 64, 64), plain, (taps, taps))
    weights = np.zeros((1, 2, 11), np.float32)
    weights[0, 0, -1] = 0.01 * ratio  # of LR pixels, in HR pixels
    moved = picture(1.0) + apply_detail_filter(weights, seen)[0]
    inner = (slice(4, -4), slice(4, -4))
    left, before = (np.abs(picture(1.01) - one)[inner].max() for one in (moved, picture(1.0)))
    assert left < 0.1 * before


def test_inputs_of_a_tile_are_those_of_the_scene_there() -> None:
    ratio, lr = 4, 12
    taps = cubic_upsampler(AxisPlacement(float(ratio), 0.0), lr, ratio * lr)
    msi, at_lr = noise(6, 3, 48, 48) + 5, noise(7, 3, lr, lr) + 5
    detail, lost = noise(8, 2, 48, 48), noise(10, 3, 48, 48)
    whole = FilterInputs.of(tile_of(detail, lost), msi, at_lr, (taps, taps))
    assert whole.msi is lost
    assert whole.rows[8:40] == pytest.approx((np.arange(48) - 23.5)[8:40] / ratio)
    rows, cols = slice(8, 32), slice(16, 48)
    tile = tile_of(detail[:, rows, cols], lost[:, rows, cols])
    part = FilterInputs.of(tile, msi[:, rows, cols], at_lr, (taps.part(8, 32), taps.part(16, 48)))
    weights = 0.1 * noise(9, 2, 4, input_count(3, True))
    of_whole, of_part = apply_detail_filter(weights, whole), apply_detail_filter(weights, part)
    assert of_part[:, 1:-1, 1:-1] == pytest.approx(of_whole[:, rows, cols][:, 1:-1, 1:-1], abs=1e-4)


@pytest.mark.parametrize("level", [0.0, -3.0])
def test_a_dark_msi_has_no_brightness_and_does_no_harm(level: float) -> None:
    taps = cubic_upsampler(AxisPlacement(4.0, 0.0), 8, 32)
    tile, msi = tile_of(noise(1, 2, 32, 32), noise(2, 3, 32, 32)), np.full((3, 32, 32), level)
    seen = FilterInputs.of(tile, msi, msi[:, ::4, ::4], (taps, taps))
    assert np.isfinite(seen.brightness).all()
    assert seen.brightness.std() == 0


def test_what_is_not_judged_has_no_say() -> None:
    seen, residual = inputs(7, 2, 3, 60, 60), noise(8, 2, 60, 60)
    scored = np.ones((60, 60), bool)
    scored[:, 30:] = False
    spoilt = residual.copy()
    spoilt[:, :, 30:] = 1e6
    fits = [fit_detail_filter([DetailSample(seen, r, scored)], 3) for r in (residual, spoilt)]
    assert (fits[0] == fits[1]).all()


def test_a_quiet_scene_counts_as_much_as_a_loud_one() -> None:
    def scene(seed: int, gain: float, sign: float) -> DetailSample:
        seen = replace(inputs(seed, 1, 1, 90, 90), msi=np.zeros((1, 90, 90), np.float32))
        seen = replace(seen, detail=gain * seen.detail)
        return sample(seen, sign * seen.detail)

    found = fit_detail_filter([scene(9, 100, 1.0), scene(10, 0.01, -1.0)], 1)
    assert abs(found[0, 0, 0]) < 0.1


def test_nothing_to_fit_on() -> None:
    with pytest.raises(ValueError, match="no scene"):
        fit_detail_filter([], 3)


@pytest.mark.parametrize("options", [{"detail_filter": 2}, {"detail_filter": 17}, {"detail_filter": -1}])
def test_sides_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"detail_filter = .*must be 0, or odd"):
        ModelConfig(3, 4.0, 31, **options)


def test_scenes_that_calibrate_themselves_have_no_common_filter() -> None:
    with pytest.raises(ConfigError, match="must be 0 with calibration"):
        ModelConfig(3, 4.0, 31, calibration="scene", detail_filter=3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "without a detail_filter"), ({"detail_filter": 3, "lateral_colour": 1}, "not of type bool")],
)
def test_lateral_colour_is_a_part_of_the_filter(options: dict[str, Any], reason: str) -> None:
    values = {"msi_bands": 3, "ratio": 4.0, "hsi_bands": 31, "lateral_colour": True} | options
    with pytest.raises(ConfigError, match=reason):
        build_config(ModelConfig, values)
