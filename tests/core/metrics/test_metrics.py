"""Each metric against an oracle, a case worked by hand, and its invariances."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import spectral
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from emrdiff_cli.core.metrics.cube import KEYS, FullReference, Scores, score

Floats = NDArray[np.float64]


def noisy_pair(seed: int = 0, shape: tuple[int, int, int] = (5, 34, 29)) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.02, 0.8, shape)
    gains = rng.uniform(0.9, 1.1, (shape[0], 1, 1))
    return reference * gains + rng.normal(0, 0.03, shape), reference


def holes(seed: int, shape: tuple[int, ...], count: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    mask.flat[rng.choice(mask.size, count, replace=False)] = True
    return mask


@pytest.fixture(params=["whole", "holed"])
def case(request: pytest.FixtureRequest) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """A pair of cubes and the pixels that are valid in it; holes differ between cubes and bands."""
    fused, reference = noisy_pair()
    invalid = np.zeros(fused.shape[1:], bool)
    if request.param == "holed":
        for cube, band, seed in ((fused, 1, 5), (reference, 3, 6)):
            mask = holes(seed, invalid.shape, 4)
            cube[band][mask] = np.nan
            invalid |= mask
    return fused, reference, ~invalid


def test_pixelwise_metrics_agree_with_their_definitions(
    case: tuple[Floats, Floats, NDArray[np.bool_]],
) -> None:
    fused, reference, valid = case
    f, r = fused[:, valid], reference[:, valid]
    mse = np.mean((f - r) ** 2, axis=1)
    got = score(fused, reference, peak=0.9, ratio=8)
    expected = {
        "psnr_db": np.mean(10 * np.log10(0.9**2 / mse)),
        "psnr_global_db": 10 * np.log10(0.9**2 / mse.mean()),
        "psnr_band_peak_db": np.mean(10 * np.log10(r.max(axis=1) ** 2 / mse)),
        "ergas": 100 / 8 * np.sqrt(np.mean(mse / r.mean(axis=1) ** 2)),
        "cc": np.mean([np.corrcoef(f[b], r[b])[0, 1] for b in range(len(f))]),
        "rmse": np.sqrt(mse.mean()),
    }
    assert {key: got.overall[key] for key in expected} == pytest.approx(expected, rel=1e-6)
    assert got.per_band["psnr_db"] == pytest.approx(10 * np.log10(0.9**2 / mse), rel=1e-6)
    assert got.per_band["rmse"] == pytest.approx(np.sqrt(mse), rel=1e-6)
    assert (got.valid_pixels, got.dropped_pixels) == (valid.sum(), (~valid).sum())


def test_psnr_agrees_with_scikit_image(case: tuple[Floats, Floats, NDArray[np.bool_]]) -> None:
    fused, reference, valid = case
    f, r = fused[:, valid], reference[:, valid]
    bands = [peak_signal_noise_ratio(a, b, data_range=0.9) for a, b in zip(r, f, strict=True)]
    got = score(fused, reference, peak=0.9)
    assert got.per_band["psnr_db"] == pytest.approx(bands, rel=1e-6)
    assert got.overall["psnr_global_db"] == pytest.approx(
        peak_signal_noise_ratio(r, f, data_range=0.9), rel=1e-6
    )


def test_sam_agrees_with_spectral(case: tuple[Floats, Floats, NDArray[np.bool_]]) -> None:
    fused, reference, valid = case
    pairs = zip(fused[:, valid].T, reference[:, valid].T, strict=True)
    angles = [spectral.spectral_angles(f[None, None], r[None])[0, 0, 0] for f, r in pairs]
    assert score(fused, reference, 1.0).overall["sam_deg"] == pytest.approx(
        np.degrees(np.mean(angles)), rel=1e-6
    )


@pytest.mark.parametrize("peak", [1.0, 3000.0])
def test_ssim_agrees_with_scikit_image(case: tuple[Floats, Floats, NDArray[np.bool_]], peak: float) -> None:
    fused, reference, valid = case
    windows = np.lib.stride_tricks.sliding_window_view(valid, (11, 11)).all(axis=(2, 3))
    bands = []
    for f, r in zip(np.where(valid, fused, 0) * peak, np.where(valid, reference, 0) * peak, strict=True):
        options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        _, smap = structural_similarity(f, r, data_range=peak, full=True, **options)
        bands.append(smap[5:-5, 5:-5][windows].mean())
    got = score(fused * peak, reference * peak, peak)
    assert got.windows["ssim_windows"] == windows.sum() > 0
    assert got.per_band["ssim"] == pytest.approx(bands, rel=1e-6)
    assert got.overall["ssim"] == pytest.approx(np.mean(bands), rel=1e-6)


def test_values_worked_by_hand() -> None:
    reference = np.array([[[3.0, 1.0]], [[4.0, 0.0]]])
    fused = np.array([[[3.0, 1.0]], [[5.0, 1.0]]])
    got = score(fused, reference, peak=10.0, ratio=2.0)
    # Errors: band 1 none, band 2 one each: MSE 0 and 1; the reference's means are 2 and 2.
    assert got.overall["rmse"] == pytest.approx(math.sqrt(0.5))
    assert got.overall["psnr_db"] == pytest.approx(
        20.0
    )  # band 1 is identical, hence infinite, hence left out
    assert got.overall["psnr_global_db"] == pytest.approx(10 * math.log10(200))
    assert got.per_band["psnr_band_peak_db"] == pytest.approx((math.inf, 10 * math.log10(16)))
    assert got.overall["ergas"] == pytest.approx(50 * math.sqrt((0 + 0.25) / 2))
    # Angles: (3, 5) against (3, 4), and 45 degrees.
    assert got.overall["sam_deg"] == pytest.approx(
        (45 + math.degrees(math.acos(29 / math.sqrt(34 * 25)))) / 2
    )
    assert got.overall["cc"] == pytest.approx(1.0)
    assert got.overall["ssim"] is None
    assert "psnr_db leaves out band 1: identical in both cubes" in got.notes


def test_ssim_of_two_constants_worked_by_hand() -> None:
    got = score(np.full((1, 12, 11), 0.5), np.full((1, 12, 11), 0.25), peak=1.0)
    assert got.overall["ssim"] == pytest.approx((2 * 0.125 + 1e-4) / (0.25 + 0.0625 + 1e-4))
    assert got.windows["ssim_windows"] == 2


def streamed(
    fused: Floats, reference: Floats, rows: list[int], cols: list[int] | None = None, **options: Any
) -> Scores:
    """The scores from tiles between these cuts, each with the pixels around it that windows reach."""
    stream = FullReference(len(fused), 1.0, 4.0, **options)
    height, width = fused.shape[1:]
    for top, bottom in pairwise([0, *rows, height]):
        for left, right in pairwise([0, *(cols or []), width]):
            around = (slice(None), slice(top, bottom + stream.halo), slice(left, right + stream.halo))
            stream.update(fused[around], reference[around], (bottom - top, right - left))
    return stream.result()


def assert_alike(one: Scores, other: Scores) -> None:
    assert one.overall == pytest.approx(dict(other.overall), rel=1e-9)
    for key, values in other.per_band.items():
        assert one.per_band[key] == pytest.approx(values, rel=1e-9)
    for count in ("valid_pixels", "dropped_pixels", "windows"):
        assert getattr(one, count) == getattr(other, count)


CUTS = st.lists(st.integers(0, 45), max_size=5).map(sorted)


@settings(max_examples=20, deadline=None)
@given(rows=CUTS, cols=CUTS, count=st.integers(0, 3))
def test_any_split_into_tiles_gives_the_same_scores(rows: list[int], cols: list[int], count: int) -> None:
    fused, reference = noisy_pair(shape=(3, 45, 47))
    fused[:, holes(1, fused.shape[1:], count)] = np.nan
    metrics = [key for key in KEYS if key != "q2n" and (key != "uiqi" or not count)]
    split = streamed(fused, reference, rows, cols, metrics=metrics)
    assert_alike(split, score(fused, reference, 1.0, 4.0, metrics))


@pytest.mark.parametrize(("rows", "cols"), [([32], []), ([32, 64], [64]), ([], [32, 64])])
def test_tiles_cut_between_blocks_give_the_same_scores(rows: list[int], cols: list[int]) -> None:
    fused, reference = noisy_pair(shape=(3, 100, 97))
    fused[1, 40, 70] = np.nan
    whole = score(fused, reference, 1.0, 4.0)
    assert whole.windows["q2n_blocks"] == 9 - 1
    assert whole.windows["uiqi_windows"] > 0
    assert_alike(streamed(fused, reference, rows, cols), whole)


def test_only_what_is_asked_for_is_scored() -> None:
    fused, reference = noisy_pair(shape=(3, 40, 40))
    got = score(fused, reference, 1.0, 4.0, metrics=["sam_deg", "psnr_db"])
    whole = score(fused, reference, 1.0, 4.0)
    assert dict(got.overall) == {key: whole.overall[key] for key in ("psnr_db", "sam_deg")}
    assert list(got.per_band) == ["psnr_db"]
    assert got.windows == {"ssim_windows": 0, "uiqi_windows": 0, "q2n_blocks": 0}
    with pytest.raises(ValueError, match=r"unknown metrics \['qnr'\]"):
        score(fused, reference, 1.0, metrics=["qnr"])


def test_correlation_survives_a_large_mean_in_strips() -> None:
    fused, reference = noisy_pair(3)
    got = streamed(fused + 1e6, reference + 1e6, list(range(1, 34)))
    assert got.overall["cc"] == pytest.approx(score(fused, reference, 1.0).overall["cc"], rel=1e-8)


def test_a_cube_against_itself() -> None:
    _, cube = noisy_pair(shape=(5, 40, 35))
    got = score(cube, cube.copy(), peak=1.0, ratio=4.0)
    ideal = {"sam_deg": 0.0, "ergas": 0.0, "ssim": 1.0, "uiqi": 1.0, "q2n": 1.0, "cc": 1.0, "rmse": 0.0}
    ideal |= dict.fromkeys(("psnr_db", "psnr_global_db", "psnr_band_peak_db"), math.inf)
    assert got.overall == pytest.approx(ideal, abs=1e-12)
    assert got.notes == ("psnr_db is infinite (null in JSON): identical in both cubes",)


def test_bands_without_a_valid_value_are_left_out_and_listed() -> None:
    fused, reference = noisy_pair(shape=(5, 34, 35))
    fused[0], reference[3] = np.nan, np.inf
    keep = [1, 2, 4]
    got, alone = score(fused, reference, 1.0, 4.0), score(fused[keep], reference[keep], 1.0, 4.0)
    assert got.overall == alone.overall
    assert (got.bands, got.left_out_bands) == ((2, 3, 5), (1, 4))
    assert got.notes == ("bands 1, 4 left out: no valid value in one of the cubes",)


def test_band_numbers_can_be_handed_in() -> None:
    fused, reference = noisy_pair()
    got = streamed(fused, reference, [9], left_out=[1], numbers=[10, 20, 30, 40, 50])
    assert (got.bands, got.left_out_bands) == ((10, 30, 40, 50), (20,))


@pytest.mark.parametrize("invalid", ["everywhere", "in turns"])
def test_nothing_valid_gives_none_and_says_why(invalid: str) -> None:
    fused, reference = noisy_pair(shape=(2, 12, 12))
    if invalid == "everywhere":
        fused[:] = np.nan
    else:
        fused[0, :6], reference[1, 6:] = np.nan, np.nan
    got = score(fused, reference, 1.0, 4.0)
    assert got.overall == dict.fromkeys(KEYS)
    assert got.notes[-1] == "every score is null: no pixel of 144 is valid in all bands of both cubes"


def test_constant_and_zero_bands_give_none_and_say_why() -> None:
    got = score(np.full((2, 12, 12), 0.1), np.zeros((2, 12, 12)), peak=1.0, ratio=4.0)
    undefined = {key for key, value in got.overall.items() if value is None}
    assert undefined == {"psnr_band_peak_db", "sam_deg", "ergas", "cc", "uiqi", "q2n"}
    assert all(any(note.startswith(key) for note in got.notes) for key in undefined)
    assert got.sam_dropped_pixels == 144
    assert (
        score(np.full((2, 12, 12), 0.1, np.float32), noisy_pair(shape=(2, 12, 12))[1], 1.0).overall["cc"]
        is None
    )


def test_dropped_pixels_of_the_spectral_angle_are_counted() -> None:
    fused, reference = noisy_pair()
    fused[:, 0, :3] = 0
    assert score(fused, reference, 1.0).sam_dropped_pixels == 3


def test_ergas_leaves_out_bands_with_a_mean_near_zero() -> None:
    fused, reference = noisy_pair(shape=(5, 34, 35))
    reference[2] = 0
    got = score(fused, reference, 1.0, 4.0)
    keep = [0, 1, 3, 4]
    assert got.overall["ergas"] == score(fused[keep], reference[keep], 1.0, 4.0).overall["ergas"]
    assert got.per_band["ergas"][2] is None
    assert "ergas leaves out band 3: the reference's mean is near 0" in got.notes


def test_without_a_ratio_ergas_is_none() -> None:
    got = score(*noisy_pair(shape=(5, 34, 35)), peak=1.0)
    assert got.overall["ergas"] is None
    assert got.notes == ("ergas is null: the ratio is not known",)


def test_float32_is_scored_in_float64_and_arguments_stay_as_they_were() -> None:
    fused, reference = (cube.astype(np.float32) for cube in noisy_pair())
    before = fused.copy(), reference.copy()
    got = score(fused, reference, 1.0, 4.0)
    exact = score(fused.astype(np.float64), reference.astype(np.float64), 1.0, 4.0)
    assert got == exact
    assert np.array_equal(before, (fused, reference))


@pytest.mark.parametrize(("peak", "ratio"), [(0.0, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_senseless_peak_or_ratio_is_refused(peak: float, ratio: float) -> None:
    with pytest.raises(ValueError, match="must be a positive number"):
        FullReference(3, peak, ratio)


def test_tiles_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two tiles of 3 bands expected"):
        FullReference(3, 1.0).update(np.zeros((3, 4, 5)), np.zeros((3, 4, 6)))
