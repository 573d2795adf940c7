"""Calibration of `fuse --uncertainty`: how many errors lie within its intervals, on scenes with a truth.

    python -m tests.benchmarks.calibration --data DATA [--scenes cave,aviris-other-x4,berlin9] [--noise-db 35]

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
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.uncertainty import edge_magnitude
from emrdiff_cli.fusion.fusing import fuse
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.pair.modes import Register
from tests.benchmarks.pair_files import (
    FOUR_BOXES,
    PairFiles,
    read_common,
    read_cube,
    real_pairs,
    simulated,
    simulated_aviris,
)

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Shares = tuple[float, ...]

SOURCES = ("cave-train", "cave", "aviris-x4", "aviris-x8", "aviris-other-x4", "aviris-other-x8", "berlin9")
_DEFAULT = "cave,aviris-other-x4,aviris-other-x8,berlin9"


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
        for pair in _pairs(options, folder):
            for group, shares, scale in coverage(pair, folder):
                pooled.setdefault(group, []).append(shares)
                scales.setdefault(group, []).append(scale)
                write(_row(pair.name, group, shares, scale))
                sys.stdout.flush()
        for group, found in pooled.items():
            write(_row("mean", group, np.mean(found, axis=0), np.concatenate(scales[group])))
    return 0


def coverage(pair: PairFiles, folder: Path) -> Iterator[tuple[str, Shares, Floats]]:
    """Groups of a pair's pixels: shares of errors within raw 50, 90 %, scaled 50, 90 %, and their bands' scale."""
    if pair.truth is None:
        raise ValueError(f"{pair.name}: has no truth")
    fused, told = folder / f"{pair.name}_fused.tif", folder / f"{pair.name}_deviation.tif"
    register: Register = "off" if pair.srf else "auto"  # a simulated pair lies right
    asked = FusionOptions(register=register, uncertainty=told, overwrite=True, dtype="float32")
    fuse(pair.lr_hsi, pair.hr_msi, fused, "kriging", None, asked)
    with rasterio.open(told) as source:
        deviation, tags = source.read(), source.tags()
        labels = np.array([source.tags(band)["emrdiff_detail"] for band in source.indexes])
        scale = np.array([float(source.tags(band)["emrdiff_interval_scale"]) for band in source.indexes])
    half = float(tags["emrdiff_interval_half"])
    error = np.abs(read_common(pair.truth, fused) - read_cube(fused))
    msi = read_common(pair.hr_msi, fused)
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


def _pairs(options: argparse.Namespace, folder: Path) -> Iterator[PairFiles]:
    data, noise = options.data, options.noise_db
    for source in options.scenes.split(","):
        if source == "berlin9":
            yield from (pair for pair in real_pairs(data) if pair.name == source)
            continue
        if source.startswith("cave"):
            paths, ratio = data / "cave" / ("train" if source == "cave-train" else "test"), 8
        else:
            paths = data / ("aviris_other" if "other" in source else "aviris_la205")
            ratio = int(source.rpartition("x")[2])
        for path in sorted(paths.glob("*.tif"))[: options.limit]:
            name = f"{source}-{path.stem}"
            if source.startswith("cave"):
                yield simulated(name, path, ratio, str(data / "srf" / "nikon_d700.csv"), folder / name, noise)
            else:
                yield simulated_aviris(name, path, ratio, FOUR_BOXES, folder / name, noise)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibration", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of cave/, aviris_*/, berlin9/ and srf/"
    )
    parser.add_argument("--scenes", default=_DEFAULT, help=f"of {','.join(SOURCES)} [{_DEFAULT}]")
    parser.add_argument("--noise-db", type=float, help="of simulated pairs, below each band's signal [none]")
    parser.add_argument("--limit", type=int, default=100, help="scenes of each source [all]")
    parser.add_argument("--folder", type=Path, help="where rasters are kept [nowhere]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
