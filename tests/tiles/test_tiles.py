"""Tiling as a use case: exact round trips, pairs on LR pixels, processed tiles, damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import align
from emrdiff_cli.errors import EmrdiffError, GridError, InputError, OutputExistsError, UsageError
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from emrdiff_cli.tiles.index import INDEX_NAME, TiledRaster, read_index
from emrdiff_cli.tiles.tiles import cut, stitch
from tests.support.rasters import NORTH_UP, UTM33, pixels, read_back, write_envi, write_tif

WKT = rasterio.CRS.from_string(UTM33).to_wkt()


def silent(done: float, total: float, note: str) -> None:
    assert 0 < done <= total


def tile(*rasters: Path, into: Path, size: int = 16, overlap: int = 5, overwrite: bool = False) -> Path:
    cut(rasters, into, size=size, overlap=overlap, overwrite=overwrite, report=silent)
    return into


def join(folder: Path, output: Path, **options: Any) -> Path:
    stitch(folder, output, report=silent, **options)
    return output


def write_like(path: Path, values: NDArray[Any], spec: RasterSpec) -> Path:
    with VerifiedWriter(path, replace(spec, dtype=values.dtype.name), overwrite=True) as writer:
        writer.append_stored(values)
    return path


def assert_same_raster(path: Path, original: Path) -> None:
    ours, theirs = read_info(path), read_info(original)
    np.testing.assert_equal(ours.nodata, theirs.nodata)
    strip: dict[str, Any] = {"path": original, "driver": "", "nodata": None}
    assert replace(ours, **strip) == replace(theirs, **strip)
    assert read_back(path).tobytes() == read_back(original).tobytes()


FULL = RasterSpec(
    Grid(40, 33, NORTH_UP, WKT),
    Bands(3, (450.5, 558.4, 2400.125), (5.1, 5.2, 5.3), (True, False, True), ("Blue", "Green", "SWIR")),
    "int16",
    nodata=-99.0,
    scale=1e-4,
    scale_recorded=True,
    tags={"acquisition_time": "2020-06-01T10:00:00Z"},
)


INTEGERS = ("uint8", "int16", "uint16", "int32", "uint32", "int64")
KINDS = [(dtype, nodata) for dtype in INTEGERS for nodata in (None, 7.0)]
KINDS += [(dtype, nodata) for dtype in ("float32", "float64") for nodata in (None, 7.0, float("nan"))]


@pytest.mark.parametrize(("dtype", "nodata"), KINDS)
def test_tile_then_stitch_is_the_identity(tmp_path: Path, dtype: str, nodata: float | None) -> None:
    rng = np.random.default_rng(1)
    if dtype[0] == "f":
        values = rng.normal(size=(3, 40, 33)).astype(dtype)
        values[0, 3:20, 5:9] = np.nan
        values[1, :, 14] = np.inf
        values[1, 7] = -0.0
    else:
        reach = np.iinfo(dtype)
        values = rng.integers(
            max(reach.min, -(2**53)), min(reach.max, 2**53), (3, 40, 33), dtype, endpoint=True
        )
    if nodata == 7:
        values[2, 10:30, 8:20] = 7
        values[:, rng.random((40, 33)) < 0.2] = 7
    original = write_like(tmp_path / "a.tif", values, replace(FULL, dtype=dtype, nodata=nodata))
    output = join(tile(original, into=tmp_path / "tiles", size=24), tmp_path / "out.tif")
    assert_same_raster(output, original)


@pytest.mark.slow
@given(st.integers(1, 45), st.integers(1, 45), st.integers(1, 50), st.data())
@settings(deadline=None, max_examples=20)
def test_any_tiling_is_undone(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, size: int, data: st.DataObject
) -> None:
    size = max(size, (height + width) // 8)  # keeps the count of files down
    overlap = data.draw(st.integers(0, size // 2))
    folder = tmp_path_factory.mktemp("any")
    original = write_tif(folder / "a.tif", pixels(2, height, width), nodata=5)
    output = join(
        tile(original, into=folder / "tiles", size=size, overlap=min(overlap, size - 1)), folder / "o.tif"
    )
    assert_same_raster(output, original)


def test_envi_in_and_out(tmp_path: Path) -> None:
    values = pixels(3, 40, 33)
    original = write_like(tmp_path / "cube.bsq", values, replace(FULL, driver="ENVI"))
    tiles = tile(original.with_suffix(".hdr"), into=tmp_path / "tiles")
    assert_same_raster(join(tiles, tmp_path / "out.img", driver="ENVI"), original)
    assert_same_raster(join(tiles, tmp_path / "out.tif"), original)


def test_without_georeference(tmp_path: Path) -> None:
    original = write_envi(tmp_path / "plain", pixels(2, 40, 33))
    tiles = tile(original, into=tmp_path / "tiles")
    assert_same_raster(join(tiles, tmp_path / "out.tif"), original)
    index = json.loads((tiles / INDEX_NAME).read_text())
    assert {feature["geometry"] for feature in index["features"]} == {None}


def test_tiles_lie_where_their_pixels_lay(tmp_path: Path) -> None:
    original = write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL)
    folder = tile(original, into=tmp_path / "tiles")
    raster = read_index(folder / INDEX_NAME)["a"]
    assert len(raster.tiles) == 4 * 3
    for entry in raster.tiles:
        info = read_info(folder / entry.file)
        assert (info.grid.height, info.grid.width) == (16, 16)
        corner = ~NORTH_UP @ (info.grid.transform @ (0, 0))
        np.testing.assert_allclose(corner, (entry.window.col, entry.window.row), atol=1e-6)
        expected = pixels(3, 40, 33)[:, entry.window.rows, entry.window.cols]
        np.testing.assert_array_equal(read_back(folder / entry.file), expected)
        assert (info.bands, info.scale, info.nodata) == (FULL.bands, FULL.scale, FULL.nodata)


@pytest.mark.parametrize(
    "turned", [Affine.identity(), Affine.scale(1, -1), Affine.scale(-1, 1), Affine.rotation(90)]
)
def test_index_is_geojson_in_longitude_and_latitude(tmp_path: Path, turned: Affine) -> None:
    placed = replace(FULL, grid=Grid(40, 33, NORTH_UP @ turned, WKT))
    original = write_like(tmp_path / "a.tif", pixels(3, 40, 33), placed)
    index = json.loads((tile(original, into=tmp_path / "tiles") / INDEX_NAME).read_text())
    assert index["type"] == "FeatureCollection"
    assert "crs" not in index  # RFC 7946: always WGS 84
    for feature in index["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        assert all(13 < lon < 14 and 52 < lat < 53 for lon, lat in ring)
        area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))
        assert area > 0  # counterclockwise
        assert (tmp_path / "tiles" / feature["properties"]["file"]).exists()


def pair(folder: Path, ratio: float, shift: float = 0.0) -> tuple[Path, Path]:
    """An LR raster of 12 x 10 pixels and an HR one from `shift` HR pixels inside its corner on."""
    hr_size = (round(12 * ratio), round(10 * ratio))
    lr = write_tif(folder / "lr.tif", pixels(5, 12, 10), transform=NORTH_UP, nodata=-99)
    fine = NORTH_UP @ Affine.scale(1 / ratio) @ Affine.translation(shift, shift)
    return lr, write_tif(folder / "hr.tif", pixels(2, *hr_size, "uint16"), transform=fine)


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "shift"), [(1.0, 0), (3.0, 0), (4.0, 5.3), (25 / 3, 0.72), (2.5, -3)])
def test_pair_is_cut_at_whole_lr_pixels_and_stitched_back(tmp_path: Path, ratio: float, shift: float) -> None:
    lr, hr = pair(tmp_path, ratio, shift)
    size, overlap = round(5 * ratio), round(1.2 * ratio)
    folder = tile(hr, lr, into=tmp_path / "tiles", size=size, overlap=overlap)
    index = read_index(folder / INDEX_NAME)
    common = align(read_info(lr).grid, read_info(hr).grid)
    for coarse, fine in zip(index["lr"].tiles, index["hr"].tiles, strict=True):
        grids = [read_info(folder / entry.file).grid for entry in (coarse, fine)]
        place = align(*grids)
        assert (place.lr_window.height, place.lr_window.width) == coarse.window[2:]
        assert (place.hr_window.height, place.hr_window.width) == fine.window[2:]
        assert max(fine.window[2:]) <= size + 1
    for name, path, area in (("lr", lr, common.lr_window), ("hr", hr, common.hr_window)):
        output = join(folder, tmp_path / f"{name}_out.tif", raster=name)
        np.testing.assert_array_equal(read_back(output), read_back(path)[:, area.rows, area.cols])


def test_pair_without_georeference_needs_an_exact_ratio(tmp_path: Path) -> None:
    lr = write_tif(tmp_path / "lr.tif", pixels(5, 12, 10), crs=None)
    hr = write_tif(tmp_path / "hr.tif", pixels(2, 36, 30), crs=None)
    folder = tile(lr, hr, into=tmp_path / "tiles", size=12, overlap=3)
    assert_same_raster(join(folder, tmp_path / "out.tif", raster="hr"), hr)
    odd = write_tif(tmp_path / "odd.tif", pixels(2, 36, 31), crs=None)
    with pytest.raises(GridError, match="no exact ratio"):
        tile(lr, odd, into=tmp_path / "other")
    placed = write_tif(tmp_path / "placed.tif", pixels(2, 36, 30))
    with pytest.raises(GridError, match=r"lr\.tif has no CRS but placed\.tif has"):
        tile(lr, placed, into=tmp_path / "other")


def test_pairs_that_cannot_be_cut(tmp_path: Path) -> None:
    lr, hr = pair(tmp_path, 4.0)
    other = write_tif(tmp_path / "other.tif", pixels(2, 36, 30), crs="EPSG:32634")
    with pytest.raises(GridError, match=r"lr\.tif and other\.tif: they differ in CRS"):
        tile(lr, other, into=tmp_path / "tiles")
    with pytest.raises(UsageError, match="at least 12"):
        tile(lr, hr, into=tmp_path / "tiles", size=8, overlap=7)
    with pytest.raises(UsageError, match="3 rasters"):
        tile(lr, hr, other, into=tmp_path / "tiles")
    assert not (tmp_path / "tiles").exists()


def test_same_names_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    lr = write_tif(tmp_path / "x" / "a.tif", pixels(5, 12, 10))
    hr = write_tif(tmp_path / "a.tif", pixels(2, 36, 30), transform=NORTH_UP @ Affine.scale(1 / 3))
    assert set(read_index(tile(lr, hr, into=tmp_path / "tiles") / INDEX_NAME)) == {"a-1", "a-2"}


def process(folder: Path, change: Callable[[NDArray[Any], int], NDArray[Any]], **spec: Any) -> None:
    """Rewrite all tiles of a folder, as a user's own tool would."""
    for count, path in enumerate(sorted(folder.glob("*.tif"))):
        info = read_info(path)
        values = change(read_back(path), count)
        bands = Bands(values.shape[0])
        like = RasterSpec.like(info, dtype=values.dtype.name, bands=bands, tags={}, **spec)
        write_like(path, values, like)


