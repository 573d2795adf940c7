"""What comes from a stranger: rasters reach two drivers alone, sizes are checked first, models run nothing."""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.errors import RasterioIOError
from safetensors import safe_open
from safetensors.numpy import save_file

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.zoo import WEIGHTS
from tests.support.front_door import Run, in_a_process
from tests.support.pairs import write_pair
from tests.support.random_model import save_random_model
from tests.support.rasters import UTM33, pixels, read_back, write_envi, write_tif


def refused(ended: Any, *said: str, code: int = 3) -> None:
    """Assert one line, the error's, besides GDAL's own warnings."""
    own = [
        line for line in ended.err.splitlines() if not line.startswith(("_tiff", "Warning 1:", "ERROR 1:"))
    ]
    assert (ended.code, ended.out, len(own)) == (code, "", 1), ended
    assert own[0].startswith("Error: ")
    for text in said:
        assert text in own[0]


# Rasters


@pytest.fixture
def visited() -> Iterator[tuple[str, list[bytes]]]:
    """A server on this machine, and what it was asked for."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    server = threading.Thread(target=answer)
    server.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/cube.tif", asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    server.join(timeout=10)


def vrt_of(source: str) -> str:
    return (
        '<VRTDataset rasterXSize="12" rasterYSize="10"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )


@pytest.mark.parametrize("name", ["cube.vrt", "cube.tif", "cube.dat", "cube", "cube.hdr"])
def test_a_vrt_is_refused_by_any_name(emrdiff: Run, tmp_path: Path, name: str) -> None:
    real = write_tif(tmp_path / "real.tif", pixels(1, 10, 12))
    path = tmp_path / name
    path.write_text(vrt_of(str(real)))
    assert read_back(path).any()  # GDAL reads it
    refused(emrdiff("info", path), str(path))


def test_nothing_reaches_the_network(
    emrdiff: Run, tmp_path: Path, visited: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = visited
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_tif(tmp_path / "cube.tif", pixels(3, 10, 12))
    (tmp_path / "url.vrt").write_text(vrt_of(f"/vsicurl/{url}"))
    (tmp_path / "named.tif").write_text(vrt_of(f"/vsicurl/{url}"))
    strings = [
        url,
        f"/vsicurl/{url}",
        f"/vsicurl_streaming/{url}",
        f"vrt://{url}",
        f"GTIFF_RAW:/vsicurl/{url}",
    ]
    for text in (*strings, vrt_of(f"/vsicurl/{url}"), "url.vrt", "named.tif"):
        refused(emrdiff("info", text))
        refused(emrdiff("fuse", text, "cube.tif", "out.tif", "--method", "glp"))
    for sidecar in ("cube.tif.msk", "cube.tif.ovr"):
        (tmp_path / sidecar).write_text(vrt_of(f"/vsicurl/{url}"))
    overviews = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{url}</MDI></Metadata>'
    (tmp_path / "cube.tif.aux.xml").write_text(f"<PAMDataset>{overviews}</PAMDataset>")
    with open_raster(tmp_path / "cube.tif") as reader:
        assert reader.read().any()
    assert asked == []
    with pytest.raises(RasterioIOError):
        rasterio.open(f"/vsicurl/{url}")
    assert asked, "the server hears what GDAL asks"


def test_no_terminal_obeys_what_a_file_holds(emrdiff: Run, tmp_path: Path) -> None:
    """Errors and warnings quote files: escapes are shown, and stay in one line."""
    cube = write_envi(tmp_path / "cube.bsq", pixels(2, 4, 5), fields={"data ignore value": "\x1b[31m"})
    ended = emrdiff("info", cube, "--json")
    assert ended.code == 0
    assert r"'\x1b[31m', which is no number" in ended.err
    (tmp_path / "index.geojson").write_text(json.dumps({"emrdiff_tiles": {"version": "1\n\x1b[2J\x00"}}))
    refused(emrdiff("stitch", tmp_path, tmp_path / "out.tif"), r"of version 1 \x1b[2J\x00, this")


@pytest.mark.slow
def test_messages_of_gdal_that_quote_other_bytes(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "cube.tif", pixels(2, 4, 5))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(sensor="x")
    path.write_bytes(path.read_bytes().replace(b"<GDALMetadata>", b"<GDALMetad\xffta>", 1))
    ended = in_a_process("info", path, "--json")
    assert ended.code == 0
    assert "Error" not in ended.err
    assert "Traceback" not in ended.err


def test_a_block_larger_than_the_file_is_not_made_room_for(emrdiff: Run, tmp_path: Path) -> None:
    path = write_tif(tmp_path / "cube.tif", pixels(5, 6, 5), interleave="band")
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<HHI", 256, 3, 1))
    content[entry : entry + 12] = struct.pack("<HHII", 256, 4, 1, 8_388_609)
    path.write_bytes(content)
    refused(emrdiff("info", path), "bytes can hold")


@pytest.mark.parametrize(
    "text",
    [
        "GTIFF_DIR:1:cube.tif",
        'NETCDF:"cube.nc":cube',
        "/vsizip/cube.zip/cube.tif",
        "/vsistdin/",
        "/vsimem/cube.tif",
        "MEM:::DATAPOINTER=1,PIXELS=10,LINES=10",
        "PG:dbname=x",
        "cube.tif\ncube.tif",
    ],
)
def test_a_connection_string_is_no_file(
    emrdiff: Run, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tif(tmp_path / "cube.tif", pixels(3, 10, 12))
    ended = emrdiff("info", text)
    assert (ended.code, ended.out) == (3, "")
    assert "no such file" in ended.err


def test_links_are_what_they_lead_to(emrdiff: Run, tmp_path: Path) -> None:
    real = write_tif(tmp_path / "real.tif", pixels(3, 10, 12))
    (tmp_path / "virtual.vrt").write_text(vrt_of(str(real)))
    for name, target in {"a": "virtual.vrt", "b": "b.tif", "c": "gone.tif", "d": "/dev/zero"}.items():
        (tmp_path / f"{name}.tif").symlink_to(target)
        refused(emrdiff("info", tmp_path / f"{name}.tif"), f"{name}.tif: ")
    (tmp_path / "good.tif").symlink_to("real.tif")
    assert emrdiff("info", tmp_path / "good.tif").code == 0


def test_a_pipe_is_not_waited_for(emrdiff: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cube.tif")
    refused(emrdiff("info", tmp_path / "cube.tif"), "is a device or a pipe", "name a raster file")


# Sizes


def declared_tiff(path: Path, side: int, bands: int, tile: int) -> Path:
    """A TIFF of a few bytes that declares tiles of which it has none."""
    entries = {256: side, 257: side, 258: 32, 259: 1, 262: 1, 277: bands, 284: 1, 322: tile, 323: tile}
    entries |= {324: 8, 325: 16, 339: 3}
    packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4))
    return path


def sparse_tiff(path: Path, side: int, bands: int, pixel: float) -> Path:
    """A valid GeoTIFF without any block written."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=bands,
        dtype="float32",
        SPARSE_OK="TRUE",
        BIGTIFF="YES",
        tiled=True,
        blockxsize=16384,
        blockysize=16384,
        crs=UTM33,
        transform=Affine(pixel, 0, 383472, 0, -pixel, 5818302),
    ):
        return path


