"""The kernel of HR pixels' colours: the covariate of kriging beside the place.

A pixel's colour is the roots of its bands and, with less weight, of its neighbourhood's: what looks the same may be
told apart by what it lies in. The kernel is an RBF of the pixel's own colour, of which a share goes with an RBF of
the neighbourhood's. It is approximated by features (Nystroem's approximation, Williams and Seeger 2001), one for
each landmark; an LR pixel has the features' mean under the PSF.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays, let_go
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.sensor.holes import fill_holes
from emrdiff_cli.core.sensor.observation import Resampling, Strips
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_ROUNDING = 1e-5  # of the mean: a smaller spread of what was resampled is float32 rounding
_FINER = 2  # neighbourhoods are known at so many places in an LR pixel, along each axis
_SEEN = 0.01  # share of the weight below which a place sees nothing
_LANDMARKS = 192  # at most
_LEAST_NEW = 1e-3  # of its variance, that a landmark must add
_JITTER = 1e-6  # on the landmarks' variances
_SAMPLE = 1 << 14  # HR pixels, about, that landmarks are chosen among
_NARROWEST = 1e-2  # of the largest axis' variance: narrower ones are not stretched further
_ROWS_AT_ONCE = 24  # of HR pixels that are degraded at once,
COLUMNS_AT_ONCE = 128  # and as many columns: their features fit into a processor's cache


@dataclass(frozen=True)
class ColourKernel:
    """The features of a pixel's colour: the kernel with each landmark, times a power of the pixel's brightness.

    Colour is the root of each band above `lowest`, of the pixel and then of its neighbourhood, along `axes`
    (2 m, 2 m + 1), the last column of which centres it, in length scales; `landmarks` (n, 2 m). Of the kernel
    `neighbourhood_share` falls off with the neighbourhood's distance too. Brightness is the bands' mean above
    `lowest`, relative to `brightness`, that of the sample, plus `dark_level`.
    """

    axes: Field
    landmarks: Field
    neighbourhood_share: float
    lowest: float
    brightness: float
    brightness_power: float
    dark_level: float

    @classmethod
    def learn(cls, sample: Floats, neighbourhood: Floats, covariance: Covariance = USUAL) -> ColourKernel:
        """The kernel of a scene of which pixels (m, N) are a sample: axes, and landmarks that cover the colours."""
        lowest = min(0.0, float(sample.min()), float(neighbourhood.min()))
        brightness = max(float((sample - lowest).mean()), 1e-30)
        own, around = (
            _centring_axes(np.sqrt(part.astype(np.float64) - lowest), covariance.length_scale)
            for part in (sample, neighbourhood)
        )
        bands, weight = len(sample), covariance.neighbourhood_weight
        axes = np.zeros((2 * bands, 2 * bands + 1))
        axes[:bands, :bands], axes[:bands, -1] = own[:, :-1], own[:, -1]
        axes[bands:, bands:-1], axes[bands:, -1] = weight * around[:, :-1], weight * around[:, -1]
        kernel = cls(
            axes=axes.astype(np.float32),
            landmarks=np.empty((0, 2 * bands), np.float32),
            neighbourhood_share=covariance.neighbourhood_share,
            lowest=float(np.float32(lowest)),
            brightness=float(np.float32(brightness)),
            brightness_power=covariance.brightness_power,
            dark_level=covariance.dark_level,
        )
        return kernel.covering(sample, neighbourhood)

    def covering(self, sample: Floats, neighbourhood: Floats) -> Self:
        """The kernel with landmarks among pixels (m, N) in their neighbourhoods."""
        places = self.places(sample, neighbourhood).T.astype(np.float64)
        return replace(self, landmarks=cover(places, self.neighbourhood_share))

    def __call__(self, msi: Floats, neighbourhood: Floats) -> Field:
        """The features (n, ...) of pixels (m, ...) in their neighbourhoods (m, ...)."""
        pixels, around = msi.reshape(len(msi), -1), neighbourhood.reshape(len(msi), -1)
        place = self.places(pixels, around)
        features = _near(self.landmarks, place, self.neighbourhood_share)
        features *= self.brightness_factor(pixels)
        return np.asarray(features.reshape(-1, *msi.shape[1:]), np.float32)

    def brightness_factor(self, msi: Floats) -> Field:
        """The root (...) of the kernel's value of a pixel of the MSI (m, ...) with itself."""
        lowest, brightness, dark, power = np.array(
            [self.lowest, self.brightness, self.dark_level, self.brightness_power], np.float32
        )
        factor = (np.maximum(msi - lowest, 0).mean(axis=0) / brightness + dark) ** power
        return np.asarray(factor, np.float32)

    def relative_brightness(self, msi: Floats) -> Field:
        """The brightness (...) of pixels of the MSI (m, ...), 1 in the mean of the sample; linear in the bands."""
        lowest, brightness = np.float32(self.lowest), np.float32(self.brightness)
        return np.asarray((msi.mean(axis=0) - lowest) / brightness, np.float32)

    def places(self, pixels: Floats, around: Floats) -> Field:
        """Where pixels (m, N) in their neighbourhoods (m, N) lie among the colours: (2 m, N), in length scales."""
        roots = np.sqrt(np.maximum(np.concatenate([pixels, around]) - np.float32(self.lowest), 0))
        return np.asarray(self.axes[:, :-1] @ roots + self.axes[:, -1:], np.float32)

    def whitening(self) -> Doubles:
        """(n, n): from these features to those whose products are the kernel, brightness aside (Nystroem's)."""
        points = self.landmarks.astype(np.float64)
        between = _kernel(points[:, None] - points, self.neighbourhood_share)
        root = linalg.cholesky(between + _JITTER * np.eye(len(points)), lower=True)
        return np.asarray(linalg.solve_triangular(root, np.eye(len(points)), lower=True))


