"""Where a fused raster agrees with the pair that it was made from, and where it does not: maps and ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.area_mean import AreaMean, cell_edges
from emrdiff_cli.core.sensor.changes import find_changes
from emrdiff_cli.core.sensor.coverage import covered_by_response
from emrdiff_cli.core.sensor.degradation import DegradedImage
from emrdiff_cli.core.sensor.holes import fill_holes
from emrdiff_cli.core.sensor.observation import LrScene, observe_msi
from emrdiff_cli.core.sensor.possible_values import PossibleValues
from emrdiff_cli.evaluation.pair_view import PairView, Response
from emrdiff_cli.report.panels import MAP_SIZE, shape_of

Field = NDArray[np.float32]
Floats = NDArray[np.float64]

_SAMPLED = 200_000  # pixels, about, that the median difference from the MSI is taken of
_MUCH = 4.0  # times the median from which a difference is no noise


@dataclass(frozen=True)
class PairMaps:
    """A pass over a fused raster and its inputs.

    `spectral` (h, w): rms over the bands of the cube seen through the PSF less the LR-HSI; `msi`, on a picture of
    the common ground: rms over the MSI's bands of the response applied to the cube less the MSI; data units, NaN
    where nothing is compared. `usual`: the median of the latter by pixels, and `contradicted` the share of the
    pixels that differ by more than four times that. `changed` (h, w): 1 where the pair contradicts itself.
    `under`: the LR-HSI's bands (0-based) under each of the MSI's. `ranges`: the least and the greatest value
    of the fused raster and of the LR-HSI. `impossible`: the share of the fused values that cannot be.
    """

    spectral: Field
    msi: Field
    usual: float
    contradicted: float
    changed: Field
    under: tuple[tuple[int, ...], ...]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    impossible: float


def survey_pair(view: PairView, response: Response | None) -> PairMaps:
    """Make the maps in one pass over the rasters, by strips; `response` None: nothing is held against the MSI.

    Raises InputError.
    """
    area = view.pair.alignment.hr_window
    grid = view.pair.msi_info.grid.crop(area)
    shape = shape_of(grid, MAP_SIZE)
    degraded = DegradedImage(len(view.bands), view.pair.resampling.down, np.float64)
    seen = _FusedValues(_possible(view), max(1, area.height * area.width // _SAMPLED))
    mean = AreaMean(1, cell_edges(0, area.height, shape[0]), cell_edges(0, area.width, shape[1]))
    for top, fused, msi in view.strips():
        degraded.add(top, fused, np.asarray(np.isfinite(fused).all(axis=0)))
        squares = _squares(response, fused, msi)
        mean.update(top, 0, squares[None])
        seen.add(fused, squares)
    low = view.lr[view.bands]
    under = [] if response is None else covered_by_response(response.matrix)
    spectral = np.sqrt(np.square(degraded.masked_mean() - low).mean(axis=0))
    usual, contradicted = seen.contradicted()
    return PairMaps(
        spectral=spectral.astype(np.float32),
        msi=np.sqrt(mean.result()[0]),
        usual=usual,
        contradicted=contradicted,
        changed=_changed(view),
        under=tuple(tuple(view.bands[band] for band in bands) for bands in under),
        ranges=(seen.range, _range(low)),
        impossible=seen.impossible / max(1, seen.values),
    )


def _squares(response: Response | None, fused: Field, msi: Field) -> Floats:
    """The mean squared difference (n, W) from the MSI; NaN without a response."""
    if response is None:
        return np.full(fused.shape[1:], np.nan)
    errors = np.tensordot(response.matrix, fused, axes=1) + response.offset[:, None, None] - msi
    return np.asarray(np.square(errors).mean(axis=0))


class _FusedValues:
    """What is counted of the fused values, strip by strip."""

    def __init__(self, possible: PossibleValues, every: int) -> None:
        self._possible, self._every = possible, every
        self._sample: list[Floats] = []
        self.range = (np.inf, -np.inf)
        self.impossible = self.values = 0

    def add(self, fused: Field, squares: Floats) -> None:
        """Add rows of the fused bands (B, n, W) and their mean squared differences (n, W) from the MSI."""
        low, high = _range(fused)
        self.range = float(np.fmin(self.range[0], low)), float(np.fmax(self.range[1], high))
        self.impossible += self._possible.count_beyond(fused)
        self.values += int(np.isfinite(fused).sum())
        known = squares[np.isfinite(squares)]
        self._sample.append(np.sqrt(known[:: self._every]))

    def contradicted(self) -> tuple[float, float]:
        """The median difference from the MSI and the share of those beyond four times that; NaN without any."""
        every = np.concatenate(self._sample)
        if not every.size:
            return np.nan, np.nan
        usual = float(np.median(every))
        return usual, float((every > _MUCH * usual).mean())


def _possible(view: PairView) -> PossibleValues:
    low = view.lr[view.bands]
    valid = np.asarray(np.isfinite(low).all(axis=0))
    return PossibleValues.of(np.where(valid, low, 0), valid, view.pair.resampling.down)


def _changed(view: PairView) -> Field:
    """(h, w): 1 where the LR-HSI shows other ground than the MSI, 0 where the same, NaN where that is unknown."""
    low = view.lr[view.bands]
    seen = observe_msi(view.pair.strips, view.pair.resampling.down)
    known = np.asarray(np.isfinite(low).all(axis=0))
    valid = known & seen.covered
    found = find_changes(LrScene(fill_holes(low, known), seen.msi_at_lr, valid)) if valid.any() else None
    changed = np.zeros_like(valid) if found is None else found.changed
    return np.where(valid, changed, np.nan).astype(np.float32)


def _range(values: NDArray[np.floating]) -> tuple[float, float]:
    """The least and the greatest value; NaN without any."""
    if not np.isfinite(values).any():
        return np.nan, np.nan
    return float(np.nanmin(values)), float(np.nanmax(values))