def test_processed_tiles_keep_their_own_bands_and_dtype(tmp_path: Path) -> None:
    original = write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL)
    folder = tile(original, into=tmp_path / "tiles")
    process(folder, lambda values, _: (values[:2] / 3).astype("float32"), nodata=None)
    output = join(folder, tmp_path / "out.tif")
    assert read_info(output).grid == read_info(original).grid
    assert read_info(output).dtype == "float32"
    np.testing.assert_array_equal(read_back(output), (pixels(3, 40, 33)[:2] / 3).astype("float32"))


def test_tiles_that_differ_are_blended_without_a_step_and_holes_take_no_part(tmp_path: Path) -> None:
    original = write_tif(tmp_path / "a.tif", pixels(1, 16, 27), nodata=0)
    folder = tile(original, into=tmp_path / "tiles")

    def level(values: NDArray[Any], count: int) -> NDArray[Any]:
        flat = np.full_like(values, 100 + 100 * count)
        if count:
            flat[:, 0] = 0
        return flat

    process(folder, level, nodata=0)
    stitched = read_back(join(folder, tmp_path / "out.tif"))[0]
    assert (stitched[1:, :11] == 100).all()
    assert (stitched[1:, 16:] == 200).all()
    assert (np.diff(stitched[1, 10:17]) > 0).all()
    assert (stitched[0, :16] == 100).all()
    assert (stitched[0, 16:] == 0).all()


