"""The detail filter on scenes that it was not fitted on: what it gains on kriging, and what it loses at worst.

    python -m tests.benchmarks.filter_transfer --data DATA [--limit 20]

CAVE's train scenes at ratio 8. A filter is fitted on all scenes but one, on those of the other kind (CAVE's eight
`fake_and_real` scenes are of one setting), and on the inner halves, frames half as wide; it is tested on whole
scenes, on scenes with dark surroundings, on corners taken for frames and on pairs with noise. All in closed form,
from sums of products: the gain is that of the mean squared error, mean over bands in dB. Some four minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.diffusion.detail_filter import (
    DetailSample,
    FilterInputs,
    Holding,
    detail_products,
    input_count,
    solve_detail_filter,
)
from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.methods.scene_end_point import choose_basis, find_end_point
from emrdiff_cli.core.sensor.degradation import simulate_pair
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import Resampling
from emrdiff_cli.core.sensor.srf import srf_matrix
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.responses import read_response
from tests.benchmarks.scenes import simulated_pair

Field = NDArray[np.float32]
Doubles = NDArray[np.float64]
Products = list[Doubles]

_RATIO = 8
_SIDE = 3
_KIND = "fake_and_real"
_DIMMED = np.float32(0.1)
_PENUMBRA = 16.0  # sigma in pixels
_NOISE_DB = 40.0
_HOLDINGS = {
    "as pooled": Holding(msi_ridge=1e-4, trust=1.0),
    "MSI held back": Holding(trust=1.0),
    "and the whole": Holding(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = _parser().parse_args(arguments)
    paths = sorted((options.data / "cave" / "train").glob("*.tif"))[: options.limit]
    response = read_response(str(options.data / "srf" / "nikon_d700.csv"))
    matrix = srf_matrix(response, read_info(paths[0]).bands.wavelengths_nm or ())
    found: dict[str, Products] = {name: [] for name in _CONDITIONS}
    for number, path in enumerate(paths):
        pair = simulated_pair(path, _RATIO, response)
        for name, changed in _CONDITIONS.items():
            found[name].append(_products(changed(pair, matrix, number)))
        sys.stderr.write(f"{path.name}\n")
    sys.stdout.write("\n".join(table(found, [path.name.startswith(_KIND) for path in paths])) + "\n")
    return 0


def table(found: Mapping[str, Products], kinds: Sequence[bool]) -> list[str]:
    """A line a fit and test, gains as mean and worst over the scenes, for each way of holding back."""
    numbers = range(len(kinds))
    others = {number: [other for other in numbers if other != number] for number in numbers}
    other_kind = {n: [other for other in numbers if kinds[other] != kinds[n]] for n in numbers}
    lines = [f"| fitted on | tested on | {' | '.join(_HOLDINGS)} |", "| --- " * (2 + len(_HOLDINGS)) + "|"]
    rows = [("other scenes", "whole", others, tested) for tested in _CONDITIONS if tested != "inner half"]
    rows += [("other scenes", "inner half", others, "whole")]
    if any(kinds) and not all(kinds):
        rows += [("scenes of the other kind", "whole", other_kind, "whole")]
    for label, source, learned, tested in rows:
        fitted = f"{label}, {source}" if source != "whole" else label
        cells = []
        for holding in _HOLDINGS.values():
            gains = _gains(found[source], found[tested], learned, holding)
            cells.append(f"{np.mean(gains):+.2f} / {min(gains):+.2f}")
        lines.append(f"| {fitted} | {tested} | {' | '.join(cells)} |")
    return lines


def _gains(
    source: Products, tested: Products, learned: Mapping[int, list[int]], holding: Holding
) -> list[float]:
    """The gain on each scene of the filter that is fitted on those of `learned`."""
    fits: dict[tuple[int, ...], Doubles] = {}
    gains = []
    for number, scenes in learned.items():
        key = tuple(scenes)
        if key not in fits:
            fits[key] = _fit([source[scene] for scene in scenes], holding)
        gains.append(_gain_db(tested[number], fits[key]))
    return gains


def _fit(products: Iterable[Doubles], holding: Holding) -> Doubles:
    solved = solve_detail_filter(products, input_count(_SIDE, lateral=True), holding)
    return np.asarray(solved.reshape(len(solved), -1), np.float64)


def _gain_db(products: Doubles, weights: Doubles) -> float:
    """Products are over the residual's power: what a filter leaves of it is quadratic in the weights."""
    left = [
        both[-1, -1] - 2 * w @ both[:-1, -1] + w @ both[:-1, :-1] @ w
        for both, w in zip(products, weights, strict=True)
    ]
    return float(np.mean(-10 * np.log10(left)))


