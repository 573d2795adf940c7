"""An ENVI header's metadata through the commands into GeoTIFF, ENVI and COG, and read by other programs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import spectral
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import RasterInfo
from tests.support.front_door import Run
from tests.support.rasters import NORTH_UP, pixels, read_back, write_envi, write_tif

# Written by hand, as a sensor's processor would.
HEADER = {
    "description": "{made from /data/raw/flight_7.bil}",
    "Sensor Type": "EnMAP",
    "acquisition time": "2020-06-01T10:21:33.250Z",
    "default bands": "{3, 2, 1}",
    "sun elevation": "58.25",
    "Processing Level": "L2A, version 3: no smile",
    "dem file": "/data/dem.dat",
    "pixel size": "{30, 30, units=Meters}",
    "emrdiff_seed": "99",
    "wavelength units": "Micrometers",
    "wavelength": "{0.5584,\n 0.6601, 0.8645, 2.2013}",
    "fwhm": "{0.0051, 0.0052, 0.0053, 0.0101}",
    "bbl": "{1, 1, 0, 1}",
    "band names": "{Green peak, Red, NIR (plateau), SWIR 2}",
    "data ignore value": "-99",
    "reflectance scale factor": "10000",
    "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
}
CENTRES, WIDTHS = (558.4, 660.1, 864.5, 2201.3), (5.1, 5.2, 5.3, 10.1)
NAMES = ("Green peak", "Red", "NIR (plateau)", "SWIR 2")
CARRIED = {
    "sensor_type": "EnMAP",
    "acquisition_time": "2020-06-01T10:21:33.250Z",
    "default_bands": "{3, 2, 1}",
    "sun_elevation": "58.25",
    "processing_level": "L2A, version 3: no smile",
}
FORMATS = [("GTiff", "out.tif"), ("ENVI", "out.bsq"), ("COG", "out.tif")]
each_format = pytest.mark.parametrize(("driver", "name"), FORMATS)


def cube(folder: Path, height: int = 8, width: int = 9) -> Path:
    values = np.random.default_rng(1).integers(100, 5000, (4, height, width)).astype("int16")
    values[:, 0, 0] = -99
    return write_envi(folder / "lr.bil", values, interleave="bil", fields=HEADER)


def fused(run: Run, folder: Path, driver: str, name: str) -> Path:
    lr = cube(folder)
    msi = np.random.default_rng(2).integers(1, 9999, (3, 32, 36)).astype("uint16")
    write_tif(folder / "msi.tif", msi, transform=NORTH_UP @ Affine.scale(1 / 4))
    ended = run("fuse", lr, folder / "msi.tif", folder / name, "-f", driver, "--method", "glp", "-q")
    assert (ended.code, ended.out) == (0, "")
    return folder / name


def assert_described(info: RasterInfo) -> None:
    assert (info.bands.wavelengths_nm, info.bands.fwhm_nm) == (CENTRES, WIDTHS)
    assert info.bands.good == (True, True, False, True)
    assert info.bands.names == NAMES
    assert (info.dtype, info.nodata) == ("int16", -99)
    assert (info.scale, info.offset, info.scale_recorded) == (1e-4, 0, True)


# Products


@each_format
def test_fuse_keeps_what_the_header_says_of_bands_and_scene(
    emrdiff: Run, tmp_path: Path, driver: str, name: str
) -> None:
    info = read_info(fused(emrdiff, tmp_path, driver, name))
    assert_described(info)
    others = {key: value for key, value in info.tags.items() if not key.startswith("emrdiff_")}
    assert others == CARRIED
    assert "emrdiff_seed" not in info.tags
    assert info.tags["emrdiff_method"] == "glp"


@each_format
def test_convert_keeps_all_of_the_header(emrdiff: Run, tmp_path: Path, driver: str, name: str) -> None:
    source = cube(tmp_path)
    assert emrdiff("convert", source, tmp_path / name, "-f", driver, "-q").code == 0
    info = read_info(tmp_path / name)
    assert_described(info)
    assert info.tags == read_info(source).tags
    assert info.tags.items() >= CARRIED.items()
    np.testing.assert_array_equal(read_back(tmp_path / name), read_back(source))


@each_format
def test_tiles_and_their_mosaic_keep_all_of_the_header(
    emrdiff: Run, tmp_path: Path, driver: str, name: str
) -> None:
    source = cube(tmp_path, 20, 21)
    tiles = tmp_path / "tiles"
    assert emrdiff("tile", source, tiles, "--size", 16, "--overlap", 4, "-q").code == 0
    assert emrdiff("stitch", tiles, tmp_path / name, "-f", driver, "-q").code == 0
    for path in (*tiles.glob("*.tif"), tmp_path / name):
        assert_described(read_info(path))
        assert read_info(path).tags.items() >= CARRIED.items()
    np.testing.assert_array_equal(read_back(tmp_path / name), read_back(source))


@pytest.mark.parametrize(
    ("driver", "name"), [("GTiff", "lr_hsi.tif"), ("ENVI", "lr_hsi.bsq"), ("COG", "lr_hsi.tif")]
)
def test_a_simulated_pair_keeps_what_holds_for_its_bands(
    emrdiff: Run, tmp_path: Path, driver: str, name: str
) -> None:
    (tmp_path / "srf.csv").write_text("wavelength_nm,a,b\n500,1,0\n700,1,0\n800,0,1\n900,0,1\n2300,0,1\n")
    source = cube(tmp_path, 16, 16)
    usual = ("--ratio", 2, "--srf", tmp_path / "srf.csv", "-f", driver, "-q")
    assert emrdiff("simulate", source, tmp_path / "pair", *usual).code == 0
    lr, msi = read_info(tmp_path / "pair" / name), read_info(tmp_path / "pair" / "hr_msi.tif")
    assert_described(lr)
    assert lr.tags == CARRIED
    assert msi.tags == {key: CARRIED[key] for key in ("acquisition_time", "sun_elevation")}


# Other programs


def test_spectral_reads_the_fused_header(emrdiff: Run, tmp_path: Path) -> None:
    path = fused(emrdiff, tmp_path, "ENVI", "out.bsq")
    read = spectral.io.envi.open(str(path.with_suffix(".hdr")), str(path))
    assert (read.bands.centers, read.bands.bandwidths) == (list(CENTRES), list(WIDTHS))
    assert read.bands.band_unit == "Nanometers"
    assert read.scale_factor == 10000
    wanted = {
        "wavelength units": "Nanometers",
        "bbl": [1, 1, 0, 1],
        "band names": list(NAMES),
        "data ignore value": "-99",
        "default bands": ["3", "2", "1"],
        "acquisition time": "2020-06-01T10:21:33.250Z",
        "sensor type": "EnMAP",
        "sun elevation": "58.25",
        "processing level": "L2A, version 3: no smile",
        "map info": ["UTM", "1", "1", "383472.37", "5818302.35", "7.5", "7.5", "33", "North", "WGS-84"],
    }
    assert {key: read.metadata.get(key) for key in wanted} == wanted
    assert not {"description", "dem file", "pixel size", "emrdiff seed"} & set(read.metadata)
    stored = read_back(path).astype(np.float64).transpose(1, 2, 0)
    np.testing.assert_allclose(read.read_subregion((0, 32), (0, 36)), stored * 1e-4, rtol=1e-6)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not there")
@each_format
def test_gdalinfo_reads_the_fused_metadata(emrdiff: Run, tmp_path: Path, driver: str, name: str) -> None:
    path = fused(emrdiff, tmp_path, driver, name)
    command = ["gdalinfo", "-json", "-mdd", "all", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told["geoTransform"] == pytest.approx([383472.37, 7.5, 0, 5818302.35, 0, -7.5])
    domain = told["metadata"]["ENVI" if driver == "ENVI" else ""]
    assert domain.items() >= CARRIED.items()
    band = told["bands"][1]
    assert band["noDataValue"] == -99
    assert band["description"].startswith("Red")
    if driver == "ENVI":
        # GDAL fills a header's IMAGERY domain from 3.10 on.
        told_of_band = (band["metadata"][""]["wavelength"], band["metadata"][""]["wavelength_units"])
        assert told_of_band == ("660.1", "Nanometers")
        assert domain["wavelength"] == "{558.4, 660.1, 864.5, 2201.3}"
        assert (domain["fwhm"], domain["bbl"]) == ("{5.1, 5.2, 5.3, 10.1}", "{1, 1, 0, 1}")
        return
    assert float(band["metadata"]["IMAGERY"]["CENTRAL_WAVELENGTH_UM"]) == pytest.approx(0.6601, abs=6e-4)
    assert band["scale"] == 1e-4
    assert band["metadata"][""].items() >= {"wavelength": "660.1", "fwhm": "5.2", "bbl": "1"}.items()
    if driver == "COG":
        assert told["metadata"]["IMAGE_STRUCTURE"]["INTERLEAVE"] == "BAND"
    else:
        assert told["metadata"]["ENVI"]["fwhm"] == "{5.1, 5.2, 5.3, 10.1}"


@each_format
def test_gdal_reads_the_fused_metadata(emrdiff: Run, tmp_path: Path, driver: str, name: str) -> None:
    """As gdalinfo shows it, through GDAL's own library."""
    with rasterio.open(fused(emrdiff, tmp_path, driver, name)) as dataset:
        assert dataset.tags(ns="ENVI" if driver == "ENVI" else None).items() >= CARRIED.items()
        assert dataset.nodatavals == (-99,) * 4
        micrometres = [float(dataset.tags(i, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) for i in dataset.indexes]
        np.testing.assert_allclose(micrometres, np.array(CENTRES) / 1000, atol=6e-4)
        listed = {"wavelength": "{558.4, 660.1, 864.5, 2201.3}", "fwhm": "{5.1, 5.2, 5.3, 10.1}"}
        assert (dataset.tags(ns="ENVI").items() >= listed.items()) == (driver != "COG")
        if driver != "ENVI":
            assert dataset.tags(2).items() >= {"wavelength": "660.1", "fwhm": "5.2", "bbl": "1"}.items()
            assert (dataset.descriptions, dataset.scales) == (NAMES, (1e-4,) * 4)


def test_unknown_creation_option_is_exit_2_before_any_work(emrdiff: Run, tmp_path: Path) -> None:
    lr = cube(tmp_path)
    write_tif(tmp_path / "msi.tif", pixels(3, 32, 36), transform=NORTH_UP @ Affine.scale(1 / 4))
    before = sorted(tmp_path.iterdir())
    for more in ((), ("--dry-run",)):
        usual = (lr, tmp_path / "msi.tif", tmp_path / "out.tif", "--method", "glp", *more)
        ended = emrdiff("fuse", *usual, "--co", "COMPRES=LZW", "--co", "TILED=YES")
        assert (ended.code, ended.out) == (2, "")
        (line,) = ended.err.splitlines()
        assert "COMPRES" in line
    assert sorted(tmp_path.iterdir()) == before


# Any header


_CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.title)
_words = st.text("abcXYZ 0189().;/'+-_#", min_size=1, max_size=20).map(str.strip).filter(bool)
_keys = st.from_regex(r"[a-z]{1,8}( [a-z0-9]{1,8}){0,2}", fullmatch=True).map(lambda key: f"q {key}")
_widths = st.decimals("0.02", "0.06", allow_nan=False, places=7).map(str)
_steps = st.decimals("0.04", "1.5", allow_nan=False, places=7)


