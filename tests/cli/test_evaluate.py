"""`emrdiff evaluate` from the command line to what is read back from it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli import __version__
from emrdiff_cli.core.metrics.cube import CHEAP, KEYS, score
from emrdiff_cli.core.metrics.full_reference import METRICS
from tests.support.front_door import Run
from tests.support.scoring_rasters import ground, place, write_raster

SHAPE = (4, 40, 48)


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "evaluate")


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A fused raster, its reference and the LR-HSI of the same ground, ratio 4."""
    rng = np.random.default_rng(0)
    truth, low = ground(SHAPE, place()), ground((4, 14, 16), place(-8, -8, 10))
    nanometres = [450.0, 550.0, 650.0, 800.0]
    fused = truth + rng.normal(0, 0.01, SHAPE)
    fused[:, 36, 40] = np.nan
    return (
        write_raster(tmp_path / "fused.tif", fused, place(), wavelengths_nm=nanometres),
        write_raster(tmp_path / "hr_hsi.tif", truth, place(), wavelengths_nm=nanometres, scale=1e-4),
        write_raster(tmp_path / "lr_hsi.tif", low, place(-8, -8, 10), wavelengths_nm=nanometres),
    )


def expected_scores() -> dict[str, float | None]:
    rng = np.random.default_rng(0)
    truth = ground(SHAPE, place())
    fused = truth + rng.normal(0, 0.01, SHAPE)
    fused[:, 36, 40] = np.nan
    return dict(score(fused, np.rint(truth / 1e-4) * 1e-4, 1.0, 4.0).overall)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_json_is_one_object_with_everything_stated(run: Run, scene: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = scene
    ended = run(fused, reference, "--baseline", lr, "--json", "-q")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    got = json.loads(ended.out)
    assert {key: got[key] for key in KEYS} == pytest.approx(expected_scores(), rel=1e-5)
    stated = {"peak": 1.0, "ratio": 4.0, "valid_pixels": 1919, "dropped_pixels": 1, "version": __version__}
    assert {key: got[key] for key in stated} == stated
    assert got["peak_source"] == "reflectance: the reference records its scale"
    assert got["bands"] == [1, 2, 3, 4]
    assert got["wavelengths_nm"] == [450, 550, 650, 800]
    assert {len(row) for row in got["per_band"].values()} == {4}
    assert got["notes"] == []
    assert set(KEYS) | {"per_band", "valid_pixels", "dropped_pixels"} <= set(got["baseline"])
    assert got["baseline"]["rmse"] < 1e-4 < got["rmse"]
    assert got["baseline"]["valid_pixels"] == 1919


def test_without_a_baseline_or_a_ratio_the_json_says_null_and_why(
    run: Run, scene: tuple[Path, Path, Path]
) -> None:
    got = json.loads(run(*scene[:2], "--json").out)
    assert (got["baseline"], got["ratio"], got["ergas"]) == (None, None, None)
    assert got["notes"] == ["ergas is null: the ratio is not known"]


def test_identical_rasters_give_null_in_json_and_inf_elsewhere(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    same = (scene[1], scene[1], "--ratio", 4)
    ended = run(*same, "--json", "--csv", tmp_path / "scores.csv")
    got = json.loads(ended.out)
    assert {key: got[key] for key in KEYS if not key.startswith("psnr")} == {
        "sam_deg": 0,
        "ergas": 0,
        "ssim": 1,
        "uiqi": pytest.approx(1),
        "q2n": pytest.approx(1),
        "cc": 1,
        "rmse": 0,
    }
    assert {got[key] for key in KEYS if key.startswith("psnr")} == {None}
    assert got["per_band"]["psnr_db"] == [None] * 4
    assert "identical in both cubes" in got["notes"][0]
    assert "Note: psnr_db is infinite" in ended.err
    assert table(tmp_path / "scores.csv")[0]["psnr_db"] == "inf"
    assert " inf " in run(*same).out


def test_csv_is_appended_to_with_one_header(run: Run, scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    fused, reference, lr = scene
    path = tmp_path / "scores.csv"
    assert run(fused, reference, "--baseline", lr, "--csv", path, "--peak", 0.5).code == 0
    assert run(fused, reference, "--csv", path, "--metrics", "rmse").code == 0
    rows = table(path)
    assert [(row["method"], row["raster"]) for row in rows] == [
        ("fused", str(fused)),
        ("bicubic", str(lr)),
        ("fused", str(fused)),
    ]
    assert path.read_text().count("psnr_db") == 1
    assert float(rows[0]["psnr_db"]) == pytest.approx(
        (expected_scores()["psnr_db"] or 0) - 20 * math.log10(2), rel=1e-5
    )
    assert [row["peak"] for row in rows] == ["0.5", "0.5", "1.0"]
    assert (rows[2]["ergas"], rows[2]["ratio"], rows[2]["psnr_db"]) == ("", "", "")
    assert rows[2]["rmse"] == rows[0]["rmse"]
    assert rows[1]["raster_sha256"] == hashlib.sha256(lr.read_bytes()).hexdigest()


def test_a_csv_with_other_columns_is_refused_and_left_alone(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "other.csv"
    path.write_text("name,score\na,1\n")
    ended = run(*scene[:2], "--csv", path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "has 2 columns (name,score" in ended.err
    assert path.read_text() == "name,score\na,1\n"
    assert run(*scene[:2], "--csv", tmp_path / "nowhere" / "scores.csv").code == 4


def test_hashes_versions_and_counts_stand_in_the_json(run: Run, scene: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = scene
    got = json.loads(run(fused, reference, "--baseline", lr, "--json", "-q", "--border", 2).out)
    paths = {"fused": fused, "reference": reference, "baseline": lr}
    assert got["sha256"] == {k: hashlib.sha256(p.read_bytes()).hexdigest() for k, p in paths.items()}
    assert set(got["versions"]) == {"numpy", "rasterio"}
    assert (got["border_px"], got["area"]) == (2, {"row": 2, "col": 2, "height": 36, "width": 44})
    assert (got["q2n_blocks"], got["uiqi_windows"], got["ssim_windows"]) == (1, 53, 872)


@pytest.mark.parametrize("asked", ["cheap", "rmse,sam_deg", "uiqi"])
def test_metrics_are_chosen(run: Run, scene: tuple[Path, Path, Path], asked: str) -> None:
    got = json.loads(run(*scene[:2], "--metrics", asked, "--json", "-q").out)
    wanted = set(CHEAP if asked == "cheap" else asked.split(","))
    assert {key for key in KEYS if key in got} == wanted


@pytest.mark.parametrize(
    ("limits", "code", "why"),
    [
        (["--fail-under", "psnr_db=39", "--fail-over", "sam_deg=2"], 0, None),
        (["--fail-under", "psnr_db=45"], 5, r"psnr_db 39\.\d+ is under 45"),
        (["--fail-over", "rmse=0.001", "--fail-over", "sam_deg=90"], 5, r"rmse 0\.0\d+ is over 0\.001$"),
        (["--fail-over", "ergas=5"], 5, "ergas is null"),
        (["--fail-under", "psnr=40"], 2, "psnr is not scored here"),
        (["--fail-under", "psnr_db=high"], 2, "must be KEY=NUMBER"),
        (["--fail-under", "sam_deg=2"], 2, "lower is better of sam_deg: give --fail-over"),
        (["--fail-over", "ssim=0.9"], 2, "higher is better of ssim: give --fail-under"),
    ],
)
def test_thresholds(
    run: Run, scene: tuple[Path, Path, Path], limits: list[str], code: int, why: str | None
) -> None:
    ended = run(*scene[:2], "--json", "-q", *limits)
    assert ended.code == code
    assert (ended.err == "") == (why is None)
    assert why is None or re.search(why, ended.err.strip())
    assert bool(ended.out) == (code != 2)


def test_a_manifest_scores_every_pair_and_is_honest_about_the_bad(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    manifest, scores = tmp_path / "pairs.csv", tmp_path / "scores.csv"
    lines = ["fused,reference,baseline", "fused.tif,hr_hsi.tif,", "gone.tif,hr_hsi.tif,"]
    manifest.write_text("\n".join([*lines, "hr_hsi.tif,hr_hsi.tif,lr_hsi.tif"]) + "\n")
    ended = run("--manifest", manifest, "--csv", scores, "-q", "--fail-under", "psnr_db=45")
    first, second, third = map(json.loads, ended.out.splitlines())
    assert ended.code == 3
    assert first["rmse"] > third["rmse"] == 0
    assert third["baseline"]["rmse"] > 0
    assert (second["exit_code"], second["fused"]) == (3, str(tmp_path / "gone.tif"))
    assert "no such file" in second["error"]
    assert ended.err.count("Error: ") == 2
    assert [row["method"] for row in table(scores)] == ["fused", "fused", "bicubic"]
    manifest.write_text("fused,reference\nfused.tif,hr_hsi.tif\n")
    assert run("--manifest", manifest, "-q").code == 0
    assert run("--manifest", manifest, "-q", "--fail-under", "psnr_db=45").code == 5


@pytest.mark.parametrize(
    "text",
    ["", "fused,reference\n", "a,b\n1,2\n", "fused,reference\nx.tif,\n", "fused,reference,more\na,b,c\n"],
)
def test_manifests_that_list_nothing_usable_are_refused(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    ended = run("--manifest", tmp_path / "pairs.csv")
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)


def test_a_manifest_that_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    ended = run("--manifest", tmp_path / "pairs.csv")
    assert (ended.code, ended.out) == (3, "")
    said = f"{tmp_path / 'pairs.csv'}: cannot be read as a CSV: No such file or directory: name a CSV file"
    assert ended.err == f"Error: {said}\n"


def test_other_papers_figures_stand_beside_ours(run: Run, scene: tuple[Path, Path, Path]) -> None:
    arguments = (*scene[:2], "--ratio", 8, "-q", "--convention", "emrdiff", "--convention", "args")
    got = json.loads(run(*arguments, "--json").out)
    theirs = {f["key"]: f["value"] for f in got["conventions"]["emrdiff"]}
    assert theirs["sam_rad"] == pytest.approx(math.radians(got["sam_deg"]))
    assert theirs["ergas"] == pytest.approx(2 * got["ergas"])
    truth = np.rint(ground(SHAPE, place()) / 1e-4) * 1e-4
    assert theirs["psnr_db"] == pytest.approx(20 * math.log10(truth.max() / got["rmse"]), rel=1e-6)
    assert theirs["ms_ssim"] is None
    theirs = {f["key"]: f["value"] for f in got["conventions"]["args"]}
    assert theirs["psnr_db"] == got["psnr_band_peak_db"]
    text = " ".join(run(*arguments).out.split())
    assert "by emrdiff" in text
    assert "in radians" in text


def test_the_table_prints_what_the_json_holds(run: Run, scene: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = scene
    arguments = (fused, reference, "--baseline", lr)
    text, got = run(*arguments, "-q"), json.loads(run(*arguments, "--json").out)
    assert text.err == ""
    for key in KEYS:
        # The values of a row have the same decimals, and two digits at least.
        for shown in METRICS[key].texts([got[key], got["baseline"][key]]):
            assert f" {shown} " in text.out
        assert float(shown) == pytest.approx(got["baseline"][key], rel=0.05)
    assert "degrees" in text.out
    convention = text.out.splitlines()[-1]
    assert convention == (
        "peak 1 (reflectance: the reference records its scale), ratio 4 (the grids of the LR-HSI and the "
        "reference), 4 bands, 1919 valid pixels, 1 dropped"
    )


def test_offset_rasters_are_compared_on_the_common_area(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    larger = write_raster(tmp_path / "larger.tif", ground((4, 60, 40), place(-5, 10)), place(-5, 10))
    got = json.loads(run(larger, scene[1], "--json").out)
    assert got["valid_pixels"] == 40 * 38
    assert got["rmse"] < 1e-4


def test_bad_inputs_give_one_line_and_exit_3(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    truth, reference = ground(SHAPE, place()), scene[1]
    bad = {
        "no such file": tmp_path / "nowhere.tif",
        "differ in size": write_raster(tmp_path / "a.tif", truth, place(pixel=5)),
        "no ground in common": write_raster(tmp_path / "b.tif", truth, place(200, 0)),
        "has no CRS but": write_raster(tmp_path / "c.tif", truth, place(), crs=None),
        "has 3 bands": write_raster(tmp_path / "d.tif", truth[:3], place()),
    }
    for message, path in bad.items():
        ended = run(path, reference, "--json")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith("Error: ")
        assert ended.err.count("\n") == 1
        assert message in ended.err
    ended = run(scene[0], reference, "--baseline", tmp_path / "nowhere.tif")
    assert (ended.code, ended.err.count("\n")) == (3, 1)


def test_misuse_exits_2(run: Run, scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    fused, reference, lr = scene
    misuses: list[tuple[tuple[object, ...], str]] = [
        ((fused,), "nothing to score against"),
        (("--wald", "--lr-hsi", lr, "--hr-msi", fused), "either --model or --method"),
        ((fused, reference, "--wald"), "--wald: not for a raster with REFERENCE"),
        ((fused, "--lr-hsi", lr, "--hr-msi", fused, "--border", 2), "--border: not for evaluation without"),
        ((fused, reference, "--manifest", "x.csv"), "FUSED, REFERENCE: not for --manifest"),
        ((fused, reference, "--metrics", "psnr"), "give all, cheap, or some of psnr_db"),
    ]
    for arguments, why in misuses:
        ended = run(*arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert why in ended.err
    ended = run(*scene[:2], "--peak", 0)
    assert (ended.code, ended.err) == (2, "Error: --peak 0 is unusable: give a positive number\n")


def test_the_command_does_not_import_torch(scene: tuple[Path, Path, Path]) -> None:
    script = (
        "import sys; from pathlib import Path; from emrdiff_cli.evaluation.full_reference import evaluate; "
        "evaluate(*map(Path, sys.argv[1:3]), baseline=Path(sys.argv[3])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, *map(str, scene)], check=True)


def test_a_report_and_the_seams_go_along(run: Run, scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    fused, reference, lr = scene
    usual = (fused, reference, "--baseline", lr, "--json", "-q")
    plain = json.loads(run(*usual).out)
    ended = run(*usual, "--report", tmp_path / "report", "--msi", lr, "--seams", "16,4")
    assert (ended.code, ended.err) == (0, "")
    got = json.loads(ended.out)
    seams = got.pop("seams")
    # What is no pair cannot be kriged, and that is no error.
    (told,) = got.pop("notes")
    assert told.startswith("kriging is not scored: ")
    assert got | {"notes": []} == plain
    assert seams["ratio"] == pytest.approx(seams["at_edges"] / seams["elsewhere"])
    assert seams["ratio"] == pytest.approx(1, abs=0.2)
    assert f"<td>{got['psnr_db']:.2f}</td>" in (tmp_path / "report" / "report.html").read_text()
    assert "seams" in run(fused, reference, "-q", "--seams", "16,4").out
    for there in (tmp_path / "report", tmp_path / "report" / "report.html"):
        again = run(*usual, "--report", there)
        assert (again.code, again.out) == (2, "")
    assert run(*usual, "--report", tmp_path / "report", "--overwrite").code == 0
    for options in (("--seams", "auto"), ("--seams", "4")):
        assert run(*usual, *options).code == 2
