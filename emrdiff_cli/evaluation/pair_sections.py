"""Sections of a page on a fused raster and its pair: the verdict, pictures, agreement, geometry, values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.band_numbers import numbered_bands
from emrdiff_cli.evaluation.band_axis import BandAxis
from emrdiff_cli.evaluation.pair_evidence import PairEvidence
from emrdiff_cli.evaluation.pair_maps import PairMaps
from emrdiff_cli.evaluation.pair_view import PairView
from emrdiff_cli.fusion.output import EVIDENCE_TAG, VERDICT_TAG
from emrdiff_cli.pair.geometry import (
    FIELD_TAG,
    GROUPS_TAG,
    PSF_ERROR_TAG,
    PSF_TAG,
    SHIFT_ERROR_TAG,
    SHIFT_TAG,
    PairGeometry,
)
from emrdiff_cli.pair.geometry_notes import described
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Grid, RasterInfo
from emrdiff_cli.report import panels
from emrdiff_cli.report.charts import Chart
from emrdiff_cli.report.colour import LINE_COLOURS, Limits, colour_map
from emrdiff_cli.report.page import figure, image, notes, row, table
from emrdiff_cli.report.tables import cell, header, wide

# What a page tells in words elsewhere.
GEOMETRY_TAGS = (
    *(SHIFT_TAG, SHIFT_ERROR_TAG, PSF_TAG, PSF_ERROR_TAG, FIELD_TAG, GROUPS_TAG),
    *(VERDICT_TAG, EVIDENCE_TAG),
)

_ARROWS = 6  # along the longer side
_STRETCH = (
    "Each band is stretched between the fused raster's 2nd and 98th percentiles; the HR-MSI by its own."
)


def verdict(fused: RasterReader, gathered: PairEvidence | None = None) -> str:
    """The evidence that was gathered, or what the fused raster records of the choice of its method.

    The sentence, and the table under it.
    """
    tags = fused.info.tags
    sentence, evidence = tags.get(VERDICT_TAG), tags.get(EVIDENCE_TAG, "")
    if gathered is not None:
        sentence, evidence = gathered.sentence, json.dumps(gathered.verdict.record())
    if sentence is None:
        return ""
    return f'<p class="verdict">{escape(sentence)}</p>{_evidence(evidence)}'


def _evidence(text: str) -> str:
    """Methods by kinds of evidence, dB over kriging; nothing where none is recorded."""
    try:
        found = json.loads(text)["evidence"]
        rows = [(str(r["method"]), str(r["kind"]), _gain(r["gain_db"], r["gain_error_db"])) for r in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    if not rows:
        return ""
    kinds = list(dict.fromkeys(kind for _, kind, _ in rows))
    known = {(method, kind): gain for method, kind, gain in rows}
    body = "".join(
        f'<tr><th scope="row">{escape(method)}</th>'
        + "".join(cell(known.get((method, kind), "\u2013")) for kind in kinds)
        + "</tr>"
        for method in dict.fromkeys(method for method, _, _ in rows)
    )
    scores = f'<table class="scores">{header(["method", *kinds])}<tbody>{body}</tbody></table>'
    return wide(scores, "Evidence") + notes(
        ["dB better than kriging, with the standard error, on this pair."]
    )


def _gain(value: Any, error: Any) -> str:
    """A gain with its error; either is null where it is not known."""
    if value is None:
        return "\u2013"
    return f"{float(value):+.2f}" + ("" if error is None else f" ± {float(error):.2f}")


def pictures(view: PairView, lr: RasterReader, msi: RasterReader) -> str:
    """Composites of the inputs and of the fused raster on its ground."""
    shown = [
        panels.Shown("LR-HSI", lr),
        panels.Shown("Fused", view.reader),
        panels.Shown("HR-MSI", msi, own_stretch=True),
    ]
    grid = view.reader.info.grid
    rows = row(panels.true_colour(shown, grid), 3), row(panels.false_colour(shown, grid), 3)
    return "".join(rows) + notes([_STRETCH])


def agreement(view: PairView, maps: PairMaps) -> str:
    """Where the fused raster differs from its inputs, seen as each of them sees, and changed ground."""
    pair = view.pair
    on_msi = pair.msi_info.grid.crop(pair.alignment.hr_window)
    on_lr = pair.lr_info.grid.crop(pair.alignment.lr_window)
    figures = [
        _map(
            maps.spectral,
            on_lr,
            "RMS difference (data units)",
            "LR-HSI",
            "the cube through the PSF less the LR-HSI",
        ),
        _map(
            maps.msi,
            on_msi,
            "RMS difference (data units)",
            "HR-MSI",
            "the cube through the response less the MSI",
        ),
        _changed_map(maps.changed, on_lr),
    ]
    said = [f"Colours end at the 98th percentile. Changed ground: {_share(maps.changed)} of the LR pixels."]
    if math.isfinite(maps.contradicted):
        said.append(
            f"{maps.contradicted:.2%} of the pixels differ from the HR-MSI by more than four times the usual "
            f"{maps.usual:.3g} (the median): there the fused bands contradict it beyond its noise."
        )
    return row([text for text in figures if text], 3) + notes(said)


def spectral_errors(
    view: PairView, by_band: Mapping[int, float | None], under: Sequence[Sequence[int]]
) -> str:
    """A chart of the RMSE at LR by band of the LR-HSI (0-based); `under`: the bands under each of the MSI's."""
    axis = BandAxis(view.pair.lr_info.bands)
    line = axis.line("fused", by_band, LINE_COLOURS[1], absent=axis.bands.bad)
    msi = axis.msi_spans(under)
    chart = Chart(axis.label, "RMSE at LR (data units)", (line,), msi=msi, from_zero=True)
    caption = "the cube through the PSF less the LR-HSI" + ("; blue: the MSI's bands" if msi else "")
    return figure(chart.svg(1000, 240), caption, "RMSE of each band,")


