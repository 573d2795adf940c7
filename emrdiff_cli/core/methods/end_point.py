"""The end of the chain: an estimate of the HR-HSI made from both inputs, without training.

A method (emrdiff_cli.methods) is fitted to a scene at LR and then evaluated tile by tile. It works on k channels:
bands, or coefficients of a subspace. All are an injection of the MSI's detail (core.methods.detail_injection):
`bicubic`, the LR-HSI upsampled (the paper's); `glp`, plus the MSI's detail through one least-squares map of the
scene (GLP hypersharpening, Selva et al. 2015); `glp-local` (its own module), plus a regression in Gaussian windows,
then back-projection; `kriging` (core.methods.kriged_detail), area-to-point kriging in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays, let_go, one_by_one
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.detail_injection import DetailInjection, LocalWindow
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.core.methods.least_squares import fit_by_parts, mean_and_spread
from emrdiff_cli.core.sensor.degradation import on_image
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, Strips
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps, chain
from emrdiff_cli.errors import NothingToFuseError

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

_BACK_PROJECTIONS = 3
_CHUNK = 16  # channels whose window moments are held at once,
_PROJECTED_AT_ONCE = 8  # and that are back-projected


@dataclass(frozen=True)
class LinearMap:
    """The scene-wide map of the MSI at LR to the channels: `slopes` (k, m), and the residual that it leaves.

    `unexplained` (k, h, w), at all LR pixels.
    """

    slopes: Field
    unexplained: Field


@dataclass(frozen=True)
class SceneToFit:
    """The data of a fit: `lr`, with the k channels as its HSI, the MSI in `strips`, and both grids' maps.

    `linear` is the scene-wide map, found already; `covariance` the prior of a kriging, whose detail is made to
    agree with the MSI where `agreeing`. `large`: where what grows with the scene is put; `evaluator`: who works at
    HR pixels.
    """

    lr: LrScene
    strips: Strips
    resampling: Resampling
    linear: LinearMap
    covariance: Covariance = USUAL
    agreeing: bool = True
    large: LargeArrays = IN_MEMORY
    evaluator: Evaluator = ON_PROCESSOR

    def unchanged_strips(self) -> Iterator[Strip]:
        """The strips, on changed LR pixels not valid."""
        return self._strips_without(self.lr.changed)

    def strips_to_learn_from(self) -> Iterator[Strip]:
        """The strips; where ground changed, not valid on LR pixels that are not."""
        return self._strips_without(None if self.lr.changed is None else ~self.lr.valid)

    def _strips_without(self, pixels: Mask | None) -> Iterator[Strip]:
        """The strips, on some LR pixels (h, w) not valid."""
        if pixels is None:
            yield from self.strips()
            return
        rows, cols = self.resampling.nearest_lr
        for top, values, valid in self.strips():
            yield Strip(top, values, valid & ~pixels[rows[top : top + len(valid)]][:, cols])

    @property
    def base(self) -> Field:
        """The channels (k, h, w); of an LR pixel that the MSI does not reach, what the map makes of the MSI there.

        Half off the MSI it saw other ground, and its residual says nothing of what is fused.
        """
        beside = ~on_image(self.resampling.down)
        base = self.large.zeros(self.lr.hsi.shape)
        for into, channel, left in zip(base, self.lr.hsi, self.linear.unexplained, strict=True):
            into[:] = np.where(beside, channel - left, channel)
        let_go(base, self.lr.hsi, self.linear.unexplained)
        return base


def fit_bicubic(scene: SceneToFit) -> DetailInjection:
    """The LR-HSI upsampled, without detail."""
    return _injection(scene, np.asarray(scene.lr.hsi, np.float32), np.zeros_like(scene.linear.slopes))


def fit_glp(scene: SceneToFit) -> DetailInjection:
    """The scene-wide map's detail (GLP hypersharpening, Selva et al. 2015)."""
    return _injection(scene, scene.base, scene.linear.slopes)


def _injection(scene: SceneToFit, base: Field, slopes: Field) -> DetailInjection:
    return DetailInjection(
        base=base,
        msi=np.asarray(scene.lr.msi, np.float32),
        slopes=slopes,
        gate=None if scene.lr.changed is None else (~scene.lr.changed)[None].astype(np.float32),
    )


def regress(scene: LrScene, large: LargeArrays = IN_MEMORY) -> LinearMap:
    """Fit the scene-wide map of the channels on the MSI at LR over the valid pixels, by least squares.

    Raises NothingToFuseError with too few valid LR pixels to fit.
    """
    lr, msi, valid = scene.hsi, scene.msi, scene.valid
    bands = len(msi)
    needed = 2 * (bands + 1)
    if valid.sum() < needed:
        raise NothingToFuseError(
            f"{valid.sum()} valid LR pixels lie wholly on valid MSI pixels: {needed} or more are needed to relate "
            f"{bands} MSI bands to the LR-HSI; look at the overlap and the nodata of both with `emrdiff check`"
        )
    rows, cols = np.nonzero(valid)
    centre = np.array([channel[valid].mean(dtype=np.float64) for channel in one_by_one(lr)])

    def targets(part: slice) -> Floats:
        let_go(lr)
        return lr[:, rows[part], cols[part]]

    slopes, intercept = fit_by_parts(msi[:, valid], targets, centre)
    unexplained = large.zeros(lr.shape)
    for channel, left in enumerate(unexplained):
        left[:] = lr[channel] - (np.tensordot(slopes[channel], msi, axes=1) + intercept[channel])
    let_go(unexplained, lr)
    return LinearMap(slopes, unexplained)


