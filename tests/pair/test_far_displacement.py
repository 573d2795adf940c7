"""Pairs that lie many LR pixels off: found, put right and fused as well as others, or said not to tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.coarse_registration import CoarseShift
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.registration import Shift
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from emrdiff_cli.pair import far_displacement
from emrdiff_cli.pair.blocks import pair_block
from emrdiff_cli.pair.coregistration import Located, find_shift
from emrdiff_cli.pair.pair import PairReader, open_pair
from tests.support.front_door import Run
from tests.support.pairs import BANDS, BERLIN, RATIO, SIDE, displaced, moved_copy, see, unrelated
from tests.support.rasters import NORTH_UP
from tests.support.scenes import textured, write_cube

FINE = NORTH_UP @ Affine.scale(1 / RATIO)
Point = tuple[float, float]


def checked(emrdiff: Run, pair: tuple[Path, Path]) -> dict[str, Any]:
    ended = emrdiff("check", *pair, "--json", "-q")
    assert ended.err == ""
    facts: dict[str, Any] = json.loads(ended.out)
    return facts


def shift_of(facts: dict[str, Any]) -> Point:
    return facts["shift"]["rows_lr_px"], facts["shift"]["cols_lr_px"]


def at_lr(truth: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, cols = (
        gaussian_downsampler(AxisPlacement(RATIO, 0.0), side // RATIO, side, RATIO / FWHM_PER_SIGMA)
        for side in truth.shape[1:]
    )
    return np.asarray(apply_taps(truth, rows, cols), np.float32)


def write(
    folder: Path,
    lr: NDArray[np.float32],
    msi: NDArray[np.float32],
    lr_corner: Point,
    msi_corner: Point = (0, 0),
) -> tuple[Path, Path]:
    """A pair whose corners (row, column) are stated in LR pixels."""
    return (
        write_cube(
            folder / "lr.tif", lr, transform=NORTH_UP @ Affine.translation(lr_corner[1], lr_corner[0])
        ),
        write_cube(
            folder / "msi.tif",
            msi,
            transform=FINE @ Affine.translation(msi_corner[1] * RATIO, msi_corner[0] * RATIO),
        ),
    )


@pytest.mark.parametrize("by", [(3.6, 0.2), (5.0, -0.3), (-12.4, 7.6), (25.2, 5.0)])
def test_a_far_displacement_is_found_within_hundredths(emrdiff: Run, tmp_path: Path, by: Point) -> None:
    facts = checked(emrdiff, displaced(tmp_path, by))
    assert facts["usable"]
    assert shift_of(facts) == pytest.approx((-by[0], -by[1]), abs=0.03)
    assert facts["shift"]["confidence"] > 0.95
    assert facts["shift"]["r2_after"] > 0.95 > facts["shift"]["r2_before"]
    assert facts["psf"]["fwhm_hr_px"] == pytest.approx(RATIO, rel=0.05)
    assert facts["shift"]["cost_db"] > 3
    assert any("seems displaced" in line for line in facts["warnings"])


def test_holes_do_not_keep_it_from_being_found(emrdiff: Run, tmp_path: Path) -> None:
    facts = checked(emrdiff, displaced(tmp_path, (9.3, -4.8), holes=True))
    assert shift_of(facts) == pytest.approx((-9.3, 4.8), abs=0.03)


def psnr_db(emrdiff: Run, pair: tuple[Path, Path], *options: str) -> float:
    """Of the pair fused, away from the edges, against the truth."""
    folder = pair[0].parent
    fused, truth = folder / "fused.tif", folder / "truth.tif"
    write_cube(truth, textured(BANDS, SIDE, SIDE), transform=FINE)
    ended = emrdiff("fuse", *pair, fused, "--method", "glp-local", "--overwrite", *options)
    assert ended.code == 0, ended.err
    ended = emrdiff("evaluate", fused, truth, "--ratio", RATIO, "--border", 4 * RATIO, "--json")
    assert ended.code == 0, ended.err
    return float(json.loads(ended.out)["psnr_db"])


@pytest.mark.slow
@pytest.mark.parametrize("by", [(5.0, 12.3), (-25.0, 4.4)])
def test_coregistration_recovers_what_it_cost(emrdiff: Run, tmp_path: Path, by: Point) -> None:
    right = psnr_db(emrdiff, displaced(tmp_path, (0.0, 0.0)))
    pair = displaced(tmp_path, by)
    wrong, recovered = psnr_db(emrdiff, pair, "--register", "off"), psnr_db(emrdiff, pair)
    assert right - wrong > 3
    assert recovered == pytest.approx(right, abs=0.1)


def test_a_pair_with_hardly_any_ground_in_common_is_searched_beyond_it(emrdiff: Run, tmp_path: Path) -> None:
    """An LR-HSI of which the grids leave two rows on the MSI, with the ground it shows farther up."""
    truth = textured(BANDS, SIDE, SIDE)
    facts = checked(emrdiff, write(tmp_path, at_lr(truth)[:, 18:34], see(truth), (38.0, 0.0)))
    assert facts["lr_hsi"]["overlap"] < 0.2
    assert shift_of(facts) == pytest.approx((-20.0, 0.0), abs=0.03)
    assert facts["shift"]["confidence"] > 0.95


@pytest.mark.parametrize(("side", "by"), [(512, (39.3, 22.6)), (70, (17.3, -14.6))])
def test_a_small_msi_in_a_large_hsi(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, by: Point
) -> None:
    """Its true place lies mostly outside of what the grids say is common, or partly outside of a small search."""
    monkeypatch.setattr(far_displacement, "_SIDE", side)
    truth = textured(BANDS, 600, 640)
    msi = see(truth)[:, 240:440, 280:480]
    facts = checked(emrdiff, write(tmp_path, at_lr(truth), msi, (-by[0], -by[1]), (60, 70)))
    assert shift_of(facts) == pytest.approx(by, abs=0.03)


def test_an_unrelated_pair_is_said_to_be_of_another_place(emrdiff: Run, tmp_path: Path) -> None:
    pair = displaced(tmp_path, (0.0, 0.0))[0], unrelated(tmp_path)
    facts = checked(emrdiff, pair)
    assert not facts["usable"]
    assert (facts["shift"]["confidence"], *shift_of(facts)) == (0, 0, 0)
    assert "no place up to 40 LR pixels away is surely better" in facts["problems"][0]


def test_ground_that_repeats_itself_does_not_tell(emrdiff: Run, tmp_path: Path) -> None:
    """Fields of 10 LR pixels, half of which the LR-HSI is displaced by."""
    truth = np.tile(textured(BANDS, 40, 40), (1, 4, 4))
    pair = write(tmp_path, at_lr(truth), see(truth), (5.0, 0.0))
    facts = checked(emrdiff, pair)
    assert (facts["shift"]["confidence"], *shift_of(facts)) == (0, 0, 0)
    assert (
        "the displacement of the two against each other could not be told from the pair" in facts["warnings"]
    )
    ended = emrdiff("fuse", *pair, tmp_path / "fused.tif", "--method", "glp")
    assert "could not be told from the pair: it was not moved" in ended.err


def test_another_place_must_explain_clearly_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fields of 10 LR pixels seen with noise, the next field explains as much as the right one."""
    truth = np.tile(textured(BANDS, 40, 40), (1, 4, 4))
    lr = at_lr(truth)
    noisy = lr + 0.03 * np.random.default_rng(0).normal(size=lr.shape).astype(np.float32)
    pair = write(tmp_path, noisy, see(truth), (0.4, 0.0))

    def next_field(_pair: PairReader) -> CoarseShift:
        return CoarseShift(10, 0, confidence=1.0, r2=0.9, r2_elsewhere=0.1, r2_near=0.9)

    monkeypatch.setattr("emrdiff_cli.pair.coregistration.find_far_shift", next_field)
    with open_pair(*pair) as opened:
        shift = find_shift(opened)
    assert (shift.rows, shift.cols) == pytest.approx((-0.4, 0.0), abs=0.05)


