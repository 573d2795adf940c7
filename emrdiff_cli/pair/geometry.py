"""The geometry of a pair: how the LR-HSI lies on the HR-MSI and through which PSF it sees it.

Found on the pair once, or given by a user, or read from the tags of a fused raster; used by every command that
degrades. The MSI is never moved: the LR-HSI's grid is, by a shift; what varies over the scene, or between groups of
bands, is undone by guided resampling (core.methods.guided_resampling).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays, let_go
from emrdiff_cli.core.methods.guided_resampling import on_grid
from emrdiff_cli.core.sensor.degradation import WALD_PSF, AxisPsf, Psf
from emrdiff_cli.core.sensor.displacement import TERMS, BandShift, Displacement, DisplacementField
from emrdiff_cli.core.sensor.finer_msi import FinerMsi, finer_down
from emrdiff_cli.errors import InputError
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.tags import PAIR_TAG
from emrdiff_cli.raster_info import Grid, RasterInfo, Window

Point = tuple[float, float]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

SHIFT_TAG = "emrdiff_shift_lr_px"
SHIFT_ERROR_TAG = "emrdiff_shift_standard_error_lr_px"
PSF_TAG = "emrdiff_psf"
PSF_ERROR_TAG = "emrdiff_psf_fwhm_standard_error_of_ratio"
FIELD_TAG = "emrdiff_displacement_field"
GROUPS_TAG = "emrdiff_band_shifts_lr_px"

_BANDS_AT_ONCE = 32  # that are moved
_DAMAGE = (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError)


@dataclass(frozen=True)
class PairGeometry:
    """What the LR-HSI's grid is moved by (LR pixels, down and right), its PSF, and what varies besides.

    `field`: the coefficients (2, n) of a displacement that varies over the LR-HSI's grid (DisplacementField), its
    mean being `move`; empty for none. `groups`: bands that lie elsewhere than the others. `psf` None: that of
    FWHM = the ratio. `move_errors`, in LR pixels, and `fwhm_errors`, of the PSF's width as a share of the ratio:
    standard errors along rows and columns of what was found, None where it was given or not told. `notes` and
    `warnings` are for people. `known`: it was looked for or given; else nothing is recorded.
    """

    move: Point = (0.0, 0.0)
    psf: Psf | None = None
    field: tuple[tuple[float, ...], ...] = ()
    groups: tuple[BandShift, ...] = ()
    move_errors: Point | None = None
    fwhm_errors: Point | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    known: bool = False

    @property
    def moves(self) -> bool:
        """Whether any of the LR-HSI's pixels are moved."""
        return any(self.move) or bool(self.field or self.groups)

    def fwhm_errors_px(self, pair: PairReader) -> Point | None:
        """The standard errors of the PSF's widths in MSI pixels; None where they are not known."""
        if self.fwhm_errors is None:
            return None
        rows, cols = self.fwhm_errors
        return round(rows * pair.alignment.rows.ratio, 4), round(cols * pair.alignment.cols.ratio, 4)

    def applied(self, pair: PairReader) -> PairReader:
        """The pair with the LR-HSI's grid moved and its PSF; raises GridError where nothing in common is left."""
        return pair.moved(self.move).seen_through(self.psf or WALD_PSF, self._displacement(pair.lr_info.grid))

    def _displacement(self, grid: Grid) -> Displacement | None:
        """The displacement that the move leaves, over the LR-HSI's whole grid; None where it leaves none."""
        if not (self.field or self.groups):
            return None
        if not self.field:
            return Displacement(groups=self.groups)
        coefficients = np.array(self.field, np.float64)
        coefficients[:, 0] -= self.move
        return Displacement(DisplacementField(coefficients, (grid.height, grid.width)), self.groups)

    def within(self, grid: Grid, window: Window) -> PairGeometry:
        """The same for a part of the LR-HSI of this grid, cut out as a raster of its own."""
        if not self.field:
            return self
        whole = DisplacementField(np.array(self.field, np.float64), (grid.height, grid.width))
        part = whole.within(window.row, window.col, (window.height, window.width)).coefficients
        return replace(self, field=tuple(tuple(float(value) for value in row) for row in part))

    def record(self) -> dict[str, Any]:
        """Plain values for JSON, for `from_record`."""
        return asdict(self)

    @classmethod
    def from_record(cls, held: Mapping[str, Any]) -> PairGeometry:
        """Raises KeyError, TypeError and ValueError where a value is missing or is none of its kind."""
        psf = held["psf"]
        return cls(
            move=_point(held["move"]),
            psf=None if psf is None else _psf(psf["axes"]),
            field=_field(held["field"]),
            groups=tuple(
                BandShift(tuple(map(_band, g["bands"])), _point(g["shift"])) for g in held["groups"]
            ),
            move_errors=_errors(held.get("move_errors")),
            fwhm_errors=_errors(held.get("fwhm_errors")),
            notes=tuple(map(str, held["notes"])),
            warnings=tuple(map(str, held["warnings"])),
            known=bool(held["known"]),
        )

    @property
    def tags(self) -> dict[str, str]:
        """The same for a fused raster's tags, for `from_tags`."""
        if not self.known:
            return {}
        tags = {SHIFT_TAG: f"{self.move[0]:.4f},{self.move[1]:.4f}"}
        if self.psf is not None and self.psf.axes is not None:
            tags[PSF_TAG] = json.dumps([asdict(axis) for axis in self.psf.axes])
        if self.field:
            tags[FIELD_TAG] = json.dumps(self.field)
        if self.groups:
            tags[GROUPS_TAG] = json.dumps([asdict(group) for group in self.groups])
        told = {SHIFT_ERROR_TAG: self.move_errors, PSF_ERROR_TAG: self.fwhm_errors}
        return tags | {tag: f"{by[0]:.5f},{by[1]:.5f}" for tag, by in told.items() if by is not None}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> PairGeometry:
        """The geometry that a fused raster records; none where it records none. Raises InputError."""
        if SHIFT_TAG not in tags:
            return cls()
        try:
            down, right = tags[SHIFT_TAG].split(",")
            record = {
                "move": (down, right),
                "psf": {"axes": json.loads(tags[PSF_TAG])} if PSF_TAG in tags else None,
                "field": json.loads(tags.get(FIELD_TAG, "[]")),
                "groups": json.loads(tags.get(GROUPS_TAG, "[]")),
                "move_errors": _split(tags.get(SHIFT_ERROR_TAG)),
                "fwhm_errors": _split(tags.get(PSF_ERROR_TAG)),
                "notes": (),
                "warnings": (),
                "known": True,
            }
            return cls.from_record(record)
        except _DAMAGE as error:
            raise InputError(
                "the geometry in its tags (emrdiff_shift_lr_px and others) is damaged"
            ) from error


