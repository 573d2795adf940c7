"""Pairs of arrays whose truth is known, with the maps between their grids, ready for an end point."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays
from emrdiff_cli.core.methods.colour_kernel import (
    ColourKernel,
    learn_kernel,
    observe_neighbourhood,
)
from emrdiff_cli.core.methods.scene_end_point import SceneEndPoint, find_end_point
from emrdiff_cli.core.sensor.degradation import degradation_taps
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps, cubic_upsampler
from emrdiff_cli.core.subspace import find_basis, identity_basis

Image = NDArray[np.float32]
RATIO = 4
Mask = NDArray[np.bool_]


def texture(count: int, height: int, width: int, seed: int) -> Image:
    """Fields, roads and grain: flat areas, sharp lines and fine detail, in each band differently."""
    rng = np.random.default_rng(seed)
    seeds = ndimage.gaussian_filter(rng.normal(size=(5, height, width)), (0, 5, 5))
    levels = rng.uniform(0.1, 0.6, (count, 5))
    image = levels[:, seeds.argmax(axis=0)] + 0.03 * rng.normal(size=(count, height, width))
    image[:, :, width // 3] += 0.2
    return np.asarray(image, np.float32)


def resampling(height: int, width: int, ratio: float = RATIO) -> Resampling:
    place = AxisPlacement(float(ratio), 0.0)
    sizes = [(int(n // ratio), n) for n in (height, width)]
    return Resampling(
        up=(cubic_upsampler(place, *sizes[0]), cubic_upsampler(place, *sizes[1])),
        down=(degradation_taps("wald", place, *sizes[0]), degradation_taps("wald", place, *sizes[1])),
    )


class Pair:
    """A truth (B, H, W) and its MSI, degraded, ready for an end point."""

    def __init__(self, truth: Image, msi: Image) -> None:
        self.truth, self.msi = truth, msi
        self.maps = resampling(*msi.shape[1:])
        seen = observe_msi(self.strips, self.maps.down)
        self.lr = LrScene(apply_taps(truth, *self.maps.down), seen.msi_at_lr, seen.covered)

    def strips(self) -> Iterator[Strip]:
        yield Strip(0, self.msi, np.ones(self.msi.shape[1:], bool))

    def end(self, method: str, subspace: int = 0, large: LargeArrays = IN_MEMORY) -> SceneEndPoint:
        pixels = self.lr.hsi[:, self.lr.valid]
        basis = find_basis(pixels, subspace) if subspace else identity_basis(len(self.truth))
        return find_end_point(self.lr, self.strips, self.maps, method, basis, large=large)

    def fused(self, method: str) -> Image:
        return self.end(method).fitted.tile(self.msi, *self.maps.up).values

    def error(self, image: Image) -> float:
        return float(np.sqrt(np.square(image - self.truth).mean()))


def local_pair() -> Pair:
    """A scene in which the MSI's meaning changes from one side to the other."""
    msi = texture(2, 96, 96, 3)
    turn = np.linspace(-1, 1, 96, dtype=np.float32)
    along, across = 1 + 0.7 * turn, 1 + 0.7 * turn[:, None]
    bands = [msi[0] * along + msi[1], msi[0] - msi[1] * along, msi[0] * across, msi[1] * along * across]
    return Pair(np.stack(bands) + 1, msi)


def by_strips(msi: Image, height: int = 7, valid: Mask | None = None) -> Strips:
    """An MSI in strips of so many rows."""
    mask = np.ones(msi.shape[1:], bool) if valid is None else valid

    def strips() -> Iterator[Strip]:
        for top in range(0, msi.shape[1], height):
            yield Strip(top, msi[:, top : top + height], mask[top : top + height])

    return strips


def learned(msi: Image, height: int = 7, ratio: float = 4) -> tuple[ColourKernel, Image]:
    """A scene's kernel and neighbourhood."""
    maps, strips = resampling(msi.shape[1], msi.shape[2], ratio), by_strips(msi, height)
    neighbourhood = observe_neighbourhood(strips, maps.up)
    return learn_kernel(strips, neighbourhood, maps), neighbourhood
