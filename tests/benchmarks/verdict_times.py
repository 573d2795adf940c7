"""The processor time of `emrdiff fuse` left to the pair, beside that of `--method kriging`, on several pairs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from tests.support.rasters import NORTH_UP, write_tif

Field = NDArray[np.float32]

_BOXES = ((8, 15), (16, 23), (26, 33), (46, 53))
_LARGE = (224, 900, 3)  # bands, HR pixels along a side, ratio
_SEED = 1


def time_table(data: Path) -> str:
    """Seconds of processor time of both, their ratio, and the method that was chosen, as Markdown."""
    lines = ["| pair | auto (s) | kriging (s) | ratio |", "| --- | --- | --- | --- |"]
    with TemporaryDirectory() as folder:
        for name, inputs in _pairs(data, Path(folder)):
            auto, kriging = (_seconds(*inputs, Path(folder) / "fused.tif", m) for m in ("auto", "kriging"))
            lines.append(f"| {name} | {auto:.1f} | {kriging:.1f} | {auto / kriging:.2f} |")
    return "\n".join(lines) + "\n"


def _seconds(lr: Path, msi: Path, output: Path, method: str) -> float:
    """User and system time of a fusion in a process of its own; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "emrdiff_cli", "fuse", lr, msi, output, "--method", method]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*map(str, command), "--overwrite", "-q"], check=True, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _pairs(data: Path, folder: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    berlin = data / "berlin"
    yield "berlin", (berlin / "enmap_sim_30m_244b.bsq", berlin / "hymap_4band_3p6m.bsq")
    yield "berlin9", (data / "berlin9" / "lr_111b_30m.tif", data / "berlin9" / "msi_4b_9m.tif")
    yield "NEON plot", (data / "neon" / "MLBS_10_HSI.tif", data / "neon" / "MLBS_10_RGB.tif")
    airport = _read(data / "aviris_la205" / "abu_airport_1.tif")
    yield "AVIRIS x4", _written(folder, airport, [airport[a:b].mean(axis=0) for a, b in _BOXES], 4)
    yield "AVIRIS x4, PAN", _written(folder, airport, [airport[8:33].mean(axis=0)], 4)
    toy = _read(data / "cave" / "train" / "chart_and_stuffed_toy.tif")
    yield "CAVE x8", _written(folder, toy, [toy[a : a + 10].mean(axis=0) for a in (0, 10, 20)], 8)
    bands, side, ratio = _LARGE
    reach = -(-side // airport.shape[1])
    turned = [np.roll(airport, 7 * turn, axis=(1, 2)) for turn in range(reach)]
    large = np.tile(np.concatenate(turned, axis=1), (1, 1, reach))[:, :side, :side]
    noise = np.random.default_rng(_SEED).normal(0, 1, (bands - len(large), 1, 1)).astype(np.float32)
    large = np.concatenate([large, large[: len(noise)] + noise])
    msi = [large[a:b].mean(axis=0) for a, b in _BOXES]
    yield f"{side // ratio} x {side // ratio} x {bands}", _written(folder, large, msi, ratio)


def _written(folder: Path, truth: Field, msi: list[Field], ratio: int) -> tuple[Path, Path]:
    """The pair that means of pixels make."""
    bands, height, width = truth.shape
    rows, cols = height // ratio, width // ratio
    lr = truth[:, : rows * ratio, : cols * ratio].reshape(bands, rows, ratio, cols, ratio).mean(axis=(2, 4))
    fine = np.stack(msi)[:, : rows * ratio, : cols * ratio]
    return (
        write_tif(folder / "lr.tif", lr.astype(np.float32)),
        write_tif(folder / "msi.tif", fine.astype(np.float32), transform=NORTH_UP @ Affine.scale(1 / ratio)),
    )


def _read(path: Path) -> Field:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read(), np.float32)
