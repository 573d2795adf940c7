"""Cases one after the other in a process of bounded memory; a line of JSON when one begins and when it ended.

python -m tests.benchmarks.strangers.worker SEED START STOP KINDS [FOLDER]
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from random import Random

from tests.benchmarks.strangers import envi, matlab, tables, tiff, tile_index
from tests.benchmarks.strangers.door import MOST_MEMORY, Door, memory

Cases = Callable[[Random, Door], Iterator[str]]

KINDS: dict[str, tuple[Cases, int]] = {
    "envi": (envi.cases, 6),
    "tiff": (tiff.cases, 5),
    "csv": (tables.lists, 3),
    "toml": (tables.configurations, 2),
    "index": (tile_index.cases, 3),
    "mat": (matlab.cases, 3),
}
"""What makes and judges the cases of a kind, and how many of them there are in a round."""


def kind_of(number: int, names: list[str]) -> str:
    """The kind of a case, by its number."""
    order = [name for name in names for _ in range(KINDS[name][1])]
    return Random(0).sample(order, len(order))[number % len(order)]


def main() -> None:
    """Run the cases; whatever the library may write goes to stderr."""
    seed, start, stop = map(int, sys.argv[1:4])
    names = sys.argv[4].split(",")
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _warm()
    _bound()
    with _place(sys.argv[5:]) as folder:
        for number in range(start, stop):
            kind = kind_of(number, names)
            told.write(json.dumps({"begins": number, "kind": kind}) + "\n")
            began = time.monotonic()
            faults = faults_of(kind, seed, number, Path(folder))
            ended = {"ended": number, "kind": kind, "faults": faults}
            told.write(json.dumps(ended | {"seconds": round(time.monotonic() - began, 3)}) + "\n")


@contextmanager
def _place(kept: list[str]) -> Iterator[str]:
    """The folder of the cases: one that stays, or one that does not."""
    if kept:
        Path(kept[0]).mkdir(exist_ok=True)
        yield kept[0]
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield folder


def faults_of(kind: str, seed: int, number: int, folder: Path) -> list[str]:
    """Run one case in a folder of its own; what was wrong, a line each."""
    place = folder / f"{kind}-{number}"
    place.mkdir()
    with chdir(place):
        emrdiff = Door()
        try:
            found = list(KINDS[kind][0](Random(f"{seed}-{number}-{kind}"), emrdiff))
        except Exception:  # noqa: BLE001 - one case must not end the others
            found = [f"the case itself: {traceback.format_exc()}"]
    faults = emrdiff.faults + found
    if not faults:
        for path in sorted(place.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        place.rmdir()
    return faults


def _warm() -> None:
    """Import what commands import, and do once what they do each time, so that it does not count."""
    import h5py  # noqa: F401
    import scipy.io  # noqa: F401
    import torch  # noqa: F401

    import emrdiff_cli.cli.app
    import emrdiff_cli.conversion.convert
    import emrdiff_cli.fusion.pair_tiles
    import emrdiff_cli.training.model_folder  # noqa: F401

    # No power is cut here.
    os.fsync = lambda file: None  # type: ignore[assignment]
    warnings.simplefilter("always", RuntimeWarning)
    warnings.simplefilter("always", UserWarning)


def _bound() -> None:
    most = memory("VmSize") + MOST_MEMORY + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
