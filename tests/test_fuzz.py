"""Random and damaged files: every parser gives a value or one of the known errors, and nothing else."""

from __future__ import annotations

import json
import struct
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.sensor.srf import SpectralResponse
from emrdiff_cli.errors import ConfigError, EmrdiffError, InputError, ModelError, UsageError
from emrdiff_cli.fusion.manifest import read_jobs
from emrdiff_cli.fusion.options import FusionSettings
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster_info import RasterInfo
from emrdiff_cli.responses import read_response
from emrdiff_cli.runtime.manifest import read_manifest
from emrdiff_cli.zoo import CONFIG_KEY, read_config
from tests.support.rasters import pixels, write_envi, write_tif

few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

FIELDS = {
    "map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}",
    "wavelength": "{400, 500}",
    "fwhm": "{5, 6}",
    "wavelength units": "Nanometers",
    "band names": "{one, two}",
    "reflectance scale factor": "10000",
    "data ignore value": "-9999",
    "bbl": "{1, 0}",
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """GDAL and numpy may warn of what is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def template(kind: str) -> tuple[bytes, bytes]:
    """A valid raster's bytes and its header's."""
    with folder() as place:
        if kind == "envi":
            data = write_envi(place / "x.bsq", pixels(2, 3, 4), fields=FIELDS)
            return data.read_bytes(), data.with_suffix(".hdr").read_bytes()
        profile = {"nodata": -9999, "compress": "deflate"} if kind == "deflate" else {"nodata": -9999}
        path = write_tif(place / "x.tif", pixels(2, 3, 4), **profile)
        return path.read_bytes(), b""


TEMPLATES = {kind: template(kind) for kind in ("envi", "plain", "deflate")}

cuts = st.integers(0, 2000)
edits = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8)
awkward = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1e9",
        "9" * 30,
        "nan",
        "inf",
        "{",
        "}",
        "{}",
        "{1,2",
        "0x10",
        "é",
        "\0",
        "none",
        "1e-320",
        "4.5",
    ]
)


def edited(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for place, value in changes:
        changed[place % len(changed)] = value
    return bytes(changed)


def assert_one_line(said: str, path: Path) -> None:
    assert str(path.with_suffix("")) in said
    assert len(said.splitlines()) == 1


def opens_or_refuses(path: Path) -> None:
    """Describe and read; the damage may leave a valid raster of few pixels."""
    try:
        with open_raster(path) as reader:
            assert isinstance(reader.info, RasterInfo)
            values = reader.read()
            assert values.dtype == np.float32
            assert not np.isinf(values).any()
    except InputError as error:
        assert_one_line(str(error), path)


# Rasters


@few
@given(st.binary(max_size=400))
@example(b"ENVI")
@example(b"ENVI\n\xff\xfe = \x00")
def test_a_header_of_random_bytes(header: bytes) -> None:
    with folder() as place:
        (place / "x.bsq").write_bytes(bytes(48))
        (place / "x.hdr").write_bytes(b"ENVI\n" + header)
        opens_or_refuses(place / "x.bsq")
        (place / "x.hdr").write_bytes(header)
        opens_or_refuses(place / "x.hdr")


@few
@given(edits)
@example([(503, 128)])
@example([(TEMPLATES["envi"][1].index(b"one"), 0xE9)])
@example([(TEMPLATES["envi"][1].index(b"WGS"), 0xE9)])
def test_a_header_with_other_bytes(changes: list[tuple[int, int]]) -> None:
    data, header = TEMPLATES["envi"]
    with folder() as place:
        (place / "x.bsq").write_bytes(data)
        (place / "x.hdr").write_bytes(edited(header, changes))
        opens_or_refuses(place / "x.bsq")


@few
@given(
    st.dictionaries(
        st.sampled_from(
            [*FIELDS, "samples", "lines", "bands", "data type", "header offset", "byte order", "interleave"]
        ),
        st.one_of(awkward, st.text(max_size=20)),
        min_size=1,
        max_size=4,
    )
)
@example({"header offset": "²"})
@example({"header offset": "-5"})
@example({"data ignore value": "1e400"})
def test_a_header_with_other_values(changes: dict[str, str]) -> None:
    with folder() as place:
        data = write_envi(place / "x.bsq", pixels(2, 3, 4), fields=FIELDS)
        header = place / "x.hdr"
        lines = header.read_text().splitlines()
        kept = [line for line in lines if line.split(" =")[0] not in changes]
        text = "\n".join([*kept, *(f"{key} = {value}" for key, value in changes.items()), ""])
        header.write_bytes(text.encode("utf-8", "surrogatepass"))
        opens_or_refuses(data)


@pytest.mark.parametrize("kind", ["plain", "deflate"])
@few
@given(edits, st.one_of(st.none(), cuts))
@example([(154, 0), (332, 1)], None)
@example([(366, 128), (808, 1)], None)
def test_a_geotiff_with_other_bytes(kind: str, changes: list[tuple[int, int]], cut: int | None) -> None:
    content = edited(TEMPLATES[kind][0], changes)[:cut]
    with folder() as place:
        (place / "x.tif").write_bytes(content)
        opens_or_refuses(place / "x.tif")


# Lists

cells = st.one_of(
    st.sampled_from(["a.tif", "", " ", '"', "x", "-1", "glp", "1 2 3 4", "A=1"]), st.text(max_size=8)
)
columns = st.sampled_from(
    [
        "lr_hsi",
        "hr_msi",
        "output",
        "fused",
        "reference",
        "baseline",
        "method",
        "tile",
        "bounds",
        "co",
        "srf",
        "model",
    ]
)
tables = st.lists(st.lists(cells, max_size=6), max_size=5)


def reads_or_refuses(path: Path) -> None:
    for read in (lambda: read_jobs(path, FusionSettings()), lambda: read_manifest(path)):
        try:
            assert len(read()) >= 1
        except (UsageError, InputError) as error:
            assert_one_line(str(error), path)


@few
@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    )
)
@example(b'lr_hsi,hr_msi,output\n"a,b')
@example(b"lr_hsi,hr_msi,output\na,b,c\0d")
def test_a_manifest_of_random_bytes(content: bytes) -> None:
    with folder() as place:
        (place / "pairs.csv").write_bytes(content)
        reads_or_refuses(place / "pairs.csv")


@few
@given(st.lists(columns, min_size=1, max_size=6), tables)
def test_a_manifest_of_random_cells(header: list[str], rows: list[list[str]]) -> None:
    text = "\n".join(",".join(row) for row in [["lr_hsi", "hr_msi", "output", *header], *rows])
    with folder() as place:
        (place / "pairs.csv").write_bytes(text.encode("utf-8", "replace"))
        reads_or_refuses(place / "pairs.csv")


@few
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.lists(st.one_of(awkward, st.floats().map(str)), max_size=3), max_size=5).map(
            lambda rows: "\n".join(["wavelength_nm,a", *(",".join(row) for row in rows)]).encode(
                "utf-8", "replace"
            )
        ),
    )
)
@example(b'wavelength_nm,a\n400,1\n"500,1')
@example(b"wavelength_nm,a\n400,1\n500,1e999")
def test_a_response_of_random_cells(content: bytes) -> None:
    with folder() as place:
        (place / "srf.csv").write_bytes(content)
        try:
            assert isinstance(read_response(str(place / "srf.csv")), SpectralResponse)
        except InputError as error:
            assert_one_line(str(error), place / "srf.csv")


# Models

CONFIG = {"msi_bands": 3, "hsi_bands": 8, "ratio": 4.0, "subspace": 4, "levels": 2}
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def weights(config: str) -> bytes:
    header = {
        "__metadata__": {CONFIG_KEY: config},
        "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


def loads_or_refuses(content: bytes) -> None:
    with folder() as place:
        (place / "model.safetensors").write_bytes(content)
        with suppress(ModelError, ConfigError):
            assert isinstance(read_config(place / "model.safetensors"), ModelConfig)
        with pytest.raises(EmrdiffError):
            load_model(place / "model.safetensors")


@few
@given(st.dictionaries(st.sampled_from(list(ModelConfig.__dataclass_fields__)), values, max_size=3))
@example({"width": 2**62})
@example({"subspace": 2**40, "hsi_bands": 2**41})
@example({"residual_gain": [True]})
def test_a_model_with_another_configuration(changes: dict[str, object]) -> None:
    loads_or_refuses(weights(json.dumps({**CONFIG, **changes})))


@few
@given(st.text(max_size=60))
def test_a_model_whose_configuration_is_random_text(text: str) -> None:
    loads_or_refuses(weights(text))


@few
@given(edits, st.one_of(st.none(), cuts))
def test_a_weights_file_with_other_bytes(changes: list[tuple[int, int]], cut: int | None) -> None:
    loads_or_refuses(edited(weights(json.dumps(CONFIG)), changes)[:cut])
