"""HDF5 is read in a process of its own, which a damaged file may end."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster import hdf5_process
from emrdiff_cli.raster.hdf5 import open_hdf5


@pytest.mark.parametrize(
    ("ended_by", "said"),
    [(signal.SIGSEGV, "signal 11"), (signal.SIGXCPU, "computing for minutes without an answer")],
)
def test_a_process_that_ends_by_a_signal_is_one_line_and_the_next_file_is_read(
    tmp_path: Path, ended_by: signal.Signals, said: str
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made["cube"] = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    with open_hdf5(path) as file:
        cube = file.array("cube", 3)
        child = hdf5_process._running[-1]._process.pid
        # What it may compute, from its start on: the system ends one that computes in a circle.
        assert 300 <= resource.prlimit(child, resource.RLIMIT_CPU)[0] <= 600
        os.kill(child, ended_by)
        with pytest.raises(
            InputError, match=rf"a\.h5: is damaged: the HDF5 library ends by {said} on it: get"
        ):
            cube.read(())
    with open_hdf5(path) as file:
        np.testing.assert_array_equal(
            file.array("cube", 3).read((slice(1, 2),)), np.arange(12, 24).reshape(1, 3, 4)
        )


def test_a_process_that_does_not_hear_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_process, "_PATIENCE", 0.05)
    h5py.File(tmp_path / "a.h5", "w").close()
    with open_hdf5(tmp_path / "a.h5"):
        process = hdf5_process._running[-1]
        os.kill(process._process.pid, signal.SIGSTOP)
        process.end()
    assert not process.alive


def test_values_come_through_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    attributes = {
        "text": "a\u00b5",
        "bytes": np.bytes_("b "),
        "one": np.array([2.5], "float32"),
        "several": np.arange(3, dtype=">u2"),
        "texts": np.array(["x", "yz"], h5py.string_dtype()),
    }
    with h5py.File(path, "w") as made:
        made.attrs.update(attributes)
        made["soft"] = h5py.SoftLink("/group")
        made.create_group("group")
        made["empty"] = np.zeros((0, 2))
        made["word"] = "spoken"
    with open_hdf5(path) as file:
        told = {name: file.attribute(name) for name in (*attributes, "none")}
        assert (told["text"], told["bytes"], told["texts"], told["none"]) == (
            "a\u00b5",
            "b",
            ["x", "yz"],
            None,
        )
        assert told["one"].dtype == np.float32
        assert told["one"] == 2.5
        np.testing.assert_array_equal(told["several"], [0, 1, 2])
        assert file.names() == ("empty", "group", "soft", "word")
        assert ["soft" in file, "group" in file, "none" in file] == [False, True, False]
        assert file.scalar("word") == "spoken"
        with pytest.raises(InputError, match="no array of numbers in 2 dimensions"):
            file.array("empty", 2)
