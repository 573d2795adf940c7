"""A pair seen at LR before any method is fitted: its values there, what is passed through, what changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.changes import find_changes
from emrdiff_cli.core.sensor.fill import FillSurvey, ProbableFill, probable_fill
from emrdiff_cli.core.sensor.holes import fill_each_band, fill_invalid
from emrdiff_cli.core.sensor.observation import LrScene, Observation, Strip, observe_msi
from emrdiff_cli.core.sensor.possible_values import PossibleValues
from emrdiff_cli.errors import InputError
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
class ObservedScene:
    """A pair at LR, put right, before any method is fitted: the same for all of them.

    `seen`: the MSI's pass; `lr` holds all bands of the LR-HSI, of which some are `unusable` (B,). `fill`: probable
    fill of the LR-HSI and of the MSI. `possible`: what the values of all bands can be. `partial_share`: of
    the LR pixels, those lost for want of a value in some of the usable bands.
    """

    pair: PairReader
    seen: Observation
    lr: LrScene
    lr_valid: NDArray[np.bool_]
    unusable: NDArray[np.bool_]
    passed: PassedBands
    ground: ChangedGround
    fill: Fill
    possible: PossibleValues
    partial_share: float = 0.0

    @property
    def usable_lr(self) -> LrScene:
        """The scene in its usable bands."""
        return replace(self.lr, hsi=self.lr.hsi[~self.unusable]) if self.unusable.any() else self.lr


def observe_scene(pair: PairReader) -> ObservedScene:
    """See a pair at LR, in a pass over the MSI by strips; what changed between the two is found.

    Bands of the LR-HSI that are marked bad, or hold nothing, are passed through: none of their values enters
    anything but themselves. Raises InputError where there is nothing to fuse.
    """
    values, known = pair.read_lr(), pair.lr_info.bands
    hsi, lr_valid, unusable = fill_invalid(values, known.bad, known.wavelengths_nm)
    passed = _passed(values, unusable)
    partial_share = float((np.isfinite(values[~unusable]).any(axis=0) & ~lr_valid).mean())
    of_lr, of_msi = probable_fill(_varied(values[~unusable])), FillSurvey(pair.alignment.hr_window.height)
    del values
    possible = PossibleValues.of(hsi, lr_valid, pair.resampling.down)
    seen = observe_msi(partial(_surveyed, pair, of_msi), pair.resampling.down)
    hsi, placed = on_grid_of(pair, hsi, lr_valid, seen.msi_at_lr)
    lr = LrScene(hsi, seen.msi_at_lr, placed & seen.covered)
    _refuse_flat(pair.lr_info, hsi[~unusable][:, lr.valid])
    _refuse_flat(pair.msi_info, lr.msi[:, lr.valid])
    lr, ground = _without_changes(lr, ~unusable)
    fill = of_lr, of_msi.result()
    return ObservedScene(pair, seen, lr, lr_valid, unusable, passed, ground, fill, possible, partial_share)


def _surveyed(pair: PairReader, survey: FillSurvey) -> Iterator[Strip]:
    """The strips of the MSI, looked at for fill on the way."""
    for strip in pair.strips():
        survey.update(np.where(strip.valid, strip.values, np.float32(np.nan)))
        yield strip


def _varied(values: Field) -> Field:
    """The bands that are not of one value alone."""
    varied: Field = values[np.nanmin(values, axis=(1, 2)) < np.nanmax(values, axis=(1, 2))]
    return varied


def _without_changes(lr: LrScene, usable: NDArray[np.bool_]) -> tuple[LrScene, ChangedGround]:
    """The scene with the changed pixels that its usable bands tell of."""
    changes = find_changes(lr if usable.all() else replace(lr, hsi=lr.hsi[usable]))
    if changes is None:
        return lr, ChangedGround(np.zeros_like(lr.valid), lr.valid)
    return changes.applied(lr), ChangedGround(changes.changed, lr.valid)


def _refuse_flat(info: RasterInfo, values: Field) -> None:
    """Raise InputError where every band (rows of `values`) is of one value, but for float32's rounding."""
    if values.size and (np.ptp(values, axis=1) <= _ROUNDING * np.abs(values).max(axis=1)).all():
        raise InputError(
            f"{info.path.name}: every band is of one value alone where the two rasters meet, so there is nothing "
            "to fuse: look at it with `emrdiff quicklook`"
        )


def _passed(values: Field, unusable: NDArray[np.bool_]) -> PassedBands:
    bands = np.flatnonzero(unusable)
    return PassedBands(bands, *fill_each_band(values[bands]))
