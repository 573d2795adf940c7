"""Ground that changed between the two images: what it costs the rest of the pair.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.changed [--data ../shared/data]

A tenth of the MSI is replaced, the pair written as rasters and fused by the use case that `emrdiff fuse --method
kriging` runs; the rest is scored against the truth, as it is without the change. Prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.fusion.prepared_scene import CHANGED_TAG
from emrdiff_cli.pair.modes import Register
from tests.benchmarks.geometry import displaced_scenes, fused, inner, psf_scenes, scores
from tests.benchmarks.geometry_pairs import (
    DISPLACED,
    HSI_DB,
    MSI_DB,
    Cube,
    Reader,
    cropped,
    kernels,
    lr_displaced,
    noisy,
    psf_pair,
    write_pair,
)

RATIO = 4
_SIDE = 0.316  # of the scene's sides, that the changed part has
_BRIGHTER = 1.25
_WRONG_PSF = ("Gaussian x 1.3", "box")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuse and score the pairs, a line of the table each."""
    parser = argparse.ArgumentParser(prog="changed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real scenes")
    data = parser.parse_args(arguments).data
    scenes = {name: read for name, (read, ratio) in displaced_scenes(data).items() if ratio == RATIO}
    for line in chain(marked(psf_scenes(data)["abu_urban_2"]), [""], lost(scenes)):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


def lost(scenes: Mapping[str, Reader]) -> Iterator[str]:
    """A scene a line: dB of the rest from one LR pixel beyond the change on, and the share that was found."""
    kinds = tuple(changes(np.zeros((1, RATIO, RATIO), np.float32)))
    yield f"| scene | noise | changed (%) | {' | '.join(f'{kind} (dB) | found (%)' for kind in kinds)} |"
    yield "| --- " * (3 + 2 * len(kinds)) + "|"
    for name, read in scenes.items():
        ground = cropped(read(), RATIO)
        lr, msi = lr_displaced(ground.truth, RATIO, DISPLACED["exact"]), ground.msi
        rng = np.random.default_rng(0)
        for noise, pair in {
            "none": (lr, msi),
            "35 dB": (noisy(lr, HSI_DB, rng), noisy(msi, MSI_DB, rng)),
        }.items():
            place = changed_part(msi.shape)
            rest = ~widened(place, RATIO) & inner(msi.shape, RATIO)
            whole, _ = _fused(pair, "kriging")
            cells = []
            for other in changes(pair[1]).values():
                image, share = _fused((pair[0], np.where(place, other, pair[1])), "kriging")
                loss = scores(image, ground.truth, rest)[0] - scores(whole, ground.truth, rest)[0]
                cells += [f"{loss:+.2f}", f"{100 * share:.1f}"]
            yield f"| {name} | {noise} | {100 * place.mean():.1f} | {' | '.join(cells)} |"


def marked(read: Reader) -> Iterator[str]:
    """Wrong PSFs, a line each: the LR pixels that falsely seem changed, and GLP's PSNR (dB)."""
    ground = cropped(read(), RATIO)
    yield "| PSF, another assumed | falsely found (%) | glp (dB) |"
    yield "| --- | --- | --- |"
    for seed, (case, kernel) in enumerate(kernels().items()):
        if case in _WRONG_PSF:
            image, share = _fused(psf_pair(ground, kernel, RATIO, seed), "glp", "off")
            psnr = scores(image, ground.truth, inner(image.shape, RATIO))[0]
            yield f"| {case} | {100 * share:.1f} | {psnr:.2f} |"


def changed_part(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels (H, W) of a tenth of a scene: whole LR pixels left of its middle."""
    place = np.zeros(shape[-2:], np.bool_)
    height, width = (int(side * _SIDE) // RATIO * RATIO for side in place.shape)
    top = (place.shape[0] // 2 - height // 4) // RATIO * RATIO
    left = place.shape[1] // 8 // RATIO * RATIO
    place[top : top + height, left : left + width] = True
    return place


def changes(msi: Cube) -> dict[str, Cube]:
    """What the MSI (m, H, W) shows where it changed, by kind."""
    return {
        "cloud": np.asarray(0.3 * msi + 0.6 * msi.max(), np.float32),
        "another date": msi[:, ::-1, ::-1],
        "brighter": np.asarray(_BRIGHTER * msi, np.float32),
    }


def widened(place: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Pixels (H, W) within so many rows and columns of a place."""
    return np.asarray(ndimage.binary_dilation(place, np.ones((2 * by + 1, 2 * by + 1))))


def _fused(pair: tuple[Cube, Cube], method: str, register: Register = "auto") -> tuple[Cube, float]:
    """The fused cube (B, H, W), and the share of the LR pixels that seem changed."""
    with TemporaryDirectory() as folder:
        paths = write_pair(Path(folder), *pair, RATIO)
        image = fused(paths, method, register).values
        with rasterio.open(paths[0].with_name("fused.tif")) as output:
            return image, float(output.tags().get(CHANGED_TAG, 0))


if __name__ == "__main__":
    sys.exit(main())
