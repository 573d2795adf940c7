"""A fusion under way: begun or resumed, everything decided, then row after row into the writer and the journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.verdict import Verdict
from emrdiff_cli.core.large_arrays import LargeArrays
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.fusion.evaluator_choice import choose_evaluator
from emrdiff_cli.fusion.evidence import verdict_on
from emrdiff_cli.fusion.journal import Begun, Journal, Key
from emrdiff_cli.fusion.memory import choose_batch_size, estimate_memory, refuse_full_disk, scratch_bytes
from emrdiff_cli.fusion.observed_scene import ObservedScene, observe_scene
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.output import (
    ExpandedBands,
    expanded_bands,
    output_area,
    output_spec,
    plain_rows,
    rows_inside,
)
from emrdiff_cli.fusion.prepared_scene import PreparedScene, Sampler, prepare_scene
from emrdiff_cli.fusion.run_key import run_key
from emrdiff_cli.fusion.tile_rows import Blending, RowSampling, Tiling, tiling_over
from emrdiff_cli.methods import AUTO, FAVOURITE, MethodChoice
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, PairReader
from emrdiff_cli.pair.registration import register
from emrdiff_cli.pair.spectral_coverage import ResponseChoice
from emrdiff_cli.raster.reading import bounded_cache
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Window
from emrdiff_cli.runtime.interruption import at_once, safe_point
from emrdiff_cli.runtime.pipeline import WriteBehind
from emrdiff_cli.runtime.scratch_file import ScratchArrays
from emrdiff_cli.runtime.threads import thread_count
from emrdiff_cli.tiles.edges import edges_of

Field = NDArray[np.float32]


class Progress(Protocol):
    """Takes what is done, of how much, and what is done now where that is no row."""

    def __call__(self, done: float, total: float, note: str = "", /) -> None:
        """Show it."""


_NOTHING = "there was nothing to resume: the run was started anew"


@dataclass(frozen=True)
class Plan:
    """Decisions made before any pixel of the scene is worked on."""

    spec: RasterSpec
    area: Window
    tiling: Tiling | None
    batch_size: int
    physical: bool


@dataclass(frozen=True)
class FusionRun:
    """A plan with its scene; `journal` is None without a sampler. `kept`: tile rows that are done already.

    `verdict`: what the pair says of the methods, where they were left to it.
    """

    plan: Plan
    scene: PreparedScene
    geometry: PairGeometry
    journal: Journal | None
    kept: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None


@dataclass
class Tally:
    """Counters of a run; of its `fused_values` those that came out `impossible`, and those `left` so."""

    valid_pixels: int = 0
    fused_values: int = 0
    impossible: int = 0
    left: int = 0
    network_seconds: float = 0.0

    def count(self, group: ExpandedBands) -> None:
        """Add the counts of some bands of the output, but for its valid pixels."""
        self.fused_values += group.fused
        self.impossible += group.impossible
        self.left += group.left


def make_plan(
    pair: PairReader,
    output: Path,
    sampler: Sampler | None,
    method: str,
    options: FusionOptions,
    new: bool,
    evaluator: Evaluator = ON_PROCESSOR,
) -> Plan:
    """Decide; raises UsageError and WriteError where the memory or the disk does not hold it."""
    area = output_area(pair, options)
    tiling = None if sampler is None else tiling_over(area, pair, sampler.config, options)
    spec = output_spec(pair, output, method, options)
    if tiling is not None:
        spec = replace(spec, tags={**spec.tags, **edges_of(tiling.tiles, area).tags()})
    config = None if sampler is None else sampler.config
    estimate = estimate_memory(pair, spec, method, config, tiling, options, evaluator)
    batch_size = choose_batch_size(
        estimate, options.batch_size, options.max_memory, thread_count(options.num_threads)
    )
    kept_bytes = 0
    if tiling is not None and sampler is not None and new:
        kept_bytes = 4 * len(tiling.rows) * math.prod(tiling.row_shape(sampler.config.hsi_channels))
    refuse_full_disk(output, spec, kept_bytes + scratch_bytes(pair, method, config))
    return Plan(spec, area, tiling, batch_size, options.physical)


def begin(
    pair: PairReader,
    output: Path,
    method: MethodChoice,
    sampler: Sampler | None,
    choice: ResponseChoice,
    options: FusionOptions,
    known: PairGeometry | None = None,
    progress: Progress | None = None,
) -> FusionRun:
    """Begin a run, or go on with the unfinished one of this output. Raises EmrdiffError's children.

    Without a sampler the method `auto` is the one that the pair's own evidence names, and kriging where the options
    ask for what it alone tells.
    `known`: the pair's geometry; None: as the options ask, or as the unfinished run has it.
    A run with a sampler keeps a journal; one without is quick, and is not resumed.
    """
    evaluator = choose_evaluator(options.device, method, pair, with_model=sampler is not None)
    journal = Journal(output)
    key = {} if sampler is None else run_key(pair, output, sampler, choice, options)
    large = ScratchArrays(output.absolute().parent)
    begun = _find_begun(journal, key, options, large)
    geometry = _settle_geometry(pair, begun, known, options, progress)
    pair, options = geometry.applied(pair), _with_decided(options, begun, geometry)
    settled = _settle_method(pair, method, sampler, options, large, progress)
    named = settled.method if sampler is None else "emrdiff"
    plan = make_plan(pair, output, sampler, named, options, begun is None, evaluator)
    scene = _settle_scene(pair, begun, settled, sampler, large, evaluator, progress)
    plan = replace(plan, spec=replace(plan.spec, tags={**plan.spec.tags, **scene.tags}))
    anew = (_NOTHING,) if options.resume and begun is None else ()
    run = FusionRun(plan, scene, geometry, None, notes=anew, verdict=settled.verdict)
    if sampler is None or plan.tiling is None:
        return run
    if begun is None:
        journal.begin(key, {"batch_size": plan.batch_size, "geometry": geometry.record()}, scene.arrays())
        return replace(run, journal=journal)
    kept = _kept(journal, plan.tiling, sampler)
    note = f"resumed: {len(kept)} of {len(plan.tiling.rows)} tile rows were done"
    return replace(run, journal=journal, kept=kept, notes=(note,))


@dataclass(frozen=True)
class _SettledMethod:
    """The method that is run, and what it was chosen by where that was left to the pair."""

    method: MethodChoice
    observed: ObservedScene | None = None
    verdict: Verdict | None = None


def _settle_geometry(
    pair: PairReader,
    begun: Begun | None,
    known: PairGeometry | None,
    options: FusionOptions,
    progress: Progress | None,
) -> PairGeometry:
    """The geometry of the run that was begun, the one that is `known`, or what the options ask for."""
    if begun is not None:
        return PairGeometry.from_record(begun.decided["geometry"])
    _say(progress, pair, "looking for the geometry")
    with at_once():
        return known or register(pair, options.register, options.shift, options.psf_fwhm)


def _with_decided(options: FusionOptions, begun: Begun | None, geometry: PairGeometry) -> FusionOptions:
    """The options with the batch size of the run that was begun, and the geometry among what is recorded."""
    if begun is not None:
        options = replace(options, batch_size=options.batch_size or int(begun.decided["batch_size"]))
    return replace(options, provenance=options.provenance | geometry.tags)


def _settle_method(
    pair: PairReader,
    method: MethodChoice,
    sampler: Sampler | None,
    options: FusionOptions,
    large: LargeArrays,
    progress: Progress | None,
) -> _SettledMethod:
    """The method asked for, or without a sampler the one that the pair's evidence names."""
    if sampler is not None or method != AUTO:
        return _SettledMethod(method)
    with at_once():
        observed = observe_scene(pair, large)
        verdict = verdict_on(observed, options.effort, lambda note: _say(progress, pair, note))
    if options.tells_errors:
        verdict = replace(verdict, method=FAVOURITE, posterior=True)
    return _SettledMethod(verdict.method, observed, verdict)


