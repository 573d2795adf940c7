"""Where a pair contradicts itself: ground that changed between the two images, clouds, shadows, glint.

The MSI's bands at LR are a linear function of the LR-HSI's leading components wherever both see the same ground.
It is found robustly, so that pixels that do not follow it spoil neither it nor the scale that they are judged by.
Beside the noise that scale has a share of the local contrast, for a PSF or a place that is not quite right, and of
the level, for a response that is not linear. What a plain least-squares fit to all pixels explains is a rare
material, and no change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.subspace import find_basis

Doubles = NDArray[np.float64]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Real = TypeVar("Real", bound=np.floating[Any])

_COMPONENTS, _ALL_COMPONENTS = 12, 24  # of the LR-HSI, in the robust fit and in the plain one, at most
_PIXELS_EACH = 12  # LR pixels that each of them needs
_LEAST_PIXELS = 96  # valid LR pixels that the rest of a pair must have to contradict one of them
_FIT_PIXELS = 8192  # LR pixels that the fits are made on
_LEVERAGE_COMPONENTS = 4  # leading ones, along which a pixel far out starts with little weight
_ROUNDS = 10
_CUT = 3.0  # of the median distance, from which a pixel has no weight
_MAD = 1.4826  # from the median of absolute values to a normal distribution's standard deviation
_OF_SPREAD, _OF_LEVEL = 0.05, 0.06  # shares of a band's spread, and of a value's distance from the median
_IN_ONE, _IN_TWO = 8.0, 6.0  # scales, in one band or in two, from which a pixel is surely changed;
_BESIDE = 2.5  # from which one that touches such a pixel is;
_UNEXPLAINED = 6.0  # and that the plain fit must leave
_TAIL = 0.2  # of the change beside it, that the PSF's tail sees at most
_AROUND = np.ones((3, 3), bool)
_MOST = 0.6  # share of the pixels: where more seem changed, or lie beside such, there is no rest to tell


@dataclass(frozen=True)
class Changes:
    """The changed LR pixels (h, w), those `near` them, and the degraded MSI (m, h, w) as it would be unchanged.

    `near` holds the changed ones too, and all whose PSF reaches into them.
    """

    changed: Mask
    near: Mask
    msi: Field

    def applied(self, scene: LrScene) -> LrScene:
        """The scene with its changed pixels, from which, and from those beside them, nothing is to be learned."""
        return replace(scene, msi=self.msi, valid=scene.valid & ~self.near, changed=self.changed)


def find_changes(scene: LrScene) -> Changes | None:
    """The valid LR pixels whose degraded MSI contradicts what the rest of the pair says of it.

    None without any, and for a pair that is too small or contradictory all over.
    """
    components = _components(scene)
    if components is None:
        return None
    msi = scene.msi[:, scene.valid].astype(np.float64)
    rest = _robust_rest(_design(components[:_COMPONENTS]), msi)
    scale = _scale(scene, msi - rest, rest)
    apart = np.sort(np.abs(rest) / scale, axis=0)[::-1]
    sure = (apart[0] > _IN_ONE) | (apart[min(1, len(apart) - 1)] > (_IN_TWO if len(apart) > 1 else _IN_ONE))
    if sure.any():
        sure &= (np.abs(_plain_rest(_design(components), msi)) > _UNEXPLAINED * scale).any(axis=0)
    if not sure.any():
        return None
    seeds, members = _on_image(sure, scene.valid), _on_image(sure | (apart[0] > _BESIDE), scene.valid)
    touched = np.asarray(ndimage.binary_propagation(seeds, _AROUND, members))
    changed = touched & ~_fringe(np.abs(rest), scene.valid)
    near = np.asarray(touched | ndimage.binary_dilation(changed, _AROUND))
    if near[scene.valid].mean() > _MOST:
        return None
    expected = scene.msi.copy()
    expected[:, touched] = (msi - rest)[:, touched[scene.valid]]
    return Changes(changed, near, expected)


def _fringe(rest: Doubles, valid: Mask) -> Mask:
    """LR pixels (h, w) of whose change so little shows that it is what the PSF's tail sees of the next ones'."""
    size = np.zeros(valid.shape)
    size[valid] = (rest / np.maximum(_spread(rest), 1e-30)).max(axis=0)
    return np.asarray(size < _TAIL * ndimage.maximum_filter(size, 3))


def _components(scene: LrScene) -> Doubles | None:
    """The LR-HSI's leading components (k, n) at the valid pixels, the first the largest; None with too few."""
    pixels = scene.hsi[:, scene.valid]
    count = min(_ALL_COMPONENTS, len(pixels), pixels.shape[1] // _PIXELS_EACH - 1)
    if count < 1 or pixels.shape[1] < _LEAST_PIXELS:
        return None
    return find_basis(_thinned(pixels), count).project(pixels).astype(np.float64)


def _thinned(pixels: NDArray[Real]) -> NDArray[Real]:
    return pixels[:, :: math.ceil(pixels.shape[1] / _FIT_PIXELS)]


def _design(components: Doubles) -> Doubles:
    """Components (k, n) of unit variance below a row of ones."""
    centred = components - components.mean(axis=1, keepdims=True)
    spread = np.maximum(components.std(axis=1, keepdims=True), 1e-30)
    return np.concatenate([np.ones((1, components.shape[1])), centred / spread])


def _plain_rest(design: Doubles, msi: Doubles) -> Doubles:
    """What least squares on all pixels leave of the MSI (m, n)."""
    inputs, targets = _thinned(design), _thinned(msi)
    return msi - _map(inputs, targets, np.ones(inputs.shape[1])) @ design


def _robust_rest(design: Doubles, msi: Doubles) -> Doubles:
    """What the robust fit (Tukey's biweight, the better of two starts) leaves of the MSI (m, n)."""
    inputs, targets = _thinned(design), _thinned(msi)
    starts = np.ones(inputs.shape[1]), _without_leverage(inputs[1 : 1 + _LEVERAGE_COMPONENTS])
    found = [_reweighted(inputs, targets, start) for start in starts]
    slopes, _ = min(found, key=lambda fit: fit[1])
    return msi - slopes @ design


def _reweighted(inputs: Doubles, targets: Doubles, weights: Doubles) -> tuple[Doubles, float]:
    """The map (m, k) by iteratively reweighted least squares, and the logarithm of what it leaves."""
    for _ in range(_ROUNDS):
        slopes = _map(inputs, targets, weights)
        rest = targets - slopes @ inputs
        scale = np.maximum(_spread(rest), 1e-30)
        distance = np.sqrt(np.square(rest / scale).mean(axis=0))
        apart = distance / (_CUT * max(float(np.median(distance)), 1e-30))
        weights = np.square(np.maximum(1 - np.square(apart), 0))
    return slopes, float(np.log(scale).sum())


def _map(inputs: Doubles, targets: Doubles, weights: Doubles) -> Doubles:
    weighted = inputs * weights
    moments = weighted @ inputs.T + 1e-9 * inputs.shape[1] * np.eye(len(inputs))
    return np.asarray(np.linalg.solve(moments, weighted @ targets.T).T)


def _without_leverage(leading: Doubles) -> Doubles:
    """Weights (n,) that are small far out along the leading components, as clouds in the LR-HSI are."""
    centred = leading - np.median(leading, axis=1, keepdims=True)
    far = np.square(centred / np.maximum(_spread(centred), 1e-12)).mean(axis=0)
    return np.asarray(1 / np.square(1 + far / 4))


def _spread(values: Doubles) -> Doubles:
    """(m, 1): the standard deviation of rows of mean 0, by their median absolute value."""
    return np.asarray(_MAD * np.median(np.abs(values), axis=1, keepdims=True))


def _scale(scene: LrScene, expected: Doubles, rest: Doubles) -> Doubles:
    """The scale (m, n) of what may be left: noise, shares of the expected contrast, the spread and the level."""
    contrast = _contrast(scene, expected)
    misfit = _spread(rest / np.maximum(contrast, 1e-12)) * contrast
    middle = np.median(expected, axis=1, keepdims=True)
    spread = _spread(expected - middle)
    terms = _spread(rest), misfit, _OF_SPREAD * spread, _OF_LEVEL * (expected - middle)
    return np.asarray(np.maximum(np.sqrt(sum(np.square(term) for term in terms)), 1e-30))


def _contrast(scene: LrScene, expected: Doubles) -> Doubles:
    """The standard deviation (m, n) of the expected MSI in 3 x 3 LR pixels."""
    found = np.empty_like(expected)
    for band, (values, image) in enumerate(zip(expected, scene.msi, strict=True)):
        whole = image.astype(np.float64) - values.mean()
        whole[scene.valid] = values - values.mean()
        mean, square = (ndimage.uniform_filter(part, 3, mode="nearest") for part in (whole, whole * whole))
        found[band] = np.sqrt(np.maximum(square - mean * mean, 0))[scene.valid]
    return found


def _on_image(at_pixels: Mask, valid: Mask) -> Mask:
    image = np.zeros_like(valid)
    image[valid] = at_pixels
    return image
