"""A linear filter over all bands that brings an end point's detail closer to the truth, fitted on an archive.

An MSI's detail is put into every band as sharp, and as well registered, as the MSI is; a sensor's bands are not,
each in its own way. What that leaves is, to a good part, linear in the detail of all bands around a pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_RIDGE = 1e-2  # of each input's own power,
_OWN_RIDGE = 1e-4  # or this where it is the channel's own: blur and shift are of each channel
_STRIDE = 3  # every third row and column of a scene is looked at


@dataclass(frozen=True)
class DetailSample:
    """A scene's `detail` as injected and what it leaves, `residual`, (k, H, W) both; `judged` (H, W)."""

    detail: Floats
    residual: Floats
    judged: NDArray[np.bool_]


def fit_detail_filter(samples: Iterable[DetailSample], side: int) -> Field:
    """(k, k, side, side): ridge regression of each channel's residual on the detail of all channels around it.

    Every scene weighs by the inverse of its residual's power in the channel, so that quiet ones count too.
    """
    products: Floats | None = None
    right: Floats | None = None
    for sample in samples:
        parts = [part[:, ::_STRIDE, ::_STRIDE] for part in _shifts(sample.detail, side)]
        judged = sample.judged[::_STRIDE, ::_STRIDE]
        x = np.concatenate(parts)[:, judged].astype(np.float64)
        y = sample.residual[:, ::_STRIDE, ::_STRIDE][:, judged].astype(np.float64)
        weights = 1 / np.maximum(np.square(y).sum(axis=1), 1e-30)
        own = weights[:, None, None] * (x @ x.T)
        cross = weights[:, None] * (y @ x.T)
        products = own if products is None else products + own
        right = cross if right is None else right + cross
    if products is None or right is None:
        raise ValueError("no scene to fit a detail filter on")
    k = len(right)
    own = np.tile(np.eye(k, dtype=bool), side * side)
    ridges = np.where(own, _OWN_RIDGE, _RIDGE)
    taps = np.stack(list(map(_solve, products, right, ridges)))
    return np.asarray(
        taps.reshape(k, side * side, k).transpose(0, 2, 1).reshape(k, k, side, side), np.float32
    )


def apply_detail_filter(taps: Field, detail: Floats) -> Field:
    """The filter's (k, k, n, n) answer to a detail (k, H, W), its edges replicated: (k, H, W)."""
    side = taps.shape[-1]
    result = np.zeros(detail.shape, np.float32)
    for tap, part in enumerate(_shifts(detail, side)):
        weights = taps[:, :, tap // side, tap % side]
        result += (weights @ part.reshape(len(detail), -1)).reshape(result.shape)
    return result


def _shifts(detail: Floats, side: int) -> Iterator[Floats]:
    """The detail (k, H, W) as each tap sees it, row by row of taps, its edges replicated."""
    reach, (height, width) = side // 2, detail.shape[1:]
    padded = np.pad(detail, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    for row in range(side):
        for col in range(side):
            yield padded[:, row : row + height, col : col + width]


def _solve(products: Floats, right: Floats, ridges: Floats) -> Floats:
    scale = np.sqrt(np.maximum(np.diag(products), 1e-30))
    normal = products / np.outer(scale, scale) + np.diag(ridges)
    return np.asarray(np.linalg.solve(normal, right / scale) / scale)
