"""The samplers' benchmark: scoring rules on known cases, the chain on a Gaussian, and the tables."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.benchmarks.sampling.chains import run_chain
from tests.benchmarks.sampling.known import COMPONENTS, KnownPair
from tests.benchmarks.sampling.made import SIDE, made_scene
from tests.benchmarks.sampling.measures import measure
from tests.benchmarks.sampling.network import Net
from tests.benchmarks.sampling.recipes import mixed
from tests.benchmarks.sampling.scores import Judged
from tests.benchmarks.sampling.scoring_rules import (
    coverage,
    fair_crps,
    fair_energy_score,
    rank_counts,
    spread_and_error,
    unevenness,
)
from tests.benchmarks.sampling.tables import by_scene, tables

_RNG = np.random.default_rng(0)


def test_the_fair_crps_of_two_members_by_hand() -> None:
    members = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    assert fair_crps(members, np.array([0.0, 2.0, 3.0])) == pytest.approx([0.0, 1.0, 2.0])


@pytest.mark.parametrize("count", [2, 16])
def test_the_fair_scores_of_a_gaussian_do_not_depend_on_the_members(count: int) -> None:
    members, truth = _RNG.normal(0, 1, (count, 10_000)), np.zeros(10_000)
    expected = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)  # Gneiting and Raftery 2007, eq. 21
    assert fair_crps(members, truth).mean() == pytest.approx(expected, abs=0.03)
    energy = fair_energy_score(members[:, :, None], truth[:, None])
    assert energy == pytest.approx(fair_crps(members, truth), abs=1e-6)


def test_the_fair_energy_score_of_two_spectra_by_hand() -> None:
    members, truth = np.array([[[0.0, 0.0]], [[3.0, 4.0]]]), np.array([[0.0, -12.0]])
    expected = ((12 + np.hypot(3, 16)) / 2 - 5 / 2) / np.sqrt(2)
    assert fair_energy_score(members, truth) == pytest.approx([expected])


def test_ranks_of_a_true_ensemble_are_even_and_those_of_a_narrow_one_are_not() -> None:
    drawn = _RNG.normal(0, 1, (17, 20_000))
    true, narrow = rank_counts(drawn[1:], drawn[0]), rank_counts(0.3 * drawn[1:], drawn[0])
    assert true.sum() == narrow.sum() == 20_000
    assert unevenness(true) < 0.05 < 0.5 < unevenness(narrow)
    assert coverage(true, 0.5) == pytest.approx((9 / 17, 9 / 17), abs=0.02)
    assert coverage(true, 0.9) == pytest.approx((15 / 17, 15 / 17), abs=0.02)
    variance, squares = spread_and_error(drawn[1:], drawn[0])
    assert variance.mean() == pytest.approx(squares.mean(), rel=0.05)


def test_a_true_ensemble_measures_well_and_a_band_of_zeros_is_left_out() -> None:
    level = 1 + _RNG.normal(0, 0.2, (1, 6, 48, 48))
    images = (level + _RNG.normal(0, 0.1, (17, 6, 48, 48))).astype(np.float32)
    images[:, 1] = 0
    kept = {field.name: np.empty(0, np.float32) for field in fields(KnownPair)}
    pair = KnownPair(**kept | {"ratio": np.array(4), "truth_bands": images[0]})
    found = measure(images[1:], pair)
    assert found["ratio"] == pytest.approx(1, abs=0.03)
    assert found["within_90"] == pytest.approx(15 / 17, abs=0.02)
    assert found["texture_db"] < 1
    assert found["indices"] < 0.05
    assert found["psnr_db"] == pytest.approx(20 * np.log10(images[0, 0].max() / 0.103), abs=1)
    assert measure(level[0] + 3 * (images[1:] - level[0]), pair)["ratio"] > 2


def test_a_chain_of_five_steps_keeps_a_gaussian_only_with_its_own_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    net, amplitude = Net(1), torch.ones(1, COMPONENTS, 64, 64)
    with torch.inference_mode():
        seen = net.look(torch.zeros(1, 1, 64, 64))

        def noise() -> torch.Tensor:
            return torch.randn(amplitude.shape, generator=generator)

        plain = run_chain(net, seen, amplitude, noise)
        whole = run_chain(net, seen, amplitude, noise, own_errors=torch.ones(5, COMPONENTS))
    assert whole.std() == pytest.approx(1, abs=0.02)
    assert plain.std() < 0.7


def test_mixed_fields_keep_the_covariance() -> None:
    pool = torch.randn(20, 1, 5000, generator=torch.Generator().manual_seed(0)).repeat(1, 2, 1)
    found = mixed(pool, 6, torch.Generator().manual_seed(1))
    assert found.std(dim=(1, 2)) == pytest.approx(torch.ones(6), abs=0.05)
    assert torch.equal(found[:, 0], found[:, 1])


def test_metamers_are_alike_in_the_msi_alone() -> None:
    library = _RNG.uniform(0.2, 1, (12, 20, 20)).astype(np.float32)
    response = np.eye(12)[:2]
    scene = made_scene("metamers", library, response, np.random.default_rng(3))
    assert scene.shape == (12, SIDE, SIDE)
    shapes = scene[:, ::3, ::3].reshape(12, -1) / scene[:1, ::3, ::3].reshape(1, -1)
    seen, unseen = shapes[1], shapes[6]
    assert len(np.unique(np.round(seen, 1))) < len(np.unique(np.round(unseen, 1)))


def test_the_tables_hold_the_chain_against_the_best_rival() -> None:
    scores = dict.fromkeys(
        (
            "crps",
            "energy",
            "patches",
            "within_50",
            "within_90",
            "unevenness",
            "slope",
            "texture_db",
            "indices",
        ),
        1.0,
    )
    judged = [
        Judged(sampler, "real", scene, scores | {"energy": energy + shift, "ratio": ratio, "psnr_db": 30.0})
        for sampler, energy, ratio in (("kriging", 5.0, 0.5), ("sigma", 4.0, 2.0), ("diffusion", 4.5, 1.0))
        for scene, shift in (("one", 0.0), ("other", 2.0))
    ]
    assert by_scene(judged, "sigma", "energy") == pytest.approx([4, 6])
    assert by_scene(judged, "sigma", "calibration") == pytest.approx([np.log(2)] * 2)
    lines = tables(judged)
    assert "| energy, spectra | `sigma` 5.00 | +1.00 (+1.00, +1.00) | +0.50 (+0.50, +0.50) |" in lines
    chain = "| `kriging` 0.69 | +0.00 (+0.00, +0.00) | -0.69 (-0.69, -0.69) |"
    assert any(line.endswith(chain) for line in lines)
