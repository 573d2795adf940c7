"""Use case: a pair before it is fused -> where it lies, how well it fits, and what its errors will cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.core.sensor.coarse_registration import FAR_REACH
from emrdiff_cli.core.sensor.fill import FillSurvey, probable_fill
from emrdiff_cli.core.sensor.holes import valid_pixels
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.registration import Shift
from emrdiff_cli.core.sensor.survey import BandStates, BandSurvey
from emrdiff_cli.core.side_by_side import working_side_by_side
from emrdiff_cli.errors import InputError
from emrdiff_cli.pair.check_geometry import (
    block_check,
    field_check,
    group_checks,
    psf_check,
    rounded,
    shift_check,
)
from emrdiff_cli.pair.check_result import Check, Point, RasterCheck
from emrdiff_cli.pair.coregistration import find_shift
from emrdiff_cli.pair.local_displacement import find_block_displacements
from emrdiff_cli.pair.mask_notes import mask_notes
from emrdiff_cli.pair.offset_warnings import offset_warnings
from emrdiff_cli.pair.pair import PairReader, SrcNodata, open_pair
from emrdiff_cli.pair.registration import FoundGeometry, displaced, displacement_warning, find_geometry
from emrdiff_cli.pair.rehearsal import rehearsal_ratio, rehearse
from emrdiff_cli.pair.spectral_coverage import (
    ResponseChoice,
    choose_response,
    concerns,
    find_coverage,
    further_bands,
    radiometry,
)
from emrdiff_cli.products.manifest import refuse_spoilt
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.acquisition import acquired_on
from emrdiff_cli.raster.crs import crs_label, same_crs
from emrdiff_cli.raster.fill_warnings import fill_warnings
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import RasterInfo, Window
from emrdiff_cli.runtime.threads import thread_count

__all__ = ["Check", "check", "find_shift"]

_STRIP_ROWS = 256
_ODD_WIDTH = 0.15  # share from which the PSF is worth a warning
_DEAR = 1.0  # dB from which a displacement is worth a warning however small it is
_FAR_APART = 16  # days between two images from which their ground may have changed


def check(
    lr_path: Path | str,
    msi_path: Path | str,
    srf: str | None = None,
    progress: Callable[[float, float], None] | None = None,
    src_nodata: SrcNodata | None = None,
    mask: AskedMask = (),
) -> Check:
    """Look at a pair before it is fused, the MSI strip by strip, which `progress` is told of in rows.

    `srf`: the MSI's response, as `choose_response` takes it; `src_nodata` and `mask`: as `open_pair` takes them.
    Raises InputError where a raster cannot be opened at all, and what `choose_response` and `choose_masks` raise.
    """
    started = time.monotonic()
    lr_path, msi_path = Path(lr_path), Path(msi_path)
    lr, msi = read_info(lr_path), read_info(msi_path)
    for path in (lr_path, msi_path):
        refuse_spoilt(path, masks=bool(mask))
    choice = choose_response(srf, lr, msi)
    result = _known(lr, msi)
    try:
        with (
            working_side_by_side(thread_count()),
            open_pair(lr_path, msi_path, src_nodata=src_nodata, mask=mask) as pair,
        ):
            result = _placed(result, pair)
            result = _masked(result, pair)
            result = _surveyed(result, pair, progress)
            if result.usable:
                result = _fitted(result, pair, choice)
    except InputError as error:
        result = _add(result, problems=[str(error)])
    result = _add(result, warnings=_concerns(result))
    return replace(result, seconds=round(time.monotonic() - started, 3))


def _known(lr: RasterInfo, msi: RasterInfo) -> Check:
    """Check what the metadata tell."""
    one, other = acquired_on(lr.tags), acquired_on(msi.tags)
    return Check(
        lr_hsi=_raster_check(lr, one),
        hr_msi=_raster_check(msi, other),
        crs_agree=same_crs(lr.grid.crs_wkt, msi.grid.crs_wkt),
        days_apart=None if one is None or other is None else abs((one - other).days),
    )


def _raster_check(info: RasterInfo, acquired: date | None) -> RasterCheck:
    good, wkt = info.bands.good, info.grid.crs_wkt
    return RasterCheck(
        path=str(info.path),
        crs=None if wkt is None else crs_label(wkt).name,
        acquired=None if acquired is None else acquired.isoformat(),
        bad_bands=None if good is None else tuple(i for i, fine in enumerate(good, 1) if not fine),
    )


def _placed(result: Check, pair: PairReader) -> Check:
    """Ratio, overlap and phase of the two grids."""
    place, lr, msi = pair.alignment, read_info(pair.lr_info.path).grid, pair.msi_info.grid
    ratio = (place.rows.ratio, place.cols.ratio)
    common = place.hr_window.height * place.hr_window.width
    corner = (
        place.hr_window.row + place.rows.offset - ratio[0] * place.lr_window.row,
        place.hr_window.col + place.cols.offset - ratio[1] * place.lr_window.col,
    )
    share = min(1.0, common / (lr.height * lr.width * ratio[0] * ratio[1]))
    return replace(
        result,
        ratio=rounded(ratio),
        sampling_phase_hr_px=rounded((corner[0] - round(corner[0]), corner[1] - round(corner[1]))),
        lr_hsi=replace(result.lr_hsi, overlap=round(share, 4)),
        hr_msi=replace(result.hr_msi, overlap=round(common / (msi.height * msi.width), 4)),
        hr_window=place.hr_window,
        notes=pair.notes,
    )


def _masked(result: Check, pair: PairReader) -> Check:
    """What the products' own masks hide of the ground that both cover."""
    lr, msi = pair.mask_shares()
    return replace(
        result,
        lr_hsi=replace(result.lr_hsi, masked_shares=lr or None),
        hr_msi=replace(result.hr_msi, masked_shares=msi or None),
        notes=(*result.notes, *mask_notes(pair, (lr, msi))),
    )


