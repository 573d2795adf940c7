"""The files of a raster: what it is read from."""

from __future__ import annotations

from pathlib import Path

import pytest
from rasters import pixels, write_envi, write_tif

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.files import files_of


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
