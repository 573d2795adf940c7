"""How far an LR-HSI is displaced against an HR-MSI, and how wide its PSF is, found on the pair itself.

The MSI is degraded to the LR grid at a tried displacement and PSF width, from its own pixels, so that no LR
pixel is ever interpolated; what a least-squares map of the LR-HSI explains of it (R^2, mean over MSI bands)
is greatest where both see the same ground. Displacements are in LR pixels, down and to the right positive:
what the LR-HSI's grid has to be moved by. Widths are the FWHM of a Gaussian PSF as a share of the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import COVERED, DegradedImage, Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.leading_components import (
    COMPONENTS,
    PIXELS_EACH,
    all_components,
    leading_components,
    orthonormal,
)
from emrdiff_cli.core.sensor.observation import LrScene, seen_by
from emrdiff_cli.core.sensor.optimum import dip, jackknife, valley, valley_errors, without_each
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Point = tuple[float, float]

REACH = 3  # LR pixels: the farthest displacement looked for, along each axis
TOLERANCE = 0.1  # LR pixels: the error that `confidence` is about
WIDTHS = (0.4, 2.5)  # the narrowest and the widest PSF looked for

_INSIDE = 0.97  # share of it, on each axis, that must lie within the MSI
_STEPS = (0.5, 0.25, 0.1)  # LR pixels between the displacements tried in each refinement
_NEIGHBOURS = 4  # of them that are followed downhill at each step size
_WIDTH_STEPS = (0.35, 0.12, 0.04)  # the same for the natural logarithm of the width
_BLOCKS = 4  # parts of the scene along each axis that take turns in being left out
_LEAST_CONFIDENCE = 0.25  # below it the fit has no real optimum
_RELATED = 0.5  # R^2 from which a pair is related whatever chance does
_ABOVE_CHANCE = 0.7  # of what chance leaves unexplained: the most that a related pair does


@dataclass(frozen=True)
class PairBlock:
    """LR-HSI (B, h, w) and HR-MSI (m, H, W) without holes, their valid pixels, how one lies on the other."""

    hsi: Floats
    valid: Mask
    msi: Floats
    msi_valid: Mask
    rows: AxisPlacement
    cols: AxisPlacement


@dataclass(frozen=True)
class Shift:
    """Displacement of the LR-HSI's grid, to be undone, in LR pixels, down and to the right.

    `confidence` is the probability that both are right within TOLERANCE by their `standard_errors` (a
    jackknife over parts of the scene); 0, with no shift, where the pair does not tell. R^2 of the fit: without
    a move, at the best one found, and by chance, with the MSI mirrored or rolled away; on so many LR `pixels`
    (0: too few to tell anything).
    """

    rows: float = 0.0
    cols: float = 0.0
    confidence: float = 0.0
    standard_errors: Point = (math.inf, math.inf)
    r2_before: float = 0.0
    r2_after: float = 0.0
    r2_chance: float = 0.0
    pixels: int = 0

    @property
    def distance(self) -> float:
        """Length of the displacement in LR pixels."""
        return math.hypot(self.rows, self.cols)

    @property
    def significant(self) -> bool:
        """Whether the displacement is twice its standard error or more on one axis."""
        found = zip((self.rows, self.cols), self.standard_errors, strict=True)
        return self.confidence > 0 and any(abs(value) >= 2 * error for value, error in found)

    @property
    def unrelated(self) -> bool:
        """Whether the two show different ground, or nothing, as far as the fit can tell."""
        stands_out = 1 - self.r2_after < _ABOVE_CHANCE * (1 - self.r2_chance)
        return self.pixels > 0 and not (self.confidence > 0 or self.r2_after > _RELATED or stands_out)


@dataclass(frozen=True)
class PsfWidth:
    """FWHM of the Gaussian PSF as a share of the ratio, and its standard error (jackknife)."""

    value: float
    standard_error: float


def estimate_shift(block: PairBlock, width: float = 1.0) -> Shift:
    """Find the displacement under which the LR-HSI explains most of the degraded MSI, for a PSF width.

    Whole LR pixels up to REACH first, then parabolas through 3 x 3 displacements ever closer together.
    """
    components = leading_components(block.hsi, block.valid, COMPONENTS)
    if components is None:
        return Shift()
    block = _without_constant_bands(block)
    if not len(components) or not len(block.msi):
        return Shift(pixels=int(block.valid.sum()) if block.msi_valid.any() else 0)
    lattice = _Lattice(block, components, width)
    start = lattice.best()
    if start is None:
        return Shift()
    fit = _Fit(block, components, lattice.pixels_around(start))
    point, surface = _descend(lambda at, step: fit.surface(at, step, width), start)
    errors = valley_errors(surface, _STEPS[-1])
    found = Shift(
        *point,
        confidence=_confidence(point, errors),
        standard_errors=errors,
        r2_before=fit.r2((0.0, 0.0), width),
        r2_after=fit.r2(point, width),
        r2_chance=lattice.chance(start),
        pixels=fit.pixels,
    )
    return found if found.confidence else replace(found, rows=0.0, cols=0.0)


def estimate_width(block: PairBlock, shift: Point) -> PsfWidth | None:
    """Find the PSF under which the LR-HSI, moved by `shift`, explains most of the degraded MSI.

    None where the pair does not tell, or where the best lies beyond WIDTHS.
    """
    if (fit := _width_fit(block, shift)) is None:
        return None
    low, high = (math.log(width) for width in WIDTHS)
    tried = np.arange(low, high + _WIDTH_STEPS[0], _WIDTH_STEPS[0])
    place = float(min(tried, key=lambda at: fit.unexplained(shift, math.exp(at)).sum()))
    for step in _WIDTH_STEPS:
        slope = np.stack([fit.unexplained(shift, math.exp(place + i * step)) for i in (-1, 0, 1)])
        towards = dip(slope.sum(axis=-1))
        place += 0.0 if towards is None else step * towards
        if towards is None or not low <= place <= high:
            return None
    error = jackknife([dip(rest) for rest in without_each(slope)]) * step
    value = math.exp(place)
    return PsfWidth(value, value * float(error)) if math.isfinite(error) else None


def width_surface(block: PairBlock, shift: Point) -> Callable[[Point, float], Floats] | None:
    """The unexplained (3, 3, parts) of a block moved by `shift`, around logarithms of widths (rows, columns).

    The function takes these and the step between those tried. None where the block has too few pixels.
    """
    if (fit := _width_fit(block, shift)) is None:
        return None

    def surface(place: Point, step: float) -> Floats:
        rows, cols = ([math.exp(at + i * step) for i in (-1, 0, 1)] for at in place)
        tried = [(shift[0], row) for row in rows]
        return np.stack([fit.along_rows(tried, (shift[1], col)) for col in cols], axis=1)

    return surface


def _width_fit(block: PairBlock, shift: Point) -> _Fit | None:
    """The regression for widths of a block moved by `shift`; None with too few pixels."""
    components, block = all_components(block.hsi, block.valid), _without_constant_bands(block)
    if components is None or not len(components) or not len(block.msi):
        return None
    kept = _Lattice(block, components, max(WIDTHS)).pixels_around((round(shift[0]), round(shift[1])))
    return _Fit(block, components, kept) if kept.sum() >= _least_pixels(components) else None


def see_at_lr(block: PairBlock, shift: Point, psf: Psf) -> LrScene:
    """The block at LR: the MSI degraded to the LR-HSI's grid, moved by `shift`, through a PSF."""
    rows, cols = moved(block.rows, shift[0]), moved(block.cols, shift[1])
    height, width = block.valid.shape
    down = psf.resolved(rows, cols).down(
        rows, cols, (height, width), (block.msi.shape[1], block.msi.shape[2])
    )
    image = DegradedImage(len(block.msi), down)
    image.add(0, np.asarray(block.msi, np.float32), block.msi_valid)
    msi, covered = seen_by(image)
    return LrScene(np.asarray(block.hsi, np.float32), msi, block.valid & covered)


