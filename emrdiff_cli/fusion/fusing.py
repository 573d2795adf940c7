"""Use case: LR-HSI + HR-MSI (+ a sampler) -> fused raster, by tile rows, resumable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.evidence.verdict import Candidate, Verdict
from emrdiff_cli.core.sensor.coverage import Coverage, MsiBandCoverage
from emrdiff_cli.core.side_by_side import working_side_by_side
from emrdiff_cli.errors import ModelError, UnfitModelError, UsageError
from emrdiff_cli.fusion.band_order import BandOrder, order_concerns
from emrdiff_cli.fusion.changed_mask import refuse_changed_mask, write_changed
from emrdiff_cli.fusion.model_trial import tried_on
from emrdiff_cli.fusion.options import FusionOptions, uncertainty_files
from emrdiff_cli.fusion.output import METHOD_TAG, output_spec, with_detail, with_verdict
from emrdiff_cli.fusion.prepared_scene import Sampler
from emrdiff_cli.fusion.run import FusionRun, Progress, Tally, begin, write_rows
from emrdiff_cli.fusion.stored_type import refuse_small_type
from emrdiff_cli.fusion.tile_rows import RowSampling, sample_rows, tile_size
from emrdiff_cli.fusion.uncertainty import refuse_uncertainty, write_uncertainty
from emrdiff_cli.methods import AUTO, END_POINTS, METHODS, MethodChoice
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.mask_notes import MaskShares, mask_notes
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, PairReader, open_pair
from emrdiff_cli.pair.spectral_coverage import (
    ResponseChoice,
    choose_response,
    concerns,
    find_coverage,
    further_bands,
)
from emrdiff_cli.products.manifest import WORTH_READ, refuse_spoilt
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.identity import InputFiles
from emrdiff_cli.raster.qgis_style import check_style, warn_of_other_style, write_style
from emrdiff_cli.raster.reading import bounded_cache
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.stac_item import check_item, warn_of_other_item, write_item
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import RasterInfo
from emrdiff_cli.runtime.interruption import deferred
from emrdiff_cli.runtime.sole_run import sole_run
from emrdiff_cli.runtime.threads import thread_count
from emrdiff_cli.zoo import hsi_order

__all__ = ["FusionOptions", "FusionReport", "check_fit", "fuse", "tile_size"]


_MANY_IMPOSSIBLE = 0.01  # share of the fused values that is warned of: as they came out,
_MANY_LEFT = 0.001  # and as they are written


@dataclass(frozen=True)
class FusionReport:
    """Record of a fusion, printed as text and as JSON.

    `shift_lr_px`: the LR-HSI's displacement, down and right; `psf_fwhm_px`: of the PSF in use along rows and
    columns, MSI pixels; of both the standard errors, None where they were given or could not be told.
    `coverage`, told by `coverage_by`: the HSI bands (from 1) under each MSI band; `uncovered_bands` are under
    none, `bad_bands` marked bad. `changed_share`: of the LR pixels, what the
    rest of the pair contradicts. `impossible_share`: of the fused values, what came out beyond what can be
    (`core.sensor.possible_values`), `impossible_left` what still is, all of it without `physical`.
    `network_seconds` of `seconds` went into the sampler, by all workers together.
    `verdict`: why this method, where it was not asked for by name. `masked_shares`: of the common ground, what
    `mask` hides in the LR-HSI and in the MSI, by class.
    """

    output: str
    method: str
    bands: int
    height: int
    width: int
    ratio: float
    tiles: int
    local_window: tuple[float, float] | None
    valid_share: float
    changed_share: float
    physical: bool
    impossible_share: float
    impossible_left: float
    clipped_values: int
    seconds: float
    network_seconds: float
    shift_lr_px: tuple[float, float]
    shift_standard_error_lr_px: tuple[float, float] | None
    psf_fwhm_px: tuple[float, float]
    psf_fwhm_standard_error_px: tuple[float, float] | None
    coverage_by: str
    coverage: tuple[MsiBandCoverage, ...]
    uncovered_bands: tuple[int, ...]
    bad_bands: tuple[int, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    verdict: Verdict | None = None
    masked_shares: MaskShares = ({}, {})

    def record(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        verdict = None if self.verdict is None else self.verdict.record()
        return asdict(replace(self, verdict=None)) | {"verdict": verdict}


def fuse(
    lr_path: Path | str,
    msi_path: Path | str,
    output: Path | str,
    method: MethodChoice,
    sampler: Sampler | None,
    options: FusionOptions,
    *,
    model: Candidate | None = None,
    geometry: PairGeometry | None = None,
    progress: Progress | None = None,
    sampling: RowSampling | None = None,
) -> FusionReport:
    """Fuse a pair on the MSI's grid; with a sampler its model's end point and chain, else `method` alone.

    `auto`: without a sampler the method that the pair's own evidence names, looked for by `options.effort`.
    `model`: what is known of the sampler's, where it was chosen for the pair, or of one that was left. The verdict
    is reported, and in the tags.

    The output changes only when everything is written and verified. With a sampler, what was done before an
    interruption is kept beside it, for `options.resume`. `geometry`: the pair's, where it is known; None: as the
    options ask. `sampling`: who samples the tile rows, with the same sampler; None: this process.

    Raises UsageError for `emrdiff` without a sampler, EmrdiffError's children, and UnfitModelError for a model that
    nobody named where the MSI's bands seem to stand in another order than its own, or where tried on the pair it
    corrects more than there is to be corrected.
    """
    lr_path, msi_path, output = Path(lr_path), Path(msi_path), Path(output)
    end_point = end_point_of(method, None if sampler is None else sampler.config)
    if sampler is not None and sampling is None:
        sampling = partial(sample_rows, sampler)
    started = time.monotonic()
    with (
        bounded_cache(CACHE_MEGABYTES),
        working_side_by_side(thread_count(options.num_threads)),
        opened(lr_path, msi_path, options) as pair,
    ):
        choice = _check(pair, output, sampler, end_point, options)
        _refuse_spoilt(pair, options)
        masked = pair.mask_shares()
        with deferred(), sole_run(output):
            files = InputFiles(pair.lr_info.path, pair.msi_info.path)
            run = begin(pair, output, end_point, sampler, choice, options, geometry, progress)
            try:
                dead = set(run.scene.passed.bands)
                seen = find_coverage(choice, run.scene.pair, dead, placed=run.geometry.known)
                order, unlike = _band_order(pair, sampler, seen, model)
                model, foreign = tried_on(run, sampler, model)
                verdict = _settled(run, model, sampler is not None, seen)
                spec = with_verdict(with_detail(run.plan.spec, seen), verdict)
                with VerifiedWriter(output, spec, options.overwrite) as writer:
                    tally = write_rows(run, sampling, writer, progress)
                    files.refuse_changed()
                    _write_beside(run, output, spec, options)
                _describe(output, spec, options)
            except BaseException:
                if run.journal is not None:
                    run.journal.drop_if_empty()
                raise
            if run.journal is not None:
                run.journal.discard()
        hidden = mask_notes(pair, masked)
    done = _report(output, run, seen, tally, writer.clipped, time.monotonic() - started)
    said = () if verdict is None else (verdict.sentence,)
    notes, warnings = (*said, *order, *hidden, *done.notes), (*unlike, *foreign, *done.warnings)
    return replace(done, verdict=verdict, masked_shares=masked, notes=notes, warnings=warnings)


def opened(lr_path: Path, msi_path: Path, options: FusionOptions) -> AbstractContextManager[PairReader]:
    """Open the pair as the options have it."""
    return open_pair(lr_path, msi_path, src_nodata=options.src_nodata, mask=options.mask)


def _write_beside(run: FusionRun, output: Path, spec: RasterSpec, options: FusionOptions) -> None:
    if options.changed is not None:
        write_changed(run.scene, options.changed, options.overwrite)
    if options.uncertainty is not None or options.samples:
        write_uncertainty(run.scene, run.geometry, output, run.plan.area, spec, options)


def _describe(output: Path, spec: RasterSpec, options: FusionOptions) -> None:
    if options.stac is None:
        warn_of_other_item(output)
    else:
        _write_item(output, options.stac, spec, options)
    if options.qml:
        write_style(output, spec)
    else:
        warn_of_other_style(output)


def _write_item(output: Path, when: str, spec: RasterSpec, options: FusionOptions) -> None:
    told = ("uncertainty", "uncertainty-mean")
    beside = (
        {}
        if options.uncertainty is None
        else dict(zip(told, uncertainty_files(options.uncertainty), strict=True))
    )
    beside |= {} if options.changed is None else {"changed": options.changed}
    write_item(output, when, overwrite=options.overwrite, beside=beside, cog=spec.driver == "COG")


def _band_order(
    pair: PairReader, sampler: Sampler | None, seen: Coverage, model: Candidate | None
) -> tuple[tuple[str, ...], list[str]]:
    """Notes and warnings on the order of the model's bands in the pair; UnfitModelError for one nobody named."""
    if sampler is None:
        return (), []
    lr, msi = pair.lr_info, pair.msi_info
    unlike = order_concerns(sampler.config, seen, lr.bands, msi.bands)
    if unlike and model is not None and not model.named:
        raise UnfitModelError(unlike[0])
    return BandOrder.of(sampler.config, lr, msi).notes, unlike


