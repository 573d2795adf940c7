"""Pairs of the benchmarks as rasters: real ones as they lie, others as `emrdiff simulate` makes them of a scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid, Window
from emrdiff_cli.simulation import simulate_raster

Cube = NDArray[np.float32]

# Bands of AVIRIS scenes, numbered from 1, under the MSI's; they record no wavelengths.
FOUR_BOXES = ((9, 15), (17, 23), (27, 33), (47, 53))
PANCHROMATIC = ((9, 33),)
_LARGE = (224, 900, 3)  # bands, HR pixels along a side, ratio
_SEED = 1


@dataclass(frozen=True)
class PairFiles:
    """A pair on disk, its truth and the table of its MSI's response, None where unknown."""

    name: str
    lr_hsi: Path
    hr_msi: Path
    truth: Path | None = None
    srf: str | None = None


def real_pairs(data: Path) -> Iterator[PairFiles]:
    """Real pairs, one of them with a truth."""
    berlin, berlin9, neon = (data / name for name in ("berlin", "berlin9", "neon"))
    yield PairFiles("berlin", berlin / "enmap_sim_30m_244b.bsq", berlin / "hymap_4band_3p6m.bsq")
    yield PairFiles("NEON plot", neon / "MLBS_10_HSI.tif", neon / "MLBS_10_RGB.tif")
    lr, msi, truth = (berlin9 / name for name in ("lr_111b_30m.tif", "msi_4b_9m.tif", "ref_111b_9m.tif"))
    yield PairFiles("berlin9", lr, msi, truth)


def simulated(
    name: str, truth: Path, ratio: int, srf: str, folder: Path, noise_db: float | None = None
) -> PairFiles:
    """The pair that `emrdiff simulate` makes of a scene with wavelengths, in the folder."""
    simulate_raster(truth, folder, ratio, srf, noise_db=noise_db, overwrite=True)
    return PairFiles(name, folder / "lr_hsi.tif", folder / "hr_msi.tif", truth, srf)


def simulated_aviris(
    name: str,
    scene: Path,
    ratio: int,
    boxes: Sequence[tuple[int, int]],
    folder: Path,
    noise_db: float | None = None,
) -> PairFiles:
    """The same of an AVIRIS scene through boxes over band numbers, as if from 400 nm on in steps of 10."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(1, read_info(scene).bands.count + 1)
    nanometres = 390.0 + 10 * numbers
    truth, table = folder / "truth.tif", folder / "srf.csv"
    _write_cube(truth, read_cube(scene), tuple(nanometres))
    under = [(numbers >= first) & (numbers <= last) for first, last in boxes]
    lines = [",".join(["wavelength_nm", *(f"band_{number}" for number in range(1, len(boxes) + 1))])]
    for at, row in zip(nanometres, np.transpose(under).astype(int), strict=True):
        lines.append(",".join(f"{value:g}" for value in (at, *row)))
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return simulated(name, truth, ratio, str(table), folder, noise_db)


def large_aviris(scene: Path, folder: Path) -> PairFiles:
    """A scene laid side by side, each time rolled further, to 300 x 300 LR pixels of 224 bands."""
    folder.mkdir(parents=True, exist_ok=True)
    bands, side, ratio = _LARGE
    small = read_cube(scene)
    reach = -(-side // small.shape[1])
    turned = [np.roll(small, 7 * turn, axis=(1, 2)) for turn in range(reach)]
    cube = np.tile(np.concatenate(turned, axis=1), (1, 1, reach))[:, :side, :side]
    noise = np.random.default_rng(_SEED).normal(0, 1, (bands - len(cube), 1, 1))
    path = folder / "scene.tif"
    _write_cube(path, np.concatenate([cube, cube[: len(noise)] + noise.astype(np.float32)]))
    found = simulated_aviris(f"{side // ratio} x {side // ratio} x {bands}", path, ratio, FOUR_BOXES, folder)
    return PairFiles(found.name, found.lr_hsi, found.hr_msi)


def read_cube(path: Path) -> Cube:
    """A raster's physical values (B, H, W), NaN where it has none."""
    with open_raster(path) as source:
        grid = source.info.grid
        return source.read(Window(0, 0, grid.height, grid.width))


def read_common(path: Path, like: Path) -> Cube:
    """The part of a raster that another one, on the same pixels, covers; NaN beyond it."""
    cube, own, other = read_cube(path), read_info(path).grid, read_info(like).grid
    left, top = (round(at) for at in ~own.transform * (other.transform.c, other.transform.f))
    common = np.full((len(cube), other.height, other.width), np.nan, np.float32)
    rows = slice(max(0, top), max(0, top + other.height))
    cols = slice(max(0, left), max(0, left + other.width))
    part = cube[:, rows, cols]
    into = rows.start - top, cols.start - left
    common[:, into[0] : into[0] + part.shape[1], into[1] : into[1] + part.shape[2]] = part
    return common


def _write_cube(path: Path, values: Cube, nanometres: tuple[float, ...] | None = None) -> None:
    count, height, width = values.shape
    grid = Grid(height, width, Affine(1, 0, 0, 0, -1, 0), None)
    spec = RasterSpec(grid, Bands(count, nanometres), "float32", nodata=float("nan"))
    with VerifiedWriter(path, spec, True) as writer:
        writer.append(values)
