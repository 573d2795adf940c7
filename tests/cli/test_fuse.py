"""`emrdiff fuse` through the front door: products reopened, draws repeated, failures in one line, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spectral
from affine import Affine
from numpy.typing import NDArray

from tests.support.front_door import Run
from tests.support.pairs import RESPONSES, see, spectral_pair, write_pair
from tests.support.random_model import save_random_model
from tests.support.rasters import NORTH_UP, read_back, write_envi, write_tif
from tests.support.scenes import COUNT, NODATA, read, textured, wavelengths, write_cube, write_srf

FINE = NORTH_UP @ Affine.scale(1 / 4)


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "fuse")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("models") / "random")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, lr_holes=[(3, 5)])


# Products


@pytest.mark.parametrize(("name", "driver"), [("out.tif", "GTiff"), ("out.bsq", "ENVI")])
@pytest.mark.parametrize("method", ["emrdiff", "glp-local"])
def test_product_opens_with_everything_in_place(
    run: Run, tmp_path: Path, pair: tuple[Path, Path], model: Path, name: str, driver: str, method: str
) -> None:
    chosen = ("--model", model, "--seed", 5) if method == "emrdiff" else ()
    ended = run(*pair, tmp_path / name, "-f", driver, "--method", method, *chosen)
    assert (ended.code, ended.out) == (0, "")
    assert "8 bands of 64 x 72" in ended.err
    with rasterio.open(tmp_path / name) as fused:
        assert fused.driver == driver
        assert (fused.count, fused.height, fused.width) == (8, 64, 72)
        assert (fused.dtypes[0], fused.nodata) == ("int16", NODATA)
        assert fused.crs.to_epsg() == 32633
        assert fused.transform.almost_equals(FINE)
        stored, tags = fused.read(), fused.tags() | fused.tags(ns="ENVI")
        listed = fused.tags(ns="ENVI")
        if driver == "GTiff":
            assert_bands_in_geotiff(fused)
        else:
            assert float(tags["reflectance_scale_factor"]) == 1e4
            assert_bands_in_envi(tmp_path / "out.hdr", stored)
    assert [float(v) for v in listed["wavelength"].strip("{}").split(",")] == wavelengths(8)
    provenance = {"emrdiff_method": method, "emrdiff_lr_hsi": "lr.tif", "emrdiff_hr_msi": "msi.tif"}
    if method == "emrdiff":
        provenance |= {"emrdiff_model": "random", "emrdiff_seed": "5", "emrdiff_steps": "5"}
        assert len(tags["emrdiff_model_sha256"]) == 64
        assert tags["emrdiff_precision"] in ("fp32", "bf16")
    assert provenance.items() <= tags.items()
    hole = np.zeros((64, 72), bool)
    hole[12:16, 20:24] = True
    assert ((stored == NODATA) == hole).all()
    if method == "glp-local":
        truth = textured(8, 64, 72)
        assert np.abs(stored * COUNT - truth)[:, ~hole].mean() < 0.03


def assert_bands_in_geotiff(fused: rasterio.DatasetReader) -> None:
    assert fused.scales == pytest.approx([COUNT] * 8)
    assert fused.descriptions == tuple(f"Channel {i}" for i in range(1, 9))
    assert [float(fused.tags(i)["wavelength"]) for i in fused.indexes] == wavelengths(8)
    assert [float(fused.tags(i)["fwhm"]) for i in fused.indexes] == pytest.approx(np.arange(8) / 10 + 5.1)
    assert float(fused.tags(1, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) == 0.4205


def assert_bands_in_envi(header_path: Path, stored: NDArray[np.int16]) -> None:
    header = spectral.envi.open(str(header_path))
    assert header.bands.centers == wavelengths(8)
    assert header.bands.bandwidths == pytest.approx(np.arange(8) / 10 + 5.1)
    np.testing.assert_array_equal(np.moveaxis(header.load(scale=False), 2, 0), stored)


def detail(path: Path) -> tuple[list[str], dict[str, str]]:
    """Each band's `emrdiff_detail`, and the dataset's tags."""
    with rasterio.open(path) as dataset:
        tags = dataset.tags() | dataset.tags(ns="ENVI")
        if dataset.driver == "ENVI":
            return tags["emrdiff_detail"].strip("{}").replace(" ", "").split(","), tags
        return [dataset.tags(band)["emrdiff_detail"] for band in dataset.indexes], tags


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.tif", "out.bsq"])
@pytest.mark.parametrize(("srf", "msi_bands", "by", "under", "fitted"), RESPONSES)
def test_bands_are_marked_by_the_response(
    run: Run,
    tmp_path: Path,
    name: str,
    srf: str,
    msi_bands: int,
    by: str,
    under: list[tuple[int, ...]],
    fitted: bool,
) -> None:
    write_srf(tmp_path / "srf.csv")
    pair = spectral_pair(tmp_path, msi_bands=msi_bands)
    given = str(tmp_path / "srf.csv") if srf == "CSV" else srf
    ended = run(*pair, tmp_path / name, "--method", "glp", "--srf", given, "--json", "-q")
    assert ended.code == 0, ended.err
    labels, tags = detail(tmp_path / name)
    covered = {band for bands in under for band in bands}
    expected = ["covered" if band in covered else "extrapolated" for band in range(1, 9)]
    expected[4] = "bad"
    assert (labels, tags["emrdiff_detail_by"]) == (expected, by)
    facts = json.loads(ended.out)
    assert facts["coverage_by"] == by
    assert [tuple(band["hsi_bands"]) for band in facts["coverage"]] == under
    assert facts["bad_bands"] == [5]
    assert facts["uncovered_bands"] == [i for i, label in enumerate(labels, 1) if label == "extrapolated"]
    residuals = [band["residual"] for band in facts["coverage"]]
    assert [residual is not None for residual in residuals] == [fitted] * msi_bands
    assert ("emrdiff_srf_residual" in tags) == fitted
    if fitted:
        tagged = [float(value) for value in tags["emrdiff_srf_residual"].split(",")]
        assert tagged == pytest.approx(residuals, abs=1e-4)
    if srf == "estimate":
        assert max(residuals) < 0.05
        assert [band["scale"] for band in facts["coverage"]] == pytest.approx([1, 1, 1], rel=0.1)


def test_without_wavelengths_the_response_is_estimated(run: Run, tmp_path: Path) -> None:
    ended = run(*spectral_pair(tmp_path, spectral=False), tmp_path / "out.tif", "--method", "glp")
    assert ended.code == 0, ended.err
    labels, tags = detail(tmp_path / "out.tif")
    assert (labels, tags["emrdiff_detail_by"]) == ([*["covered"] * 4, "bad", *["covered"] * 3], "estimate")


def test_a_response_that_the_pair_speaks_against_is_warned_of(run: Run, tmp_path: Path) -> None:
    lr, msi = spectral_pair(tmp_path)
    values = read(msi)
    write_cube(msi, values.max() - values, transform=FINE)
    for srf, what in (
        ("estimate", "the estimated response"),
        (write_srf(tmp_path / "srf.csv"), "--srf srf.csv"),
    ):
        ended = run(lr, msi, tmp_path / "out.tif", "--method", "glp", "--srf", srf, "--overwrite")
        assert ended.code == 0, ended.err
        assert f"Warning: {what} leaves" in ended.err


def test_another_dtype(run: Run, tmp_path: Path, pair: tuple[Path, Path]) -> None:
    usual = (*pair, tmp_path / "out.tif", "--method", "glp", "-q", "--overwrite")
    assert run(*usual).code == 0
    counts = read(tmp_path / "out.tif")
    assert run(*usual, "-t", "float32", "--co", "COMPRESS=DEFLATE").code == 0
    with rasterio.open(tmp_path / "out.tif") as fused:
        assert (fused.dtypes[0], fused.compression.name) == ("float32", "deflate")
    np.testing.assert_allclose(read(tmp_path / "out.tif"), counts, atol=0.51 * COUNT)


def test_envi_input_by_its_header(run: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    fields = {
        "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
        "wavelength units": "Nanometers",
        "wavelength": "{" + ", ".join(map(str, wavelengths(8))) + "}",
        "data ignore value": str(NODATA),
        "reflectance scale factor": "10000",
    }
    envi = write_envi(tmp_path / "lr.bil", read_back(lr), interleave="bil", fields=fields)
    for source, name in ((lr, "a.tif"), (envi, "b.tif"), (envi.with_suffix(".hdr"), "c.tif")):
        assert run(source, msi, tmp_path / name, "--method", "glp", "-q") == (0, "", "")
    for name in ("b.tif", "c.tif"):
        np.testing.assert_array_equal(read_back(tmp_path / name), read_back(tmp_path / "a.tif"))


# Draws


@pytest.mark.slow
def test_draws(run: Run, tmp_path: Path, model: Path) -> None:
    pair = write_pair(tmp_path, 40, 48)

    def draw(name: str, *options: object) -> Path:
        output = tmp_path / f"{name}.tif"
        usual = ("--model", model, "--tile", 32, "--overlap", 8, "--steps", 3, "--register", "off", "-q")
        assert run(*pair, output, *usual, *options) == (0, "", "")
        return output

    one, same, other = draw("one", "--seed", 1), draw("same", "--seed", 1), draw("other", "--seed", 2)
    assert one.read_bytes() == same.read_bytes()
    values = read_back(one).astype(int)
    assert (read_back(other) != values).mean() > 0.05
    for size in (1, 3, 16):
        again = read_back(draw(f"batch-{size}", "--seed", 1, "--batch-size", size)).astype(int)
        assert np.abs(again - values).max() <= 1
    fewer = read_back(draw("fewer", "--seed", 1, "--steps", 2))
    assert (fewer != values).mean() > 0.05


def test_overwrite_replaces_the_output(run: Run, tmp_path: Path, pair: tuple[Path, Path]) -> None:
    output = tmp_path / "out.tif"
    output.write_text("what was there")
    assert run(*pair, output, "--method", "glp", "-q", "--overwrite") == (0, "", "")
    assert read_back(output).shape == (8, 64, 72)


# What is said


def test_json_is_the_report_and_nothing_else_goes_to_stdout(
    run: Run, tmp_path: Path, pair: tuple[Path, Path], model: Path
) -> None:
    ended = run(*pair, tmp_path / "out.tif", "--model", model, "--json")
    report = json.loads(ended.out)
    stated = {"method": "emrdiff", "bands": 8, "height": 64, "width": 72, "ratio": 4, "clipped_values": 0}
    assert stated.items() <= report.items()
    assert report["valid_share"] == pytest.approx(1 - 16 / (64 * 72))
    assert "fuse: 64/64" in ended.err
    assert run(*pair, tmp_path / "quiet.tif", "--model", model, "--steps", 1, "--json", "-q").err == ""


def test_dry_run_writes_nothing(run: Run, tmp_path: Path, pair: tuple[Path, Path], model: Path) -> None:
    before = sorted(tmp_path.iterdir())
    ended = run(*pair, tmp_path / "out.tif", "--model", model, "--dry-run", "--json", "--tile", 32)
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    stated = {"model": "random", "bands": 8, "height": 64, "width": 72, "ratio": 4, "dtype": "int16"}
    assert stated.items() <= facts.items()
    assert facts["uncompressed_bytes"] == 8 * 64 * 72 * 2
    assert sorted(tmp_path.iterdir()) == before
    steps = facts["time"]["steps"]
    assert {"model", "geometry", "fitting", "network", "writing"} <= set(steps)
    assert sum(steps.values()) == pytest.approx(facts["time"]["seconds"], abs=0.1)
    assert steps["fitting"] > 0
    text = run(*pair, tmp_path / "out.tif", "--method", "glp", "--dry-run", "--no-trial")
    assert "is for --dry-run" in run(*pair, tmp_path / "out.tif", "--no-trial").err
    assert "ratio 4\n" in text.out
    assert "\nMethod    glp: as asked for\n" in text.out
    assert "8 bands of 64 x 72 pixels, int16, GTiff" in text.out
    assert "\nTime      not tried\n" in text.out


def test_a_model_made_for_another_ratio_is_used_with_a_warning(
    run: Run, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    other = save_random_model(tmp_path / "x8", ratio=8)
    ended = run(*pair, tmp_path / "out.tif", "--model", other, "-q")
    assert ended.code == 0
    assert "Warning: x8 was made for ratio 8" in ended.err


# What goes wrong

Change = Callable[[Path], list[object]]


def elsewhere(folder: Path) -> list[object]:
    far = FINE @ Affine.translation(4000, 0)
    return [folder / "lr.tif", write_cube(folder / "far.tif", see(textured(8, 64, 72)), transform=far)]


def without_crs(folder: Path) -> list[object]:
    return [folder / "lr.tif", write_tif(folder / "bare.tif", read_back(folder / "msi.tif"), crs=None)]


def truncated_envi(folder: Path) -> list[object]:
    data = write_envi(folder / "lr.bsq", read_back(folder / "lr.tif"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    return [data, folder / "msi.tif"]


def truncated_tif(folder: Path) -> list[object]:
    cut = folder / "cut.tif"
    cut.write_bytes((folder / "msi.tif").read_bytes()[:20_000])
    return [folder / "lr.tif", cut]


def coarser(folder: Path) -> list[object]:
    wide = NORTH_UP @ Affine.scale(2)
    return [folder / "lr.tif", write_cube(folder / "wide.tif", see(textured(8, 8, 9)), transform=wide)]


def undeclared_nan(folder: Path) -> list[object]:
    values = read(folder / "msi.tif")
    values[1, 30, 30] = np.nan
    return [folder / "lr.tif", write_tif(folder / "nan.tif", values, transform=FINE)]


def all_nodata(folder: Path) -> list[object]:
    empty = np.full((3, 64, 72), np.nan)
    return [folder / "lr.tif", write_cube(folder / "empty.tif", empty, transform=FINE)]


def other_msi(folder: Path) -> list[object]:
    return [folder / "lr.tif", write_cube(folder / "msi2.tif", see(textured(8, 64, 72))[:2], transform=FINE)]


def unspectral(folder: Path) -> list[object]:
    return list(write_pair(folder, spectral=False))


def usual(folder: Path) -> list[object]:
    return [folder / "lr.tif", folder / "msi.tif"]


GLP = ("--method", "glp")


@pytest.mark.parametrize(
    ("inputs", "output", "options", "code", "said"),
    [
        (lambda f: [f / "none.tif", f / "msi.tif"], "out.tif", GLP, 3, "none.tif: no such file"),
        (lambda f: [f / "lr.tif", f / "none.tif"], "out.tif", GLP, 3, "none.tif: no such file"),
        (lambda f: [f, f / "msi.tif"], "out.tif", GLP, 3, "is a folder"),
        (lambda f: [f / "text.txt", f / "msi.tif"], "out.tif", GLP, 3, "neither GeoTIFF nor ENVI"),
        (lambda f: [f / "msi.tif", f / "lr.tif"], "out.tif", GLP, 3, "give the LR-HSI first"),
        (elsewhere, "out.tif", GLP, 3, "no ground in common"),
        (without_crs, "out.tif", GLP, 3, "bare.tif has no CRS but lr.tif has"),
        (truncated_envi, "out.tif", GLP, 3, "lr.bsq"),
        (truncated_tif, "out.tif", GLP, 3, "cut.tif"),
        (coarser, "out.tif", GLP, 3, "not finer"),
        (undeclared_nan, "out.tif", GLP, 3, "nan.tif holds NaN"),
        (all_nodata, "out.tif", GLP, 3, "valid LR pixels"),
        (other_msi, "out.tif", ("--model", "MODEL"), 3, "takes 3 MSI bands"),
        (usual, "out.tif", ("--model", "nowhere"), 3, "model nowhere: no folder"),
        (usual, "out.tif", ("--model", "text.txt"), 3, "model text.txt: no folder"),
        (usual, "out.tif", ("--method", "emrdiff"), 3, "no shipped model"),
        (usual, "there.tif", GLP, 2, "--overwrite"),
        (usual, "text.txt", (*GLP, "--overwrite"), 2, "text.txt: is no raster's name"),
        (usual, "out.tif", (*GLP, "--model", "MODEL"), 2, "glp needs none"),
        (usual, "out.tif", (*GLP, "--dtype", "real"), 2, "real"),
        (usual, "out.tif", (*GLP, "--dtype", "complex64"), 2, "complex64"),
        (usual, "out.tif", (*GLP, "--co", "COMPRESS"), 2, "KEY=VALUE"),
        (usual, "out.tif", (*GLP, "--srf", "sentinel-9"), 2, "no such file, nor one of the built-in"),
        (usual, "out.tif", (*GLP, "--srf", "landsat-8"), 3, "landsat-8 has 4 bands, msi.tif has 3"),
        (usual, "out.tif", (*GLP, "--srf", "landsat-8", "--dry-run"), 3, "has 4 bands, msi.tif has 3"),
        (unspectral, "out.tif", (*GLP, "--srf", "SRF"), 3, "lr.tif: has no wavelengths"),
        (unspectral, "out.tif", (*GLP, "--srf", "metadata"), 3, "lr.tif does not record its wavelengths"),
        (usual, "out.tif", ("--model", "MODEL", "--tile", "33"), 2, "multiple of 2"),
        (usual, "out.tif", ("--model", "MODEL", "--overlap", "500"), 2, "overlap"),
        (usual, "out.tif", ("--model", "MODEL", "--device", "abacus"), 2, "abacus"),
        (usual, "out.hdr", (*GLP, "-f", "ENVI"), 2, "header's name"),
        (usual, "text.txt/out.tif", GLP, 4, "cannot be written"),
        (usual, "none/out.tif", GLP, 4, "no such folder"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_it_is_one_line_and_nothing_is_left(
    run: Run,
    tmp_path: Path,
    pair: tuple[Path, Path],
    model: Path,
    inputs: Change,
    output: str,
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    for name in ("text.txt", "there.tif"):
        (tmp_path / name).write_text("no raster\n")
    write_srf(tmp_path / "srf.csv")
    rasters = inputs(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    named = {"MODEL": str(model), "SRF": str(tmp_path / "srf.csv")}
    given = [named.get(option, option) for option in options]
    ended = run(*rasters, tmp_path / output, *given)
    lines = [line for line in ended.err.splitlines() if not line.startswith("_tiff")]
    assert (ended.code, ended.out, len(lines)) == (code, "", 1), ended.err
    assert lines[0].startswith("Error: ")
    assert said in lines[0]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "options", [("--method", "magic"), ("--steps", "0"), ("--format", "PNG"), ("--colour",)]
)
def test_usage_errors_are_exit_2(
    run: Run, tmp_path: Path, pair: tuple[Path, Path], options: tuple[str, ...]
) -> None:
    ended = run(*pair, tmp_path / "out.tif", *options)
    assert (ended.code, ended.out) == (2, "")
    assert options[0] in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif"]


@pytest.mark.slow
def test_a_signal_before_any_row_ends_it_cleanly(tmp_path: Path, model: Path) -> None:
    """Ctrl-C and SIGKILL between rows: fusion/test_resume.py."""
    pair = write_pair(tmp_path)
    output = tmp_path / "out.tif"
    output.write_text("what was there")
    command = [sys.executable, "-m", "emrdiff_cli", "fuse", *map(str, pair), str(output), "--overwrite"]
    with subprocess.Popen(
        [*command, "--model", str(model), "--steps", "1000"], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.tif.part-*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err.splitlines()[-1]) == (143, "Terminated.")
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif", "out.tif"]
    assert output.read_text() == "what was there"


def test_a_report_goes_along_and_tiles_are_recorded(
    emrdiff: Run, tmp_path: Path, pair: tuple[Path, Path], model: Path
) -> None:
    output, folder = tmp_path / "out.tif", tmp_path / "report"
    options = ("--model", model, "--tile", 32, "--overlap", 8)
    ended = emrdiff("fuse", *pair, output, *options, "--report", folder, "-q")
    assert (ended.code, ended.err) == (0, "")
    assert "fused by emrdiff" in (folder / "report.html").read_text()
    with rasterio.open(output) as dataset:
        rows, cols = (dataset.tags()[f"emrdiff_tile_{axis}"].split() for axis in ("rows", "cols"))
    # 64 x 72 pixels, starts on the network's stride: rows 0, 16, 32; columns 0, 20, 40.
    assert (rows, cols) == (["16", "32", "48"], ["20", "32", "40", "52"])
    seams = json.loads(emrdiff("evaluate", output, output, "--seams", "auto", "--json", "-q").out)["seams"]
    assert seams == {"at_edges": 0, "elsewhere": 0, "ratio": None}
    ended = emrdiff("fuse", *pair, tmp_path / "other.tif", "--method", "glp", "--report", folder)
    assert ended.code == 2
    assert not (tmp_path / "other.tif").exists()


def test_a_method_left_to_the_pair_is_told_with_its_evidence(
    run: Run, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    ended = run(*pair, tmp_path / "plain.tif", "--json")
    assert ended.code == 0
    report = json.loads(ended.out)
    assert report["method"] == "kriging"
    verdict = report["verdict"]
    assert report["notes"][0] == verdict["sentence"]
    assert verdict["sentence"].startswith("fused by kriging: on MSI bands held out at full resolution")
    assert {row["method"] for row in verdict["evidence"]} == {"bicubic", "glp", "glp-local", "kriging"}
    assert run(*pair, tmp_path / "asked.tif", "--method", "kriging", "-q").code == 0
    with rasterio.open(tmp_path / "plain.tif") as plain, rasterio.open(tmp_path / "asked.tif") as asked:
        np.testing.assert_array_equal(plain.read(), asked.read())
        assert plain.tags()["emrdiff_verdict"] == verdict["sentence"]
        assert json.loads(plain.tags()["emrdiff_evidence"]) == verdict
        assert "emrdiff_verdict" not in asked.tags()
        assert plain.tags()["emrdiff_run"] != asked.tags()["emrdiff_run"]
    first = (tmp_path / "plain.tif").read_bytes()
    done = json.loads(run(*pair, tmp_path / "plain.tif", "--skip-done", "--json").out)
    assert done["status"] == "skipped"
    assert run(*pair, tmp_path / "plain.tif", "--overwrite", "-q").code == 0
    assert (tmp_path / "plain.tif").read_bytes() == first
    table = run(*pair, tmp_path / "plain.tif", "--overwrite", "--effort", "fast").err
    assert "kriging *" in table
    assert "band held out" in table
    plan = json.loads(run(*pair, tmp_path / "other.tif", "--dry-run", "--json").out)
    assert plan["method"] == "auto"
    assert plan["time"]["steps"]["choosing the method"] > 0
    assert plan["time"]["without"] == []


def test_uncertainty_and_draws_settle_on_kriging(run: Run, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, 48, 48)
    output, told = tmp_path / "out.tif", ("--uncertainty", tmp_path / "sd.tif", "--json")
    assert json.loads(run(*pair, output, *told, "--dry-run", "--no-trial").out)["method"] == "kriging"
    said = run(*pair, output, *told[:-1], "--report", tmp_path / "page", "--dry-run").out
    assert "without the work of --uncertainty and --report" in " ".join(said.split())
    report = json.loads(run(*pair, output, *told).out)
    assert (report["method"], report["verdict"]["posterior"]) == ("kriging", True)
    assert "it alone tells its uncertainty" in report["notes"][0]
    assert report["verdict"]["evidence"]
    assert (tmp_path / "sd_mean.tif").exists()
    assert json.loads(run(*pair, output, *told, "--skip-done").out)["status"] == "skipped"
    drawn = run(*pair, output, "--samples", 1, "--samples-dir", tmp_path, "--overwrite", "-q")
    assert (drawn.code, (tmp_path / "out_sample_01.tif").exists()) == (0, True)
    refused = run(*pair, tmp_path / "o.tif", *told, "--overwrite", "--method", "glp", "--dry-run")
    assert (refused.code, "leave --method and --model away" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [("--bounds", "nan", 1, 2, 3), ("--bounds", 1, 2, "inf", 3), ("--method", "emrdiff", "--steps", 10**9)],
)
def test_numbers_that_lead_nowhere_are_refused_by_name(
    run: Run, tmp_path: Path, words: tuple[object, ...]
) -> None:
    ended = run(*write_pair(tmp_path, 32, 32), tmp_path / "o.tif", *words)
    assert (ended.code, str(words[-5 if words[0] == "--bounds" else -2]) in ended.err) == (2, True), ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_widest_integers_are_fused(run: Run, tmp_path: Path, dtype: str) -> None:
    truth = 1000 + 10_000 * textured(8, 32, 32)
    lr = truth.reshape(8, 8, 4, 8, 4).mean(axis=(2, 4))
    write_tif(tmp_path / "lr.tif", lr.astype(dtype))
    write_tif(tmp_path / "msi.tif", see(truth).astype(dtype), transform=FINE)
    ended = run(tmp_path / "lr.tif", tmp_path / "msi.tif", tmp_path / "o.tif", "--method", "glp", "-q")
    assert ended.code == 0, ended.err
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert dataset.dtypes[0] == dtype
        assert abs(dataset.nodata) == 2**53
        assert np.abs(dataset.read().astype(float) - truth).mean() < 200