def pair_tag(geometry: PairGeometry) -> dict[str, str]:
    """The tag of both tiles of a place of a pair, for `recorded_geometry`."""
    return {PAIR_TAG: json.dumps(geometry.record(), sort_keys=True)}


def recorded_geometry(lr: RasterInfo, msi: RasterInfo) -> PairGeometry | None:
    """The geometry that two tiles of one place of a pair record; None for rasters that are none.

    Raises InputError where the tag is damaged.
    """
    held = lr.tags.get(PAIR_TAG)
    if held is None or held != msi.tags.get(PAIR_TAG):
        return None
    try:
        return PairGeometry.from_record(json.loads(held))
    except _DAMAGE as error:
        raise InputError(f"{lr.path}: its tag {PAIR_TAG} is damaged: cut the tiles again") from error


def on_grid_of(
    pair: PairReader, hsi: Field, valid: Mask, msi_at_lr: Field, large: LargeArrays = IN_MEMORY
) -> tuple[Field, Mask]:
    """The LR-HSI (B, h, w) of a pair, without holes, on its grid where its pixels are displaced; its valid pixels.

    `msi_at_lr` (m, h, w) is the MSI degraded to that grid. As it is where nothing is displaced. `large`: where the
    moved LR-HSI is put.
    """
    if pair.displacement is None:
        return hsi, valid
    place, lr, hr = pair.alignment, pair.alignment.lr_window, pair.alignment.hr_window
    down = finer_down(pair.psf, place.rows, place.cols, (lr.height, lr.width), (hr.height, hr.width))
    finer = FinerMsi.of_strips(pair.strips, down)
    rows, cols = np.mgrid[: lr.height, : lr.width].astype(np.float64)
    moved, kept = large.zeros(hsi.shape), valid.copy()
    for group, displacement in pair.displacement.by_group(len(hsi), rows + lr.row, cols + lr.col):
        at = rows + displacement[0], cols + displacement[1]
        displaced, sees = finer.at(*at), finer.sees(*at)
        for start in range(0, len(group), _BANDS_AT_ONCE):
            bands = group[start : start + _BANDS_AT_ONCE]
            moved[bands], usable = on_grid(hsi[bands], valid, displacement, msi_at_lr, displaced, sees)
            let_go(moved, hsi)
            kept &= usable
    return moved, kept


def _psf(axes: Any) -> Psf:
    rows, cols = (
        AxisPsf(
            _positive(axis["sigma_px"]), tuple(map(_finite, axis["correction"])), _positive(axis["step_px"])
        )
        for axis in axes
    )
    return Psf(axes=(rows, cols))


def _point(values: Any) -> Point:
    down, right = map(_finite, values)
    return down, right


def _split(tag: str | None) -> list[str] | None:
    return None if tag is None else tag.split(",")


def _errors(values: Any) -> Point | None:
    """Standard errors along rows and columns."""
    if values is None:
        return None
    down, right = _point(values)
    if min(down, right) < 0:
        raise ValueError("must not be negative")
    return down, right


def _field(rows: Any) -> tuple[tuple[float, ...], ...]:
    coefficients = tuple(tuple(map(_finite, row)) for row in rows)
    if coefficients and (
        len(coefficients) != 2 or {len(row) for row in coefficients} - {len(coefficients[0])}
    ):
        raise ValueError("must be as many coefficients along rows as along columns")
    if coefficients and len(coefficients[0]) not in TERMS:
        raise ValueError(f"must be so many: {TERMS}")
    return coefficients


def _band(value: Any) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("must count from 0")
    return number


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _positive(value: Any) -> float:
    number = _finite(value)
    if number <= 0:
        raise ValueError("must be positive")
    return number
