"""STAC items beside rasters: fields by the specification's and the extensions' schemas, places worked by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import rasterio
from affine import Affine

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.acquisition import acquired_in, parse_span
from emrdiff_cli.raster.footprint import footprint
from emrdiff_cli.raster_info import Grid
from tests.support.front_door import Run
from tests.support.pairs import write_pair

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
NUMBER = (int, float)
FIELDS: dict[str, type | tuple[type, ...]] = {
    "eo:center_wavelength": NUMBER,
    "eo:full_width_half_max": NUMBER,
    "hsi:wavelength_min": NUMBER,
    "hsi:wavelength_max": NUMBER,
    "proj:bbox": list,
    "proj:code": (str, type(None)),
    "proj:shape": list,
    "proj:transform": list,
    "proj:wkt2": str,
    "raster:offset": NUMBER,
    "raster:sampling": str,
    "raster:scale": NUMBER,
}
"""Fields of the extensions (eo, projection and raster 2.0, hsi 1.0) that are written, by their schemas' types."""
DAY = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 2, tzinfo=UTC) - timedelta(microseconds=1)


def item(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def check_extensions(found: dict[str, Any]) -> None:
    """Hold an item's fields against the schemas of its extensions, which refuse fields that they do not know."""
    described = [found["properties"], *found["assets"].values()]
    described += [band for asset in found["assets"].values() for band in asset.get("bands", ())]
    used = {name.partition(":")[0] for fields in described for name in fields if ":" in name} - {"emrdiff"}
    declared = {schema.split("/")[3] for schema in found["stac_extensions"]}
    assert {"projection" if prefix == "proj" else prefix for prefix in used} == declared
    for fields in described:
        for name, value in fields.items():
            if ":" in name and not name.startswith("emrdiff:"):
                assert isinstance(value, FIELDS[name]), name


def grid(crs: str, transform: Affine, height: int = 200, width: int = 100) -> Grid:
    return Grid(height, width, transform, rasterio.CRS.from_string(crs).to_wkt())


def test_fuse_describes_all_that_it_writes(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 32, 32)
    out, beside = tmp_path / "out.tif", tmp_path / "out.stac.json"
    asked = ("fuse", lr, msi, out, "--method", "glp", "--changed", tmp_path / "changed.tif", "--stac")
    untold = emrdiff(*asked, "auto")
    assert untold.code == 3
    assert "give the day or time" in untold.err
    assert not out.exists()
    assert emrdiff(*asked, "2024-06-01").code == 0
    found = item(beside)
    check_extensions(found)
    with rasterio.open(out) as fused:
        tags = [fused.tags(band) for band in fused.indexes]
        assert found["properties"]["proj:transform"] == list(fused.transform)[:6]
        assert found["properties"]["proj:shape"] == [fused.height, fused.width]
        assert found["properties"]["proj:bbox"] == list(fused.bounds)
        assert found["properties"]["proj:code"] == f"EPSG:{fused.crs.to_epsg()}"
        nodata = fused.nodata
    asset = found["assets"]["data"]
    assert (found["type"], found["stac_version"], found["id"]) == ("Feature", "1.1.0", "out")
    assert found["properties"]["datetime"] is None
    assert found["properties"]["start_datetime"] == "2024-06-01T00:00:00Z"
    assert found["properties"]["end_datetime"] == "2024-06-01T23:59:59.999999Z"
    assert found["properties"]["emrdiff:method"] == "glp"
    assert (asset["href"], asset["roles"], asset["nodata"]) == ("./out.tif", ["data"], nodata)
    assert found["assets"]["changed"]["href"] == "./changed.tif"
    assert [f"{band['eo:center_wavelength'] * 1000:g}" for band in asset["bands"]] == [
        known["wavelength"] for known in tags
    ]
    assert [band["statistics"]["mean"] for band in asset["bands"]] == [
        float(known["STATISTICS_MEAN"]) for known in tags
    ]
    assert [band["emrdiff:detail"] for band in asset["bands"]] == [known["emrdiff_detail"] for known in tags]
    kept = beside.read_bytes()
    assert emrdiff(*asked, "2024-06-02").code != 0
    assert beside.read_bytes() == kept
    out.unlink()
    again = emrdiff("fuse", lr, msi, out, "--method", "glp", "--stac", "2024-06-02")
    assert again.code != 0
    assert not out.exists()


@pytest.mark.parametrize(("name", "kind"), [("b.tif", "GTiff"), ("b.tif", "COG"), ("b.bsq", "ENVI")])
def test_convert_takes_the_time_from_the_tags(emrdiff: Run, tmp_path: Path, name: str, kind: str) -> None:
    lr, _ = write_pair(tmp_path, 32, 32)
    with rasterio.open(lr, "r+") as dataset:
        dataset.update_tags(acquisition_time="2024-06-01T14:00:00+02:00")
    assert emrdiff("convert", lr, tmp_path / name, "-f", kind, "--stac", "auto").code == 0
    found = item(tmp_path / "b.stac.json")
    check_extensions(found)
    assert found["properties"]["datetime"] == "2024-06-01T12:00:00Z"
    assert all((tmp_path / asset["href"]).is_file() for asset in found["assets"].values())
    assert ("cloud-optimized" in found["assets"]["data"]["type"]) == (kind == "COG")
    assert ("header" in found["assets"]) == (kind == "ENVI")
    assert not list(tmp_path.glob("*.aux.xml"))


def test_an_item_of_what_was_replaced_is_named(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 32, 32)
    out, beside = tmp_path / "out.tif", tmp_path / "out.stac.json"
    first = emrdiff("convert", lr, out, "--stac", "2024-06-01")
    assert (first.code, "before" in first.err) == (0, False)
    kept = beside.read_bytes()
    for again in (("convert", lr, out), ("fuse", lr, msi, out, "--method", "bicubic")):
        other = emrdiff(*again, "--overwrite")
        assert other.code == 0
        assert "out.stac.json: describes what out.tif was before: write it anew by --stac" in other.err
        assert beside.read_bytes() == kept


def test_json_in_a_strangers_tags_is_read_or_stays_text(emrdiff: Run, tmp_path: Path) -> None:
    lr, _ = write_pair(tmp_path, 32, 32)
    deep = ['{"a":' * depth + "1" + "}" * depth for depth in (400, 900, 20_000)]
    told = {f"emrdiff_deep_{number}": text for number, text in enumerate(deep)}
    with rasterio.open(lr, "r+") as dataset:
        dataset.update_tags(**told, emrdiff_evidence='{"db": 1e999, "error": NaN, "n": 2}', emrdiff_cut="{")
    assert emrdiff("convert", lr, tmp_path / "out.tif", "--stac", "2024-06-01").code == 0
    text = (tmp_path / "out.stac.json").read_text()
    assert '"emrdiff:cut": "{"' in text
    assert all(f'"emrdiff:deep_{number}"' in text for number in range(3))
    with rasterio.open(lr, "r+") as dataset:
        dataset.update_tags(**dict.fromkeys(told, ""))
    assert emrdiff("convert", lr, tmp_path / "b.tif", "--stac", "2024-06-01").code == 0
    found = item(tmp_path / "b.stac.json")
    assert found["properties"]["emrdiff:evidence"] == {"db": None, "error": None, "n": 2}


def test_stitch_describes_the_whole(emrdiff: Run, tmp_path: Path) -> None:
    lr, _ = write_pair(tmp_path, 128, 96)
    assert emrdiff("tile", lr, tmp_path / "tiles", "--size", 16, "--overlap", 4, "-q").code == 0
    stitched = emrdiff(
        "stitch", tmp_path / "tiles", tmp_path / "a b.tif", "-q", "--stac", "2024-06-01T12:00:00Z"
    )
    assert stitched.code == 0
    found = item(tmp_path / "a b.stac.json")
    with rasterio.open(lr) as dataset:
        assert found["properties"]["proj:shape"] == [dataset.height, dataset.width]
    assert (found["properties"]["datetime"], found["assets"]["data"]["href"]) == (
        "2024-06-01T12:00:00Z",
        "./a%20b.tif",
    )


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"acquisition time": "2024-06-01T12:00:00Z"}, (NOON, NOON)),
        ({"acquisition time": "20240601T140000.0+0200"}, (NOON, NOON)),
        ({"sensing_date": "2024/06/01 12:00"}, (NOON, NOON)),
        ({"acquisition_date": "2024-06-01"}, DAY),
        ({"acquisition_date": "2024-06-01", "acquisition_time": "2024-06-01T12:00:00Z"}, (NOON, NOON)),
        ({"acquisition_date": "2024-06-01T99:00:00Z"}, DAY),
        ({"TIFFTAG_DATETIME": "2024:06:01 12:00:00"}, None),
    ],
)
def test_times_in_tags(tags: dict[str, str], expected: tuple[datetime, datetime] | None) -> None:
    assert acquired_in(tags) == expected


