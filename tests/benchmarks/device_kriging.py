"""Kriging on a device: against the processor, with too little memory, and what a fusion's time then goes into."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emrdiff_cli.core.methods.device_evaluator import OnDevice
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.fusion.prepared_scene import PreparedScene, prepare_scene
from emrdiff_cli.pair.pair import PairReader, open_pair
from emrdiff_cli.raster_info import Window

Row = dict[str, Any]
Field = NDArray[np.float32]

_EXACT = 1e-5  # greatest error of what is evaluated of one fit, as a share of the greatest value,
_FITTED = 1e-4  # and where each has a fit of its own


def evaluation_row(pair: tuple[Path, Path], device: torch.device) -> Row:
    """A pair fitted and evaluated on the processor and on the device: seconds, and how far apart they are."""
    worker = OnDevice(device)
    with open_pair(*pair) as opened:
        here, expected, told = _timed(opened, ON_PROCESSOR, "processor")
        _evaluated(here, worker)  # starts the device
        there, found, more = _timed(opened, worker, "device")
        evaluated, fitted = _apart(expected, _evaluated(here, worker)), _apart(expected, found)
    right = evaluated < _EXACT and fitted < _FITTED and there.evaluator is worker
    return told | more | {"evaluated greatest": evaluated, "fitted greatest": fitted, "right": right}


def small_memory_row(pair: tuple[Path, Path], device: torch.device) -> Row:
    """A tile for which the device's memory is too small comes out of parts of it as it did whole."""
    if device.type != "cuda":
        return {"skipped": "the memory of a processor is not held back"}
    worker = OnDevice(device)
    with open_pair(*pair) as opened:
        scene = prepare_scene(opened, "kriging", None, evaluator=worker)
        torch.cuda.reset_peak_memory_stats(device)
        whole, expected = worker.pixels_at_once, _evaluated(scene, worker)
        needed = torch.cuda.max_memory_allocated(device)
        torch.cuda.empty_cache()
        share = 0.4 * needed / torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
        try:
            error = _apart(expected, _evaluated(scene, worker))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
    parts = whole // worker.pixels_at_once
    return {"parts": parts, "greatest": error, "right": parts > 1 and error < _EXACT}


def fusion_row(pair: tuple[Path, Path], output: Path, device: str) -> Row:
    """`fuse --method kriging` in a process of its own: seconds of wall time, and of processors by part."""
    command = [sys.executable, "-m", "tests.benchmarks.fuse_parts", *map(str, pair), str(output)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--method", "kriging", "--register", "off", "--device", device, "--once"],
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - started
    output.unlink(missing_ok=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no word"])[-1])
    spent = json.loads(done.stdout)
    return {"wall": round(wall, 1)} | {part: round(seconds, 2) for part, seconds in spent.items()}


def _timed(pair: PairReader, worker: Evaluator, name: str) -> tuple[PreparedScene, Field, Row]:
    started = time.perf_counter()
    scene = prepare_scene(pair, "kriging", None, evaluator=worker)
    fitted = time.perf_counter()
    found = _evaluated(scene, worker)
    ended = time.perf_counter()
    return scene, found, {f"{name} fit_s": round(fitted - started, 2), f"{name} s": round(ended - fitted, 3)}


def _evaluated(scene: PreparedScene, worker: Evaluator) -> Field:
    """The end point (k, H, W) of a whole scene."""
    window = Window(0, 0, scene.height, scene.width)
    msi, _ = scene.pair.read_msi(window)
    return worker.tile(scene.end.fitted, msi, *scene.resampling.up_part(window)).values


def _apart(one: Field, other: Field) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())
