"""Arrays and paths: the same numbers, nothing left behind, nothing said, nothing changed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli import (
    check,
    degrade,
    ergas,
    evaluate,
    fuse,
    krige,
    psnr,
    sam,
    simulate,
    wald,
)
from emrdiff_cli.errors import EmrdiffError, GridError, InputError, OutputExistsError, UsageError
from tests.support.front_door import Run
from tests.support.pairs import displaced, write_pair
from tests.support.scenes import read, textured, wavelengths, write_cube

Cube = NDArray[Any]


@pytest.fixture(autouse=True)
def quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Nothing is said, and no file is left in the temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A pair with holes, without a CRS."""
    hole = (slice(None), slice(8, 12), slice(20, 23))
    return write_pair(
        tmp_path, 32, 36, lr_holes=[(2, 3)], msi_holes=hole, crs=None, count=None, spectral=False
    )


def arrays(files: tuple[Path, Path]) -> tuple[Cube, Cube]:
    lr, msi = (read(path) for path in files)
    return lr, msi


def test_arrays_are_fused_as_files_are(files: tuple[Path, Path], tmp_path: Path) -> None:
    lr, msi = arrays(files)
    kept = lr.copy(), msi.copy()
    (tmp_path / "samples").mkdir()
    by_file = fuse(
        *(*files, tmp_path / "out.tif"),
        uncertainty=tmp_path / "uncertainty.tif",
        samples=1,
        samples_dir=tmp_path / "samples",
    )
    by_array = fuse(lr, msi, uncertainty=True, changed=True, samples=1)
    assert by_file.cube == tmp_path / "out.tif"
    assert by_array.uncertainty is not None
    assert by_array.changed is not None
    for came, path in (
        (by_array.cube, by_file.cube),
        (by_array.uncertainty, by_file.uncertainty),
        (by_array.samples[0], by_file.samples[0]),
    ):
        assert path is not None
        np.testing.assert_array_equal(came, read(path))
    assert by_array.changed.shape == (1, 8, 9)
    assert by_array.cube.dtype == np.float32
    assert np.isnan(by_array.cube[:, 8:12, 20:23]).all()
    assert by_array.verdict is not None
    assert by_array.verdict == by_file.verdict
    assert by_array.verdict.sentence in repr(by_array)
    assert by_array.window == by_file.window == (0, 0, 32, 36)
    np.testing.assert_array_equal(lr, kept[0])
    np.testing.assert_array_equal(msi, kept[1])
    with pytest.raises(OutputExistsError):
        fuse(*files, tmp_path / "out.tif")


def test_a_ratio_alone_says_how_the_two_lie(files: tuple[Path, Path]) -> None:
    """An MSI that reaches beyond the LR-HSI, values of other kinds, a PAN."""
    lr, msi = arrays(files)
    wider = np.pad(msi, ((0, 0), (0, 7), (0, 3)), constant_values=0.3)
    with pytest.raises(GridError, match="lr_hsi and hr_msi"):
        krige(lr, wider)
    found = fuse(lr, wider, ratio=4, method="glp")
    assert found.window == (0, 0, 32, 36)
    same = fuse(lr, msi, method="glp").cube
    np.testing.assert_allclose(found.cube, same, atol=2e-5)
    masked = np.ma.masked_invalid(lr.astype(">f8"))
    np.testing.assert_array_equal(fuse(masked, msi, method="glp").cube, same)
    counts = np.rint(np.nan_to_num(lr, nan=-1) * 1e4).astype(np.int16)
    by_counts = fuse(counts, msi, method="glp", src_nodata=(-10000, None)).cube
    np.testing.assert_array_equal(np.isnan(by_counts), np.isnan(same))
    assert krige(lr, msi[0], ratio=4, psf_fwhm=4).shape == (8, 32, 36)


def test_a_pair_is_checked_as_files_are(files: tuple[Path, Path]) -> None:
    by_file, by_array = asdict(check(*files)), asdict(check(*arrays(files), ratio=4))
    assert [by_array[side]["path"] for side in ("lr_hsi", "hr_msi")] == ["lr_hsi", "hr_msi"]
    assert by_file["lr_hsi"]["path"] == str(files[0])
    by_file["lr_hsi"]["path"] = by_array["lr_hsi"]["path"]
    by_file["hr_msi"]["path"] = by_array["hr_msi"]["path"]
    told = {key: value for key, value in by_array.items() if key not in ("seconds", "notes")}
    assert json.dumps(told) == json.dumps({key: by_file[key] for key in told})
    assert not check(np.zeros((4, 8, 8)), np.zeros((2, 32, 32))).usable


