"""Evaluation of a fit at HR pixels on a device that torch knows: the arithmetic of NumPy's, in tensors.

Of a fit only what a tile reaches is moved there, so that nothing on the device grows with the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emrdiff_cli.core.device_memory import within_memory
from emrdiff_cli.core.methods.colour_kernel import ColourKernel, between_places
from emrdiff_cli.core.methods.colour_term import Cell, ColourTerm, cells
from emrdiff_cli.core.methods.detail_injection import DetailInjection, EndPointTile, Fitted
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR
from emrdiff_cli.core.sensor.resampling import Taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]
Move = Callable[[NDArray[Any]], torch.Tensor]
"""Brings an array to a device: floating point numbers in single precision."""

_PIXELS_AT_ONCE = 1 << 18  # HR pixels of a tile that are worked out together,
_FEWEST = 1 << 13  # and so many that a processor does it where they are too many


class OnDevice:
    """Evaluates on a device, in parts that its memory holds, and on the processor where it holds none.

    `pixels_at_once`: HR pixels of a part; fewer once the memory was too small.
    """

    columns_at_once = 512  # of few rows: more keep a device busy, but the matrices that degrade them grow

    def __init__(self, device: torch.device) -> None:
        self._device, self.pixels_at_once = device, _PIXELS_AT_ONCE

    @property
    def device(self) -> str:
        """Where the work is done, as `--device` names it."""
        return str(self._device)

    def tile(self, fitted: Fitted, msi: Floats, rows: Taps, cols: Taps) -> EndPointTile:
        """The end point of a tile; see `Fitted`. Without local detail it is less work than to move it."""
        if not isinstance(fitted, DetailInjection) or (fitted.local_slopes is None and fitted.colour is None):
            return ON_PROCESSOR.tile(fitted, msi, rows, cols)

        def work(part: slice) -> list[torch.Tensor]:
            return _Part(self._move, fitted, msi[:, :, part], rows, cols.part(part.start, part.stop)).tile()

        parts = self._by_columns(work, msi.shape[1:])
        if parts is None:
            return ON_PROCESSOR.tile(fitted, msi, rows, cols)
        return EndPointTile(*(np.concatenate(of_all, axis=2) for of_all in zip(*parts, strict=True)))

    def detail(
        self, fitted: DetailInjection, msi: Floats, rows: Taps, cols: Taps
    ) -> tuple[Field, Field | None]:
        """The local slopes' detail (k, H, W) of a tile and the colour's prediction, None without one."""

        def work(part: slice) -> list[torch.Tensor]:
            tile = _Part(self._move, fitted, msi[:, :, part], rows, cols.part(part.start, part.stop))
            return [tile.by_slopes(), *([] if fitted.colour is None else [tile.by_colour(fitted.colour)])]

        parts = self._by_columns(work, msi.shape[1:])
        if parts is None:
            return ON_PROCESSOR.detail(fitted, msi, rows, cols)
        by_slopes, *by_colour = (np.concatenate(of_all, axis=2) for of_all in zip(*parts, strict=True))
        return by_slopes, by_colour[0] if by_colour else None

    def features_seen(
        self, kernel: ColourKernel, msi: Floats, around: Floats, by_row: Field, by_column: Field
    ) -> Field:
        """As `colour_kernel.features_seen`."""

        def work(part: slice) -> list[torch.Tensor]:
            move = self._move
            features = _features(move, kernel, move(msi[:, :, part]), move(around[:, :, part]))
            return [move(by_row) @ (features @ move(by_column[:, part]).T)]

        parts = self._by_columns(work, msi.shape[1:])
        if parts is None:
            return ON_PROCESSOR.features_seen(kernel, msi, around, by_row, by_column)
        return np.asarray(sum(seen for (seen,) in parts))

    def _by_columns(
        self, work: Callable[[slice], list[torch.Tensor]], shape: tuple[int, ...]
    ) -> list[list[Field]] | None:
        """The work on parts of a tile (H, W), from the left; None where the memory does not hold one.

        A part that it does not hold is halved, and so are those after it.
        """
        height, width = shape
        done: list[list[Field]] = []
        first = 0
        while first < width:
            part = slice(first, min(first + max(1, self.pixels_at_once // height), width))
            what = f"{height} x {part.stop - part.start} pixels"
            try:
                done.append(within_memory(partial(_fetched, work, part), self._device, what))
            except MemoryError:
                if self.pixels_at_once <= _FEWEST:
                    return None
                self.pixels_at_once //= 2
            else:
                first = part.stop
        return done

    def _move(self, values: NDArray[Any]) -> torch.Tensor:
        kind = np.float32 if np.issubdtype(values.dtype, np.floating) else values.dtype
        return torch.tensor(np.asarray(values, kind), device=self._device)


class _Part:
    """A part of a tile on a device, its MSI (m, H, W) and LR -> HR."""

    def __init__(self, move: Move, fitted: DetailInjection, msi: Floats, rows: Taps, cols: Taps) -> None:
        self._move, self._fitted, self._rows, self._cols = move, fitted, rows, cols
        self._msi = move(msi)
        self._lost = self._msi - self._up(fitted.msi)

    def tile(self) -> list[torch.Tensor]:
        """The members of `EndPointTile`, as `DetailInjection.tile` has them."""
        fitted, lost, local = self._fitted, self._lost, self.by_slopes()
        if fitted.colour is not None:
            local += self.by_colour(fitted.colour) - self._up(fitted.colour.at_lr)
        if fitted.gate is not None:
            taken = (2 * self._up(fitted.gate) - 1).clamp(0, 1)
            lost, local = lost * taken, local * taken
        injected = torch.tensordot(self._move(fitted.slopes), lost, dims=1) + local
        return [self._up(fitted.base) + injected, injected, local, lost]

    def by_slopes(self) -> torch.Tensor:
        """The local slopes' share (k, H, W) of the MSI's detail."""
        slopes = self._fitted.local_slopes
        if slopes is None:
            return self._lost.new_zeros((len(self._fitted.base), *self._lost.shape[1:]))
        return torch.stack([self._up(slopes[:, band]) * lost for band, lost in enumerate(self._lost)]).sum(0)

    def by_colour(self, colour: ColourTerm) -> torch.Tensor:
        """The prediction (k, H, W) from the pixels' colours, row of cells after row of cells."""
        places = between_places(self._rows), between_places(self._cols)
        features = _features(
            self._move, colour.kernel, self._msi, _resampled(self._move, colour.neighbourhood, *places)
        )
        nodes = colour.weights.shape[:2]
        across, down = list(cells(self._rows, nodes[0])), _Columns(self._move, self._cols, nodes[1])
        return torch.cat([down.predicted(features[:, cell.part], colour.weights, cell) for cell in across], 1)

    def _up(self, image: Field) -> torch.Tensor:
        return _resampled(self._move, image, self._rows, self._cols)