def _surveyed(result: Check, pair: PairReader, progress: Callable[[float, float], None] | None) -> Check:
    """Holes, and dead, constant and saturated bands, on the ground that both cover."""
    values = pair.read_lr()
    survey = BandSurvey(len(values))
    survey.update(values)
    lr = _with_states(result.lr_hsi, survey.result(), float(valid_pixels(values).mean()))
    of_lr = probable_fill(values[_telling(pair.lr_info, survey.result())])
    survey, valid, area = BandSurvey(pair.msi_info.bands.count), 0, pair.alignment.hr_window
    fill = FillSurvey(area.height)
    with pair.reopened_msi() as reader:
        for top in range(0, area.height, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, area.height - top)
            strip = reader.read(Window(area.row + top, area.col, rows, area.width))
            survey.update(strip)
            fill.update(strip)
            valid += int(np.isfinite(strip).all(axis=0).sum())
            if progress is not None:
                progress(top + rows, area.height)
    msi = _with_states(result.hr_msi, survey.result(), valid / (area.height * area.width))
    empty = [
        f"{Path(raster.path).name} has no pixel that is valid in all bands where the two overlap"
        for raster in (lr, msi)
        if raster.nodata_share == 1
    ]
    warned = fill_warnings((pair.lr_info, of_lr), (pair.msi_info, fill.result()))
    return _add(replace(result, lr_hsi=lr, hr_msi=msi), problems=empty, warnings=warned)


def _telling(info: RasterInfo, states: BandStates) -> list[int]:
    """Bands (0-based) that are neither marked bad nor of one value alone."""
    mute = {*info.bands.bad, *(band - 1 for band in (*states.dead, *states.constant))}
    return [band for band in range(info.bands.count) if band not in mute]


def _with_states(raster: RasterCheck, states: BandStates, valid_share: float) -> RasterCheck:
    return replace(
        raster,
        nodata_share=1 - valid_share,
        dead_bands=states.dead,
        constant_bands=states.constant,
        saturated_bands=states.saturated,
        saturated_share=states.saturated_share,
    )


def _fitted(result: Check, pair: PairReader, choice: ResponseChoice) -> Check:
    """Displacement, PSF and their costs, and which bands see the same, on a block of the pair."""
    found = find_geometry(pair)
    shift, scene = found.located.shift, found.located.at_lr()
    result = _with_costs(result, found, scene, (pair.alignment.rows.ratio, pair.alignment.cols.ratio))
    result = _with_local(result, pair, found)
    result = _with_coverage(result, pair, scene, choice)
    problems = _unfit(scene, shift)
    cost = None if result.shift is None else result.shift.cost_db
    return _add(result, problems=problems, warnings=[] if problems else _displacement(shift, cost, found))


def _with_costs(result: Check, found: FoundGeometry, scene: LrScene, ratio: Point) -> Check:
    """Displacement and PSF, with what leaving the one and assuming another of the other costs."""
    degraded_by, shift, psf = rehearsal_ratio(scene, ratio), found.located.shift, found.located.psf
    shift_cost = psf_cost = None
    if degraded_by is not None:
        best = rehearse(scene, degraded_by)
        if shift.confidence:
            shift_cost = best - rehearse(scene, degraded_by, (shift.rows, shift.cols))
        if psf is not None:
            psf_cost = best - rehearse(scene, degraded_by, width=math.sqrt(psf.fwhm[0] * psf.fwhm[1]))
    return replace(
        result,
        shift=shift_check(found, shift, ratio, shift_cost),
        psf=None if psf is None else psf_check(found, psf, ratio, psf_cost),
        wald_ratio=None if degraded_by is None else rounded(degraded_by),
    )


