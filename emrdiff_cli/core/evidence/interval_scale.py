"""How much wider than expected kriging's errors are on a pair, told by what the pair shows of itself.

Expected is the posterior's variance with the texture of which the MSI tells nothing, here as in the fusion.

- At reduced resolution (Wald's protocol, by a factor of 2) all bands have a truth: how they differ. Bands under
  an MSI band are better known than expected, those under none less.
- MSI bands held out at full resolution show how edges and flat ground differ, and how much goes wrong at the true
  scale.
- LR pixels left out one by one show whether the covariance fits the ground, and the pair's geometry its pixels.

The first two are degraded and get no noise after that: what is white in them is texture of what they were degraded
from, its noise too. Few pixels would tell it for noise, expect too little, and make the scale too wide.

All of them shift the scale of the whole by less than they say, since each is told by little. The constants were
settled on CAVE's train scenes and on AVIRIS (`tests.benchmarks.calibration`).

What each MSI band has of its own the detail takes with it. The MSI alone cannot tell whether that is noise or
ground: it is taken for noise in the share in which what is white in the LR-HSI is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.evidence.geometry_error import GeometryErrors
from emrdiff_cli.core.evidence.held_out_band import HeldOutBand, held_out_bands
from emrdiff_cli.core.evidence.msi_noise import msi_noise
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.evidence.scene_part import Core, ScenePart
from emrdiff_cli.core.evidence.uncertainty import BandVariances, IntervalScale, edge_magnitude, msi_spread
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.kriged_detail import injected, prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess, predictor
from emrdiff_cli.core.methods.leave_one_out import leave_one_out_of
from emrdiff_cli.core.methods.posterior import posterior_of, white_parts
from emrdiff_cli.core.methods.scene_end_point import find_end_point, own_basis
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.observation import LrScene, Strip

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

Z90 = 1.64485
"""Standard deviations within which nine tenths of a Gaussian lie."""

_FACTOR = 2.0  # of the reduced resolution
_SHARES = (0.0, 0.5, 0.8, 1.0)  # of the pixels, by edge magnitude: flat ground, between, edges
_USUAL_HELD, _USUAL_REDUCED = 0.65, 1.15  # scales where there are no held-out bands, or no reduced resolution
_LEVEL = 1.6  # of the scale, times the powers of the evidence:
_BAND = 0.85  # of what a band's at reduced resolution is over the median of the bands',
_REDUCED, _HELD, _LEFT = 0.6, 0.4, 2.0  # of that median, of the held-out bands' and of the left-out pixels'
_TRUSTED = 50  # pixels at reduced resolution for which a band's own scale counts as much as its neighbours'
_LEFT_OUT_BLOCKS = 64
_LEFT_OUT = (0.5, 2.0)  # scales of standardised residuals that are taken for possible
_LEAST_PIXELS = 16  # valid LR pixels of an excerpt for each MSI band
_EXACT = 1e-5  # of a band's spread: smaller errors are rounding
_USUAL_EDGES = (0.75, 1.0, 1.5)  # scale of flat ground, between, and edges, over that of all, times
_AT_EDGES, _EDGE_POWER = np.array((0.9, 1.02, 1.2)), 0.5  # (those of bands held out)^power
_NEIGHBOURS = 9  # bands
_LEAST, _MOST = 0.01, 4.0  # of a scale: where more is missing the nugget is all, and it is the LR-HSI's noise
_SHARE_WITHIN = 0.9
_USUAL_HALF = 0.8  # of the Gaussian's half width, and
_HALF_TOLD = 0.5  # how much what the pair's errors show of it counts
_Z50 = 0.67449


def find_interval_scale(
    scene: LrScene,
    excerpt: ScenePart,
    psf: Psf,
    ratio: tuple[float, float],
    field: GaussianProcess,
    most: int = 4,
    covariance: Covariance = USUAL,
    misplaced: GeometryErrors | None = None,
) -> IntervalScale:
    """The scale of a scene's bands (B,), of whose MSI `excerpt` is a part; `ratio` along rows and columns.

    `field` is that of the scene's kriging. `most` MSI bands are held out, spread over all. `misplaced`: errors of
    the geometry that are told by themselves: what they make of those at reduced resolution is taken off.
    """
    held = list(_errors_held_out(excerpt, most, covariance))
    reduced = ReducedPair.of(scene, psf, ratio, _FACTOR)
    seen = None if reduced is None else _at_reduced_resolution(reduced, covariance, misplaced)
    left_out = _left_out(field)
    by_band = np.full(len(scene.hsi), np.log(_USUAL_REDUCED)) if seen is None else _log_by_band(seen)
    median = float(np.median(by_band))
    level = float(np.median([errors.bounded_scale() for errors in held])) if held else _USUAL_HELD
    bands = (
        _LEVEL
        * np.exp(_BAND * (by_band - median) + _REDUCED * median)
        * level**_HELD
        * (1.0 if left_out is None else left_out) ** _LEFT
    )
    magnitude = edge_magnitude(_padded(excerpt.msi), msi_spread(excerpt.lr))
    edges, by_edge = _by_edge(held, magnitude[excerpt.valid])
    names = (
        ("reduced resolution",) * (seen is not None)
        + ("held-out bands",) * bool(held)
        + ("pixels left out",) * (left_out is not None)
    )
    half = _half(held, [] if seen is None else [seen])
    return IntervalScale(
        bands,
        edges,
        _AT_EDGES * by_edge**_EDGE_POWER,
        half,
        names or ("usual",),
        msi_noise(excerpt.msi, excerpt.valid) * (1 - field.common_texture().mean()),
    )


@dataclass(frozen=True)
class _Errors:
    """Squared errors (n, N) of bands, the variances (n, N) expected, and the edges' `magnitude` (N,)."""

    squares: Doubles
    expected: Doubles
    magnitude: Floats

    @property
    def count(self) -> int:
        """Pixels N."""
        return len(self.magnitude)

    def without(self, made: Floats) -> _Errors:
        """The errors less the squares (n, N) that something else `made`, as far as they are more than expected."""
        return replace(self, squares=self.squares - np.clip(self.squares - self.expected, 0, made))

    def scale(self, where: Mask | slice = slice(None)) -> Doubles:
        """The scale (n,) of the expected deviations under which 90 % of the errors lie within `Z90` of them."""
        needed = np.quantile(self.squares[:, where] / self.expected[:, where], _SHARE_WITHIN, axis=1)
        return np.asarray(np.maximum(np.sqrt(needed) / Z90, _LEAST))

    def bounded_scale(self) -> Doubles:
        """The scale (n,), where it is larger than can be believed the largest that can."""
        return np.minimum(self.scale(), _MOST)

    def tail(self) -> float:
        """How much narrower than a Gaussian's the half of the errors lies for its 90 %, median of the bands."""
        half, most = np.quantile(self.squares / self.expected, (0.5, _SHARE_WITHIN), axis=1)
        told = most > 0
        if not told.any():
            return _USUAL_HALF
        return float(np.median(np.sqrt(half[told] / most[told]))) * Z90 / _Z50


