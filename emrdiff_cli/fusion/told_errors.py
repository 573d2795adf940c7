"""What is known of the errors of a scene fused by kriging: variances, and the scale that the pair gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.geometry_error import GeometryErrors
from emrdiff_cli.core.evidence.interval_scale import find_interval_scale
from emrdiff_cli.core.evidence.scene_part import PartPlan, ScenePart, middle, not_masked
from emrdiff_cli.core.evidence.uncertainty import BandVariances, IntervalScale, edge_magnitude, msi_spread
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.fusion.prepared_scene import PreparedScene
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import Window

Field = NDArray[np.float32]

_ROWS = 32  # expanded to all bands at a time
_EXCERPT = 24  # LR pixels along a side on which MSI bands are held out
_HELD_OUT = 4  # MSI bands at most


@dataclass(frozen=True)
class Told:
    """What a scene's uncertainty is worked out from; `spread` (m,) of the MSI's bands.

    `geometry`: what the standard errors of the pair's geometry do, and `misplaced` (B, h, w), the variance that
    they make at LR; None where they are not known.
    """

    scene: PreparedScene
    variances: BandVariances
    scale: IntervalScale
    spread: Field
    geometry: GeometryErrors | None = None
    misplaced: Field | None = None

    @classmethod
    def of(cls, scene: PreparedScene, geometry: PairGeometry) -> Told:
        """Work it out, with a pass over the MSI and evidence from a part of it."""
        pair, lr = scene.pair, lr_scene(scene)
        variances = BandVariances.of_scene(
            lr, pair.strips, scene.resampling, scene.end.basis, scene.covariance
        )
        place = pair.alignment
        ratio = place.rows.ratio, place.cols.ratio
        errors = _geometry_errors(pair, lr, geometry)
        scale = find_interval_scale(
            lr,
            _excerpt(scene, lr),
            pair.psf,
            ratio,
            variances.posterior.field,
            _HELD_OUT,
            scene.covariance,
            errors,
        )
        misplaced = None if errors is None else errors.squares()
        return cls(scene, variances, scale, msi_spread(lr), errors, misplaced)

    def lost(self, window: Window) -> Field:
        """The share (n, W) of the detail that is not taken there, for the ground changed."""
        fitted, up = self.scene.end.fitted, self.scene.resampling.up_part(window)
        taken = fitted.taken(*up) if isinstance(fitted, DetailInjection) else None
        return np.zeros((window.height, window.width), np.float32) if taken is None else 1 - taken[0]

    def _with_misplaced(self, deviation: Field, misplaced: Field, top: int) -> Field:
        """Deviations (B, n, W) of rows from `top` on, the geometry's beside them."""
        window = Window(top, 0, *deviation.shape[1:])
        besides = apply_taps(misplaced, *self.scene.resampling.up_part(window))
        return np.asarray(np.sqrt(np.square(deviation) + np.maximum(besides, 0)), np.float32)

    def rows(self, area: Window) -> Iterator[Field]:
        """The area's rows, some at a time, in all bands (B, n, width)."""
        scene = self.scene
        for window in self.variances.posterior.windows():
            first, last = max(window.row, area.row), min(window.rows.stop, area.rows.stop)
            if last <= first:
                continue
            around, msi_valid = scene.pair.read_msi_around(window)
            channels = self.variances.posterior.variances(around[:, 1:-1, 1:-1], window)
            magnitude, lost = edge_magnitude(around, self.spread), self.lost(window)
            rows, cols = scene.pair.nearest_lr
            valid = msi_valid[1:-1, 1:-1] & scene.lr_valid[rows[window.rows]][:, cols]
            for top in range(first, last, _ROWS):
                part = slice(top - window.row, min(top + _ROWS, last) - window.row)
                fused = self.variances.deviation(channels[:, part], self.scale, magnitude[part], lost[part])
                if self.misplaced is not None:
                    fused = self._with_misplaced(fused, self.misplaced, window.row + part.start)
                lr_rows = rows[window.row + part.start : window.row + part.stop]
                scene.missing.mask(fused, lr_rows, cols)
                every = np.full((scene.band_count, *fused.shape[1:]), np.nan, np.float32)
                every[scene.fused] = fused
                every[:, ~valid[part]] = np.nan
                yield every[:, :, area.cols]


def lr_scene(scene: PreparedScene) -> LrScene:
    """The scene at LR as it was fitted, but for a constant in each band."""
    end, ground = scene.end, scene.ground
    if not isinstance(end.fitted, DetailInjection):
        raise TypeError(f"{end.method} has no scene-wide map")
    coefficients = end.unexplained + np.tensordot(end.fitted.slopes, end.msi, axes=1)
    hsi = end.basis.expand(coefficients)
    if end.outside is not None:
        hsi = hsi + end.outside
    changed = ground.changed if ground.changed.any() else None
    return LrScene(hsi, end.msi, ground.compared & ~ground.changed, changed)


def _geometry_errors(pair: PairReader, lr: LrScene, geometry: PairGeometry) -> GeometryErrors | None:
    axes = pair.psf.resolved(pair.alignment.rows, pair.alignment.cols).axes
    ratio = pair.alignment.rows.ratio, pair.alignment.cols.ratio
    rows, cols = (axis.fwhm_px / by for axis, by in zip(axes or (), ratio, strict=True))
    return GeometryErrors.of(lr.hsi, geometry.move_errors, (rows, cols), geometry.fwhm_errors)


def _excerpt(scene: PreparedScene, lr: LrScene) -> ScenePart:
    """The middle of the scene, or a part that is less masked, with its MSI."""
    height, width = lr.valid.shape
    core, *_ = not_masked([(middle(height, _EXCERPT), middle(width, _EXCERPT))], lr.valid, _EXCERPT)
    plan = PartPlan.of(replace(lr, hsi=lr.hsi[:1]), scene.resampling, core)
    return plan.seen(*scene.pair.read_msi(plan.hr))
