"""Use case: a fused raster against a reference raster on their common ground -> scores.

Both are read in tiles, so memory does not grow with the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from emrdiff_cli.core.metrics.cube import CHEAP, GRAIN, KEYS, NEED_PEAK, FullReference, Scores
from emrdiff_cli.errors import UsageError, did_you_mean
from emrdiff_cli.evaluation.alignment import find_alignment
from emrdiff_cli.evaluation.common_ground import Cube, Part, Source, Upsampled, pair, upsample
from emrdiff_cli.evaluation.levels import Levels
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.raster.quality_mask import mask_note
from emrdiff_cli.raster.reading import bounded_cache, open_raster
from emrdiff_cli.raster_info import Window
from emrdiff_cli.version import __version__

RATIO_TAG = "emrdiff_ratio"

_TILE_VALUES = 8 * 2**20  # values of one cube in a tile: 32 MiB of float32
_TILE_SIDE = 256
_CACHE_MEGABYTES = 256
_REFLECTANCE_MAXIMUM = 2.0

_Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a fused raster, of bicubic upsampling and of kriging beside it, and the convention they follow.

    Band numbers are the reference's, from 1; `wavelengths_nm` belong to the compared bands. `area` is what
    was compared, in the reference's pixels, less `border_px` at its edges; `sha256` are the files', by role.
    `align_px`: what the fused raster was moved by first, down and right; None: it was not asked for.
    `mask`: as it was asked for. `reflectance`: the values were taken to be that, with a peak of 1.
    """

    fused: Path
    reference: Path
    scores: Scores
    peak_source: str
    ratio_source: str | None
    wavelengths_nm: tuple[float, ...] | None
    notes: tuple[str, ...]
    area: Window
    reflectance: bool = False
    border_px: int = 0
    align_px: tuple[float, float] | None = None
    baseline: Scores | None = None
    baseline_path: Path | None = None
    kriging: Scores | None = None
    mask: AskedMask = ()
    sha256: Mapping[str, str] = field(default_factory=dict)

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
            "area": self.area._asdict(),
            "border_px": self.border_px,
            "mask": list(self.mask),
            "align_px": None if self.align_px is None else list(self.align_px),
            "baseline": baseline,
            "kriging": None if self.kriging is None else {"method": "kriging", **_record(self.kriging)},
            "notes": self.all_notes(),
            "sha256": dict(self.sha256),
            **versions(),
        }

    def columns(self) -> dict[str, Scores]:
        """The scores by the name of what was scored, the fused raster's first."""
        every = {"fused": self.scores, "bicubic": self.baseline, "kriging": self.kriging}
        return {name: scores for name, scores in every.items() if scores is not None}

    def all_notes(self) -> list[str]:
        """Everything to know of the figures, the baseline's notes marked as such."""
        own = self.baseline.notes if self.baseline is not None else ()
        shared = [*self.notes, *self.scores.notes]
        return [*shared, *(f"baseline: {note}" for note in own if note not in shared)]


def versions() -> dict[str, object]:
    """The package's version and those of the libraries that read and add up."""
    return {"version": __version__, "versions": {name: version(name) for name in ("numpy", "rasterio")}}


def plain(value: float | None) -> float | None:
    """A figure for JSON, which knows neither NaN nor infinity: None for both."""
    return value if value is not None and math.isfinite(value) else None


def _record(scores: Scores) -> dict[str, object]:
    return {
        **{key: plain(value) for key, value in scores.overall.items()},
        "per_band": {key: [plain(value) for value in row] for key, row in scores.per_band.items()},
        "bands": list(scores.bands),
        "left_out_bands": list(scores.left_out_bands),
        "valid_pixels": scores.valid_pixels,
        "dropped_pixels": scores.dropped_pixels,
        "sam_dropped_pixels": scores.sam_dropped_pixels,
        **scores.windows,
    }


