"""The PSF of an LR-HSI, found on the pair itself: its width along rows and columns, and its profile.

The PSF sought is the one through which the LR-HSI's leading components explain most of the degraded MSI. Widths:
FWHM of a Gaussian on each axis. Profile: the Gaussian plus a symmetric correction, linear between nodes, by axis in
turn. The MSI degraded is linear in the correction, so that its share left unexplained is a quotient of quadratic
forms, of which the least is found by Dinkelbach's iteration; the correction is held near zero as strongly as parts
of the scene held out ask for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import COVERED, WALD_PSF, AxisPsf, Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.leading_components import all_components, orthonormal
from emrdiff_cli.core.sensor.optimum import valley, valley_errors
from emrdiff_cli.core.sensor.registration import (
    WIDTHS,
    PairBlock,
    Point,
    estimate_width,
    width_surface,
)

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEPS = (0.12, 0.04)  # of the logarithm of the widths, between those tried in each refinement,
_FINEST_STEP = (
    0.015  # and in the last, within which no HR pixel comes into reach of a PSF that is cut off, or few
)
_NEIGHBOURS = 4
_LEAST_ODD = 0.015  # share of the ratio by which a width must be off to be told from it
_SURE = 2.0  # standard errors by which it must be

_NODES_EACH = 6  # nodes of the profile in an LR pixel,
_LEAST_STEP = 0.5  # and HR pixels between them at least: LR pixels of an even ratio see half ones
_REACH = 2.0  # LR pixels from the centre to the last node
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # tried, in units of the mean curvature
_BEND = 10.0  # how much more a bent correction costs than a large one
_SEEN = 0.9  # share of the profile's reach that must lie within the MSI
_ROUNDS = 3  # over both axes
_ITERATIONS = 4  # Dinkelbach's
_FOLDS = 4
# Standard errors and share of the unexplained that a profile must gain, on folds held out, to be no Gaussian's.
_SURE_OF_SHAPE, _LEAST_GAIN_OF_SHAPE = 3.0, 0.1
_LEAST_GAIN = 0.05  # share that a looser profile must gain on a stiffer one
_NOTHING_LEFT = 2e-5  # share of the MSI: where a Gaussian leaves no more, a shape is told by rounding
_LEAST_PIXELS = 100


@dataclass(frozen=True)
class FoundPsf:
    """A PSF, its FWHM as shares of the ratio (rows, columns) with standard errors, and how it was found.

    `unexplained`: the share of the degraded MSI that the LR-HSI leaves unexplained through it. `odd`: whether its
    widths differ from the ratio beyond their errors; `shaped`: whether its profile differs from a Gaussian.
    """

    psf: Psf
    fwhm: Point
    standard_errors: Point
    unexplained: float
    odd: bool
    shaped: bool


def estimate_psf(block: PairBlock, shift: Point) -> FoundPsf | None:
    """Find the PSF through which the LR-HSI, moved by `shift`, explains most of the degraded MSI.

    Widths that do not differ from the ratio by more than their errors are the ratio's; a profile is a Gaussian's
    unless another one explains clearly more on parts held out. None where the pair does not tell.
    """
    gaussian = estimate_gaussian(block, shift)
    return None if gaussian is None else with_profile(gaussian, block, shift)


def estimate_gaussian(block: PairBlock, shift: Point, near: FoundPsf | None = None) -> FoundPsf | None:
    """The widths alone, from those of a PSF `near` them where one is known; what they leave unexplained is not."""
    by_axis = _widths(block, shift, None if near is None else near.fwhm)
    if by_axis is None:
        return None
    widths, errors = by_axis
    odd = any(
        abs(width - 1) > max(_LEAST_ODD, _SURE * error) for width, error in zip(widths, errors, strict=True)
    )
    fwhm = widths if odd else (1.0, 1.0)
    psf = Psf.of_fwhm(fwhm[0] * block.rows.ratio, fwhm[1] * block.cols.ratio) if odd else WALD_PSF
    return FoundPsf(psf, fwhm, errors, math.nan, odd, False)


def with_profile(gaussian: FoundPsf, block: PairBlock, shift: Point) -> FoundPsf:
    """The PSF with a profile of its own where one is told, and what it leaves unexplained; none on few pixels."""
    axes = gaussian.psf.resolved(block.rows, block.cols).axes
    fitted = None if axes is None else _Profiles(block, shift, axes).fit()
    if fitted is None:
        return gaussian
    found, unexplained = fitted
    shaped = any(axis.correction for axis in found)
    psf = Psf(axes=found) if gaussian.odd or shaped else WALD_PSF
    return replace(gaussian, psf=psf, unexplained=unexplained, shaped=shaped)


def _widths(block: PairBlock, shift: Point, near: Point | None) -> tuple[Point, Point] | None:
    """FWHM along rows and columns as shares of the ratio, and standard errors; None where none is told."""
    surface_of = width_surface(block, shift)
    same = estimate_width(block, shift) if near is None else None
    start = near if same is None else (same.value, same.value)
    if surface_of is None or start is None:
        return None
    place = math.log(start[0]), math.log(start[1])
    for step in _STEPS if near is None else _STEPS[-1:]:
        for _ in range(_NEIGHBOURS):
            around = surface_of(place, step)
            row, col = divmod(int(around.sum(axis=-1).argmin()), 3)
            if (row, col) == (1, 1):
                break
            place = place[0] + step * (row - 1), place[1] + step * (col - 1)
        found = valley(around.sum(axis=-1))
        if found is not None:
            place = place[0] + step * found[0], place[1] + step * found[1]
    errors = valley_errors(around, _STEPS[-1])
    if not all(map(math.isfinite, errors)):
        return None
    finer = valley(surface_of(place, _FINEST_STEP).sum(axis=-1)) or (0.0, 0.0)
    low, high = WIDTHS
    rows, cols = (
        min(max(math.exp(at + _FINEST_STEP * by), low), high) for at, by in zip(place, finer, strict=True)
    )
    return (rows, cols), (rows * errors[0], cols * errors[1])


class _Profiles:
    """The fit of both axes' corrections, on the LR pixels whose PSF lies wholly on valid MSI."""

    def __init__(self, block: PairBlock, shift: Point, axes: tuple[AxisPsf, AxisPsf]) -> None:
        self._axes = axes
        self._msi = block.msi.astype(np.float64)
        places = (block.rows, block.cols)
        sides = tuple(zip(block.valid.shape, block.msi.shape[1:], strict=True))
        self._steps = tuple(max(_LEAST_STEP, axis.ratio / _NODES_EACH) for axis in places)
        counts = tuple(
            round(_REACH * axis.ratio / step) + 1 for axis, step in zip(places, self._steps, strict=True)
        )
        distances = [
            _distances(axis, moved, *side) for axis, moved, side in zip(places, shift, sides, strict=True)
        ]
        self._functions = [
            _functions(distance, psf, step, count)
            for distance, psf, step, count in zip(distances, axes, self._steps, counts, strict=True)
        ]
        self._kept = self._seen(block, distances, counts)
        self._corrections = [np.zeros(count) for count in counts]
        self._directions: Doubles | None = None
        components = all_components(block.hsi, block.valid)
        if components is not None and len(components) and self._kept.sum() >= _LEAST_PIXELS:
            self._directions = np.asarray(orthonormal(components[:, self._kept]), np.float64)
        rows, cols = np.nonzero(self._kept)
        height, width = self._kept.shape
        self._fold = (rows * 8 // height + 2 * (cols * 8 // width)) % _FOLDS

    def fit(self) -> tuple[tuple[AxisPsf, AxisPsf], float] | None:
        """Both axes' PSFs and the share left unexplained; None with too few pixels."""
        if self._directions is None:
            return None
        unexplained = math.nan
        for _ in range(_ROUNDS):
            before = tuple(self._corrections)
            for axis in (0, 1):
                quotient = self._quotient(axis, self._directions)
                self._corrections[axis] = quotient.correction()
                unexplained = quotient.value(self._corrections[axis])
            if all(map(np.array_equal, before, self._corrections)):
                break
        rows, cols = (
            AxisPsf(psf.sigma_px, tuple(correction.tolist()) if correction.any() else (), step)
            for psf, correction, step in zip(self._axes, self._corrections, self._steps, strict=True)
        )
        return (rows, cols), unexplained

    def _seen(self, block: PairBlock, distances: Sequence[Doubles], counts: Sequence[int]) -> Mask:
        """LR pixels (h, w) that are valid, and whose PSF lies on valid MSI out to most of the profile's reach."""
        within = []
        for distance, step, count in zip(distances, self._steps, counts, strict=True):
            reach = _SEEN * step * (count - 1)
            within.append((distance[:, 0] <= -reach + 0.5) & (distance[:, -1] >= reach - 0.5))
        by_rows, by_cols = (_normalised(functions[0]) for functions in self._functions)
        covered = by_rows @ block.msi_valid.astype(np.float64) @ by_cols.T > COVERED
        return np.asarray(block.valid & covered & within[0][:, None] & within[1])

    def _quotient(self, axis: int, directions: Doubles) -> _Quotient:
        other = self._functions[1 - axis]
        along = _normalised(other[0] + np.tensordot(self._corrections[1 - axis], other[1:], axes=1))
        if axis == 0:
            narrowed = self._msi @ along.T
            images = np.stack([rows @ narrowed for rows in self._functions[0]])
        else:
            narrowed = along @ self._msi
            images = np.stack([narrowed @ cols.T for cols in self._functions[1]])
        values = images[:, :, self._kept]
        values = values - values.mean(axis=-1, keepdims=True)
        rest = values - (values @ directions) @ directions.T
        power = np.square(values[0]).sum(axis=-1)
        unit = np.where(power > 0, 1 / np.maximum(np.sqrt(power), 1e-30), 0.0)[:, None]
        values, rest = (part * unit / math.sqrt(len(unit)) for part in (values, rest))
        folds = [_products(rest[..., self._fold == fold]) for fold in range(_FOLDS)]
        sums = self._functions[axis].sum(axis=2).mean(axis=1)
        return _Quotient(np.stack(folds), _products(values), sums)


@dataclass(frozen=True)
class _Quotient:
    """The unexplained share as x Q x / x T x of x = (1, correction), Q by fold; `sums`: the functions' weights."""

    unexplained: Doubles
    total: Doubles
    sums: Doubles

    def value(self, correction: Doubles) -> float:
        """The share under a correction."""
        return _share(self.unexplained.sum(axis=0), self.total, correction)

    def correction(self) -> Doubles:
        """The correction under the strongest penalty that none explains clearly more than, on folds held out."""
        whole, zero = self.unexplained.sum(axis=0), np.zeros(len(self.sums) - 1)
        held = {math.inf: np.array([_share(fold, self.total, zero) for fold in self.unexplained])}
        for penalty in _PENALTIES:
            held[penalty] = np.array(
                [_share(fold, self.total, self._least(whole - fold, penalty)) for fold in self.unexplained]
            )
        best = min(held, key=lambda penalty: float(held[penalty].sum()))
        shaped = _gains(held[math.inf], held[best], _SURE_OF_SHAPE, _LEAST_GAIN_OF_SHAPE)
        if not shaped or held[math.inf].sum() < _NOTHING_LEFT:
            return zero
        loosened = sorted((penalty for penalty in held if penalty < math.inf), reverse=True)
        chosen = next(p for p in loosened if p == best or not _gains(held[p], held[best], 1.0, _LEAST_GAIN))
        return self._least(whole, chosen)

    def _least(self, unexplained: Doubles, penalty: float) -> Doubles:
        """The correction, of no weight in all, under which the share and the penalty are least."""
        count = len(self.sums) - 1
        bends = np.diff(np.eye(count), 2, axis=0)
        stiffness = np.eye(count) + _BEND * bends.T @ bends
        stiffness *= penalty * np.trace(unexplained[1:, 1:]) / count
        correction, weights = np.zeros(count), self.sums[1:]
        for _ in range(_ITERATIONS):
            form = unexplained - _share(unexplained, self.total, correction) * self.total
            system = np.block([[form[1:, 1:] + stiffness, weights[:, None]], [weights, np.zeros(1)]])
            correction = np.linalg.solve(system, np.append(-form[1:, 0], 0.0))[:count]
        return correction


def _gains(one: Doubles, other: Doubles, errors: float, share: float) -> bool:
    """Whether the other leaves less unexplained (folds,), by so many standard errors and by a share of it."""
    gain = one - other
    noise = float(gain.std(ddof=1)) * math.sqrt(len(gain))
    return bool(gain.sum() > max(errors * noise, share * float(one.sum())))


def _share(unexplained: Doubles, total: Doubles, correction: Doubles) -> float:
    x = np.concatenate([[1.0], correction])
    return float(x @ unexplained @ x / max(float(x @ total @ x), 1e-30))


def _products(values: Doubles) -> Doubles:
    return np.asarray(np.einsum("imx,jmx->ij", values, values, optimize=True))


def _distances(axis: AxisPlacement, moved: float, n_lr: int, n_hr: int) -> Doubles:
    """(n_lr, n_hr): from each LR pixel's centre to each HR pixel's, in HR pixels."""
    centres = axis.offset + axis.ratio * (np.arange(n_lr) + 0.5 + moved) - 0.5
    return np.asarray(np.arange(n_hr) - centres[:, None])


def _functions(distances: Doubles, psf: AxisPsf, step: float, count: int) -> Doubles:
    """(1 + count, n_lr, n_hr): the Gaussian, and a hat on each node."""
    hats = [np.maximum(0.0, 1 - np.abs(np.abs(distances) / step - node)) for node in range(count)]
    return np.stack([psf.kernel(distances), *hats])


def _normalised(weights: Doubles) -> Doubles:
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30))