def local_regression(
    unexplained: Floats,
    msi: Floats,
    valid: NDArray[np.bool_],
    window: LocalWindow,
    large: LargeArrays = IN_MEMORY,
) -> Field:
    """Slopes (k, m, h, w) of the unexplained part on the MSI's anomalies, in a window around each LR pixel.

    `large`: where they are put.
    """
    moments = _MsiMoments(msi, valid, window.sigma)
    slopes = large.zeros((len(unexplained), *msi.shape))
    for start in range(0, len(unexplained), _CHUNK):
        part = slice(start, start + _CHUNK)
        slopes[part] = moments.slopes(moments.products(unexplained[part]), window.ridge)
        let_go(slopes, unexplained)
    return slopes


def ridge_regressions(
    unexplained: Floats, msi: Floats, valid: NDArray[np.bool_], sigma: float, ridges: Sequence[float]
) -> Iterator[Field]:
    """Yield `local_regression` by each ridge, in windows of one sigma, of channels few enough to be held."""
    moments = _MsiMoments(msi, valid, sigma)
    products = moments.products(unexplained)
    for ridge in ridges:
        yield moments.slopes(products, ridge).astype(np.float32)


def back_projected(
    fitted: DetailInjection,
    local_detail_at_lr: Floats,
    up: tuple[Taps, Taps],
    down: tuple[Taps, Taps],
    valid: NDArray[np.bool_],
    share: Floats | None = None,
    large: LargeArrays = IN_MEMORY,
) -> DetailInjection:
    """Add to the base the sum of three iterations of back-projection, G <- G + (Y - G down) up.

    `local_detail_at_lr` (k, h, w) is the detail beyond the scene-wide map's, degraded. That alone needs the HR
    image; the iterations run at LR, since degrading what was upsampled is one map from LR to LR. Only `valid`
    LR pixels are held to their values; `share` (k,), None for 1, is how much of the remainder is returned.
    `large`: where the new base is put.
    """
    rows, cols = (chain(first, second) for first, second in zip(up, down, strict=True))

    def there_and_back(image: Floats) -> Floats:
        return apply_taps(image, rows, cols)

    lost = fitted.msi - there_and_back(fitted.msi)
    shares = np.ones(len(fitted.base)) if share is None else share
    base = large.zeros(fitted.base.shape)
    for start in range(0, len(base), _PROJECTED_AT_ONCE):
        part = slice(start, start + _PROJECTED_AT_ONCE)
        own = fitted.base[part]
        injected = np.tensordot(fitted.slopes[part], lost, axes=1) + local_detail_at_lr[part]
        remainder = np.where(valid, own - (there_and_back(own) + injected), 0.0).astype(np.float32)
        correction = np.zeros_like(remainder)
        for _ in range(_BACK_PROJECTIONS):
            correction += remainder
            remainder = np.where(valid, remainder - there_and_back(remainder), 0.0).astype(np.float32)
        base[part] = own + correction * shares[part, None, None].astype(np.float32)
        let_go(base, fitted.base, local_detail_at_lr)
    return replace(fitted, base=base)


class _MsiMoments:
    """Weighted window moments of the MSI around each LR pixel, and the regression on them."""

    def __init__(self, msi: Floats, valid: NDArray[np.bool_], sigma: float) -> None:
        self._sigma = sigma
        self._valid = valid.astype(np.float64)
        mean, spread = mean_and_spread(msi[:, valid])
        varied = np.isfinite(spread)[:, None, None]
        self._centred = np.where(valid & varied, msi - mean[:, None, None], 0.0)
        self._total = np.maximum(self._mean(np.ones_like(self._valid)), 1e-12)
        self.mean = self._mean(self._centred) / self._total
        count = len(msi)
        self._covariance = np.empty((*valid.shape, count, count))
        for i in range(count):
            for j in range(i + 1):
                product = self._mean(self._centred[i] * self._centred[j]) / self._total
                covariance = product - self.mean[i] * self.mean[j]
                self._covariance[..., i, j] = self._covariance[..., j, i] = covariance
        self._variance = np.where(np.isfinite(spread), spread, 1.0) ** 2

    def products(self, values: Floats) -> Floats:
        """(h, w, m, k): the covariances of the MSI and values (k, h, w)."""
        means = self._mean(values) / self._total
        products = np.stack(
            [
                self._mean(z * values) / self._total - mz * means
                for z, mz in zip(self._centred, self.mean, strict=True)
            ]
        )
        return products.transpose(2, 3, 0, 1)

    def slopes(self, products: Floats, ridge: float) -> Floats:
        """(k, m, h, w): the ridge regression on the MSI's anomalies of the values of which these are `products`."""
        solved: Floats = np.linalg.solve(self._covariance + ridge * np.diag(self._variance), products)
        return np.asarray(solved.transpose(3, 2, 0, 1))

    def _mean(self, values: Floats) -> Floats:
        """Weighted means of images (..., h, w) over the window."""
        sigmas = (*[0.0] * (values.ndim - 2), self._sigma, self._sigma)
        return np.asarray(
            ndimage.gaussian_filter(values * self._valid, sigmas, mode="constant", truncate=3.0)
        )
