"""The pair's geometry: what finding it is worth where a pair sees through another PSF or lies elsewhere.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.geometry FOLDER [--data ../shared/data] [--minutes 9]

Pairs are made from scenes, written as rasters and fused by the use case that `emrdiff fuse` runs. Pairs that are
done are kept in FOLDER and not repeated; with `--minutes` the command ends by then. Writes results.jsonl, a pair
a line, and table.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import AxisPsf, Psf
from emrdiff_cli.core.sensor.displacement import DisplacementField
from emrdiff_cli.fusion.fusing import fuse
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.output import expanded, plain_rows
from emrdiff_cli.fusion.prepared_scene import prepare_scene
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.raster_info import Window
from tests.benchmarks.geometry_pairs import (
    DISPLACED,
    NANOMETRES,
    Cube,
    Displaced,
    Ground,
    Point,
    Reader,
    Record,
    cropped,
    kernels,
    lr_displaced,
    psf_pair,
    read_ground,
    true_psf,
    write_pair,
)
from tests.benchmarks.geometry_tables import METHODS, tables
from tests.benchmarks.pixel_mlp import pixel_mlp

PSF_RATIO = 4
_SAMPLE = Path(__file__).parents[2] / "sample_data" / "hr_hsi.tif"
_SAMPLE_SIDE = 128  # pixels of the sample that are taken, down and right
_EVERY = 2  # bands of the second table's scenes that are taken


@dataclass(frozen=True)
class Fused:
    """A fused cube (B, H, W) on the truth's grid, NaN where nothing was fused, and the geometry in its tags."""

    values: Cube
    geometry: PairGeometry


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuse and score the pairs that are not done yet; write the tables of those that are."""
    options = _parser().parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    options.folder.mkdir(parents=True, exist_ok=True)
    kept = options.folder / "results.jsonl"
    records: list[Record] = []
    if kept.exists():
        records = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    done = {(record["table"], record["scene"], record["case"]) for record in records}
    wanted = [scored for name, scored in _TABLES.items() if name in options.tables.split(",")]
    for record in chain.from_iterable(scored(options.data, done) for scored in wanted):
        records.append(record)
        _keep(kept, records)
        sys.stderr.write(f"{record['table']}: {record['scene']}, {record['case']}\n")
        if time.monotonic() > deadline:
            break
    lines = "\n".join(tables(records)) + "\n"
    (options.folder / "table.md").write_text(lines, encoding="utf-8")
    sys.stdout.write(lines)
    return 0


def psf_scenes(data: Path) -> dict[str, Reader]:
    """The first table's scenes, at ratio 4."""
    paths = {
        "abu_urban_2": data / "aviris_other" / "abu_urban_2.tif",
        "abu_beach_3": data / "aviris_other" / "abu_beach_3.tif",
        "paints": data / "cave" / "test" / "paints.tif",
    }
    return {name: partial(read_ground, path) for name, path in paths.items()}


def displaced_scenes(data: Path) -> dict[str, tuple[Reader, int]]:
    """The second table's scenes with their ratios; of every scene every second band, of the sample a part."""
    flowers = partial(read_ground, data / "cave" / "train" / "flowers.tif", _EVERY)
    return {
        "sample x4": (partial(read_ground, _SAMPLE, _EVERY, _SAMPLE_SIDE), 4),
        "flowers x4": (flowers, 4),
        "flowers x8": (flowers, 8),
        "abu_airport_1 x4": (partial(read_ground, data / "aviris_la205" / "abu_airport_1.tif", _EVERY), 4),
        "abu_airport_4 x4": (partial(read_ground, data / "aviris_other" / "abu_airport_4.tif", _EVERY), 4),
    }


def fused(pair: tuple[Path, Path], method: str, register: Register) -> Fused:
    """A pair fused as `emrdiff fuse --method METHOD --register REGISTER` does."""
    output = pair[0].with_name("fused.tif")
    fuse(*pair, output, method, None, FusionOptions(register=register, overwrite=True))
    with rasterio.open(pair[1]) as msi, rasterio.open(output) as dataset:
        left, top = ~msi.transform * (dataset.transform.c, dataset.transform.f)
        whole = np.full((dataset.count, msi.height, msi.width), np.nan, np.float32)
        rows = slice(round(top), round(top) + dataset.height)
        whole[:, rows, round(left) : round(left) + dataset.width] = dataset.read()
        return Fused(whole, PairGeometry.from_tags(dataset.tags()))


def fused_through(pair: tuple[Path, Path], method: str, psf: Psf) -> Cube:
    """The same through a PSF that no option names."""
    with open_pair(*pair) as opened:
        scene = prepare_scene(opened.seen_through(psf), method, None)
        area = Window(0, 0, scene.height, scene.width)
        rows = [expanded(scene, area, top, zeros) for top, zeros in plain_rows(scene, area)]
    return np.concatenate(rows, axis=1)


def scores(image: Cube, truth: Cube, where: NDArray[np.bool_]) -> tuple[float, float]:
    """PSNR (dB; mean over the bands, the peak is a band's maximum) and SAM (degrees) of pixels (H, W)."""
    made, true = image[:, where].astype(np.float64), truth[:, where].astype(np.float64)
    errors = ((made - true) ** 2).mean(axis=1)
    psnr = float((10 * np.log10(true.max(axis=1) ** 2 / errors)).mean())
    lengths = np.sqrt((made**2).sum(axis=0) * (true**2).sum(axis=0))
    cosines = np.clip((made * true).sum(axis=0) / np.maximum(lengths, 1e-12), -1, 1)
    return psnr, float(np.degrees(np.arccos(cosines)).mean())


