"""Draws from kriging's posterior by conditional simulation (Journel 1974): z + (z* - kriged z*).

A field z* is drawn from the covariance that kriging takes for granted, seen by LR pixels with noise, and kriged by
the same operator as the pair; what that misses of z* is as large, and lies as together, as what the fusion misses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.methods.colour_term import NODE_SPACING, kriged_by_colour
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.end_point import LinearMap, SceneToFit, fit_glp
from emrdiff_cli.core.methods.kriged_detail import PreparedKriging, injected
from emrdiff_cli.core.methods.kriging import GaussianProcess, predictor
from emrdiff_cli.core.methods.posterior import Posterior
from emrdiff_cli.core.sensor.degradation import DegradedImage
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_SEEN = 0.01  # share of an LR pixel's PSF on valid pixels below which it sees nothing


@dataclass(frozen=True)
class DrawnField:
    """A field of the k channels drawn from the covariance: `weights` at nodes, `slopes` and `ground` at LR."""

    prepared: PreparedKriging
    centre: Field
    weights: Field
    slopes: Field
    ground: Field

    @classmethod
    def draw(cls, posterior: Posterior, prepared: PreparedKriging, rng: np.random.Generator) -> DrawnField:
        """A field of standard deviations as the posterior's prior has them, drawn over the whole scene."""
        field, deviation = posterior.field, np.sqrt(posterior.variance)
        prior, (sill, reach), valid = field.covariance, field.slope_prior, field.data.valid
        k, m = len(deviation), len(prepared.axes)
        nodes = tuple(-(-side // NODE_SPACING) for side in valid.shape)
        count = len(prepared.data.features)
        colour = _smooth(rng, (count * k, *nodes), prior.colour_range / NODE_SPACING)
        colour = colour.reshape(count, k, *nodes).transpose(2, 3, 0, 1) * (
            np.sqrt(prior.colour_sill) * deviation
        )
        weights = np.einsum("fg,rcfk->rcgk", prepared.data.whitening, colour)
        slopes = np.sqrt(sill) * _smooth(rng, (k * m, *valid.shape), reach)
        slopes = slopes.reshape(k, m, *valid.shape)
        slopes += np.sqrt(prior.common_slope_sill) * rng.standard_normal((k, m, 1, 1))
        slopes = np.einsum("kjhw,jb->kbhw", slopes, prepared.axes)
        ground = np.sqrt(prior.ground_sill) * _smooth(rng, (k, *valid.shape), prior.ground_range)
        if prior.shape_sill:  # linear in the MSI: a slope, and its value at the centre
            shape = np.sqrt(prior.shape_sill) * _smooth(rng, (k, *valid.shape), prior.ground_range)
            ground += shape * prepared.kernel.relative_brightness(posterior.centre)
            slopes += shape[:, None] / (m * prepared.kernel.brightness)
        return cls(
            prepared=prepared,
            centre=posterior.centre,
            weights=weights.astype(np.float32),
            slopes=(slopes * deviation[:, None, None, None]).astype(np.float32),
            ground=(ground * deviation[:, None, None]).astype(np.float32),
        )

    def tile(self, msi: Floats, rows: Taps, cols: Taps) -> Field:
        """The field (k, H, W) on a tile; its MSI (m, H, W) and LR -> HR."""
        kernel, around = self.prepared.kernel, self.prepared.neighbourhood
        result = kriged_by_colour(kernel, self.weights, around, msi, rows, cols)
        result += apply_taps(self.ground, rows, cols)
        for band, values in enumerate(msi - self.centre[:, None, None]):
            result += apply_taps(self.slopes[:, band], rows, cols) * values
        return result


@dataclass(frozen=True)
class DrawnError:
    """What the fusion of a drawn field misses of it."""

    drawn: DrawnField
    kriged: DetailInjection

    def tile(self, msi: Floats, rows: Taps, cols: Taps) -> Field:
        """The error (k, H, W) on a tile; its MSI (m, H, W) and LR -> HR."""
        return self.drawn.tile(msi, rows, cols) - self.kriged.tile(msi, rows, cols).values


def draw_error(
    posterior: Posterior, prepared: PreparedKriging, scene: SceneToFit, rng: np.random.Generator
) -> DrawnError:
    """An error of the kriging that `prepared` is of, as its posterior has it."""
    drawn = DrawnField.draw(posterior, prepared, rng)
    seen = DegradedImage(len(posterior.variance), scene.resampling.down)
    for top, msi, valid in scene.strips():
        up = scene.resampling.up_part(Window(top, 0, msi.shape[1], msi.shape[2]))
        seen.add(top, drawn.tile(msi, *up), valid)
    noise = np.sqrt(posterior.field.nuggets * posterior.variance)
    noisy = seen.mean(_SEEN) + noise[:, None, None] * rng.standard_normal(seen.total.shape)
    values = np.where(scene.lr.valid, noisy, 0.0).astype(np.float32)
    no_map = LinearMap(np.zeros_like(scene.linear.slopes), values)
    seen_scene = replace(scene, lr=replace(scene.lr, hsi=values), linear=no_map)
    data = replace(prepared.data, residual=values)
    field: GaussianProcess = replace(posterior.field, data=data)
    of_draw = replace(prepared, data=data, injection=fit_glp(seen_scene))
    return DrawnError(drawn, injected(of_draw, predictor(field), seen_scene))


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], reach: float) -> Floats:
    """Fields (n, h, w) of unit variance whose correlation is a Gaussian of sigma `reach`."""
    sigma, margin = reach / np.sqrt(2), int(np.ceil(4 * reach))
    wider = (shape[0], shape[1] + 2 * margin, shape[2] + 2 * margin)
    white = rng.standard_normal(wider, np.float32)
    smooth = ndimage.gaussian_filter(white, (0, sigma, sigma), mode="wrap")
    line = np.zeros(8 * margin + 9)
    line[len(line) // 2] = 1
    gain = np.square(ndimage.gaussian_filter1d(line, sigma, mode="wrap")).sum()
    return np.asarray(smooth[:, margin : margin + shape[1], margin : margin + shape[2]] / gain)