def listed(entries: Any) -> Any:
    return st.lists(entries, min_size=3, max_size=3).map(lambda values: "{" + ", ".join(values) + "}")


@st.composite
def centres(draw: st.DrawFn) -> str:
    """Wavelengths of three bands in um, in any order."""
    steps = draw(st.lists(_steps, min_size=3, max_size=3))
    return (
        "{"
        + ", ".join(map(str, draw(st.permutations(list(accumulate(steps, initial=Decimal("0.3")))[1:]))))
        + "}"
    )


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    """What an ENVI header may say of three bands; any of it may be missing, keys in any case."""
    fields = {
        "wavelength": draw(centres()),
        "fwhm": draw(listed(_widths)),
        "bbl": draw(listed(st.sampled_from(("0", "1")))),
        "band names": draw(listed(_words)),
        "data ignore value": str(draw(st.integers(-(2**15), 2**15 - 1))),
        "reflectance scale factor": str(draw(st.floats(1e-3, 1e6))),
        "default bands": "{1, 3, 2}",
        "acquisition time": "2021-01-02T03:04:05Z",
        "sensor type": draw(_words),
        **draw(st.dictionaries(_keys, _words | listed(_words), max_size=3)),
    }
    kept = {key: value for key, value in fields.items() if draw(st.integers(0, 4))}
    cased = draw(st.sampled_from(_CASES))
    return {"wavelength units": "um"} | {cased(key): value for key, value in kept.items()}


