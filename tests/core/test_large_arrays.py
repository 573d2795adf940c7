"""Arrays that lie in files: they are as others, take no memory once let go of, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.core.large_arrays import IN_MEMORY, chosen_bands, let_go, let_go_of, one_by_one
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.end_point import LinearMap
from emrdiff_cli.errors import WriteError
from emrdiff_cli.runtime.scratch_file import SMALL, ScratchArrays
from tests.support.pair_arrays import local_pair

SHAPE = (6, 256, 2048)  # 12 MiB


def file_backed_bytes() -> int:
    """Memory of this process that lies in files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    held = [int(line.split()[1]) for line in lines if line.startswith(("RssFile:", "RssShmem:"))]
    return 1024 * sum(held)


def test_what_was_written_stays_when_it_is_let_go_of(tmp_path: Path) -> None:
    image = ScratchArrays(tmp_path).zeros(SHAPE)
    assert not image.any()
    image[:] = np.arange(6, dtype=np.float32)[:, None, None]
    let_go(image[2:4])
    let_go_of(LinearMap(np.zeros((1, 1), np.float32), image))
    assert [float(band.mean()) for band in one_by_one(image)] == [0, 1, 2, 3, 4, 5]
    taken = chosen_bands(image, np.arange(6) % 2 == 1, IN_MEMORY)
    np.testing.assert_array_equal(taken[:, 0, 0], [1, 3, 5])
    assert chosen_bands(image, np.ones(6, bool), IN_MEMORY) is image
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_what_is_let_go_of_takes_no_memory(tmp_path: Path) -> None:
    image = ScratchArrays(tmp_path).kept(np.ones(SHAPE, np.float32))
    held = file_backed_bytes()
    let_go(image)
    assert held - file_backed_bytes() > 0.9 * image.nbytes
    assert image.sum() == image.size


def test_little_is_held_in_memory(tmp_path: Path) -> None:
    few = np.ones((2, 3), np.float32)
    assert ScratchArrays(tmp_path).kept(few) is few
    large = ScratchArrays(tmp_path / "missing")
    assert large.zeros((SMALL // 4 - 1,)).base is None
    with pytest.raises(WriteError, match="missing"):
        large.zeros((SMALL // 4,))


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    with pytest.raises(WriteError):
        ScratchArrays(tmp_path).zeros((1 << 45,))


def test_kriging_in_files_is_kriging_in_memory(tmp_path: Path) -> None:
    pair = local_pair()
    in_files, in_memory = (
        pair.end("kriging", 2, large) for large in (ScratchArrays(tmp_path, small=1), IN_MEMORY)
    )
    one, other = (end.bands(pair.msi, *pair.maps.up) for end in (in_files, in_memory))
    np.testing.assert_array_equal(one, other)
    assert isinstance(in_files.fitted, DetailInjection)
    assert all(
        part is not None and part.base is not None
        for part in (in_files.outside, in_files.fitted.local_slopes)
    )
