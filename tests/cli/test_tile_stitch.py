"""`emrdiff tile` and `emrdiff stitch` from the shell: the products reopened, exit codes, signals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import spectral
from affine import Affine
from typer.testing import CliRunner

from emrdiff_cli.cli.app import app
from tests.support.front_door import Run, error_lines, in_a_process
from tests.support.rasters import NORTH_UP, pixels, read_back, write_envi, write_tif

FIELDS = {
    "wavelength units": "Nanometers",
    "wavelength": "{450, 558.4, 700}",
    "data ignore value": "-99",
    "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
}


def run(*arguments: object) -> str:
    ended = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == ""
    return ended.stderr


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    return write_envi(tmp_path / "cube.bil", pixels(3, 40, 33), interleave="bil", fields=FIELDS)


def test_round_trip(tmp_path: Path, cube: Path) -> None:
    run("tile", cube, tmp_path / "tiles", "--size", 16, "--overlap", 5)
    run("stitch", tmp_path / "tiles", tmp_path / "out.tif")
    run("stitch", tmp_path / "tiles", tmp_path / "out.bsq", "-f", "ENVI", "-q")
    for name in ("out.tif", "out.bsq"):
        np.testing.assert_array_equal(read_back(tmp_path / name), pixels(3, 40, 33))
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.crs.to_epsg() == 32633
            assert dataset.transform.almost_equals(NORTH_UP)
            assert dataset.nodata == -99
    header = spectral.envi.open(str(tmp_path / "out.hdr"), str(tmp_path / "out.bsq"))
    assert header.bands.centers == [450, 558.4, 700]


@pytest.mark.parametrize("order", ["bsq", "bil", "bip"])
def test_an_envi_file_is_stored_in_the_order_of_its_name(tmp_path: Path, cube: Path, order: str) -> None:
    run("tile", cube, tmp_path / "tiles", "--size", 16, "--overlap", 5, "-q")
    run("stitch", tmp_path / "tiles", tmp_path / f"out.{order}", "-q")
    header = spectral.envi.open(str(tmp_path / "out.hdr"), str(tmp_path / f"out.{order}"))
    assert header.metadata["interleave"] == order
    np.testing.assert_array_equal(np.asarray(header.load(scale=False)), np.moveaxis(pixels(3, 40, 33), 0, 2))
    np.testing.assert_array_equal(read_back(tmp_path / f"out.{order}"), pixels(3, 40, 33))


@pytest.mark.parametrize("name", ["out.png", "out.mat", "out.NC"])
def test_a_name_of_another_kind_of_file_is_refused(
    emrdiff: Run, tmp_path: Path, cube: Path, name: str
) -> None:
    run("tile", cube, tmp_path / "tiles", "-q")
    ended = emrdiff("stitch", tmp_path / "tiles", tmp_path / name)
    assert (ended.code, len(error_lines(ended))) == (2, 1)
    assert "GeoTIFF (out.tif) and ENVI (out.bsq) can be written" in ended.err
    assert not (tmp_path / name).exists()


def test_pair(tmp_path: Path, cube: Path) -> None:
    fine = NORTH_UP @ Affine.scale(1 / 3)
    msi = write_tif(tmp_path / "msi.tif", pixels(2, 120, 99, "uint16"), transform=fine)
    run("tile", cube, msi, tmp_path / "tiles", "--size", 48, "--overlap", 12, "-q")
    run("stitch", tmp_path / "tiles", tmp_path / "out.tif", "--raster", "msi", "-q")
    np.testing.assert_array_equal(read_back(tmp_path / "out.tif"), read_back(msi))


def test_progress_goes_to_stderr_unless_quiet(tmp_path: Path, cube: Path) -> None:
    assert "12/12" in run("tile", cube, tmp_path / "tiles", "--size", 16, "--overlap", 5)
    assert run("stitch", tmp_path / "tiles", tmp_path / "out.tif", "--quiet") == ""


@pytest.mark.parametrize("command", ["tile", "stitch", "info"])
def test_help_has_examples(command: str) -> None:
    ended = CliRunner().invoke(app, [command, "--help"])
    assert "Examples" in ended.stdout
    assert f"emrdiff {command} " in ended.stdout


def test_errors_are_one_line_with_their_exit_codes(
    emrdiff: Run, tmp_path: Path, cube: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tiles, output = tmp_path / "tiles", tmp_path / "out.tif"
    run("tile", cube, tiles, "--size", 16, "--overlap", 5, "-q")
    run("stitch", tiles, output, "-q")
    capfd.readouterr()
    for code, said, *arguments in (
        (2, "--overwrite", "stitch", tiles, output),
        (2, "--overwrite", "tile", cube, tiles),
        (2, "below the size", "tile", cube, tmp_path / "other", "--size", 8, "--overlap", 8),
        (3, "no such file", "tile", tmp_path / "none", tmp_path / "other"),
        (3, "no such file", "stitch", tmp_path, tmp_path / "b.tif"),
        (4, "no such folder", "stitch", tiles, tmp_path / "none" / "b.tif"),
        (4, "cannot be made", "tile", cube, cube / "tiles"),
    ):
        ended = emrdiff(*arguments)
        assert (ended.code, ended.out) == (code, "")
        (line,) = ended.err.splitlines()
        assert said in line


@pytest.mark.parametrize(("name", "driver"), [("out.tif", "GTiff"), ("out.img", "ENVI")])
def test_full_disk_is_exit_4_and_the_old_output_stays(
    tmp_path: Path, cube: Path, name: str, driver: str
) -> None:
    tiles, output = tmp_path / "tiles", tmp_path / name
    run("tile", cube, tiles, "--size", 16, "--overlap", 5, "-q")
    run("stitch", tiles, output, "-f", driver, "-q")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("out*")}
    ended = in_a_process("stitch", tiles, output, "-f", driver, "--overwrite", "-q", limit=600)
    assert (ended.code, ended.out) == (4, "")
    (line,) = error_lines(ended)
    assert "disk full" in line
    assert {path.name: path.read_bytes() for path in tmp_path.glob("out*")} == before
    assert not list(tmp_path.glob(".*"))
