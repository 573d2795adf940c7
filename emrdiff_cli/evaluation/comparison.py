"""The rasters of an evaluation, open on their common ground, and a second pass over them: where it errs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import ErrorSurvey, Seams, Survey
from emrdiff_cli.evaluation.common_ground import Part, Upsampled, pair, upsample
from emrdiff_cli.evaluation.full_reference import Evaluation
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster_info import Window
from emrdiff_cli.report import panels
from emrdiff_cli.tiles.edges import TileEdges

_STRIP_VALUES = 4 * 2**20

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Compared:
    """The open rasters of an evaluation on their common ground; `kept` are positions among the compared bands."""

    result: Evaluation
    fused: Part
    reference: Part
    upsampled: Upsampled | None
    msi: RasterReader | None
    kept: tuple[int, ...]

    @property
    def bad(self) -> frozenset[int]:
        """Bands (0-based, the reference's) that a raster calls bad, or that were left out."""
        bad = set(self.reference.reader.info.bands.bad)
        theirs = set(self.fused.reader.info.bands.bad)
        pairs = zip(self.reference.bands, self.fused.bands, strict=True)
        bad |= {own for own, other in pairs if other in theirs}
        return frozenset(bad | {band - 1 for band in self.result.scores.left_out_bands})

    def survey(self, report: Progress, size: int = panels.MAP_SIZE) -> Survey:
        """One pass over both rasters; maps of at most `size` cells along the longer side."""
        area = self.reference.area
        grid = self.reference.reader.info.grid.crop(area)
        survey = ErrorSurvey(area.height, area.width, panels.shape_of(grid, size))
        step = max(1, _STRIP_VALUES // (max(1, len(self.kept)) * area.width))
        for top in range(0, area.height, step):
            report(top, area.height, "rows")
            strip = Window(top, 0, min(step, area.height - top), area.width)
            survey.update(*(self._read(source, strip) for source in (self.fused, self.reference)))
        report(area.height, area.height, "rows")
        return survey.result()

    def _read(self, source: Part, strip: Window) -> NDArray[np.float32]:
        if not self.kept:
            return np.full((1, strip.height, strip.width), np.nan, np.float32)
        return source.read(strip, self.kept)


@dataclass(frozen=True)
class Errors:
    """Result of a second pass over an evaluation's rasters, on `fused_area` of the fused one."""

    survey: Survey
    fused_area: Window

    def seams(self, edges: TileEdges) -> Seams:
        """Compare the steps of the error across edges of the fused raster's tiles with those elsewhere."""
        inside = edges.within(self.fused_area)
        return self.survey.seams(inside.rows, inside.cols)


def survey_errors(result: Evaluation, report: Progress = lambda done, total, note: None) -> Errors:
    """Go over both rasters of an evaluation once more, in strips. Raises InputError."""
    with ExitStack() as stack:
        compared = open_compared(result, None, stack)
        return Errors(compared.survey(report), compared.fused.area)


def open_compared(result: Evaluation, msi: Path | None, stack: ExitStack) -> Compared:
    """Open an evaluation's rasters as they were compared, and the MSI. Raises InputError."""

    def opened(path: Path, mask: AskedMask = ()) -> RasterReader:
        return stack.enter_context(open_raster(path, mask=mask))

    baseline = [] if result.baseline_path is None else [result.baseline_path]
    paths = [result.fused, result.reference, *baseline]
    compared = [opened(*raster) for raster in zip(paths, choose_masks(result.mask, paths), strict=True)]
    fused, reference, _ = pair(compared[0], compared[1], result.border_px, result.align_px)
    upsampled = None
    if result.baseline_path is not None:
        upsampled, _ = upsample(compared[2], reference)
    scored = set(result.scores.bands)
    kept = tuple(i for i, band in enumerate(reference.bands) if band + 1 in scored)
    return Compared(result, fused, reference, upsampled, None if msi is None else opened(msi), kept)
