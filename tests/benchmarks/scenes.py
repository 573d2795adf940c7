"""The scenes of the quality benchmark: splits, spectral responses, simulated pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.srf import SpectralResponse, srf_matrix
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import RasterInfo
from emrdiff_cli.responses import read_response
from emrdiff_cli.training.examples import Examples, simulated_pairs
from tests.benchmarks.configurations import Table

_AVIRIS_BANDS = (12, 20, 30, 50)  # blue, green, red, near infrared; each seen through a box of 7 bands
_AVIRIS_BOX = 3
# These two overlap by 20 columns: neither is learned from when the other is the test.
_OVERLAPPING = {"abu_airport_2.tif", "abu_urban_5.tif"}
_CAVE_PEAK = 4095.0
_CAVE_HELD_OUT = 2


@dataclass(frozen=True)
class Scene:
    """A test scene by name, its pair and the matrix (m, B) that the MSI was made with."""

    name: str
    pair: SupervisedPair
    srf: NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """Scenes that one model learns from and is tested on; `validated` tells whether scenes were held out for it."""

    examples: Examples
    tests: tuple[Scene, ...]
    validated: bool


def read_folds(table: Table, data: Path) -> Iterator[Fold]:
    """The folds of a table: one for CAVE, one for each AVIRIS scene that is left out."""
    if table == "cave":
        yield _cave(data)
    else:
        yield from _aviris(data, ratio=int(table.removeprefix("aviris-x")))


def _cave(data: Path) -> Fold:
    response = read_response(str(data / "srf" / "nikon_d700.csv"))
    train, test = (sorted((data / "cave" / part).glob("*.tif")) for part in ("train", "test"))
    pairs = [simulated_pair(path, 8, response) for path in train]
    tests = tuple(
        Scene(path.name, simulated_pair(path, 8, response), _matrix(response, path)) for path in test
    )
    learned, held_out = pairs[:-_CAVE_HELD_OUT], pairs[-_CAVE_HELD_OUT:]
    examples = _examples(learned, held_out, read_info(train[0]), response, 8.0, _CAVE_PEAK)
    return Fold(examples, tests, validated=True)


def _aviris(data: Path, ratio: int) -> Iterator[Fold]:
    paths = sorted((data / "aviris_la205").glob("*.tif"))
    info = _with_band_numbers(read_info(paths[0]))
    response = _boxes(info.bands.count)
    pairs = {path.name: simulated_pair(path, ratio, response) for path in paths}
    for name, pair in pairs.items():
        banned = _OVERLAPPING if name in _OVERLAPPING else {name}
        learned = [other for key, other in pairs.items() if key not in banned]
        peak = float(pair.hr_hsi.max())
        scene = Scene(name, pair, srf_matrix(response, info.bands.wavelengths_nm or ()))
        # Too few scenes to hold one out: the last weights are taken, whatever the first scene scores.
        examples = _examples(learned, learned[:1], info, response, float(ratio), peak)
        yield Fold(examples, (scene,), validated=False)


def _examples(
    learned: Sequence[SupervisedPair],
    held_out: Sequence[SupervisedPair],
    info: RasterInfo,
    response: SpectralResponse,
    ratio: float,
    peak: float,
) -> Examples:
    calibration: list[LrScene] = [at_lr(pair)[0] for pair in learned]
    return Examples(
        calibration=calibration,
        learned=learned,
        held_out=held_out,
        hsi=info,
        msi_centres_nm=response.centres_nm(),
        msi_bands=len(response.names),
        ratio=ratio,
        peak=peak,
        described="scenes",
        archive=True,
        uncut=True,
    )


def simulated_pair(path: Path, ratio: int, response: SpectralResponse) -> SupervisedPair:
    """The pair of a scene by Wald's protocol, whole."""
    (pair,) = simulated_pairs(path, _with_band_numbers(read_info(path)), ratio, response)
    return pair


def _matrix(response: SpectralResponse, path: Path) -> NDArray[np.float64]:
    return srf_matrix(response, read_info(path).bands.wavelengths_nm or ())


def boxes_over_aviris(path: Path) -> SpectralResponse:
    """The response of an AVIRIS scene's four MSI bands."""
    return _boxes(read_info(path).bands.count)


def _boxes(bands: int) -> SpectralResponse:
    """Boxes over band numbers in the place of wavelengths, which the AVIRIS files do not record."""
    positions = np.arange(1.0, bands + 1)
    boxes = [(np.abs(positions - centre) <= _AVIRIS_BOX).astype(float) for centre in _AVIRIS_BANDS]
    return SpectralResponse(("blue", "green", "red", "nir"), positions, np.stack(boxes))


def _with_band_numbers(info: RasterInfo) -> RasterInfo:
    if info.bands.wavelengths_nm is not None:
        return info
    numbers = tuple(float(band) for band in range(1, info.bands.count + 1))
    return replace(info, bands=replace(info.bands, wavelengths_nm=numbers))