def _map(values: NDArray[np.float32], grid: Grid, label: str, title: str, caption: str) -> str:
    if not np.isfinite(values).any():
        return ""
    return figure(panels.error_map(values, grid, label), caption, title)


def _changed_map(changed: NDArray[np.float32], grid: Grid) -> str:
    """The changed LR pixels as light ones; nothing without any."""
    if not np.nansum(changed):
        return ""
    picture = image(colour_map(changed, Limits(0.0, 1.0)), "Changed ground, as a map") + panels.scale(grid)
    return figure(picture, "LR pixels that contradict the rest of the pair are light", "Changed ground")


def _share(changed: NDArray[np.float32]) -> str:
    return _percent(float(np.nanmean(changed))) if np.isfinite(changed).any() else "unknown"


def geometry(view: PairView, msi: RasterReader) -> str:
    """How the fused raster records that the LR-HSI lies: in words, and where it varies as arrows over the MSI."""
    found = PairGeometry.from_tags(view.reader.info.tags)
    if not found.known:
        return notes(
            ["The fused raster records no geometry: the pair is taken as it lies, FWHM = the ratio."]
        )
    picture = _arrows(found, view, msi) if found.field else ""
    return table(_geometry_rows(found, view)) + row([picture] if picture else [], 2)


def _geometry_rows(found: PairGeometry, view: PairView) -> Iterator[tuple[str, object]]:
    yield "LR-HSI moved", _moved(found)
    pair = view.pair
    ratio = pair.alignment.rows.ratio, pair.alignment.cols.ratio
    axes = pair.psf.resolved(pair.alignment.rows, pair.alignment.cols).axes or ()
    widths = " x ".join(f"{axis.fwhm_px:.2f}" for axis in axes)
    shares = " x ".join(f"{axis.fwhm_px / by:.2f}" for axis, by in zip(axes, ratio, strict=True))
    errors = _standard_errors(found.fwhm_errors_px(pair), "MSI pixels")
    yield "PSF's FWHM", f"{widths} MSI pixels (rows x columns), {shares} of the ratio{errors}"
    yield from _moved_bands(found)


def _standard_errors(errors: tuple[float, float] | None, unit: str) -> str:
    return "" if errors is None else f"; standard errors {errors[0]:.2g} x {errors[1]:.2g} {unit}"


