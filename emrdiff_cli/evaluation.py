"""Use case: a fused raster against a reference raster on their common ground -> scores.

Both are read in strips of rows, so memory, beside GDAL's block cache, does not grow with
the height of the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emrdiff_cli import __version__
from emrdiff_cli.comparison import Part, Source, Upsampled, pair, upsample
from emrdiff_cli.core.metrics import FullReference, Scores
from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.reading import open_raster

RATIO_TAG = "emrdiff_ratio"

_STRIP_VALUES = 8 * 2**20  # values of one cube in a strip: 32 MiB of float32
_REFLECTANCE_MAXIMUM = 2.0

_Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a fused raster, of bicubic upsampling beside it, and the convention they were computed by.

    Band numbers are the reference's, from 1; `wavelengths_nm` belong to the compared bands.
    """

    fused: Path
    reference: Path
    scores: Scores
    peak_source: str
    ratio_source: str | None
    wavelengths_nm: tuple[float, ...] | None
    notes: tuple[str, ...]
    baseline: Scores | None = None
    baseline_path: Path | None = None

    def record(self) -> dict[str, object]:
        """All of it as plain values for JSON; infinity becomes None, as undefined values are."""
        baseline = None
        if self.baseline is not None:
            baseline = {"method": "bicubic", "lr_hsi": str(self.baseline_path), **_record(self.baseline)}
        return {
            "fused": str(self.fused),
            "reference": str(self.reference),
            **_record(self.scores),
            "wavelengths_nm": None if self.wavelengths_nm is None else list(self.wavelengths_nm),
            "peak": self.scores.peak,
            "peak_source": self.peak_source,
            "ratio": self.scores.ratio,
            "ratio_source": self.ratio_source,
            "baseline": baseline,
            "notes": self.all_notes(),
            "version": __version__,
        }

    def all_notes(self) -> list[str]:
        """Everything to know of the figures, the baseline's notes marked as such."""
        own = self.baseline.notes if self.baseline is not None else ()
        shared = [*self.notes, *self.scores.notes]
        return [*shared, *(f"baseline: {note}" for note in own if note not in shared)]


