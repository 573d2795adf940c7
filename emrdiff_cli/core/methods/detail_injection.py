"""The injection of the MSI's detail into the LR-HSI upsampled, evaluated tile by tile; and what any fit offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.colour_term import ColourTerm
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class LocalWindow:
    """The local regression's Gaussian window (sigma in LR pixels) and ridge (share of the MSI's variance)."""

    sigma: float
    ridge: float


@dataclass(frozen=True)
class EndPointTile:
    """A tile's end point, the detail in it and the part of that which is not the scene's map's; (k, H, W) each.

    `msi_detail` (m, H, W) is what the MSI lost at LR; `refinement` what an archive's detail filter adds, None
    without one.
    """

    values: Field
    detail: Field
    local_detail: Field
    msi_detail: Floats
    refinement: Field | None = None

    @property
    def refined(self) -> Field:
        """The end point with its refinement."""
        return self.values if self.refinement is None else self.values + self.refinement


class Fitted(Protocol):
    """A method fitted to a scene: a frozen dataclass of what a tile is computed from, at LR resolution.

    Its members are arrays, numbers, None or such dataclasses (emrdiff_cli.arrays): a journal keeps it, and the
    workers of a cluster are sent it.
    """

    @property
    def window(self) -> LocalWindow | None:
        """The window of a local regression that was chosen; None where there is none."""
        return None

    def tile(self, msi: Floats, rows: Taps, cols: Taps) -> EndPointTile:
        """The end point of the tile that `rows` and `cols` (LR -> HR, the tile's part) cover; msi is (m, H, W)."""
        ...


@dataclass(frozen=True)
class DetailInjection(Fitted):
    """The LR-HSI upsampled, plus the MSI's detail through slopes and, kriged, the colour's prediction.

    `base` (k, h, w) is upsampled as it is; `slopes` (k, m) and `local_slopes` (k, m, h, w) map the detail that
    the MSI lost at LR, Z - (Z down) up, with `msi` (m, h, w) = Z down. `gate` (1, h, w): the share of the detail
    that is taken, 0 where the MSI shows other ground; None: all of it.
    """

    base: Field
    msi: Field
    slopes: Field
    local_slopes: Field | None = None
    colour: ColourTerm | None = None
    window: LocalWindow | None = None
    gate: Field | None = None

    def tile(self, msi: Floats, rows: Taps, cols: Taps) -> EndPointTile:
        """The end point of a tile; see `Fitted`."""
        detail = msi - apply_taps(self.msi, rows, cols)
        local = local_detail(self, detail, rows, cols)
        if self.colour is not None:
            local += self.colour.detail(msi, rows, cols)
        taken = self.taken(rows, cols)
        if taken is not None:
            detail = detail * taken
            local *= taken
        values = np.asarray(apply_taps(self.base, rows, cols), np.float32)
        if self.injects_nothing:
            return EndPointTile(values, local, local, detail)
        injected = np.asarray(np.tensordot(self.slopes, detail, axes=1), np.float32)
        injected += local
        values += injected
        return EndPointTile(values, injected, local, detail)

    @property
    def injects_nothing(self) -> bool:
        """Whether the detail is 0 whatever the MSI."""
        return self.local_slopes is None and self.colour is None and not self.slopes.any()

    def taken(self, rows: Taps, cols: Taps) -> Field | None:
        """The share (1, H, W) of the detail that a tile takes; None: all of it.

        Nothing on the ground of gated pixels, all from the middle of their neighbours on.
        """
        if self.gate is None:
            return None
        return np.clip(2 * apply_taps(self.gate, rows, cols) - 1, 0, 1).astype(np.float32)


def local_detail(fitted: DetailInjection, detail: Floats, rows: Taps, cols: Taps) -> Field:
    """The local slopes' share of the MSI's detail (m, H, W): (k, H, W), zero without slopes."""
    result = np.zeros((len(fitted.base), *detail.shape[1:]), np.float32)
    if fitted.local_slopes is not None:
        for band, lost in enumerate(detail):
            share = apply_taps(fitted.local_slopes[:, band], rows, cols)
            share *= lost
            result += share
    return result