def huge_envi(path: Path) -> Path:
    data = write_envi(path, pixels(2, 3, 4))
    header = data.with_suffix(".hdr")
    text = (
        header.read_text().replace("samples = 4", "samples = 1000000").replace("lines = 3", "lines = 1000000")
    )
    header.write_text(text.replace("bands = 2", "bands = 1000"))
    return data


@pytest.mark.parametrize("command", ["info", "fuse", "evaluate", "quicklook"])
@pytest.mark.parametrize("kind", ["tiff", "envi"])
def test_a_header_that_claims_the_world_allocates_nothing(
    emrdiff: Run, tmp_path: Path, command: str, kind: str
) -> None:
    """10^6 x 10^6 x 1000 values of at most 4 bytes each, in a file of less than a kilobyte."""
    huge = (
        huge_envi(tmp_path / "h.bsq")
        if kind == "envi"
        else declared_tiff(tmp_path / "h.tif", 10**6, 1000, 256)
    )
    other = {"info": (), "fuse": (huge, "out.tif"), "evaluate": (huge,), "quicklook": (tmp_path / "q.png",)}
    refused(emrdiff(command, huge, *other[command]), str(huge))


@pytest.mark.slow
def test_a_cube_beyond_all_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """346 GB in a valid sparse file of a few kilobytes: described, read in parts, never as a whole."""
    lr = sparse_tiff(tmp_path / "lr.tif", 60_000, 24, 40)
    msi = sparse_tiff(tmp_path / "msi.tif", 120_000, 3, 20)
    assert lr.stat().st_size < 10**5
    assert in_a_process("info", lr).code == 0
    with (
        open_raster(lr) as reader,
        pytest.raises(InputError, match=r"take 346 GB, this machine has .* -srcwin"),
    ):
        reader.read()
    # The disk may be what does not hold it.
    ended = in_a_process("fuse", lr, msi, tmp_path / "out.tif", "--method", "glp")
    assert (ended.code in (3, 4), ended.out, len(ended.err.splitlines())) == (True, "", 1), ended
    assert not (tmp_path / "out.tif").exists()


