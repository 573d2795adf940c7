"""What the bands of 20 m add to an MSI: four and ten bands of Sentinel-2, scored by ranges of wavelength.

    python -m tests.benchmarks.whole_msi DATA

Each scene is the truth at the resolution of the bands of 10 m. The LR-HSI is 3 times as coarse (Wald), the
MSI is seen through Sentinel-2A's responses; its bands of 20 m are averaged over 2 x 2 pixels and brought back as
`convert --bands all` does. Noise: 35 dB on the LR-HSI, 40 dB on the MSI. Fused by kriging, as the pair lies.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import degradation_taps
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.sensor.srf import srf_matrix
from emrdiff_cli.fusion.fusing import fuse
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.sharpening import sharpened
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid, Window
from emrdiff_cli.responses import read_response

Field = NDArray[np.floating]

FINE, COARSE = ("B2", "B3", "B4", "B8"), ("B5", "B6", "B7", "B8A", "B11", "B12")
RANGES = ((400, 700), (700, 1000), (1000, 1350), (1450, 1800), (1950, 2500))  # nm
SCENES = (
    ("Potsdam, north", "enmap_potsdam/enmap_potsdam_30m.tif", Window(0, 0, 60, 96)),
    ("Potsdam, south", "enmap_potsdam/enmap_potsdam_30m.tif", Window(96, 32, 60, 126)),
    ("Berlin", "berlin9/ref_111b_9m.tif", Window(0, 0, 96, 66)),
)
_RATIO, _LR_DB, _MSI_DB = 3, 35.0, 40.0


@dataclass(frozen=True)
class Scene:
    """A truth (B, rows, columns) and its wavelengths."""

    truth: Field
    wavelengths_nm: tuple[float, ...]


def read_scene(path: Path, window: Window) -> Scene:
    """The good bands of a part of a raster that has no holes."""
    with open_raster(path) as reader:
        bands = reader.info.bands
        good = [i for i in range(bands.count) if i not in bands.bad]
        truth = reader.read(window, good)
    if not np.isfinite(truth).all():
        raise ValueError(f"{path.name} has holes in {window}")
    return Scene(truth, bands.take(good).wavelengths_nm or ())


def fused_with(scene: Scene, folder: Path, whole: bool) -> Field:
    """The scene fused with four bands, or with ten of which six come from twice as large pixels."""
    rng = np.random.default_rng(0)
    _, height, width = scene.truth.shape
    place = AxisPlacement(float(_RATIO), 0.0)
    down = [degradation_taps("wald", place, size // _RATIO, size) for size in (height, width)]
    lr = noisy(apply_taps(scene.truth, *down), _LR_DB, rng)
    fine, coarse = (seen(scene, names, rng) for names in (FINE, COARSE))
    write(folder / "lr.tif", lr, _RATIO, scene.wavelengths_nm)
    write(folder / "msi.tif", fine, 1)
    if whole:
        averaged = coarse.reshape(len(coarse), height // 2, 2, width // 2, 2).mean(axis=(2, 4))
        write(folder / "coarse.tif", averaged, 2)
        with open_raster(folder / "coarse.tif") as low, open_raster(folder / "msi.tif") as high:
            left: list[str] = []
            rows = list(sharpened(low, high, Window(0, 0, height, width), left.append))
        write(folder / "whole.tif", np.concatenate([fine, np.concatenate(rows, axis=1)]), 1)
    msi = folder / ("whole.tif" if whole else "msi.tif")
    output = folder / f"fused-{whole}.tif"
    options = FusionOptions(register="off", dtype="float32", overwrite=True)
    fuse(folder / "lr.tif", msi, output, "kriging", None, options)
    with open_raster(output) as reader:
        return reader.read()


def seen(scene: Scene, names: Sequence[str], rng: np.random.Generator) -> Field:
    """Bands of Sentinel-2A at the truth's pixels, with noise."""
    response = read_response(f"sentinel-2a:{','.join(names)}")
    matrix = srf_matrix(response, scene.wavelengths_nm)
    return noisy(np.tensordot(matrix, scene.truth, axes=1), _MSI_DB, rng)


def noisy(values: Field, db: float, rng: np.random.Generator) -> Field:
    """White noise at this ratio to each band's rms."""
    rms = np.sqrt(np.square(values, dtype=np.float64).mean(axis=(1, 2)))[:, None, None]
    return np.asarray(values + 10 ** (-db / 20) * rms * rng.standard_normal(values.shape))


def write(path: Path, values: Field, ratio: int, wavelengths_nm: Sequence[float] | None = None) -> None:
    """Write a float32 raster whose pixels are `ratio` times the truth's."""
    lies = Affine(10.0 * ratio, 0, 400000, 0, -10.0 * ratio, 5800000)
    bands = Bands(len(values), None if wavelengths_nm is None else tuple(wavelengths_nm))
    grid = Grid(values.shape[1], values.shape[2], lies)
    spec = RasterSpec(grid=grid, bands=bands, dtype="float32", nodata=float("nan"))
    with VerifiedWriter(path, spec, overwrite=True) as writer:
        writer.append(np.asarray(values, np.float32))


def scores(scene: Scene, fused: Field, low: float, high: float) -> tuple[float, float]:
    """PSNR (peak: the truth's 99.9th percentile) and SAM in degrees of the bands between two wavelengths."""
    at = np.asarray(scene.wavelengths_nm)
    part = (at >= low) & (at <= high)
    truth, found = (np.asarray(cube[part], np.float64) for cube in (scene.truth, fused))
    peak = np.percentile(truth, 99.9)
    psnr = 10 * np.log10(peak**2 / np.square(found - truth).mean())
    norms = np.linalg.norm(truth, axis=0) * np.linalg.norm(found, axis=0)
    angle = np.arccos(np.clip((truth * found).sum(axis=0) / np.maximum(norms, 1e-12), -1, 1))
    return float(psnr), float(np.degrees(angle).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Score fusion with four and with ten bands of Sentinel-2.")
    parser.add_argument("data", type=Path, help="folder with enmap_potsdam and berlin9")
    options = parser.parse_args(arguments)
    head = " | ".join(f"{low}-{high} nm" for low, high in RANGES)
    sys.stdout.write(f"| scene | bands | {head} |\n| --- | --- |{' --- |' * len(RANGES)}\n")
    for name, file, window in SCENES:
        scene = read_scene(options.data / file, window)
        for whole in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                fused = fused_with(scene, Path(folder), whole)
            cells = [f"{psnr:.2f} dB, {sam:.2f}°" for psnr, sam in (scores(scene, fused, *r) for r in RANGES)]
            sys.stdout.write(f"| {name} | {10 if whole else 4} | {' | '.join(cells)} |\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