def _centring_axes(roots: Doubles, length_scale: float) -> Doubles:
    """(m, m + 1): to axes along which roots (m, N) have mean 0 and, but for narrow ones, one spread."""
    axes = unit_axes(roots, _NARROWEST) / length_scale
    return np.concatenate([axes, -axes @ roots.mean(axis=1, keepdims=True)], axis=1)


def unit_axes(pixels: Doubles, narrowest: float) -> Doubles:
    """(m, m): from bands to axes along which pixels (m, N) have unit variance (PCA whitening).

    Axes of less than `narrowest` of the largest variance are not stretched further, nor is what is rounding.
    """
    variance, directions = np.linalg.eigh(np.atleast_2d(np.cov(pixels)))
    rounding = _ROUNDING * float(np.abs(pixels.mean(axis=1)).max())
    floor = max(float(variance[-1]) * narrowest, rounding**2, 1e-30)
    return np.asarray((directions / np.sqrt(np.maximum(variance, floor))).T)


def _near(landmarks: Field, place: Field, share: float) -> Field:
    """The kernel (n, N) of landmarks (n, 2 m) and places (2 m, N)."""
    if share == 1:  # a product of both RBFs is one of both places together
        return _gaussian(landmarks, place)
    bands = len(place) // 2
    own, around = (
        _gaussian(landmarks[:, part], place[part]) for part in (slice(0, bands), slice(bands, None))
    )
    around *= np.float32(share)
    around += np.float32(1 - share)
    own *= around
    return own


def _gaussian(landmarks: Field, place: Field) -> Field:
    """The RBF (n, N), from one product: the squares of both are its last two rows."""
    one = np.ones((1, place.shape[1]), np.float32)
    squares = np.square(place).sum(axis=0, keepdims=True)
    half = np.concatenate([place, one, -0.5 * squares])
    of_landmarks = -0.5 * np.square(landmarks).sum(axis=1, keepdims=True)
    apart = np.concatenate([landmarks, of_landmarks, np.ones_like(of_landmarks)], axis=1) @ half
    np.minimum(apart, 0, out=apart)
    np.exp(apart, out=apart)
    return np.asarray(apart, np.float32)