def _errors_held_out(excerpt: ScenePart, most: int, covariance: Covariance) -> Iterator[_Errors]:
    """The errors of MSI bands held out of an excerpt; of none where it is too small.

    A band that is one of the others, as in a grey image of three, tells nothing: no error is expected of it.
    """
    count = len(excerpt.lr.msi)
    if excerpt.lr.valid.sum() < _LEAST_PIXELS * count:
        return
    for held in held_out_bands(excerpt.lr, excerpt.strips, excerpt.resampling, most=most):
        if held.spread > 0:
            errors = _errors_of(held, excerpt.core, covariance)
            if errors.count and errors.expected.min() > (_EXACT * held.spread) ** 2:
                yield errors


def _errors_of(held: HeldOutBand, core: Core, covariance: Covariance) -> _Errors:
    problem, seen = held.problem, held.problem.lr.valid
    counted = np.zeros_like(seen)
    counted[core] = seen[core]
    prepared = prepare_kriging(problem, covariance)
    field = GaussianProcess.likeliest(prepared.data, covariance)
    fitted = injected(prepared, predictor(field), problem)
    posterior = posterior_of(field, prepared, problem.resampling)
    rows, cols = problem.resampling.nearest_lr
    ((_, msi, valid),), ((_, truth, _),) = list(problem.strips()), list(held.truth())
    values = fitted.tile(msi, *problem.resampling.up).values
    scored = valid & counted[rows][:, cols]
    expected = posterior.scene_variances(msi) + white_parts(posterior, noisy=False).texture[0]
    magnitude = edge_magnitude(_padded(msi), msi_spread(problem.lr))
    return _Errors(
        np.square(values - truth, dtype=np.float64)[:, scored],
        expected[:, scored].astype(np.float64),
        magnitude[scored],
    )


