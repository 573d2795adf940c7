"""`emrdiff simulate` through the front door: the pair reopened with rasterio, and what goes wrong in one line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spectral
from affine import Affine

from tests.support.front_door import Run
from tests.support.rasters import NORTH_UP, read_back
from tests.support.scenes import COUNT, NODATA, textured, wavelengths, write_cube, write_srf


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "simulate")


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    write_srf(tmp_path / "srf.csv")
    holed = textured(8, 42, 48)
    holed[:, 2, 3] = np.nan
    return write_cube(tmp_path / "cube.tif", holed)


def test_the_pair_and_its_recipe(run: Run, tmp_path: Path, cube: Path) -> None:
    ended = run(cube, tmp_path / "new" / "pair", "--ratio", 4, "--srf", tmp_path / "srf.csv")
    assert (ended.code, ended.out) == (0, "")
    folder = tmp_path / "new" / "pair"
    assert sorted(path.name for path in folder.iterdir()) == ["hr_msi.tif", "lr_hsi.tif", "recipe.json"]
    with rasterio.open(folder / "lr_hsi.tif") as lr:
        assert (lr.count, lr.height, lr.width) == (8, 10, 12)
        assert (lr.dtypes[0], lr.nodata) == ("int16", NODATA)
        assert lr.scales == pytest.approx([COUNT] * 8)
        assert lr.crs.to_epsg() == 32633
        assert lr.transform.almost_equals(NORTH_UP @ Affine.scale(4))
        assert [float(lr.tags(i)["wavelength"]) for i in lr.indexes] == wavelengths(8)
        assert [float(lr.tags(i)["fwhm"]) for i in lr.indexes] == pytest.approx(np.arange(8) / 10 + 5.1)
        assert lr.descriptions[0] == "Channel 1"
        assert (lr.read()[:, 0, 0] == NODATA).all()
        assert (lr.read()[:, 3:, 3:] != NODATA).all()
    with rasterio.open(folder / "hr_msi.tif") as msi:
        assert (msi.count, msi.height, msi.width) == (3, 40, 48)
        assert msi.transform.almost_equals(NORTH_UP)
        assert msi.crs.to_epsg() == 32633
        assert msi.descriptions == ("M1", "M2", "M3")
        assert (msi.read()[:, 2, 3] == NODATA).all()
        assert (msi.read() == NODATA).sum() == 3
    assert json.loads((folder / "recipe.json").read_text())["ratio"] == 4


def test_recipe_as_json_and_a_built_in_response(run: Run, tmp_path: Path) -> None:
    wide = write_cube(tmp_path / "wide.tif", textured(14, 40, 40))
    ended = run(
        *(wide, tmp_path / "pair", "--ratio", 8, "--srf", "sentinel-2a", "--protocol", "mtf"),
        *("--noise-db", 30, "--seed", 3, "-f", "ENVI", "--json", "-q"),
    )
    assert (ended.code, ended.err) == (0, "")
    recipe = json.loads(ended.out)
    assert recipe == json.loads((tmp_path / "pair" / "recipe.json").read_text())
    stated = {"protocol": "mtf", "noise_db": 30, "seed": 3, "srf": "sentinel-2a", "lr_hsi": "lr_hsi.bsq"}
    assert stated.items() <= recipe.items()
    header = spectral.envi.open(str(tmp_path / "pair" / "lr_hsi.hdr"))
    assert header.shape == (5, 5, 14)
    assert header.bands.centers == wavelengths(14)


def test_the_same_seed_gives_the_same_bytes(run: Run, tmp_path: Path, cube: Path) -> None:
    common = ("--ratio", 4, "--srf", tmp_path / "srf.csv", "--noise-db", 25, "-q")
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        run(cube, tmp_path / name, *common, "--seed", seed)
    for file in ("lr_hsi.tif", "hr_msi.tif"):
        one, same, other = (tmp_path / name / file for name in ("one", "same", "other"))
        assert one.read_bytes() == same.read_bytes()
        assert (read_back(one) != read_back(other)).mean() > 0.5


def test_overwrite(run: Run, tmp_path: Path, cube: Path) -> None:
    usual = (cube, tmp_path / "pair", "--srf", tmp_path / "srf.csv", "-q", "--ratio")
    assert run(*usual, 4).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "pair").iterdir()}
    ended = run(*usual, 2)
    assert ended.code == 2
    assert "--overwrite" in ended.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "pair").iterdir()} == before
    assert run(*usual, 2, "--overwrite").code == 0
    assert read_back(tmp_path / "pair" / "lr_hsi.tif").shape == (8, 21, 24)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"cube": "none.tif"}, 3, "no such file"),
        ({"cube": "srf.csv"}, 3, "neither GeoTIFF nor ENVI"),
        ({"cube": "bare.tif"}, 3, "no wavelengths"),
        ({"cube": "cut.bsq"}, 3, "cut.bsq"),
        ({"--srf": "none.csv"}, 2, "no such file, nor one of the built-in"),
        ({"--srf": "empty.csv"}, 3, "header"),
        ({"--srf": "thermal.csv"}, 3, "sees none of the HSI's bands"),
        ({"--ratio": "60"}, 3, "less than one LR pixel"),
        ({"out": "file"}, 4, "cannot be made"),
        ({"out": "file/below"}, 4, "cannot be made"),
    ],
    ids=lambda value: str(value),
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    run: Run, tmp_path: Path, cube: Path, change: dict[str, str], code: int, said: str
) -> None:
    write_cube(tmp_path / "bare.tif", textured(8, 24, 24), spectral=False)
    (tmp_path / "cut.hdr").write_text(
        "ENVI\nsamples = 24\nlines = 24\nbands = 8\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
    )
    (tmp_path / "cut.bsq").write_bytes(bytes(24 * 24 * 8))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "thermal.csv").write_text("wavelength_nm,T\n9000,1\n9100,1\n")
    (tmp_path / "file").write_text("a file in the folder's place")
    given = {"cube": "cube.tif", "out": "pair", "--srf": "srf.csv", "--ratio": "4"} | change
    srf = given["--srf"] if given["--srf"] == "none.csv" else tmp_path / given["--srf"]
    before = sorted(tmp_path.rglob("*"))
    ended = run(tmp_path / given["cube"], tmp_path / given["out"], "--srf", srf, "--ratio", given["--ratio"])
    assert (ended.code, ended.out) == (code, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert sorted(tmp_path.rglob("*")) == before
