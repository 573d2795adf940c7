"""The covariance that a pair itself asks kriging for, where it does so clearly.

Three things are asked, each where the answer was found to go with the truth (`python -m tests.benchmarks.covariance
--choice`); everything else that LR pixels or MSI bands prefer, their truth as often does not.

- Do colours mean the same over longer ways? A band of the MSI is held out at full resolution and fused from the
  others by a `smoother` process of colour; it has to gain `_SMOOTHER_DB`.
- Does a pixel's own colour tell more than it does with its neighbourhood? LR pixels are left out one by one under
  a kernel `by_own_colour`; the error has to fall by `_OWN_DB`.
- Do spectra keep their shape as they get brighter? One MSI band tells brightness alone, and there is none to hold
  out: the pair is degraded by 2 and by its ratio, and fused with a process of shape, `by_shape`; what the errors
  fall by has to be `_SHAPE_DB` together. LR pixels left out do not tell; with more bands neither does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.held_out_band import HeldOutBand, held_out_bands
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.evidence.scene_part import Core, ScenePart, spread_parts, spread_plans
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import injected, prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess, krige
from emrdiff_cli.core.methods.leave_one_out import leave_one_out, leave_one_out_of
from emrdiff_cli.core.methods.scene_end_point import own_basis
from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strips
from emrdiff_cli.core.subspace import Basis
from emrdiff_cli.errors import InputError
from emrdiff_cli.methods import FAVOURITE

Doubles = NDArray[np.float64]

_MOST_HELD = 4  # MSI bands held out
_ENOUGH = 2  # of them, where they lose
_SAMPLED = 4  # blocks by which the nuggets of a band held out are chosen
_LIKELIEST = 8  # blocks of a part by which its slopes are chosen
_LEFT_OUT = 16  # blocks of a part that are left out pixel by pixel
_SIDE = 24  # LR pixels of a part along each axis
_LEAST = 100  # valid LR pixels of a part that tells anything
_REDUCED_SIDE = 48  # LR pixels of a part that is degraded once more
_HALF = 2.0
_SMOOTHER_DB = 0.1
_OWN_DB = 0.1
_SHAPE_DB = 0.1
_LEAST_ERROR = 1e-30
_SILLS, _RANGES = 3, 2  # factors
_SHARE = 0.4
_SHAPE_SILL, _SHAPE_POWER = 0.3, 0.5


def choose_covariance(scene: LrScene, strips: Strips, resampling: Resampling) -> Covariance:
    """The covariance for a scene of channels: the usual one but where the pair asks for another."""
    parts = spread_parts(scene, strips, resampling, _SIDE)
    chosen = USUAL
    with suppress(InputError):  # too few pixels to relate the others to a band
        asked = [_Asked.of(part) for part in parts if part.lr.valid.sum() >= _LEAST]
        if held_out_gain_db(asked) >= _SMOOTHER_DB:
            return smoother(by_own_colour(USUAL))
        if left_out_gain_db(asked) >= _OWN_DB:
            chosen = by_own_colour(USUAL)
    with suppress(InputError):
        if len(scene.msi) == 1 and reduced_gain_db(scene, resampling, chosen) >= _SHAPE_DB:
            return by_shape(chosen)
    return chosen


def covariance_for(
    scene: LrScene, strips: Strips, resampling: Resampling, basis: Basis | None = None
) -> Covariance:
    """The covariance for a scene of bands, kriged in its own subspace, whose `basis` may be known."""
    in_basis = replace(scene, hsi=(basis or own_basis(scene)).project(scene.hsi))
    return choose_covariance(in_basis, strips, resampling)


def smoother(covariance: Covariance) -> Covariance:
    """A larger sill and range of the process of colour and ground."""
    sill, reach = covariance.colour_sill, covariance.colour_range
    return replace(covariance, colour_sill=_SILLS * sill, colour_range=_RANGES * reach)


def by_own_colour(covariance: Covariance) -> Covariance:
    """A smaller share of the neighbourhood in the colour kernel."""
    return replace(covariance, neighbourhood_share=_SHARE)


def by_shape(covariance: Covariance) -> Covariance:
    """Spectra whose shape varies over the ground and which are as bright as the MSI; none in the dark."""
    return replace(covariance, shape_sill=_SHAPE_SILL, brightness_power=_SHAPE_POWER, dark_level=0.0)


def without_shape(covariance: Covariance) -> Covariance:
    """The same without a process of shape."""
    if not covariance.shape_sill:
        return covariance
    power, dark = USUAL.brightness_power, USUAL.dark_level
    return replace(covariance, shape_sill=0.0, brightness_power=power, dark_level=dark)


@dataclass(frozen=True)
class _Asked:
    """A part that is asked, and its kriging as usual."""

    part: ScenePart
    problem: SceneToFit
    field: GaussianProcess

    @classmethod
    def of(cls, part: ScenePart) -> _Asked:
        problem = SceneToFit(part.lr, part.strips, part.resampling, regress(part.lr))
        return cls(
            part, problem, GaussianProcess.likeliest(prepare_kriging(problem).data, sampled=_LIKELIEST)
        )

    @property
    def usual(self) -> Covariance:
        """The usual covariance with the slopes' prior that is likeliest for the part."""
        return replace(USUAL, slopes=(self.field.slope_prior,))


