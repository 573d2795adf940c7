"""Output of a fusion: the raster's description, the part of the ground it covers, and its rows in all bands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.verdict import Verdict
from emrdiff_cli.core.large_arrays import let_go, let_go_of
from emrdiff_cli.core.sensor.coverage import Coverage
from emrdiff_cli.core.sensor.grid import bounds_window
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import BANDS_AT_ONCE
from emrdiff_cli.errors import InputError
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.prepared_scene import PreparedScene
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.tags import carried_band_tags, carried_tags
from emrdiff_cli.raster_info import Grid, RasterInfo, Window
from emrdiff_cli.version import __version__

Field = NDArray[np.float32]

VALUES_AT_ONCE = 2**20  # of a block of rows that are expanded to some bands
_PROBABLY_FILL = 1e15  # values of an LR-HSI from which sums overflow without a model's doing

METHOD_TAG = "emrdiff_method"
VERDICT_TAG = "emrdiff_verdict"
EVIDENCE_TAG = "emrdiff_evidence"
DETAIL_TAG = "emrdiff_detail"


class ExpandedBands(NamedTuple):
    """Rows of some `bands` (0-based) of the output, (b, n, W), NaN where there is nothing to fuse.

    `fused`: count of the fused values among them; `impossible` of those that came out beyond what can be, `left` of
    those that still are.
    """

    bands: NDArray[np.intp]
    values: Field
    fused: int = 0
    impossible: int = 0
    left: int = 0


def _source(info: RasterInfo) -> str:
    """The name that an input is known by: the file's, or a product's own where all have files of one name."""
    own = None if info.driver in ("GTiff", "ENVI") else info.tags.get("product_id")
    return own or info.path.name


def output_spec(pair: PairReader, output: Path, method: str, options: FusionOptions) -> RasterSpec:
    """The fused raster: the HSI's bands, units and tags on the MSI's grid, with its provenance in the tags."""
    info = pair.lr_info
    dtype = options.dtype or info.dtype
    tags = {
        **carried_tags(info.tags),
        "emrdiff_version": __version__,
        METHOD_TAG: method,
        "emrdiff_ratio": f"{pair.alignment.ratio:.6g}",
        "emrdiff_lr_hsi": _source(pair.lr_info),
        "emrdiff_hr_msi": _source(pair.msi_info),
        "emrdiff_physical": "yes" if options.physical else "no",
        **pair.tags,
        **options.provenance,
    }
    return RasterSpec(
        grid=_common_grid(pair).crop(output_area(pair, options)),
        bands=info.bands,
        dtype=dtype,
        nodata=info.nodata if info.nodata is not None and dtype == info.dtype else _nodata(dtype),
        scale=info.scale,
        offset=info.offset,
        scale_recorded=info.scale_recorded,
        driver=options.driver_for(output),
        tags=tags,
        band_tags=carried_band_tags(info.band_tags),
        creation_options=options.creation_options,
        overviews=options.overviews,
    )


def with_detail(spec: RasterSpec, seen: Coverage) -> RasterSpec:
    """The spec with each band's tag: its detail is `covered` by an MSI band or `extrapolated`, or it is `bad`.

    The dataset's tags say what that was told by, and what the MSI's response leaves of each MSI band at LR.
    """
    tags = {**spec.tags, "emrdiff_detail_by": seen.by}
    residuals = seen.residuals()
    if residuals is not None:
        tags["emrdiff_srf_residual"] = ",".join(f"{left:.4f}" for left in residuals)
    return replace(spec, tags=tags, band_tags={**spec.band_tags, DETAIL_TAG: seen.labels()})


def with_verdict(spec: RasterSpec, verdict: Verdict | None) -> RasterSpec:
    """The spec with the verdict in its tags: its sentence, and all that it rests on."""
    if verdict is None:
        return spec
    found = {VERDICT_TAG: verdict.sentence, EVIDENCE_TAG: json.dumps(verdict.record())}
    return replace(spec, tags={**spec.tags, **found})


def output_area(pair: PairReader, options: FusionOptions) -> Window:
    """The part of the common ground that is written; raises GridError where the bounds hold none of it."""
    common = _common_grid(pair)
    if options.bounds is None:
        return Window(0, 0, common.height, common.width)
    return bounds_window(common, options.bounds)


def plain_rows(scene: PreparedScene, area: Window) -> Iterator[tuple[int, Field]]:
    """Corrections of a method without a model, all zero: blocks (k, n, width) with their first row's number."""
    for top, stop in scene.blocks.over(area):
        yield top, np.broadcast_to(np.float32(0), (scene.end.channels, stop - top, scene.width))


def rows_inside(area: Window, top: int, count: int) -> slice:
    """Which of so many rows, from `top` on, an area covers."""
    return slice(max(0, area.row - top), min(count, area.rows.stop - top))


