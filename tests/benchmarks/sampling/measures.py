"""What an ensemble is judged by on a pair, in its judged bands, each in units of its spread over the pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.decibels import psnr_db
from tests.benchmarks.sampling.known import KnownPair
from tests.benchmarks.sampling.scoring_rules import (
    coverage,
    fair_crps,
    fair_energy_score,
    rank_counts,
    spread_and_error,
    unevenness,
)

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

INDICES = ((0, 1), (0, 2), (1, 2))  # normalised differences of about 860, 1650 and 2200 nm
_PATCH = 8  # pixels along a side
_BINS = 10  # of pixels alike in spread
_LEAST = 1e-12

Scores = dict[str, float]


class _Images(NamedTuple):
    """Members (M, J, H, W) and truth (J, H, W) in units of the bands' spread, without the outer LR pixel."""

    members: Field
    truth: Field


def measure(members: Field, pair: KnownPair) -> Scores:
    """Scores of members (M, J, H, W), the last three bands those of the indices.

    `crps`, `energy` and `patches` (energy score on 8 x 8 pixels) in hundredths of the bands' spread; `within_50`
    and `within_90` shares by ranks; `unevenness` of the rank histogram; `ratio`, the spread over the error of the
    mean, and `slope`, the exponent by which the one follows the other from pixel to pixel; `texture_db`, how far
    the spectrum beyond LR's Nyquist frequency is off; `indices`, the mean |ln| of an index' spread over its error;
    `psnr_db` of the mean.
    """
    edge = int(pair.ratio)
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    index_scores = [_index(members[inner][:, -3:], pair.truth_bands[inner][-3:], *bands) for bands in INDICES]
    found, truth = members[inner][:, :-3], pair.truth_bands[inner][:-3]
    varied = truth.std(axis=(1, 2)) > 0
    found, truth = found[:, varied], truth[varied]
    spread = truth.std(axis=(1, 2), keepdims=True)
    images = _Images(found / spread, truth / spread)
    counts = rank_counts(*images)
    variance, squares = spread_and_error(*images)
    return {
        "crps": 100 * float(fair_crps(*images).mean()),
        "energy": 100 * _energy(images, _spectra),
        "patches": 100 * _energy(images, _patches),
        "within_50": coverage(counts, 0.5)[0],
        "within_90": coverage(counts, 0.9)[0],
        "unevenness": unevenness(counts),
        "ratio": float(np.sqrt(variance.mean() / squares.mean())),
        "slope": _slope(variance.mean(axis=0), squares.mean(axis=0)),
        "texture_db": _texture_db(images, edge),
        "indices": float(np.mean(index_scores)),
        "psnr_db": float(
            psnr_db(truth.max(axis=(1, 2)), squares.mean(axis=(1, 2)) * spread[:, 0, 0] ** 2).mean()
        ),
    }


def _energy(images: _Images, vectors: Callable[[Field], Field]) -> float:
    members, truth = (vectors(image) for image in images)
    return float(fair_energy_score(members, truth).mean())


def _spectra(images: Field) -> Field:
    """(..., H W, J)."""
    return np.moveaxis(images, -3, -1).reshape(*images.shape[:-3], -1, images.shape[-3])


def _patches(images: Field) -> Field:
    """(..., patches, J x 8 x 8)."""
    rows, cols = (side // _PATCH for side in images.shape[-2:])
    cut = images[..., : rows * _PATCH, : cols * _PATCH]
    split = cut.reshape(*images.shape[:-2], rows, _PATCH, cols, _PATCH)
    first = np.moveaxis(split, (-4, -2), (-5, -4))
    return first.reshape(*images.shape[:-3], rows * cols, -1)


def _slope(variance: Floats, squares: Floats) -> float:
    """The slope of ln error on ln spread over groups of pixels that are alike in spread; 1 where it is told."""
    order = np.argsort(variance, axis=None)
    groups = np.array_split(order, _BINS)
    spread, error = (
        np.log([np.sqrt(max(image.ravel()[group].mean(), _LEAST)) for group in groups])
        for image in (variance, squares)
    )
    return float(np.polyfit(spread, error, 1)[0])


def _texture_db(images: _Images, ratio: int) -> float:
    """The rms over bands and radial frequencies beyond 1 / (2 ratio) of 10 lg of members' power over truth's."""
    power, truth = (_radial(image, ratio) for image in images)
    return float(np.sqrt(np.square(10 * np.log10(power.mean(axis=0) / truth)).mean()))


def _radial(images: Field, ratio: int) -> Floats:
    """Mean power (..., frequencies) of rings of images (..., H, W) under a Hann window."""
    height, width = images.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    power = np.square(np.abs(np.fft.rfft2(centred * window)))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    limits = np.linspace(1 / (2 * ratio), 0.5, 11)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(limits)]
    return np.stack([power[..., ring].mean(axis=-1) for ring in rings], axis=-1)


def _index(members: Field, truth: Field, one: int, other: int) -> float:
    """|ln| of an index' spread over the error of its mean; of bands that may be negative where they are drawn."""
    seen = truth[one] + truth[other] > 0.1 * np.median(truth[one] + truth[other])
    drawn, known = (_difference(image, one, other)[..., seen] for image in (members, truth))
    variance, squares = spread_and_error(drawn, known)
    return abs(float(np.log(np.sqrt(variance.mean() / squares.mean()))))


def _difference(bands: Field, one: int, other: int) -> Floats:
    """The normalised difference of bands (..., 3, H, W), between -1 and 1."""
    first, second = bands[..., one, :, :], bands[..., other, :, :]
    return np.asarray(np.clip((first - second) / np.maximum(first + second, 1e-3), -1, 1))