def _settled(run: FusionRun, model: Candidate | None, used: bool, seen: Coverage) -> Verdict | None:
    """The run's verdict, or the one on a model that is used, with what the coverage adds to it."""
    verdict = run.verdict
    if model is not None and used:
        verdict = Verdict(model.name, changed=run.scene.ground.share, model=model)
    elif model is not None and verdict is not None:
        verdict = replace(verdict, model=model)
    return None if verdict is None else replace(verdict, uncovered=seen.uncovered_share)


def end_point_of(method: MethodChoice, config: ModelConfig | None) -> MethodChoice:
    """The chain's end in a model of this configuration, or the method that is all. Raises UsageError."""
    if config is not None:
        return config.end_point
    if method == AUTO:
        return method
    if method not in METHODS:
        raise UsageError(f"--method {method}: must be one of {', '.join(METHODS)}")
    if METHODS[method].needs_model:
        raise UsageError(
            f"--method {method}: runs a model, and there is no sampler of one: hand one in, or give one of "
            f"{', '.join(END_POINTS)}"
        )
    return method


def _check(
    pair: PairReader, output: Path, sampler: Sampler | None, method: str, options: FusionOptions
) -> ResponseChoice:
    """Refuse what cannot be, before any work."""
    refuse_inputs(pair, output, options)
    if sampler is not None:
        check_fit(sampler.config, pair.lr_info, pair.msi_info)
        tile_size(sampler.config, options)
    choice = choose_response(options.srf, pair.lr_info, pair.msi_info)
    # The bounds are those of the pair once it is in register.
    spec = output_spec(pair, output, method, replace(options, bounds=None))
    VerifiedWriter(output, spec, options.overwrite)
    if options.stac is not None:
        check_item(output, options.stac, spec.tags, options.overwrite)
    if options.qml:
        check_style(output, spec, options.overwrite)
    refuse_changed_mask(pair, output, options)
    refuse_small_type(pair, spec, options)
    refuse_uncertainty(pair, output, method if sampler is None else "emrdiff", spec, options)
    return choice