def _without_constant_bands(block: PairBlock) -> PairBlock:
    """The pair without MSI bands that are the same everywhere."""
    spans = [
        np.max(band, where=block.msi_valid, initial=-np.inf)
        - np.min(band, where=block.msi_valid, initial=np.inf)
        for band in block.msi
    ]
    varied = np.array(spans) > 0
    return block if varied.all() else replace(block, msi=block.msi[varied])


def _least_pixels(components: Floats) -> int:
    return PIXELS_EACH * (len(components) + 1)


def moved(placement: AxisPlacement, shift: float) -> AxisPlacement:
    """The placement of an axis whose LR pixels are moved by `shift` of them."""
    return AxisPlacement(placement.ratio, placement.offset + shift * placement.ratio)


def _taps(placement: AxisPlacement, n_lr: int, n_hr: int, shift: float, width: float) -> Taps:
    """HR -> LR for a grid moved by `shift` LR pixels."""
    return gaussian_downsampler(moved(placement, shift), n_lr, n_hr, width * placement.ratio / FWHM_PER_SIGMA)


class _Lattice:
    """R^2 at displacements by whole LR pixels: the MSI is degraded once, to a grid that reaches farther."""

    def __init__(self, block: PairBlock, components: Floats, width: float) -> None:
        self._valid, self._components = block.valid, components
        self._margin = REACH + 1
        (height, width_px), margin = block.valid.shape, self._margin
        rows = _taps(block.rows, height + 2 * margin, block.msi.shape[1], -margin, width)
        cols = _taps(block.cols, width_px + 2 * margin, block.msi.shape[2], -margin, width)
        self._msi = apply_taps(block.msi, rows, cols).astype(np.float64)
        covered = apply_taps(block.msi_valid.astype(np.float32), rows, cols) > COVERED
        self._seen = covered & (rows.inside > _INSIDE)[:, None] & (cols.inside > _INSIDE)

    def best(self) -> tuple[int, int] | None:
        """The displacement with the greatest R^2; None where each leaves too few pixels."""
        found: dict[tuple[int, int], float] = {}
        for down, right in product(range(-REACH, REACH + 1), repeat=2):
            point = down, right
            msi, valid = self._at(point)
            if valid.sum() >= _least_pixels(self._components):
                found[point] = explained(self._components[:, valid], msi[:, valid])
        return max(found, key=found.__getitem__) if found else None

    def pixels_around(self, point: tuple[int, int]) -> Mask:
        """LR pixels (h, w) valid at the displacement and at its neighbours, or if these are few, at it alone."""
        around = [(point[0] + i, point[1] + j) for i, j in product((-1, 0, 1), repeat=2)]
        kept = np.logical_and.reduce([self._at(place)[1] for place in around])
        return kept if kept.sum() >= _least_pixels(self._components) else self._at(point)[1]

    def chance(self, point: tuple[int, int]) -> float:
        """The greatest R^2 with the MSI mirrored, or rolled by half of the scene."""
        msi, valid = self._at(point)
        return max(self._explained_elsewhere(msi, valid, away) for away in _away(*valid.shape))

    def _explained_elsewhere(self, msi: Floats, valid: Mask, away: Callable[[Any], Any]) -> float:
        both = away(valid) & self._valid
        if both.sum() < _least_pixels(self._components):
            return 0.0
        return explained(self._components[:, both], away(msi)[:, both])

    def _at(self, point: tuple[int, int]) -> tuple[Floats, Mask]:
        """The MSI (m, h, w) at LR and the valid pixels, both displaced."""
        height, width = self._valid.shape
        rows = slice(self._margin + point[0], self._margin + point[0] + height)
        cols = slice(self._margin + point[1], self._margin + point[1] + width)
        return self._msi[:, rows, cols], self._seen[rows, cols] & self._valid


