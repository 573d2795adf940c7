"""`emrdiff check`: one result as text and as JSON, exit codes, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.front_door import Run
from tests.support.pairs import RESPONSES, displaced, spectral_pair, unrelated, write_pair
from tests.support.scenes import write_srf

KEYS = {
    *(
        "usable",
        "lr_hsi",
        "hr_msi",
        "crs_agree",
        "days_apart",
        "ratio",
        "sampling_phase_hr_px",
        "shift",
        "psf",
    ),
    *("hr_window", "field", "groups", "blocks", "radiometry"),
    *("wald_ratio", "coverage_by", "coverage", "uncovered_bands", "problems", "warnings", "notes", "seconds"),
}


@pytest.fixture
def run(emrdiff: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "160")
    return partial(emrdiff, "check")


def test_text(run: Run, tmp_path: Path) -> None:
    ended = run(*displaced(tmp_path))
    assert (ended.code, ended.err) == (0, "check: 158/158\n")
    for text in (
        "WGS 84 / UTM zone 33N",
        "4 x 4 (rows x columns)",
        "-0.400, +0.200 HR pixels",
        "0.40",
        "HR pixels); confidence 1.00",
        "dB",
        "FWHM 4.0",
        "HSI bands",
        "Warning: the LR-HSI seems displaced: it fits the MSI better when moved by 0.40 up and 0.70 right",
        "ready to be fused",
    ):
        assert text in ended.out


def test_json(run: Run, tmp_path: Path) -> None:
    ended = run(*displaced(tmp_path), "--json", "-q")
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert set(facts) == KEYS
    assert facts["shift"]["rows_lr_px"] == pytest.approx(-0.4, abs=0.02)
    assert facts["shift"]["cols_lr_px"] == pytest.approx(0.7, abs=0.02)
    assert facts["psf"]["assumed_fwhm_hr_px"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(("srf", "msi_bands", "by", "under", "fitted"), RESPONSES)
def test_coverage_by_each_source_is_that_of_the_fusion(
    run: Run, tmp_path: Path, srf: str, msi_bands: int, by: str, under: list[tuple[int, ...]], fitted: bool
) -> None:
    pair = spectral_pair(tmp_path, msi_bands=msi_bands)
    given = write_srf(tmp_path / "srf.csv") if srf == "CSV" else srf
    ended = run(*pair, "--srf", given, "--json")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    assert facts["coverage_by"] == by
    assert [tuple(band["hsi_bands"]) for band in facts["coverage"]] == under
    assert [band["residual"] is not None for band in facts["coverage"]] == [fitted] * msi_bands
    covered = {band for bands in under for band in bands}
    assert facts["uncovered_bands"] == [band for band in range(1, 9) if band != 5 and band not in covered]
    text = run(*pair, "--srf", given).out
    assert ("; response x " in text) == fitted
    assert f"(by {'the response estimated at LR' if srf == 'estimate' else by})" in text


def test_a_response_that_does_not_fit_is_one_line(run: Run, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, spectral=False)
    for srf, code, said in (
        ("landsat-8", 3, "landsat-8 has 4 bands, msi.tif has 3"),
        (write_srf(tmp_path / "srf.csv"), 3, "lr.tif: has no wavelengths"),
        ("metadata", 3, "or give `--srf estimate`"),
        ("nowhere", 2, "--srf nowhere: no such file"),
    ):
        ended = run(*pair, "--srf", srf)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
        assert said in ended.err


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_a_pair_that_makes_no_sense_ends_with_3(run: Run, tmp_path: Path, option: tuple[str, ...]) -> None:
    lr, msi = write_pair(tmp_path, 160, 160)
    for pair, what in (((msi, lr), "not finer"), ((lr, unrelated(tmp_path)), "do not correlate")):
        ended = run(*pair, *option, "-q")
        assert (ended.code, ended.err) == (3, "")
        assert what in ended.out
        if option:
            assert json.loads(ended.out)["usable"] is False
        else:
            assert "makes no sense" in ended.out


def test_a_missing_file_is_one_line(run: Run, tmp_path: Path) -> None:
    ended = run(tmp_path / "none.tif", tmp_path / "none either.tif")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == f"Error: {tmp_path / 'none.tif'}: no such file\n"


def test_checking_never_imports_torch() -> None:
    code = "import sys, emrdiff_cli.pair.check, emrdiff_cli.cli.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fusion_warns_of_a_displacement_and_undoes_it(emrdiff: Run, tmp_path: Path) -> None:
    pair, usual = displaced(tmp_path), ("--method", "glp", "--overwrite")
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", *usual, "--register", "off")
    assert ended.code == 0
    assert "Warning: the LR-HSI seems displaced" in ended.err
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", *usual)
    assert ended.code == 0
    assert "Note: the LR-HSI was moved by 0.40 up and 0.70 right" in ended.err
    assert "Warning" not in ended.err
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", *usual, "--json")
    assert json.loads(ended.out)["shift_lr_px"] == pytest.approx([-0.4, 0.7], abs=0.02)
    assert emrdiff("fuse", *pair, tmp_path / "out.tif", *usual, "-q").err == ""