def _left_out(field: GaussianProcess) -> float | None:
    """The scale of kriging's residuals at LR pixels left out, median of the channels; None without any."""
    found = leave_one_out_of(field, _LEFT_OUT_BLOCKS)
    if not found.known.any():
        return None
    residual, deviation = (
        image[:, found.known].astype(np.float64) for image in (found.residual, found.deviation)
    )
    told = (deviation > 0).all(axis=1)
    if not told.any():
        return None
    errors = _Errors(np.square(residual[told]), np.square(deviation[told]), deviation[0])
    return float(np.clip(np.median(errors.scale()), *_LEFT_OUT))


def _at_reduced_resolution(
    reduced: ReducedPair, covariance: Covariance, misplaced: GeometryErrors | None
) -> _Errors:
    """The errors of all bands at reduced resolution."""
    lower, truth, resampling = reduced.lower, reduced.truth, reduced.resampling

    def strips() -> Iterator[Strip]:
        yield Strip(0, truth.msi, truth.valid)

    basis = own_basis(lower)
    end = find_end_point(lower, strips, resampling, "kriging", basis, covariance)
    expected = BandVariances.of_scene(lower, strips, resampling, basis, covariance, noisy=False)
    rows, cols = resampling.nearest_lr
    scored = truth.valid & lower.valid[rows][:, cols]
    wrong = end.bands(truth.msi, *resampling.up)[:, scored] - truth.hsi[:, scored]
    errors = _Errors(
        np.square(wrong, dtype=np.float64),
        expected.of(expected.posterior.scene_variances(truth.msi)[:, scored]).astype(np.float64),
        np.zeros(int(scored.sum())),
    )
    return errors if misplaced is None else errors.without(misplaced.squares()[:, scored])


def _log_by_band(seen: _Errors) -> Doubles:
    """The logarithms (B,) of the bands' scales, nearer to those of their neighbours the fewer pixels tell them."""
    logs = np.log(seen.bounded_scale())
    trusted = seen.count / (seen.count + _TRUSTED)
    around = ndimage.median_filter(logs, _NEIGHBOURS, mode="nearest")
    return np.asarray(trusted * logs + (1 - trusted) * around)


def _half(held: Sequence[_Errors], seen: Sequence[_Errors]) -> float:
    """What holds half of the errors, in units of a Gaussian's half width, by the tails of those that are seen."""
    kinds = [np.median([errors.tail() for errors in kind]) for kind in (held, seen) if kind]
    told = float(np.mean(kinds)) if kinds else _USUAL_HALF
    return (1 - _HALF_TOLD) * _USUAL_HALF + _HALF_TOLD * told


def _by_edge(held: list[_Errors], magnitude: Floats) -> tuple[Doubles, Doubles]:
    """Edge magnitudes in the middle of flat ground, edges and between, and the scale there over that of all."""
    limits = np.quantile(magnitude, _SHARES) if len(magnitude) else np.zeros(len(_SHARES))
    middles = (
        np.quantile(magnitude, [np.mean(_SHARES[i : i + 2]) for i in range(3)])
        if len(magnitude)
        else limits[:3]
    )
    if not held:
        return np.asarray(middles), np.asarray(_USUAL_EDGES)
    factors = []
    for errors in held:
        low, high = np.quantile(errors.magnitude, _SHARES[1:3])
        parts = (
            errors.magnitude < low,
            (errors.magnitude >= low) & (errors.magnitude < high),
            errors.magnitude >= high,
        )
        whole = errors.scale()
        factors.append([float((errors.scale(part) / whole)[0]) if part.any() else 1.0 for part in parts])
    return np.asarray(middles), np.asarray(np.median(factors, axis=0))


def _padded(image: Floats) -> Floats:
    """With a pixel more on each side, the edge's again."""
    return np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
