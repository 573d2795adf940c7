"""Cost of a displacement or a wrong PSF, measured on a pair by Wald's protocol.

Both are degraded once more, the LR-HSI with the error, and fused by `glp-local` as if there were none; the
LR-HSI is the truth. What the error takes from the PSNR there is what to expect of it on the pair itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.scene_end_point import choose_basis, find_end_point
from emrdiff_cli.core.metrics.decibels import psnr_db
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps

Floats = NDArray[np.floating[Any]]
Point = tuple[float, float]

_LEAST_PIXELS = 64  # that must be left after the degradation
_COMPONENTS = 12  # spectral directions that are fused
_MARGIN = 1  # pixels, after the degradation, next to the edges that are not scored
_NO_ERROR = 1e-12  # mean squared error, as a share of the mean square, that counts as none


def rehearsal_ratio(scene: LrScene, ratio: Point) -> Point | None:
    """By how much to degrade a pair at LR: its ratio (rows, columns), or 2; None where neither leaves enough."""
    height, width = scene.valid.shape
    for down, right in (ratio, (2.0, 2.0)):
        kept = scene.valid.mean() * (height / down - 2 * _MARGIN) * (width / right - 2 * _MARGIN)
        if min(height / down, width / right) > 2 * _MARGIN and kept >= _LEAST_PIXELS:
            return down, right
    return None


def rehearse(scene: LrScene, ratio: Point, shift: Point = (0.0, 0.0), width: float = 1.0) -> float:
    """PSNR in dB (mean over bands, relative to their mean square) of the pair degraded and fused again.

    The simulated LR-HSI lies `shift` of its pixels (down, right) from where the fusion takes it to lie, and
    was seen through a PSF of `width` x the FWHM that the fusion takes for granted.
    """
    height, width_px = sides = scene.valid.shape
    counts = math.ceil(height / ratio[0]), math.ceil(width_px / ratio[1])
    # What the fusion takes for granted, and what is.
    assumed = Resampling.between(*_placed(ratio), counts, sides)
    actual = Psf.of_fwhm(ratio[0] * width, ratio[1] * width).down(*_placed(ratio, shift), counts, sides)

    def strips() -> Iterator[Strip]:
        yield Strip(0, scene.msi, scene.valid)

    seen = observe_msi(strips, assumed.down)
    lower = LrScene(apply_taps(scene.hsi, *actual), seen.msi_at_lr, seen.covered)
    basis = choose_basis(lower, min(_COMPONENTS, len(scene.hsi), int(lower.valid.sum()) - 1))
    end = find_end_point(lower, strips, assumed, "glp-local", basis)
    return _relative_psnr(end.bands(scene.msi, *assumed.up), scene.hsi, _scored(scene, ratio))


def _placed(ratio: Point, shift: Point = (0.0, 0.0)) -> tuple[AxisPlacement, AxisPlacement]:
    """Rows and columns of an LR grid `shift` of its pixels from the common corner."""
    return AxisPlacement(ratio[0], shift[0] * ratio[0]), AxisPlacement(ratio[1], shift[1] * ratio[1])


def _scored(scene: LrScene, ratio: Point) -> NDArray[np.bool_]:
    """Valid pixels away from the edges."""
    scored = np.zeros_like(scene.valid)
    rows, cols = (math.ceil(_MARGIN * by) for by in ratio)
    scored[rows : -rows or None, cols : -cols or None] = True
    return scored & scene.valid


def _relative_psnr(fused: Floats, truth: Floats, scored: NDArray[np.bool_]) -> float:
    error = np.square(fused[:, scored] - truth[:, scored], dtype=np.float64).mean(axis=1)
    power = np.square(truth[:, scored], dtype=np.float64).mean(axis=1)
    lit = power > 0
    return float(psnr_db(1.0, np.maximum(error[lit] / power[lit], _NO_ERROR)).mean()) if lit.any() else 0.0