def _products(pair: SupervisedPair) -> Doubles:
    scene, _ = at_lr(pair)
    end = find_end_point(
        scene, pair.strips, pair.resampling, "kriging", choose_basis(scene, 0), agreeing=False
    )
    tile = end.fitted.tile(pair.hr_msi, *pair.resampling.up)
    inputs = FilterInputs.of(tile, pair.hr_msi, end.msi, pair.resampling.up)
    sample = DetailSample(inputs, pair.hr_hsi - tile.values, pair.scored)
    return np.asarray(detail_products(sample, input_count(_SIDE, lateral=True)), np.float64)


def _simulated(truth: Field, matrix: Doubles) -> SupervisedPair:
    height, width = truth.shape[1:]
    placed, lr = AxisPlacement(float(_RATIO), 0.0), (height // _RATIO, width // _RATIO)
    resampling = Resampling.between(placed, placed, lr, (height, width))
    valid = np.ones((height, width), bool)
    return SupervisedPair(truth, valid, *simulate_pair(truth, matrix, resampling.down), resampling, valid)


def _inner(pair: SupervisedPair) -> tuple[slice, slice]:
    """Rows and columns of the middle, half as wide and high, in whole LR pixels."""
    rows, cols = (side // 4 // _RATIO * _RATIO for side in pair.valid.shape)
    return slice(rows, -rows), slice(cols, -cols)


def _inner_half(pair: SupervisedPair, matrix: Doubles, _number: int) -> SupervisedPair:
    return _simulated(pair.hr_hsi[:, *_inner(pair)], matrix)


def _corner(pair: SupervisedPair, matrix: Doubles, _number: int) -> SupervisedPair:
    rows, cols = (side // 2 // _RATIO * _RATIO for side in pair.valid.shape)
    return _simulated(pair.hr_hsi[:, :rows, :cols], matrix)


def _dark_around(pair: SupervisedPair, matrix: Doubles, _number: int) -> SupervisedPair:
    light = np.zeros(pair.valid.shape, np.float32)
    light[_inner(pair)] = 1
    light = ndimage.gaussian_filter(
        light, _PENUMBRA, mode="nearest"
    )  # a sharp edge would be all bands' alike
    return _simulated(pair.hr_hsi * (_DIMMED + (1 - _DIMMED) * light), matrix)


def _noisy(pair: SupervisedPair, _matrix: Doubles, number: int) -> SupervisedPair:
    random = np.random.default_rng(number)

    def with_noise(image: Field) -> Field:
        rms = np.sqrt(np.square(image, dtype=np.float64).mean(axis=(1, 2), keepdims=True))
        noise = random.standard_normal(image.shape) * rms * 10 ** (-_NOISE_DB / 20)
        return np.asarray(image + noise, np.float32)

    return replace(pair, lr_hsi=with_noise(pair.lr_hsi), hr_msi=with_noise(pair.hr_msi))


_CONDITIONS: Mapping[str, Callable[[SupervisedPair, Doubles, int], SupervisedPair]] = {
    "whole": lambda pair, _matrix, _number: pair,
    "inner half": _inner_half,
    "dark around the inner half": _dark_around,
    "a corner as a frame": _corner,
    f"noise at {_NOISE_DB:g} dB": _noisy,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Score the detail filter on scenes it was not fitted on.")
    parser.add_argument("--data", type=Path, required=True, help="folder with cave and srf")
    parser.add_argument("--limit", type=int, default=None, help="so many scenes at most")
    return parser


if __name__ == "__main__":
    sys.exit(main())