# Models


class _Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


def stored_header(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(shape: list[int], offsets: list[int]) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": offsets}


CONFIG = {"msi_bands": 3, "hsi_bands": 8, "ratio": 4.0, "subspace": 4, "levels": 2}


def with_config(config: object, **tensors: object) -> bytes:
    said = config if isinstance(config, str) else json.dumps(config)
    return stored_header({"__metadata__": {"emrdiff_config": said}, **tensors}, bytes(64))


BODY = {"a": tensor([16], [0, 64])}
HOSTILE: dict[str, tuple[bytes, int]] = {
    "a huge header length": (stored_header({}, length=2**63), 3),
    "a header longer than the file": (stored_header({}, length=1000), 3),
    "negative sizes": (stored_header({"a": tensor([-4], [0, 64])}, bytes(64)), 3),
    "sizes that overflow": (stored_header({"a": tensor([2**40, 2**40], [0, 64])}, bytes(64)), 3),
    "offsets beyond the file": (stored_header({"a": tensor([16], [0, 2**40])}, bytes(64)), 3),
    "offsets that overlap": (stored_header({**BODY, "b": tensor([16], [0, 64])}, bytes(64)), 3),
    "no configuration": (stored_header(BODY, bytes(64)), 3),
    "a configuration that is no JSON": (with_config("__import__('os')", **BODY), 3),
    "a configuration that is a list": (with_config([], **BODY), 3),
    "a configuration nested deeply": (with_config("[" * 100_000, **BODY), 3),
    "a number of a million digits": (with_config('{"ratio": ' + "1" * 10**6 + "}", **BODY), 3),
    "an unknown key": (with_config({**CONFIG, "__class__": "os.system"}, **BODY), 2),
    "a negative size": (with_config({**CONFIG, "width": -1}, **BODY), 2),
    "a type that is none": (with_config({**CONFIG, "msi_bands": {"a": 1}}, **BODY), 2),
    "wavelengths that are none": (with_config({**CONFIG, "hsi_range_nm": [None, {}]}, **BODY), 2),
    "three ends of a range": (with_config({**CONFIG, "hsi_range_nm": [1, 2, 3]}, **BODY), 2),
    "other weights": (with_config(CONFIG, **BODY), 3),
    "a path as a name": (with_config(CONFIG, **{"../../../tmp/x": tensor([16], [0, 64])}), 3),
    "a network beyond all memory": (
        with_config({**CONFIG, "width": 2**24, "levels": 8, "tile": 128}, **BODY),
        3,
    ),
    "sizes beyond any tensor": (with_config({**CONFIG, "width": 2**62}, **BODY), 3),
}


@pytest.mark.parametrize(("content", "code"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_weights_file_is_one_line(emrdiff: Run, tmp_path: Path, content: bytes, code: int) -> None:
    pair = write_pair(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / WEIGHTS).write_bytes(content)
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--model", tmp_path / "model", "-q")
    lines = [line for line in ended.err.splitlines() if not line.startswith("Warning: ")]
    assert (ended.code, ended.out, len(lines)) == (code, "", 1), ended
    assert len(lines[0]) < 1000
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_by_that_name_is_never_loaded(emrdiff: Run, tmp_path: Path, kind: str) -> None:
    pair, proof = write_pair(tmp_path), tmp_path / "executed"
    folder = tmp_path / "model"
    folder.mkdir()
    if kind == "pickle":
        (folder / WEIGHTS).write_bytes(pickle.dumps(_Payload(proof)))
    else:
        torch.save(_Payload(proof), folder / WEIGHTS)
    refused(emrdiff("fuse", *pair, tmp_path / "out.tif", "--model", folder), "cannot be read as a model")
    refused(emrdiff("models", folder), "cannot be read as a model")
    assert not proof.exists()
    pickle.loads(pickle.dumps(_Payload(proof)))
    assert proof.exists(), "the payload works"


def test_what_lies_beside_the_weights_is_not_run(emrdiff: Run, tmp_path: Path) -> None:
    pair, proof = write_pair(tmp_path), tmp_path / "executed"
    folder = save_random_model(tmp_path / "model")
    attack = f"from pathlib import Path\nPath({str(proof)!r}).touch()\n"
    for name in ("__init__.py", "model.py", "setup.py", "sitecustomize.py"):
        (folder / name).write_text(attack)
    for name in ("training.pt", "model.pt", "pytorch_model.bin", "optimizer.pkl"):
        torch.save(_Payload(proof), folder / name)
    (folder / "training.toml").write_text("[model]\nratio = nan = 1\n")
    (folder / "card.md").write_bytes(
        b"# Card\n\x1b]0;title\x07\x1b[2J[red]text[/red] \xff <script>alert(1)</script>\n"
    )
    assert emrdiff("fuse", *pair, tmp_path / "out.tif", "--model", folder, "-q").code == 0
    card = emrdiff("models", folder)
    assert card.code == 0
    assert "[red]text[/red]" in card.out
    assert not set(card.out) & {"\x1b", "\x07"}
    assert not proof.exists()


@pytest.mark.parametrize("change", [{"width": 5}, {"gates": "training"}, {"subspace": 3}, {"levels": 3}])
def test_a_configuration_of_other_weights_is_refused(
    emrdiff: Run, tmp_path: Path, change: dict[str, Any]
) -> None:
    pair = write_pair(tmp_path)
    path = save_random_model(tmp_path / "model") / WEIGHTS
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["emrdiff_config"])
        state = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
    save_file(state, path, metadata={"emrdiff_config": json.dumps(config | change)})
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--model", path.parent)
    refused(ended, "the weights do not fit", "train it anew")


def test_a_response_or_manifest_may_not_be_a_device(emrdiff: Run, tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    refused(
        emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp", "--srf", "/dev/null"),
        "/dev/null",
        code=2,
    )
    refused(emrdiff("fuse", "--manifest", "/dev/null"), "/dev/null", "give a header and a row")
    refused(emrdiff("fuse", "--manifest", tmp_path), "cannot be read as a CSV")