def _kernel(apart: Doubles, share: float) -> Doubles:
    """The kernel (...,) of what lies so far apart (..., 2 m)."""
    squares = np.square(apart)
    bands = apart.shape[-1] // 2
    around = np.exp(-0.5 * squares[..., bands:].sum(axis=-1))
    return np.asarray(np.exp(-0.5 * squares[..., :bands].sum(axis=-1)) * (1 - share + share * around))


def cover(points: Doubles, share: float) -> Field:
    """Landmarks among points (N, m), by a pivoted Cholesky factor: each the one that those before explain least."""
    left = np.ones(len(points))
    factor = np.zeros((_LANDMARKS, len(points)))
    chosen: list[int] = []
    for row in range(_LANDMARKS):
        pivot = int(left.argmax())
        if left[pivot] < _LEAST_NEW:
            break
        kernel = _kernel(points - points[pivot], share)
        factor[row] = (kernel - factor[:row, pivot] @ factor[:row]) / np.sqrt(left[pivot])
        left = np.maximum(left - np.square(factor[row]), 0)
        chosen.append(pivot)
    return points[chosen].astype(np.float32)


def observe_neighbourhood(
    strips: Strips, up: tuple[Taps, Taps], reach: float = USUAL.neighbourhood_range
) -> Field:
    """Gaussian means (m, 2 h, 2 w) of the MSI, of sigma `reach` LR pixels, at places twice as dense as those."""
    rows, cols = down = (_means_around(up[0], reach), _means_around(up[1], reach))
    means: Floats | None = None
    covered = np.zeros((1, rows.n_out, cols.n_out), np.float32)
    for strip in strips():
        if means is None:
            means = np.zeros((len(strip.values), rows.n_out, cols.n_out), np.float32)
        for total, image in (
            (means, strip.values * strip.valid),
            (covered, strip.valid[None].astype(np.float32)),
        ):
            _add_degraded(total, strip.top, image.shape[1], partial(_seen, image), down, COLUMNS_AT_ONCE)
    if means is None:
        raise ValueError("the MSI has no rows")
    return fill_holes(means / np.maximum(covered, _SEEN), covered[0] > _SEEN)


def neighbourhood_of(neighbourhood: Field, rows: Taps, cols: Taps) -> Field:
    """The neighbourhoods (m, H, W) of a tile's pixels; `rows` and `cols` are its LR -> HR."""
    return apply_taps(neighbourhood, between_places(rows), between_places(cols))


def _means_around(up: Taps, reach: float) -> Taps:
    """The map HR -> places of an axis, from its LR -> HR."""
    centre, places = centre_of(up), (np.arange(_FINER * up.n_in) + 0.5) / _FINER - 0.5
    first = np.searchsorted(centre, places - 3 * reach)
    indices = first[:, None] + np.arange(int((np.searchsorted(centre, places + 3 * reach) - first).max()) + 1)
    inside = indices < up.n_out
    indices = np.minimum(indices, up.n_out - 1)
    weights = np.where(inside, np.exp(-0.5 * ((centre[indices] - places[:, None]) / reach) ** 2), 0)
    return Taps(
        up.n_out,
        indices,
        weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30),
        np.ones(len(places)),
    )


def between_places(up: Taps) -> Taps:
    """The linear map places -> HR of an axis, from its LR -> HR."""
    count = _FINER * up.n_in
    place = np.clip(_FINER * (centre_of(up) + 0.5) - 0.5, 0, count - 1)
    first = np.minimum(place.astype(np.int64), count - 2)
    share = place - first
    return Taps(
        count, np.stack([first, first + 1], axis=1), np.stack([1 - share, share], axis=1), np.ones(len(share))
    )


def centre_of(up: Taps) -> Doubles:
    """The place of each HR pixel of an axis, in LR pixels."""
    return np.asarray(np.clip(up.centres(), 0, up.n_in - 1))


def learn_kernel(
    strips: Strips, neighbourhood: Field, resampling: Resampling, covariance: Covariance = USUAL
) -> ColourKernel:
    """The kernel of a scene, from a sample of its pixels."""
    return ColourKernel.learn(*sampled(strips, neighbourhood, resampling), covariance)


