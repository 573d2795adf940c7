"""A panchromatic band beside a hyperspectral cube, alone and with a multispectral image of a resolution between.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pan --data DATA [--sources sample,cave,aviris] [--limit 3]

Pairs with a truth by Wald's protocol, at ratio 6 (the sample at 8 as well, AVIRIS at 4), scored as by `verdict`:
PSNR (dB, mean over the bands, each with its own maximum as the peak) / SAM (degrees), without the outer LR pixel.
`auto` is what the pair's evidence names. `cave-test` and `aviris-other` are scenes that nothing was settled on.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pan --data DATA --both

PAN and MSI together: four bands 2 or 3 times coarser than the PAN, the cube 6 times. Every step is kriging under
the covariance that `fuse` chooses. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr, fused_without_model
from emrdiff_cli.core.evidence.covariance_choice import covariance_for
from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import Resampling
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.sensor.srf import SpectralResponse
from emrdiff_cli.methods import END_POINTS
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.responses import read_response
from tests.benchmarks.scenes import boxes_over_aviris, simulated_pair
from tests.benchmarks.verdict import inner_scores, judge

SOURCES = ("sample", "cave", "cave-test", "aviris", "aviris-other")
_RATIO = 6
_SAMPLE = Path(__file__).parents[2] / "sample_data" / "hr_hsi.tif"
_ALL, _VISIBLE, _AVIRIS = (0.0, 1.0), (0.05, 0.45), (0.04, 0.16)  # shares of the bands under the PAN

Field = NDArray[np.float32]
Load = Callable[[], SupervisedPair]


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the pairs and print the table."""
    options = _parser().parse_args(arguments)
    sources = options.sources.split(",")
    if options.both:
        _print_row(["scene", "MSI is coarser by", *_ROADS])
        _print_row(["---"] * (2 + len(_ROADS)))
        for name, path, response in _scenes_with_msi(sources, options.data, options.limit):
            for coarser in (2, 3):
                scores = score_roads(path, response, coarser)
                _print_row([name, str(coarser), *(f"{psnr:.2f} / {sam:.2f}" for psnr, sam in scores)])
        return 0
    _print_row(["pair", *END_POINTS, "auto"])
    _print_row(["---"] * (2 + len(END_POINTS)))
    for name, ratio, load in _pairs(sources, options.data, options.limit):
        judged = judge(name, load(), ratio)
        told = {m: f"{psnr:.2f} / {judged.sam_deg[m]:.2f}" for m, psnr in judged.psnr_db.items()}
        _print_row([name, *told.values(), judged.verdict.method])
    return 0