def _with_local(result: Check, pair: PairReader, found: FoundGeometry) -> Check:
    """Displacements that vary over the scene and between detectors; none where the whole's cannot be told."""
    if not found.located.rest.confidence:
        return result
    field = found.varying
    return replace(
        result,
        field=None if field is None else field_check(field),
        groups=group_checks(found.groups),
        blocks=tuple(map(block_check, find_block_displacements(pair, found))),
    )


def _with_coverage(result: Check, pair: PairReader, scene: LrScene, choice: ResponseChoice) -> Check:
    """Which HSI bands lie under which MSI band, bands marked bad under none, and how their values relate."""
    dead = {band - 1 for band in result.lr_hsi.dead_bands or ()}
    seen = find_coverage(choice, pair, dead, scene)
    lines = radiometry(choice, pair, scene)
    known = replace(
        result,
        coverage_by=seen.by,
        coverage=seen.msi_bands,
        uncovered_bands=seen.uncovered,
        radiometry=lines,
        notes=(*result.notes, *further_bands(seen, pair.lr_info, pair.msi_info)),
    )
    return _add(known, warnings=[*concerns(seen), *offset_warnings(pair, scene, dead, lines)])


def _unfit(scene: LrScene, shift: Shift) -> list[str]:
    """Why fusing the block makes no sense, if it does not."""
    needed = 2 * (len(scene.msi) + 1)
    if scene.valid.sum() < needed:
        return [
            f"{scene.valid.sum()} valid LR pixels lie wholly on valid MSI pixels: {needed} or more are needed to "
            f"relate {len(scene.msi)} MSI bands to the LR-HSI"
        ]
    if shift.unrelated:
        return [
            f"the two do not correlate: near where they are said to lie the LR-HSI explains {shift.r2_after:.0%} "
            f"of the MSI at LR, {shift.r2_chance:.0%} by chance, and no place up to {FAR_REACH} LR pixels away is "
            "surely better: are they of one place?"
        ]
    return []


def _displacement(shift: Shift, cost: float | None, found: FoundGeometry) -> list[str]:
    """Warnings about the displacement: none where it is small and cheap."""
    if not shift.confidence:
        return ["the displacement of the two against each other could not be told from the pair"]
    dear = cost is not None and cost >= _DEAR and shift.significant
    return [displacement_warning(shift, found.used.moves)] if dear or displaced(shift) else []


def _concerns(result: Check) -> list[str]:
    """Concerns that lower the quality of a fusion, one line each."""
    found, psf = [], result.psf
    if psf is not None and abs(psf.fwhm_hr_px / psf.assumed_fwhm_hr_px - 1) > _ODD_WIDTH:
        found.append(
            f"the PSF is {psf.fwhm_hr_px:.2f} HR pixels wide (FWHM), the ratio {psf.assumed_fwhm_hr_px:.2f}: "
            f"`emrdiff fuse` {'uses what it finds' if psf.used else 'uses the ratio, as the pair is not sure'}"
        )
    for raster in (result.lr_hsi, result.hr_msi):
        found += _band_concerns(raster)
    if any(not band.hsi_bands for band in result.coverage):
        blind = ", ".join(str(band.band) for band in result.coverage if not band.hsi_bands)
        found.append(f"no HSI band lies under MSI band {blind}")
    if result.days_apart is not None and result.days_apart > _FAR_APART:
        found.append(f"the two were taken {result.days_apart} days apart: the ground may have changed")
    return found


def _band_concerns(raster: RasterCheck) -> list[str]:
    name, bad = Path(raster.path).name, set(raster.bad_bands or ())
    found = []
    for what, bands in (
        ("no valid value", raster.dead_bands),
        ("one value alone", raster.constant_bands),
        ("values cut off at their maximum", raster.saturated_bands),
    ):
        unmarked = [band for band in bands or () if band not in bad]
        if unmarked:
            found.append(f"{name}: {what} in {numbered_bands(unmarked)}")
    return found


def _add(result: Check, *, problems: Sequence[str] = (), warnings: Sequence[str] = ()) -> Check:
    return replace(result, problems=(*result.problems, *problems), warnings=(*result.warnings, *warnings))
