"""All that is found out of a pair before it is fused: plain values, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emrdiff_cli.core.sensor.coverage import MsiBandCoverage
from emrdiff_cli.core.sensor.radiometry import BandRadiometry
from emrdiff_cli.raster_info import Window

Point = tuple[float, float]


@dataclass(frozen=True)
class RasterCheck:
    """One raster of the pair; shares are of the pixels that both cover, `overlap` of the raster's own.

    Bands count from 1: marked bad (None: not recorded), without any valid value, of one value alone, cut off at
    their maximum; `saturated_share` is that of all valid values. `masked_shares`: by class, of what `--mask`
    hides.
    """

    path: str
    crs: str | None
    acquired: str | None
    bad_bands: tuple[int, ...] | None
    overlap: float | None = None
    nodata_share: float | None = None
    dead_bands: tuple[int, ...] | None = None
    constant_bands: tuple[int, ...] | None = None
    saturated_bands: tuple[int, ...] | None = None
    saturated_share: float | None = None
    masked_shares: Mapping[str, float] | None = None


@dataclass(frozen=True)
class ShiftCheck:
    """Displacement of the LR-HSI's grid, down and to the right, as in `Shift`, and the cost of leaving it.

    `standard_error_lr_px` is None, and the shift 0, where the pair does not tell. `used_lr_px`: what `fuse` moves
    the LR-HSI by, nothing where the displacement is not significant or the move would not help.
    """

    rows_lr_px: float
    cols_lr_px: float
    rows_hr_px: float
    cols_hr_px: float
    confidence: float
    standard_error_lr_px: Point | None
    r2_before: float
    r2_after: float
    r2_chance: float
    lr_pixels: int
    cost_db: float | None
    used_lr_px: Point


@dataclass(frozen=True)
class PsfCheck:
    """FWHM of the PSF in HR pixels: found, its standard error, that of the ratio; the cost of assuming the latter.

    `fwhm_hr_px` is the geometric mean of `by_axis_hr_px`, along rows and columns; `gaussian`: whether its profile
    is a Gaussian's as far as the pair tells; `used`: whether `fuse` uses it, not the one that is assumed.
    """

    fwhm_hr_px: float
    standard_error_hr_px: float
    assumed_fwhm_hr_px: float
    cost_db: float | None
    by_axis_hr_px: Point
    gaussian: bool
    used: bool


@dataclass(frozen=True)
class FieldCheck:
    """A displacement that varies over the scene, which `fuse` undoes; see `FieldShape`.

    `unexplained_before` and `unexplained_after`: shares of the MSI, on parts held out, that the LR-HSI leaves
    unexplained under the best shift alone and under the field.
    """

    scale: Point
    rotation_degrees: float
    shear: float
    quadratic: bool
    corners_lr_px: float
    unexplained_before: float
    unexplained_after: float


@dataclass(frozen=True)
class GroupCheck:
    """Displacement of the `bands` (from 1) of a detector against those of another, down and to the right.

    `elsewhere`: whether it is significant, so that `fuse` undoes it.
    """

    name: str
    bands: tuple[int, ...]
    against: str
    rows_lr_px: float
    cols_lr_px: float
    standard_error_lr_px: Point
    elsewhere: bool


@dataclass(frozen=True)
class BlockCheck:
    """Displacement of a block of the scene by itself, down and to the right; see `BlockDisplacement`."""

    centre_lr_px: Point
    size_lr_px: tuple[int, int]
    centre_hr_px: Point
    rows_lr_px: float
    cols_lr_px: float
    standard_error_lr_px: Point
    unexplained: float


@dataclass(frozen=True)
class Check:
    """All that was found out of a pair; what could not be is None. With a problem, fusion makes no sense.

    `ratio` and `sampling_phase_hr_px` are (rows, columns); the latter is how far the corner of the LR grid lies
    from the next edge of HR pixels; `hr_window` is the ground that both cover, in the MSI's pixels. `radiometry`
    is empty where no response is known, `field` is None where the pair supports none, `groups` are the detectors
    but for the first. Costs in dB are PSNR lost when both are degraded by `wald_ratio`, fused by `glp-local` with
    and without the error, and compared with the LR-HSI.
    """

    lr_hsi: RasterCheck
    hr_msi: RasterCheck
    crs_agree: bool
    days_apart: int | None = None
    ratio: Point | None = None
    sampling_phase_hr_px: Point | None = None
    hr_window: Window | None = None
    shift: ShiftCheck | None = None
    psf: PsfCheck | None = None
    field: FieldCheck | None = None
    groups: tuple[GroupCheck, ...] = ()
    blocks: tuple[BlockCheck, ...] = ()
    wald_ratio: Point | None = None
    coverage_by: str | None = None
    coverage: tuple[MsiBandCoverage, ...] = ()
    uncovered_bands: tuple[int, ...] | None = None
    radiometry: tuple[BandRadiometry, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether fusing the pair makes sense."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes."""
        window = None if self.hr_window is None else self.hr_window._asdict()
        return {"usable": self.usable} | asdict(self) | {"hr_window": window}