def evaluate(
    fused: Path | str,
    reference: Path | str,
    *,
    baseline: Path | str | None = None,
    peak: float | None = None,
    ratio: float | None = None,
    metrics: Collection[str] = KEYS,
    border: int = 0,
    align: bool = False,
    mask: AskedMask = (),
    hashes: bool = False,
    report: _Report = lambda done, total, note: None,
) -> Evaluation:
    """Score `fused` against `reference` on their common area and bands.

    `peak`: L; by default 1 for a reference in reflectance, else its maximum. `ratio`: r of ergas; by default from
    the geotransform of `baseline` (the LR-HSI, which is then also scored, upsampled by cubic convolution), else
    from the fused raster's tag. `border` pixels at the common area's edges are left out. `align`: find first how
    the fused raster lies on the reference, and move it so. `mask`: classes of pixels that are left out, by the own
    masks of those of the rasters that are products. Raises UsageError, InputError, GridError.
    """
    for name, value in (("peak", peak), ("ratio", ratio)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name} {value:g} is unusable: give a positive number")
    if border < 0:
        raise UsageError(f"--border {border} is unusable: give 0 or more pixels")
    with ExitStack() as stack:
        stack.enter_context(bounded_cache(_CACHE_MEGABYTES))
        rasters = [Path(path) for path in (fused, reference, *(() if baseline is None else [baseline]))]
        masks = choose_masks(mask, rasters)
        a, b, *more = (
            stack.enter_context(open_raster(path, mask=own)) for path, own in zip(rasters, masks, strict=True)
        )
        aligned = find_alignment(a, b) if align else None
        move = None if aligned is None else aligned.move
        fused_part, reference_part, notes = pair(a, b, border, move)
        notes = notes if aligned is None else (aligned.note, *notes)
        upsampled = None
        masked = tuple(
            mask_note(reader.info, reader.mask_shares()) for reader in (a, b, *more) if reader.given_mask
        )
        notes = (*masked, *notes)
        for lr_hsi in more:
            upsampled, told = upsample(lr_hsi, reference_part)
            notes = (*notes, *(f"baseline: {note}" for note in told))
        comparison = _Comparison(fused_part, reference_part, upsampled, notes, border, metrics)
        return replace(comparison.evaluate(peak, ratio, hashes, report), align_px=move, mask=mask)


def chosen_metrics(text: str) -> tuple[str, ...]:
    """The metrics of a comma-separated list, or of `cheap` or `all`; raises UsageError on others."""
    groups = {"all": KEYS, "cheap": CHEAP}
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in names if name not in (*KEYS, *groups)]
    if unknown or not names:
        near = did_you_mean(unknown[0], (*KEYS, *groups)) if unknown else ""
        raise UsageError(f"--metrics {text}: give all, cheap, or some of {','.join(KEYS)}{near}")
    asked = {key for name in names for key in groups.get(name, (name,))}
    return tuple(key for key in KEYS if key in asked)


@dataclass(frozen=True)
class _Peak:
    """L and where it is from; `reflectance`: it is that of values in reflectance."""

    value: float
    source: str
    reflectance: bool = False


