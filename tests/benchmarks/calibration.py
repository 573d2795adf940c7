"""Calibration of `fuse --uncertainty`: how many errors lie within its intervals, on scenes with a truth.

    python -m tests.benchmarks.calibration --data DATA [--scenes cave,aviris-other-x4,berlin9] [--folder FOLDER]

Each pair is fused by `emrdiff fuse --method kriging --uncertainty`, and its errors are held against the standard
deviations: 90 % of them should lie within 1.645, half within 0.6745 times `emrdiff_interval_half`. `raw` is
without the bands' scale, which is given as the median of the bands (least, most); below 1 the posterior was too
wide. Groups: bands covered by an MSI band or extrapolated; flat ground (half of the pixels),
edges (a fifth) and between, by the MSI's gradients. Prints a table in Markdown; `--folder` keeps the rasters.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.uncertainty import edge_magnitude
from emrdiff_cli.fusion.fusing import fuse
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from emrdiff_cli.responses import read_response
from tests.benchmarks.scenes import boxes_over_aviris, simulated_pair

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Shares = tuple[float, ...]

SOURCES = ("cave-train", "cave", "aviris-x4", "aviris-x8", "aviris-other-x4", "aviris-other-x8", "berlin9")
_DEFAULT = "cave,aviris-other-x4,aviris-other-x8,berlin9"


@dataclass(frozen=True)
class Pair:
    """A pair on disk and its truth; `register` as `fuse` takes it."""

    name: str
    lr_hsi: Path
    hr_msi: Path
    truth: Path
    register: str = "off"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuse the pairs and print the table."""
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        write = sys.stdout.write
        write("| pair | group | raw 50 % | raw 90 % | 50 % | 90 % | scale |\n|" + " --- |" * 7 + "\n")
        pooled: dict[str, list[Shares]] = {}
        scales: dict[str, list[Floats]] = {}
        for pair in _pairs(options.scenes.split(","), options.data, options.limit, folder):
            for group, shares, scale in coverage(pair, folder):
                pooled.setdefault(group, []).append(shares)
                scales.setdefault(group, []).append(scale)
                write(_row(pair.name, group, shares, scale))
                sys.stdout.flush()
        for group, found in pooled.items():
            write(_row("mean", group, np.mean(found, axis=0), np.concatenate(scales[group])))
    return 0


def coverage(pair: Pair, folder: Path) -> Iterator[tuple[str, Shares, Floats]]:
    """Groups of a pair's pixels: shares of errors within raw 50, 90 %, scaled 50, 90 %, and their bands' scale."""
    fused, told = folder / f"{pair.name}_fused.tif", folder / f"{pair.name}_deviation.tif"
    asked = FusionOptions(register=pair.register, uncertainty=told, overwrite=True, dtype="float32")  # type: ignore[arg-type]
    fuse(pair.lr_hsi, pair.hr_msi, fused, "kriging", None, asked)
    with rasterio.open(told) as source:
        deviation, tags = source.read(), source.tags()
        labels = np.array([source.tags(band)["emrdiff_detail"] for band in source.indexes])
        scale = np.array([float(source.tags(band)["emrdiff_interval_scale"]) for band in source.indexes])
    half = float(tags["emrdiff_interval_half"])
    error = np.abs(_common(pair.truth, fused) - _read(fused))
    msi = _common(pair.hr_msi, fused)
    ground = np.pad(msi, ((0, 0), (1, 1), (1, 1)), mode="edge")
    magnitude = edge_magnitude(ground, np.nanstd(msi, axis=(1, 2)))
    known = np.isfinite(error).all(axis=0) & np.isfinite(deviation).any(axis=0) & np.isfinite(magnitude)
    flat, edge = np.quantile(magnitude[known], [0.5, 0.8])
    every = np.ones(len(error), bool)
    groups = {
        "all": (every, known),
        "covered": (labels == "covered", known),
        "extrapolated": (labels == "extrapolated", known),
        "flat": (every, known & (magnitude < flat)),
        "between": (every, known & (magnitude >= flat) & (magnitude < edge)),
        "edges": (every, known & (magnitude >= edge)),
    }
    for name, (bands, pixels) in groups.items():
        if bands.any() and pixels.any():
            z = error[bands][:, pixels] / deviation[bands][:, pixels]
            raw = z * scale[bands, None]
            yield (
                name,
                tuple(
                    float((values < limit).mean())
                    for values, limit in ((raw, 0.6745), (raw, 1.645), (z, 0.6745 * half), (z, 1.645))
                ),
                scale[bands],
            )


