"""Back-projection of injected detail: the degraded image is held to the LR-HSI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import let_go, let_go_of
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.end_point import SceneToFit, back_projected
from emrdiff_cli.core.sensor.degradation import DegradedImage
from emrdiff_cli.core.sensor.holes import fill_holes
from emrdiff_cli.core.sensor.observation import Strip
from emrdiff_cli.core.sensor.resampling import apply_taps, chain
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_ROWS_AT_ONCE = 32  # of the MSI, whose detail is held in all channels
_SEEN = 0.01  # share of an LR pixel's PSF on unchanged pixels below which it sees nothing


def consistent(fitted: DetailInjection, scene: SceneToFit, share: Floats | None = None) -> DetailInjection:
    """The injection back-projected, its colour's prediction at LR with it.

    `share` (k,): of what is left of each channel at LR, how much is returned; None: all of it.
    """
    resampling, large = scene.resampling, scene.large
    local, colour = _degraded_detail(fitted, scene)
    if fitted.colour is not None:
        there_and_back = [chain(up, down) for up, down in zip(resampling.up, resampling.down, strict=True)]
        for total, of_colour in zip(local, colour, strict=True):
            total += of_colour - apply_taps(of_colour, *there_and_back)
            let_go(local, colour)
        fitted = replace(fitted, colour=replace(fitted.colour, at_lr=large.kept(colour)))
        del colour
    return back_projected(fitted, local, resampling.up, resampling.down, scene.lr.valid, share, large)


def _cut(strips: Iterator[Strip], most: int) -> Iterator[Strip]:
    """The strips in parts of no more rows than these."""
    for top, values, valid in strips:
        for start in range(0, len(valid), most):
            rows = slice(start, start + most)
            yield Strip(top + start, values[:, rows], valid[rows])


def _degraded_detail(fitted: DetailInjection, scene: SceneToFit) -> tuple[Floats, Field]:
    """The local slopes' detail and the colour's prediction, degraded: (k, h, w) each."""
    resampling = scene.resampling
    local, colour = (DegradedImage(len(fitted.base), resampling.down, large=scene.large) for _ in range(2))
    for top, values, valid in _cut(scene.unchanged_strips(), _ROWS_AT_ONCE):
        up = resampling.up_part(Window(top, 0, values.shape[1], values.shape[2]))
        by_slopes, by_colour = scene.evaluator.detail(fitted, values, *up)
        local.add(top, by_slopes, valid)
        if by_colour is not None:
            colour.add(top, by_colour, valid)
        let_go_of(fitted)
    if scene.lr.changed is None:
        return local.total, colour.total
    # Where the MSI shows other ground, upsampling would carry its colour into what lies around.
    return local.total, fill_holes(colour.mean(_SEEN), colour.share[0] > _SEEN)