def refuse_inputs(pair: PairReader, output: Path, options: FusionOptions) -> None:
    """Raise UsageError where the output would replace what it is made from."""
    written = files_written(output, options.driver_for(output), options.creation_options)
    response = [] if options.srf is None else [Path(options.srf)]
    refuse_inputs_as_outputs(written, [pair.lr_info.path, pair.msi_info.path, *response])


def _refuse_spoilt(pair: PairReader, options: FusionOptions) -> None:
    """Raise InputError where the MSI's images are not as they were shipped, if most of it is read."""
    area, grid = pair.alignment.hr_window, pair.msi_info.grid
    if area.height * area.width >= WORTH_READ * grid.height * grid.width:
        refuse_spoilt(pair.msi_info.path, masks=bool(options.mask))


def _report(
    output: Path, run: FusionRun, seen: Coverage, tally: Tally, clipped: int, seconds: float
) -> FusionReport:
    spec, tiling, scene = run.plan.spec, run.plan.tiling, run.scene
    window = scene.end.fitted.window
    wider = further_bands(seen, scene.pair.lr_info, scene.pair.msi_info)
    return FusionReport(
        output=str(output),
        method=spec.tags[METHOD_TAG],
        bands=spec.bands.count,
        height=spec.grid.height,
        width=spec.grid.width,
        ratio=round(scene.pair.alignment.ratio, 6),
        tiles=0 if tiling is None else len(tiling.tiles),
        local_window=None if window is None else (window.sigma, window.ridge),
        valid_share=tally.valid_pixels / (spec.grid.height * spec.grid.width),
        changed_share=round(scene.ground.share, 6),
        physical=run.plan.physical,
        impossible_share=tally.impossible / max(1, tally.fused_values),
        impossible_left=tally.left / max(1, tally.fused_values),
        clipped_values=clipped,
        seconds=round(seconds, 3),
        network_seconds=round(tally.network_seconds, 3),
        shift_lr_px=run.geometry.move,
        shift_standard_error_lr_px=run.geometry.move_errors,
        psf_fwhm_px=_fwhm(scene.pair),
        psf_fwhm_standard_error_px=run.geometry.fwhm_errors_px(scene.pair),
        coverage_by=seen.by,
        coverage=seen.msi_bands,
        uncovered_bands=seen.uncovered,
        bad_bands=seen.bad,
        notes=(*run.notes, *scene.pair.notes, *run.geometry.notes, *scene.notes, *wider),
        warnings=(*run.geometry.warnings, *scene.warnings, *concerns(seen), *_impossible(tally)),
    )