def test_blend_of_valid_values_is_never_nodata(tmp_path: Path) -> None:
    original = write_tif(tmp_path / "a.tif", pixels(1, 4, 7), nodata=100)
    folder = tile(original, into=tmp_path / "tiles", size=4, overlap=1)
    process(folder, lambda values, count: np.full_like(values, 98 + 4 * count), nodata=100)
    assert read_back(join(folder, tmp_path / "out.tif"))[0, 0].tolist() == [98, 98, 98, 101, 102, 102, 102]


def test_integers_that_float64_cannot_hold_are_refused(tmp_path: Path) -> None:
    original = write_tif(tmp_path / "a.tif", np.full((1, 20, 20), 2**60, "int64"))
    with pytest.raises(InputError, match="2\\^53"):
        join(tile(original, into=tmp_path / "tiles"), tmp_path / "out.tif")


Damage = Callable[[Path, Path, Path], object]  # of the first tile, the second and the index


def swap(first: Path, second: Path, _index: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def store_as_bytes(_first: Path, second: Path, _index: Path) -> None:
    spec = replace(RasterSpec.like(read_info(second)), nodata=None)
    write_like(second, pixels(3, 16, 16, "uint8"), spec)


def in_the_index(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(_first: Path, _second: Path, index: Path) -> None:
        document = json.loads(index.read_text())
        change(document)
        index.write_text(json.dumps(document))

    return damage


def of_the_raster(**changed: object) -> Damage:
    return in_the_index(lambda document: document["emrdiff_tiles"]["rasters"][0].update(changed))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "missing tile": (
        lambda first, *_: first.unlink(),
        "1 of 12 tiles are missing, the first is a_r000_c000.tif",
    ),
    "swapped tiles": (swap, "does not lie where"),
    "another size": (lambda *paths: write_tif(paths[1], pixels(3, 15, 16)), "15 x 16 pixels"),
    "another dtype": (store_as_bytes, "differs from a_r000_c000.tif in dtype"),
    "no index": (lambda *paths: paths[2].unlink(), "--index"),
    "no json": (lambda *paths: paths[2].write_text("{"), "damaged"),
    "another json": (lambda *paths: paths[2].write_text("[1, 2]"), "damaged"),
    "gap": (in_the_index(lambda document: document["features"].pop(1)), "gaps"),
    "outside": (
        in_the_index(lambda document: document["features"][0]["properties"].update(file="../a.tif")),
        "outside its folder",
    ),
    "the folder above": (
        in_the_index(lambda document: document["features"][0]["properties"].update(file="..")),
        "outside its folder",
    ),
    "no overlap": (of_the_raster(overlap=-5), "cannot overlap by -5 pixels"),
    "more overlap than tile": (of_the_raster(overlap=16), "cannot overlap by 16 pixels"),
    "no pixel size": (of_the_raster(transform=[0.0] * 6), "puts a nowhere"),
    "no place": (of_the_raster(transform=[float("nan"), 0, 0, 0, 1, 0]), "puts a nowhere"),
    "no end": (of_the_raster(height=float("inf")), "damaged"),
    "another CRS": (of_the_raster(crs_wkt=rasterio.CRS.from_epsg(32733).to_wkt()), "not in the CRS"),
    "no CRS": (of_the_raster(crs_wkt="nonsense"), "a CRS cannot be understood"),
    "nested": (lambda *paths: paths[2].write_text("[" * 100_000), "damaged"),
    "newer": (in_the_index(lambda document: document["emrdiff_tiles"].update(version=99)), "version 99"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_tiles_are_refused_and_nothing_is_written(tmp_path: Path, damage: Damage, said: str) -> None:
    folder = tile(write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL), into=tmp_path / "tiles")
    first, second = sorted(folder.glob("*.tif"))[:2]
    damage(first, second, folder / INDEX_NAME)
    with pytest.raises(InputError, match=said) as caught:
        join(folder, tmp_path / "out.tif")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "tiles"]


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3))
)
@settings(deadline=None, max_examples=50)
def test_index_from_a_stranger_fails_in_one_way(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / INDEX_NAME
    raster = {"name": "a", "height": 1, "width": 1, "transform": value, "crs_wkt": None, "overlap": 0}
    document = {"emrdiff_tiles": {"version": 1, "rasters": [raster]}, "features": value}
    path.write_text(json.dumps(document))
    with pytest.raises(EmrdiffError):
        read_index(path)


def test_an_index_of_what_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tile(write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL), into=tmp_path / "tiles")
    document = json.loads((folder / INDEX_NAME).read_text())
    document["emrdiff_tiles"]["rasters"][0]["name"] = "\ud800"
    for feature in document["features"]:
        feature["properties"]["raster"] = "\ud800"
    (folder / INDEX_NAME).write_text(json.dumps(document))
    with pytest.raises(InputError, match="not an index"):
        read_index(folder / INDEX_NAME)


