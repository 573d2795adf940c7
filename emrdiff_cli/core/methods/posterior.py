"""The posterior variance of kriging at HR pixels (Kyriakidis 2004): what the LR pixels leave unknown.

At an HR pixel x it is k(x, x) - k_x' (K + nugget I)^-1 k_x, k_x the covariance of the pixel's value with the means
that LR pixels see, whose covariates are means as well; in units of the channel's likeliest variance. It is worked
out by blocks of LR pixels, with a smaller halo than the prediction's. Beside it stands texture of which the MSI
tells nothing: what is white in the LR-HSI and none of its noise, as it is at HR, where no mean is taken over it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.colour_kernel import ColourKernel, centre_of, neighbourhood_of
from emrdiff_cli.core.methods.end_point import SceneToFit
from emrdiff_cli.core.methods.kriged_detail import PreparedKriging, prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess, corners
from emrdiff_cli.core.methods.kriging_block import BLOCK
from emrdiff_cli.core.sensor.observation import Resampling
from emrdiff_cli.core.side_by_side import side_by_side
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_HALO = 3  # LR pixels; twice as many take 0 to 5 % off the standard deviation
_MAPS = 4  # nuggets for which variances are worked out; those of others lie between
_SAMPLED = 16  # blocks by which the channels' variances are told
_FINER_NUGGETS = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5)  # besides the covariance's, to tell noise by
_LEAST = 1e-6  # of the prior variance: below lies rounding


@dataclass(frozen=True)
class Posterior:
    """The posterior variances of the k channels of a scene that kriging was prepared for.

    `nuggets` (q,) are those that have maps; `variance` (k,) the channels'.
    `axes` (m, m) lead from the MSI, less its mean `centre` (m,), to unit axes.
    """

    field: GaussianProcess
    kernel: ColourKernel
    neighbourhood: Field
    axes: Field
    centre: Field
    resampling: Resampling
    nuggets: Doubles
    variance: Doubles

    def windows(self) -> list[Window]:
        """The HR rows of each row of blocks, whole rows that follow each other."""
        rows, cols = self.resampling.nearest_lr
        ends = np.searchsorted(rows, np.arange(0, rows[-1] + BLOCK + 1, BLOCK))
        return [Window(int(top), 0, int(stop - top), len(cols)) for top, stop in pairwise(ends) if stop > top]

    def scene_variances(self, msi: Floats) -> Field:
        """Variances (k, H, W) of a whole scene, with its MSI (m, H, W)."""
        return np.concatenate([self.variances(msi[:, w.rows], w) for w in self.windows()], axis=1)

    def variances(self, msi: Floats, window: Window) -> Field:
        """Variances (k, n, W) of the channels in one of the `windows`, with its MSI (m, n, W)."""
        logs = np.log(self.maps(msi, window))
        at = np.interp(np.log(self.field.nuggets), np.log(self.nuggets), np.arange(len(self.nuggets)))
        below = np.minimum(at.astype(np.intp), max(0, len(self.nuggets) - 2))
        above, share = np.minimum(below + 1, len(self.nuggets) - 1), (at - below).astype(np.float32)
        result = np.empty((len(at), *logs.shape[1:]), np.float32)
        for channel, (one, other, part) in enumerate(zip(below, above, share, strict=True)):
            known = np.exp((1 - part) * logs[one] + part * logs[other])
            result[channel] = np.float32(self.variance[channel]) * known
        return result

    def maps(self, msi: Floats, window: Window) -> Field:
        """Variances (q, n, W) for each nugget, in units of a channel's own."""
        top = int(self.resampling.nearest_lr[0][window.row]) // BLOCK * BLOCK
        columns = self.resampling.nearest_lr[1] // BLOCK
        result = np.empty((len(self.nuggets), *msi.shape[1:]), np.float32)

        def of_block(left: int) -> None:
            first, stop = np.searchsorted(columns, [left // BLOCK, left // BLOCK + 1])
            if stop > first:
                part = Window(window.row, int(first), window.height, int(stop - first))
                result[:, :, first:stop] = self._of_block(top, left, msi[:, :, first:stop], part)

        side_by_side(of_block, range(0, self.field.data.valid.shape[1], BLOCK))
        return result

    def _of_block(self, top: int, left: int, msi: Floats, window: Window) -> Doubles:
        """Variances (q, n, w) of a block's HR pixels."""
        up = self.resampling.up_part(window)
        around = neighbourhood_of(self.neighbourhood, *up)
        features = self.field.data.whitening @ self.kernel(msi, around).reshape(
            len(self.kernel.landmarks), -1
        )
        pixels = self.axes @ (msi - self.centre[:, None, None]).reshape(len(msi), -1)
        covariance, (sill, _) = self.field.covariance, self.field.slope_prior
        prior = covariance.colour_sill * np.square(self.kernel.brightness_factor(msi)).ravel()
        prior = prior + (sill + covariance.common_slope_sill) * np.square(pixels).sum(axis=0)
        brightness = self.kernel.relative_brightness(msi).ravel().astype(np.float64)
        prior = prior + covariance.ground_sill + covariance.shape_sill * np.square(brightness)
        left_over = np.tile(prior.astype(np.float64), (len(self.nuggets), 1))
        block = self.field.block(top, left, _HALO)
        if len(block.places):
            rows, cols = (centre_of(taps) for taps in up)
            seen = block.covariance_with(rows, cols, features, pixels, brightness)
            for number, factor in enumerate(block.factors(self.nuggets)):
                left_over[number] -= np.square(factor.whiten(seen)).sum(axis=0)
        return np.asarray(np.maximum(left_over, _LEAST * prior).reshape(-1, *msi.shape[1:]))


def posterior_of(field: GaussianProcess, prepared: PreparedKriging, resampling: Resampling) -> Posterior:
    """The posterior of the kriging of a field, which was `prepared`."""
    distinct = np.unique(field.nuggets)
    chosen = np.unique(np.linspace(0, len(distinct) - 1, _MAPS).round().astype(np.intp))
    return Posterior(
        field=field,
        kernel=prepared.kernel,
        neighbourhood=prepared.neighbourhood,
        axes=prepared.axes,
        centre=prepared.injection.msi[:, field.data.valid].mean(axis=1),
        resampling=resampling,
        nuggets=distinct[chosen],
        variance=_variances(field),
    )


def kriged_posterior(scene: SceneToFit) -> Posterior:
    """The posterior of the kriging that `fit_kriging` does."""
    prepared = prepare_kriging(scene, scene.covariance)
    field = GaussianProcess.likeliest(prepared.data, scene.covariance)
    return posterior_of(field, prepared, scene.resampling)


class WhiteParts(NamedTuple):
    """Variances (k,) of what is white in the channels: all at LR, and of that the HR scene's `texture`, at HR."""

    at_lr: Doubles
    texture: Doubles


def white_parts(posterior: Posterior, noisy: bool = True) -> WhiteParts:
    """What no LR pixel tells of its neighbours: the likeliest nuggets, not inflated, among much smaller ones too.

    A channel of large variance hides it: it has no more than the median of all. Of channels that are not `noisy`,
    degraded and nothing else, all of it is texture.
    """
    field = posterior.field
    covariance = replace(
        field.covariance,
        slopes=(field.slope_prior,),
        nuggets=(*_FINER_NUGGETS, *field.covariance.nuggets),
        nugget_inflation=1.0,
    )
    finer = GaussianProcess.likeliest(field.data, covariance)
    white = finer.nuggets * _variances(finer)
    at_lr = np.asarray(np.minimum(white, np.median(white)))
    share = field.common_texture() if noisy else np.ones(len(at_lr))
    return WhiteParts(at_lr, at_lr * share / posterior.resampling.white_share)


def _variances(field: GaussianProcess) -> Doubles:
    """The likeliest variances (k,) of the channels, from a sample of the blocks."""

    def squares(corner: tuple[int, int]) -> tuple[Doubles, int]:
        """Y' (K + nugget I)^-1 y (k,) of a block, and the count of its pixels."""
        block, found = field.block(*corner, _HALO), np.zeros(len(field.nuggets))
        for factor in block.factors(field.nuggets) if len(block.places) else ():
            whitened = factor.whiten(block.residual[factor.channels].T)
            found[factor.channels] = np.square(whitened).sum(axis=0)
        return found, len(block.places)

    every = corners(field.data.valid)
    found = side_by_side(squares, every[:: max(1, len(every) // _SAMPLED)])
    total, count = (sum(parts) for parts in zip(*found, strict=True))
    return np.asarray(total / max(1, count) * np.square(field.spread, dtype=np.float64))
