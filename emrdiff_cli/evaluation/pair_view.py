"""A fused raster beside the pair that it was made from, as it records that it lies, and the MSI's response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.srf import LEAST_PIXELS, estimate_response, gaussian_response, srf_matrix
from emrdiff_cli.errors import InputError
from emrdiff_cli.evaluation.common_ground import common_area, match_bands
from emrdiff_cli.evaluation.recorded_pair import RecordedPair, lr_on_grid
from emrdiff_cli.pair.mask_notes import mask_notes
from emrdiff_cli.pair.pair import PairReader, open_pair, recorded_mask, recorded_nodata
from emrdiff_cli.pair.spectral_coverage import choose_response, registered
from emrdiff_cli.products.mask_choice import available
from emrdiff_cli.products.mask_classes import AskedMask, by_side, sided
from emrdiff_cli.raster.reading import RasterReader, bounded_cache, open_raster
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.float64]
Field = NDArray[np.float32]

_STRIP_VALUES = 8 * 2**20
_CACHE_MEGABYTES = 256


@dataclass(frozen=True)
class Response:
    """MSI = matrix (m, B) x HSI + offset (m,), and where that is from."""

    matrix: Floats
    offset: Floats
    source: str


@contextmanager
def opened_view(fused: Path, lr_hsi: Path, hr_msi: Path) -> Iterator[PairView]:
    """Open a fused raster and its pair, in the geometry that it records. Raises InputError, GridError."""
    with ExitStack() as stack:
        stack.enter_context(bounded_cache(_CACHE_MEGABYTES))
        reader = stack.enter_context(open_raster(fused))
        invalid, mask = recorded_nodata(reader.info.tags), recorded_mask(reader.info.tags)
        there = masks_there(mask, lr_hsi, hr_msi)
        pair = stack.enter_context(open_pair(lr_hsi, hr_msi, src_nodata=invalid, mask=there))
        yield PairView(
            RecordedPair.of(pair, reader.info), reader, [part for part in mask if part not in there]
        )


def masks_there(mask: AskedMask, lr_hsi: Path, hr_msi: Path) -> AskedMask:
    """Those of a pair's classes of which there are masks beside the rasters."""
    sides = zip(by_side(mask), (lr_hsi, hr_msi), strict=True)
    return sided(available(own, raster) for own, raster in sides)


class PairView:
    """The fused raster on the pair's common area, in the LR-HSI's bands that both have and none marks bad."""

    def __init__(self, recorded: RecordedPair, fused: RasterReader, unmasked: Sequence[str] = ()) -> None:
        self.pair, self.move, self.reader = recorded.pair, recorded.move, fused
        self.placed = recorded.known
        pair = self.pair
        self._area, self._msi_area, placed = common_area(fused.info, pair.msi_info)
        matched, told = match_bands(fused.info, pair.lr_info)
        bad = {*pair.lr_info.bands.bad, *(b for b, a in matched.items() if a in fused.info.bands.bad)}
        self.lr = lr_on_grid(pair)
        dead = np.flatnonzero(~np.isfinite(self.lr).any(axis=(1, 2)))
        self.bands = [b for b in matched if b not in bad and b not in dead]
        if not self.bands:
            raise InputError(f"{fused.info.path}: has no good band in common with {pair.lr_info.path}")
        self._fused_bands = [matched[b] for b in self.bands]
        masked = mask_notes(pair, pair.mask_shares())
        left = () if not unmasked else (f"recorded as masked, without a mask here: {', '.join(unmasked)}",)
        self.notes = (*pair.notes, *recorded.notes, *masked, *left, *placed, *told)

    @property
    def area(self) -> Window:
        """The fused raster's part of the MSI, in its own pixels."""
        return self._area

    def strips(self) -> Iterator[tuple[int, Field, Field]]:
        """Rows of the common area: where they begin, the fused bands and the MSI; NaN where invalid."""
        area = self.pair.alignment.hr_window
        step = max(1, min(256, _STRIP_VALUES // (len(self.bands) * area.width)))
        for top in range(0, area.height, step):
            window = Window(top, 0, min(step, area.height - top), area.width)
            msi, valid = self.pair.read_msi(window)
            yield top, self._read(window), np.where(valid, msi, np.nan)

    def _read(self, window: Window) -> Field:
        """The fused bands of a window of the pair's common area; NaN beyond the fused raster."""
        hr, msi, own = self.pair.alignment.hr_window, self._msi_area, self._area
        values = np.full((len(self.bands), window.height, window.width), np.nan, np.float32)
        first, last = max(hr.row + window.row, msi.row), min(hr.row + window.rows.stop, msi.rows.stop)
        left, right = max(hr.col, msi.col), min(hr.cols.stop, msi.cols.stop)
        if last > first and right > left:
            there = Window(own.row + first - msi.row, own.col + left - msi.col, last - first, right - left)
            rows = slice(first - hr.row - window.row, last - hr.row - window.row)
            values[:, rows, left - hr.col : right - hr.col] = self.reader.read(there, self._fused_bands)
        return values


def msi_response(view: PairView, srf: str | None) -> Response:
    """The MSI's response on the bands of the LR-HSI that are compared."""
    pair, bands = view.pair, view.bands
    choice = choose_response(srf, pair.lr_info, pair.msi_info)
    hsi, msi = pair.lr_info.bands.take(bands), pair.msi_info.bands
    table, source = choice.response, f"srf {choice.name}"
    recorded = hsi.wavelengths_nm is not None and msi.wavelengths_nm is not None and msi.fwhm_nm is not None
    if choice.kind in ("automatic", "metadata") and recorded:
        table = gaussian_response(msi.wavelengths_nm or (), msi.fwhm_nm or ())
        source = "Gaussians of the files' wavelengths and FWHM"
    if table is None:
        return _estimated(pair, bands, view.placed)
    matrix = srf_matrix(table, hsi.wavelengths_nm or ())
    return Response(matrix, np.zeros(len(matrix)), source)


def _estimated(pair: PairReader, bands: list[int], placed: bool) -> Response:
    """The response estimated at LR, with its scale and offset."""
    seen = registered(pair, placed)
    count = int(seen.valid.sum())
    if count < LEAST_PIXELS:
        raise InputError(f"{count} valid LR pixels, an estimate of the SRF needs {LEAST_PIXELS}: give --srf")
    good = [b for b in range(pair.lr_info.bands.count) if b not in set(pair.lr_info.bands.bad)]
    at = pair.lr_info.bands.wavelengths_nm or tuple(range(pair.lr_info.bands.count))
    used = np.array([b in set(bands) for b in good])
    found = estimate_response(seen.hsi, seen.msi, seen.valid, [at[b] for b in good], used)
    matrix = (found.matrix * found.scale[:, None])[:, used]
    means = [image[:, seen.valid].mean(axis=1, dtype=np.float64) for image in (seen.hsi[used], seen.msi)]
    return Response(matrix, means[1] - matrix @ means[0], "estimated from the pair at LR, with an offset")