def _away(height: int, width: int) -> list[Callable[[Any], Any]]:
    """Moves that keep an image's texture but put it elsewhere."""
    down, right = height // 2, width // 2
    return [
        lambda image: image[..., ::-1, :],
        lambda image: image[..., ::-1],
        lambda image: image[..., ::-1, ::-1],
        lambda image: np.roll(image, down, -2),
        lambda image: np.roll(image, right, -1),
        lambda image: np.roll(image, (down, right), (-2, -1)),
    ]


class _Fit:
    """The regression of the degraded MSI on the components, over the same LR pixels at every displacement."""

    def __init__(self, block: PairBlock, components: Floats, kept: Mask) -> None:
        self._block, self._kept = block, kept
        self._directions = orthonormal(components[:, kept])
        height, width = kept.shape
        down, right = np.arange(height) * _BLOCKS // height, np.arange(width) * _BLOCKS // width
        self._part = (down[:, None] * _BLOCKS + right)[kept]
        self.pixels = int(kept.sum())

    def surface(self, point: Point, step: float, width: float) -> Floats:
        """(3, 3, parts): `unexplained` at displacements around a point."""
        down, right = ([(at + i * step, width) for i in (-1, 0, 1)] for at in point)
        return np.stack([self.along_rows(down, at) for at in right], axis=1)

    def unexplained(self, point: Point, width: float) -> Floats:
        """(parts,): each part's share of the unexplained, so that their sum is 1 - R^2."""
        return np.asarray(self.along_rows([(point[0], width)], (point[1], width))[0])

    def r2(self, point: Point, width: float) -> float:
        """R^2, adjusted for the number of components."""
        freedom = (self.pixels - 1) / (self.pixels - 1 - self._directions.shape[1])
        return float(1 - self.unexplained(point, width).sum() * freedom)

    def along_rows(self, down: Sequence[Point], right: Point) -> Floats:
        """(n, parts) for n displacements and widths along the rows that share those along the columns."""
        block = self._block
        cols = _taps(block.cols, block.valid.shape[1], block.msi.shape[2], *right)
        first, stop = cols.reach()
        narrowed = cols.along_cols(block.msi[..., first:stop], first)
        found = []
        for at in down:
            rows = _taps(block.rows, block.valid.shape[0], block.msi.shape[1], *at)
            first, stop = rows.reach()
            found.append(self._rest(rows.along_rows(narrowed[:, first:stop], first)))
        return np.stack(found)

    def _rest(self, msi: Floats) -> Floats:
        values = _unit(msi[:, self._kept].astype(np.float64))
        rest = values - (values @ self._directions) @ self._directions.T
        return np.asarray(np.bincount(self._part, np.square(rest).mean(axis=0), _BLOCKS**2), np.float64)


