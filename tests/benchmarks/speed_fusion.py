"""Speed of the commands, each in a process of its own: `fuse`, what works on files, and start-up.

    python -m tests.benchmarks.speed_fusion FOLDER --data DATA [--rows fuse,files,model-scale] [--rounds 3]

A group's commands run in turn, round after round, and are compared with its first. Processor time (user and system)
says what work is done, wall time goes with what else the machine does. Runs that are done are kept in FOLDER;
repeated, it goes on. `enmap` (an LR-HSI of 1000 x 1000 x 224) needs 6 GB there, and is run only where it is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import large_scene, speed_scenes

RATIO, SIDE, BANDS = 3, 300, 224
ENMAP_SIDE = 1000
MIRRORED = (640, 960)  # MSI pixels
CUT_ROWS = 320  # of 2517: three rows of 26 tiles
_COPY = """
import sys, rasterio
with rasterio.open(sys.argv[1]) as source:
    profile = source.profile | {"compress": "zstd", "zstd_level": 1, "interleave": "band"}
    with rasterio.open(sys.argv[2], "w", **profile) as target:
        for top in range(0, source.height, 256):
            window = rasterio.windows.Window(0, top, source.width, min(256, source.height - top))
            target.write(source.read(window=window), window=window)
"""


class Cost(NamedTuple):
    """Cost of one process: seconds of the processor and of the clock, and peak resident memory."""

    processor_s: float
    wall_s: float
    peak_mb: float


class Command(NamedTuple):
    """A command of a group, by its name in the table."""

    name: str
    arguments: Sequence[str]


Group = Callable[[Path, Path], list[Command]]


def emrdiff(name: str, *arguments: str | Path) -> Command:
    """A command of `emrdiff`."""
    return Command(name, [sys.executable, "-m", "emrdiff_cli", *map(str, arguments)])


def fuse_commands(folder: Path, data: Path) -> list[Command]:
    """`fuse` at ratio 3: bicubic upsampling first, which is little but reading and writing."""
    pair = speed_scenes.make_pair(folder, data, (SIDE, SIDE), RATIO)
    methods = [("bicubic", "off"), ("kriging", "off"), ("kriging", "auto"), ("auto", "off")]
    return [_fused(folder, pair, method, register) for method, register in methods]


def model_commands(folder: Path, data: Path) -> list[Command]:
    """`fuse` of three tile rows of a Chikusei-sized scene at ratio 8, also with the shipped model."""
    pair = large_scene.make_pair(folder, CUT_ROWS, large_scene.WIDTH)
    plain = [_fused(folder, pair, method, "off") for method in ("bicubic", "kriging")]
    named = [*map(str, pair), str(folder / "fused.tif"), "--model", large_scene.MODEL, "--register", "off"]
    precisions = ("fp32", "bf16")
    return [
        *plain,
        *(
            emrdiff(f"model, {name}", "fuse", *named, "--precision", name, "--overwrite", "--quiet")
            for name in precisions
        ),
    ]


def scale_commands(folder: Path, data: Path) -> list[Command]:
    """Kriging of a scene, of twice the rows and of twice the width: each against the first."""
    return [
        _fused(
            folder,
            speed_scenes.make_pair(folder, data, size, RATIO),
            "kriging",
            "off",
            f"kriging, LR {size[0]} x {size[1]}",
        )
        for size in ((SIDE, SIDE), (2 * SIDE, SIDE), (SIDE, 2 * SIDE))
    ]


def model_scale_commands(folder: Path, data: Path) -> list[Command]:
    """The sample mirrored, fused with the shipped model, of twice the rows and of twice the width."""
    output, scaled = folder / "fused.tif", []
    for size in (MIRRORED, (2 * MIRRORED[0], MIRRORED[1]), (MIRRORED[0], 2 * MIRRORED[1])):
        pair = speed_scenes.mirrored_sample(folder, size)
        asked = ("--model", large_scene.MODEL, "--register", "off", "--precision", "bf16")
        name = f"model, {size[0]} x {size[1]}"
        scaled.append(emrdiff(name, "fuse", *pair, output, *asked, "--overwrite", "--quiet"))
    return scaled


def enmap_commands(folder: Path, data: Path) -> list[Command]:
    """Kriging of an EnMAP-sized tile."""
    pair = speed_scenes.make_pair(folder, data, (ENMAP_SIDE, ENMAP_SIDE), RATIO)
    return [_fused(folder, pair, "kriging", "off")]


def file_commands(folder: Path, data: Path) -> list[Command]:
    """The work on files, on a fused raster of 900 x 900 x 224 int16, against a copy by rasterio."""
    fused = folder / "scene.tif"
    if not fused.exists():
        pair = speed_scenes.make_pair(folder, data, (SIDE, SIDE), RATIO)
        made = _fused(folder, pair, "bicubic", "off")
        subprocess.run(made.arguments, check=True)
        (folder / "fused.tif").rename(fused)
    tiles, copy = folder / "tiles", str(folder / "copy.tif")
    return [
        Command("copy by rasterio", [sys.executable, "-c", _COPY, str(fused), copy]),
        emrdiff("convert", "convert", fused, copy, "--overwrite", "--quiet"),
        emrdiff("tile", "tile", fused, tiles, "--size", "256", "--overlap", "32", "--overwrite", "--quiet"),
        emrdiff("stitch", "stitch", tiles, copy, "--overwrite", "--quiet"),
        emrdiff("evaluate", "evaluate", fused, fused, "--quiet", "--metrics", "psnr_db,sam_deg,ergas,rmse"),
    ]


def start_commands(folder: Path, data: Path) -> list[Command]:
    """Commands that do nothing but start."""
    sample = Path(__file__).parents[2] / "sample_data" / "hr_msi.tif"
    return [
        Command("python -c pass", [sys.executable, "-c", "pass"]),
        emrdiff("--help", "--help"),
        emrdiff("info", "info", sample),
        emrdiff("check --help", "check", "--help"),
        emrdiff("fuse --help", "fuse", "--help"),
    ]


GROUPS: dict[str, Group] = {
    "fuse": fuse_commands,
    "files": file_commands,
    "start": start_commands,
    "scale": scale_commands,
    "model-scale": model_scale_commands,
    "model": model_commands,
    "enmap": enmap_commands,
}


def _fused(folder: Path, pair: tuple[Path, Path], method: str, register: str, name: str = "") -> Command:
    output = folder / "fused.tif"
    asked = ("--method", method, "--register", register, "--overwrite", "--quiet")
    return emrdiff(name or f"{method}, --register {register}", "fuse", *pair, output, *asked)


def cost_of(command: Sequence[str]) -> Cost:
    """What a process costs; raises SystemExit where it fails."""
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command[:6])} ...: exit code {child.returncode}")
    spent = usage.ru_utime + usage.ru_stime
    return Cost(round(spent, 2), round(time.monotonic() - started, 2), round(usage.ru_maxrss / 1024, 1))


def measure(
    name: str, folder: Path, data: Path, rounds: int, kept: dict[str, list[list[float]]], keep: Path
) -> list[str]:
    """A group's rows of the table; runs are added to `kept`, which `keep` is written with after each."""
    commands = GROUPS[name](folder, data)
    for number in range(rounds):
        for command in commands:
            done = kept.setdefault(f"{name}: {command.name}", [])
            if len(done) <= number:
                done.append(list(cost_of(command.arguments)))
                part = keep.with_suffix(".part")
                part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
                part.replace(keep)
    return list(rows_of(name, [command.name for command in commands], kept))


