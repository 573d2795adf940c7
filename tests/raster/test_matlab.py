"""Matlab's files: both kinds read alike, turned as asked, in strips, and what cannot be an image."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from emrdiff_cli.core.sensor.orientation import ORIENTATIONS, OrientationName
from emrdiff_cli.errors import InputError
from emrdiff_cli.raster import matlab
from emrdiff_cli.raster.matlab import MatCube, find_cube, is_mat, open_mat, wavelengths_in
from tests.support.mat_files import begin_as_matlab, matrix, write_mat5, write_mat73

WRITERS = {"v7": write_mat5, "v7.3": write_mat73}
# Independent of how the package turns.
TURNS = {
    "as-stored": lambda image: image,
    "rot90": lambda image: np.rot90(image, 1, axes=(1, 2)),
    "rot180": lambda image: np.rot90(image, 2, axes=(1, 2)),
    "rot270": lambda image: np.rot90(image, 3, axes=(1, 2)),
    "transpose": lambda image: image.swapaxes(1, 2),
}


def image_of(path: Path, axis: int = 2, turn: OrientationName = "as-stored") -> tuple[NDArray[Any], int]:
    """The whole image, and in how many strips it came."""
    with open_mat(path) as file:
        cube = MatCube(file, find_cube(file, None), axis, ORIENTATIONS[turn])
        strips = list(cube.strips())
    whole = np.concatenate(strips, axis=1)
    assert whole.shape == (cube.bands, cube.height, cube.width)
    return whole, len(strips)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "uint8", "int8", "uint16", "int16", "int32", "uint64"]
)
@pytest.mark.parametrize("version", WRITERS)
def test_both_versions_give_matlabs_order_and_type(tmp_path: Path, version: str, dtype: str) -> None:
    stored = matrix(5, 7, 3, dtype)
    path = WRITERS[version](tmp_path / "a.mat", cube=stored)
    whole, _ = image_of(path)
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole, stored.transpose(2, 0, 1))


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("turn", TURNS)
def test_axes_and_turns(
    tmp_path: Path, version: str, axis: int, turn: OrientationName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, "_BYTES_AT_ONCE", 200)
    stored = matrix(5, 7, 3, "int16")
    path = WRITERS[version](tmp_path / "a.mat", cube=stored)
    whole, _ = image_of(path, axis, turn)
    np.testing.assert_array_equal(whole, TURNS[turn](np.moveaxis(stored, axis, 0)))


@pytest.mark.parametrize("turn", ["as-stored", "rot90"])
def test_strips_are_whole_chunks(
    tmp_path: Path, turn: OrientationName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk is asked for once, however the image is turned."""
    asked: list[tuple[int, int]] = []
    slab = matlab._Mat73.slab

    def noting(self: Any, name: str, axis: int, start: int, stop: int) -> NDArray[Any]:
        asked.append((start, stop))
        return slab(self, name, axis, start, stop)

    monkeypatch.setattr(matlab._Mat73, "slab", noting)
    row = 22 * 3 * 2
    monkeypatch.setattr(matlab, "_BYTES_AT_ONCE", 7 * row)
    path = write_mat73(tmp_path / "a.mat", cube=matrix(22, 22, 3, "int16"), chunks=(1, 4, 4))
    whole, count = image_of(path, turn=turn)
    np.testing.assert_array_equal(whole, TURNS[turn](matrix(22, 22, 3, "int16").transpose(2, 0, 1)))
    assert count == 6
    assert sorted(asked) == [(start, min(start + 4, 22)) for start in range(0, 22, 4)]


