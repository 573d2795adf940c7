"""All that needs a device, in one go, cheapest first: correctness, speed, then trainings on CAVE of equal minutes.

    python -m tests.benchmarks.device --minutes 8 FOLDER [--device cuda] [--data DATA] [--train-minutes 10]

Each step is written to FOLDER as soon as it is done, with `table.md`; none is begun after the minutes are over.
Repeated, the command goes on: what is done is kept, trainings are resumed. `--device cpu --small` tries all of it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.core.diffusion.noise import counter_noise
from emrdiff_cli.core.tile_network import TileNetwork
from emrdiff_cli.errors import EmrdiffError
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.sampler import ModelSampler, choose_device
from emrdiff_cli.raster_info import Window
from emrdiff_cli.zoo import WEIGHTS
from tests.benchmarks import large_scene
from tests.benchmarks.device_kriging import evaluation_row, fusion_row, small_memory_row
from tests.benchmarks.device_training import PRESETS, train_preset
from tests.benchmarks.speed_network import (
    CHANNELS,
    make_config,
    make_network,
    network_row,
    training_row,
    without_tf32,
)
from tests.support.random_model import save_random_model

Row = dict[str, Any]
_FAILURES = (
    *(
        ArithmeticError,
        AttributeError,
        EmrdiffError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        SystemExit,
    ),
    *(TypeError, ValueError),
)
_EXACT, _ROUNDED = 1e-4, 0.02  # greatest error of float32, rms of bfloat16, as shares of the estimate


@dataclass(frozen=True)
class Plan:
    """What is run, and where."""

    folder: Path
    data: Path
    device: torch.device
    deadline: float
    train_minutes: float
    small: bool

    @property
    def name(self) -> str:
        """The device, as the command line has it."""
        return str(self.device)


def environment(plan: Plan) -> Row:
    """The device and the software."""
    told: Row = {"torch": torch.__version__, "python": platform.python_version(), "device": plan.name}
    if plan.device.type == "cuda":
        found = torch.cuda.get_device_properties(plan.device)
        told |= {"gpu": found.name, "memory_gb": found.total_memory / 1e9, "cuda": torch.version.cuda}
    return told


def noise(plan: Plan) -> Row:
    """Noise of a place on the processor and on the device."""
    here, there = (
        counter_noise(3, 2, 4, Window(70_000, 5, 64, 96), device).cpu() for device in ("cpu", plan.device)
    )
    error = float((here - there).abs().max())
    return {"greatest_difference": error, "right": error < 1e-5}


def agreement(plan: Plan) -> Row:
    """The network on the processor in float32 against the device in both types."""
    told: Row = {}
    for channels in CHANNELS[: 1 if plan.small else None]:
        here, config = make_network(channels, torch.device("cpu")), make_config(channels)
        drawn = torch.Generator().manual_seed(0)
        x_t, observed = (
            torch.randn(2, count, 32, 32, generator=drawn)
            for count in (config.channels, config.guidance_channels)
        )
        steps = torch.tensor([1, 5])
        with torch.inference_mode():
            expected = here(x_t, observed, steps)
            moved = here.to(plan.device)
            for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
                with without_tf32():
                    denoise = TileNetwork(moved, dtype).denoiser(observed.to(plan.device))
                    error = denoise(x_t.to(plan.device), steps.to(plan.device)).cpu() - expected
                told[f"{channels} {name} greatest"] = float(error.abs().max() / expected.abs().max())
                told[f"{channels} {name} rms"] = float(
                    error.square().mean().sqrt() / expected.square().mean().sqrt()
                )
    right = all(value < _EXACT for name, value in told.items() if "fp32" in name)
    right &= all(value < _ROUNDED for name, value in told.items() if name.endswith("bf16 rms"))
    return told | {"right": right}


def fused_alike(plan: Plan) -> Row:
    """A pair fused on the processor and on the device, in both types: differences in units of the values' range."""
    pair = _pair(plan, 256, 256)
    expected = _fused(plan, pair, "cpu", "fp32")
    told: Row = {}
    for precision in ("fp32", "bf16"):
        error = _fused(plan, pair, plan.name, precision) - expected
        told[f"{precision} greatest"] = float(np.abs(error).max() / np.ptp(expected))
        peak = float(np.ptp(expected)) ** 2
        told[f"{precision} psnr_db"] = float(10 * np.log10(peak / max(np.square(error).mean(), 1e-20)))
    return told | {"right": told["fp32 greatest"] < _EXACT and told["bf16 psnr_db"] > 60}


