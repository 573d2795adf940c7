"""Writing: nothing lost in the round trip, nothing half-written ever seen, every failure an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import spectral
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import RasterioIOError

from emrdiff_cli.errors import EmrdiffError, OutputExistsError, UsageError, WriteError
from emrdiff_cli.raster.reading import open_raster, read_info, same_crs
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from tests.support.rasters import NORTH_UP, UTM33, pixels, read_back

WKT = rasterio.CRS.from_string(UTM33).to_wkt()
BANDS = Bands(
    3, (450.5, 558.4, 2400.125), (5.1, 5.2, 5.3), (True, False, True), ("Blue", "Green peak", "SWIR")
)
FORMATS = [("GTiff", "out.tif"), ("ENVI", "out.bsq"), ("COG", "cog.tif")]
each_format = pytest.mark.parametrize(("driver", "name"), FORMATS)


def spec(height: int = 6, width: int = 5, **changes: Any) -> RasterSpec:
    plain = RasterSpec(Grid(height, width, NORTH_UP, WKT), BANDS, "int16")
    return replace(plain, **changes)


def write(path: Path, values: np.ndarray[Any, Any], like: RasterSpec, **options: Any) -> VerifiedWriter:
    with VerifiedWriter(path, like, **options) as writer:
        if values.dtype == like.dtype:
            writer.append_stored(values)
        else:
            writer.append(values)
    return writer


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".part-" in path.name or path.suffix == ".xml")


floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
tenths = st.integers(1000, 200000)
nm = st.lists(tenths, min_size=3, max_size=3, unique=True).map(lambda tenths: tuple(n / 10 for n in tenths))
widths = st.lists(st.floats(1, 30), min_size=3, max_size=3).map(tuple)
# Header lists end an entry at a comma and lose outer blanks.
names = st.lists(st.text("abcXYZ 019()/-", min_size=1).map(str.strip).filter(bool), min_size=3, max_size=3)
transforms = st.builds(
    lambda x, y, px, py: Affine(px, 0, x, 0, -py, y),
    *(st.floats(-1e7, 1e7), st.floats(-1e7, 1e7), st.floats(0.01, 1e4), st.floats(0.01, 1e4)),
)


@st.composite
def specs(draw: st.DrawFn) -> RasterSpec:
    dtype = draw(st.sampled_from(("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")))
    optional = st.none() | st.just(0.0)
    nodata = (
        draw(optional | st.just(255.0))
        if dtype[0] != "f"
        else draw(optional | floats | st.just(float("nan")))
    )
    scale, offset = draw(st.floats(1e-6, 1e3)), draw(optional | st.floats(-10, 10))
    recorded = draw(st.booleans())
    bands = Bands(
        3,
        draw(st.none() | nm),
        draw(st.none() | widths),
        draw(st.none() | st.tuples(*[st.booleans()] * 3)),
        draw(st.none() | names.map(tuple)),
    )
    return RasterSpec(
        Grid(4, 5, draw(transforms), draw(st.sampled_from((WKT, None)))),
        bands,
        dtype,
        nodata,
        scale if recorded else 1.0,
        (offset or 0.0) if recorded else 0.0,
        recorded,
        draw(st.sampled_from(("GTiff", "ENVI", "COG"))),
        draw(st.sampled_from(({}, {"acquisition_time": "2020-06-01T10:00:00Z", "sensor_type": "EnMAP"}))),
    )


@given(specs())
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, wanted: RasterSpec
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round_trip.{wanted.driver}"
    values = pixels(3, 4, 5, wanted.dtype)
    write(path, values, wanted, overwrite=True)
    info = read_info(path)
    again = RasterSpec.like(info)
    np.testing.assert_equal(again.nodata, wanted.nodata)  # NaN equals NaN here
    assert same_crs(again.grid.crs_wkt, wanted.grid.crs_wkt)
    # A COG is a GeoTIFF to its readers.
    driver = "ENVI" if wanted.driver == "ENVI" else "GTiff"
    same: dict[str, Any] = {"nodata": None, "grid": replace(wanted.grid, crs_wkt=None), "driver": driver}
    assert replace(again, nodata=None, grid=replace(again.grid, crs_wkt=None)) == replace(wanted, **same)
    np.testing.assert_array_equal(read_back(path), values)
    assert leftovers(path.parent) == []


@each_format
def test_physical_values_come_back_within_half_a_step(tmp_path: Path, driver: str, name: str) -> None:
    wanted = spec(driver=driver, scale=1e-4, scale_recorded=True, nodata=-32768.0)
    values = np.linspace(-0.1, 1.2, 90, dtype=np.float32).reshape(3, 6, 5)
    values[1, 2, 3] = np.nan
    write(tmp_path / name, values, wanted)
    with open_raster(tmp_path / name) as reader:
        np.testing.assert_allclose(reader.read(), values, atol=0.51e-4)
        assert reader.read_stored()[1, 2, 3] == -32768


def test_three_kinds_of_readers_find_the_wavelengths_in_a_geotiff(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", pixels(3, 6, 5), spec())
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.tags(ns="ENVI")["wavelength"] == "{450.5, 558.4, 2400.125}"
        assert dataset.tags(2)["wavelength"] == "558.4"
        assert dataset.tags(2)["fwhm"] == "5.2"
        assert dataset.tags(2)["bbl"] == "0"
        assert dataset.tags(2, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.5584", "FWHM_UM": "0.0052"}
        assert dataset.descriptions == ("Blue", "Green peak", "SWIR")
        assert (dataset.profile["tiled"], dataset.profile["compress"]) == (True, "zstd")
        assert dataset.profile["interleave"] == "band"


def test_spectral_reads_the_envi_output(tmp_path: Path) -> None:
    wanted = spec(driver="ENVI", scale=1e-4, scale_recorded=True, nodata=-99.0)
    write(tmp_path / "cube.bsq", pixels(3, 6, 5), wanted)
    cube = spectral.envi.open(str(tmp_path / "cube.hdr"), str(tmp_path / "cube.bsq"))
    assert cube.bands.centers == list(BANDS.wavelengths_nm or ())
    assert cube.bands.bandwidths == list(BANDS.fwhm_nm or ())
    assert cube.bands.band_unit == "Nanometers"
    assert cube.metadata["bbl"] == [1, 0, 1]
    assert cube.metadata["band names"] == list(BANDS.names or ())
    assert cube.metadata["data ignore value"] == "-99"
    loaded = cube.read_subregion((0, 6), (0, 5))
    np.testing.assert_allclose(loaded, pixels(3, 6, 5).transpose(1, 2, 0) * 1e-4, rtol=1e-6)


def test_four_bands_of_bytes_are_no_transparency(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", pixels(4, 6, 5, "uint8"), spec(dtype="uint8", bands=Bands(4)))
    with open_raster(tmp_path / "a.tif") as reader:
        assert not reader.masked


@each_format
@pytest.mark.parametrize("chunk", [1, 100, 256, 700])
def test_rows_of_any_count_make_the_same_file(tmp_path: Path, driver: str, name: str, chunk: int) -> None:
    wanted, values = spec(700, 20, driver=driver), pixels(3, 700, 20)
    with VerifiedWriter(tmp_path / name, wanted) as writer:
        for start in range(0, 700, chunk):
            writer.append_stored(values[:, start : start + chunk])
    write(tmp_path / f"whole_{name}", values, wanted)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole_{name}").read_bytes()
    np.testing.assert_array_equal(read_back(tmp_path / name), values)


def test_integers_are_rounded_clipped_and_counted_once(tmp_path: Path) -> None:
    values = np.array([-3.0, -0.4, 0.6, 2.5, 254.6, 255.4, 256.0, np.nan, np.inf], np.float32).reshape(
        1, 3, 3
    )
    wanted = RasterSpec(Grid(3, 3, NORTH_UP, WKT), Bands(1), "uint8", nodata=7)
    writer = write(tmp_path / "a.tif", values, wanted)
    assert writer.clipped == 2
    assert read_back(tmp_path / "a.tif").ravel().tolist() == [0, 0, 1, 2, 255, 255, 255, 7, 7]


@pytest.mark.parametrize(
    ("dtype", "nodata", "stored"), [("int16", -99, -98), ("uint8", 255, 254), ("uint8", 0, 1)]
)
def test_valid_value_is_never_stored_as_nodata(tmp_path: Path, dtype: str, nodata: int, stored: int) -> None:
    wanted = RasterSpec(Grid(1, 2, NORTH_UP, WKT), Bands(1), dtype, nodata=nodata)
    write(tmp_path / "a.tif", np.array([[[nodata + 0.2, np.nan]]]), wanted)
    assert read_back(tmp_path / "a.tif").ravel().tolist() == [stored, nodata]


def test_no_value_and_no_nodata(tmp_path: Path) -> None:
    values = np.full((3, 6, 5), np.nan)
    write(tmp_path / "float.tif", values, spec(dtype="float32"))
    assert np.isnan(read_back(tmp_path / "float.tif")).all()
    with pytest.raises(WriteError, match="--nodata"):
        write(tmp_path / "int.tif", values, spec())


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32"])
def test_greatest_integers_do_not_wrap_round(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "a.tif", np.full((3, 6, 5), 1e30), spec(dtype=dtype))
    assert (read_back(tmp_path / "a.tif") > 2**30).all()


@each_format
def test_existing_output_is_refused_before_any_work(tmp_path: Path, driver: str, name: str) -> None:
    wanted = spec(driver=driver)
    write(tmp_path / name, pixels(3, 6, 5), wanted)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        VerifiedWriter(tmp_path / name, wanted)
    write(tmp_path / name, pixels(3, 6, 5) + 1, wanted, overwrite=True)
    np.testing.assert_array_equal(read_back(tmp_path / name), pixels(3, 6, 5) + 1)


def test_lone_header_counts_as_existing(tmp_path: Path) -> None:
    (tmp_path / "out.hdr").write_text("ENVI\n")
    with pytest.raises(OutputExistsError, match=r"out\.hdr"):
        VerifiedWriter(tmp_path / "out.bsq", spec(driver="ENVI"))


def test_unwritable_places_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="no such folder"):
        VerifiedWriter(tmp_path / "none" / "a.tif", spec())
    with pytest.raises(WriteError, match="is a folder"):
        VerifiedWriter(tmp_path, spec(), overwrite=True)
    with pytest.raises(WriteError, match="cannot be written"):
        VerifiedWriter(tmp_path / ("long" * 80), spec())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "float16"}, "float16"),
        ({"dtype": "int8", "driver": "ENVI"}, "int8"),
        ({"nodata": -1.0, "dtype": "uint8"}, "nodata -1"),
        ({"scale": 0.0}, "scale"),
        ({"bands": Bands(65536)}, "65535 bands"),
        ({"driver": "ENVI", "grid": Grid(6, 5, NORTH_UP @ Affine.rotation(10), WKT)}, "rotated"),
        ({"driver": "ENVI", "grid": Grid(6, 5, NORTH_UP @ Affine.rotation(180), WKT)}, "mirrored"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        spec(**changes)


def test_a_band_without_a_name_beside_named_ones(tmp_path: Path) -> None:
    bands = Bands(3, names=("red {edge}", "", ""))
    write(tmp_path / "a.bsq", pixels(3, 6, 5), spec(driver="ENVI", bands=bands))
    assert read_info(tmp_path / "a.bsq").bands.names == ("red  edge", "Band 2", "Band 3")


def test_rows_are_held_as_far_as_there_are_any(tmp_path: Path) -> None:
    wide = spec(1, 2_000_000, bands=Bands(1), dtype="uint8", nodata=None)
    tracemalloc.start()
    try:
        write(tmp_path / "a.tif", np.zeros((1, 1, 2_000_000), np.uint8), wide)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_too_little_memory_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_shape: object) -> None:
        raise MemoryError

    writer = VerifiedWriter(tmp_path / "a.tif", spec())
    monkeypatch.setattr("emrdiff_cli.raster.writing.np.empty", full)
    with pytest.raises(MemoryError), writer:
        pass
    assert leftovers(tmp_path) == []


def test_envi_header_name_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out\.bsq"):
        VerifiedWriter(tmp_path / "out.hdr", spec(driver="ENVI"))


@pytest.mark.parametrize(
    "transform", [NORTH_UP @ Affine.rotation(30), Affine(2, 0, 10, 0, 2, 20), Affine(2, 0.5, 10, 0.1, -3, 20)]
)
def test_geotiff_holds_any_transform(tmp_path: Path, transform: Affine) -> None:
    write(tmp_path / "a.tif", pixels(3, 6, 5), spec(grid=Grid(6, 5, transform, WKT)))
    assert read_info(tmp_path / "a.tif").grid.transform.almost_equals(transform, 1e-9)


def test_south_up_envi_is_right_or_refused(tmp_path: Path) -> None:
    grid = Grid(6, 5, Affine(2, 0, 10, 0, 2, 20), WKT)
    try:
        write(tmp_path / "a.bsq", pixels(3, 6, 5), spec(driver="ENVI", grid=grid))
    except EmrdiffError:
        assert leftovers(tmp_path) == []
    else:
        assert read_info(tmp_path / "a.bsq").grid.transform.almost_equals(grid.transform)


def test_overwriting_takes_away_what_would_shadow_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "out.img"
    write(path, pixels(3, 6, 5), spec(driver="ENVI"))
    stale = [tmp_path / "out.img.aux.xml", tmp_path / "out.img.hdr"]
    for file in stale:
        file.write_text("stale")
    write(path, pixels(3, 6, 5), spec(driver="ENVI"), overwrite=True)
    assert not any(file.exists() for file in stale)


@each_format
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_leaves_nothing_and_the_old_output(
    tmp_path: Path, driver: str, name: str, failure: type[BaseException]
) -> None:
    wanted = spec(driver=driver)
    write(tmp_path / name, pixels(3, 6, 5), wanted)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail() -> None:
        with VerifiedWriter(tmp_path / name, wanted, overwrite=True) as writer:
            writer.append_stored(pixels(3, 3, 5))
            raise failure

    with pytest.raises(failure):
        fail()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="only 5 of 6 rows"):
        write(tmp_path / "a.tif", pixels(3, 5, 5), spec())
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_shape_or_dtype_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside"):
        VerifiedWriter(tmp_path / "a.tif", spec()).append(np.ones((3, 1, 5)))
    for values, said in (
        (pixels(3, 7, 5), "shape"),
        (pixels(2, 1, 5), "shape"),
        (pixels(3, 1, 5, "uint8"), "uint8"),
    ):
        with pytest.raises(ValueError, match=said), VerifiedWriter(tmp_path / "a.tif", spec()) as writer:
            writer.append_stored(values)


class _Faulty:
    """A dataset whose n-th write fails without a word, as GDAL's do, or with an exception."""

    def __init__(self, dataset: Any, bad: int, error: Exception | None) -> None:
        self._dataset, self._left, self._error = dataset, bad, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def write(self, rows: Any, window: Any) -> None:
        self._left -= 1
        if self._left == 0:
            if self._error is not None:
                raise self._error
            return
        self._dataset.write(rows, window=window)