def test_overwriting_is_asked_for_and_leaves_no_tile_of_before(tmp_path: Path) -> None:
    original = write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL)
    folder = tile(original, into=tmp_path / "tiles")
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        tile(original, into=folder, size=30)
    tile(original, into=folder, size=30, overwrite=True)
    kept = {entry.file for entry in read_index(folder / INDEX_NAME)["a"].tiles}
    assert len(kept) == 4
    assert {path.name for path in folder.iterdir()} == kept | {INDEX_NAME, "mine.txt"}
    assert_same_raster(join(folder, tmp_path / "out.tif"), original)


def test_only_what_was_written_as_a_tile_is_removed(tmp_path: Path) -> None:
    original = write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL)
    folder = tile(original, into=tmp_path / "tiles")
    last = max(folder.glob("a_r*_c*.tif"))
    processed = bytes(byte ^ 1 for byte in last.read_bytes())
    last.write_bytes(processed)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputExistsError, match=f"{last.name}: has the name of a tile"):
        tile(original, into=folder, size=30, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    last.unlink()
    tile(original, into=folder, size=30, overwrite=True)
    assert len(list(folder.glob("a_r*_c*.tif"))) == 4


def test_mask_that_tiles_cannot_carry_is_refused(tmp_path: Path) -> None:
    original = write_tif(tmp_path / "a.tif", pixels(2, 20, 20))
    with rasterio.open(original, "r+") as dataset:
        dataset.write_mask(np.eye(20, dtype=bool))
    with pytest.raises(InputError, match="mask"):
        tile(original, into=tmp_path / "tiles")


def test_stitching_two_rasters_needs_a_choice(tmp_path: Path) -> None:
    folder = tile(*pair(tmp_path, 3.0), into=tmp_path / "tiles")
    with pytest.raises(UsageError, match=r"--raster \(lr, hr\)"):
        join(folder, tmp_path / "out.tif")
    with pytest.raises(UsageError, match="raster x"):
        join(folder, tmp_path / "out.tif", raster="x")


def test_processed_tiles_in_a_folder_of_their_own(tmp_path: Path) -> None:
    original = write_like(tmp_path / "a.tif", pixels(3, 40, 33), FULL)
    folder = tile(original, into=tmp_path / "tiles")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in folder.glob("*.tif"):
        path.rename(moved / path.name)
    assert_same_raster(join(moved, tmp_path / "out.tif", index=folder / INDEX_NAME), original)


def test_gapless_rows_and_columns_are_insisted_on() -> None:
    with pytest.raises(InputError, match="gaps"):
        TiledRaster("a", Grid(4, 4, Affine.identity()), 0, ())
