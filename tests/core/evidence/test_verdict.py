"""Which method a pair's evidence names, and how that is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emrdiff_cli.core.evidence.block_errors import BlockErrors
from emrdiff_cli.core.evidence.bootstrap import Estimate, difference_db
from emrdiff_cli.core.evidence.gathering import PairPart
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.evidence.verdict import HELD_OUT, Candidate, Score, Standing, Verdict, choose
from emrdiff_cli.core.sensor.degradation import WALD_PSF
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
        (None, Estimate(0.5, 0.2), "glp"),
        (None, Estimate(0.5, 0.3), "kriging"),
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
    assert (chosen.record()["model"], chosen.record()["model_gain_db"]) == ("m", 0.25)
    asked = Verdict("m", model=Candidate("m", -0.5, named=True)).sentence
    assert (
        asked
        == "fused by m: the model asked for, 0.50 dB worse than kriging on what was held out of its training"
    )


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