def test_scores_are_those_of_files(tmp_path: Path) -> None:
    """Against a reference and, in the geometry that a fusion knows, against the pair."""
    lr_path, msi_path = displaced(tmp_path, side=96, crs=None, count=None, spectral=False)
    lr, msi, truth = read(lr_path), read(msi_path), textured(8, 96, 96)
    moved = (0.4, -0.7)
    by_file = fuse(lr_path, msi_path, tmp_path / "out.tif", method="glp", register="off", shift=moved)
    true_path = write_cube(tmp_path / "truth.tif", truth, crs=None, count=None)
    fused = fuse(lr, msi, method="glp", register="off", shift=moved)
    assert fused.window == by_file.window != (0, 0, 96, 96)
    found = evaluate(fused, lr_hsi=lr, hr_msi=msi)
    assert found.shift_lr_px == moved
    assert found.fused.name == "fused"
    # Without a CRS files of other sizes cannot be compared: the fused cube is laid onto the MSI's size by hand.
    whole = np.full((8, 96, 96), np.nan, np.float32)
    whole[:, fused.window.rows, fused.window.cols] = read(by_file.cube)
    by_hand = evaluate(whole, lr_hsi=lr, hr_msi=msi)
    assert by_hand.shift_lr_px == (0, 0)
    assert (by_hand.overall["spectral_rmse"] or 0) > 2 * (found.overall["spectral_rmse"] or 1)
    scored = evaluate(fused, truth, ratio=4, metrics=("psnr_db", "sam_deg"))
    cube_path = write_cube(tmp_path / "cube.tif", whole, crs=None, count=None)
    again = evaluate(cube_path, true_path, metrics="psnr_db,sam_deg")
    assert scored.scores.overall == again.scores.overall
    assert psnr(fused, truth) == scored.scores.overall["psnr_db"]
    assert sam(whole, truth) == scored.scores.overall["sam_deg"]
    assert ergas(fused, truth) == ergas(whole, truth, ratio=4) > 0
    with pytest.raises(UsageError, match="ratio"):
        ergas(truth, truth)
    with pytest.raises(UsageError, match="border: of a comparison"):
        evaluate(fused, lr_hsi=lr, hr_msi=msi, border=3)  # type: ignore[call-overload]


def test_evidence_and_walds_test_of_arrays_are_those_of_the_command(emrdiff: Run, tmp_path: Path) -> None:
    files = write_pair(tmp_path, 64, 64, crs=None, count=None, spectral=False)
    lr, msi = arrays(files)
    pair = ("--lr-hsi", files[0], "--hr-msi", files[1])
    fused = fuse(lr, msi, method="glp", register="off")
    fuse(*files, tmp_path / "out.tif", method="glp", register="off")
    held = json.loads(emrdiff("evaluate", tmp_path / "out.tif", *pair, "--evidence", "--json", "-q").out)
    found = evaluate(fused, lr_hsi=lr, hr_msi=msi, evidence=True)
    assert found.evidence is not None
    assert json.loads(json.dumps(found.evidence.record()["evidence"])) == held["evidence"]
    assert evaluate(fused, lr_hsi=lr, hr_msi=msi).evidence is None
    tested = wald(lr, msi, method="glp", register="off", psf_fwhm=4, metrics=("psnr_db", "sam_deg"))
    options = ("--method", "glp", "--register", "off", "--psf-fwhm", 4, "--metrics", "psnr_db,sam_deg")
    told = json.loads(emrdiff("evaluate", "--wald", *pair, *options, "--json", "-q").out)
    by_array = json.loads(json.dumps(tested.record()))
    by_array["baseline"]["lr_hsi"] = told["baseline"]["lr_hsi"]
    named = {"lr_hsi", "hr_msi", "sha256"}
    assert {key: by_array.get(key) for key in told if key not in named} == {
        key: value for key, value in told.items() if key not in named
    }
    assert str(tested.evaluation.reference) == "lr_hsi"


