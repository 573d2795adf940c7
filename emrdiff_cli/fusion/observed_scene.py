"""A pair seen at LR before any method is fitted: its values there, what is passed through, what changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.covariance_choice import covariance_for
from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays, chosen_bands, let_go, one_by_one
from emrdiff_cli.core.methods.covariance import Covariance
from emrdiff_cli.core.methods.scene_end_point import own_basis
from emrdiff_cli.core.sensor.changes import find_changes
from emrdiff_cli.core.sensor.fill import FillSurvey, ProbableFill, probable_fill
from emrdiff_cli.core.sensor.holes import fill_each_band, fill_holes, fill_in_place, unusable_bands
from emrdiff_cli.core.sensor.missing_bands import MissingBands, fill_missing
from emrdiff_cli.core.sensor.observation import LrScene, Observation, Strip, observe_msi
from emrdiff_cli.core.sensor.possible_values import PossibleValues
from emrdiff_cli.core.subspace import Basis
from emrdiff_cli.errors import NothingToFuseError
from emrdiff_cli.pair.geometry import on_grid_of
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import RasterInfo

Field = NDArray[np.float32]
Fill = tuple[tuple[ProbableFill, ...], tuple[ProbableFill, ...]]

_ROUNDING = 1e-6


@dataclass(frozen=True)
class PassedBands:
    """Bands of the LR-HSI (0-based) that are upsampled as they are.

    `values` (n, h, w) without holes, and where each is `valid`.
    """

    bands: NDArray[np.intp]
    values: Field
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class ChangedGround:
    """LR pixels (h, w) that were `compared` with the MSI, and those that show other ground than it (`changed`)."""

    changed: NDArray[np.bool_]
    compared: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Share of the compared pixels that are changed; 0 without any."""
        return float(self.changed.sum() / max(1, self.compared.sum()))


@dataclass(frozen=True)
class Lost:
    """Shares of the LR pixels and of the MSI's that have values in some bands alone and are nodata in all."""

    lr: float = 0.0
    msi: float = 0.0


@dataclass(frozen=True)
class ObservedScene:
    """A pair at LR, put right, before any method is fitted: the same for all of them.

    `seen`: the MSI's pass; `lr` holds all bands of the LR-HSI, of which some are `unusable` (B,), `usable_hsi` the
    others. `fill`: probable fill of the LR-HSI and of the MSI. `possible`: what the values of all bands can be.
    `missing`: what is estimated in `lr` for want of a value. `lost`: shares of the LR pixels and of the MSI's that
    have values in some bands and are of no use.
    """

    pair: PairReader
    seen: Observation
    lr: LrScene
    lr_valid: NDArray[np.bool_]
    usable_hsi: Field
    unusable: NDArray[np.bool_]
    passed: PassedBands
    ground: ChangedGround
    fill: Fill
    possible: PossibleValues
    missing: MissingBands
    lost: Lost

    @property
    def usable_lr(self) -> LrScene:
        """The scene in its usable bands."""
        return replace(self.lr, hsi=self.usable_hsi)

    @cached_property
    def own_basis(self) -> Basis:
        """The subspace of the usable bands."""
        return own_basis(self.usable_lr)

    @cached_property
    def covariance(self) -> Covariance:
        """The covariance that the usable bands ask kriging for, in their own subspace; found at the first call."""
        return covariance_for(self.usable_lr, self.pair.strips, self.pair.resampling, self.own_basis)


