"""Full-reference scores of a fused cube against a reference, streamed over strips of rows.

Every sum runs in float64 and nothing is quantised. L is the stated peak, r the resolution ratio; NaN and
infinity mark invalid values, and a pixel counts only where all compared bands of both cubes are valid:

- `psnr_db`: mean over bands of 10 log10(L^2 / MSE_b); `psnr_global_db`: one MSE over the cube;
  `psnr_band_peak_db`: L replaced by each band's own maximum of the reference.
- `sam_deg`: mean over pixels, both norms > 0, of arccos(clip(cos, -1, 1)) in degrees.
- `ergas`: (100 / r) sqrt(mean_b (RMSE_b / mean of the reference's band b)^2).
- `ssim`: mean over bands; 11 x 11 Gaussian window, sigma 1.5, K 0.01 and 0.03, range L, valid area.
- `cc`: mean over bands of the correlation coefficient; `rmse`: over the cube, in data units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, minimum_filter

KEYS = ("psnr_db", "psnr_global_db", "psnr_band_peak_db", "sam_deg", "ergas", "ssim", "cc", "rmse")

_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03
_REASONS = {
    "psnr_db": "identical in both cubes",
    "psnr_band_peak_db": "the reference's maximum is not above 0",
    "ergas": "the reference's mean is near 0",
    "ssim": "no 11 x 11 window lies wholly inside valid data",
    "cc": "constant in one of the cubes",
}
_NEAR_ZERO = 1e-6  # share of L under which a band's mean makes its relative error meaningless

Cube = NDArray[np.floating[Any]]
_Floats = NDArray[np.float64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """What a comparison gave, with its convention.

    `overall` has every key of KEYS; `per_band` those that exist for one band, an entry for each of `bands`.
    None: undefined, the reason is in `notes`; infinity: the PSNR of identical data. `bands` are the
    numbers of the compared bands, `left_out_bands` of those without a valid value in one of the cubes.
    `dropped_pixels` are invalid, `sam_dropped_pixels` valid but without a direction to measure an angle
    from, `ssim_windows` the windows in one band.
    """

    overall: Mapping[str, float | None]
    per_band: Mapping[str, tuple[float | None, ...]]
    peak: float
    ratio: float | None
    bands: tuple[int, ...]
    left_out_bands: tuple[int, ...]
    valid_pixels: int
    dropped_pixels: int
    sam_dropped_pixels: int
    ssim_windows: int
    notes: tuple[str, ...]


def score(fused: Cube, reference: Cube, peak: float, ratio: float | None = None) -> Scores:
    """Compare two whole cubes (bands, rows, columns); without `ratio`, `ergas` is None."""
    pairs = zip(fused, reference, strict=True)
    empty = [b for b, pair in enumerate(pairs) if not all(np.isfinite(band).any() for band in pair)]
    stream = FullReference(len(fused), peak, ratio, left_out=empty)
    stream.update(fused, reference)
    return stream.result()


class FullReference:
    """Scores of a scene handed in as strips of rows, from top to bottom; the split does not matter.

    `left_out` are the positions (from 0) of bands known to be invalid throughout: they make no pixel
    invalid. `numbers` names the bands in the result (default: from 1). Holds ten rows of both cubes.
    Raises ValueError: peak or ratio not positive and finite.
    """

    def __init__(
        self,
        bands: int,
        peak: float,
        ratio: float | None = None,
        *,
        left_out: Sequence[int] = (),
        numbers: Sequence[int] | None = None,
    ) -> None:
        for name, value in (("peak", peak), ("ratio", ratio)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"the {name} must be a positive number, not {value}")
        self._bands, self._peak, self._ratio = bands, peak, ratio
        self._kept = [b for b in range(bands) if b not in set(left_out)]
        self._numbers = np.arange(1, bands + 1) if numbers is None else np.array(numbers)
        self._pixels = 0
        self._moments = _Moments(len(self._kept))
        self._angles = _Angles()
        self._similarity = _Similarity(len(self._kept), peak)

    def update(self, fused: Cube, reference: Cube) -> None:
        """Add the next strip of each cube, (bands, rows, columns); raises ValueError on other shapes."""
        if fused.shape != reference.shape or fused.ndim != 3 or len(fused) != self._bands:
            raise ValueError(f"two strips of {self._bands} bands expected: {fused.shape}, {reference.shape}")
        if len(self._kept) < self._bands:
            fused, reference = fused[self._kept], reference[self._kept]
        valid = np.full(fused.shape[1:], len(fused) > 0)
        for f, r in zip(fused, reference, strict=True):
            valid &= np.isfinite(f) & np.isfinite(r)
        self._pixels += valid.size
        if valid.any():
            self._add_pixels(fused, reference, valid)
        self._similarity.update(fused, reference, valid)

    def _add_pixels(self, fused: Cube, reference: Cube, valid: _Mask) -> None:
        """One pass over the bands feeds the moments and the spectral angles."""
        products = np.zeros((3, int(valid.sum())))
        for band, (f_all, r_all) in enumerate(zip(fused, reference, strict=True)):
            f, r = f_all[valid].astype(np.float64), r_all[valid].astype(np.float64)
            products += (f * r, f * f, r * r)
            self._moments.update(band, f, r)
        self._moments.count += products.shape[1]
        self._angles.update(*products)

    def result(self) -> Scores:
        """Give the scores of the strips so far."""
        per_band = _band_values(self._moments, self._similarity, self._peak, self._ratio)
        numbers, left_out = self._numbers[self._kept], np.delete(self._numbers, self._kept)
        return Scores(
            overall={key: _number(x) for key, x in self._overall(per_band).items()},
            per_band={key: tuple(_number(x) for x in row) for key, row in per_band.items()},
            peak=self._peak,
            ratio=self._ratio,
            bands=tuple(numbers.tolist()),
            left_out_bands=tuple(left_out.tolist()),
            valid_pixels=self._moments.count,
            dropped_pixels=self._pixels - self._moments.count,
            sam_dropped_pixels=self._angles.dropped,
            ssim_windows=self._similarity.windows,
            notes=tuple(self._notes(per_band, numbers, left_out)),
        )

    def _overall(self, per_band: Mapping[str, _Floats]) -> dict[str, float]:
        mse = _mean(per_band["rmse"] ** 2)
        values = {key: _mean(row) for key, row in per_band.items()}
        values["psnr_global_db"] = float(_decibels(self._peak, np.array(mse)))
        values["sam_deg"] = self._angles.mean()
        values["ergas"] = math.sqrt(_mean(per_band["ergas"] ** 2))
        values["rmse"] = math.sqrt(mse)
        return {key: values[key] for key in KEYS}

    def _notes(
        self, per_band: Mapping[str, _Floats], numbers: NDArray[np.int_], left_out: NDArray[np.int_]
    ) -> Iterator[str]:
        """Give the reason for every score that is undefined, infinite or a mean over fewer bands."""
        if left_out.size:
            yield f"{_listed(left_out)} left out: no valid value in one of the cubes"
        if not self._moments.count:
            yield f"every score is null: no pixel of {self._pixels} is valid in all bands of both cubes"
            return
        if not self._angles.count:
            yield "sam_deg is null: no pixel has a spectrum other than 0 in both cubes"
        if self._ratio is None:
            yield "ergas is null: the ratio is not known"
        for key, reason in _REASONS.items():
            missing = np.isinf(per_band[key]) if key == "psnr_db" else np.isnan(per_band[key])
            if missing.any() and not (key == "ergas" and self._ratio is None):
                nothing_left = "is infinite (null in JSON)" if key == "psnr_db" else "is null"
                effect = nothing_left if missing.all() else f"leaves out {_listed(numbers[missing])}"
                yield f"{key} {effect}: {reason}"


class _Moments:
    """Means and co-moments of both cubes by band, merged strip by strip (Chan, Golub, LeVeque 1983).

    Values are taken relative to the first valid pixel, so constant bands have a variance of exactly 0.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.squared_error = np.zeros(bands)
        self.pivot, self.mean, self.m2 = np.zeros((3, 2, bands))
        self.co = np.zeros(bands)
        self.maximum = np.full(bands, -np.inf)

    @property
    def reference_mean(self) -> _Floats:
        return np.asarray(self.pivot[1] + self.mean[1])

    def update(self, band: int, fused: _Floats, reference: _Floats) -> None:
        """Merge one band's valid values; the caller adds to `count` after the last band."""
        if self.count == 0:
            self.pivot[:, band] = fused[0], reference[0]
        self.squared_error[band] += np.sum((fused - reference) ** 2)
        self.maximum[band] = max(self.maximum[band], reference.max())
        values = np.stack([fused, reference]) - self.pivot[:, band, None]
        means = values.mean(axis=1)
        values -= means[:, None]
        step, share = means - self.mean[:, band], len(fused) / (self.count + len(fused))
        self.m2[:, band] += np.sum(values**2, axis=1) + step**2 * self.count * share
        self.co[band] += np.sum(values[0] * values[1]) + step[0] * step[1] * self.count * share
        self.mean[:, band] += step * share


