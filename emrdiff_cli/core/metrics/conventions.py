"""Scores by the conventions of other papers' programs, with what differs from ours.

What their published programs compute, not what their papers say. A figure that needs another pass over the
pixels is not given but named, so that nobody takes ours for it. PSRT's own file of metrics is not published
with its program: those of the file that programs of its family share stand for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from emrdiff_cli.core.metrics.cube import Scores
from emrdiff_cli.core.metrics.decibels import psnr_db

Convention = Literal["emrdiff", "psrt", "dspnet", "args", "toolbox"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

_FIXED_RATIO = 4.0


@dataclass(frozen=True)
class Figure:
    """A score by another convention; None where it is undefined here, or not worked out."""

    key: str
    value: float | None
    differs: str


def figures(convention: Convention, scores: Scores) -> tuple[Figure, ...]:
    """The scores by a convention, each with what differs from ours."""
    return _TABLES[convention](scores)


def _emrdiff(scores: Scores) -> tuple[Figure, ...]:
    peak = None
    if scores.reference_range is not None:
        peak = scores.reference_range[1] - min(0.0, scores.reference_range[0])
    return (
        Figure("psnr_db", _psnr(scores, peak), "one MSE over the cube, peak: the reference's range from 0"),
        Figure("sam_rad", _scaled(scores, "sam_deg", math.pi / 180), "in radians"),
        Figure("ergas", _ergas_at_four(scores), "ratio 4 whatever the pair's"),
        Figure("ms_ssim", None, "MS-SSIM is called SSIM there; not worked out here"),
    )


def _psrt(scores: Scores) -> tuple[Figure, ...]:
    peak = None if scores.reference_range is None else scores.reference_range[1]
    return (
        Figure("psnr_db", _psnr(scores, peak), "one MSE over the cube, peak: the reference's maximum"),
        Figure("sam_deg", scores.overall.get("sam_deg"), "as ours"),
        Figure("ergas", _ergas_at_four(scores), "ratio 4 whatever the pair's"),
        Figure("ssim", None, "windows reach over the edges, filled with 0; not worked out here"),
    )


def _dspnet(scores: Scores) -> tuple[Figure, ...]:
    return (
        Figure(
            "psnr_db",
            _psnr(scores, scores.peak),
            "one MSE over the cube; fused values are clipped first there",
        ),
        Figure("sam_deg", scores.overall.get("sam_deg"), "as ours"),
        Figure("ergas", _ergas_at_four(scores), "ratio 4 whatever the pair's"),
        Figure("ssim", None, "of a module of its own; not worked out here"),
    )


def _args(scores: Scores) -> tuple[Figure, ...]:
    return (
        Figure(
            "psnr_db", scores.overall.get("psnr_band_peak_db"), "peak: each band's maximum of the reference"
        ),
        Figure("sam_deg", scores.overall.get("sam_deg"), "as ours, but for pixels of norm 0"),
        Figure("ergas", scores.overall.get("ergas"), "as ours"),
        Figure("rmse", scores.overall.get("rmse"), "as ours"),
        Figure("ssim", None, "7 x 7 uniform window, range of the fused band; not worked out here"),
        Figure("uqi", None, "sewar's, window means where sums belong; not worked out here"),
    )


def _toolbox(scores: Scores) -> tuple[Figure, ...]:
    return (
        Figure("sam_deg", scores.overall.get("sam_deg"), "as ours"),
        Figure("ergas", scores.overall.get("ergas"), "as ours"),
        Figure(
            "q2n",
            None,
            "values rounded to 16 bit, edges mirrored, missing bands count as 1; not worked out here",
        ),
    )


def _psnr(scores: Scores, peak: float | None) -> float | None:
    rmse = scores.overall.get("rmse")
    if rmse is None or peak is None or peak <= 0:
        return None
    return float(psnr_db(peak, rmse**2))


def _ergas_at_four(scores: Scores) -> float | None:
    return None if scores.ratio is None else _scaled(scores, "ergas", scores.ratio / _FIXED_RATIO)


def _scaled(scores: Scores, key: str, factor: float) -> float | None:
    value = scores.overall.get(key)
    return None if value is None else value * factor


_TABLES: dict[Convention, Callable[[Scores], tuple[Figure, ...]]] = {
    "emrdiff": _emrdiff,
    "psrt": _psrt,
    "dspnet": _dspnet,
    "args": _args,
    "toolbox": _toolbox,
}
