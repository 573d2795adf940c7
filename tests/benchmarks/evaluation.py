"""`emrdiff evaluate` against merely reading both rasters: seconds and peak memory, each in its own process.

Run from the project's root: python -m tests.benchmarks.evaluation [--side 2000] [--bands 128]
[--dtype float32|int16] [--compress zstd|none] [--metrics cheap|all] [--runs 3] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.evaluation.full_reference import chosen_metrics, evaluate

_BLOCK = 256


def main() -> None:
    """Make the pair, then time reading and scoring it in turn."""
    options = _options()
    if options.child:
        sys.stdout.write(json.dumps(_measured(options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        pair = [Path(folder) / name for name in ("fused.tif", "reference.tif")]
        _write_pair(pair, options)
        runs = [
            {task: _in_child(task, pair, options) for task in ("read", "score")} for _ in range(options.runs)
        ]
    sys.stdout.write(_line(options, runs) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=2000)
    parser.add_argument("--bands", type=int, default=128)
    parser.add_argument("--dtype", choices=["float32", "int16"], default="float32")
    parser.add_argument("--compress", choices=["zstd", "none"], default="zstd")
    parser.add_argument("--metrics", default="cheap")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", choices=["read", "score"], help=argparse.SUPPRESS)
    parser.add_argument("--pair", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write_pair(paths: list[Path], options: argparse.Namespace) -> None:
    """A smooth reference and the same with noise, reflectance, laid out as `emrdiff fuse` writes."""
    packed = {"compress": "ZSTD", "zstd_level": 1, "predictor": 3 if options.dtype == "float32" else 2}
    profile = {
        "driver": "GTiff",
        "count": options.bands,
        "height": options.side,
        "width": options.side,
        "dtype": options.dtype,
        "transform": Affine(10, 0, 4e5, 0, -10, 5e6),
        "crs": "EPSG:32633",
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "interleave": "band",
        **(packed if options.compress == "zstd" else {}),
    }
    for path, seed in zip(paths, (1, 0), strict=True):
        with rasterio.open(path, "w", **profile) as dataset:
            if options.dtype == "int16":
                dataset.scales = [1e-4] * options.bands
            for band in range(options.bands):
                dataset.write(_band(band, seed, options), band + 1)


def _band(band: int, seed: int, options: argparse.Namespace) -> np.ndarray:
    row, col = np.ogrid[: options.side, : options.side]
    smooth = 0.3 + 0.1 * np.sin(row / 40 + band / 9) * np.cos(col / 55)
    noise = np.random.default_rng([seed, band]).standard_normal(smooth.shape, np.float32)
    values = (smooth + 0.01 * noise).astype(np.float32)
    return values if options.dtype == "float32" else np.rint(values * 1e4).astype(np.int16)


def _in_child(task: str, pair: list[Path], options: argparse.Namespace) -> dict[str, float]:
    """Seconds and peak memory in MB of a task in a process of its own."""
    asked = ["--metrics", options.metrics, "--child", task, "--pair", *map(str, pair)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.evaluation", *asked],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def _measured(options: argparse.Namespace) -> dict[str, float]:
    task: Callable[[argparse.Namespace], None] = _read if options.child == "read" else _score
    started, used = time.perf_counter(), time.process_time()
    task(options)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _read(options: argparse.Namespace) -> None:
    """Both rasters with rasterio alone, all bands of a block at a time, which decodes each block once."""
    for path in options.pair:
        with rasterio.open(path) as dataset:
            for _, window in dataset.block_windows(1):
                dataset.read(window=GdalWindow(*window.flatten()))


def _score(options: argparse.Namespace) -> None:
    evaluate(*options.pair, ratio=8, metrics=chosen_metrics(options.metrics))


def _line(options: argparse.Namespace, runs: list[dict[str, dict[str, float]]]) -> str:
    def middle(task: str, key: str) -> float:
        return median(run[task][key] for run in runs)

    read, score = middle("read", "seconds"), middle("score", "seconds")
    cells = (
        f"{options.side} x {options.side} x {options.bands} {options.dtype}, {options.compress}",
        options.metrics,
        f"{read:.1f}",
        f"{score:.1f}",
        f"{median(run['read']['seconds'] / run['score']['seconds'] for run in runs):.2f}",
        f"{middle('score', 'processor_seconds') / middle('read', 'processor_seconds'):.2f}",
        f"{middle('score', 'peak_mb'):.0f}",
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