def two_processes(plan: Plan) -> Row:
    """The same by two workers that share the device."""
    pair = _pair(plan, 256, 256)
    alone = _fused(plan, pair, plan.name, "fp32")
    shared = _fused(plan, pair, plan.name, "fp32", "--scheduler", "local", "--workers", "2")
    error = float(np.abs(shared - alone).max() / np.ptp(alone))
    return {"greatest": error, "right": error < _EXACT}


class _Counting:
    """A sampler, and how often it had too little memory."""

    def __init__(self, sampler: ModelSampler) -> None:
        self.config, self.calibration, self.identity = sampler.config, sampler.calibration, sampler.identity
        self._sampler, self.failed = sampler, 0

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Any]:
        try:
            return self._sampler(tiles, corners)
        except MemoryError:
            self.failed += 1
            raise


def out_of_memory(plan: Plan) -> Row:
    """A batch that the device does not hold is halved, and comes out as one that it does."""
    if plan.device.type != "cuda":
        return {"skipped": "the memory of a processor is not held back"}
    folder = plan.folder / "model-without-memory"
    if not (folder / WEIGHTS).exists():
        save_random_model(folder, msi_bands=4, hsi_bands=large_scene.BANDS, ratio=8, width=64, tile=128)
    sampler = ModelSampler(load_model(folder / WEIGHTS), plan.device)
    pair, output = _pair(plan, 256, 640), plan.folder / "halved.tif"
    torch.cuda.reset_peak_memory_stats(plan.device)
    fuse(*pair, output, "emrdiff", sampler, FusionOptions(batch_size=1, overwrite=True))
    expected = _read(output)
    single = torch.cuda.max_memory_allocated(plan.device)
    total = torch.cuda.get_device_properties(plan.device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 3.0 * single / total), plan.device)
    try:
        counting = _Counting(sampler)
        fuse(*pair, output, "emrdiff", counting, FusionOptions(batch_size=16, overwrite=True))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, plan.device)
    error = float(np.abs(_read(output) - expected).max() / np.ptp(expected))
    return {"failed": counting.failed, "greatest": error, "right": counting.failed > 0 and error < _EXACT}


def kriging_alike(plan: Plan) -> Row:
    """Kriging evaluated on the processor and on the device."""
    return evaluation_row(_pair(plan, 256, 256), plan.device)


def kriging_out_of_memory(plan: Plan) -> Row:
    """Kriging where the device holds no whole tile."""
    return small_memory_row(_pair(plan, 256, 640), plan.device)


def kriged(plan: Plan, height: int, width: int, device: str) -> Row:
    """`fuse --method kriging`, and what its time goes into."""
    return fusion_row(_pair(plan, height, width), plan.folder / "kriged.tif", device)


def speed(plan: Plan, channels: int, tile: int, batch: int) -> Row:
    """Five steps of the network against the plain one."""
    return network_row(channels, tile, batch, 2 if plan.small else 5, plan.device)


def scene(plan: Plan, height: int, width: int) -> Row:
    """`fuse` with a model, in a process of its own."""
    output = plan.folder / "scene.tif"
    pair = _pair(plan, height, width)
    try:
        return large_scene.fuse(pair, output, torch.get_num_threads(), ["--device", plan.name])
    finally:
        output.unlink(missing_ok=True)


