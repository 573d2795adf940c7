"""A made-up scene that looks and behaves like airborne VNIR imagery of the country around Chikusei, Japan.

python sample_data/make_scene.py sample OUT_DIR
python sample_data/make_scene.py archive OUT_DIR --scenes 24 --first-seed 100
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from canvas import GSD_M, Canvas, Frame, Rect
from farmland import fields, greenhouses
from nature import pond, river, wood
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from spectra import BANDS, FWHM_NM, WAVELENGTHS_NM, spectral_bank
from town import farmstead, homes, road, school, solar_farm, works

from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid

__all__ = ["EPSG", "FWHM_NM", "GSD_M", "NODATA", "SAMPLE_SEED", "SCALE", "WAVELENGTHS_NM", "make_hr_hsi"]

EPSG = 32654
# North-west corner, easting and northing: 36.29 N, 140.01 E.
CORNER_M = (411050.0, 4016650.0)
NODATA = -9999
SCALE = 1e-4
SAMPLE_SEED = 7
RATIO = 8

# How the land is used around a scene: paddies, dry fields, homes, works, woods, greenhouses, others.
_CHARACTERS = {
    "paddies": (0.5, 0.18, 0.1, 0.03, 0.08, 0.05, 0.06),
    "dry fields": (0.1, 0.46, 0.12, 0.04, 0.12, 0.1, 0.06),
    "suburb": (0.1, 0.15, 0.48, 0.08, 0.06, 0.03, 0.1),
    "industry": (0.1, 0.14, 0.17, 0.43, 0.05, 0.03, 0.08),
    "mixed": (0.2, 0.22, 0.24, 0.1, 0.1, 0.07, 0.07),
}


def make_hr_hsi(seed: int, height: int = 192, width: int = 192) -> NDArray[np.int16]:
    """A scene as reflectance x 10^4, (128, height, width); the same bytes for the same arguments.

    Raises ImportError without earthlib.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(spectral_bank(), rng, height, width)
    _draw(canvas)
    noisy = _with_noise(canvas.render(), rng)
    dn: NDArray[np.int16] = np.clip(np.rint(noisy / SCALE), 0, 12000).astype(np.int16)
    return dn


def _draw(canvas: Canvas) -> None:
    """Two sides of a river, a highway or a boundary, each with its own direction and land use."""
    rng = canvas.rng
    x, y = canvas.size_m
    centre = Frame(x / 2, y / 2, float(rng.uniform(0, np.pi)))
    _side(canvas, centre)
    divide = centre.at(
        float(rng.uniform(-0.2, 0.2)) * x, float(rng.uniform(-0.25, 0.25)) * y, float(rng.uniform(0.3, 1.2))
    )
    canvas.clip = canvas.everything(divide).v > 0
    _side(canvas, centre.at(0, 0, float(rng.normal(0.5, 0.25))))
    canvas.clip = np.ones_like(canvas.clip)
    if rng.random() < 0.4:
        river(canvas, divide)
    else:
        reach = 1.5 * max(x, y)
        road(canvas, divide, Rect(-reach, reach, -5.5, 5.5), lined=True)


def _side(canvas: Canvas, frame: Frame) -> None:
    """Blocks between roads over the whole canvas, each of one use."""
    rng = canvas.rng
    reach = 0.75 * max(canvas.size_m)
    shares = _CHARACTERS[str(rng.choice(list(_CHARACTERS)))]
    for block in list(_blocks(canvas, frame, Rect(-reach, reach, -reach, reach))):
        _block(canvas, frame, block, int(rng.choice(len(shares), p=shares)))


def _blocks(canvas: Canvas, frame: Frame, rect: Rect) -> Iterator[Rect]:
    """Splits the rectangle by roads until the blocks are small enough."""
    rng = canvas.rng
    longer = max(rect.length, rect.width)
    if longer < rng.uniform(110, 240):
        yield rect
        return
    half = float(rng.uniform(4.0, 5.5) if longer > 350 else rng.uniform(2.2, 3.2))
    cut = float(rng.uniform(0.35, 0.65)) * longer
    if rect.length >= rect.width:
        at = rect.u0 + cut
        strip = Rect(at - half, at + half, rect.v0, rect.v1)
        parts = (Rect(rect.u0, at - half, rect.v0, rect.v1), Rect(at + half, rect.u1, rect.v0, rect.v1))
    else:
        at = rect.v0 + cut
        strip = Rect(rect.u0, rect.u1, at - half, at + half)
        parts = (Rect(rect.u0, rect.u1, rect.v0, at - half), Rect(rect.u0, rect.u1, at + half, rect.v1))
    road(canvas, frame, strip, lined=half > 3.5)
    for part in parts:
        yield from _blocks(canvas, frame, part)