def test_doubts_of_the_place_lower_the_confidence(tmp_path: Path) -> None:
    with open_pair(*displaced(tmp_path)) as opened:
        block = pair_block(opened)
    rest = Shift(0.3, -0.2, confidence=0.8, r2_before=0.7, r2_after=0.9, pixels=500)
    shift = Located(block, rest, Shift(-12, 7, confidence=0.5, r2_before=0.1)).shift
    assert shift == replace(rest, rows=-11.7, cols=6.8, confidence=0.4, r2_before=0.1)


def test_a_pair_that_lies_right_is_not_searched(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "emrdiff_cli.pair.coregistration.find_far_shift", lambda pair: pytest.fail("searched")
    )
    assert checked(emrdiff, displaced(tmp_path, (0.4, -0.7)))["usable"]


@pytest.mark.slow
@pytest.mark.skipif(not BERLIN.exists(), reason="needs the Berlin scene")
def test_berlin_is_found_again(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = BERLIN / "enmap_sim_30m_244b.bsq", BERLIN / "hymap_4band_3p6m.bsq"
    own = shift_of(checked(emrdiff, (lr, msi)))
    far = shift_of(checked(emrdiff, (moved_copy(lr, tmp_path, (12.3, -21.8)), msi)))
    assert (far[0] - own[0], far[1] - own[1]) == pytest.approx((-12.3, 21.8), abs=0.03)
