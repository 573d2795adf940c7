"""A fused raster against the images it was made from, and Wald's test, through the front door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from emrdiff_cli.core.metrics.consistency import JointMoments
from emrdiff_cli.core.metrics.consistency_metrics import KEYS
from emrdiff_cli.core.metrics.hypercomplex import block_index
from emrdiff_cli.core.sensor.degradation import degradation_taps
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.evaluation.no_reference import check_consistency
from tests.support.front_door import Run
from tests.support.scoring_rasters import place, write_raster

RATIO, SIDE = 4, 160
NANOMETRES = [450.0, 500.0, 550.0, 600.0, 650.0, 700.0]
RESPONSE = np.array([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.25, 0.5, 0.25]])

Floats = NDArray[np.float64]
Pair = tuple[Floats, Path, Path, Path]


def degraded(cube: Floats) -> Floats:
    taps = degradation_taps("wald", AxisPlacement(RATIO, 0.0), cube.shape[1] // RATIO, cube.shape[1])
    return np.asarray(apply_taps(cube, taps, taps))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A truth and what two sensors see of it, with the response that made the MSI."""
    folder = tmp_path_factory.mktemp("pair")
    fields = gaussian_filter(np.random.default_rng(0).normal(0, 1, (3, SIDE, SIDE)), (0, 2, 2))
    mixture = np.random.default_rng(1).uniform(0, 1, (6, 3))
    truth = 0.4 + 0.3 * np.tensordot(mixture, fields, axes=1)
    lr = write_raster(folder / "lr.tif", degraded(truth), place(pixel=2.5 * RATIO), wavelengths_nm=NANOMETRES)
    msi = write_raster(folder / "msi.tif", np.tensordot(RESPONSE, truth, axes=1), place())
    srf = folder / "srf.csv"
    lines = [f"{w},{a},{b}" for w, a, b in zip(NANOMETRES, *RESPONSE, strict=True)]
    srf.write_text("\n".join(["wavelength_nm,one,two", *lines]) + "\n")
    return truth, lr, msi, srf


@pytest.fixture
def fused(tmp_path: Path) -> Callable[..., Path]:
    def written(cube: Floats, row: int = 0, col: int = 0) -> Path:
        return write_raster(tmp_path / "fused.tif", cube, place(row, col), wavelengths_nm=NANOMETRES)

    return written


def test_the_truth_agrees_with_its_inputs(pair: Pair, fused: Callable[..., Path]) -> None:
    truth, lr, msi, srf = pair
    got = check_consistency(fused(truth), lr, msi, srf=str(srf))
    ideal = dict.fromkeys(KEYS, 0.0) | {"hqnr_msi": 1.0}
    # The rasters are float32.
    assert got.overall == pytest.approx(ideal, abs=2e-4)
    assert (got.ratio, got.lr_pixels, got.hr_pixels, got.q2n_blocks) == (4, 1600, SIDE**2, 1)
    assert (got.srf, got.notes) == ("srf srf.csv", ())


def test_each_part_is_what_its_definition_says(pair: Pair, fused: Callable[..., Path]) -> None:
    truth, lr, msi, srf = pair
    cube = (truth + np.random.default_rng(2).normal(0, 0.02, truth.shape)).astype(np.float32).astype(float)
    cube[2] += 0.05
    got = check_consistency(fused(cube), lr, msi, srf=str(srf))
    at_lr, seen = degraded(cube), degraded(truth)
    assert got.overall["spectral_rmse"] == pytest.approx(np.sqrt(np.mean((at_lr - seen) ** 2)), rel=1e-5)
    q = block_index(at_lr[:, :32, :32], seen[:, :32, :32])
    assert got.overall["d_lambda_k"] == pytest.approx(1 - q, rel=1e-4)
    bands = np.tensordot(RESPONSE, truth, axes=1)
    errors = np.tensordot(RESPONSE, cube, axes=1) - bands
    assert got.srf_rmse_by_band == pytest.approx(np.sqrt((errors**2).mean(axis=(1, 2))), rel=1e-4)
    for m, under in enumerate(([0, 1], [3, 4, 5])):
        x = np.stack([np.ones(SIDE**2), *cube[under].reshape(len(under), -1)], axis=1)
        y = bands[m].ravel()
        rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        assert got.d_sr[m] == pytest.approx(rest.var() / y.var(), rel=1e-4)
    mean = float(np.mean([value for value in got.d_sr if value is not None]))
    assert got.overall["hqnr_msi"] == pytest.approx(q * (1 - mean), rel=1e-4)


@pytest.mark.parametrize(
    ("of_fused", "of_msi", "others"), [(1e4, 1, "LR-HSI"), (1, 1e4, "MSI"), (1, 0.3, None)]
)
def test_other_units_than_the_inputs_are_said(
    pair: Pair, fused: Callable[..., Path], tmp_path: Path, of_fused: float, of_msi: float, others: str | None
) -> None:
    truth, lr, _, srf = pair
    msi = write_raster(tmp_path / "msi.tif", of_msi * np.tensordot(RESPONSE, truth, axes=1), place())
    got = check_consistency(fused(of_fused * truth), lr, msi, srf=str(srf))
    said = [note for note in got.notes if "other units" in note]
    assert len(said) == (0 if others is None else 1)
    times = "1e+04" if others == "LR-HSI" else "0.0001"
    assert all(f"{times} times the {others}'s" in note for note in said)


