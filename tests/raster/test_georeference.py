"""Where a raster lies: ENVI's map info, rotated, of other datums and in feet; ground control points and RPCs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from emrdiff_cli.raster.reading import ignoring_missing_georeference, read_info
from tests.support.front_door import Run
from tests.support.pairs import FINE
from tests.support.rasters import NORTH_UP, UTM33, pixels, write_envi, write_tif


def header(tmp_path: Path, map_info: str) -> Path:
    return write_envi(tmp_path / "a.bsq", pixels(8, 6, 5), fields={"map info": "{" + map_info + "}"})


@pytest.mark.parametrize("angle", [-150.0, 30.0, 90.0])
@pytest.mark.parametrize(("width", "height"), [(20.0, 20.0), (20.0, 10.0)])
@pytest.mark.parametrize(("col", "row"), [(1.0, 1.0), (4.0, 2.5)])
def test_a_rotated_map_info_turns_about_its_tie_pixel(
    tmp_path: Path, angle: float, width: float, height: float, col: float, row: float
) -> None:
    text = f"UTM, {col}, {row}, 500000, 5800000, {width}, {height}, 33, North, WGS-84, rotation={angle}"
    found = read_info(header(tmp_path, text)).grid.transform
    assert np.allclose(found @ (col - 1, row - 1), (500000, 5800000), atol=1e-6)
    turn = np.deg2rad(angle)
    over, down = np.array(found @ (1, 0)) - found @ (0, 0), np.array(found @ (0, 1)) - found @ (0, 0)
    assert np.allclose(over, [width * np.cos(turn), width * np.sin(turn)], atol=1e-6)
    assert np.allclose(down, [height * np.sin(turn), -height * np.cos(turn)], atol=1e-6)


def test_south_up_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = "UTM, 1, 3, 500000, 5800000, 20, 20, 33, North, WGS-84, rotation=180"
    found = read_info(header(tmp_path, text)).grid.transform
    assert found == Affine(20, 0, 500000, 0, 20, 5800000 - 40)


@pytest.mark.parametrize(
    ("datum", "crs"),
    [
        ("GDA94", "EPSG:28355"),
        ("GDA2020", "EPSG:7855"),
        ("D_GDA_1994", "EPSG:28355"),
        ("WGS-84", "EPSG:32755"),
        ("WGS 84", "EPSG:32755"),
        ("WGS-72", "EPSG:32355"),
        ("AGD66", "EPSG:20255"),
    ],
)
def test_the_datum_of_a_map_info_is_the_one_that_it_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, datum: str, crs: str
) -> None:
    text = f"UTM, 1, 1, 500000, 5800000, 20, 20, 55, South, {datum}, units=Meters"
    found = CRS.from_wkt(read_info(header(tmp_path, text)).grid.crs_wkt or "")
    assert found.geodetic_crs is not None
    wanted = CRS.from_string(crs)
    assert wanted.geodetic_crs is not None
    assert found.geodetic_crs.equals(wanted.geodetic_crs, ignore_axis_order=True)
    place = Transformer.from_crs(found, 4326, always_xy=True).transform(512345, 5801234)
    assert place == pytest.approx(
        Transformer.from_crs(wanted, 4326, always_xy=True).transform(512345, 5801234)
    )
    assert not [record for record in caplog.records if record.name.startswith("emrdiff_cli")]


@pytest.mark.parametrize("datum", ["ETRS89", "GDA94"])
def test_the_datum_of_longitudes(tmp_path: Path, datum: str) -> None:
    text = f"Geographic Lat/Lon, 1, 1, 10, 50, 0.01, 0.01, {datum}, units=Degrees"
    assert CRS.from_wkt(read_info(header(tmp_path, text)).grid.crs_wkt or "").name == datum


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("UTM, 1, 1, 500000, 5800000, 20, 20, 33, North, units=Meters", "names no datum"),
        ("UTM, 1, 1, 500000, 5800000, 20, 20, 33, North", "names no datum"),
        ("Geographic Lat/Lon, 1, 1, 10, 50, 0.01, 0.01", "names no datum"),
        ("UTM, 1, 1, 500000, 5800000, 20, 20, 33, North, Atlantis 3", "'Atlantis 3'"),
    ],
)
def test_no_datum_and_an_unknown_one_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    found = CRS.from_wkt(read_info(header(tmp_path, text)).grid.crs_wkt or "")
    assert found.geodetic_crs is not None
    assert found.geodetic_crs.name == "WGS 84"
    assert said in caplog.text
    assert "WGS 84" in caplog.text


@pytest.mark.parametrize(("datum", "epsg"), [("NAD 83", 2227), ("NAD 27", 26743)])
def test_state_planes_feet_are_us_survey_feet(tmp_path: Path, datum: str, epsg: int) -> None:
    text = f"State Plane ({datum}), 1, 1, 6000000, 2000000, 10, 10, 3326, units=Feet"
    found = CRS.from_wkt(read_info(header(tmp_path, text)).grid.crs_wkt or "")
    way = Transformer.from_crs(found, CRS.from_epsg(epsg), always_xy=True)
    assert way.transform(6000000, 2000000) == pytest.approx((6000000, 2000000), abs=0.01)


@pytest.mark.parametrize(
    "text",
    ["UTM,17.3, 34.6, 25, South, ETRS89", "UTM", "UTM, 1, 1, x, y, 20, 20, 33, North, ETRS89, rotation=30"],
)
def test_a_map_info_that_is_none_places_nothing(tmp_path: Path, text: str) -> None:
    found = read_info(header(tmp_path, text)).grid
    assert found.crs_wkt is None or not found.transform.is_identity
    assert "nan" not in str(found)


@pytest.mark.parametrize(
    "transform",
    [
        Affine(1e308, 0, 0, 0, -1e-320, 0),
        Affine(1e-320, 0, 0, 0, -1, 0),
        Affine(30, 0, np.inf, 0, -30, 0),
        Affine(1e308, 0, 1e308, 0, -1, 0),
    ],
)
def test_no_ground_has_such_pixels(emrdiff: Run, tmp_path: Path, transform: Affine) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2, 4, 5), transform=transform)
    ended = emrdiff("info", path, "--json")
    assert ended.code == 3
    assert "gdal_edit.py" in ended.err


def test_a_projected_crs_that_is_not_said_which_is_none(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2, 4, 5), crs='LOCAL_CS["unnamed",UNIT["metre",1]]')
    found = read_info(path).grid
    assert (found.crs_wkt, found.transform) == (None, NORTH_UP)


def test_control_points_of_no_numbers_are_none(emrdiff: Run, tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2, 4, 5), crs=None)
    points = [GroundControlPoint(r, c, np.inf, 5e6) for r in (0, 4) for c in (0, 5)]
    with ignoring_missing_georeference(), rasterio.open(path, "r+") as dataset:
        dataset.gcps = points, rasterio.CRS.from_string(UTM33)
    ended = emrdiff("info", path, "--json")
    assert ended.code == 0
    assert '"transform": null' in ended.out


def test_control_points_that_fit_an_affine_map_are_that_map(emrdiff: Run, tmp_path: Path) -> None:
    paths = []
    for name, bands, n, place in (("lr", 8, 16, NORTH_UP), ("msi", 3, 64, FINE)):
        path = tmp_path / f"{name}.tif"
        write_tif(path, pixels(bands, n, n), crs=None)
        points = [GroundControlPoint(r, c, *(place @ (c, r))) for r in (0, n / 2, n) for c in (0, n)]
        with ignoring_missing_georeference(), rasterio.open(path, "r+") as dataset:
            dataset.gcps = points, rasterio.CRS.from_string(UTM33)
        paths.append(path)
        info = read_info(path)
        assert info.grid.transform.almost_equals(place, precision=1e-6)
        assert info.grid.georeferenced
    ended = emrdiff("fuse", *paths, tmp_path / "out.tif", "--method", "glp", "--register", "off")
    assert ended.code == 0
    assert read_info(tmp_path / "out.tif").grid.transform.almost_equals(FINE, precision=1e-6)


def test_other_ways_of_placing_name_the_way_out(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = tmp_path / "lr.tif", write_tif(tmp_path / "msi.tif", pixels(3, 64, 64), transform=FINE)
    write_tif(lr, pixels(8, 16, 16), crs=None)
    bent = [
        GroundControlPoint(r, c, *(NORTH_UP @ (c + 0.01 * r * c, r))) for r in (0, 8, 16) for c in (0, 8, 16)
    ]
    with ignoring_missing_georeference(), rasterio.open(lr, "r+") as dataset:
        dataset.gcps = bent, rasterio.CRS.from_string(UTM33)
    ended = emrdiff("fuse", lr, msi, tmp_path / "out.tif", "--method", "glp")
    assert ended.code == 3
    assert "gdalwarp -tps" in ended.err
    write_tif(lr, pixels(8, 16, 16), crs=None)
    numbers = {f"{axis}_{part}_coeff": [1.0] * 20 for axis in ("line", "samp") for part in ("num", "den")}
    scales = {
        f"{name}_{what}": 1.0
        for name in ("lat", "long", "height", "line", "samp")
        for what in ("off", "scale")
    }
    with ignoring_missing_georeference(), rasterio.open(lr, "r+") as dataset:
        dataset.rpcs = RPC(**numbers, **scales)
    ended = emrdiff("fuse", lr, msi, tmp_path / "out.tif", "--method", "glp")
    assert ended.code == 3
    assert "gdalwarp -rpc" in ended.err
