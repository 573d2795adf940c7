"""How long a fusion would take: its steps run for real on a small part of the pair, and reckoned up to the whole.

A step that was run takes as much longer as the whole is larger than the part, by what its own work goes with: LR
pixels, HR pixels, tiles, some of it not at all. Two steps of kriging look at parts of fixed size, and would take as
long in the trial as in the fusion: they are reckoned from the fit, in proportions that
`python -m tests.benchmarks.dry_run` measures beside real runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from emrdiff_cli.core.methods.covariance import USUAL
from emrdiff_cli.core.sensor.grid import EDGE_SLACK, AxisPlacement
from emrdiff_cli.fusion.evidence import sampled_cores
from emrdiff_cli.fusion.observed_scene import observe_scene
from emrdiff_cli.fusion.options import FusionOptions, FusionSettings
from emrdiff_cli.fusion.prepared_scene import PreparedScene, Sampler, prepare_scene
from emrdiff_cli.fusion.run import FusionRun, make_plan, write_rows
from emrdiff_cli.fusion.tile_rows import sample_rows, tile_size, tiling_over
from emrdiff_cli.methods import AUTO, FAVOURITE, MethodChoice
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, PairReader
from emrdiff_cli.pair.registration import register
from emrdiff_cli.raster.reading import bounded_cache
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Window

Result = TypeVar("Result")

_SIDE = 40  # LR pixels of the part along each axis
# Seconds of one machine, of which proportions alone count. Of a fit: at all, for an LR pixel, for an HR pixel;
_KRIGED_ONCE, _KRIGED_LR, _KRIGED_HR = 0.95, 1.0e-4, 4e-6
# of the geometry: at all, for an LR pixel of a block and of the field, up to so many;
_GEOMETRY_ONCE = 0.06
_BLOCK_LR, _BLOCK_MOST, _FIELD_LR, _FIELD_MOST = 0.9e-4, 128**2, 0.35e-4, 40_000
# of the covariance: at all, by the ratio's square, in full from so many LR pixels on;
_COVARIANCE_ONCE, _COVARIANCE_HR, _COVARIANCE_MOST = 0.8, 0.092, 1300
# of the evidence of a part with so many LR pixels along its side: at all, by the ratio's square.
_EVIDENCE_ONCE, _EVIDENCE_HR, _EVIDENCE_SIDE = 4.0, 0.02, 44
_VERIFIED = 0.1  # of the time of writing, which verifying takes at least
_HALO = 12  # LR pixels of a part that do not count, on both sides together
_LESS = {"fast": 0.6}  # of the blocks left out


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds that a fusion would take, in all and by its steps; `trial_seconds` on a part were spent to tell.

    `without`: options that were asked for and whose work is not in it.
    """

    seconds: float
    steps: dict[str, float]
    trial_seconds: float
    trial_lr_pixels: tuple[int, int]
    without: tuple[str, ...] = ()


class _Size(NamedTuple):
    """LR and HR pixels of a pair."""

    lr: int
    hr: int

    @classmethod
    def of(cls, pair: PairReader) -> _Size:
        lr, hr = pair.alignment.lr_window, pair.alignment.hr_window
        return cls(lr.height * lr.width, hr.height * hr.width)


def estimate_time(
    pair: PairReader,
    area: Window,
    tiles: int,
    method: MethodChoice,
    make_sampler: Callable[[], Sampler] | None,
    options: FusionSettings,
) -> TimeEstimate:
    """Try a fusion on the middle of a pair and reckon what all of `area`, cut into so many `tiles`, would take.

    `make_sampler`: of a model, whose loading counts. The errors that `--uncertainty` and `--samples` tell of, and
    `--report`, are not in it, which it says. Raises EmrdiffError's children as `fuse` does, of the part alone.
    """
    began, steps = time.monotonic(), dict[str, float]()
    sampler = None if make_sampler is None else _timed(steps, "model", make_sampler)
    side = _SIDE
    if sampler is not None:
        side = max(side, math.ceil(tile_size(sampler.config, options)[0] / pair.alignment.ratio) + 1)
    part = _middle(pair, side)
    whole, tried = _Size.of(pair), _Size.of(part)
    end = sampler.config.end_point if sampler is not None else FAVOURITE if method == AUTO else method
    _timed(steps, "geometry", lambda: register(part, options.register, options.shift, options.psf_fwhm))
    observed = _timed(steps, "observing", lambda: observe_scene(part))
    scene = _timed(steps, "fitting", lambda: prepare_scene(part, end, sampler, observed, USUAL))
    rows, closing = _write(part, scene, end, options)
    if sampler is not None:
        steps["network"] = _tile_seconds(sampler, part, scene, options) * tiles
    speed = steps["fitting"] / _fit(tried)
    steps["geometry"] *= _located(whole.lr) / _located(tried.lr)
    steps["observing"] *= whole.hr / tried.hr
    steps["fitting"] *= _fit(whole) / _fit(tried) if end == FAVOURITE else whole.hr / tried.hr
    rows *= area.height * area.width / tried.hr
    steps["writing"] = rows + max(closing, _VERIFIED * rows)
    if sampler is None and end == FAVOURITE:
        ratio = pair.alignment.ratio
        asked = _COVARIANCE_ONCE + _COVARIANCE_HR * ratio**2
        steps["fitting"] += speed * asked * min(1.0, whole.lr / _COVARIANCE_MOST)
        if method == AUTO:
            steps["choosing the method"] = speed * _evidence(pair, options)
    lr = part.alignment.lr_window
    spent = time.monotonic() - began
    return TimeEstimate(
        seconds=round(sum(steps.values()), 1),
        steps={name: round(seconds, 2) for name, seconds in steps.items()},
        trial_seconds=round(spent, 1),
        trial_lr_pixels=(lr.height, lr.width),
        without=_untried(options),
    )