def rows_of(name: str, commands: Sequence[str], kept: Mapping[str, Sequence[Sequence[float]]]) -> list[str]:
    """Medians of the runs; the ratios are those of processor time and of memory to the first command's."""
    found = [_median(kept[f"{name}: {command}"]) for command in commands]
    return [
        f"| {name} | {command} | {cost.processor_s:.1f} | {cost.processor_s / found[0].processor_s:.2f} "
        f"| {cost.wall_s:.1f} | {cost.peak_mb:.0f} | {cost.peak_mb / found[0].peak_mb:.2f} |"
        for command, cost in zip(commands, found, strict=True)
    ]


def _median(runs: Sequence[Sequence[float]]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*runs, strict=True)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the groups asked for and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder with enmap_potsdam")
    parser.add_argument("--rows", default="fuse,files,start,scale,model-scale", help=", ".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    keep = given.folder / "speed-fusion.json"
    kept = json.loads(keep.read_text(encoding="utf-8")) if keep.exists() else {}
    lines = ["| group | command | processor (s) | ratio | wall (s) | peak (MB) | ratio |", "|" + " --- |" * 7]
    for name in given.rows.split(","):
        lines += measure(name, given.folder, given.data, given.rounds, kept, keep)
    shutil.rmtree(given.folder / "tiles", ignore_errors=True)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