def _settle_scene(
    pair: PairReader,
    begun: Begun | None,
    settled: _SettledMethod,
    sampler: Sampler | None,
    large: LargeArrays,
    evaluator: Evaluator,
    progress: Progress | None,
) -> PreparedScene:
    """The scene of the run that was begun, or the method fitted."""
    scene = None if begun is None else _kept_scene(pair, begun)
    if scene is not None:
        return replace(scene, evaluator=evaluator)
    _say(progress, pair, "fitting the scene")
    with at_once():
        return prepare_scene(
            pair, settled.method, sampler, settled.observed, large=large, evaluator=evaluator
        )


def _say(progress: Progress | None, pair: PairReader, what: str) -> None:
    """Tell what is done before the first row."""
    if progress is not None:
        progress(0, pair.alignment.hr_window.height, what)


def write_rows(
    run: FusionRun, sampling: RowSampling | None, writer: VerifiedWriter, progress: Progress | None
) -> Tally:
    """Compute the rows and write them, in order.

    Reading, the sampler, the expansion to all bands and writing run beside each other.
    """
    tally = Tally()
    height = run.plan.area.height
    with run.scene.pair.reopened_msi() as own:
        scene = run.scene.with_pair(run.scene.pair.with_msi(own))

        def store(rows: NDArray[Any]) -> None:
            with bounded_cache(CACHE_MEGABYTES):
                writer.append_stored(rows)

        def expand(item: tuple[int, Field]) -> None:
            with bounded_cache(CACHE_MEGABYTES):
                stored.put(_stored_rows(run, scene, writer, tally, *item))

        def report(share: float) -> None:
            if progress is not None:
                progress(height * share, height)

        with (
            WriteBehind(store, depth=1) as stored,
            closing(_rows(run, sampling, tally, report)) as rows,
            WriteBehind(expand) as behind,
        ):
            for item in scene.blocks.cut(rows, run.plan.area):
                safe_point()
                behind.put(item)
        report(1.0)
    if not tally.valid_pixels:
        raise InputError(
            "no pixel of the output is valid: no valid pixel of the LR-HSI lies on one of the HR-MSI; look at both "
            "with `emrdiff check`"
        )
    return tally