def steps(plan: Plan) -> dict[str, Callable[[], Row]]:
    """The steps by their names, cheapest first."""
    shapes = [(c, t, b) for c in CHANNELS for t, b in ((128, 1), (256, 1), (256, 16))]
    sizes = [(512, 512), (large_scene.HEIGHT, large_scene.WIDTH)]
    if plan.small:
        shapes, sizes = [(16, 32, 2)], [(256, 256)]
    made: dict[str, Callable[[], Row]] = {
        step.__name__: partial(step, plan)
        for step in (
            *(environment, noise, agreement, kriging_alike, kriging_out_of_memory),
            *(out_of_memory, fused_alike, two_processes),
        )
    }
    for channels, tile, batch in shapes:
        made[f"network-{channels}-{tile}-{batch}"] = partial(speed, plan, channels, tile, batch)
    for channels in CHANNELS[: 1 if plan.small else None]:
        made[f"training-{channels}"] = partial(training_row, channels, 3, plan.device)
    for size in sizes:
        for device in (plan.name, "cpu"):
            made[f"kriging-{size[0]}x{size[1]}-{device}"] = partial(kriged, plan, *size, device)
    for size in sizes:
        made[f"scene-{size[0]}x{size[1]}"] = partial(scene, plan, *size)
    return made


def run(plan: Plan) -> dict[str, Row]:
    """All that there is time for; what fails is told, and tried again the next time."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Row] = {}
    for name, step in steps(plan).items():
        path = plan.folder / f"{name}.json"
        if not path.exists() and time.time() < plan.deadline:
            found[name] = _tried(step)
            if "failed_with" not in found[name]:
                _keep(path, found[name])
        elif path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        _report(plan, found)
    for preset in PRESETS:
        left = plan.deadline - time.time()
        if left > 0:
            # Half of what is left for the first, all of it for the last: none waits for the other to end.
            until = time.time() + left / (len(PRESETS) - list(PRESETS).index(preset))
            found[f"trained-{preset}"] = _tried(
                partial(
                    train_preset,
                    preset,
                    plan.data,
                    plan.folder,
                    plan.device,
                    plan.train_minutes,
                    until,
                    small=plan.small,
                )
            )
        _report(plan, found)
    return found


def _tried(step: Callable[[], Row]) -> Row:
    """A step's row, or what it failed with: one that fails keeps none of the others from its turn."""
    started = time.time()
    try:
        return step() | {"took_s": round(time.time() - started, 1)}
    except _FAILURES as error:
        return {"failed_with": f"{type(error).__name__}: {error}"}


def _keep(path: Path, row: Row) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row, indent=1), encoding="utf-8")
    part.replace(path)


def _report(plan: Plan, found: Mapping[str, Row]) -> None:
    lines = ["| step | outcome |", "| --- | --- |"]
    lines += [f"| {name} | {json.dumps(row)} |" for name, row in found.items()]
    (plan.folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if found:
        name, row = list(found.items())[-1]
        sys.stderr.write(f"{name}: {json.dumps(row)}\n")


def _pair(plan: Plan, height: int, width: int) -> tuple[Path, Path]:
    return large_scene.make_pair(plan.folder / "pairs", height, width)


def _fused(plan: Plan, pair: tuple[Path, Path], device: str, precision: str, *more: str) -> Any:
    """The pair as the command fuses it with a model that was never trained and adds noise of its own."""
    model, output = plan.folder / "model", plan.folder / "fused.tif"
    if not (model / WEIGHTS).exists():
        save_random_model(model, msi_bands=4, hsi_bands=large_scene.BANDS, ratio=8, width=16, tile=64)
    options = [
        "--model",
        str(model),
        "--device",
        device,
        "--precision",
        precision,
        "--overwrite",
        "-q",
        *more,
    ]
    command = [sys.executable, "-m", "emrdiff_cli", "fuse", *map(str, pair), str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return _read(output)


def _read(path: Path) -> Any:
    with rasterio.open(path) as raster:
        return raster.read()


def _numbered(device: torch.device) -> torch.device:
    """The device with its number, which limits of memory ask for."""
    return torch.device("cuda", 0) if device.type == "cuda" and device.index is None else device


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what there is time for; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing after that")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with cave and srf")
    parser.add_argument("--train-minutes", type=float, default=10.0, help="of each training, over all runs")
    parser.add_argument("--small", action="store_true", help="sizes that only try the command")
    given = parser.parse_args(arguments)
    deadline = time.time() + 60 * given.minutes
    device = _numbered(choose_device(given.device))
    plan = Plan(given.folder / device.type, given.data, device, deadline, given.train_minutes, given.small)
    found = run(plan)
    return int(any(not row.get("right", True) or "failed_with" in row for row in found.values()))


if __name__ == "__main__":
    sys.exit(main())