def _untried(options: FusionSettings) -> tuple[str, ...]:
    asked = {
        "--uncertainty": options.uncertainty is not None,
        "--samples": options.samples > 0,
        "--report": options.report is not None,
    }
    return tuple(flag for flag, given in asked.items() if given)


def _timed(steps: dict[str, float], name: str, work: Callable[[], Result]) -> Result:
    started = time.monotonic()
    result = work()
    steps[name] = time.monotonic() - started
    return result


def _located(pixels: int) -> float:
    """What the geometry takes: a block in the middle, then several spread over the scene."""
    return _GEOMETRY_ONCE + _BLOCK_LR * min(pixels, _BLOCK_MOST) + _FIELD_LR * min(pixels, _FIELD_MOST)


def _fit(size: _Size) -> float:
    """What a fit of kriging takes, its covariance known."""
    return _KRIGED_ONCE + _KRIGED_LR * size.lr + _KRIGED_HR * size.hr


def _evidence(pair: PairReader, options: FusionOptions) -> float:
    """What the evidence for a method takes, part by part."""
    lr = pair.alignment.lr_window
    each = _EVIDENCE_ONCE + _EVIDENCE_HR * pair.alignment.ratio**2
    parts = (
        (rows.stop - rows.start + _HALO) * (cols.stop - cols.start + _HALO)
        for rows, cols in sampled_cores((lr.height, lr.width), options.effort)
    )
    return float(each * _LESS.get(options.effort, 1.0) * sum(parts) / _EVIDENCE_SIDE**2)


def _write(
    part: PairReader, scene: PreparedScene, method: str, options: FusionOptions
) -> tuple[float, float]:
    """Expand the part to all bands and write it, in a folder that goes again; seconds of both, of verifying."""
    with TemporaryDirectory(prefix="emrdiff-trial-") as folder, bounded_cache(CACHE_MEGABYTES):
        output = Path(folder) / "trial.tif"
        asked = replace(options, bounds=None, driver=options.driver or "GTiff", max_memory=None)
        plan = make_plan(part, output, None, method, asked, new=False)
        run = FusionRun(plan, scene, PairGeometry(), None)
        began = time.monotonic()
        with VerifiedWriter(output, plan.spec, overwrite=True) as writer:
            write_rows(run, None, writer, None)
            written = time.monotonic()
        return written - began, time.monotonic() - written


def _tile_seconds(sampler: Sampler, part: PairReader, scene: PreparedScene, options: FusionOptions) -> float:
    """Seconds that the network takes for a tile, once it is warm."""
    area = part.alignment.hr_window
    tiling = tiling_over(Window(0, 0, area.height, area.width), part, sampler.config, options)
    row, taken = tiling.rows[0], list[float]()
    for _ in range(2):
        taken.clear()
        batch = options.batch_size or len(row.tiles)
        for _rows in sample_rows(
            sampler, scene, tiling, [row], batch, lambda n, seconds: taken.append(seconds)
        ):
            pass
    return sum(taken) / len(row.tiles)


def _middle(pair: PairReader, side: int) -> PairReader:
    """The pair on so many LR pixels of its middle along each axis; all of an axis up to half more of them."""
    place = pair.alignment
    lr, hr = place.lr_window, place.hr_window
    rows = _span(place.rows, lr.height, hr.height, side)
    cols = _span(place.cols, lr.width, hr.width, side)
    return pair.placed(
        replace(
            place,
            lr_window=Window(lr.row + rows.lr[0], lr.col + cols.lr[0], rows.lr[1], cols.lr[1]),
            hr_window=Window(hr.row + rows.hr[0], hr.col + cols.hr[0], rows.hr[1], cols.hr[1]),
            rows=rows.axis,
            cols=cols.axis,
        )
    )


class _Span(NamedTuple):
    """First pixel and length of a part of an axis at LR and at HR, and how one lies on the other."""

    lr: tuple[int, int]
    hr: tuple[int, int]
    axis: AxisPlacement


def _span(axis: AxisPlacement, n_lr: int, n_hr: int, side: int) -> _Span:
    if n_lr <= 1.5 * side:
        return _Span((0, n_lr), (0, n_hr), axis)
    first = (n_lr - side) // 2
    begin, end = (
        min(n_hr, max(0, math.ceil(axis.offset + axis.ratio * edge - 0.5 - EDGE_SLACK)))
        for edge in (first, first + side)
    )
    offset = axis.offset + axis.ratio * first - begin
    return _Span((first, side), (begin, end - begin), axis._replace(offset=offset))
