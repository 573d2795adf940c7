"""`emrdiff quicklook` through the front door."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tests.support.front_door import Run
from tests.support.rasters import NORTH_UP, pixels, read_back, write_envi, write_tif

NANOMETRES = {"wavelength": "{450, 550, 650, 850}", "wavelength units": "Nanometers"}


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "quicklook")


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_envi(tmp_path / "cube.bsq", pixels(4, 24, 40), fields=NANOMETRES)


def test_it_says_what_it_drew(run: Run, raster: Path, tmp_path: Path) -> None:
    output = tmp_path / "look.png"
    ended = run(raster, output, "--wavelengths", "850,650,550", "--size", 400, "--json")
    assert (ended.code, ended.err) == (0, "")
    said = json.loads(ended.out)
    assert (said["bands"], said["legend"]) == ([4, 3, 2], "850, 650, 550 nm")
    assert read_back(output).shape == (4, said["height"], said["width"])
    ended = run(raster.with_suffix(".hdr"), output, "--bands", 1, "--overwrite")
    assert (ended.code, ended.out) == (0, "")
    assert "450 nm" in ended.err
    assert run(raster, output, "--overwrite", "-q") == (0, "", "")


def test_a_mirrored_raster_is_drawn_north_up(run: Run, tmp_path: Path) -> None:
    values = pixels(1, 24, 40)
    turns = {"up": Affine.identity(), "south": Affine.translation(0, 24) @ Affine.scale(1, -1)}
    turns["both"] = Affine.translation(40, 24) @ Affine.scale(-1)
    stored = {"up": values, "south": values[:, ::-1], "both": values[:, ::-1, ::-1]}
    drawn = {}
    for name, turn in turns.items():
        path = write_tif(tmp_path / f"{name}.tif", stored[name], transform=NORTH_UP @ turn)
        assert run(path, tmp_path / f"{name}.png").code == 0
        drawn[name] = read_back(tmp_path / f"{name}.png")
    assert np.array_equal(drawn["south"], drawn["up"])
    assert np.array_equal(drawn["both"], drawn["up"])


def test_a_picture_that_is_there_stays(run: Run, raster: Path, tmp_path: Path) -> None:
    output = tmp_path / "look.png"
    output.write_bytes(b"mine")
    ended = run(raster, output)
    assert (ended.code, output.read_bytes()) == (2, b"mine")
    assert "--overwrite" in ended.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--bands", "1,2"), 2, "one, or three"),
        (("--bands", "1,2,5"), 2, "no band 5"),
        (("--bands", "a"), 2, "'a' is no band number"),
        (("--wavelengths", "650,nan,450"), 2, "'nan' is no wavelength"),
        (("--wavelengths", "650", "--bands", "1"), 2, "exclude each other"),
        (("--size", 3), 2, "--size 3"),
        (("--stretch", 98, 2), 2, "--stretch 98 2"),
    ],
)
def test_misuse_is_one_line(
    run: Run, raster: Path, tmp_path: Path, options: tuple[object, ...], code: int, said: str
) -> None:
    ended = run(raster, tmp_path / "look.png", *options)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert said in ended.err
    assert not (tmp_path / "look.png").exists()


def test_files_that_will_not_do(run: Run, raster: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "none.tif", tmp_path / "a.png").code == 3
    assert run(raster, tmp_path / "a.jpg").code == 2
    assert run(raster, tmp_path / "nowhere" / "a.png").code == 4
    bare = write_envi(tmp_path / "bare.bsq", pixels(4, 8, 8))
    ended = run(bare, tmp_path / "a.png", "--wavelengths", "650,550,450")
    assert ended.code == 3
    assert "--bands" in ended.err