def _unit(targets: Floats) -> Floats:
    """Targets (m, n) without their means, of norm 1; constant ones of norm 0."""
    centred = targets - targets.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    rounding = 1e-6 * np.abs(targets).max() * math.sqrt(targets.shape[1])
    return np.asarray(np.where(norm > rounding, centred / np.maximum(norm, 1e-30), 0.0))


def explained(inputs: Floats, targets: Floats) -> float:
    """R^2 of targets (m, n) on inputs (k, n), mean over targets, adjusted for k; constant ones count as 0."""
    values, count = _unit(targets), inputs.shape[1]
    power = np.square(values).sum(axis=1)
    rest = power - np.square(values @ orthonormal(inputs)).sum(axis=1)
    rest = np.where(power > 0, rest, 1.0)
    return float(1 - rest.mean() * (count - 1) / (count - 1 - len(inputs)))


def _descend(surface: Callable[[Point, float], Floats], start: Point) -> tuple[Point, Floats]:
    """From a start to the least of a function, and its values around there, (3, 3, parts).

    At each step size from neighbour to neighbour until none is lower, then to the least of the parabola.
    """
    point = start
    for step in _STEPS:
        for _ in range(_NEIGHBOURS):
            around = surface(point, step)
            values = around.sum(axis=-1)
            row, col = divmod(int(values.argmin()), 3)
            if (row, col) == (1, 1):
                break
            point = point[0] + step * (row - 1), point[1] + step * (col - 1)
        down, right = valley(values) or (0.0, 0.0)
        point = point[0] + step * down, point[1] + step * right
    return point, around


def _confidence(point: Point, errors: Point) -> float:
    """The probability that both coordinates are right within TOLERANCE; 0 for what is no optimum in reach."""
    if max(map(abs, point)) > REACH + 0.5:
        return 0.0
    sure = math.prod(math.erf(TOLERANCE / (math.sqrt(2) * max(error, 1e-9))) for error in errors)
    return sure if sure >= _LEAST_CONFIDENCE else 0.0
