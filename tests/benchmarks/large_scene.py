"""A scene of Chikusei's size, made by seed in strips, fused in a process of its own: time, peak memory, shares.

    python -m tests.benchmarks.large_scene FOLDER [--height-factor 2] [--fuse --max-memory 2.5GB]

Nothing here holds the scene: memory is the fusion's alone to waste.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

HEIGHT, WIDTH, BANDS, RATIO = 2517, 2335, 128, 8
MODEL = "chikusei-x8"
ORIGIN = Affine(2.5, 0, 424000.0, 0, -2.5, 4_000_000.0)
CENTRES_NM, FWHM_NM = (492.44, 559.85, 664.62, 832.79), (66.0, 36.0, 31.0, 106.0)
MATERIALS = 6
_STRIP = 32 * RATIO

Field = NDArray[np.float32]


def spectra(seed: int, bands: int) -> tuple[Field, Field, NDArray[np.float64]]:
    """Smooth reflectances of the materials: as the HSI sees them, as the MSI does; the HSI's wavelengths."""
    rng = np.random.default_rng(seed)
    nm = np.linspace(363.0, 1018.0, bands)
    bumps = np.exp(
        -(((nm - rng.uniform(363, 1018, (MATERIALS, 4, 1))) / rng.uniform(40, 200, (MATERIALS, 4, 1))) ** 2)
    )
    hsi = 0.03 + (rng.uniform(0.02, 0.25, (MATERIALS, 4, 1)) * bumps).sum(axis=1)
    seen = np.exp(-4 * math.log(2) * ((nm - np.array(CENTRES_NM)[:, None]) / np.array(FWHM_NM)[:, None]) ** 2)
    msi = hsi @ (seen / seen.sum(axis=1, keepdims=True)).T
    return hsi.astype(np.float32), msi.astype(np.float32), nm


def shares(seed: int, top: int, rows: int, width: int) -> Field:
    """Shares of the materials (MATERIALS, rows, width): fields with hard edges, waves, and grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[top : top + rows, :width].astype(np.float32)
    total = np.empty((MATERIALS, rows, width), np.float32)
    for material in total:
        angle, period = rng.uniform(0, math.pi), rng.uniform(60, 400)
        across = (math.cos(angle) * x + math.sin(angle) * y) / period
        along = (math.cos(angle) * y - math.sin(angle) * x) / rng.uniform(100, 600)
        fields = np.sign(np.sin(2 * np.pi * across) * np.sin(2 * np.pi * along + rng.uniform(0, 6)))
        material[:] = 1 + 0.8 * fields + 0.3 * np.sin(2 * np.pi * across * rng.uniform(3, 9))
    for row, values in enumerate(np.moveaxis(total, 1, 0)):
        values *= np.random.default_rng((seed, top + row)).uniform(0.7, 1.3, values.shape).astype(np.float32)
    return np.asarray(total / total.sum(axis=0))


def strips(seed: int, height: int, width: int) -> Iterator[tuple[int, Field]]:
    """Shares of whole LR rows, from the top down."""
    for top in range(0, height, _STRIP):
        yield top, shares(seed, top, min(_STRIP, height - top), width)


def make_pair(folder: Path, height: int, width: int, bands: int = BANDS, seed: int = 0) -> tuple[Path, Path]:
    """Write `lr.tif` and `msi.tif`; what is there already is kept."""
    lr_path, msi_path = folder / f"lr-{height}x{width}.tif", folder / f"msi-{height}x{width}.tif"
    if lr_path.exists() and msi_path.exists():
        return lr_path, msi_path
    folder.mkdir(parents=True, exist_ok=True)
    hsi, msi, nm = spectra(seed, bands)
    rows, cols = math.ceil(height / RATIO), math.ceil(width / RATIO)
    with (
        _create(lr_path, bands, rows, cols, ORIGIN @ Affine.scale(RATIO)) as lr,
        _create(msi_path, len(CENTRES_NM), height, width, ORIGIN) as fine,
    ):
        for band, centre in enumerate(nm, 1):
            lr.update_tags(band, wavelength=f"{centre:.3f}", wavelength_units="nm", fwhm="5.2")
        for band, (centre, fwhm) in enumerate(zip(CENTRES_NM, FWHM_NM, strict=True), 1):
            fine.update_tags(band, wavelength=str(centre), wavelength_units="nm", fwhm=str(fwhm))
        for top, part in strips(seed, rows * RATIO, cols * RATIO):
            n = min(part.shape[1], height - top)
            values = np.tensordot(msi.T, part[:, :n, :width], axes=1)
            fine.write(values.astype(np.float32), window=Window(0, top, width, n))
            blocks = part.reshape(MATERIALS, part.shape[1] // RATIO, RATIO, cols, RATIO).mean(axis=(2, 4))
            coarse = np.tensordot(hsi.T, blocks, axes=1).astype(np.float32)
            lr.write(coarse, window=Window(0, top // RATIO, cols, blocks.shape[1]))
    return lr_path, msi_path


def _create(path: Path, bands: int, height: int, width: int, transform: Affine) -> Any:
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256} if min(height, width) >= 256 else {}
    profile = {"count": bands, "height": height, "width": width, "dtype": "float32", "interleave": "band"}
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs="EPSG:32654",
        transform=transform,
        BIGTIFF="IF_SAFER",
        **profile,
        **tiled,
    )


def fuse(pair: tuple[Path, Path], output: Path, threads: int, options: list[str]) -> dict[str, Any]:
    """Fuse in a child process on so many cores; its report, wall time and peak resident memory."""
    command = [sys.executable, "-m", "emrdiff_cli", "fuse", *map(str, pair), str(output), "--model", MODEL]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.monotonic()
    child = subprocess.Popen(
        [*command, "--json", "--overwrite", *options], stdout=subprocess.PIPE, env=environment
    )
    assert child.stdout is not None
    answer = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(child.returncode)
    report = json.loads(answer)
    seconds = time.monotonic() - started
    return {
        "height": report["height"],
        "width": report["width"],
        "tiles": report["tiles"],
        "threads": threads,
        "wall_s": round(seconds, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),
        "network_s": round(report["network_seconds"], 1),
        "outside_network_share": round(1 - report["network_seconds"] / seconds, 3),
        "output_gb": round(output.stat().st_size / 1e9, 3),
    }


def main() -> None:
    """Make the pair, fuse it, print one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--height-factor", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--height", type=int, default=HEIGHT)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the fused raster")
    parser.add_argument("--fuse", nargs=argparse.REMAINDER, default=[], help="options of `emrdiff fuse`")
    given = parser.parse_args()
    pair = make_pair(given.folder, round(given.height * given.height_factor), given.width)
    output = given.folder / "fused.tif"
    sys.stdout.write(json.dumps(fuse(pair, output, given.threads, given.fuse)) + "\n")
    if not given.keep:
        output.unlink()


if __name__ == "__main__":
    main()