def _row(name: str, group: str, shares: Sequence[float] | Floats, scale: Floats) -> str:
    told = scale[np.isfinite(scale)]
    of_bands = f"{np.median(told):.2f} ({told.min():.2f}, {told.max():.2f})" if told.size else ""
    return f"| {name} | {group} | " + " | ".join(f"{share:.0%}" for share in shares) + f" | {of_bands} |\n"


def _pairs(sources: Sequence[str], data: Path, limit: int, folder: Path) -> Iterator[Pair]:
    for source in sources:
        if source == "berlin9":
            where = data / "berlin9"
            yield Pair(
                "berlin9",
                where / "lr_111b_30m.tif",
                where / "msi_4b_9m.tif",
                where / "ref_111b_9m.tif",
                "auto",
            )
            continue
        if source.startswith("cave"):
            paths, ratio = data / "cave" / ("train" if source == "cave-train" else "test"), 8
        else:
            paths = data / ("aviris_other" if "other" in source else "aviris_la205")
            ratio = int(source.rpartition("x")[2])
        for path in sorted(paths.glob("*.tif"))[:limit]:
            yield _simulated(f"{source}-{path.stem}", path, ratio, data, folder)


def _simulated(name: str, path: Path, ratio: int, data: Path, folder: Path) -> Pair:
    """A pair by Wald's protocol, written down, with numbers of bands in the place of unknown wavelengths."""
    cave = read_info(path).bands.wavelengths_nm is not None
    response = read_response(str(data / "srf" / "nikon_d700.csv")) if cave else boxes_over_aviris(path)
    pair = simulated_pair(path, ratio, response)
    count = pair.hr_hsi.shape[0]
    centres = read_info(path).bands.wavelengths_nm or tuple(400.0 + 10 * band for band in range(count))
    files = [folder / f"{name}_{part}.tif" for part in ("lr", "msi", "truth")]
    msi_centres = response.centres_nm() if cave else tuple(390.0 + 10 * v for v in response.centres_nm())
    widths = tuple(70.0 for _ in msi_centres)
    described = (Bands(count, centres), Bands(len(msi_centres), msi_centres, widths), Bands(count, centres))
    steps = (float(ratio), 1.0, 1.0)
    for file, values, bands, step in zip(
        files, (pair.lr_hsi, pair.hr_msi, pair.hr_hsi), described, steps, strict=True
    ):
        height, width = values.shape[1:]
        grid = Grid(height, width, Affine(step, 0, 0, 0, -step, 0), None)
        with VerifiedWriter(file, RasterSpec(grid, bands, "float32", nodata=float("nan")), True) as writer:
            writer.append(values)
    return Pair(name, files[0], files[1], files[2])


def _read(path: Path) -> Floats:
    with rasterio.open(path) as source:
        return np.asarray(source.read(masked=True).astype(np.float64).filled(np.nan))


def _common(path: Path, like: Path) -> Floats:
    """The part of a raster that another one, on the same pixels, covers."""
    with rasterio.open(path) as source, rasterio.open(like) as other:
        col, row = ~source.transform * (other.transform.c, other.transform.f)
        top, left = round(row), round(col)
        values = source.read(masked=True).astype(np.float64).filled(np.nan)
        return np.asarray(values[:, top : top + other.height, left : left + other.width])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibration", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of cave/, aviris_*/, berlin9/ and srf/"
    )
    parser.add_argument("--scenes", default=_DEFAULT, help=f"of {','.join(SOURCES)} [{_DEFAULT}]")
    parser.add_argument("--limit", type=int, default=100, help="scenes of each source [all]")
    parser.add_argument("--folder", type=Path, help="where rasters are kept [nowhere]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