class _Columns:
    """Cells side by side, all as wide as the widest: the HR columns in each, and their shares of both nodes."""

    def __init__(self, move: Move, cols: Taps, nodes: int) -> None:
        found = list(cells(cols, nodes))
        widths = [cell.part.stop - cell.part.start for cell in found]
        offset = np.concatenate([np.arange(width) for width in widths])
        cell = np.repeat(np.arange(len(found)), widths)
        columns = np.zeros((len(found), max(widths)), np.intp)
        columns[cell, offset] = np.arange(len(cell))
        shares = np.zeros((*columns.shape, 2), np.float32)
        shares[cell, offset] = np.concatenate([np.stack(part.shares, axis=1) for part in found])
        pairs = np.array([part.nodes for part in found])
        self._first, self._stop = int(pairs.min()), int(pairs.max()) + 1
        self._pairs, self._columns, self._cell, self._offset, self._shares = map(
            move, (pairs - self._first, columns, cell, offset, shares)
        )
        self._move = move

    def predicted(self, features: torch.Tensor, weights: Field, across: Cell) -> torch.Tensor:
        """The prediction (k, h, W) of a row of cells from its features (n, h, W) and the scene's weights."""
        at_nodes = torch.stack([self._move(weights[row, self._first : self._stop]) for row in across.nodes])
        # (cells, n, both rows' and both columns' nodes times k)
        at_corners = at_nodes[:, self._pairs].permute(1, 3, 0, 2, 4)
        count, n, *corners = at_corners.shape
        height, width = features.shape[1], self._columns.shape[1]
        in_cells = features[:, :, self._columns].permute(2, 1, 3, 0).reshape(count, height * width, n)
        found = (in_cells @ at_corners.reshape(count, n, -1)).reshape(count, height, width, *corners)
        by_row = torch.stack([self._move(share) for share in across.shares], dim=1)
        mixed = torch.einsum("chwadk,ha,cwd->chwk", found, by_row, self._shares)
        return mixed[self._cell, :, self._offset].permute(2, 1, 0)


def _resampled(move: Move, image: Floats, rows: Taps, cols: Taps) -> torch.Tensor:
    """As `apply_taps`; tap after tap, of which there are few from LR to HR."""
    (top, bottom), (left, right) = rows.reach(), cols.reach()
    result = move(image[..., top:bottom, left:right])
    for axis, first, taps in ((-1, left, cols), (-2, top, rows)):
        indices, weights = move(taps.indices.T - first), move(taps.weights.T)
        if axis == -2:
            weights = weights[..., None]
        taken = zip(indices, weights, strict=True)
        result = sum(
            (result.index_select(axis, index) * weight for index, weight in taken), result.new_zeros(())
        )
    return result


def _features(move: Move, kernel: ColourKernel, msi: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
    """The features (n, H, W) of pixels (m, H, W), as the kernel's own."""
    pixels = msi.reshape(len(msi), -1)
    axes, landmarks = move(kernel.axes), move(kernel.landmarks)
    roots = (torch.cat([pixels, around.reshape(len(msi), -1)]) - kernel.lowest).clamp_min(0).sqrt()
    place = axes[:, :-1] @ roots + axes[:, -1:]
    if kernel.neighbourhood_share == 1:
        near = _gaussian(landmarks, place)
    else:
        own, of_around = map(_gaussian, landmarks.tensor_split(2, dim=1), place.tensor_split(2))
        near = own * (of_around * kernel.neighbourhood_share + (1 - kernel.neighbourhood_share))
    brightness = (pixels - kernel.lowest).clamp_min(0).mean(dim=0) / kernel.brightness + kernel.dark_level
    return (near * brightness**kernel.brightness_power).reshape(-1, *msi.shape[1:])


def _gaussian(landmarks: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """The RBF (n, N) of landmarks (n, 2 m) and places (2 m, N)."""
    squares = landmarks.square().sum(dim=1)[:, None] + place.square().sum(dim=0)
    return torch.addmm(squares, landmarks, place, beta=-0.5).clamp_max_(0).exp_()


def _fetched(work: Callable[[slice], list[torch.Tensor]], part: slice) -> list[Field]:
    with torch.inference_mode():
        return [found.cpu().numpy() for found in work(part)]