def test_a_cube_is_degraded_as_a_file_is(tmp_path: Path) -> None:
    truth = textured(8, 40, 48)
    truth[:, 3, 5] = np.nan
    path = write_cube(tmp_path / "cube.tif", truth, crs=None, count=None)
    responses = np.eye(8, dtype=float)[[1, 4]] + 0.1
    by_array = simulate(truth, ratio=4, srf=responses, wavelengths=wavelengths(8), noise_db=30, seed=5)
    by_file = simulate(path, tmp_path / "pair", ratio=4, srf=responses, noise_db=30, seed=5)
    np.testing.assert_array_equal(by_array.lr_hsi, read(by_file.lr_hsi))
    np.testing.assert_array_equal(by_array.hr_msi, read(by_file.hr_msi))
    assert by_array.recipe.srf_sha256 == by_file.recipe.srf_sha256
    exact = np.tensordot(responses / responses.sum(axis=1, keepdims=True), truth, axes=1)
    bare = simulate(truth, ratio=4, srf=responses, wavelengths=wavelengths(8))
    np.testing.assert_allclose(bare.hr_msi, exact, atol=1e-6)
    np.testing.assert_array_equal(degrade(truth, ratio=4.0), bare.lr_hsi)  # type: ignore[call-overload]
    lr = degrade(path, tmp_path / "lr.tif", ratio=4, psf_fwhm=(4, 6.5))
    np.testing.assert_array_equal(degrade(truth, ratio=4, psf_fwhm=(4, 6.5)), read(lr))
    np.testing.assert_allclose(degrade(truth, ratio=4, psf_fwhm=4), bare.lr_hsi, atol=1e-6)
    assert np.nanmax(np.abs(read(lr) - bare.lr_hsi)) > 0.01


LR, MSI = np.ones((4, 4, 4)), np.ones((2, 16, 16))


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: fuse([[1.0]], MSI), UsageError, "lr_hsi: is a list"),  # type: ignore[call-overload]
        (lambda: fuse(LR, "msi.tif"), UsageError, "lr_hsi is a array and hr_msi a file"),  # type: ignore[call-overload]
        (lambda: fuse("a.tif", "b.tif"), UsageError, "output: is missing"),  # type: ignore[call-overload]
        (lambda: fuse(LR, MSI, "out.tif", dtype="int16"), UsageError, "output, dtype: for rasters"),  # type: ignore[call-overload]
        (lambda: fuse(LR, MSI, uncertainty="u.tif"), UsageError, "True or False"),  # type: ignore[call-overload]
        (lambda: fuse(LR, MSI, method="krige"), UsageError, "method='krige': must be one of auto, "),  # type: ignore[call-overload]
        (lambda: fuse(LR, MSI, shift=(0.1,)), UsageError, "shift=.*: must be 2 numbers"),
        (lambda: fuse(LR, MSI, ratio=0.5), UsageError, "ratio=0.5: must be a number above 1"),
        (lambda: fuse(LR.astype(complex), MSI), UsageError, "complex128"),
        (lambda: fuse(LR[0, 0], MSI), UsageError, "has shape"),
        (lambda: fuse(LR, MSI, wavelengths=[0.5, 0.6, 0.7, 0.8]), UsageError, "give them in nm"),
        (lambda: fuse(LR, MSI, wavelengths=[500.0]), UsageError, "1 wavelengths for 4 bands"),
        (lambda: fuse(LR, MSI, srf=np.ones((2, 4))), UsageError, "give these too"),
        (lambda: fuse(LR, MSI), InputError, "^lr_hsi: every band is of one value"),
        (
            lambda: simulate(LR, ratio=2, srf="sentinel-2a", wavelengths=None),
            InputError,
            "^hr_hsi: has no wave",
        ),
        (lambda: degrade(LR, ratio=2.5), UsageError, "a whole number"),  # type: ignore[call-overload]
        (lambda: check(LR, MSI, wavelengths=["red"] * len(LR)), UsageError, "no numbers"),  # type: ignore[list-item]
        (lambda: degrade(LR, ratio=2, protocol="mean"), UsageError, "one of wald"),  # type: ignore[call-overload]
        (lambda: wald(LR, MSI), UsageError, "either model or method"),
        (lambda: wald(LR, MSI, method="krige"), UsageError, "one of bicubic"),
        (lambda: wald(LR, MSI, model="none", method=None), EmrdiffError, "none"),
        (lambda: evaluate(LR), UsageError, "nothing to score against"),  # type: ignore[call-overload]
    ],
)
def test_what_cannot_be_is_one_line_of_the_family(call: Any, kind: type[EmrdiffError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        call()
    assert "temporary" not in str(caught.value)


def test_warnings_on_the_way_come_with_the_result() -> None:
    cube = textured(4, 32, 32)
    cube[:, :9, :9] = -9999
    done = simulate(cube, ratio=4, srf=np.eye(4)[:2], wavelengths=wavelengths(4))
    assert any("hr_hsi" in line and "9999" in line for line in done.warnings), done.warnings
