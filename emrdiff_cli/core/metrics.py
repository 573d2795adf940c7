"""Full-reference scores of a fused cube against a reference, tile by tile.

Every sum runs in float64 and nothing is quantised. L is the stated peak, r the resolution ratio; NaN and
infinity mark invalid values, and a pixel counts only where all compared bands of both cubes are valid:

- `psnr_db`: mean over bands of 10 log10(L^2 / MSE_b); `psnr_global_db`: one MSE over the cube;
  `psnr_band_peak_db`: L replaced by each band's own maximum of the reference.
- `sam_deg`: mean over pixels, both norms > 0, of arccos(clip(cos, -1, 1)) in degrees.
- `ergas`: (100 / r) sqrt(mean_b (RMSE_b / mean of the reference's band b)^2).
- `ssim`: mean over bands; 11 x 11 Gaussian window, sigma 1.5, K 0.01 and 0.03, range L, valid area.
- `uiqi`: mean over bands of Wang and Bovik's index in 32 x 32 windows at every pixel, valid area.
- `q2n`: hypercomplex quality index in 32 x 32 blocks side by side from the upper left, whole blocks alone.
- `cc`: mean over bands of the correlation coefficient; `rmse`: over the cube, in data units.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core import hypercomplex, quality_index, similarity
from emrdiff_cli.core.pixelwise import Cube, Floats, PixelSums

CHEAP = ("psnr_db", "psnr_global_db", "psnr_band_peak_db", "sam_deg", "ergas", "cc", "rmse")
WINDOWED = ("ssim", "uiqi", "q2n")
KEYS = ("psnr_db", "psnr_global_db", "psnr_band_peak_db", "sam_deg", "ergas", *WINDOWED, "cc", "rmse")
GRAIN = hypercomplex.BLOCK
"""Tiles start at multiples of this from the scene's corner, in rows and columns."""

_REASONS = {
    "psnr_db": "identical in both cubes",
    "psnr_band_peak_db": "the reference's maximum is not above 0",
    "ergas": "the reference's mean is near 0",
    "ssim": "no 11 x 11 window lies wholly inside valid data",
    "uiqi": "no 32 x 32 window lies wholly inside valid data",
    "cc": "constant in one of the cubes",
}
_NEAR_ZERO = 1e-6  # share of L under which a band's mean makes its relative error meaningless


