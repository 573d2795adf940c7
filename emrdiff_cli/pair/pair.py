"""A pair of rasters brought together: one grid for both, read by windows, holes filled and masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import WALD_PSF, Psf
from emrdiff_cli.core.sensor.displacement import Displacement
from emrdiff_cli.core.sensor.grid import Alignment, AxisPlacement, lr_below, moved_grid
from emrdiff_cli.core.sensor.holes import fill_holes
from emrdiff_cli.core.sensor.observation import Resampling, Strip
from emrdiff_cli.core.sensor.resampling import CUBIC_REACH
from emrdiff_cli.errors import GridError, InputError, UsageError
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import SIDES, AskedMask, parse_mask, sided
from emrdiff_cli.raster.crs import crs_label, same_crs
from emrdiff_cli.raster.metadata import fits_dtype
from emrdiff_cli.raster.placement import Placement, place_on, placing_notes
from emrdiff_cli.raster.reading import RasterReader, open_raster, refuse_undeclared_nan
from emrdiff_cli.raster.warping import AlignedReader, restated
from emrdiff_cli.raster_info import Grid, RasterInfo, Window
from emrdiff_cli.runtime.interruption import safe_point

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
SrcNodata = tuple[float | None, float | None]

CACHE_MEGABYTES = 64  # GDAL's block cache while a pair is read

_STRIP_ROWS = 256
LR_STRIP = 2**27  # bytes of a strip of the LR-HSI, in float32


SRC_NODATA_TAG = "emrdiff_src_nodata"
MASK_TAG = "emrdiff_mask"


def recorded_nodata(tags: Mapping[str, str]) -> SrcNodata | None:
    """The `src_nodata` that a fused raster's tags record. Raises InputError for a damaged tag."""
    text = tags.get(SRC_NODATA_TAG)
    try:
        parts = [] if text is None else [None if part == "none" else float(part) for part in text.split(",")]
        if parts:
            of_lr, of_msi = parts
            return of_lr, of_msi
    except ValueError as error:
        raise InputError(f"its tag {SRC_NODATA_TAG} is {text!r}: must be two numbers or none") from error
    return None


def recorded_mask(tags: Mapping[str, str]) -> AskedMask:
    """The `mask` that a fused raster's tags record. Raises InputError for a damaged tag."""
    text = tags.get(MASK_TAG)
    try:
        return () if text is None else parse_mask(text)
    except ValueError as error:
        raise InputError(f"its tag {MASK_TAG} is {text!r}: must be {error}") from error


