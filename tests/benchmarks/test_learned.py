"""What is learned across sensors: it starts from kriging as the command has it, and changes nothing at first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, fused_without_model
from tests.benchmarks.geometry_pairs import four_boxes
from tests.benchmarks.learned.gate import Support, support, trials
from tests.benchmarks.learned.grounds import Conditions, Ground, make_pair
from tests.benchmarks.learned.kernel import ColourWarp, LearnedKriging
from tests.benchmarks.learned.kernel_gate import MissedLess
from tests.benchmarks.learned.kinds import KINDS
from tests.benchmarks.learned.kriged_scene import KrigedPair
from tests.benchmarks.learned.residual import Inputs, ResidualNet, correction
from tests.benchmarks.learned.scoring import pairs_of
from tests.benchmarks.learned.solving import Problem
from tests.benchmarks.learned.training import is_trained, pool, train
from tests.support.scenes import textured

BANDS, SIDE, RATIO = 24, 80, 4
REALISTIC = Conditions(RATIO, "box", 1.1, 1.02, 40.0, 40.0, (0.02, -0.01))


@pytest.fixture(scope="module")
def pair() -> SupervisedPair:
    return make_pair(textured(BANDS, SIDE, SIDE), four_boxes(BANDS), REALISTIC, np.random.default_rng(0))


@pytest.fixture(scope="module")
def kriged(pair: SupervisedPair) -> KrigedPair:
    return KrigedPair.of(pair)


def test_a_kriged_pair_is_fused_as_the_method_fuses_it(pair: SupervisedPair, kriged: KrigedPair) -> None:
    fused = kriged.bands(kriged.kriged.mean)
    np.testing.assert_allclose(fused, fused_without_model(pair, "kriging"), rtol=0, atol=1e-5)


def test_the_network_adds_nothing_at_first_and_is_odd_in_a_component(kriged: KrigedPair) -> None:
    net = ResidualNet()
    assert not correction(net, kriged.kriged).any()
    torch.nn.init.normal_(net.last.weight)
    own, certainty, seen = (torch.from_numpy(image) for image in Inputs.of(kriged.kriged, slice(0, 2)))
    with torch.no_grad():
        answer, mirrored = (net(sign * own, certainty, seen[None]) for sign in (1, -1))
    assert answer.abs().max() > 0.01
    torch.testing.assert_close(answer, -mirrored)


@pytest.mark.parametrize("name", KINDS)
def test_a_training_goes_on_where_it_stopped(name: str, tmp_path: Path) -> None:
    grounds = [Ground("made", "textured", textured(BANDS, SIDE, SIDE))]
    kind = KINDS[name]
    examples = [pool(kind, grounds, tmp_path / "made.pt", 0, 2)]
    net = train(kind, examples, tmp_path / "net", 0, 0.001)
    torch.manual_seed(0)
    started = kind.net().state_dict()
    assert any(not torch.equal(one, started[key]) for key, one in net.state_dict().items())
    assert is_trained(tmp_path / "net", 0.001)
    assert not is_trained(tmp_path / "net", 10)
    again = train(kind, [pool(kind, [], tmp_path / "made.pt", 0, 2)], tmp_path / "net", 0, 0.001)
    torch.testing.assert_close(again.state_dict(), net.state_dict(), rtol=0, atol=0)


def test_several_draws_of_the_conditions_have_names_and_conditions_of_their_own() -> None:
    ground = Ground("made", "textured", textured(BANDS, SIDE, SIDE))
    found = dict(pairs_of(ground, 3, (RATIO,), 3))
    assert list(found) == ["x4 exact", "x4 realistic", "x4 realistic#2", "x4 realistic#3"]
    taken = {pair.resampling.down[0].matrix(0, SIDE).tobytes() for pair in found.values()}
    assert len(taken) == 4


def test_the_best_share_is_found_where_the_truth_is_known(pair: SupervisedPair) -> None:
    """A correction that is half of what is missing is to be taken twice, one that contradicts it not at all."""
    wrong = np.random.default_rng(0).normal(size=(2, 16))
    for share, added in ((2.0, wrong / 2), (-1.0, -wrong)):
        found = Support.of(np.stack([(wrong * added).sum(axis=0), (added * added).sum(axis=0)]))
        assert found.share == pytest.approx(share)
        assert found.error == pytest.approx(0, abs=1e-9)
        assert found.strength == np.clip(share, 0, 1)
    assert Support(0.7, 0.3).strength == pytest.approx(0.4)
    held = list(trials(pair))
    assert len(held) == len(pair.hr_msi)
    assert support(held, ResidualNet()) == Support(0.0, 0.0)


def test_a_kernel_that_moves_no_colour_is_krigings(kriged: KrigedPair) -> None:
    net = ColourWarp()
    torch.nn.init.zeros_(net.last.weight)
    same = LearnedKriging.of(kriged.kriged, net).mean()
    np.testing.assert_allclose(same, kriged.kriged.mean, rtol=0, atol=2e-5)
    with torch.no_grad():
        assert Problem.of(kriged).loss(net, np.random.default_rng(0))[1] == pytest.approx(0, abs=1e-3)


def test_a_kernel_is_learned_by_the_solve_that_it_is_used_in() -> None:
    """In one block the detail is kriging's but for its weights' nodes, and so is what the network changes."""
    side = 8 * RATIO
    truth = textured(BANDS, side, side)
    small = make_pair(truth, four_boxes(BANDS), Conditions(RATIO), np.random.default_rng(0))
    kriged = KrigedPair.of(small)
    problem, net = Problem.of(kriged), ColourWarp()
    torch.nn.init.normal_(net.last.weight, std=0.3)
    with torch.no_grad():
        learned = problem.detail(net(problem.seen.float()[None])[0])
    expected = []
    for strength in (0.0, 1.0):
        found = LearnedKriging.of(kriged.kriged, net, strength)
        detail = replace(found, agreement=None).injected().tile(found.msi, *small.resampling.up).local_detail
        expected.append(detail[: len(problem.own)].reshape(len(problem.own), -1)[:, problem.scored])
    for ours, kriging in zip((problem.own, learned), expected, strict=True):
        wrong = (ours * problem.spread[:, None]).numpy() - kriging
        assert np.sqrt(np.mean(wrong**2)) < 0.08 * np.sqrt(np.mean(kriging**2))
    changed = np.sqrt(np.mean((expected[1] - expected[0]) ** 2))
    assert changed > 0.3 * np.sqrt(np.mean(expected[0] ** 2))


def test_a_kernel_is_taken_only_where_it_misses_less() -> None:
    own = np.random.default_rng(0).uniform(1, 2, 16)
    found = MissedLess.of({0.0: own, 0.5: 0.9 * own, 1.0: 0.8 * own})
    assert found == pytest.approx((1.0, 0.2, 0.0), abs=1e-9)
    luck = own.copy()
    luck[0] = 0.0
    assert MissedLess.of({0.0: own, 1.0: luck}).strength == 0
    assert MissedLess.of({0.0: own, 1.0: 1.1 * own}) == (0, 0, 0)
