"""A pair seen at LR: the MSI degraded to the HSI's grid strip by strip, with its mask and its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import WALD_PSF, DegradedImage, Psf
from emrdiff_cli.core.sensor.edges import sobel_magnitude
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_holes
from emrdiff_cli.core.sensor.resampling import Taps, cubic_upsampler
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_SEEN = 0.01  # share of an LR pixel's PSF on valid pixels below which it sees nothing


class Strip(NamedTuple):
    """Rows `top`.. of the MSI without holes, `values` (m, n, W), and where they are `valid` (n, W)."""

    top: int
    values: Field
    valid: NDArray[np.bool_]


Strips = Callable[[], Iterator[Strip]]


@dataclass(frozen=True)
class Resampling:
    """The maps between a scene's grids: LR -> HR (`up`) and HR -> LR (`down`), rows and columns."""

    up: tuple[Taps, Taps]
    down: tuple[Taps, Taps]

    @classmethod
    def between(
        cls,
        rows: AxisPlacement,
        cols: AxisPlacement,
        lr: tuple[int, int],
        hr: tuple[int, int],
        psf: Psf = WALD_PSF,
    ) -> Resampling:
        """The maps between an LR grid placed on an HR grid, sizes (rows, columns): up cubic, down by a PSF."""
        return cls(
            up=(cubic_upsampler(rows, lr[0], hr[0]), cubic_upsampler(cols, lr[1], hr[1])),
            down=psf.down(rows, cols, lr, hr),
        )

    @property
    def nearest_lr(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The LR row that each HR row lies on, and the LR column of each HR column."""
        rows, cols = (np.clip(np.rint(up.centres()), 0, up.n_in - 1).astype(np.intp) for up in self.up)
        return rows, cols

    @property
    def white_share(self) -> float:
        """The share of white HR texture's variance that an LR pixel sees: the sum of its squared weights."""
        middles = (taps.part(taps.n_out // 2, taps.n_out // 2 + 1).matrix(0, taps.n_in) for taps in self.down)
        rows, cols = (float(np.square(middle).sum()) for middle in middles)
        return rows * cols

    def up_part(self, window: Window) -> tuple[Taps, Taps]:
        """LR -> HR for a window of the HR grid."""
        rows, cols = self.up
        return rows.part(window.row, window.row + window.height), cols.part(
            window.col, window.col + window.width
        )


@dataclass(frozen=True)
class LrScene:
    """A pair at LR: `hsi` (B, h, w) without holes, `msi` = Z down (m, h, w), and where both are `valid`.

    `changed` (h, w): where the two do not show the same, which is not valid; None: nowhere.
    """

    hsi: Field
    msi: Field
    valid: NDArray[np.bool_]
    changed: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Observation:
    """One streaming pass over the MSI: Z down (m, h, w), the LR pixels wholly on valid MSI, min and max of M."""

    msi_at_lr: Field
    covered: NDArray[np.bool_]
    edge_range: tuple[float, float]


def observe_msi(strips: Strips, down: tuple[Taps, Taps]) -> Observation:
    """Degrade the MSI and its mask to the LR grid and find the extremes of its edge magnitude, in one pass."""
    edges = _EdgeRange()
    msi: DegradedImage | None = None
    for strip in strips():
        msi = msi or DegradedImage(len(strip.values), down)
        msi.add(strip.top, strip.values, strip.valid)
        edges.update(strip)
    if msi is None:
        raise ValueError("the MSI has no rows")
    return Observation(*seen_by(msi), edges.finish())


def seen_by(msi: DegradedImage) -> tuple[Field, NDArray[np.bool_]]:
    """Z down (m, h, w) without holes, and the LR pixels wholly on valid MSI, of one mask for all bands.

    LR pixels that see holes are made of what they see besides, or of the nearest that see anything.
    """
    return fill_holes(msi.mean(_SEEN), msi.share[0] > _SEEN), msi.whole()


class _EdgeRange:
    """Extremes of the edge magnitude over strips that follow each other; the scene's edges replicated.

    A pixel counts where it and its eight neighbours are valid: what holes were filled with has no edges.
    """

    def __init__(self) -> None:
        self._carried: tuple[Field, NDArray[np.bool_]] | None = None
        self._low, self._high = np.inf, -np.inf

    def update(self, strip: Strip) -> None:
        p = np.pad(strip.values.mean(axis=0), ((0, 0), (1, 1)), mode="edge")
        valid = np.pad(strip.valid, ((0, 0), (1, 1)), mode="edge")
        above = (p[:1], valid[:1]) if self._carried is None else self._carried
        self._note(np.concatenate([above[0], p]), np.concatenate([above[1], valid]))

    def finish(self) -> tuple[float, float]:
        """The extremes; (0, 0) without a pixel that counts."""
        if self._carried is not None:
            p, valid = self._carried
            self._note(np.concatenate([p, p[-1:]]), np.concatenate([valid, valid[-1:]]))
        return (self._low, self._high) if self._high >= self._low else (0.0, 0.0)

    def _note(self, p: Field, valid: NDArray[np.bool_]) -> None:
        self._carried = p[-2:], valid[-2:]
        counted = sobel_magnitude(p[None])[_surrounded(valid)]
        if counted.size:
            self._low = min(self._low, float(counted.min()))
            self._high = max(self._high, float(counted.max()))


def _surrounded(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H + 2, W + 2) -> (H, W): where a pixel and its eight neighbours are all True."""
    rows = valid[:-2] & valid[1:-1] & valid[2:]
    return np.asarray(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:])
