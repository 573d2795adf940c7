"""Where a pair contradicts itself: ground that changed between the two images, clouds, shadows, glint.

The MSI's bands at LR are a linear function of the LR-HSI's leading components wherever both see the same ground.
It is found robustly, so that pixels that do not follow it spoil neither it nor the scale that they are judged by.
Beside the noise that scale has a share of the local contrast, for a PSF or a place that is not quite right, and of
the level, for a response that is not linear. What a plain least-squares fit to all pixels explains is a rare
material, and no change; what the next pixels contradict the other way is light that went to them, through another
PSF or from another place. Means of 3 x 3 pixels, in all bands, show a change that is too weak for one pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.large_arrays import let_go
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
_OF_BOTH_IN_ALL = 0.02  # the same, for what several pixels and all bands show
_IN_ONE, _IN_TWO = 8.0, 6.0  # scales, in one band or in two, from which a pixel is surely changed;
_BESIDE = 2.5  # from which one that touches such a pixel is;
_UNEXPLAINED = 6.0  # and that the plain fit must leave
_KEPT = 1.25  # of a pixel's change, in the sum over 3 x 3 pixels; a point's, by the PSF's tails, is 1.27
_IN_ALL = 4.5  # scales, of a mean of 3 x 3 pixels in all bands, from which its middle is surely changed;
_BESIDE_IN_ALL = 3.0  # and from which one is that touches such a pixel,
_OF_ITS_OWN = 2.0  # where it differs so much itself
_TAIL = 0.3  # of the change beside it, that the PSF's tail sees at most
_AROUND = np.ones((3, 3), bool)
_MOST = 0.6  # share of the pixels: where more seem changed, or lie beside such, there is no rest to tell


@dataclass(frozen=True)
class Changes:
    """The changed LR pixels (h, w), those `near` them, and the degraded MSI (m, h, w) as it would be unchanged.

    `near` holds the changed ones too, and all whose PSF reaches into them: what is seen there besides is unchanged,
    and the degraded MSI is put right.
    """

    changed: Mask
    near: Mask
    msi: Field

    def applied(self, scene: LrScene) -> LrScene:
        """The scene with its changed pixels, from which nothing is to be learned."""
        return replace(scene, msi=self.msi, valid=scene.valid & ~self.changed, changed=self.changed)


def find_changes(scene: LrScene) -> Changes | None:
    """The valid LR pixels whose degraded MSI contradicts what the rest of the pair says of it.

    None without any, and for a pair that is too small or contradictory all over.
    """
    components = _components(scene)
    if components is None:
        return None
    msi, design = scene.msi[:, scene.valid].astype(np.float64), _design(components)
    rest = _robust_rest(design[: 1 + _COMPONENTS], msi)
    judge = _Judge.of(scene, msi - rest, rest)
    alone, together = judge.alone(rest), judge.together(rest) > _IN_ALL
    if alone.any() or together.any():
        plain = _plain_rest(design, msi)
        alone &= (plain * np.sign(rest) > _UNEXPLAINED * judge.scale).any(axis=0)
        together &= judge.together(rest, plain) > _IN_ALL
    sure = alone | together
    if not sure.any():
        return None
    seeds, members = _on_image(sure, scene.valid), _on_image(sure | judge.beside(rest), scene.valid)
    touched = np.asarray(ndimage.binary_propagation(seeds, _AROUND, members))
    changed = _closed(touched & ~_fringe(np.abs(rest), scene.valid)) & scene.valid
    near = np.asarray(touched | ndimage.binary_dilation(changed, _AROUND))
    if near[scene.valid].mean() > _MOST:
        return None
    expected = scene.msi.copy()
    inside = near[scene.valid]
    slopes = _map(_thinned(design[:, ~inside]), _thinned(msi[:, ~inside]), 1.0)
    expected[:, near & scene.valid] = slopes @ design[:, inside]
    return Changes(changed, near, expected)


@dataclass(frozen=True)
class _Judge:
    """What may be left of the MSI (m, n) at the `valid` pixels (h, w): in each, and of their means of 3 x 3.

    `finer` is the scale of each where others and all bands have their say.
    """

    valid: Mask
    scale: Doubles
    finer: Doubles
    around: Doubles

    @classmethod
    def of(cls, scene: LrScene, expected: Doubles, rest: Doubles) -> _Judge:
        """The scales of noise, shares of the expected contrast, the spread and the level."""
        contrast, off = _contrast(scene, expected), expected - np.median(expected, axis=1, keepdims=True)
        spread = _spread(off)
        scale = _scale(rest, contrast, _OF_SPREAD * spread, _OF_LEVEL * off)
        finer = _scale(rest, contrast, _OF_BOTH_IN_ALL * spread, _OF_BOTH_IN_ALL * off)
        mean, contrast, off = (_means_around(part, scene.valid) for part in (rest, contrast, np.abs(off)))
        around = _scale(mean, contrast, _OF_BOTH_IN_ALL * spread, _OF_BOTH_IN_ALL * off)
        return cls(scene.valid, scale, finer, around)

    def alone(self, rest: Doubles) -> Mask:
        """(n,): pixels that are surely changed, whatever the others are."""
        apart = np.abs(rest) / self.scale
        sure = (apart > _IN_ONE).any(axis=0) | ((apart > _IN_TWO).sum(axis=0) > 1)
        most = apart.argmax(axis=0)[None]
        change, kept = (
            np.take_along_axis(part, most, 0)[0] for part in (rest, 9 * _means_around(rest, self.valid))
        )
        return np.asarray(sure & (kept * np.sign(change) >= _KEPT * np.abs(change)))

    def together(self, rest: Doubles, other: Doubles | None = None) -> Doubles:
        """(n,): scales that the means around the pixels are off by, root mean square of the bands.

        Those of another rest, where one is given, the way that the first is off.
        """
        mean = _means_around(rest, self.valid) / self.around
        size = _over_bands(mean)
        if other is None:
            return size
        along = mean * _means_around(other, self.valid) / self.around
        return np.asarray(along.mean(axis=0) / np.maximum(size, 1e-30))

    def beside(self, rest: Doubles) -> Mask:
        """(n,): pixels that are changed where they touch such."""
        own = _over_bands(rest / self.finer) > _OF_ITS_OWN
        weak = own & (self.together(rest) > _BESIDE_IN_ALL)
        return np.asarray(weak | (np.abs(rest) > _BESIDE * self.scale).any(axis=0))


def _fringe(rest: Doubles, valid: Mask) -> Mask:
    """LR pixels (h, w) of whose change so little shows that it is what the PSF's tail sees of the next ones'."""
    size = np.zeros(valid.shape)
    size[valid] = (rest / np.maximum(_spread(rest), 1e-30)).max(axis=0)
    return np.asarray(size < _TAIL * ndimage.maximum_filter(size, 3))


def _closed(changed: Mask) -> Mask:
    """The changed pixels, and those between them that happen to look as before."""
    filled = ndimage.binary_dilation(changed, _AROUND)
    return np.asarray(ndimage.binary_erosion(filled, _AROUND, border_value=1))


def _components(scene: LrScene) -> Doubles | None:
    """The LR-HSI's leading components (k, n) at the valid pixels, the first the largest; None with too few."""
    rows, cols = np.nonzero(scene.valid)
    count = min(_ALL_COMPONENTS, len(scene.hsi), len(rows) // _PIXELS_EACH - 1)
    if count < 1 or len(rows) < _LEAST_PIXELS:
        return None
    step = math.ceil(len(rows) / _FIT_PIXELS)
    basis = find_basis(scene.hsi[:, rows[::step], cols[::step]], count)
    components = np.empty((count, len(rows)))
    for start in range(0, len(rows), _FIT_PIXELS):
        part = slice(start, start + _FIT_PIXELS)
        components[:, part] = basis.project(scene.hsi[:, rows[part], cols[part]])
        let_go(scene.hsi)
    return components


def _thinned(pixels: NDArray[Real]) -> NDArray[Real]:
    return pixels[:, :: math.ceil(pixels.shape[1] / _FIT_PIXELS)]


def _design(components: Doubles) -> Doubles:
    """Components (k, n) of unit variance below a row of ones."""
    design = np.ones((len(components) + 1, components.shape[1]))
    for component, row in zip(components, design[1:], strict=True):
        row[:] = (component - component.mean()) / max(float(component.std()), 1e-30)
    return design


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


def _map(inputs: Doubles, targets: Doubles, weights: Doubles | float) -> Doubles:
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


def _scale(rest: Doubles, contrast: Doubles, *terms: Doubles) -> Doubles:
    """The scale (m, n) of what may be left: noise, a share of the contrast, and what else there is."""
    misfit = _spread(rest / np.maximum(contrast, 1e-12)) * contrast
    parts = _spread(rest), misfit, *terms
    return np.asarray(np.maximum(np.sqrt(sum(np.square(part) for part in parts)), 1e-30))


def _over_bands(values: Doubles) -> Doubles:
    """(n,): the root mean square of the bands (m, n)."""
    return np.asarray(np.sqrt(np.square(values).mean(axis=0)))


def _contrast(scene: LrScene, expected: Doubles) -> Doubles:
    """The standard deviation (m, n) of the expected MSI in 3 x 3 LR pixels."""
    found = np.empty_like(expected)
    for band, (values, image) in enumerate(zip(expected, scene.msi, strict=True)):
        whole = image.astype(np.float64) - values.mean()
        whole[scene.valid] = values - values.mean()
        mean, square = (ndimage.uniform_filter(part, 3, mode="nearest") for part in (whole, whole * whole))
        found[band] = np.sqrt(np.maximum(square - mean * mean, 0))[scene.valid]
    return found


def _means_around(values: Doubles, valid: Mask) -> Doubles:
    """(m, n): means of values at the valid pixels over those of 3 x 3."""
    share = ndimage.uniform_filter(valid.astype(np.float64), 3, mode="constant")[valid]
    sums = [ndimage.uniform_filter(_on_image(band, valid), 3, mode="constant")[valid] for band in values]
    return np.asarray(np.stack(sums) / share)


def _on_image(at_pixels: NDArray[Any], valid: Mask) -> NDArray[Any]:
    image = np.zeros(valid.shape, at_pixels.dtype)
    image[valid] = at_pixels
    return image
