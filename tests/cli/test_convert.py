"""`emrdiff convert` through the front door: the raster reopened, read by other commands, and what goes wrong."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spectral
from rasterio.errors import NotGeoreferencedWarning

from tests.support.front_door import Run
from tests.support.mat_files import matrix, write_mat5, write_mat73
from tests.support.rasters import read_back


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "convert")


@pytest.fixture
def icvl(tmp_path: Path) -> Path:
    bands = np.arange(400.0, 701, 10)[:, None]
    return write_mat73(tmp_path / "icvl.mat", rad=matrix(40, 48, 31), bands=bands, chunks=(1, 8, 40))


def test_to_geotiff_by_default(run: Run, tmp_path: Path, icvl: Path) -> None:
    ended = run(icvl, tmp_path / "scene.tif")
    assert (ended.code, ended.out) == (0, "")
    assert "31 bands of 48 x 40, float64" in ended.err
    assert "Note: ICVL: turned by 90 degrees counterclockwise" in ended.err
    with pytest.warns(NotGeoreferencedWarning):
        scene = rasterio.open(tmp_path / "scene.tif")
    with scene:
        assert (scene.driver, scene.count, scene.shape) == ("GTiff", 31, (48, 40))
        assert [float(scene.tags(i)["wavelength"]) for i in scene.indexes] == list(range(400, 701, 10))
        assert scene.tags(1)["wavelength_units"] == "Nanometers"
    upright = np.rot90(matrix(40, 48, 31)).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_back(tmp_path / "scene.tif"), upright)


@pytest.mark.parametrize("arguments", [("scene.bsq",), ("scene.cube", "-f", "ENVI")])
def test_to_envi_by_suffix_or_on_request(
    run: Run, tmp_path: Path, icvl: Path, arguments: tuple[str, ...]
) -> None:
    name, *options = arguments
    assert run(icvl, tmp_path / name, *options, "--quiet").code == 0
    header = spectral.envi.open(str(tmp_path / "scene.hdr"), str(tmp_path / name))
    assert header.shape == (48, 40, 31)
    assert header.bands.centers == list(range(400, 701, 10))
    np.testing.assert_array_equal(header.open_memmap(), np.rot90(matrix(40, 48, 31)))


def test_as_json(run: Run, tmp_path: Path) -> None:
    label = np.ones((8, 9))
    label[0, 0] = 0
    source = write_mat5(tmp_path / "a.mat", ref=matrix(8, 9, 31), lbl=label)
    ended = run(source, tmp_path / "a.tif", "--json", "-q")
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    told = {"dataset": "harvard", "variable": "ref", "bands": 31, "height": 8, "width": 9, "dtype": "float64"}
    assert told.items() <= facts.items()
    assert (facts["masked_pixels"], facts["nodata"]) == (1, "nan")


def test_other_commands_read_what_came_out(run: Run, emrdiff: Run, tmp_path: Path, icvl: Path) -> None:
    assert run(icvl, tmp_path / "scene.tif", "-q").code == 0
    facts = json.loads(emrdiff("info", tmp_path / "scene.tif", "--json").out)
    assert (facts["bands"], facts["wavelengths_nm"][30]) == (31, 700)
    pair = tmp_path / "pair"
    srf = tmp_path / "srf.csv"
    srf.write_text("wavelength_nm,B,R\n400,1,0\n550,1,1\n700,0,1\n")
    assert emrdiff("simulate", tmp_path / "scene.tif", pair, "--ratio", 4, "--srf", srf, "-q").code == 0
    fused = tmp_path / "fused.tif"
    assert emrdiff("fuse", pair / "lr_hsi.tif", pair / "hr_msi.tif", fused, "--method", "glp", "-q").code == 0
    assert read_back(fused).shape == (31, 48, 40)


def test_overwrite(run: Run, tmp_path: Path, icvl: Path) -> None:
    (tmp_path / "scene.tif").write_bytes(b"mine")
    ended = run(icvl, tmp_path / "scene.tif")
    assert ended.code == 2
    assert "--overwrite" in ended.err
    assert (tmp_path / "scene.tif").read_bytes() == b"mine"
    assert run(icvl, tmp_path / "scene.tif", "--overwrite").code == 0
    assert read_back(tmp_path / "scene.tif").shape == (31, 48, 40)


def test_all_options(run: Run, tmp_path: Path) -> None:
    source = write_mat5(tmp_path / "a.mat", a=matrix(5, 6, 3, "int16"), b=matrix(6, 3, 5, "int16"))
    ended = run(
        *(source, tmp_path / "a.tif", "--variable", "b", "--band-axis", 2, "--orientation", "rot180", "-q"),
        *("--wavelengths", "450:650:100", "--nodata", "-1", "--dataset", "generic"),
        *("--crs", "EPSG:32654", "--transform", "2.5,0,411050,0,-2.5,4016650"),
    )
    assert (ended.code, ended.err) == (0, "")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.crs.to_epsg(), dataset.transform.c, dataset.nodata) == (32654, 411050, -1)
        turned = np.rot90(matrix(6, 3, 5, "int16").transpose(1, 0, 2), 2, axes=(1, 2))
        np.testing.assert_array_equal(dataset.read(), turned)


def test_help_has_examples(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    for word in ("emrdiff convert", "--wavelengths", "--band-axis", "Harvard", "georeference"):
        assert word in ended.out


@pytest.mark.parametrize(
    ("source", "options", "code", "said"),
    [
        ("none.mat", (), 3, "no such file"),
        ("note.txt", (), 3, "neither GeoTIFF nor ENVI"),
        ("broken.mat", (), 3, "may be damaged"),
        ("complex.mat", (), 3, "complex numbers: only real ones can be converted"),
        ("text.mat", (), 3, "no real numbers in three dimensions; it holds text (1 char)"),
        ("struct.mat", ("--variable", "s"), 3, "s (1 x 1 struct) is no image"),
        ("two.mat", (), 3, "choose one with --variable"),
        ("empty", (), 3, "no numbered bands"),
        ("two.mat", ("--variable", "a", "--wavelengths", "400:700:10"), 2, "31 centres, but"),
        ("two.mat", ("--dataset", "icvl"), 3, "has no variable rad"),
        ("two.mat", ("--variable", "a", "--nodata", "1e300"), 2, "no int16 value"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    run: Run, tmp_path: Path, source: str, options: tuple[str, ...], code: int, said: str
) -> None:
    cube = matrix(5, 6, 3, "int16")
    (tmp_path / "note.txt").write_text("a note")
    (tmp_path / "broken.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(126) + b"IM" + bytes(40))
    (tmp_path / "empty").mkdir()
    write_mat5(tmp_path / "complex.mat", cube=cube + 1j)
    write_mat5(tmp_path / "text.mat", text="a")
    write_mat5(tmp_path / "struct.mat", s={"cube": cube}, cube=cube)
    write_mat5(tmp_path / "two.mat", a=cube, b=cube)
    before = sorted(tmp_path.rglob("*"))
    ended = run(tmp_path / source, tmp_path / "out.tif", *options)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_output_needs_a_place(run: Run, tmp_path: Path, icvl: Path) -> None:
    assert run(icvl, tmp_path / "none" / "a.tif").code == 4
    ended = run(icvl, tmp_path / "a.hdr")
    assert ended.code == 2
    assert "name the data file, e.g. a.bsq" in ended.err