def _stored_rows(
    run: FusionRun, scene: PreparedScene, writer: VerifiedWriter, tally: Tally, top: int, correction: Field
) -> NDArray[Any]:
    """The area's share of a block of rows in all bands, as it is stored: values in all bands at once are many."""
    plan = run.plan
    inside = rows_inside(plan.area, top, correction.shape[1])
    valid = np.zeros((inside.stop - inside.start, plan.area.width), np.bool_)
    held = np.empty((scene.band_count, *valid.shape), plan.spec.dtype)
    for group in expanded_bands(scene, plan.area, top, correction, physical=plan.physical):
        for number, band in zip(group.bands, group.values, strict=True):
            valid |= np.isfinite(band)
            writer.convert(band, held[number])
        tally.count(group)
    tally.valid_pixels += int(valid.sum())
    return held


def _rows(
    run: FusionRun, sampling: RowSampling | None, tally: Tally, report: Callable[[float], None]
) -> Generator[tuple[int, Field]]:
    """Corrections (k, n, width) of the scene's rows with the number of the first, from the top down."""
    area, tiling, journal = run.plan.area, run.plan.tiling, run.journal
    if sampling is None or tiling is None or journal is None:
        for top, rows in plain_rows(run.scene, area):
            yield top, rows
            report(max(0, min(top + rows.shape[1], area.rows.stop) - area.row) / area.height)
        return
    channels, done, every = run.scene.end.channels, 0, len(tiling.tiles)

    def watch(tiles: int, seconds: float = 0.0) -> None:
        nonlocal done
        done += tiles
        tally.network_seconds += seconds
        if done < every:
            report(done / every)

    missing = [row for row in tiling.rows if row.number not in run.kept]
    blending = Blending(tiling, channels, run.scene.height, run.scene.width)
    # Closed at once whatever happens: a traceback would keep it, and what works for it, alive.
    with closing(sampling(run.scene, tiling, missing, run.plan.batch_size, watch)) as sampled:
        for row in tiling.rows:
            values = journal.row(row.number, tiling.row_shape(channels)) if row.number in run.kept else None
            if values is not None:
                watch(len(row.tiles))
            elif row.number in run.kept:
                # It was whole a moment ago.
                (values,) = sampling(run.scene, tiling, [row], run.plan.batch_size, watch)
            else:
                values = next(sampled)
                journal.keep(row.number, values)
            yield blending.add(values)
            del values


def _find_begun(journal: Journal, key: Key, options: FusionOptions, large: LargeArrays) -> Begun | None:
    if not (options.resume and journal.begun):
        journal.refuse_or_clear(options.overwrite)
        return None
    if not key:
        raise UsageError(
            f"{journal.folder}: the unfinished run cannot be resumed with another --method: repeat it as it was, "
            "or leave --resume away and give --overwrite to start anew"
        )
    return journal.resume(key, large)


def _kept_scene(pair: PairReader, begun: Begun) -> PreparedScene | None:
    """The scene of the journal; None where its arrays are of another layout: then it is prepared again."""
    try:
        return PreparedScene.from_arrays(pair, begun.scene)
    except KeyError:
        return None


def _kept(journal: Journal, tiling: Tiling, sampler: Sampler) -> frozenset[int]:
    shape = tiling.row_shape(sampler.config.hsi_channels)
    return frozenset(row.number for row in tiling.rows if journal.row(row.number, shape) is not None)