def expected_tags(header: Mapping[str, str]) -> dict[str, str]:
    structural = {"wavelength", "fwhm", "bbl", "band names", "data ignore value", "reflectance scale factor"}
    lower = {key.lower(): value for key, value in header.items()}
    return {
        key.replace(" ", "_"): value
        for key, value in lower.items()
        if key not in structural | {"wavelength units"}
    }


def numbers(text: str | None) -> tuple[float, ...] | None:
    """Micrometres as nanometres, to the last digit that seven places leave."""
    return (
        None if text is None else tuple(round(float(part) * 1000, 4) for part in text.strip("{}").split(","))
    )


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["GTiff", "ENVI", "COG"])
@given(header=headers())
@settings(max_examples=25, deadline=None)
def test_any_header_is_written_and_read_back(
    tmp_path_factory: pytest.TempPathFactory, driver: Driver, header: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    values = pixels(3, 4, 5)
    first = read_info(write_envi(folder / "in.img", values, fields=header))
    lower = {key.lower(): value for key, value in header.items()}
    assert first.bands.wavelengths_nm == numbers(lower.get("wavelength"))
    assert first.bands.fwhm_nm == numbers(lower.get("fwhm"))
    assert first.tags == expected_tags(header)
    assert first.nodata == (float(lower["data ignore value"]) if "data ignore value" in lower else None)
    with VerifiedWriter(folder / "out.img", RasterSpec.like(first, driver=driver)) as writer:
        writer.append_stored(values)
    again = read_info(folder / "out.img")
    if driver == "ENVI" and "default_bands" not in first.tags:  # written where bands lie at the colours
        again = replace(again, tags={k: v for k, v in again.tags.items() if k != "default_bands"})
    for what in ("bands", "nodata", "scale", "offset", "scale_recorded", "tags", "dtype"):
        assert getattr(again, what) == getattr(first, what), what
    np.testing.assert_array_equal(read_back(folder / "out.img"), values)


def test_keys_of_a_header_are_read_in_any_case(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "cube.dat", pixels(4, 5, 6), offset=7, fields=HEADER)
    header = path.with_suffix(".hdr")
    lower = read_info(path)
    lines = [line.partition(" = ") for line in header.read_text().splitlines()]
    header.write_text("\n".join(key.upper() + sign + value for key, sign, value in lines))
    assert read_info(path) == lower
    with open_raster(path) as reader:
        np.testing.assert_array_equal(reader.read_stored(), pixels(4, 5, 6))


DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    # GDAL takes no ENVI file of a single byte.
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 5)))
    raw = draw(st.binary(min_size=int(np.prod(shape)) * 8, max_size=int(np.prod(shape)) * 8))
    if dtype.kind == "f":
        return np.frombuffer(raw, np.int64).astype(dtype).reshape(shape)
    return np.frombuffer(raw, dtype)[: int(np.prod(shape))].reshape(shape)


@given(
    values=arrays(),
    interleave=st.sampled_from(("bsq", "bil", "bip")),
    byte_order=st.sampled_from((0, 1)),
    name=st.sampled_from(("cube", "cube.bsq", "cube.bil", "cube.bip", "cube.img", "cube.dat", "cube.v2.dat")),
    added=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_layout_and_name_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    values: NDArray[Any],
    interleave: str,
    byte_order: int,
    name: str,
    added: bool,
) -> None:
    data = tmp_path_factory.mktemp("layout") / name
    header = data.with_name(f"{name}.hdr") if added else data.with_suffix(".hdr")
    write_envi(data, values, interleave=interleave, byte_order=byte_order, header=header)
    for given_name in (data, header):
        with open_raster(given_name) as reader:
            assert reader.info.dtype == values.dtype.name
            np.testing.assert_array_equal(reader.read_stored(), values)
