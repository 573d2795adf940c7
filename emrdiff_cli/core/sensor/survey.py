"""Faulty bands: dead, constant or saturated ones, found strip by strip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_PILED = 1e-3  # share of a band's valid values at its maximum from which they are taken to be cut off there
_STEEP = 5  # times as many as have the next lower value


@dataclass(frozen=True)
class BandStates:
    """Numbers of bands, from 1: without any valid value, of one value alone, and cut off at their maximum.

    `saturated_share` is the share of all valid values that are cut off.
    """

    dead: tuple[int, ...]
    constant: tuple[int, ...]
    saturated: tuple[int, ...]
    saturated_share: float


class BandSurvey:
    """Counts over strips (C, n, W), NaN where invalid; the split does not matter."""

    def __init__(self, bands: int) -> None:
        self._valid = np.zeros(bands, np.int64)
        # The two greatest values of each band, the greatest first, and how often they occur.
        self._top = np.full((2, bands), -np.inf)
        self._count = np.zeros((2, bands), np.int64)

    def update(self, values: Floats) -> None:
        """Add a strip."""
        for band, plane in enumerate(values):
            finite = plane[np.isfinite(plane)]
            self._valid[band] += finite.size
            for _ in range(2):
                if not finite.size:
                    break
                top = finite.max()
                self._note(band, float(top), int((finite == top).sum()))
                finite = finite[finite < top]

    def _note(self, band: int, value: float, count: int) -> None:
        tops = dict(zip(self._top[:, band].tolist(), self._count[:, band].tolist(), strict=False))
        tops[value] = tops.get(value, 0) + count
        best = sorted(tops.items(), reverse=True)[:2]
        self._top[:, band] = [*(value for value, _ in best), -np.inf][:2]
        self._count[:, band] = [*(count for _, count in best), 0][:2]

    def result(self) -> BandStates:
        """Findings of the strips so far."""
        dead = self._valid == 0
        constant = ~dead & (self._count[0] == self._valid)
        piled = self._count[0] >= np.maximum(_PILED * self._valid, _STEEP * np.maximum(self._count[1], 1))
        saturated = ~dead & ~constant & piled
        share = self._count[0][saturated].sum() / max(1, int(self._valid.sum()))
        return BandStates(_numbers(dead), _numbers(constant), _numbers(saturated), float(share))


def _numbers(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(band) + 1 for band in np.flatnonzero(chosen))