def inner(shape: tuple[int, ...], margin: int) -> NDArray[np.bool_]:
    """Pixels (H, W) of a cube that lie so far from its edges."""
    mask = np.zeros(shape[-2:], np.bool_)
    mask[margin:-margin, margin:-margin] = True
    return mask


def score_psfs(data: Path, done: set[tuple[str, str, str]]) -> Iterator[Record]:
    """Records of the first table's pairs that are not done."""
    for (name, read), (seed, (case, kernel)) in product(
        psf_scenes(data).items(), enumerate(kernels().items())
    ):
        if ("psf", name, case) in done:
            continue
        ground = cropped(read(), PSF_RATIO)
        lr, msi = psf_pair(ground, kernel, PSF_RATIO, seed)
        where = inner(msi.shape, PSF_RATIO)
        with TemporaryDirectory() as folder:
            pair = write_pair(Path(folder), lr, msi, PSF_RATIO)
            images = {
                f"{method}, {how}": fused(pair, method, register).values
                for method in METHODS
                for how, register in _HOW.items()
            }
            true = true_psf(case, PSF_RATIO)
            if true is not None:
                images["kriging, true"] = fused_through(pair, "kriging", true)
        images["pixel-mlp"] = pixel_mlp(lr, msi, ground.response)
        where &= np.isfinite(np.stack([image[0] for image in images.values()])).all(axis=0)
        found = {row: scores(image, ground.truth, where) for row, image in images.items()}
        yield {"table": "psf", "scene": name, "case": case, "scores": found}


def score_displaced(data: Path, done: set[tuple[str, str, str]]) -> Iterator[Record]:
    """Records of the second table's pairs that are not done."""
    for name, (read, ratio) in displaced_scenes(data).items():
        missing = [case for case in DISPLACED if ("displaced", name, case) not in done]
        if not missing:
            continue
        ground = cropped(read(), ratio)
        (exact,) = _fused_displaced(ground, ratio, DISPLACED["exact"], ("off",))
        for case in missing:
            yield {"table": "displaced", "scene": name, "case": case} | _put_right(
                ground, ratio, DISPLACED[case], exact.values
            )


def _put_right(ground: Ground, ratio: int, how: Displaced, exact: Cube) -> Record:
    """Scores of a pair as it lies, put right, and of the exact one, on their common ground; what was found."""
    lies, right = _fused_displaced(ground, ratio, how, ("off", "auto"))
    images = {"lies": lies.values, "right": right.values, "exact": exact}
    where = inner(exact.shape, ratio)
    where &= np.isfinite(np.stack([image[0] for image in images.values()])).all(axis=0)
    return {
        "scores": {key: scores(image, ground.truth, where) for key, image in images.items()},
        "share_scored": float(where.mean()),
        "shift_error": shift_error(right.geometry, how, _grid(ground, ratio)),
        "fwhm_error": fwhm_error(right.geometry, how.fwhm, ratio),
        "geometry": right.geometry.tags,
    }


def _fused_displaced(
    ground: Ground, ratio: int, how: Displaced, registers: Sequence[Register]
) -> list[Fused]:
    with TemporaryDirectory() as folder:
        lr = lr_displaced(ground.truth, ratio, how)
        pair = write_pair(Path(folder), lr, ground.msi, ratio, stated=how.stated, nanometres=NANOMETRES)
        return [fused(pair, "kriging", register) for register in registers]


def _grid(ground: Ground, ratio: int) -> tuple[int, int]:
    height, width = ground.truth.shape[1:]
    return height // ratio, width // ratio


def shift_error(found: PairGeometry, how: Displaced, grid: tuple[int, int]) -> float:
    """LR pixels: rms over the grid (h, w) between the displacement found and the true one, of the worse group."""
    field = np.array(found.field or ((found.move[0],), (found.move[1],)), np.float64)
    off = DisplacementField(field, grid).over() - how.displacement(*grid)
    swir = np.zeros(2) if not found.groups else np.array(found.groups[0].shift)
    apart = off + (swir - np.array(how.swir))[:, None, None]
    return max(float(np.sqrt((each**2).sum(axis=0).mean())) for each in (off, apart))


def fwhm_error(found: PairGeometry, true: Point, ratio: int) -> float:
    """The larger error of the FWHM along rows and columns, as a share of the true one."""
    widths = (1.0, 1.0)
    if found.psf is not None and found.psf.axes is not None:
        rows, cols = (full_width(axis) / ratio for axis in found.psf.axes)
        widths = rows, cols
    return max(abs(width / share - 1) for width, share in zip(widths, true, strict=True))


def full_width(axis: AxisPsf) -> float:
    """Full width at half maximum of a PSF along an axis, its correction included, in HR pixels."""
    away = np.linspace(0, axis.reach_px, 2000)
    values = axis.kernel(away)
    below = np.flatnonzero(values < values[0] / 2)
    return 2 * float(away[below[0]]) if len(below) else math.inf


def _keep(path: Path, records: Sequence[Record]) -> None:
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    part.replace(path)


_HOW: dict[str, Register] = {"assumed": "off", "found": "auto"}
_TABLES = {"psf": score_psfs, "displaced": score_displaced}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="geometry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where results and the tables are kept")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real scenes")
    parser.add_argument("--tables", default="psf,displaced", help="these alone, with commas [psf,displaced]")
    parser.add_argument("--minutes", type=float, default=60, help="end by then, repeat to go on [60]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
