"""The files of a raster: what it is read from, and what no command may take from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster
from tests.support.front_door import Run
from tests.support.rasters import NORTH_UP, pixels, read_back, write_envi, write_tif

WITH_WAVELENGTHS = {"wavelength units": "Nanometers", "wavelength": "{450, 558.4, 700}"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(emrdiff: Run, folder: Path, said: str, *arguments: object) -> None:
    """The command is refused in one line, exit code 2, and every file is as it was."""
    before = contents(folder)
    ended = emrdiff(*arguments)
    assert (ended.code, ended.out) == (2, ""), ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert contents(folder) == before


def write_pair(folder: Path) -> tuple[Path, Path]:
    fields = {"map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}"}
    lr = write_envi(folder / "scene.bsq", pixels(6, 10, 12), fields=fields)
    fine = NORTH_UP @ Affine.scale(1 / 4)
    return lr, write_tif(folder / "msi.tif", pixels(3, 40, 48), transform=fine)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    "name",
    ["scene.dat", "scene.bsq", "msi.tif", "scene.hdr"],
)
def test_fuse_replaces_no_file_of_its_inputs(
    emrdiff: Run, tmp_path: Path, name: str, dry: tuple[str, ...]
) -> None:
    pair = write_pair(tmp_path)
    driver = "ENVI" if name == "scene.dat" else "GTiff"
    usual = (*pair, tmp_path / name, "--method", "glp", "-f", driver, "--overwrite", *dry)
    refused(emrdiff, tmp_path, "is an input", "fuse", *usual)


def test_fuse_removes_no_header_of_its_inputs(emrdiff: Run, tmp_path: Path) -> None:
    usual = (*write_pair(tmp_path), tmp_path / "scene.dat", "--method", "glp", "--co", "SUFFIX=ADD")
    for more in ((), ("--overwrite",)):
        refused(emrdiff, tmp_path, "is an input", "fuse", *usual, *more)


def test_a_raster_that_is_no_input_keeps_its_header(emrdiff: Run, tmp_path: Path) -> None:
    usual = (*write_pair(tmp_path), tmp_path / "other.dat", "--method", "glp")
    other = write_envi(tmp_path / "other.bsq", pixels(2, 4, 5))
    for more in ((), ("--overwrite",), ("--co", "SUFFIX=ADD"), ("--co", "SUFFIX=ADD", "--overwrite")):
        refused(emrdiff, tmp_path, "other.hdr", "fuse", *usual, *more)
    (tmp_path / "other.hdr").rename(tmp_path / "other.bsq.hdr")
    # A header other.hdr would be taken before its own.
    refused(emrdiff, tmp_path, "other.hdr", "fuse", *usual, "--overwrite")
    assert emrdiff("fuse", *usual, "--co", "SUFFIX=ADD", "-q").code == 0
    assert read_back(other).tolist() == pixels(2, 4, 5).tolist()


def test_a_response_is_no_output(emrdiff: Run, tmp_path: Path) -> None:
    response = tmp_path / "srf.csv"
    response.write_text("wavelength_nm,a,b,c\n400,1,0,0\n500,0,1,0\n600,0,0,1\n")
    usual = (*write_pair(tmp_path), response, "--srf", response, "--method", "glp", "-f", "GTiff")
    refused(emrdiff, tmp_path, "is an input", "fuse", *usual, "--overwrite")


@pytest.mark.parametrize("name", ["a.bsq", "a.dat", "a.hdr"])
def test_convert_replaces_no_file_of_its_input(emrdiff: Run, tmp_path: Path, name: str) -> None:
    source = write_envi(tmp_path / "a.bsq", pixels(2, 4, 5))
    driver = "GTiff" if name == "a.hdr" else "ENVI"
    for given in (source, source.with_suffix(".hdr")):
        refused(
            emrdiff, tmp_path, "is an input", "convert", given, tmp_path / name, "-f", driver, "--overwrite"
        )


@pytest.mark.parametrize("source", ["lr_hsi.dat", "hr_msi.tif", "hr_msi.tif.msk"])
def test_simulate_replaces_no_file_of_its_source(emrdiff: Run, tmp_path: Path, source: str) -> None:
    cube = write_envi(tmp_path / "cube.dat", pixels(3, 8, 8), fields=WITH_WAVELENGTHS)
    if source.endswith(".dat"):
        for suffix in (".dat", ".hdr"):
            cube.with_suffix(suffix).rename(tmp_path / f"lr_hsi{suffix}")
    else:
        emrdiff("convert", cube, tmp_path / "a.tif", "-q")
        (tmp_path / "a.tif").rename(tmp_path / source)
    (tmp_path / "srf.csv").write_text("wavelength_nm,green\n500,1\n600,1\n")
    usual = ("--ratio", 2, "--srf", tmp_path / "srf.csv", "-f", "ENVI", "--overwrite")
    refused(emrdiff, tmp_path, "is an input", "simulate", tmp_path / source, tmp_path, *usual)


def test_stitch_replaces_no_tile_and_no_index(emrdiff: Run, tmp_path: Path) -> None:
    cube, tiles = write_tif(tmp_path / "cube.tif", pixels(2, 20, 20)), tmp_path / "tiles"
    assert emrdiff("tile", cube, tiles, "--size", 12, "--overlap", 4, "-q").code == 0
    for name in ("cube_r001_c001.tif", "index.geojson"):
        usual = ("stitch", tiles, tiles / name, "-f", "GTiff", "--overwrite")
        refused(emrdiff, tmp_path, "is an input", *usual)


def test_tile_neither_replaces_nor_removes_its_source(emrdiff: Run, tmp_path: Path) -> None:
    cube, tiles = write_tif(tmp_path / "cube.tif", pixels(2, 20, 20)), tmp_path / "tiles"
    assert emrdiff("tile", cube, tiles, "--size", 12, "--overlap", 4, "-q").code == 0
    first, usual = tiles / "cube_r000_c000.tif", ("--size", 8, "--overlap", 2, "--overwrite")
    refused(emrdiff, tmp_path, "is an input", "tile", first, tiles, *usual)
    refused(emrdiff, tmp_path, "is an input", "tile", cube, first, tiles, *usual)


def test_a_quicklook_replaces_no_file_of_its_raster(emrdiff: Run, tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "a.png", pixels(3, 20, 20))
    usual = ("quicklook", raster, "--bands", 1, "--overwrite")
    refused(emrdiff, tmp_path, "is an input", *usual, raster)


@pytest.mark.parametrize("name", ["a.tif", "a.tif.aux.xml", "a.tif.ovr", "b.hdr"])
def test_a_table_of_scores_is_appended_to_no_file_of_a_raster(
    emrdiff: Run, tmp_path: Path, name: str
) -> None:
    one = write_tif(tmp_path / "a.tif", pixels(2, 20, 20), crs=None)
    other = write_envi(tmp_path / "b.bsq", pixels(2, 20, 20))
    if not (tmp_path / name).exists():
        (tmp_path / name).touch()
    refused(emrdiff, tmp_path, "is an input", "evaluate", one, other, "--csv", tmp_path / name)


def test_files_of_a_geotiff_are_its_own_and_its_sidecars(tmp_path: Path) -> None:
    raster = write_tif(tmp_path / "cube.tif", pixels(2, 4, 5))
    write_envi(tmp_path / "cube.bsq", pixels(2, 4, 5))  # whose header lies beside the GeoTIFF too
    assert files_of(raster) == (raster,)
    for suffix in (".msk", ".aux.xml", ".ovr"):
        (tmp_path / f"cube.tif{suffix}").touch()
    assert files_of(raster) == (raster, tmp_path / "cube.tif.aux.xml", tmp_path / "cube.tif.msk")


def test_files_of_an_envi_raster_are_found_from_data_and_header_alike(tmp_path: Path) -> None:
    raster = write_envi(tmp_path / "cube.dat", pixels(2, 4, 5))
    header = tmp_path / "cube.hdr"
    assert files_of(raster) == files_of(header) == (raster, header)
    header.rename(tmp_path / "cube.dat.hdr")
    assert files_of(raster) == files_of(tmp_path / "cube.dat.hdr") == (raster, tmp_path / "cube.dat.hdr")


def test_what_is_no_raster_has_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        files_of(tmp_path / "none.tif")


def test_a_link_is_read_with_the_files_of_its_raster(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    masked = write_tif(tmp_path / "masked.tif", pixels(2, 4, 5))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(np.eye(4, 5, dtype=bool))
    cube = write_envi(tmp_path / "cube.bsq", pixels(2, 4, 5))
    for file in (masked, cube, cube.with_suffix(".hdr")):
        (work / f"a_{file.name}").symlink_to(file)
    with open_raster(work / "a_masked.tif") as reader:
        assert np.array_equal(np.isfinite(reader.read()[1]), np.eye(4, 5, dtype=bool))
    (work / "a_cube.hdr").rename(work / "b.hdr")
    for name in ("a_cube.bsq", "b.hdr"):
        with open_raster(work / name) as reader:
            assert np.array_equal(reader.read(), pixels(2, 4, 5))
    assert files_of(work / "b.hdr") == (cube, cube.with_suffix(".hdr"))
    assert caplog.text == ""
    (work / "a_masked.tif.aux.xml").write_text("<PAMDataset/>")
    with open_raster(work / "a_masked.tif"):
        assert "a link to" in caplog.text
        assert "whose .msk it does not have" in caplog.text