def observe_scene(pair: PairReader, large: LargeArrays = IN_MEMORY) -> ObservedScene:
    """See a pair at LR, in a pass over the MSI by strips; what changed between the two is found.

    Bands of the LR-HSI that are marked bad, or hold nothing, are passed through: none of their values enters
    anything but themselves. `large`: where the LR-HSI is put. Raises NothingToFuseError where there is nothing to
    fuse.
    """
    hsi, known = _read_lr(pair, large), pair.lr_info.bands
    of_msi = _MsiSurvey(pair.alignment.hr_window.height)
    seen = observe_msi(partial(_surveyed, pair, of_msi), pair.resampling.down)
    unusable = unusable_bands(hsi, known.bad)
    passed, of_lr = _passed(hsi, unusable), probable_fill(hsi, _varied(hsi, ~unusable))
    somewhere = _any_finite(hsi, ~unusable)
    missing = fill_missing(hsi, known.bad, seen.msi_at_lr)
    lr_valid, _ = fill_in_place(hsi, known.bad, known.wavelengths_nm)
    lost_lr = float((somewhere & ~lr_valid).mean())
    possible = PossibleValues.of(hsi, lr_valid, pair.resampling.down)
    hsi, placed = on_grid_of(pair, hsi, lr_valid, seen.msi_at_lr, large)
    lr = LrScene(hsi, seen.msi_at_lr, placed & seen.covered)
    usable = chosen_bands(hsi, ~unusable, large)
    _refuse_flat(pair.lr_info, (band[lr.valid] for band in one_by_one(usable)))
    _refuse_flat(pair.msi_info, (band[lr.valid] for band in lr.msi))
    lr, ground = _without_changes(lr, usable)
    fill, lost = (of_lr, of_msi.fill.result()), Lost(lost_lr, of_msi.lost_share)
    return ObservedScene(
        pair, seen, lr, lr_valid, usable, unusable, passed, ground, fill, possible, missing, lost
    )


def _read_lr(pair: PairReader, large: LargeArrays) -> Field:
    """The LR-HSI (B, h, w) on the common area, NaN where invalid."""
    area = pair.alignment.lr_window
    values = large.zeros((pair.lr_info.bands.count, area.height, area.width))
    for top, rows in pair.lr_strips():
        values[:, top : top + rows.shape[1]] = rows
        let_go(values)
    return values


class _MsiSurvey:
    """A look at the MSI's strips on their way: for fill, and for pixels that want some bands."""

    def __init__(self, height: int) -> None:
        self.fill = FillSurvey(height)
        self._pixels = self._lost = 0

    @property
    def lost_share(self) -> float:
        """Share of the pixels that have values in some bands alone."""
        return self._lost / max(1, self._pixels)

    def update(self, values: Field, valid: NDArray[np.bool_]) -> None:
        """Add rows (m, n, W) with holes, and where all bands are `valid` (n, W)."""
        self.fill.update(np.where(valid, values, np.float32(np.nan)))
        self._pixels += valid.size
        if not valid.all():
            self._lost += int((np.isfinite(values).any(axis=0) & ~valid).sum())


def _surveyed(pair: PairReader, survey: _MsiSurvey) -> Iterator[Strip]:
    """The strips of the MSI, looked at on the way."""
    for top, values in pair.strips_with_holes():
        valid = np.asarray(np.isfinite(values).all(axis=0))
        survey.update(values, valid)
        yield Strip(top, fill_holes(values, valid), valid)


def _varied(values: Field, usable: NDArray[np.bool_]) -> list[int]:
    """The usable bands (0-based) that are not of one value alone."""
    return [
        number
        for number, band in enumerate(one_by_one(values))
        if usable[number] and np.nanmin(band) < np.nanmax(band)
    ]


def _any_finite(values: Field, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels (h, w) that have a value in any of the usable bands."""
    found = np.zeros(values.shape[1:], bool)
    for number, band in enumerate(one_by_one(values)):
        if usable[number]:
            found |= np.isfinite(band)
    return found


def _without_changes(lr: LrScene, usable: Field) -> tuple[LrScene, ChangedGround]:
    """The scene with the changed pixels that its usable bands (b, h, w) tell of."""
    changes = find_changes(replace(lr, hsi=usable))
    if changes is None:
        return lr, ChangedGround(np.zeros_like(lr.valid), lr.valid)
    return changes.applied(lr), ChangedGround(changes.changed, lr.valid)


def _refuse_flat(info: RasterInfo, bands: Iterable[Field]) -> None:
    """Raise NothingToFuseError where every band's values (n,) are one, but for float32's rounding."""
    flat = [band.size and np.ptp(band) <= _ROUNDING * np.abs(band).max() for band in bands]
    if flat and all(flat):
        raise NothingToFuseError(
            f"{info.path.name}: every band is of one value alone where the two rasters meet, so there is nothing "
            "to fuse: look at it with `emrdiff quicklook`"
        )


def _passed(values: Field, unusable: NDArray[np.bool_]) -> PassedBands:
    bands = np.flatnonzero(unusable)
    return PassedBands(bands, *fill_each_band(values[bands]))
