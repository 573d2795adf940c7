"""`emrdiff info`: the same facts as text and as JSON, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from emrdiff_cli.cli.app import app
from tests.support.front_door import Run
from tests.support.rasters import pixels, write_envi, write_tif

FIELDS = {
    "wavelength units": "Micrometers",
    "wavelength": "{0.45, 0.5584, 0.7, 0.8}",
    "fwhm": "{0.0051, 0.0052, 0.0053, 0.0054}",
    "bbl": "{0, 0, 1, 0}",
    "band names": "{B, G, R, N}",
    "data ignore value": "-99",
    "reflectance scale factor": "10000",
    "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
}


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    return write_envi(tmp_path / "cube.bsq", pixels(4, 5, 6), fields=FIELDS)


def run(*arguments: object) -> str:
    ended = CliRunner().invoke(app, ["info", *map(str, arguments)], catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.stdout


def test_text(cube: Path) -> None:
    lines = dict(line.split(maxsplit=1) for line in run(cube).splitlines())
    assert lines["Size"] == "5 rows x 6 columns x 4 bands, int16"
    assert lines["CRS"] == "WGS 84 / UTM zone 33N (EPSG:32633)"
    assert lines["Bounds"] == "383472.37, 5818152.35, 383652.37, 5818302.35"
    assert lines["Wavelengths"] == "450 to 800 nm"
    assert lines["FWHM"] == "5.1 to 5.4 nm"
    assert lines["Bad"] == "bands    1-2, 4"
    assert lines["Nodata"] == "-99"
    assert lines["Scale"] == "stored value x 0.0001"


def test_json(cube: Path) -> None:
    facts = json.loads(run(cube.with_suffix(".hdr"), "--json"))
    assert facts["path"] == str(cube)
    assert (facts["height"], facts["width"], facts["bands"], facts["dtype"]) == (5, 6, 4, "int16")
    assert facts["epsg"] == 32633
    assert facts["transform"] == [30, 0, 383472.37, 0, -30, 5818302.35]
    assert facts["pixel_size"] == [30, 30]
    assert facts["wavelengths_nm"] == [450, 558.4, 700, 800]
    assert facts["fwhm_nm"] == [5.1, 5.2, 5.3, 5.4]
    assert facts["bad_bands"] == [1, 2, 4]
    assert facts["band_names"] == ["B", "G", "R", "N"]
    assert (facts["nodata"], facts["scale"], facts["scale_recorded"]) == (-99, 1e-4, True)


def test_raster_that_states_nothing(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(1, 2, 3), crs=None)
    assert "none" in run(path)
    facts = json.loads(run(path, "--json"))
    assert facts["crs"] is facts["transform"] is facts["nodata"] is facts["wavelengths_nm"] is None


def test_nan_nodata_is_valid_json(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(1, 2, 3, "float32"), nodata=np.nan)
    assert json.loads(run(path, "--json"))["nodata"] == "nan"


def test_rotated_pixels_are_measured_along_their_sides(tmp_path: Path) -> None:
    turned = rasterio.Affine.rotation(30) @ rasterio.Affine.scale(3, -2)
    path = write_tif(tmp_path / "a.tif", pixels(1, 2, 3), transform=turned)
    assert json.loads(run(path, "--json"))["pixel_size"] == pytest.approx([3, 2])


def test_missing_file_is_one_line_and_exit_3(emrdiff: Run, tmp_path: Path) -> None:
    ended = emrdiff("info", tmp_path / "none.tif")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == f"Error: {tmp_path / 'none.tif'}: no such file\n"


def test_info_and_tiling_never_import_torch() -> None:
    code = (
        "import sys, emrdiff_cli.report.inspection, emrdiff_cli.tiles.tiles; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