def held_out_gain_db(asked: Sequence[_Asked]) -> float:
    """What the MSI's bands, held out, gain by a smoother process, mean over the bands; 0 where it has but one.

    Where the first of them lose by it the others are not asked.
    """
    gains: list[float] = []
    parts = (
        held_out_bands(one.part.lr, one.part.strips, one.part.resampling, most=_MOST_HELD) for one in asked
    )
    for band in zip(*parts, strict=True):
        errors = (
            _errors(held, (one.usual, smoother(one.usual)), one.part.core)
            for held, one in zip(band, asked, strict=True)
        )
        usual, other = np.sum(list(errors), axis=0)
        gains.append(float(10 * np.log10(usual / other)))
        if len(gains) >= _ENOUGH and np.mean(gains) < -_SMOOTHER_DB:
            break
    return float(np.mean(gains)) if gains else 0.0


def left_out_gain_db(asked: Sequence[_Asked]) -> float:
    """What LR pixels, left out one by one, gain by their own colour, in all channels; 0 where there are none."""
    squares = np.zeros(2)
    for one in asked:
        own = leave_one_out(one.problem, by_own_colour(one.usual), _LEFT_OUT)
        for number, found in enumerate((leave_one_out_of(one.field, _LEFT_OUT), own)):
            squares[number] += np.square(found.residual[:, found.known], dtype=np.float64).sum()
    return float(10 * np.log10(squares[0] / squares[1])) if squares.all() else 0.0


def reduced_gain_db(scene: LrScene, resampling: Resampling, covariance: Covariance) -> float:
    """What a process of shape gains at half and at 1/ratio resolution, added up; 0 where neither can be had."""
    ratio = float(np.sqrt(np.prod([taps.n_in / taps.n_out for taps in resampling.down])))
    gain = 0.0
    for factor in (_HALF, ratio) if ratio > _HALF else (_HALF,):
        parts = (
            ReducedPair.of(plan.lr, WALD_PSF, (1.0, 1.0), factor)
            for plan in spread_plans(scene, resampling, _REDUCED_SIDE)
        )
        errors = np.full(2, _LEAST_ERROR)
        for part in filter(None, parts):
            for number, tried in enumerate((covariance, by_shape(covariance))):
                errors[number] += part.errors(part.fused(FAVOURITE, tried)).squares.sum()
        gain += float(10 * np.log10(errors[0] / errors[1]))
    return gain


def _errors(held: HeldOutBand, covariances: Sequence[Covariance], core: Core) -> Doubles:
    """The squared errors, summed over a core, of a band held out under covariances of one colour kernel."""
    prepared = prepare_kriging(held.problem, covariances[0])
    kriged = (krige(prepared.data, covariance, _SAMPLED) for covariance in covariances)
    fitted = (injected(prepared, one, held.problem) for one in kriged)
    squares = (held.errors(one).within(core).squares.sum() for one in fitted)
    return np.array([max(float(square), _LEAST_ERROR) for square in squares])
