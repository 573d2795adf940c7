"""The PSF of an LR-HSI found on the pair: widths, profiles, and nothing where the pair does not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import AxisPsf
from emrdiff_cli.core.sensor.psf_estimation import FoundPsf, estimate_psf
from tests.support.geometries import block, lattice, noisy, seen_at, seen_through
from tests.support.pairs import see
from tests.support.scenes import textured

ON_GRID = (0.0, 0.0)
NONE = np.ones(1)  # optics that blur nothing: what is left is the mean over the pixel
BOX = np.full(5, 1 / 5)
HUMP = np.exp(-0.5 * np.arange(-8.0, 9) ** 2) / np.exp(-0.5 * np.arange(-8.0, 9) ** 2).sum()
Doubles = NDArray[np.float64]


def psf_of(
    side: int, ratio: float, fwhm: tuple[float, float], start: float = 0.0, noise: float = 0.0
) -> FoundPsf:
    """Found on a pair of so many HR pixels, whose LR grid begins a share of an LR pixel into the MSI."""
    truth = textured(8, side, side)
    places = lattice((side, side), ratio)[:, : -1 if start else None, : -1 if start else None] + start
    lr = noisy(seen_at(truth, ratio, places, fwhm), noise)
    found = estimate_psf(block(lr, see(truth), ratio, (start * ratio, start * ratio)), ON_GRID)
    assert found is not None
    return found


@pytest.mark.parametrize("fwhm", [(0.8, 0.8), (1.2, 1.2), (1.4, 1.4), (0.85, 1.3), (1.4, 0.8)])
@pytest.mark.parametrize(("ratio", "side"), [(3, 144), (10 / 3, 160), (4, 192), (8, 320)])
def test_widths_are_found_along_rows_and_columns(ratio: float, side: int, fwhm: tuple[float, float]) -> None:
    found = psf_of(side, ratio, fwhm)
    assert found.odd
    assert found.fwhm == pytest.approx(fwhm, rel=0.01)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_spectra_of_many_materials_are_not_taken_for_a_width(noise: float) -> None:
    truth = np.concatenate([textured(8, 160, 160, seed) for seed in range(3)])
    lr = noisy(seen_at(truth, 4, lattice((160, 160), 4), (0.9, 1.3)), noise)
    found = estimate_psf(block(lr, see(truth), 4), ON_GRID)
    assert found is not None
    assert found.fwhm == pytest.approx((0.9, 1.3), rel=0.004)


@pytest.mark.parametrize("fwhm", [(0.8, 1.1), (1.4, 1.4)])
@pytest.mark.parametrize("ratio", [3, 10 / 3, 4])
def test_widths_are_found_on_a_grid_that_begins_between_pixels(
    ratio: float, fwhm: tuple[float, float]
) -> None:
    assert psf_of(160, ratio, fwhm, start=0.37).fwhm == pytest.approx(fwhm, rel=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.1])
@pytest.mark.parametrize("fwhm", [(1.0, 1.0), (0.8, 0.8), (1.3, 0.9)])
def test_gaussians_stay_gaussians(fwhm: tuple[float, float], noise: float) -> None:
    found = psf_of(192, 4, fwhm, noise=noise)
    assert not found.shaped
    assert found.odd == (fwhm != (1.0, 1.0))
    assert found.fwhm == pytest.approx(fwhm, rel=0.03)


def test_the_usual_psf_is_found_to_be_the_usual_one() -> None:
    found = psf_of(160, 4, (1.0, 1.0), noise=0.01)
    assert (found.odd, found.shaped, found.fwhm, found.psf.axes) == (False, False, (1.0, 1.0), None)


def apart(axis: AxisPsf, kernel: Doubles, ratio: int) -> float:
    """L1 distance of a found profile from optics with a kernel and pixels that are area means."""
    whole = np.convolve(kernel, np.full(ratio, 1 / ratio))
    reach = 4 * ratio
    steps = np.arange(-reach, reach + 1) + (0.5 if len(whole) % 2 == 0 else 0.0)
    found = axis.kernel(steps)
    true = np.zeros(len(steps))
    first = int(np.flatnonzero(np.isclose(steps, -(len(whole) - 1) / 2))[0])
    true[first : first + len(whole)] = whole
    return float(np.abs(found / found.sum() - true).sum())


@pytest.mark.parametrize(
    ("rows", "cols", "most"),
    [
        (NONE, NONE, 0.08),
        (BOX, BOX, 0.05),
        (NONE, np.convolve(BOX, HUMP), 0.1),
        (HUMP, np.full(7, 1 / 7), 0.05),
    ],
    ids=["area mean", "box", "motion", "swath"],
)
@pytest.mark.parametrize("ratio", [3, 4])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_profiles_that_are_no_gaussians_are_found(
    rows: Doubles, cols: Doubles, most: float, ratio: int, noise: float
) -> None:
    side = 48 * ratio
    truth = textured(8, side, side)
    lr = noisy(seen_through(truth, ratio, rows, cols), noise)
    found = estimate_psf(block(lr, see(truth), ratio), ON_GRID)
    assert found is not None
    assert found.shaped
    assert found.psf.axes is not None
    distances = [
        apart(axis, kernel, ratio) for axis, kernel in zip(found.psf.axes, (rows, cols), strict=True)
    ]
    gaussian = [
        apart(AxisPsf(axis.sigma_px), kernel, ratio)
        for axis, kernel in zip(found.psf.axes, (rows, cols), strict=True)
    ]
    assert max(distances) < most
    assert sum(distances) < 0.6 * sum(gaussian)


def test_a_few_pixels_have_no_profile() -> None:
    truth = textured(8, 52, 52)
    found = estimate_psf(block(seen_through(truth, 4, BOX, BOX), see(truth), 4), ON_GRID)
    assert found is None or not found.shaped


def test_a_hole_leaves_the_psf_as_it_is() -> None:
    truth = textured(8, 192, 192)
    whole = block(seen_at(truth, 4, lattice((192, 192), 4), (1.2, 0.9)), see(truth), 4)
    valid = whole.valid.copy()
    valid[10:20, 12:30] = False
    spoilt = np.where(valid, whole.hsi, 9.0)
    found = estimate_psf(replace(whole, hsi=spoilt, valid=valid), ON_GRID)
    assert found is not None
    assert found.fwhm == pytest.approx((1.2, 0.9), rel=0.01)


def test_a_pair_of_two_places_does_not_tell() -> None:
    truth, other = textured(8, 160, 160), textured(8, 160, 160, seed=9)
    found = estimate_psf(block(seen_at(truth, 4, lattice((160, 160), 4)), see(other), 4), ON_GRID)
    assert found is None or not found.shaped