def sampled(strips: Strips, neighbourhood: Field, resampling: Resampling) -> tuple[Floats, Floats]:
    """Every so many of a scene's valid pixels (m, N), and their neighbourhoods (m, N)."""
    height, width = (taps.n_out for taps in resampling.up)
    step = max(1, round(np.sqrt(height * width / _SAMPLE)))
    own: list[Floats] = []
    around: list[Floats] = []
    for top, values, valid in strips():
        rows, kept = slice(-top % step, None, step), valid[-top % step :: step, ::step]
        of_strip = neighbourhood_of(neighbourhood, *resampling.up_part(Window(top, 0, *valid.shape)))
        own.append(values[:, rows, ::step][:, kept])
        around.append(of_strip[:, rows, ::step][:, kept])
    if sum(part.shape[1] for part in own) < 2:  # too few to tell colours apart by
        own = around = [np.zeros((len(neighbourhood), 2), np.float32)]
    return np.concatenate(own, axis=1), np.concatenate(around, axis=1)


def features_seen(
    kernel: ColourKernel, msi: Floats, around: Floats, by_row: Field, by_column: Field
) -> Field:
    """The share (n, h, w) that HR pixels (m, H, W) in their neighbourhoods have in the features of LR pixels.

    `by_row` (h, H) and `by_column` (w, W): their weights along both axes.
    """
    return np.asarray(by_row @ (kernel(msi, around) @ by_column.T))


FeaturesSeen = Callable[[ColourKernel, Floats, Floats, Field, Field], Field]
"""`features_seen`, or what does the same elsewhere."""


def degraded_features(
    kernel: ColourKernel,
    neighbourhood: Field,
    strips: Strips,
    resampling: Resampling,
    large: LargeArrays = IN_MEMORY,
    seen_by: FeaturesSeen = features_seen,
    columns_at_once: int = COLUMNS_AT_ONCE,
) -> Field:
    """The features (n, h, w) of the LR pixels, means of the HR pixels' under the PSF; worked out by parts.

    `seen_by`: who does, on parts of so many HR columns.
    """
    rows, cols = resampling.down
    seen = large.zeros((len(kernel.landmarks), rows.n_out, cols.n_out))
    for top, values, _ in strips():
        for start in range(0, values.shape[1], _ROWS_AT_ONCE):
            part = values[:, start : start + _ROWS_AT_ONCE]
            window = Window(top + start, 0, *part.shape[1:])
            around = neighbourhood_of(neighbourhood, *resampling.up_part(window))
            features = partial(_features_of_columns, seen_by, kernel, part, around)
            _add_degraded(seen, top + start, part.shape[1], features, resampling.down, columns_at_once)
        let_go(seen)
    return seen


def _seen(image: Floats, columns: slice, by_row: Field, by_column: Field) -> Floats:
    return np.asarray(by_row @ (image[:, :, columns] @ by_column.T))


def _features_of_columns(
    seen_by: FeaturesSeen,
    kernel: ColourKernel,
    msi: Floats,
    around: Floats,
    columns: slice,
    by_row: Field,
    by_column: Field,
) -> Floats:
    return seen_by(kernel, msi[:, :, columns], around[:, :, columns], by_row, by_column)


def _add_degraded(
    total: Floats,
    top: int,
    height: int,
    seen: Callable[[slice, Field, Field], Floats],
    down: tuple[Taps, Taps],
    columns_at_once: int,
) -> None:
    """Add the share of HR rows top.. in a degraded image; `seen` degrades columns, by weights on both axes."""
    rows, cols = down
    bottom = top + height
    reached = np.flatnonzero(((rows.indices >= top) & (rows.indices < bottom)).any(axis=1))
    if not reached.size:
        return
    first, last = int(reached[0]), int(reached[-1]) + 1
    by_row = rows.part(first, last).matrix(top, bottom).astype(np.float32)
    step = max(1, columns_at_once * cols.n_out // cols.n_in)
    for left in range(0, cols.n_out, step):
        right = min(left + step, cols.n_out)
        part = cols.part(left, right)
        begin, end = part.reach()
        by_column = part.matrix(begin, end).astype(np.float32)
        total[:, first:last, left:right] += seen(slice(begin, end), by_row, by_column)