def _record(scores: Scores) -> dict[str, object]:
    def plain(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return {
        **{key: plain(value) for key, value in scores.overall.items()},
        "per_band": {key: [plain(value) for value in row] for key, row in scores.per_band.items()},
        "bands": list(scores.bands),
        "left_out_bands": list(scores.left_out_bands),
        "valid_pixels": scores.valid_pixels,
        "dropped_pixels": scores.dropped_pixels,
        "sam_dropped_pixels": scores.sam_dropped_pixels,
        "ssim_windows": scores.ssim_windows,
    }


def evaluate(
    fused: Path,
    reference: Path,
    *,
    baseline: Path | None = None,
    peak: float | None = None,
    ratio: float | None = None,
    report: _Report = lambda done, total, note: None,
) -> Evaluation:
    """Score `fused` against `reference` on their common area and bands.

    `peak`: L; by default 1 for a reference in reflectance, else its maximum. `ratio`: r of ergas; by
    default from the geotransform of `baseline` (the LR-HSI, which is then also scored, upsampled by cubic
    convolution), else from the fused raster's tag. Raises UsageError, InputError, GridError.
    """
    for name, value in (("peak", peak), ("ratio", ratio)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name} {value:g} is unusable: give a positive number")
    with ExitStack() as stack:
        a, b = (stack.enter_context(open_raster(path)) for path in (fused, reference))
        fused_part, reference_part, notes = pair(a, b)
        upsampled = None
        if baseline is not None:
            upsampled, more = upsample(stack.enter_context(open_raster(baseline)), reference_part)
            notes = (*notes, *(f"baseline: {note}" for note in more))
        return _Comparison(fused_part, reference_part, upsampled, notes).evaluate(peak, ratio, report)


@dataclass(frozen=True)
class _Comparison:
    """What is compared: the fused raster, the reference and, if asked for, the upsampled LR-HSI."""

    fused: Part
    reference: Part
    upsampled: Upsampled | None
    notes: tuple[str, ...]

    def evaluate(self, peak: float | None, ratio: float | None, report: _Report) -> Evaluation:
        peak, peak_source = self._peak(peak)
        ratio, ratio_source = self._ratio(ratio)
        scores, baseline = self._scores(peak, ratio, report)
        wavelengths = self.reference.reader.info.bands.wavelengths_nm
        return Evaluation(
            fused=self.fused.reader.info.path,
            reference=self.reference.reader.info.path,
            scores=scores,
            peak_source=peak_source,
            ratio_source=ratio_source,
            wavelengths_nm=None if wavelengths is None else tuple(wavelengths[b - 1] for b in scores.bands),
            notes=self.notes,
            baseline=baseline,
            baseline_path=None if self.upsampled is None else self.upsampled.reader.info.path,
        )

    def _strips(self) -> list[range]:
        """Rows of the common area, a bounded number of values at a time."""
        area, bands = self.reference.area, len(self.reference.bands)
        step = max(16, _STRIP_VALUES // (bands * area.width))
        return [range(row, min(row + step, area.height)) for row in range(0, area.height, step)]

    def _peak(self, chosen: float | None) -> tuple[float, str]:
        """Peak and where it is from; the reference's maximum takes a pass of its own."""
        if chosen is not None:
            return chosen, "--peak"
        info = self.reference.reader.info
        if info.scale_recorded:
            return 1.0, "reflectance: the reference records its scale"
        top = -math.inf
        every = range(len(self.reference.bands))
        for rows in self._strips():
            cube = self.reference.read(rows, every)
            top = max(top, float(np.max(cube, where=np.isfinite(cube), initial=-math.inf)))
        if top <= _REFLECTANCE_MAXIMUM:
            return 1.0, f"reflectance: the reference's maximum is at most {_REFLECTANCE_MAXIMUM:g}"
        return top, "the reference's maximum"

    def _ratio(self, chosen: float | None) -> tuple[float | None, str | None]:
        """Ratio and where it is from; (None, None) where nothing tells."""
        if chosen is not None:
            return chosen, "--ratio"
        if self.upsampled is not None:
            return self.upsampled.ratio, "the grids of the LR-HSI and the reference"
        try:
            tagged = float(self.fused.reader.info.tags.get(RATIO_TAG, ""))
        except ValueError:
            return None, None
        return (tagged, f"tag {RATIO_TAG}") if math.isfinite(tagged) and tagged > 0 else (None, None)

    def _scores(self, peak: float, ratio: float | None, report: _Report) -> tuple[Scores, Scores | None]:
        """One pass over the strips; the baseline is scored where the fused raster is valid too."""
        every = range(len(self.reference.bands))
        empty = self._empty_bands(self.fused) | self._empty_bands(self.reference)
        kept = [b for b in every if b not in empty]
        own = self._stream(peak, ratio, empty)
        bicubic = None
        if self.upsampled is not None:
            bicubic = self._stream(peak, ratio, empty | self._empty_bands(self.upsampled))
        for rows in self._strips():
            report(rows.start, self.reference.area.height, "rows")
            fused, reference = self.fused.read(rows, every), self.reference.read(rows, every)
            own.update(fused, reference)
            if self.upsampled is not None and bicubic is not None:
                cube = self.upsampled.read(rows, every)
                cube[:, ~np.isfinite(fused[kept]).all(axis=0)] = np.nan
                bicubic.update(cube, reference)
        report(self.reference.area.height, self.reference.area.height, "rows")
        return own.result(), None if bicubic is None else bicubic.result()

    def _stream(self, peak: float, ratio: float | None, empty: set[int]) -> FullReference:
        numbers = [b + 1 for b in self.reference.bands]
        return FullReference(len(numbers), peak, ratio, left_out=sorted(empty), numbers=numbers)

    def _empty_bands(self, source: Source) -> set[int]:
        """Bands without any valid value; reading ends as soon as none is suspect, mostly after a strip."""
        suspect = list(range(len(self.reference.bands)))
        for rows in self._strips():
            cube = source.read(rows, suspect)
            suspect = [b for b, band in zip(suspect, cube, strict=True) if not np.isfinite(band).any()]
            if not suspect:
                break
        return set(suspect)
