"""Use case: an evaluation and the pair it is of -> the scores of kriging beside it.

Kriging needs no training: what a model, or another program, gains is what it is better than that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from emrdiff_cli.core.metrics.cube import KEYS, Scores
from emrdiff_cli.errors import EmrdiffError
from emrdiff_cli.evaluation.full_reference import Evaluation, evaluate
from emrdiff_cli.evaluation.pair_view import masks_there
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.output import METHOD_TAG
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.pair import recorded_mask, recorded_nodata
from emrdiff_cli.raster.reading import read_info

_METHOD = "kriging"

_Report = Callable[[float, float, str], None]


def with_kriging(
    result: Evaluation,
    lr_hsi: Path,
    hr_msi: Path,
    *,
    metrics: Collection[str] = KEYS,
    report: _Report = lambda done, total, note: None,
) -> Evaluation:
    """The evaluation with the scores of the pair's kriging, by the same peak, ratio and border.

    The pair is taken in the geometry that the fused raster records, else in the one that it tells itself. Where
    kriging cannot be scored, or says nothing, a note has the reason.
    """
    tags = read_info(result.fused).tags
    if tags.get(METHOD_TAG) == _METHOD:
        return _noted(result, "is what made the fused raster: it is not scored once more")
    if result.align_px not in (None, (0.0, 0.0)):
        return _noted(result, "is not scored beside a raster that was moved (--align)")
    try:
        with TemporaryDirectory(prefix="emrdiff-kriging-") as folder:
            kriged = Path(folder) / "kriged.tif"
            mask = masks_there(recorded_mask(tags), lr_hsi, hr_msi)
            geometry = PairGeometry.from_tags(tags)
            fuse(
                *(lr_hsi, hr_msi, kriged, _METHOD, None),
                FusionOptions(src_nodata=recorded_nodata(tags), mask=mask),
                geometry=geometry if geometry.known else None,
                progress=lambda done, of, note="": report(done, of, note),
            )
            found = evaluate(
                kriged,
                result.reference,
                peak=result.scores.peak,
                ratio=result.scores.ratio,
                metrics=metrics,
                border=result.border_px,
                mask=result.mask,
            )
    except EmrdiffError as error:
        return _noted(result, f"is not scored: {error}")
    notes = [f"{_METHOD} {told}" for told in _other_ground(result.scores, found.scores)]
    return replace(result, kriging=found.scores, notes=(*result.notes, *notes))


def _noted(result: Evaluation, told: str) -> Evaluation:
    return replace(result, notes=(*result.notes, f"{_METHOD} {told}"))


def _other_ground(fused: Scores, kriged: Scores) -> Iterator[str]:
    """What of the ground and the bands is not that of the fused raster."""
    if kriged.bands != fused.bands:
        yield f"is scored on {len(kriged.bands)} bands, the fused raster on {len(fused.bands)}"
    if kriged.valid_pixels != fused.valid_pixels:
        yield f"is scored on {kriged.valid_pixels} pixels, the fused raster on {fused.valid_pixels}"
