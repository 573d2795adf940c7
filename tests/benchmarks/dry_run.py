"""Time and memory that `fuse --dry-run` tells, beside those of the run, each in a process of its own.

    python -m tests.benchmarks.dry_run FOLDER [--sides 96,300] [--ratio 4] [--methods kriging,glp]

Pairs of 100 bands are made in the folder, square, of so many LR pixels along a side. Other work on the machine
counts for both alike if it is steady.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tests.support.rasters import NORTH_UP
from tests.support.scenes import textured, write_cube

BANDS, MSI_BANDS = 100, 4
_AT_ONCE = 10


def make_pair(folder: Path, side: int, ratio: int) -> tuple[Path, Path]:
    """A textured scene as LR-HSI (block means) and HR-MSI, some bands at a time."""
    lr = np.empty((BANDS, side, side), np.float32)
    msi = np.zeros((MSI_BANDS, side * ratio, side * ratio), np.float32)
    for first in range(0, BANDS, _AT_ONCE):
        truth = textured(_AT_ONCE, side * ratio, side * ratio, seed=0)
        truth *= 1 + 0.05 * np.sin(first + np.arange(_AT_ONCE, dtype=np.float32))[:, None, None]
        lr[first : first + _AT_ONCE] = truth.reshape(_AT_ONCE, side, ratio, side, ratio).mean(axis=(2, 4))
        msi[first * MSI_BANDS // BANDS] += truth.mean(axis=0)
    fine = NORTH_UP @ Affine.scale(1 / ratio)
    return (
        write_cube(folder / f"lr_{side}_{ratio}.tif", lr),
        write_cube(folder / f"msi_{side}_{ratio}.tif", msi, transform=fine, spectral=False),
    )


def told(*arguments: object) -> tuple[dict[str, Any], float]:
    """What a fusion prints as JSON, and its peak memory in GB."""
    code = (
        "import resource, sys\nsys.argv[0] = 'emrdiff'\nfrom emrdiff_cli.cli.app import main\ntry:\n    main()\n"
        "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "fuse", *map(str, arguments), "--json", "-q"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout), float(ended.stderr.splitlines()[-1])


def main() -> None:
    """Print a line for each pair and method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where pairs and outputs lie")
    parser.add_argument("--sides", default="96,300", help="LR pixels, with commas [96,300]")
    parser.add_argument("--ratio", type=int, default=4, help="[4]")
    parser.add_argument("--methods", default="kriging,auto,glp", help="[kriging,auto,glp]")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(
        "| LR side | method | told (s) | run (s) | told (GB) | run (GB) | trial (s) |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    for side in map(int, given.sides.split(",")):
        pair = make_pair(given.folder, side, given.ratio)
        for method in given.methods.split(","):
            output = given.folder / "fused.tif"
            usual = (*pair, output, "--method", method, "--overwrite")
            plan, _ = told(*usual, "--dry-run")
            done, peak = told(*usual)
            time = plan["time"]
            sys.stdout.write(
                f"| {side} | {method} | {time['seconds']:.0f} | {done['seconds']:.0f} | "
                f"{plan['peak_memory_bytes'] / 1e9:.2f} | {peak:.2f} | {time['trial_seconds']:.1f} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