def test_big_endian_and_logical(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("cube", data=matrix(4, 5, 3).T.astype(">f4"))
    begin_as_matlab(path)
    whole, _ = image_of(path)
    assert whole.dtype == np.dtype("float32")
    np.testing.assert_array_equal(whole, matrix(4, 5, 3).transpose(2, 0, 1))
    with open_mat(write_mat5(tmp_path / "b.mat", cube=matrix(4, 5, 3) > 60)) as file:
        assert file.read("cube").dtype == np.uint8


def test_doubles_that_matlab_packed_in_bytes_are_doubles_again(tmp_path: Path) -> None:
    """Matlab writes miUINT8 within an mxDOUBLE array where all values fit."""
    path = write_mat5(tmp_path / "a.mat", cube=matrix(4, 4, 2, "uint8"))
    with open_mat(path) as file:
        as_double = matlab.Variable("cube", (4, 4, 2), "float64", "double")
        file.variables = {"cube": as_double}
        assert file.read("cube").dtype == np.float64


@pytest.mark.parametrize("version", WRITERS)
def test_the_image_is_the_only_one_or_named(tmp_path: Path, version: str) -> None:
    path = WRITERS[version](
        tmp_path / "a.mat", a=matrix(4, 5, 3), b=matrix(4, 5, 6), flat=matrix(4, 5, 1)[..., 0]
    )
    with open_mat(path) as file:
        assert find_cube(file, "b").shape == (4, 5, 6)
        with pytest.raises(
            InputError, match=r"several images: choose one with --variable \(a \(4 x 5 x 3 double"
        ):
            find_cube(file, None)
        with pytest.raises(InputError, match="has no variable c; it holds a "):
            find_cube(file, "c")
        with pytest.raises(InputError, match=r"flat .* is no image"):
            find_cube(file, "flat")


def test_what_is_no_image_in_version_7(tmp_path: Path) -> None:
    cube = matrix(4, 5, 3)
    path = write_mat5(
        tmp_path / "a.mat", c=cube + 1j, text="abc", struct={"cube": cube}, cell=np.array([cube, "a"], object)
    )
    with open_mat(path) as file:
        for name in ("text", "struct", "cell"):
            with pytest.raises(InputError, match=f"{name} .* is no image"):
                find_cube(file, name)
        with pytest.raises(InputError, match="c holds complex numbers"):
            list(MatCube(file, find_cube(file, "c"), 2).strips())


def test_what_is_no_image_in_version_73(tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", flat=np.ones((4, 5)))
    outside = write_mat73(tmp_path / "outside.mat", cube=matrix(4, 5, 3))
    odd = {
        "c": np.zeros((3, 5, 4), [("real", "f8"), ("imag", "f8")]),
        "text": np.zeros((3, 5, 4), np.uint16),
        "half": np.zeros((3, 5, 4), np.float16),
        "words": np.full((3, 5, 4), b"word"),
    }
    with h5py.File(path, "a") as file:
        for name, data in odd.items():
            file.create_dataset(name, data=data)
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_dataset("cell", (3, 5, 4), h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_group("struct")["cube"] = matrix(4, 5, 3).T
        file.create_group("#refs#")["cube"] = matrix(4, 5, 3).T
        file["link"] = h5py.ExternalLink(str(outside), "cube")
        file["alias"] = h5py.SoftLink("/flat")
        file.create_dataset("elsewhere", (3, 5, 4), "f8", external=[("outside.mat", 0, 480)])
        layout = h5py.VirtualLayout((3, 5, 4), "f8")
        layout[:] = h5py.VirtualSource(str(outside), "cube", (3, 5, 4))
        file.create_virtual_dataset("virtual", layout)
    with open_mat(path) as file:
        assert "#refs#" not in file.variables
        for name in (*odd, "cell", "struct", "link", "alias", "elsewhere", "virtual"):
            with pytest.raises(InputError, match=f"{name} .* is no image"):
                find_cube(file, name)
        with pytest.raises(InputError, match=r"no real numbers in three dimensions; it holds .*c .*complex"):
            find_cube(file, None)


@pytest.mark.parametrize("version", WRITERS)
def test_damaged_files(tmp_path: Path, version: str) -> None:
    path = WRITERS[version](tmp_path / "a.mat", cube=np.random.default_rng(0).random((20, 30, 8)))
    whole = path.read_bytes()
    for size in (0, 60, 200, len(whole) // 2, len(whole) - 300):
        path.write_bytes(whole[:size])
        with pytest.raises(
            InputError, match=r"a\.mat: (cannot be read as a \.mat file|is (cut short|damaged): )"
        ):
            image_of(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(InputError, match=r"be damaged|is damaged"):
        image_of(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_type_that_is_none_is_refused_before_scipy_follows_it(tmp_path: Path, packed: bool) -> None:
    """scipy ends the process on it."""
    path = tmp_path / "a.mat"
    savemat(path, {"cube": matrix(4, 3, 2)}, do_compression=packed)
    whole = path.read_bytes()
    start = whole[:128]
    body = whole[128:] if not packed else zlib.decompress(whole[136:])
    at = body.index(struct.pack("<II", 9, 8 * 24))
    body = body[:at] + struct.pack("<I", 77) + body[at + 4 :]
    packed_body = zlib.compress(body)
    path.write_bytes(start + (struct.pack("<II", 15, len(packed_body)) + packed_body if packed else body))
    with pytest.raises(InputError, match="type 77"), open_mat(path):
        pass


def test_more_values_than_a_file_of_version_5_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"cube": matrix(4, 3, 2)})
    whole = path.read_bytes()
    sizes = struct.pack("<III", 4, 3, 2)
    path.write_bytes(whole.replace(sizes, struct.pack("<III", 4, 3, 2**31 - 1)))
    with pytest.raises(InputError, match="can hold"), open_mat(path):
        pass


def test_is_mat(tmp_path: Path) -> None:
    for version, write in WRITERS.items():
        named_otherwise = write(tmp_path / f"{version}.mat", a=np.ones((2, 2))).rename(tmp_path / version)
        assert is_mat(named_otherwise)
    (tmp_path / "a.MAT").write_bytes(b"")
    assert is_mat(tmp_path / "a.MAT")
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    assert not is_mat(tmp_path / "a.tif")
    with pytest.raises(InputError, match="cannot be read"):
        is_mat(tmp_path / "none.mat")


@pytest.mark.parametrize("version", WRITERS)
def test_wavelengths(tmp_path: Path, version: str) -> None:
    path = WRITERS[version](
        tmp_path / "a.mat",
        wl=np.arange(400.0, 431, 10)[:, None],
        index=np.arange(1.0, 5)[:, None],
        falling=np.array([[700.0, 600, 500, 400]]),
        holed=np.array([[400, 500, np.nan, 700]]),
    )
    with open_mat(path) as file:
        assert wavelengths_in(file, "wl", 4) == (400, 410, 420, 430)
        assert wavelengths_in(file, "wl", 5) is None
        for name in ("index", "falling", "holed", "none"):
            assert wavelengths_in(file, name, 4) is None


def test_more_than_a_file_can_hold_is_refused_before_it_is_looked_for(tmp_path: Path) -> None:
    """Chunks of one value that were never written: to look for each takes gigabytes."""
    path = tmp_path / "bomb.mat"
    for shape, chunks in (((3000, 3000, 100), (1, 1, 1)), ((30_000, 30_000, 1000), (3000, 3000, 100))):
        with h5py.File(path, "w") as file:
            file.create_dataset("cube", shape, "float64", chunks=chunks, fillvalue=1.0)
        with pytest.raises(InputError, match=r"is more than its .* bytes can hold"), open_mat(path):
            pass
    with h5py.File(path, "w") as file:
        data = np.zeros((40, 50, 60))
        file.create_dataset("cube", data=data, chunks=(1, 50, 60), compression="gzip", compression_opts=9)
    with open_mat(path) as file:
        assert file.read("cube").shape == (60, 50, 40)