def test_the_response_is_estimated_where_none_is_known(pair: Pair, fused: Callable[..., Path]) -> None:
    truth, lr, msi, _ = pair
    got = check_consistency(fused(truth), lr, msi)
    assert got.srf == "estimated from the pair at LR, with an offset"
    assert got.overall["srf_rmse"] is not None
    assert got.overall["srf_rmse"] < 0.01


def test_a_part_of_the_ground_and_holes_count_where_they_are(pair: Pair, fused: Callable[..., Path]) -> None:
    truth, lr, msi, srf = pair
    part = truth[:, 16:136, 24:150].copy()
    part[3, 50, 60] = np.nan
    got = check_consistency(fused(part, 16, 24), lr, msi, srf=str(srf))
    assert got.hr_pixels == 120 * 126 - 1
    assert 0 < got.lr_pixels < 30 * 31
    assert got.overall["spectral_rmse"] == pytest.approx(0, abs=1e-4)
    assert (got.overall["d_lambda_k"], got.overall["hqnr_msi"]) == (None, None)
    assert any(note.startswith("d_lambda_k and hqnr_msi are null") for note in got.notes)


def test_nothing_valid_is_stated_not_scored(pair: Pair, fused: Callable[..., Path]) -> None:
    truth, lr, msi, srf = pair
    got = check_consistency(fused(np.full_like(truth, np.nan)), lr, msi, srf=str(srf))
    assert set(got.overall.values()) == {None}
    assert len(got.notes) == 2


def test_from_the_command_line(pair: Pair, fused: Callable[..., Path], emrdiff: Run, tmp_path: Path) -> None:
    truth, lr, msi, srf = pair
    inputs = ("--lr-hsi", lr, "--hr-msi", msi, "--srf", srf, "-q")
    path, scores = fused(0.9 * truth), tmp_path / "scores.csv"
    ended = emrdiff("evaluate", path, *inputs, "--json", "--csv", scores, "--fail-under", "hqnr_msi=0.999")
    got = json.loads(ended.out)
    assert ended.code == 5
    assert "hqnr_msi" in ended.err
    assert len(got["per_msi_band"]["d_sr"]) == 2
    assert set(got["sha256"]) == {"fused", "lr_hsi", "hr_msi"}
    assert scores.read_text().count("\n") == 2
    text = emrdiff("evaluate", path, *inputs).out
    assert f" {got['d_lambda_k']:.4f} " in text
    assert "HQNR_MSI" in text


def test_walds_test_scores_the_method_on_the_pair_itself(pair: Pair, emrdiff: Run) -> None:
    _, lr, msi, _ = pair
    arguments = ("evaluate", "--lr-hsi", lr, "--hr-msi", msi, "--wald", "--method", "glp", "-q")
    got = json.loads(emrdiff(*arguments, "--json").out)
    assert (got["lr_hsi"], got["hr_msi"]) == (str(lr), str(msi))
    assert (got["method"], got["degraded_by"], got["ratio"]) == ("glp", 4, 4)
    assert got["valid_pixels"] > 1000
    assert got["psnr_db"] > got["baseline"]["psnr_db"] + 3
    text = emrdiff(*arguments).out
    assert "Wald: glp" in text
    assert f" {got['psnr_db']:.2f} " in text


def test_both_go_together(pair: Pair, fused: Callable[..., Path], emrdiff: Run) -> None:
    truth, lr, msi, srf = pair
    inputs = ("--lr-hsi", lr, "--hr-msi", msi, "--srf", srf)
    limits = ("--fail-under", "psnr_db=99", "--fail-over", "srf_rmse=1")
    ended = emrdiff("evaluate", fused(truth), *inputs, "--wald", "--method", "glp", "--json", "-q", *limits)
    got = json.loads(ended.out)
    assert (ended.code, set(KEYS) <= set(got), "psnr_db" in got["wald"]) == (5, True, True)
    assert "psnr_db" in ended.err
    assert "srf_rmse" not in ended.err


def test_a_pair_too_small_for_walds_test_is_refused(tmp_path: Path, emrdiff: Run) -> None:
    values = np.random.default_rng(0).uniform(size=(6, 12, 12))
    lr = write_raster(tmp_path / "lr.tif", values, place(pixel=10))
    msi = write_raster(tmp_path / "msi.tif", np.repeat(np.repeat(values[:2], 4, 1), 4, 2), place())
    ended = emrdiff("evaluate", "--lr-hsi", lr, "--hr-msi", msi, "--wald", "--method", "glp")
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "12 x 12 common LR pixels are too few to be degraded by 4 once more" in ended.err


def test_moments_in_parts_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(5, 2, (4, 100))
    moments = JointMoments(4)
    for part in np.split(values, [10, 10, 55], axis=1):
        moments.add(part)
    assert moments.count == 100
    assert moments.covariance == pytest.approx(np.cov(values, bias=True), rel=1e-12)
    assert moments.unexplained(0, []) is None
