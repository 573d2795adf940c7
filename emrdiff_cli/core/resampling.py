"""Separable linear resampling between two grids, for any ratio and offset.

One axis is a set of taps; an image is resampled by the taps of its rows and of its columns. Training,
simulation, end points and inference all resample through this module, so they agree to the last bit.
GDAL's cubic (a = -0.5) is the cubic here; torch's (a = -0.75) is another function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.grid import AxisPlacement

Edge = Literal["replicate", "reflect", "circular"]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Taps:
    """One axis of a linear map: out[i] = sum over k of weights[i, k] * in[indices[i, k]].

    `indices` and `weights` are (n_out, taps); `inside` is each output's share of weight that lay on
    the input before the edge rule folded the rest back.
    """

    n_in: int
    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    inside: NDArray[np.float64]

    @property
    def n_out(self) -> int:
        """Length of the output axis."""
        return len(self.indices)

    def part(self, start: int, stop: int) -> Taps:
        """The outputs start..stop-1 alone; beyond the ends, the end's again."""
        kept = np.clip(np.arange(start, stop), 0, self.n_out - 1)
        return Taps(self.n_in, self.indices[kept], self.weights[kept], self.inside[kept])

    def centres(self) -> NDArray[np.float64]:
        """Where each output lies (n_out,), in inputs; a little inwards where taps are folded back at the ends."""
        return np.asarray((self.indices * self.weights).sum(axis=1))

    def reach(self) -> tuple[int, int]:
        """First and one past the last input that any output uses."""
        return int(self.indices.min()), int(self.indices.max()) + 1

    def matrix(self, start: int, stop: int) -> NDArray[np.float64]:
        """The map as a dense (n_out, stop - start) matrix on the inputs start..stop-1, others dropped."""
        dense = np.zeros((self.n_out, stop - start))
        keep = (self.indices >= start) & (self.indices < stop)
        outputs = np.broadcast_to(np.arange(self.n_out)[:, None], self.indices.shape)
        np.add.at(dense, (outputs[keep], self.indices[keep] - start), self.weights[keep])
        return dense


def apply_taps(image: Floats, rows: Taps, cols: Taps) -> Floats:
    """Resample the last two axes of `image` (..., rows.n_in, cols.n_in) in its own precision.

    Returns (..., rows.n_out, cols.n_out). Only the inputs that the taps reach are touched, so a part of a
    scene costs what the part is worth.
    """
    (top, bottom), (left, right) = rows.reach(), cols.reach()
    row_matrix = rows.matrix(top, bottom).astype(image.dtype)
    col_matrix = cols.matrix(left, right).astype(image.dtype)
    reached = image[..., top:bottom, left:right]
    return np.asarray(row_matrix @ (reached @ col_matrix.T))


def cubic_upsampler(placement: AxisPlacement, n_lr: int, n_hr: int) -> Taps:
    """Cubic convolution (Keys 1981, a = -0.5, GDAL's) from n_lr LR pixels to n_hr HR pixels, edges replicated."""
    centres = (np.arange(n_hr) + 0.5 - placement.offset) / placement.ratio - 0.5
    return _taps(centres, _cubic, 2.0, n_lr, "replicate")


def gaussian_downsampler(placement: AxisPlacement, n_lr: int, n_hr: int, sigma: float) -> Taps:
    """Gaussian PSF of `sigma` HR pixels to +-3 sigma, sampled at the centre of each LR pixel, edges reflected."""
    centres = placement.offset + placement.ratio * (np.arange(n_lr) + 0.5) - 0.5
    return _taps(centres, lambda d: np.exp(-0.5 * (d / sigma) ** 2), 3 * sigma, n_hr, "reflect")


def antialiased_cubic_downsampler(placement: AxisPlacement, n_lr: int, n_hr: int) -> Taps:
    """Cubic kernel stretched by the ratio (MATLAB's imresize with antialiasing), edges reflected."""
    centres = placement.offset + placement.ratio * (np.arange(n_lr) + 0.5) - 0.5
    ratio = placement.ratio
    return _taps(centres, lambda d: _cubic(d / ratio), 2 * ratio, n_hr, "reflect")


def fixed_kernel(kernel: NDArray[np.float64], firsts: NDArray[np.int64], n_in: int, edge: Edge) -> Taps:
    """The same kernel at each output: out[i] = sum over k of kernel[k] * in[firsts[i] + k]."""
    indices = firsts[:, None] + np.arange(len(kernel))
    return _fold(indices, np.broadcast_to(kernel, indices.shape), n_in, edge)


def chain(first: Taps, second: Taps) -> Taps:
    """The map that applies `first`, then `second`."""
    indices = first.indices[second.indices].reshape(second.n_out, -1)
    weights = (second.weights[:, :, None] * first.weights[second.indices]).reshape(second.n_out, -1)
    return Taps(first.n_in, indices, weights, second.inside)


def _taps(
    centres: Floats,
    kernel: Callable[[Floats], Floats],
    support: float,
    n_in: int,
    edge: Edge,
) -> Taps:
    """Sample `kernel` (zero beyond +-support) around each centre (in input pixel indices)."""
    first = np.ceil(centres - support - 1e-9).astype(np.int64)
    indices = first[:, None] + np.arange(int(np.floor(2 * support + 1e-9)) + 1)
    distances = indices - centres[:, None]
    weights = np.where(np.abs(distances) <= support + 1e-9, kernel(distances), 0.0)
    return _fold(indices, weights, n_in, edge)


def _fold(indices: NDArray[np.int64], weights: NDArray[np.float64], n_in: int, edge: Edge) -> Taps:
    """Normalise the weights and bring indices beyond the edges back by the edge rule."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    within = (indices >= 0) & (indices < n_in)
    inside = np.where(within, weights, 0.0).sum(axis=1)
    if edge == "replicate":
        folded = np.clip(indices, 0, n_in - 1)
    elif edge == "circular":
        folded = indices % n_in
    else:
        folded = indices % (2 * n_in)
        folded = np.where(folded >= n_in, 2 * n_in - 1 - folded, folded)
    return Taps(n_in, folded, weights, inside)


def _cubic(distance: Floats) -> Floats:
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