def test_times_of_a_user() -> None:
    assert parse_span("2024-06-01") == parse_span("20240601") == DAY
    assert parse_span("2024-06-01T12:00:00") == parse_span("2024-06-01T14:00:00+02:00") == (NOON, NOON)
    assert parse_span("2024-06-01T12:00:00Z/2024-06-01") == (NOON, DAY[1])
    for wrong in ("yesterday", "2024-06-02/2024-06-01", "2024-13-01", "", "0001-01-01T00:00+05:00"):
        with pytest.raises(UsageError, match="--stac"):
            parse_span(wrong)


def test_ground_across_the_antimeridian_is_in_two_parts() -> None:
    found = footprint(grid("EPSG:4326", Affine(0.1, 0, 175, 0, -0.1, 20)))
    assert found is not None
    assert found.bbox == [175, 0, -175, 20]
    (west,), (east,) = found.geometry["coordinates"]
    assert {x for x, _ in west} >= {175, 180}
    assert {x for x, _ in east} >= {-180, -175}
    for ring in (west, east):
        assert ring[0] == ring[-1]
        assert sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) == (pytest.approx(2 * 5 * 20))


@pytest.mark.parametrize(("crs", "box"), [("EPSG:3031", (-90, -88)), ("EPSG:3413", (88, 90))])
def test_ground_around_a_pole_has_all_longitudes(crs: str, box: tuple[int, int]) -> None:
    found = footprint(grid(crs, Affine(1000, 0, -1e5, 0, -1000, 1e5)))
    assert found is not None
    west, south, east, north = found.bbox
    assert (west, east) == (-180, 180)
    assert box[0] <= south < north <= box[1]


def test_longitudes_counted_from_0_to_360_and_no_place_at_all() -> None:
    found = footprint(grid("EPSG:4326", Affine(0.1, 0, 355, 0, -0.1, 20)))
    assert found is not None
    assert found.bbox == [-5, 0, 5, 20]
    assert footprint(Grid(5, 5, Affine.identity())) is None
