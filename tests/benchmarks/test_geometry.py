"""The geometry's benchmark: pairs that lie and see as they say, scores, and nothing twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.core.sensor.degradation import AxisPsf, Psf
from emrdiff_cli.core.sensor.displacement import BandShift
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from emrdiff_cli.pair.geometry import PairGeometry
from tests.benchmarks import geometry, geometry_pairs, geometry_tables
from tests.benchmarks.geometry_pairs import DISPLACED, Displaced, Ground
from tests.benchmarks.pixel_mlp import network, pixel_mlp
from tests.support.scenes import textured

RATIO = 4
GRID = (20, 24)
FIRST_TABLE = {
    f"{method}, {how}": [30.0, 4.0] for method in geometry_tables.METHODS for how in ("assumed", "found")
} | {"pixel-mlp": [31.0, 4.0]}


def test_kernels_sum_to_one_about_their_centre_and_are_as_wide_as_they_say() -> None:
    found = geometry_pairs.kernels()
    assert len(found) == 12
    away = np.arange(geometry_pairs.SIDE) - geometry_pairs.SIDE // 2
    for kernel in found.values():
        assert kernel.sum() == pytest.approx(1)
        assert np.abs(kernel - kernel[::-1, ::-1]).max() < 1e-3
    spread = {
        name: [math.sqrt(kernel.sum(axis=other) @ away**2) for other in (1, 0)]
        for name, kernel in found.items()
    }
    assert spread["Gaussian"] == pytest.approx([1.7, 1.7], rel=1e-3)
    assert spread["elongated"] == pytest.approx([1.4 * 1.7, 0.8 * 1.7], rel=1e-2)
    assert spread["motion"][1] > 1.5 * spread["motion"][0]
    centre = geometry_pairs.SIDE // 2
    for name in ("Airy", "Moffat", "Lorentzian squared", "parabolic"):
        line = found[name][centre] / found[name].max()
        assert np.interp(1.7 * FWHM_PER_SIGMA / 2, away[centre:], line[centre:]) == pytest.approx(
            0.5, abs=0.02
        )


def test_the_true_psf_degrades_as_the_pair_was_seen() -> None:
    cube = textured(2, 80, 96)
    placement = AxisPlacement(float(RATIO), 0.0)
    for name, kernel in geometry_pairs.kernels().items():
        psf = geometry_pairs.true_psf(name, RATIO)
        assert (psf is not None) == (name == "elongated" or name.startswith("Gaussian"))
        if psf is not None:
            down = psf.down(placement, placement, GRID, (80, 96))
            seen = geometry_pairs.seen_through(cube, kernel, RATIO)
            assert apply_taps(cube, *down) == pytest.approx(seen, abs=1e-3)


def test_noise_is_as_strong_as_asked_for_and_seeded() -> None:
    ground = Ground(textured(8, 160, 160), geometry_pairs.four_boxes(8))
    kernel = geometry_pairs.kernels()["box"]
    lr, msi = geometry_pairs.psf_pair(ground, kernel, RATIO, seed=3)
    again, _ = geometry_pairs.psf_pair(ground, kernel, RATIO, seed=3)
    assert np.array_equal(lr, again)
    for made, clean, decibels in (
        (lr, geometry_pairs.seen_through(ground.truth, kernel, RATIO), geometry_pairs.HSI_DB),
        (msi, ground.msi, geometry_pairs.MSI_DB),
    ):
        found = 10 * math.log10(float((clean**2).mean() / ((made - clean) ** 2).mean()))
        assert found == pytest.approx(decibels, abs=0.3)


def test_an_exact_pair_is_the_protocols_and_a_move_is_that_of_the_ground() -> None:
    cube = textured(4, 80, 96)
    exact = geometry_pairs.lr_displaced(cube, RATIO, Displaced())
    placement = AxisPlacement(float(RATIO), 0.0)
    sigma = RATIO / FWHM_PER_SIGMA
    rows, cols = (gaussian_downsampler(placement, n, n * RATIO, sigma) for n in GRID)
    inner = slice(2, -2)
    assert exact == pytest.approx(apply_taps(cube, rows, cols), abs=1e-6)
    swir = geometry_pairs.lr_displaced(cube, RATIO, Displaced(swir=(0.0, 1.0)))
    assert np.array_equal(swir[:2], exact[:2])
    assert swir[2:, inner, 2:-3] == pytest.approx(exact[2:, inner, 3:-2], abs=1e-5)


def test_displacement_is_from_what_is_stated_to_what_is() -> None:
    assert DISPLACED["displaced by 5, 3"].displacement(*GRID) == pytest.approx(
        np.full((2, *GRID), [[[-5.0]], [[-3.0]]])
    )
    turned = Displaced(scale=1.01, degrees=1.0).displacement(21, 21)
    assert turned[:, 10, 10] == pytest.approx([0, 0])
    assert turned[:, 20, 10] == pytest.approx(
        [10 * (1.01 * math.cos(math.pi / 180) - 1), 10.1 * math.sin(math.pi / 180)]
    )


def test_errors_of_what_was_found() -> None:
    right = PairGeometry(move=(-0.3, 0.6), known=True)
    assert geometry.shift_error(right, DISPLACED["displaced by 0.3, -0.6"], GRID) == pytest.approx(0)
    assert geometry.shift_error(right, DISPLACED["exact"], GRID) == pytest.approx(math.hypot(0.3, 0.6))
    apart = PairGeometry(groups=(BandShift((2, 3), (0.24, -0.32)),), known=True)
    assert geometry.shift_error(apart, DISPLACED["SWIR off by 0.4"], GRID) == pytest.approx(0)
    assert geometry.shift_error(PairGeometry(), DISPLACED["SWIR off by 0.4"], GRID) == pytest.approx(0.4)
    seen = PairGeometry(psf=Psf.of_fwhm(0.9 * RATIO, 1.3 * RATIO), known=True)
    assert geometry.fwhm_error(seen, (0.9, 1.3), RATIO) == pytest.approx(0, abs=2e-3)
    assert geometry.fwhm_error(PairGeometry(), (0.8, 1.0), RATIO) == pytest.approx(0.25)
    raised = AxisPsf(1.0, (1.0,), 1.0)  # 1 - d on a Gaussian: half of 2 where the Gaussian is d
    assert geometry.full_width(raised) == pytest.approx(2 * 0.7531, abs=0.01)


def test_scores_take_each_bands_peak_and_the_pixels_asked_for() -> None:
    truth = np.ones((2, 6, 6), np.float32)
    truth[1] = 10
    where = geometry.inner(truth.shape, 2)
    image = truth * np.float32(1.1)
    image[:, 0] = 77
    psnr, sam = geometry.scores(image, truth, where)
    assert where.sum() == 4
    assert psnr == pytest.approx(20, abs=1e-3)
    assert sam == pytest.approx(0, abs=0.05)


def test_the_pixelwise_network_learns_spectra_and_is_seeded() -> None:
    assert sum(p.numel() for p in network(4, 207).parameters()) == pytest.approx(33_000, rel=0.02)
    truth = textured(8, 64, 64)
    response = geometry_pairs.four_boxes(8)
    lr = truth.reshape(8, 16, 4, 16, 4).mean(axis=(2, 4))
    msi = np.tensordot(response, truth, axes=1).astype(np.float32)
    made = pixel_mlp(lr, msi, response, seed=1)
    assert np.array_equal(made, pixel_mlp(lr, msi, response, seed=1))
    assert np.sqrt(((made - truth) ** 2).mean()) < 0.3 * truth.std()


def test_pairs_that_are_done_are_not_fused_again_and_the_tables_tell_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = {"table": "psf", "scene": "field", "case": "box", "scores": FIRST_TABLE}
    better = {"kriging, found": [31.5, 3.0], "kriging, true": [31.75, 2.9]}
    other = scene | {"case": "Gaussian", "scores": FIRST_TABLE | better}
    moved = {
        "table": "displaced",
        "scene": "field",
        "case": "displaced by 5, 3",
        "scores": {"lies": [20.0, 9.0], "right": [29.0, 3.0], "exact": [30.0, 2.0]},
        "shift_error": 0.02,
        "fwhm_error": 0.011,
    }
    (tmp_path / "results.jsonl").write_text(json.dumps(scene) + "\n")
    asked: list[set[tuple[str, str, str]]] = []

    def first(_data: Path, done: set[tuple[str, str, str]]) -> list[object]:
        asked.append(set(done))
        return [other]

    monkeypatch.setattr(geometry, "_TABLES", {"psf": first, "displaced": lambda _data, _done: [moved]})
    assert geometry.main([str(tmp_path)]) == 0
    assert asked == [{("psf", "field", "box")}]
    table = (tmp_path / "table.md").read_text()
    assert "in PSNR on 1 of 2 pairs, by 0.75 dB on average, and in SAM on 1." in table
    assert "on 1 of 1 pairs, 0.25 dB below it at most." in table
    assert "| field | displaced by 5, 3 | 20.00 | 29.00 | 30.00 | 90 | 0.020 | 1.1 |" in table
    assert "Of 1 pairs 1 lost something; at least 90 % of the lost dB come back, 90 % on average." in table
    assert "off by 0.020 LR pixels at most, the FWHM by 1.1 %." in table
    assert capsys.readouterr().out == table
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3


def test_no_msi_band_sees_both_halves_of_the_bands() -> None:
    for bands in (16, 31, 64, 95, 104, 207):
        boxes = geometry_pairs.four_boxes(bands) > 0
        assert boxes.any(axis=1).all()
        assert not (boxes[:, : bands // 2].any(axis=1) & boxes[:, bands // 2 :].any(axis=1)).any()