@each_format
@pytest.mark.parametrize("bad", [1, 2, 3])
@pytest.mark.parametrize(
    "error", [None, RasterioIOError("Write failed"), OSError(28, "No space left on device")]
)
def test_failed_write_is_found_and_the_old_output_stays(
    tmp_path: Path, driver: str, name: str, bad: int, error: Exception | None
) -> None:
    path, wanted = tmp_path / name, spec(600, 5, driver=driver)
    write(path, pixels(3, 600, 5), wanted)
    before = path.read_bytes()

    def fail() -> None:
        with VerifiedWriter(path, wanted, overwrite=True) as writer:
            writer._dataset = _Faulty(writer._dataset, bad, error)
            writer.append_stored(pixels(3, 600, 5) + 1)

    with pytest.raises(WriteError) as caught:
        fail()
    assert caught.value.exit_code == 4
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("fresh", [True, False])
def test_data_without_its_header_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    path, header, real = tmp_path / "a.dat", tmp_path / "a.hdr", Path.replace
    for old in () if fresh else (path, header):
        old.write_bytes(b"old")

    def fail(self: Path, target: Path) -> Path:
        if target == header:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(WriteError, match="cannot be put in place"):
        write(path, pixels(3, 6, 5), spec(6, 5, driver="ENVI"), overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {} if fresh else {"a.dat": b"old", "a.hdr": b"old"}
    )