class PairReader:
    """An open LR-HSI and HR-MSI; all windows are on the common area of the MSI's grid."""

    def __init__(
        self,
        lr: RasterReader | AlignedReader,
        msi: RasterReader,
        alignment: Alignment,
        msi_factor: float = 1.0,
        psf: Psf = WALD_PSF,
        displacement: Displacement | None = None,
        msi_offset: float = 0.0,
    ) -> None:
        self._lr, self._msi = lr, msi
        self.alignment, self.psf, self.displacement = alignment, psf, displacement
        self._msi_factor, self._msi_offset = np.float32(msi_factor), np.float32(msi_offset)

    @property
    def lr_info(self) -> RasterInfo:
        """Description of the LR-HSI."""
        return self._lr.info

    @property
    def msi_info(self) -> RasterInfo:
        """Description of the HR-MSI."""
        return self._msi.info

    @property
    def holds_lr(self) -> bool:
        """Whether the LR-HSI, warped, is held whole in memory."""
        return isinstance(self._lr, AlignedReader)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on how the two were placed."""
        stated, lr, msi = self._lr.stated_crs_wkt, self.lr_info, self.msi_info
        if isinstance(self._lr, AlignedReader):
            return (self._lr.how,)
        if stated is None or same_crs(stated, msi.grid.crs_wkt):
            return placing_notes(lr, msi)
        return (
            f"{lr.path.name} is in {crs_label(stated).name}, whose coordinates here are those of {msi.path.name}'s "
            "CRS but for their units: its pixels are taken as they are, nothing is warped",
        )

    @cached_property
    def resampling(self) -> Resampling:
        """The maps between the two grids, down through the pair's PSF."""
        place, lr, hr = self.alignment, self.alignment.lr_window, self.alignment.hr_window
        return Resampling.between(
            place.rows, place.cols, (lr.height, lr.width), (hr.height, hr.width), self.psf
        )

    @cached_property
    def nearest_lr(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The LR row that each HR row lies on, and the LR column of each HR column."""
        lr, hr = self.alignment.lr_window, self.alignment.hr_window
        return (
            _nearest(self.alignment.rows, lr.height, hr.height),
            _nearest(self.alignment.cols, lr.width, hr.width),
        )

    def moved(self, shift: tuple[float, float]) -> PairReader:
        """The same pair with the LR-HSI's grid moved by `shift` of its pixels, down and to the right.

        Raises GridError where nothing in common is left.
        """
        if shift == (0.0, 0.0):
            return self
        lr = self.lr_info.grid
        return self.placed(_widened(moved_grid(self.alignment, lr, self.msi_info.grid, shift), lr))

    def placed(self, alignment: Alignment) -> PairReader:
        """The same pair in another alignment."""
        return self._like(alignment=alignment)

    def seen_through(self, psf: Psf, displacement: Displacement | None = None) -> PairReader:
        """The same pair with another PSF, and with a displacement that no move undoes; None: with none."""
        values = float(self._msi_factor), float(self._msi_offset)
        return PairReader(self._lr, self._msi, self.alignment, values[0], psf, displacement, values[1])

    def without_offset(self, offset: float) -> PairReader:
        """The same pair with an offset, in the MSI's own units, taken from its values before any factor."""
        return self._like(offset=offset + float(self._msi_offset))

    def rescaled(self, factor: float) -> PairReader:
        """The same pair with the MSI's values multiplied by a factor."""
        return self._like(factor=factor * float(self._msi_factor))

    @property
    def src_nodata(self) -> SrcNodata:
        """Nodata of the LR-HSI and of the HR-MSI that were given besides what the files declare."""
        return self._lr.given_nodata, self._msi.given_nodata

    @property
    def mask(self) -> AskedMask:
        """The classes of pixels that are masked, those of the LR-HSI first."""
        return sided((self._lr.given_mask, self._msi.given_mask))

    def mask_shares(self) -> tuple[dict[str, float], dict[str, float]]:
        """The share of the common ground that each masked class takes in the LR-HSI, and in the MSI."""
        place = self.alignment
        return self._lr.mask_shares(place.lr_window), self._msi.mask_shares(place.hr_window)

    @property
    def tags(self) -> dict[str, str]:
        """What is recorded in a raster made of the pair, for `recorded_nodata` and `recorded_mask`."""
        tags = {MASK_TAG: ",".join(self.mask)} if self.mask else {}
        if self.src_nodata == (None, None):
            return tags
        told = ",".join("none" if v is None else f"{v!r}" for v in self.src_nodata)
        return {**tags, SRC_NODATA_TAG: told}

    def reopened_msi(self) -> RasterReader:
        """The MSI's raster through another handle."""
        return self._msi.reopened()

    def with_msi(self, msi: RasterReader) -> PairReader:
        """The same pair with the MSI read through another handle: a handle is for one thread."""
        return self._like(msi=msi)

    def _like(
        self,
        *,
        msi: RasterReader | None = None,
        alignment: Alignment | None = None,
        factor: float | None = None,
        offset: float | None = None,
    ) -> PairReader:
        """The same pair but for what is given."""
        return PairReader(
            self._lr,
            msi or self._msi,
            alignment or self.alignment,
            float(self._msi_factor) if factor is None else factor,
            self.psf,
            self.displacement,
            float(self._msi_offset) if offset is None else offset,
        )

    def read_lr(self, window: Window | None = None) -> Field:
        """The LR-HSI on the common area, (B, h, w), or on a window of it; NaN where invalid."""
        area = self.alignment.lr_window
        if window is not None:
            area = window._replace(row=window.row + area.row, col=window.col + area.col)
        values = self._lr.read(area)
        if isinstance(self._lr, RasterReader):
            refuse_undeclared_nan(values, self._lr, bad_too=False)
        return values

    def lr_strips(self) -> Iterator[tuple[int, Field]]:
        """The LR-HSI on the common area from the top down: first rows and values (B, n, w), NaN where invalid."""
        area = self.alignment.lr_window
        most = max(1, LR_STRIP // (4 * self.lr_info.bands.count * area.width))
        for top in range(0, area.height, most):
            safe_point()
            yield top, self.read_lr(Window(top, 0, min(most, area.height - top), area.width))

    def read_msi(self, window: Window) -> tuple[Field, Mask]:
        """The MSI (m, H, W) of a window without holes, and its valid pixels (H, W)."""
        values = self._read_msi(window)
        valid = np.asarray(np.isfinite(values).all(axis=0))
        return fill_holes(values, valid), valid

    def _read_msi(self, window: Window) -> Field:
        """The MSI of a window as `read_msi` gives it, NaN in its holes."""
        origin = self.alignment.hr_window
        placed = window._replace(row=window.row + origin.row, col=window.col + origin.col)
        values = self._msi.read(placed)
        refuse_undeclared_nan(values, self._msi)
        if self._msi_offset != 0:
            values -= self._msi_offset
        if self._msi_factor != 1:
            values *= self._msi_factor
        return values

    def read_msi_around(self, window: Window) -> tuple[Field, Mask]:
        """The MSI of a window with one pixel more on each side, and its valid pixels.

        Beyond the common area's edges, where the window may reach, the edge is replicated.
        """
        area = self.alignment.hr_window
        top, left = max(0, window.row - 1), max(0, window.col - 1)
        bottom = min(area.height, window.row + window.height + 1)
        right = min(area.width, window.col + window.width + 1)
        values, valid = self.read_msi(Window(top, left, bottom - top, right - left))
        missing = (
            (top - window.row + 1, window.row + window.height + 1 - bottom),
            (left - window.col + 1, window.col + window.width + 1 - right),
        )
        return np.pad(values, ((0, 0), *missing), mode="edge"), np.pad(valid, missing, mode="edge")

    def strips(self) -> Iterator[Strip]:
        """The whole common area of the MSI from the top down."""
        for window in self._strip_windows():
            yield Strip(window.row, *self.read_msi(window))

    def strips_with_holes(self) -> Iterator[tuple[int, Field]]:
        """The same as first rows and values (m, n, W), NaN where a band has none."""
        for window in self._strip_windows():
            yield window.row, self._read_msi(window)

    def _strip_windows(self) -> Iterator[Window]:
        area = self.alignment.hr_window
        for top in range(0, area.height, _STRIP_ROWS):
            safe_point()
            yield Window(top, 0, min(_STRIP_ROWS, area.height - top), area.width)


@contextmanager
def open_pair(
    lr_path: Path,
    msi_path: Path,
    shift: tuple[float, float] = (0.0, 0.0),
    src_nodata: SrcNodata | None = None,
    mask: AskedMask = (),
) -> Iterator[PairReader]:
    """Open an LR-HSI and an HR-MSI and place one on the other; the LR-HSI is brought onto the MSI's axes.

    `shift` moves the LR-HSI's grid by so many of its pixels, down and to the right, as `find_shift` finds it.
    `src_nodata`: stored values of the LR-HSI and of the HR-MSI that are nodata besides what the files declare.
    `mask`: classes of pixels that are invalid by the products' own masks, as `choose_masks` takes them. Raises
    GridError: a CRS on one alone, no common area, an MSI that is not finer; InputError: a raster that cannot be
    read, or (when it is read) NaN without a declared nodata.
    """
    of_lr, of_msi = src_nodata or (None, None)
    masks = choose_masks(mask, (lr_path, msi_path), SIDES)
    with open_raster(lr_path, of_lr, masks[0]) as lr, open_raster(msi_path, of_msi, masks[1]) as msi:
        _refuse_unholdable((of_lr, of_msi), lr.info, msi.info)
        placed = _placed(lr.info, msi.info)
        stated = lr.on_grid(restated(lr.info.grid, msi.info.grid))
        aligned = stated if placed.grid == stated.info.grid else AlignedReader(stated, placed.grid)
        pair = PairReader(aligned, msi, _widened(placed.alignment, placed.grid))
        yield pair.moved(shift)


def pair_of(lr: RasterReader, msi: RasterReader, window: Window) -> PairReader:
    """The pair of two open rasters along the same axes, on a window of the MSI; the LR raster may have fewer bands.

    Raises GridError where they lie on other axes, or have no ground in common there.
    """
    grid = msi.info.grid.crop(window)
    placed = place_on(lr.info, replace(msi.info, grid=grid)).alignment
    area = placed.hr_window
    moved = area._replace(row=area.row + window.row, col=area.col + window.col)
    return PairReader(lr, msi, _widened(replace(placed, hr_window=moved), lr.info.grid))


def _refuse_unholdable(src_nodata: SrcNodata, lr: RasterInfo, msi: RasterInfo) -> None:
    """Raise UsageError for a nodata value that its raster's type cannot hold; one for both is for either."""
    held = [
        value is not None and fits_dtype(value, info.dtype)
        for value, info in zip(src_nodata, (lr, msi), strict=True)
    ]
    both = src_nodata[0] == src_nodata[1] and any(held)
    for value, info, holds in zip(src_nodata, (lr, msi), held, strict=True):
        if value is not None and not holds and not both:
            raise UsageError(
                f"--src-nodata {value:g}: {info.path.name} holds {info.dtype} values, of which that is none"
            )


def place(lr: RasterInfo, msi: RasterInfo) -> Alignment:
    """The common area of a pair; raises GridError as `open_pair` says."""
    placed = _placed(lr, msi)
    return _widened(placed.alignment, placed.grid)


def _placed(lr: RasterInfo, msi: RasterInfo) -> Placement:
    """The MSI's common area with the LR-HSI on its axes; raises what `place` does."""
    placed = place_on(lr, msi, warped=True)
    alignment = placed.alignment
    if min(alignment.rows.ratio, alignment.cols.ratio) <= 1:
        raise GridError(
            f"{msi.path.name} is not finer than {lr.path.name} (ratio {alignment.ratio:.3g}): "
            "give the LR-HSI first and the HR-MSI second"
        )
    if msi.bands.count >= lr.bands.count:
        raise InputError(
            f"{msi.path.name} has {msi.bands.count} bands, {lr.path.name} {lr.bands.count}: an HR-MSI has "
            "fewer bands than the LR-HSI; give the LR-HSI first and the HR-MSI second"
        )
    return placed


def _widened(alignment: Alignment, lr: Grid) -> Alignment:
    """The alignment with what LR pixels there are around the common area that the cubic kernel reaches."""
    window, rows, cols = alignment.lr_window, alignment.rows, alignment.cols
    top, left = min(CUBIC_REACH, window.row), min(CUBIC_REACH, window.col)
    bottom = min(lr.height, window.row + window.height + CUBIC_REACH)
    right = min(lr.width, window.col + window.width + CUBIC_REACH)
    row, col = window.row - top, window.col - left
    return replace(
        alignment,
        lr_window=Window(row, col, bottom - row, right - col),
        rows=AxisPlacement(rows.ratio, rows.offset - rows.ratio * top),
        cols=AxisPlacement(cols.ratio, cols.offset - cols.ratio * left),
    )


def _nearest(axis: AxisPlacement, n_lr: int, n_hr: int) -> NDArray[np.int64]:
    return np.clip(lr_below(axis, n_hr), 0, n_lr - 1)