class _Angles:
    """Sum of the spectral angles and the count of pixels that have none."""

    def __init__(self) -> None:
        self.total, self.count, self.dropped = 0.0, 0, 0

    def update(self, dot: _Floats, fused_square: _Floats, reference_square: _Floats) -> None:
        norms = np.sqrt(fused_square * reference_square)
        seen = norms > 0
        cosines = np.clip(dot[seen] / norms[seen], -1.0, 1.0)
        self.total += float(np.sum(np.degrees(np.arccos(cosines))))
        self.count += cosines.size
        self.dropped += norms.size - cosines.size

    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan


class _Similarity:
    """Sum of the SSIM map by band, over the windows wholly inside valid data."""

    def __init__(self, bands: int, peak: float) -> None:
        self.sums, self.windows = np.zeros(bands), 0
        self._c1, self._c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
        offsets = np.arange(_WINDOW) - _WINDOW // 2
        kernel = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
        self._kernel = kernel / kernel.sum()
        self._tail: tuple[Cube, Cube, _Mask] | None = None

    def update(self, fused: Cube, reference: Cube, valid: _Mask) -> None:
        """Score the windows that end in this strip; those that reach on wait in the last ten rows."""
        if self._tail is not None:
            fused = np.concatenate([self._tail[0], fused], axis=1)
            reference = np.concatenate([self._tail[1], reference], axis=1)
            valid = np.concatenate([self._tail[2], valid])
        last = slice(max(0, len(valid) - _WINDOW + 1), None)
        self._tail = fused[:, last].copy(), reference[:, last].copy(), valid[last].copy()
        if min(valid.shape) < _WINDOW:
            return
        whole = _inner(minimum_filter(valid, _WINDOW), (0, 1))
        self.windows += int(whole.sum())
        if whole.any():
            for band, (f, r) in enumerate(zip(fused, reference, strict=True)):
                self.sums[band] += np.sum(self._map(np.where(valid, f, 0), np.where(valid, r, 0))[whole])

    def _map(self, fused: Cube, reference: Cube) -> _Floats:
        f, r = fused.astype(np.float64), reference.astype(np.float64)
        fields = np.stack([f, r, f * f + r * r, f * r])
        for axis in (1, 2):
            fields = _inner(correlate1d(fields, self._kernel, axis=axis), (axis,))
        mean_f, mean_r, squares, product = fields
        mean_product, mean_squares = mean_f * mean_r, mean_f**2 + mean_r**2
        luminance = (2 * mean_product + self._c1) / (mean_squares + self._c1)
        structure = (2 * (product - mean_product) + self._c2) / (squares - mean_squares + self._c2)
        return np.asarray(luminance * structure)