def recorded_geometry(fused: RasterInfo) -> Iterator[tuple[str, str]]:
    """What a fused raster records of the choice of its method and of the pair's geometry, in words."""
    if VERDICT_TAG in fused.tags:
        yield "verdict", fused.tags[VERDICT_TAG]
    found = PairGeometry.from_tags(fused.tags)
    if not found.known:
        return
    yield "LR-HSI moved", _moved(found)
    if found.psf is not None and found.psf.axes is not None:
        yield (
            "PSF's FWHM",
            " x ".join(f"{axis.fwhm_px:.2f}" for axis in found.psf.axes) + " MSI pixels (rows x columns)",
        )
    yield from _moved_bands(found)


def _moved(found: PairGeometry) -> str:
    mean = ", the mean over the scene" if found.field else ""
    moved = described(*found.move) + mean if any(found.move) else "not at all"
    return moved + _standard_errors(found.move_errors, "LR pixels")


def _moved_bands(found: PairGeometry) -> Iterator[tuple[str, str]]:
    for group in found.groups:
        numbers = numbered_bands([band + 1 for band in group.bands])
        yield numbers, f"moved by {described(*group.shift)} besides"


def _arrows(found: PairGeometry, view: PairView, msi: RasterReader) -> str:
    pair = view.pair
    if pair.displacement is None or pair.displacement.field is None:
        return ""
    window = pair.alignment.lr_window
    step = max(1, max(window.height, window.width) // _ARROWS)
    rows, cols = (
        np.arange(step // 2, side, step, dtype=np.float64) for side in (window.height, window.width)
    )
    places = np.meshgrid(rows, cols, indexing="ij")
    down, right = pair.displacement.field.at(places[0] + window.row, places[1] + window.col)
    longest = float(np.hypot(down, right).max())
    if longest <= 0:
        return ""
    grown = 0.45 * step / longest
    arrows = [
        panels.Pointer(
            *((at + 0.5) / side for at, side in zip(place, (window.height, window.width), strict=True)),
            *(grown * by / side for by, side in zip(moved, (window.height, window.width), strict=True)),
        )
        for place, moved in zip(
            zip(places[0].flat, places[1].flat, strict=True),
            zip(down.flat, right.flat, strict=True),
            strict=True,
        )
    ]
    on_msi = pair.msi_info.grid.crop(pair.alignment.hr_window)
    caption = f"beside the mean, {grown:.3g} times as long as it is; the longest is {longest:.2f} LR pixels"
    drawn = panels.pointed(msi, on_msi, arrows)
    return figure(drawn, caption, "Displacement") if drawn else ""


def values(maps: PairMaps, facts: Iterable[tuple[str, object]]) -> str:
    """The range of the values and what of them cannot be."""
    fused, low = maps.ranges
    rows = [
        ("Fused values", f"{fused[0]:.5g} to {fused[1]:.5g}"),
        ("Values of the LR-HSI", f"{low[0]:.5g} to {low[1]:.5g}"),
        ("Share of impossible values", _percent(maps.impossible)),
        *facts,
    ]
    said = "Impossible: negative in a band of which the LR-HSI has none, or more than all of an LR pixel."
    return table(rows) + notes([said])


def _percent(share: float) -> str:
    """A share with two digits that tell, nothing as 0 %."""
    return "0 %" if share == 0 else f"{100 * share:.2g} %"


def uncertainty(deviations: RasterReader | None, grid: Grid) -> str:
    """The standard deviations' mean over the bands, as a map; nothing without a raster of them."""
    if deviations is None:
        return ""
    bands = range(deviations.info.bands.count)
    seen = panels.read_on(deviations, bands, grid, panels.shape_of(grid, panels.MAP_SIZE))
    if seen is None:
        return ""
    known = np.isfinite(seen)
    mean = np.where(known, seen, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    drawn = np.where(known.any(axis=0), mean, np.nan).astype(np.float32)
    said = "Standard deviation, mean over the bands; 1.645 of it on both sides hold 90 % of the errors."
    return row([_map(drawn, grid, "standard deviation (data units)", "Uncertainty", said)], 2)
