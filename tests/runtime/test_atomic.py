"""Files in one step: what is replaced is a regular file, what fails leaves what was there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from emrdiff_cli.errors import WriteError
from emrdiff_cli.runtime.atomic import replacing, write_whole
from tests.support.front_door import Run
from tests.support.rasters import pixels, read_back, write_tif


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_tif(tmp_path / "in.tif", pixels(3, 6, 5))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


@pytest.mark.parametrize("make", [pipe, bound_socket, link_to_nothing])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("out.tif", ("convert", "in.tif", "out.tif", "--overwrite")),
        ("out.hdr", ("convert", "in.tif", "out.bsq", "--overwrite")),
        ("out.png", ("quicklook", "in.tif", "out.png", "--bands", 1, "--overwrite")),
        ("scores.csv", ("evaluate", "in.tif", "in.tif", "--metrics", "rmse", "--csv", "scores.csv")),
        (
            "report.html",
            ("evaluate", "in.tif", "in.tif", "--metrics", "rmse", "--report", ".", "--overwrite"),
        ),
        ("index.geojson", ("tile", "in.tif", ".", "--size", 4, "--overlap", 1, "--overwrite")),
    ],
)
def test_what_is_no_regular_file_is_no_output(
    emrdiff: Run,
    tmp_path: Path,
    raster: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: object,
    name: str,
    arguments: tuple[object, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert callable(make)
    make(tmp_path / name)
    before = (tmp_path / name).lstat()
    ended = emrdiff(*arguments)
    assert ended.code == 4
    assert ended.err.splitlines()[-1].startswith(f"Error: {name}: is a ")
    assert ended.err.count("Error") == 1
    after = (tmp_path / name).lstat()
    assert (after.st_ino, stat.S_IFMT(after.st_mode)) == (before.st_ino, stat.S_IFMT(before.st_mode))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.tif", name])


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout"])
def test_a_device_is_no_output(emrdiff: Run, tmp_path: Path, raster: Path, device: str) -> None:
    ended = emrdiff("convert", raster, device, "-f", "GTiff", "--overwrite", "-q")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == f"Error: {device}: is a device, a pipe or a socket: name a file\n"
    assert Path(device).exists()


def test_what_a_link_points_to_is_replaced_and_the_link_stays(
    emrdiff: Run, tmp_path: Path, raster: Path
) -> None:
    (tmp_path / "far").mkdir()
    real = write_tif(tmp_path / "far" / "real.tif", pixels(1, 6, 5))
    Path(f"{real}.aux.xml").write_text("of what was there")
    (tmp_path / "out.tif").symlink_to(real)
    assert emrdiff("convert", raster, tmp_path / "out.tif", "-q").code == 2
    assert read_back(real).shape == (1, 6, 5)
    assert emrdiff("convert", raster, tmp_path / "out.tif", "--overwrite", "-q") == (0, "", "")
    assert (tmp_path / "out.tif").is_symlink()
    assert read_back(real).tolist() == pixels(3, 6, 5).tolist()
    assert [path.name for path in real.parent.iterdir()] == ["real.tif"]


def test_a_write_that_fails_leaves_what_was_there_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_whole(target, b"old")

    def fail() -> None:
        with replacing(target) as part:
            part.write_bytes(b"new")
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match=r"a\.json: cannot be written: No space left on device"):
        fail()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": b"old"}


def test_file_and_folder_are_on_disk_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    write_whole(tmp_path / "a.json", b"new")
    assert synced == [(tmp_path / "a.json").stat().st_ino, tmp_path.stat().st_ino]