def _inner(array: NDArray[Any], axes: Sequence[int]) -> NDArray[Any]:
    """Cut what lies within half a window of the ends of these axes."""
    inner = slice(_WINDOW // 2, -(_WINDOW // 2))
    return array[tuple(inner if axis in axes else slice(None) for axis in range(array.ndim))]


def _band_values(
    moments: _Moments, similarity: _Similarity, peak: float, ratio: float | None
) -> dict[str, _Floats]:
    """Every score by band; NaN where it is undefined."""
    mean, top = np.abs(moments.reference_mean), moments.maximum
    with np.errstate(divide="ignore", invalid="ignore"):
        mse = moments.squared_error / moments.count
        relative = np.where(mean > _NEAR_ZERO * peak, np.sqrt(mse) / mean, math.nan)
        return {
            "psnr_db": _decibels(peak, mse),
            "psnr_band_peak_db": _decibels(np.where(top > 0, top, math.nan), mse),
            "ergas": relative * (math.nan if ratio is None else 100 / ratio),
            "ssim": similarity.sums / similarity.windows,
            "cc": moments.co / np.sqrt(moments.m2[0] * moments.m2[1]),
            "rmse": np.sqrt(mse),
        }


def _decibels(peak: float | _Floats, mse: _Floats) -> _Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(peak) - 10 * np.log10(mse))


def _mean(values: _Floats) -> float:
    """Mean of the defined, finite values; infinity where there are only identical bands, else NaN."""
    finite = values[np.isfinite(values)]
    if finite.size:
        return float(finite.mean())
    return math.inf if np.isinf(values).any() else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _listed(numbers: NDArray[np.int_]) -> str:
    """Band numbers with runs drawn together: `bands 1-4, 7`."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    spans = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"band{'s' if len(numbers) > 1 else ''} {', '.join(spans)}"