@dataclass(frozen=True)
class _Comparison:
    """Sources of a comparison: the fused raster, the reference and, if asked for, the upsampled LR-HSI."""

    fused: Part
    reference: Part
    upsampled: Upsampled | None
    notes: tuple[str, ...]
    border: int
    metrics: Collection[str]

    def evaluate(self, peak: float | None, ratio: float | None, hashes: bool, report: _Report) -> Evaluation:
        ratio, ratio_source = self._ratio(ratio)
        levels = Levels()
        scores, baseline, settled = self._scores(peak, ratio, report, levels)
        wavelengths = self.reference.reader.info.bands.wavelengths_nm
        return Evaluation(
            fused=self.fused.reader.info.path,
            reference=self.reference.reader.info.path,
            scores=scores,
            peak_source=settled.source,
            ratio_source=ratio_source,
            wavelengths_nm=None if wavelengths is None else tuple(wavelengths[b - 1] for b in scores.bands),
            notes=(*self.notes, *levels.notes()),
            area=self.reference.area,
            reflectance=settled.reflectance,
            border_px=self.border,
            baseline=baseline,
            baseline_path=None if self.upsampled is None else self.upsampled.reader.info.path,
            sha256=self._hashes() if hashes else {},
        )

    def _hashes(self) -> dict[str, str]:
        sources = {"fused": self.fused, "reference": self.reference, "baseline": self.upsampled}
        return {role: file_sha256(s.reader.info.path) for role, s in sources.items() if s is not None}

    def _tiles(self) -> list[Window]:
        """The common area in tiles of a bounded number of values, shaped as the files store theirs."""
        area = self.reference.area
        stored = min(part.reader.block_shape[1] for part in (self.fused, self.reference))
        whole_rows = stored >= area.width
        cols = area.width if whole_rows else _TILE_SIDE
        cols = max(GRAIN, min(cols, _TILE_VALUES // (GRAIN * len(self.reference.bands)) // GRAIN * GRAIN))
        rows = _TILE_VALUES // (len(self.reference.bands) * cols) // GRAIN * GRAIN
        rows = max(GRAIN, rows if whole_rows else min(rows, _TILE_SIDE))
        return [
            Window(row, col, min(rows, area.height - row), min(cols, area.width - col))
            for row in range(0, area.height, rows)
            for col in range(0, area.width, cols)
        ]

    def _peak(self, chosen: float | None) -> _Peak | None:
        """The peak, as far as that is known without the reference's values."""
        if chosen is not None:
            return _Peak(chosen, "--peak")
        if self.reference.reader.info.scale_recorded:
            return _Peak(1.0, "reflectance: the reference records its scale", reflectance=True)
        return None

    def _highest(self) -> float:
        """The reference's maximum, in a pass of its own."""
        every = range(len(self.reference.bands))
        return max(_maximum(self.reference.read(tile, every)) for tile in self._tiles())

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

    def _scores(
        self, chosen: float | None, ratio: float | None, report: _Report, levels: Levels
    ) -> tuple[Scores, Scores | None, _Peak]:
        """One pass over the tiles; the baseline is scored where the fused raster is valid too."""
        peak = self._peak(chosen)
        if peak is None and NEED_PEAK.intersection(self.metrics):
            peak = _peak_of(self._highest())
        every = range(len(self.reference.bands))
        empty = self._empty_bands(self.fused) | self._empty_bands(self.reference)
        kept = [b for b in every if b not in empty]
        own = self._stream(peak, ratio, empty)
        bicubic = None
        if self.upsampled is not None:
            bicubic = self._stream(peak, ratio, empty | self._empty_bands(self.upsampled))
        top, done, area = -math.inf, 0, self.reference.area
        for tile, (fused, reference, upsampled) in self._read_ahead(own.halo):
            core = tile.height, tile.width
            own.update(fused, reference, core)
            levels.add(fused, reference)
            if bicubic is not None and upsampled is not None:
                upsampled[:, ~np.isfinite(fused[kept]).all(axis=0)] = np.nan
                bicubic.update(upsampled, reference, core)
            if peak is None:
                top = max(top, _maximum(reference))
            done += tile.height * tile.width
            report(done, area.height * area.width, "pixels")
        if peak is None:
            peak = _peak_of(top)
        return own.result(peak.value), None if bicubic is None else bicubic.result(peak.value), peak

    def _read_ahead(self, halo: int) -> Iterator[tuple[Window, tuple[Cube, Cube, Cube | None]]]:
        """Each tile with its cubes, the halo around it included; the next is read while one is scored."""
        tiles = self._tiles()
        with ThreadPoolExecutor(1) as reading:
            ahead = reading.submit(self._read, tiles[0], halo)
            for tile, following in zip(tiles, [*tiles[1:], None], strict=True):
                cubes = ahead.result()
                if following is not None:
                    ahead = reading.submit(self._read, following, halo)
                yield tile, cubes

    def _read(self, tile: Window, halo: int) -> tuple[Cube, Cube, Cube | None]:
        area, every = self.reference.area, range(len(self.reference.bands))
        window = Window(
            tile.row,
            tile.col,
            min(tile.height + halo, area.height - tile.row),
            min(tile.width + halo, area.width - tile.col),
        )
        upsampled = None if self.upsampled is None else self.upsampled.read(window, every)
        return self.fused.read(window, every), self.reference.read(window, every), upsampled

    def _stream(self, peak: _Peak | None, ratio: float | None, empty: set[int]) -> FullReference:
        numbers, known = [b + 1 for b in self.reference.bands], None if peak is None else peak.value
        return FullReference(
            len(numbers), known, ratio, left_out=sorted(empty), numbers=numbers, metrics=self.metrics
        )

    def _empty_bands(self, source: Source) -> set[int]:
        """Bands without any valid value; reading ends as soon as none is suspect, mostly after a tile."""
        suspect: Sequence[int] = range(len(self.reference.bands))
        for tile in self._tiles():
            cube = source.read(tile, suspect)
            suspect = [b for b, band in zip(suspect, cube, strict=True) if not np.isfinite(band).any()]
            if not suspect:
                break
        return set(suspect)


def _maximum(cube: Cube) -> float:
    return float(np.fmax.reduce(cube, axis=None, initial=-math.inf))


def _peak_of(highest: float) -> _Peak:
    if highest <= _REFLECTANCE_MAXIMUM:
        source = f"reflectance: the reference's maximum is at most {_REFLECTANCE_MAXIMUM:g}"
        return _Peak(1.0, source, reflectance=True)
    return _Peak(highest, "the reference's maximum")