def test_lossy_option_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 64, 64)).astype("float32")
    options = {"compress": "LERC", "max_z_error": "0.1"}
    with pytest.raises(WriteError, match="lossy"):
        write(tmp_path / "a.tif", noise, spec(64, 64, dtype="float32", creation_options=options))


def test_creation_options_win(tmp_path: Path) -> None:
    options = {"compress": "none", "tiled": "no"}
    write(tmp_path / "a.tif", pixels(3, 600, 40), spec(600, 40, creation_options=options))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert "compress" not in dataset.profile
        assert not dataset.profile["tiled"]
    write(tmp_path / "a.img", pixels(3, 6, 5), spec(driver="ENVI", creation_options={"SUFFIX": "ADD"}))
    assert (tmp_path / "a.img.hdr").exists()


_SCRIPT = """
import resource, sys, time, numpy as np
from pathlib import Path
from affine import Affine
from emrdiff_cli.errors import EmrdiffError
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
path, driver, limits = Path(sys.argv[1]), sys.argv[2], [int(limit) for limit in sys.argv[3:]]
spec = RasterSpec(Grid(600, 100, Affine(1, 0, 5, 0, -1, 7)), Bands(2), "uint16", driver=driver)
noise = np.random.default_rng(0).integers(0, 60000, (2, 600, 100), np.uint16)
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with VerifiedWriter(path, spec, overwrite=True) as writer:
            writer.append_stored(noise)
        print("written")
    except EmrdiffError as error:
        print(error.exit_code, path.read_bytes() == b"old", len(list(path.parent.iterdir())))
if not limits:
    with VerifiedWriter(path, spec, overwrite=True) as writer:
        writer.append_stored(noise[:, :599])
        print("ready", flush=True)
        time.sleep(100)
"""


@each_format
def test_full_disk_is_exit_4_and_the_old_output_stays(tmp_path: Path, driver: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    limits = [10, 1000, 20_000, 60_000, 120_000, 180_000, 220_000, 238_000]
    # A COG fails while it is copied too, when its GeoTIFF is whole.
    limits += [250_000, 280_000, 300_000] if driver == "COG" else []
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(path), driver, *map(str, [*limits, 1_000_000])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines() == [*["4 True 1"] * len(limits), "written"]


@each_format
def test_kill_leaves_the_old_output(tmp_path: Path, driver: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    command = [sys.executable, "-c", _SCRIPT, str(path), driver]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert path.read_bytes() == b"old"
    assert not path.with_suffix(".hdr").exists()