@dataclass(frozen=True)
class Scores:
    """What a comparison gave, with its convention.

    `overall` has the keys that were asked for, of KEYS and in its order; `per_band` those of them that exist
    for one band, an entry for each of `bands`. None: undefined, the reason is in `notes`; infinity: the PSNR
    of identical data. `bands` are the numbers of the compared bands, `left_out_bands` of those without a
    valid value in one of the cubes. `dropped_pixels` are invalid, `sam_dropped_pixels` valid but without a
    direction to measure an angle from, the windows those in one band (0 where not asked for).
    `reference_range` is the least and the greatest value of the reference in the valid pixels.
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
    uiqi_windows: int = 0
    q2n_blocks: int = 0
    reference_range: tuple[float, float] | None = None


def score(
    fused: Cube,
    reference: Cube,
    peak: float,
    ratio: float | None = None,
    metrics: Collection[str] = KEYS,
) -> Scores:
    """Compare two whole cubes (bands, rows, columns); without `ratio`, `ergas` is None."""
    pairs = zip(fused, reference, strict=True)
    empty = [b for b, pair in enumerate(pairs) if not all(np.isfinite(band).any() for band in pair)]
    stream = FullReference(len(fused), peak, ratio, left_out=empty, metrics=metrics)
    stream.update(fused, reference)
    return stream.result()


class FullReference:
    """Scores of a scene handed in as tiles, in any order; how it is cut does not matter.

    A tile is an upper left core that is scored, and below and to the right of it, as far as the scene goes,
    `halo` pixels that windows reach into. `left_out` are the positions (from 0) of bands known to be invalid
    throughout: they make no pixel invalid. `numbers` names the bands in the result (default: from 1).
    Raises ValueError: peak or ratio not positive and finite, an unknown metric.
    """

    def __init__(
        self,
        bands: int,
        peak: float | None,
        ratio: float | None = None,
        *,
        left_out: Sequence[int] = (),
        numbers: Sequence[int] | None = None,
        metrics: Collection[str] = KEYS,
    ) -> None:
        for name, value in (("peak", peak), ("ratio", ratio)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"the {name} must be a positive number, not {value}")
        if unknown := set(metrics) - set(KEYS):
            raise ValueError(f"unknown metrics {sorted(unknown)}: known are {', '.join(KEYS)}")
        if peak is None and "ssim" in metrics:
            raise ValueError("ssim needs the peak before the first tile")
        self._bands, self._peak, self._ratio = bands, peak or 1.0, ratio
        self._keys = [key for key in KEYS if key in metrics]
        self._kept = [b for b in range(bands) if b not in set(left_out)]
        self._numbers = np.arange(1, bands + 1) if numbers is None else np.array(numbers)
        self._pixels = 0
        self._sums = PixelSums(len(self._kept))
        self._similarity = similarity.Similarity(len(self._kept), self._peak)
        self._quality = quality_index.QualityIndex(len(self._kept))
        self._hypercomplex = hypercomplex.HypercomplexIndex()
        self.halo = halo(metrics)

    def update(self, fused: Cube, reference: Cube, core: tuple[int, int] | None = None) -> None:
        """Add a tile of each cube, (bands, rows, columns); `core`: its rows and columns that are scored.

        Cores start at multiples of GRAIN from the scene's corner where `q2n` is asked for. Raises ValueError
        on other shapes.
        """
        if fused.shape != reference.shape or fused.ndim != 3 or len(fused) != self._bands:
            raise ValueError(f"two tiles of {self._bands} bands expected: {fused.shape}, {reference.shape}")
        rows, cols = core = fused.shape[1:] if core is None else core
        self._pixels += rows * cols
        if not self._kept:
            return
        if len(self._kept) < self._bands:
            fused, reference = fused[self._kept], reference[self._kept]
        pixels = (cube[:, :rows, :cols].reshape(len(cube), -1) for cube in (fused, reference))
        self._sums.add(*pixels)
        self._update_windows(fused, reference, core)

    def _update_windows(self, fused: Cube, reference: Cube, core: tuple[int, int]) -> None:
        if not set(self._keys) & set(WINDOWED):
            return
        valid = np.asarray(np.isfinite(fused).all(axis=0) & np.isfinite(reference).all(axis=0))
        if "ssim" in self._keys:
            self._similarity.update(fused, reference, valid, core)
        if "uiqi" in self._keys:
            self._quality.update(fused, reference, valid, core)
        if "q2n" in self._keys:
            self._hypercomplex.update(fused, reference, valid, core)

    def result(self, peak: float | None = None) -> Scores:
        """Give the scores of the tiles so far; `peak` where it was not known before."""
        self._peak = peak or self._peak
        per_band = self._by_band()
        numbers, left_out = self._numbers[self._kept], np.delete(self._numbers, self._kept)
        return Scores(
            overall={key: _number(x) for key, x in self._overall(per_band).items()},
            per_band={key: tuple(_number(x) for x in per_band[key]) for key in self._keys if key in per_band},
            peak=self._peak,
            ratio=self._ratio,
            bands=tuple(numbers.tolist()),
            left_out_bands=tuple(left_out.tolist()),
            valid_pixels=self._sums.count,
            dropped_pixels=self._pixels - self._sums.count,
            sam_dropped_pixels=self._sums.count - self._sums.angles,
            ssim_windows=self._similarity.windows,
            uiqi_windows=self._quality.windows,
            q2n_blocks=self._hypercomplex.blocks,
            reference_range=self._reference_range(),
            notes=tuple(self._notes(per_band, numbers, left_out)),
        )

    def _reference_range(self) -> tuple[float, float] | None:
        if not self._sums.count:
            return None
        return float(self._sums.reference_minimum.min()), float(self._sums.reference_maximum.max())

    def _by_band(self) -> dict[str, Floats]:
        """Every score by band; NaN where it is undefined."""
        sums = self._sums
        mean, top = np.abs(sums.mean[1]), sums.reference_maximum
        with np.errstate(divide="ignore", invalid="ignore"):
            mse = sums.squared_error / sums.count
            relative = np.where(mean > _NEAR_ZERO * self._peak, np.sqrt(mse) / mean, math.nan)
            return {
                "psnr_db": _decibels(self._peak, mse),
                "psnr_band_peak_db": _decibels(np.where(top > 0, top, math.nan), mse),
                "ergas": relative * (math.nan if self._ratio is None else 100 / self._ratio),
                "ssim": self._similarity.means(),
                "uiqi": self._quality.means(),
                "cc": sums.co / np.sqrt(sums.m2[0] * sums.m2[1]),
                "rmse": np.sqrt(mse),
            }

    def _overall(self, per_band: Mapping[str, Floats]) -> dict[str, float]:
        mse = _mean(per_band["rmse"] ** 2)
        values = {key: _mean(row) for key, row in per_band.items()}
        values["psnr_global_db"] = float(_decibels(self._peak, np.array(mse)))
        values["sam_deg"] = self._sums.mean_angle()
        values["ergas"] = math.sqrt(_mean(per_band["ergas"] ** 2))
        values["q2n"] = self._hypercomplex.mean()
        values["rmse"] = math.sqrt(mse)
        return {key: values[key] for key in self._keys}

    def _notes(
        self, per_band: Mapping[str, Floats], numbers: NDArray[np.int_], left_out: NDArray[np.int_]
    ) -> Iterator[str]:
        """Give the reason for every score that is undefined, infinite or a mean over fewer bands."""
        if left_out.size:
            yield f"{listed(left_out)} left out: no valid value in one of the cubes"
        if not self._sums.count:
            yield f"every score is null: no pixel of {self._pixels} is valid in all bands of both cubes"
            return
        if "sam_deg" in self._keys and not self._sums.angles:
            yield "sam_deg is null: no pixel has a spectrum other than 0 in both cubes"
        if "ergas" in self._keys and self._ratio is None:
            yield "ergas is null: the ratio is not known"
        if "q2n" in self._keys and not self._hypercomplex.blocks:
            yield "q2n is null: no 32 x 32 block lies wholly inside valid data"
        for key, reason in _REASONS.items():
            missing = np.isinf(per_band[key]) if key == "psnr_db" else np.isnan(per_band[key])
            asked = key in self._keys and not (key == "ergas" and self._ratio is None)
            if asked and missing.any():
                nothing_left = "is infinite (null in JSON)" if key == "psnr_db" else "is null"
                effect = nothing_left if missing.all() else f"leaves out {listed(numbers[missing])}"
                yield f"{key} {effect}: {reason}"


def halo(metrics: Collection[str]) -> int:
    """How far beyond a tile's core the windows of these metrics reach, in pixels."""
    reach = {"ssim": similarity.WINDOW - 1, "uiqi": quality_index.WINDOW - 1}
    return max(reach.get(key, 0) for key in metrics) if metrics else 0


def listed(numbers: NDArray[np.int_]) -> str:
    """Band numbers with runs drawn together: `bands 1-4, 7`."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    spans = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"band{'s' if len(numbers) > 1 else ''} {', '.join(spans)}"


def _decibels(peak: float | Floats, mse: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(peak) - 10 * np.log10(mse))


def _mean(values: Floats) -> float:
    """Mean of the defined, finite values; infinity where there are only identical bands, else NaN."""
    finite = values[np.isfinite(values)]
    if finite.size:
        return float(finite.mean())
    return math.inf if np.isinf(values).any() else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