def score_roads(path: Path, msi: SpectralResponse, coarser: int) -> list[tuple[float, float]]:
    """PSNR (dB) and SAM (degrees) of each road from a PAN, an MSI so many times coarser, and an LR-HSI."""
    under = _VISIBLE if path == _SAMPLE else _ALL if _is_visible(path) else _AVIRIS
    pan = _pan_of(path, *under)
    with_pan, with_msi = (simulated_pair(path, _RATIO, response) for response in (pan, msi))
    truth, band, bands = with_pan.hr_hsi, with_pan.hr_msi, with_msi.hr_msi
    coarse = _degraded(bands, coarser)
    sharpened = _kriged(_pair(bands, coarse, band, coarser))
    at_msi = _pair(_degraded(truth, coarser), with_pan.lr_hsi, coarse, _RATIO // coarser)
    between = _kriged(at_msi)
    found = (
        fused_without_model(with_pan, "bicubic"),
        _kriged(with_pan),
        apply_taps(between, *_maps(between, truth, coarser).up),
        _kriged(_pair(truth, between, band, coarser)),
        _kriged(_pair(truth, with_pan.lr_hsi, sharpened, _RATIO)),
        _kriged(_pair(truth, with_pan.lr_hsi, np.concatenate([band, sharpened]), _RATIO)),
    )
    return [inner_scores(np.asarray(image, np.float32), with_pan, _RATIO) for image in found]


_ROADS = (
    "bicubic",
    "PAN alone",
    "MSI alone, upsampled",
    "MSI, then PAN",
    "MSI sharpened by the PAN",
    "the same, and the PAN",
)


def _kriged(pair: SupervisedPair) -> Field:
    """A pair fused by kriging, the covariance chosen on it."""
    scene, _ = at_lr(pair)
    return fused_without_model(pair, "kriging", covariance_for(scene, pair.strips, pair.resampling))


def _pair(truth: Field, coarse: Field, fine: Field, ratio: int) -> SupervisedPair:
    """The pair of a coarse image and a finer one; `truth` is what is looked for."""
    valid = np.ones(fine.shape[1:], bool)
    return SupervisedPair(truth, valid, coarse, fine, _maps(coarse, fine, ratio), valid)


def _maps(coarse: Field, fine: Field, ratio: int) -> Resampling:
    placed = AxisPlacement(float(ratio), 0.0)
    lr, hr = ((image.shape[1], image.shape[2]) for image in (coarse, fine))
    return Resampling.between(placed, placed, lr, hr, WALD_PSF)


def _degraded(image: Field, factor: int) -> Field:
    placed = AxisPlacement(float(factor), 0.0)
    fine = image.shape[1], image.shape[2]
    coarse = fine[0] // factor, fine[1] // factor
    return np.asarray(apply_taps(image, *WALD_PSF.down(placed, placed, coarse, fine)), np.float32)


def _pan_of(path: Path, first: float, last: float) -> SpectralResponse:
    """One box over the bands between two shares of them; over band numbers where none has a wavelength."""
    bands = read_info(path).bands
    number = np.arange(bands.count)
    box = ((number >= first * bands.count) & (number <= last * bands.count)).astype(float)
    positions = np.asarray(bands.wavelengths_nm or number + 1.0, np.float64)
    return SpectralResponse(("pan",), positions, box[None])


def _is_visible(path: Path) -> bool:
    return "cave" in path.parts


def _pairs(sources: Sequence[str], data: Path, limit: int) -> Iterator[tuple[str, int, Load]]:
    """Names, ratios and pairs of the first `limit` scenes of each source."""

    def load(path: Path, ratio: int, under: tuple[float, float]) -> Load:
        return partial(simulated_pair, path, ratio, _pan_of(path, *under))

    if "sample" in sources:
        yield "sample x8, mean band", 8, load(_SAMPLE, 8, _ALL)
        yield "sample x6, visible", _RATIO, load(_SAMPLE, _RATIO, _VISIBLE)
    for path in _scenes(sources, data, limit):
        if _is_visible(path):
            yield f"{path.stem} x6", _RATIO, load(path, _RATIO, _ALL)
        else:
            for ratio in (4, _RATIO):
                yield f"{path.stem} x{ratio}", ratio, load(path, ratio, _AVIRIS)


def _scenes_with_msi(
    sources: Sequence[str], data: Path, limit: int
) -> Iterator[tuple[str, Path, SpectralResponse]]:
    if "sample" in sources:
        yield "sample", _SAMPLE, read_response("sentinel-2a")
    nikon = data / "srf" / "nikon_d700.csv"
    for path in _scenes(sources, data, limit):
        yield path.stem, path, read_response(str(nikon)) if _is_visible(path) else boxes_over_aviris(path)


def _scenes(sources: Sequence[str], data: Path, limit: int) -> Iterator[Path]:
    folders = {
        "cave": "cave/train",
        "cave-test": "cave/test",
        "aviris": "aviris_la205",
        "aviris-other": "aviris_other",
    }
    for source, folder in folders.items():
        if source in sources:
            yield from sorted((data / folder).glob("*.tif"))[:limit]


def _print_row(cells: Sequence[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pan", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(), help="folder of cave/ and aviris_la205/")
    parser.add_argument("--sources", default=",".join(SOURCES), help=f"of {','.join(SOURCES)} [all]")
    parser.add_argument("--limit", type=int, default=20, help="scenes of each source [20]")
    parser.add_argument("--both", action="store_true", help="PAN and MSI together")
    return parser


if __name__ == "__main__":
    sys.exit(main())
