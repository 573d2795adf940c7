"""Errors of a fused cube, streamed over strips of rows: maps, a histogram, seams, single pixels.

A pixel counts only where all compared bands of both cubes are valid. Angles are in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.area_mean import AreaMean, cell_edges

ANGLE_STEP = 0.02
BRIGHTNESS = ("dark", "medium", "bright")
RANKS = {"best": 0.0, "median": 0.5, "worst": 1.0}

_MOST_CANDIDATES = 800  # along an axis, for the pixels that are picked

Cube = NDArray[np.floating[Any]]
_Floats = NDArray[np.float64]
_Mask = NDArray[np.bool_]


class Point(NamedTuple):
    """A pixel whose spectra are shown: which of its class of brightness it is, and its spectral angle."""

    row: int
    col: int
    brightness: str
    rank: str
    sam_deg: float


class Seams(NamedTuple):
    """Error steps across the edges of tiles and elsewhere: their means, in data units, and `ratio`, 1 for no seam.

    None: there is no such step, or none to divide by.
    """

    at_edges: float | None
    elsewhere: float | None
    ratio: float | None


@dataclass(frozen=True)
class Survey:
    """Result of a survey. Maps are (rows, columns), NaN where nothing is valid.

    `angles`: count of pixels by spectral angle, in steps of ANGLE_STEP. `row_steps[i]`: mean over the
    bands and the pixels of |error in row i + 1 - error in row i|, NaN without a valid pair; `col_steps`
    likewise.
    """

    rmse: NDArray[np.float32]
    sam: NDArray[np.float32]
    angles: NDArray[np.int64]
    row_steps: _Floats
    col_steps: _Floats
    row_pairs: _Floats
    col_pairs: _Floats
    points: tuple[Point, ...]

    def seams(self, rows: Collection[int], cols: Collection[int]) -> Seams:
        """Compare the steps into these rows and columns, where tiles begin or end, with all others."""
        here, there = [0.0, 0.0], [0.0, 0.0]
        for edges, steps, pairs in (
            (rows, self.row_steps, self.row_pairs),
            (cols, self.col_steps, self.col_pairs),
        ):
            at = np.isin(np.arange(1, len(steps) + 1), list(edges))
            for chosen, into in ((at, here), (~at, there)):
                into[0] += float(np.nansum(steps[chosen] * pairs[chosen]))
                into[1] += float(pairs[chosen].sum())
        at_edges, elsewhere = (total / count if count else None for total, count in (here, there))
        ratio = at_edges / elsewhere if at_edges is not None and elsewhere else None
        return Seams(at_edges, elsewhere, ratio)


class ErrorSurvey:
    """A survey of cubes of `height` x `width` pixels, handed in from top to bottom; maps of `shape` cells.

    Points are picked among the pixels of a grid of at most 800 by 800, all of them in a smaller scene.
    """

    def __init__(self, height: int, width: int, shape: tuple[int, int]) -> None:
        edges = cell_edges(0, height, shape[0]), cell_edges(0, width, shape[1])
        self._maps = AreaMean(2, *edges)
        self._angles = np.zeros(round(180 / ANGLE_STEP) + 1, np.int64)
        self._row_sums, self._row_pairs = np.zeros((2, max(0, height - 1)))
        self._col_sums, self._col_pairs = np.zeros((2, max(0, width - 1)))
        self._every = max(1, math.ceil(max(height, width) / _MOST_CANDIDATES))
        self._candidates: list[_Floats] = []
        self._last: tuple[Cube, _Mask] | None = None
        self._top = 0

    def update(self, fused: Cube, reference: Cube) -> None:
        """Add the next strip of the compared bands of each cube, (bands, rows, columns)."""
        valid: _Mask = np.full(fused.shape[1:], len(fused) > 0)
        for band in (*fused, *reference):
            valid &= np.isfinite(band)
        f, r = (np.where(valid, cube, 0).astype(np.float32) for cube in (fused, reference))
        error = f - r
        squares = np.where(valid, np.mean(np.square(error, dtype=np.float64), axis=0), np.nan)
        angles = np.where(valid, _angles(f, r), np.nan)
        self._maps.update(self._top, 0, np.stack([squares, angles]))
        seen = angles[np.isfinite(angles)]
        self._angles += np.bincount(np.rint(seen / ANGLE_STEP).astype(np.int64), minlength=len(self._angles))
        self._add_steps(error, valid)
        self._add_candidates(angles, np.mean(r, axis=0, dtype=np.float64))
        self._top += fused.shape[1]

    def _add_steps(self, error: Cube, valid: _Mask) -> None:
        """Steps between neighbours in this strip, and from the last row of the one before."""
        bands = max(1, len(error))
        both = valid[:, 1:] & valid[:, :-1]
        steps = np.where(both, np.abs(np.diff(error, axis=2)).sum(axis=0, dtype=np.float64) / bands, 0)
        self._col_sums += steps.sum(axis=0)
        self._col_pairs += both.sum(axis=0)
        first = self._top
        if self._last is not None:
            error = np.concatenate([self._last[0], error], axis=1)
            valid = np.concatenate([self._last[1], valid])
            first -= 1
        both = valid[1:] & valid[:-1]
        steps = np.where(both, np.abs(np.diff(error, axis=1)).sum(axis=0, dtype=np.float64) / bands, 0)
        self._row_sums[first : first + len(both)] += steps.sum(axis=1)
        self._row_pairs[first : first + len(both)] += both.sum(axis=1)
        self._last = error[:, -1:].copy(), valid[-1:].copy()

    def _add_candidates(self, angles: _Floats, brightness: _Floats) -> None:
        first = (self._every // 2 - self._top) % self._every
        rows, cols = np.meshgrid(
            np.arange(first, angles.shape[0], self._every),
            np.arange(self._every // 2, angles.shape[1], self._every),
            indexing="ij",
        )
        found = np.isfinite(angles[rows, cols])
        r, c = rows[found], cols[found]
        self._candidates.append(np.stack([self._top + r, c, angles[r, c], brightness[r, c]]))

    def result(self) -> Survey:
        """The survey of the strips so far."""
        squares, sam = self._maps.result()
        with np.errstate(invalid="ignore"):
            row_steps, col_steps = self._row_sums / self._row_pairs, self._col_sums / self._col_pairs
        return Survey(
            rmse=np.sqrt(squares),
            sam=sam,
            angles=self._angles.copy(),
            row_steps=row_steps,
            col_steps=col_steps,
            row_pairs=self._row_pairs.copy(),
            col_pairs=self._col_pairs.copy(),
            points=tuple(self._points()),
        )

    def _points(self) -> Iterator[Point]:
        """The best, the median and the worst by spectral angle in each third by brightness."""
        table = np.concatenate(self._candidates, axis=1) if self._candidates else np.zeros((4, 0))
        by_brightness = np.array_split(table[:, np.argsort(table[3], kind="stable")], len(BRIGHTNESS), axis=1)
        for name, members in zip(BRIGHTNESS, by_brightness, strict=True):
            ordered = members[:, np.argsort(members[2], kind="stable")]
            for rank, share in RANKS.items() if ordered.size else ():
                row, col, sam, _ = ordered[:, round(share * (ordered.shape[1] - 1))]
                yield Point(int(row), int(col), name, rank, float(sam))


def _angles(fused: Cube, reference: Cube) -> _Floats:
    """Spectral angles, (rows, columns); NaN where a spectrum is 0."""
    f, r = fused.astype(np.float64), reference.astype(np.float64)
    norms = np.sqrt(np.sum(f * f, axis=0) * np.sum(r * r, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.where(norms > 0, np.sum(f * r, axis=0) / norms, np.nan)
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1, 1))))