def _impossible(tally: Tally) -> Iterator[str]:
    """What to be told of values that cannot be."""
    came, left = (count / max(1, tally.fused_values) for count in (tally.impossible, tally.left))
    if came > _MANY_IMPOSSIBLE:
        yield (
            f"{came:.2%} of the values came out as they cannot be (negative where the LR-HSI has none, or many "
            "times its maximum): the pair contradicts itself; look at its geometry and dates with `emrdiff check`"
        )
    if left > _MANY_LEFT:
        yield f"{left:.2%} of the output's values cannot be"


def _fwhm(pair: PairReader) -> tuple[float, float]:
    """FWHM of the Gaussian of the PSF in use along rows and columns, MSI pixels."""
    axes = pair.psf.resolved(pair.alignment.rows, pair.alignment.cols).axes
    rows, cols = (round(axis.fwhm_px, 3) for axis in axes or ())
    return rows, cols


def check_fit(config: ModelConfig, lr: RasterInfo, msi: RasterInfo) -> None:
    """Raise ModelError when a model cannot work on these bands."""
    if config.msi_bands != msi.bands.count:
        raise ModelError(
            f"the model takes {config.msi_bands} MSI bands, {msi.path} has {msi.bands.count}: "
            "choose another model (`emrdiff models`) or train one (`emrdiff train --scene`)"
        )
    if config.fixed_bands and config.hsi_bands != lr.bands.count:
        raise ModelError(
            f"the model takes {config.hsi_bands} HSI bands, {lr.path} has {lr.bands.count}: "
            "choose another model (`emrdiff models`) or train one (`emrdiff train --scene`)"
        )
    hsi_order(config, lr)
