"""Full-reference scores of a fused cube against a reference, tile by tile.

Every sum runs in float64 and nothing is quantised. NaN and infinity mark invalid values, and a pixel counts
only where all compared bands of both cubes are valid. Each metric's convention is in `full_reference`'s table.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.core.metrics import hypercomplex
from emrdiff_cli.core.metrics.full_reference import METRICS, Evidence, FullReferenceMetric, WindowScore
from emrdiff_cli.core.metrics.pixelwise import Cube, Floats, PixelSums

KEYS = tuple(METRICS)
CHEAP = tuple(key for key, metric in METRICS.items() if metric.windows is None)
NEED_PEAK = frozenset(key for key, metric in METRICS.items() if metric.windows and metric.windows.needs_peak)
"""Metrics whose peak must be known before the first tile."""
GRAIN = hypercomplex.BLOCK
"""Tiles start at multiples of this from the scene's corner, in rows and columns."""


@dataclass(frozen=True)
class Scores:
    """Scores of a comparison, with the convention they follow.

    `overall` has the keys that were asked for, of KEYS and in its order; `per_band` those of them that exist
    for one band, an entry for each of `bands`. None: undefined, the reason is in `notes`; infinity: the PSNR
    of identical data. `bands` are the numbers of the compared bands, `left_out_bands` of those without a
    valid value in one of the cubes. `dropped_pixels` are invalid, `sam_dropped_pixels` valid but without a
    direction to measure an angle from; `windows` counts those of each windowed metric in one band, by the key it
    has in results (0 where not asked for).
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
    windows: Mapping[str, int]
    notes: tuple[str, ...]
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
        if peak is None and (early := NEED_PEAK.intersection(metrics)):
            raise ValueError(f"{', '.join(sorted(early))} needs the peak before the first tile")
        self._bands, self._peak, self._ratio = bands, peak or 1.0, ratio
        self._metrics = [metric for key, metric in METRICS.items() if key in metrics]
        self._kept = [b for b in range(bands) if b not in set(left_out)]
        self._numbers = np.arange(1, bands + 1) if numbers is None else np.array(numbers)
        self._pixels = 0
        self._sums = PixelSums(len(self._kept))
        self._windows: dict[str, WindowScore] = {
            metric.key: metric.windows.start(len(self._kept), self._peak)
            for metric in self._metrics
            if metric.windows is not None
        }
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
        if not self._windows:
            return
        valid = np.asarray(np.isfinite(fused).all(axis=0) & np.isfinite(reference).all(axis=0))
        for windows in self._windows.values():
            windows.update(fused, reference, valid, core)

    def result(self, peak: float | None = None) -> Scores:
        """Give the scores of the tiles so far; `peak` where it was not known before."""
        self._peak = peak or self._peak
        with np.errstate(divide="ignore", invalid="ignore"):
            evidence = {metric: self._evidence(metric) for metric in self._metrics}
            per_band = {m.key: m.by_band(seen) for m, seen in evidence.items() if m.by_band is not None}
            overall = {metric.key: metric.value(seen) for metric, seen in evidence.items()}
        numbers, left_out = self._numbers[self._kept], np.delete(self._numbers, self._kept)
        return Scores(
            overall={key: _number(x) for key, x in overall.items()},
            per_band={key: tuple(_number(x) for x in row) for key, row in per_band.items()},
            peak=self._peak,
            ratio=self._ratio,
            bands=tuple(numbers.tolist()),
            left_out_bands=tuple(left_out.tolist()),
            valid_pixels=self._sums.count,
            dropped_pixels=self._pixels - self._sums.count,
            sam_dropped_pixels=self._sums.count - self._sums.angles,
            windows=self._window_counts(),
            reference_range=self._reference_range(),
            notes=tuple(self._notes(overall, per_band, left_out)),
        )

    def _evidence(self, metric: FullReferenceMetric) -> Evidence:
        windows = self._windows.get(metric.key)
        means = np.empty(0) if windows is None else windows.means()
        return Evidence(self._sums, means, self._peak, self._ratio)

    def _window_counts(self) -> dict[str, int]:
        return {
            metric.windows.counted: self._windows[key].count if key in self._windows else 0
            for key, metric in METRICS.items()
            if metric.windows is not None
        }

    def _reference_range(self) -> tuple[float, float] | None:
        if not self._sums.count:
            return None
        return float(self._sums.reference_minimum.min()), float(self._sums.reference_maximum.max())

    def _notes(
        self, overall: Mapping[str, float], per_band: Mapping[str, Floats], left_out: NDArray[np.int_]
    ) -> Iterator[str]:
        """Give the reason for every score that is undefined, infinite or a mean over fewer bands."""
        if left_out.size:
            yield f"{numbered_bands(left_out)} left out: no valid value in one of the cubes"
        if not self._sums.count:
            yield f"every score is null: no pixel of {self._pixels} is valid in all bands of both cubes"
            return
        known = [metric for metric in self._metrics if not (metric.needs_ratio and self._ratio is None)]
        for metric in self._metrics:
            if metric not in known:
                yield f"{metric.key} is null: the ratio is not known"
            elif metric.by_band is None and metric.undefined and math.isnan(overall[metric.key]):
                yield f"{metric.key} is null: {metric.undefined}"
        for metric in known:
            if metric.by_band is not None:
                yield from self._band_notes(metric, per_band[metric.key])

    def _band_notes(self, metric: FullReferenceMetric, values: Floats) -> Iterator[str]:
        for reason, missing, nothing_left in (
            (metric.infinite, np.isinf(values), "is infinite (null in JSON)"),
            (metric.undefined, np.isnan(values), "is null"),
        ):
            if reason is not None and missing.any():
                left_out = f"leaves out {numbered_bands(self._numbers[self._kept][missing])}"
                yield f"{metric.key} {nothing_left if missing.all() else left_out}: {reason}"


def halo(metrics: Collection[str]) -> int:
    """Reach of these metrics' windows beyond a tile's core, in pixels."""
    reach = (windows.reach for key in metrics if (windows := METRICS[key].windows) is not None)
    return max(reach, default=0)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
