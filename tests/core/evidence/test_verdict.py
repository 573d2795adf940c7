"""Which method a pair's evidence names, and how that is told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from emrdiff_cli.core.evidence.block_errors import BlockErrors
from emrdiff_cli.core.evidence.bootstrap import Estimate, difference_db
from emrdiff_cli.core.evidence.correction_size import CorrectionSize
from emrdiff_cli.core.evidence.gathering import PairPart
from emrdiff_cli.core.evidence.held_out_band import seen_by_hsi
from emrdiff_cli.core.evidence.misplacement import Derivatives
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.evidence.verdict import HELD_OUT, Candidate, LeftOut, Score, Standing, Verdict, choose
from emrdiff_cli.core.sensor.degradation import WALD_PSF, Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.support.pair_arrays import Pair, texture


def errors(mse: float, seed: int, shape: tuple[int, int] = (24, 24)) -> BlockErrors:
    """Squared errors of Gaussian noise, 16 pixels in each block."""
    noise = np.random.default_rng(seed).chisquare(16, (2, *shape))
    return BlockErrors(mse * noise, np.full(shape, 16.0))


def test_a_standard_error_is_that_of_independent_noise() -> None:
    """Of n squares of Gaussians the logarithm of the mean has variance 2 / n: two methods, two bands."""
    count = 24 * 24 * 16
    expected = 10 / np.log(10) * np.sqrt(2 * (2 / count) / 2)
    found = [difference_db([errors(1.0, seed)], [errors(2.0, seed + 50)]) for seed in range(8)]
    assert np.mean([gain.value for gain in found]) == pytest.approx(10 * np.log10(2), abs=0.03)
    assert np.mean([gain.error for gain in found]) == pytest.approx(expected, rel=0.3)
    assert difference_db([errors(1.0, 3)], [errors(1.0, 3)]) == (0.0, 0.0)


def test_too_few_blocks_tell_no_error() -> None:
    assert difference_db([errors(1.0, 1, (2, 2))], [errors(2.0, 2, (2, 2))]).error == np.inf


def standings(held_out: dict[str, Estimate], half: dict[str, Estimate]) -> list[Standing]:
    kinds = {HELD_OUT: held_out, "half resolution": half}
    return [
        Standing(method, {kind: Score(20.0, gains[method]) for kind, gains in kinds.items() if gains})
        for method in half
    ]


OWN = Estimate(0.0, 0.0)


@pytest.mark.parametrize(
    ("held_out", "half", "named"),
    [
        (Estimate(0.5, 0.2), Estimate(-1.0, 0.1), "glp"),
        (Estimate(0.5, 0.3), Estimate(2.0, 0.1), "kriging"),
        (Estimate(0.05, 0.01), Estimate(2.0, 0.1), "kriging"),
        (Estimate(3.0, np.inf), Estimate(2.0, 0.1), "kriging"),
        (None, Estimate(0.5, 0.2), "kriging"),
    ],
)
def test_the_favourite_is_left_for_what_is_surely_better(
    held_out: Estimate | None, half: Estimate, named: str
) -> None:
    held = {} if held_out is None else {"glp": held_out, "kriging": OWN}
    rows = standings(held, {"glp": half, "kriging": OWN})
    assert choose(rows) == named
    told = Verdict(choose(rows), tuple(rows))
    assert told.sentence.startswith(f"fused by {named}: ")
    assert json.loads(json.dumps(told.record(), allow_nan=False))["method"] == named


def test_kriging_for_its_uncertainty_tells_what_is_better_without_one() -> None:
    rows = standings({"glp": Estimate(0.6, 0.1), "kriging": OWN}, {"glp": OWN, "kriging": OWN})
    assert choose(rows) == "glp"
    model = Candidate("m", 0.25, "2 scenes")
    told = Verdict("kriging", tuple(rows), posterior=True, model=model).sentence
    assert "glp is 0.60 ± 0.10 dB better, without one" in told
    assert "model m tells none, and is 0.25 dB better than kriging" in told
    assert "it alone tells its uncertainty" in Verdict("kriging", posterior=True).sentence


def test_a_model_s_worth_is_told_with_what_it_rests_on() -> None:
    chosen = Verdict("m", model=Candidate("m", 0.25, "2 scenes"))
    assert chosen.sentence == (
        "fused by m: a model that fits, 0.25 dB better than kriging on what was held out of its training "
        "(2 scenes): on that the choice rests, not on this pair"
    )
    tried = Candidate("m", 0.25, correction=CorrectionSize(0.814, 1.2))
    assert Verdict("m", model=tried).sentence.endswith(
        "on that the choice rests; here it corrects 0.81 times what the MSI leaves of the LR-HSI"
    )
    assert (chosen.record()["model"], chosen.record()["model_gain_db"]) == ("m", 0.25)
    asked = Verdict("m", model=Candidate("m", -0.5, named=True)).sentence
    assert (
        asked
        == "fused by m: the model asked for, 0.50 dB worse than kriging on what was held out of its training"
    )


def test_of_methods_that_are_not_told_apart_the_one_that_asks_least_is_named() -> None:
    held = {"glp": Estimate(4.4, 0.9), "glp-local": Estimate(4.7, 0.5), "kriging": OWN}
    assert choose(standings(held, held)) == "glp"
    held["glp-local"] = Estimate(5.2, 0.5)
    assert choose(standings(held, held)) == "glp-local"


@pytest.mark.parametrize(("rms", "named"), [(1.0, "kriging"), (1.4, "glp-local")])
def test_one_msi_band_leaves_it_to_what_kriging_expects_of_itself(rms: float, named: str) -> None:
    rows = standings({}, {"glp-local": Estimate(-1.0, 0.4), "kriging": OWN})
    left = LeftOut(20.0, rms)
    assert choose(rows, left) == named
    assert ("1.40 times" in Verdict(named, tuple(rows), left).sentence) == (rms > 1.2)


@pytest.mark.parametrize(
    ("width", "shift", "sure"), [(1.0, 0.0, False), (1.4, 0.0, True), (0.7, 0.0, True), (1.0, 0.4, True)]
)
def test_a_geometry_that_is_wrong_is_told_from_what_is_left_at_lr(
    width: float, shift: float, sure: bool
) -> None:
    truth = texture(6, 96, 96, 4)
    pair = Pair(truth, np.stack([truth[:3].mean(axis=0), truth[2:5].mean(axis=0), truth[5]]))
    placed = AxisPlacement(4.0, 4 * shift)
    down = Psf.of_fwhm(4 * width, 4 * width).down(placed, placed, (24, 24), (96, 96))
    noise = np.random.default_rng(7).normal(0, 0.002, (len(truth), 24, 24))
    scene = replace(pair.lr, hsi=(apply_taps(truth, *down) + noise).astype(np.float32))
    found = Derivatives()
    found.add(scene, pair.strips, pair.maps, seen_by_hsi(scene), (4.0, 4.0))
    told = found.told()
    assert told is not None
    assert told.is_sure == sure
    rows = standings({"glp": Estimate(-2.0, 0.1), "kriging": OWN}, {"glp": OWN, "kriging": OWN})
    assert choose(rows, None, told) == ("glp" if sure else "kriging")


def test_without_evidence_the_favourite_is_named() -> None:
    assert choose([]) == "kriging"
    assert "too small" in Verdict("kriging").sentence


def part() -> PairPart:
    truth = texture(6, 96, 96, 4)
    pair = Pair(truth, np.stack([truth[:3].mean(axis=0), truth[2:5].mean(axis=0), truth[5]]))
    core = slice(0, 24), slice(0, 24)
    return PairPart(pair.lr, pair.strips, pair.maps, WALD_PSF, (4.0, 4.0), core)


def test_a_reduced_pair_has_the_pair_itself_for_its_truth() -> None:
    """Bicubic: what it loses is what upsampling the degraded LR-HSI loses."""
    own = part()
    reduced = ReducedPair.of(own.scene, WALD_PSF, (4.0, 4.0), 2.0)
    assert reduced is not None
    fused = reduced.fused("bicubic")
    expected = apply_taps(apply_taps(own.scene.hsi, *reduced.resampling.down), *reduced.resampling.up)
    np.testing.assert_allclose(fused, expected, atol=1e-5)
    found = reduced.errors(fused)
    wrong = np.square(expected - own.scene.hsi)[:, found.counts > 0].mean(axis=1)
    np.testing.assert_allclose(found.mse, wrong, rtol=1e-3)
    assert ReducedPair.of(own.scene, WALD_PSF, (4.0, 4.0), 8.0) is None