def _block(canvas: Canvas, frame: Frame, rect: Rect, use: int) -> None:
    rng = canvas.rng
    if use in (0, 1):
        fields(
            canvas,
            frame,
            rect,
            wet=float(rng.uniform(0.75, 1.0)) if use == 0 else float(rng.uniform(0.0, 0.25)),
        )
        for _ in range(rng.poisson(0.5)):
            u, v = rng.uniform(rect.u0, rect.u1), rng.uniform(rect.v0, rect.v1)
            farmstead(canvas, frame.at(float(u), float(v), float(rng.normal(0, 0.05))))
    elif use == 6:
        others = (pond, solar_farm, school)
        others[rng.integers(len(others))](canvas, frame, rect)
    else:
        {2: homes, 3: works, 4: wood, 5: greenhouses}[use](canvas, frame, rect)


def _with_noise(cube: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Signal-dependent noise, strongest at the ends of the detector's range and in the 940 nm water band."""
    nm = np.asarray(WAVELENGTHS_NM)
    rise = (
        2.6 * np.exp(-(nm - 363) / 28)
        + 2.2 * np.exp((nm - 1018) / 40)
        + 0.5 * np.exp(-(((nm - 942) / 14) ** 2))
    )
    sigma = 0.0009 * (1.0 + rise)[:, None, None]
    signal = np.sqrt(0.5 + np.maximum(cube, 0.0) / 0.2)
    noise = sigma * signal * rng.standard_normal(cube.shape, dtype=np.float32)
    return cube + noise.astype(np.float32)


def _write(path: Path, dn: NDArray[np.int16], seed: int) -> None:
    """The scene as a GeoTIFF with wavelengths, FWHM, nodata and scale."""
    bands, height, width = dn.shape
    transform = Affine(GSD_M, 0.0, CORNER_M[0], 0.0, -GSD_M, CORNER_M[1])
    spec = RasterSpec(
        grid=Grid(height, width, transform, CRS.from_epsg(EPSG).to_wkt()),
        bands=Bands(bands, WAVELENGTHS_NM, (FWHM_NM,) * bands),
        dtype="int16",
        nodata=NODATA,
        scale=SCALE,
        scale_recorded=True,
        tags={"SOURCE": "simulated by sample_data/make_scene.py, no real place", "SEED": str(seed)},
    )
    with VerifiedWriter(path, spec, overwrite=True) as writer:
        writer.append_stored(dn)


def _make_sample(folder: Path) -> None:
    """The reference, and the LR-HSI and HR-MSI simulated from it."""
    from emrdiff_cli.simulation import simulate_raster

    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "hr_hsi.tif", make_hr_hsi(SAMPLE_SEED), SAMPLE_SEED)
    simulate_raster(folder / "hr_hsi.tif", folder, RATIO, "sentinel-2a", lr_driver="ENVI", overwrite=True)


def _make_archive(folder: Path, scenes: int, first_seed: int, size: int) -> None:
    """Scenes of consecutive seeds, for training; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + scenes):
        path = folder / f"hr_hsi_{seed}.tif"
        if not path.exists():
            _write(path, make_hr_hsi(seed, size, size), seed)
            print(path)


def main() -> None:
    """Parse the command line and write what it asks for."""
    parser = argparse.ArgumentParser(description=f"Make scenes of {BANDS} bands at {GSD_M} m.")
    commands = parser.add_subparsers(dest="command", required=True)
    sample = commands.add_parser("sample", help="hr_hsi.tif, and lr_hsi and hr_msi simulated from it")
    archive = commands.add_parser("archive", help="hr_hsi_<seed>.tif of other seeds, for training")
    for command in (sample, archive):
        command.add_argument("folder", type=Path, metavar="OUT_DIR")
    archive.add_argument("--scenes", type=int, default=24)
    archive.add_argument("--first-seed", type=int, default=100)
    archive.add_argument("--size", type=int, default=192, help="rows and columns of a scene")
    args = parser.parse_args()
    if args.command == "sample":
        _make_sample(args.folder)
    else:
        _make_archive(args.folder, args.scenes, args.first_seed, args.size)


if __name__ == "__main__":
    main()
