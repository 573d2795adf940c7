"""Kriging's prediction from HR pixels' colours: features of colour, with weights that are linear between nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.colour_kernel import ColourKernel, centre_of, neighbourhood_of
from emrdiff_cli.core.methods.kriging_block import BLOCK
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

NODE_SPACING = 4  # LR pixels between nodes
_PIXELS_AT_ONCE = 1024  # whose features are held together


def kriged_by_colour(
    kernel: ColourKernel, weights: Floats, neighbourhood: Field, hr_msi: Floats, rows: Taps, cols: Taps
) -> Field:
    """The prediction (k, H, W) from the colours of a tile's MSI (m, H, W), the weights linear between nodes.

    `rows` and `cols` are the tile's LR -> HR, `neighbourhood` the scene's.
    """
    around = neighbourhood_of(neighbourhood, rows, cols)
    result = np.empty((weights.shape[3], *hr_msi.shape[1:]), np.float32)
    across_cols = list(cells(cols, weights.shape[1]))
    for across in cells(rows, weights.shape[0]):
        # Column after column, so that a cell's pixels follow each other.
        msi, near = (np.swapaxes(part[:, across.part], 1, 2) for part in (hr_msi, around))
        height = msi.shape[2]
        for group in _side_by_side(across_cols, height):
            part = slice(group[0].part.start, group[-1].part.stop)
            features = kernel(msi[:, part], near[:, part]).reshape(len(kernel.landmarks), -1).T
            for down in group:
                at_corners = [weights[row, col] for row in across.nodes for col in down.nodes]
                first, stop = ((edge - part.start) * height for edge in (down.part.start, down.part.stop))
                found = features[first:stop] @ np.concatenate(at_corners, axis=1)
                found = found.reshape(-1, height, 4, weights.shape[3])
                shares = np.stack([a * d[:, None] for a in across.shares for d in down.shares], axis=2)
                result[:, across.part, down.part] = np.einsum("whck,whc->khw", found, shares)
    return result


def _side_by_side(cells: Sequence[Cell], height: int) -> Iterator[list[Cell]]:
    """The cells of a row of this height in groups whose features fit into a processor's cache."""
    group: list[Cell] = []
    for cell in cells:
        if group and (cell.part.stop - group[0].part.start) * height > _PIXELS_AT_ONCE:
            yield group
            group = []
        group.append(cell)
    yield group


@dataclass(frozen=True)
class ColourTerm:
    """The kriged prediction from colour of a scene.

    `weights` (rows, columns, n, k) of the kernel's features at nodes; `neighbourhood` (m, 2 h, 2 w), the MSI's;
    `at_lr` (k, h, w) the prediction, degraded.
    """

    kernel: ColourKernel
    weights: Field
    neighbourhood: Field
    at_lr: Field

    def predict(self, msi: Floats, rows: Taps, cols: Taps) -> Field:
        """The prediction (k, H, W) for a tile's MSI (m, H, W); `rows` and `cols` are its LR -> HR."""
        return kriged_by_colour(self.kernel, self.weights, self.neighbourhood, msi, rows, cols)

    def detail(self, msi: Floats, rows: Taps, cols: Taps) -> Floats:
        """The part of the prediction that is lost at LR."""
        return np.asarray(self.predict(msi, rows, cols) - apply_taps(self.at_lr, rows, cols))


class Cell(NamedTuple):
    """Pixels along an axis between the same two nodes, and the shares of both nodes in each."""

    part: slice
    nodes: tuple[int, int]
    shares: tuple[Field, Field]


def cells(taps: Taps, count: int) -> Iterator[Cell]:
    """The cells along an axis of so many nodes, from its LR -> HR."""
    place = np.clip((centre_of(taps) - node_place(0)) / NODE_SPACING, 0, count - 1)
    first = np.minimum(place.astype(np.intp), max(0, count - 2))
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(first)], strict=True):
        node = int(first[start])
        share = (place[start:stop] - node).astype(np.float32)
        yield Cell(slice(start, stop), (node, min(node + 1, count - 1)), (1 - share, share))


def nodes_in(top: int, left: int, nodes: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The nodes in the block of LR pixels at (top, left)."""
    rows, cols = (
        range(first // NODE_SPACING, min((first + BLOCK) // NODE_SPACING, count))
        for first, count in zip((top, left), nodes, strict=True)
    )
    yield from product(rows, cols)


def node_place(number: int) -> float:
    """The place of a node along an axis, in LR pixels."""
    return number * NODE_SPACING + (NODE_SPACING - 1) / 2
