"""Separable linear resampling between two grids, for any ratio and offset.

One axis is a set of taps; an image is resampled by the taps of its rows and of its columns. Training,
simulation, end points and inference all resample through this module, so they agree to the last bit.
GDAL's cubic (a = -0.5) is the cubic here; torch's (a = -0.75) is another function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import AxisPlacement

Edge = Literal["replicate", "reflect", "circular"]
Floats = NDArray[np.floating[Any]]

CUBIC_REACH = 2  # inputs that the cubic kernel reaches from its centre

_BAND = 32  # outputs, at most, that one dense matrix makes of neighbouring inputs,
_BAND_INPUTS = 128  # no more than that, but where a single output has as many


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

    @cached_property
    def _built(self) -> dict[tuple[int, int, np.dtype[Any]], list[_Band]]:
        return {}

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

    def reached(self, start: int, stop: int) -> tuple[int, int]:
        """First and one past the last output to work out from the inputs start..stop-1 alone."""
        outputs = np.flatnonzero(((self.indices >= start) & (self.indices < stop)).any(axis=1))
        return (int(outputs[0]), int(outputs[-1]) + 1) if outputs.size else (0, 0)

    def from_input(self, first: int, stop: int) -> Taps:
        """The same outputs of the inputs first..stop-1 alone, which have to be all that they use."""
        return replace(self, n_in=stop - first, indices=self.indices - first)

    def matrix(self, start: int, stop: int) -> NDArray[np.float64]:
        """The map as a dense (n_out, stop - start) matrix on the inputs start..stop-1, others dropped."""
        dense = np.zeros((self.n_out, stop - start))
        keep = (self.indices >= start) & (self.indices < stop)
        outputs = np.broadcast_to(np.arange(self.n_out)[:, None], self.indices.shape)
        np.add.at(dense, (outputs[keep], self.indices[keep] - start), self.weights[keep])
        return dense

    def along_cols(self, image: Floats, first: int) -> Floats:
        """Map the last axis of `image` (..., n), the inputs from `first` on; others count as 0."""
        lines = image.reshape(-1, image.shape[-1])
        mapped = np.empty((len(lines), self.n_out), image.dtype)
        for band in self._bands(first, first + image.shape[-1], image.dtype):
            np.matmul(lines[:, band.inputs], band.weights.T, out=mapped[:, band.outputs])
        return mapped.reshape(*image.shape[:-1], self.n_out)

    def along_rows(self, image: Floats, first: int) -> Floats:
        """Map the last axis but one of `image` (..., n, width), as `along_cols`."""
        mapped = np.empty((*image.shape[:-2], self.n_out, image.shape[-1]), image.dtype)
        for band in self._bands(first, first + image.shape[-2], image.dtype):
            np.matmul(band.weights, image[..., band.inputs, :], out=mapped[..., band.outputs, :])
        return mapped

    def _bands(self, start: int, stop: int, dtype: np.dtype[Any]) -> list[_Band]:
        """The map on the inputs start..stop-1 as dense matrices of neighbouring outputs; each is built once."""
        key = start, stop, dtype
        if key not in self._built:
            self._built[key] = list(self._cut(*key))
        return self._built[key]

    def _cut(self, start: int, stop: int, dtype: np.dtype[Any]) -> Iterator[_Band]:
        keep = (self.indices >= start) & (self.indices < stop)
        lowest = np.where(keep, self.indices, stop).min(axis=1) - start
        highest = np.where(keep, self.indices, start - 1).max(axis=1) + 1 - start
        top = 0
        while top < self.n_out:
            low = np.minimum.accumulate(lowest[top : top + _BAND])
            high = np.maximum.accumulate(highest[top : top + _BAND])
            most = max(_BAND_INPUTS, 2 * self.indices.shape[1])
            count = max(1, int(np.searchsorted(high - low, most, "right")))
            begin = min(int(low[count - 1]), stop - start)  # outputs that use none of them have none
            end = max(begin, int(high[count - 1]))
            part = self.part(top, top + count)
            weights = part.matrix(start + begin, start + end).astype(dtype)
            yield _Band(slice(top, top + count), slice(begin, end), weights)
            top += count


class _Band(NamedTuple):
    """Neighbouring outputs of an axis: `weights` (outputs, inputs) on neighbouring inputs."""

    outputs: slice
    inputs: slice
    weights: Floats


def apply_taps(image: Floats, rows: Taps, cols: Taps) -> Floats:
    """Resample the last two axes of `image` (..., rows.n_in, cols.n_in) in its own precision.

    Returns (..., rows.n_out, cols.n_out). Only the inputs that the taps reach are touched, so a part of a
    scene costs what the part is worth.
    """
    (top, bottom), (left, right) = rows.reach(), cols.reach()
    return rows.along_rows(cols.along_cols(image[..., top:bottom, left:right], left), top)


def cubic_upsampler(placement: AxisPlacement, n_lr: int, n_hr: int) -> Taps:
    """Cubic convolution (Keys 1981, a = -0.5, GDAL's) from n_lr LR pixels to n_hr HR pixels, edges replicated."""
    centres = (np.arange(n_hr) + 0.5 - placement.offset) / placement.ratio - 0.5
    return _taps(centres, _cubic, CUBIC_REACH, n_lr, "replicate")


def gaussian_downsampler(placement: AxisPlacement, n_lr: int, n_hr: int, sigma: float) -> Taps:
    """Gaussian PSF of `sigma` HR pixels to +-3 sigma, sampled at the centre of each LR pixel, edges reflected."""
    return symmetric_downsampler(placement, n_lr, n_hr, lambda d: np.exp(-0.5 * (d / sigma) ** 2), 3 * sigma)


def symmetric_downsampler(
    placement: AxisPlacement, n_lr: int, n_hr: int, kernel: Callable[[Floats], Floats], reach: float
) -> Taps:
    """A kernel of the distance to +-`reach` HR pixels, sampled at the centre of each LR pixel, edges reflected."""
    centres = placement.offset + placement.ratio * (np.arange(n_lr) + 0.5) - 0.5
    return _taps(centres, kernel, reach, n_hr, "reflect")


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
    return Taps(first.n_in, *_merged(indices, weights, first.n_in), second.inside)


def _merged(
    indices: NDArray[np.int64], weights: NDArray[np.float64], n_in: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Taps (n_out, k) on neighbouring inputs, each input of an output named once, where that makes them fewer."""
    first = indices.min(axis=1, keepdims=True)
    count = int((indices - first).max()) + 1
    if count >= indices.shape[1]:
        return indices, weights
    merged = np.zeros((len(indices), count))
    np.add.at(merged, (np.arange(len(indices))[:, None], indices - first), weights)
    return np.minimum(first + np.arange(count), n_in - 1), merged


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
