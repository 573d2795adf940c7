"""The second pass over an evaluation's cubes: against whole arrays, in any split, with seams made on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.core.metrics.cube import score
from emrdiff_cli.core.metrics.error_survey import ANGLE_STEP, BRIGHTNESS, RANKS, ErrorSurvey, Survey

SHAPE = (5, 40, 30)


def cubes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.1, 0.9, SHAPE)
    fused = reference + rng.normal(0, 0.02, SHAPE)
    fused[2, 7, 3:9] = np.nan
    return fused.astype(np.float32), reference.astype(np.float32)


def survey(
    fused: np.ndarray, reference: np.ndarray, strip: int = 100, shape: tuple[int, int] = (40, 30)
) -> Survey:
    stream = ErrorSurvey(fused.shape[1], fused.shape[2], shape)
    for top in range(0, fused.shape[1], strip):
        stream.update(fused[:, top : top + strip], reference[:, top : top + strip])
    return stream.result()


def test_maps_and_histogram_agree_with_the_scores() -> None:
    fused, reference = cubes()
    overall = score(fused, reference, 1.0).overall
    found = survey(fused, reference)
    assert np.nanmean(found.sam) == pytest.approx(overall["sam_deg"], rel=1e-5)
    assert np.sqrt(np.nanmean(found.rmse.astype(float) ** 2)) == pytest.approx(overall["rmse"], rel=1e-5)
    np.testing.assert_array_equal(np.isnan(found.sam), np.isnan(fused).any(axis=0))
    centres = np.arange(len(found.angles)) * ANGLE_STEP
    assert found.angles.sum() == 40 * 30 - 6
    assert (found.angles * centres).sum() / found.angles.sum() == pytest.approx(overall["sam_deg"], rel=1e-3)


@pytest.mark.parametrize("strip", [1, 7])
def test_the_split_into_strips_does_not_matter(strip: int) -> None:
    whole, split = survey(*cubes(), shape=(9, 7)), survey(*cubes(), strip=strip, shape=(9, 7))
    assert split.points == whole.points
    for name in ("rmse", "sam", "angles", "row_steps", "col_steps", "row_pairs", "col_pairs"):
        np.testing.assert_allclose(getattr(split, name), getattr(whole, name), rtol=1e-5, err_msg=name)


def test_points_are_the_least_median_and_greatest_angles_of_each_third_by_brightness() -> None:
    fused, reference = cubes()
    found = survey(fused, reference)
    assert [(p.brightness, p.rank) for p in found.points] == [(b, r) for b in BRIGHTNESS for r in RANKS]
    sam = found.sam
    assert min(p.sam_deg for p in found.points) == pytest.approx(np.nanmin(sam), rel=1e-5)
    assert max(p.sam_deg for p in found.points) == pytest.approx(np.nanmax(sam), rel=1e-5)
    means = [
        np.mean([reference[:, p.row, p.col] for p in found.points if p.brightness == b]) for b in BRIGHTNESS
    ]
    assert means == sorted(means)
    for point in found.points:
        assert sam[point.row, point.col] == pytest.approx(point.sam_deg, rel=1e-5)


def test_a_seam_shows_and_none_does_not() -> None:
    fused, reference = cubes()
    assert survey(fused, reference).seams([16], [10, 20]).ratio == pytest.approx(1, abs=0.1)
    fused[:, 16:] += 0.1
    fused[:, :, 10:] -= 0.1
    found = survey(fused, reference, strip=16)
    assert int(np.argmax(found.row_steps)) + 1 == 16
    assert int(np.argmax(found.col_steps)) + 1 == 10
    ratio = found.seams([16], [10]).ratio
    assert ratio is not None
    assert ratio > 3
    assert found.seams([], []).ratio is None


def test_nothing_valid_leaves_nothing() -> None:
    fused, reference = cubes()
    found = survey(np.full_like(fused, np.nan), reference)
    assert (found.points, found.angles.sum()) == ((), 0)
    assert np.isnan(found.sam).all()
    assert found.seams([16], [10]) == (None, None, None)
