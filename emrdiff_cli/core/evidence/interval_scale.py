"""How much wider than its posterior kriging's errors are on a pair, told by what the pair shows of itself.

- At reduced resolution (Wald's protocol, by a factor of 2) all bands have a truth: the scale by band. Bands under
  an MSI band are better known than the posterior tells, those under none less.
- MSI bands held out at full resolution show how edges and flat ground differ, and how much more goes wrong at the
  true scale than at the reduced one.
- LR pixels left out one by one show whether the covariance fits the ground, and the pair's geometry its pixels.

The constants that join both were settled on CAVE's train scenes and on AVIRIS (`tests.benchmarks.calibration`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.evidence.geometry_error import GeometryErrors
from emrdiff_cli.core.evidence.held_out_band import HeldOutBand, held_out_bands
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.evidence.scene_part import Core, ScenePart
from emrdiff_cli.core.evidence.uncertainty import BandVariances, IntervalScale, edge_magnitude
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.kriged_detail import injected, prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess, predictor
from emrdiff_cli.core.methods.leave_one_out import leave_one_out_of
from emrdiff_cli.core.methods.posterior import posterior_of
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
_USUAL = 1.6  # scale of held-out bands where there are none, or no reduced resolution
_LEVEL, _POWER = (
    1.2,
    0.5,
)  # by band: reduced resolution's x level x (held-out bands' / usual)^power x left out's
_TRUSTED = 50  # pixels at reduced resolution for which a band's own scale counts as much as its neighbours'
_LEFT_OUT_BLOCKS = 64
_LEFT_OUT = (0.5, 2.0)  # root mean squares of standardised residuals that are taken for possible
_LEAST_PIXELS = 16  # valid LR pixels of an excerpt for each MSI band
_USUAL_EDGES = (0.9, 1.05, 1.2)
_NEIGHBOURS = 9  # bands
_LEAST, _MOST = 0.01, 4.0  # of a scale: where more is missing the nugget is all, and it is the LR-HSI's noise
_SHARE_WITHIN = 0.9


def find_interval_scale(
    scene: LrScene,
    excerpt: ScenePart,
    psf: Psf,
    ratio: tuple[float, float],
    field: GaussianProcess,
    most: int = 4,
    covariance: Covariance = USUAL,
    misplaced: tuple[GeometryErrors, GeometryErrors] | None = None,
) -> IntervalScale:
    """The scale of a scene's bands (B,), of whose MSI `excerpt` is a part; `ratio` along rows and columns.

    `field` is that of the scene's kriging. `most` MSI bands are held out, spread over all. `misplaced`: the
    geometry's errors in the scene's bands and in the field's channels, told of by themselves: what they make of
    the errors seen at LR is taken off these.
    """
    of_bands, of_channels = misplaced or (None, None)
    held = list(_errors_held_out(excerpt, most, covariance))
    level = float(np.median([np.minimum(errors.scale(), _MOST) for errors in held])) if held else _USUAL
    reduced, count = ReducedPair.of(scene, psf, ratio, _FACTOR), len(scene.hsi)
    left_out = _left_out(field, of_channels)
    bands, texture = np.full(count, level), np.ones(count)
    if reduced is not None:
        by_band = _at_reduced_resolution(reduced, covariance, of_bands)
        bands, texture = by_band * _LEVEL * (level / _USUAL) ** _POWER, np.minimum(1.0, by_band)
    bands = bands * (1.0 if left_out is None else left_out)
    spread = excerpt.lr.msi[:, excerpt.lr.valid].std(axis=1)
    edges, by_edge = _by_edge(held, edge_magnitude(_padded(excerpt.msi), spread)[excerpt.valid])
    names = (
        ("reduced resolution",) * (reduced is not None)
        + ("held-out bands",) * bool(held)
        + ("pixels left out",) * (left_out is not None)
    )
    return IntervalScale(bands, texture, edges, by_edge, names or ("usual",))


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

    def scale(self, where: Mask | slice = slice(None)) -> Doubles:
        """The scale (n,) of the expected deviations under which 90 % of the errors lie within `Z90` of them."""
        needed = np.quantile(self.squares[:, where] / self.expected[:, where], _SHARE_WITHIN, axis=1)
        return np.asarray(np.maximum(np.sqrt(needed) / Z90, _LEAST))


def _errors_held_out(excerpt: ScenePart, most: int, covariance: Covariance) -> Iterator[_Errors]:
    """The errors of MSI bands held out of an excerpt; of none where it is too small."""
    count = len(excerpt.lr.msi)
    if excerpt.lr.valid.sum() < _LEAST_PIXELS * count:
        return
    for held in held_out_bands(excerpt.lr, excerpt.strips, excerpt.resampling, most=most):
        if held.spread > 0:
            errors = _errors_of(held, excerpt.core, covariance)
            if errors.count:
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
    expected = posterior.scene_variances(msi)
    spread = problem.lr.msi[:, seen].std(axis=1)
    magnitude = edge_magnitude(_padded(msi), spread)
    return _Errors(
        np.square(values - truth, dtype=np.float64)[:, scored],
        expected[:, scored].astype(np.float64),
        magnitude[scored],
    )


def _left_out(field: GaussianProcess, misplaced: GeometryErrors | None) -> float | None:
    """The root mean square of kriging's standardised residuals at LR pixels left out; None without any."""
    found = leave_one_out_of(field, _LEFT_OUT_BLOCKS)
    if not found.known.any():
        return None
    residual, deviation = (
        image[:, found.known].astype(np.float64) for image in (found.residual, found.deviation)
    )
    squares = np.square(residual)
    if misplaced is not None:
        squares -= misplaced.squares()[:, found.known]
    told = deviation > 0
    if not told.any():
        return None
    mean = float(np.mean(squares[told] / np.square(deviation[told])))
    return float(np.clip(np.sqrt(max(mean, 0.0)), *_LEFT_OUT))


def _at_reduced_resolution(
    reduced: ReducedPair, covariance: Covariance, misplaced: GeometryErrors | None
) -> Doubles:
    """The scale of each band (B,) at reduced resolution."""
    lower, truth, resampling = reduced.lower, reduced.truth, reduced.resampling

    def strips() -> Iterator[Strip]:
        yield Strip(0, truth.msi, truth.valid)

    basis = own_basis(lower)
    end = find_end_point(lower, strips, resampling, "kriging", basis, covariance)
    expected = BandVariances.of_scene(lower, strips, resampling, basis, covariance)
    rows, cols = resampling.nearest_lr
    scored = truth.valid & lower.valid[rows][:, cols]
    wrong = end.bands(truth.msi, *resampling.up)[:, scored] - truth.hsi[:, scored]
    squares = np.square(wrong, dtype=np.float64)
    if misplaced is not None:
        squares = np.maximum(squares - misplaced.squares()[:, scored], 0.0)
    errors = _Errors(
        squares,
        expected.of(expected.posterior.scene_variances(truth.msi)[:, scored]).astype(np.float64),
        np.zeros(int(scored.sum())),
    )
    scale = np.minimum(errors.scale(), _MOST)
    trusted = errors.count / (errors.count + _TRUSTED)
    around = ndimage.median_filter(np.log(scale), _NEIGHBOURS, mode="nearest")
    return np.asarray(np.exp(trusted * np.log(scale) + (1 - trusted) * around))


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