def expanded(
    scene: PreparedScene, area: Window, top: int, correction: Field, *, physical: bool = True
) -> Field:
    """The area's share of a block of rows in all bands (B, n, W), as `expanded_bands` gives it."""
    inside = rows_inside(area, top, correction.shape[1])
    values = np.empty((scene.band_count, inside.stop - inside.start, area.width), np.float32)
    for group in expanded_bands(scene, area, top, correction, physical=physical):
        values[group.bands] = group.values
    return values


def expanded_bands(
    scene: PreparedScene, area: Window, top: int, correction: Field, *, physical: bool = True
) -> Iterator[ExpandedBands]:
    """The area's share of a block of rows, end point plus correction, some bands at a time.

    Worked out for whole rows, and blocks that do not depend on the area: sums are rounded as in the whole.
    `physical`: values below what can be are lifted, at the cost of others of the same LR pixel.
    """
    window = Window(top, 0, correction.shape[1], scene.width)
    msi, msi_valid = scene.pair.read_msi(window)
    up = scene.resampling.up_part(window)
    rows, cols = scene.pair.nearest_lr
    valid = msi_valid & scene.lr_valid[rows[window.rows]][:, cols]
    coefficients = scene.evaluator.tile(scene.end.fitted, msi, *up).values
    coefficients += correction
    let_go_of(scene.end)
    part = np.s_[:, rows_inside(area, top, window.height), area.cols]
    step = max(BANDS_AT_ONCE, VALUES_AT_ONCE // valid.size // BANDS_AT_ONCE * BANDS_AT_ONCE)
    for start in range(0, len(scene.fused), step):
        bands = slice(start, start + step)
        values = scene.end.basis.expand(coefficients, bands)
        if scene.end.outside is not None:
            values += apply_taps(scene.end.outside[bands], *up)
            let_go(scene.end.outside)
        _refuse_overflow(scene, values, valid)
        _mask(values, valid)
        scene.missing.take(bands).mask(values, rows[window.rows], cols)
        yield _settled(scene, window, bands, values, valid, part, physical=physical)
    if scene.passed.bands.size:
        values = scene.passed_bands(window)
        _mask(values, valid)
        yield ExpandedBands(scene.passed.bands, values[part])


def _settled(
    scene: PreparedScene,
    window: Window,
    bands: slice,
    values: Field,
    valid: NDArray[np.bool_],
    part: tuple[slice, slice, slice],
    *,
    physical: bool,
) -> ExpandedBands:
    """A `part` of a window's values (b, n, W), which are lifted where they are to be `physical`."""
    possible = scene.possible.part(bands)
    fused = int(np.count_nonzero(np.isfinite(values[part])))
    impossible = left = possible.count_beyond(values[part])
    if physical:
        lifted = possible.lifted(values, valid, scene.blocks.cell_rows[window.rows], scene.blocks.cell_cols)
        if lifted is not values:
            values, left = lifted, possible.count_beyond(lifted[part])
    return ExpandedBands(scene.fused[bands], values[part], fused, impossible, left)


def _mask(values: Field, valid: NDArray[np.bool_]) -> None:
    """Put NaN into all bands (B, n, W) of pixels that are not valid (n, W)."""
    if not valid.all():
        values[:, ~valid] = np.nan


def _refuse_overflow(scene: PreparedScene, values: Field, valid: NDArray[np.bool_]) -> None:
    """Raise InputError where valid pixels of the pair give values that are no numbers."""
    if np.isfinite(values.sum(axis=0)[valid]).all() or np.isfinite(values[:, valid]).all():
        return
    lr, msi = scene.pair.lr_info.path.name, scene.pair.msi_info.path.name
    peak = float(np.nanmax(np.abs(scene.pair.read_lr())))
    if scene.channels is not None and peak < _PROBABLY_FILL:
        way_out = "the model is at fault: name another (--model), or give `--method kriging`"
    else:
        way_out = (
            f"the LR-HSI's reach {peak:.3g}; is that fill? Declare it with `--src-nodata`; "
            "`emrdiff check` names it"
        )
    raise InputError(f"valid pixels of {lr} and {msi} give values that are no numbers: {way_out}")


def _common_grid(pair: PairReader) -> Grid:
    return pair.msi_info.grid.crop(pair.alignment.hr_window)


def _nodata(dtype: str) -> float | None:
    """A nodata value for a dtype whose input declares none: NaN, or the end of the range away from zero.

    For the widest types it is the last whole number that a float64 is sure of, as which formats record it.
    """
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind == "f":
        return float("nan")
    limits = np.iinfo(kind)
    if kind.itemsize == 8:
        return float(-(2**53) if limits.min < 0 else 2**53)
    return float(limits.min if limits.min < 0 else limits.max)
