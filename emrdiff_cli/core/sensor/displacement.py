"""Displacement of an LR-HSI against an HR-MSI that varies over the scene, found on the pair itself.

The field is a polynomial of the place: a shift; scale, rotation and shear; quadratic terms (keystone, attitude).
The MSI is seen through the PSF at several places an LR pixel, so that LR pixels may lie anywhere on it. Least
squares on what the LR-HSI's components leave unexplained of it gives the coefficients (Gauss and Newton); how many
of them the pair supports is told by parts of the scene that are held out. Displacements are in LR pixels, down and
to the right positive: what the LR-HSI's pixels have to be moved by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.finer_msi import FinerMsi
from emrdiff_cli.core.sensor.leading_components import all_components, orthonormal
from emrdiff_cli.core.sensor.registration import PairBlock, Point

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

TERMS = (1, 3, 6)  # of a shift, of an affine field, of a quadratic one

_STEP = 0.05  # LR pixels over which its slopes are taken
_ROUNDS = 5
_SMALL = 1e-4  # LR pixels: a smaller change of the coefficients ends the rounds
_PARTS = 4  # of a block along each axis, which take turns in being left out
_FOLDS = 4
_LEAST_GAIN = 0.02  # share of the unexplained that further terms must take away,
_LEAST_MOVE = 0.01  # and LR pixels (rms) that they must move the scene by, to be worth it
_TOLD = 0.9  # unexplained share from which the two have too little in common to tell of a field
_STIFFNESS = 1e-9  # of the normal equations, for coefficients that the pair does not tell
_LEAST_PIXELS = 100


@dataclass(frozen=True)
class DisplacementField:
    """Displacement in LR pixels, down and right, as a polynomial of the place on an LR grid of `shape`.

    `coefficients` (2, n) belong to the first n (1, 3 or 6) of 1, v, u, v^2, v u, u^2, with v and u from -1 to 1
    between the outer edges of the rows and of the columns.
    """

    coefficients: Doubles
    shape: tuple[int, int]

    def at(self, rows: Doubles, cols: Doubles) -> Doubles:
        """Displacements (2, ...) of LR pixels at these places."""
        terms = _terms(rows, cols, self.shape)[: self.coefficients.shape[1]]
        return np.tensordot(self.coefficients, terms, axes=1)

    def over(self) -> Doubles:
        """Displacements (2, h, w) of all LR pixels."""
        rows, cols = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float64)
        return self.at(rows, cols)

    def within(self, row: int, col: int, shape: tuple[int, int]) -> DisplacementField:
        """The same field over a part of the grid, of `shape`, that begins at this pixel."""
        count = self.coefficients.shape[1]
        rows, cols = (np.array([0, side / 2, side]) - 0.5 for side in shape)
        rows, cols = (places.ravel() for places in np.meshgrid(rows, cols, indexing="ij"))
        terms = _terms(rows, cols, shape)[:count]
        found = np.linalg.lstsq(terms.T, self.at(rows + row, cols + col).T, rcond=None)[0]
        return DisplacementField(np.asarray(found.T, np.float64), shape)

    @property
    def varies(self) -> bool:
        """Whether it is more than a shift."""
        return bool(self.coefficients.shape[1] > 1)


@dataclass(frozen=True)
class BandShift:
    """The displacement of a group of the LR-HSI's `bands` (from 0) against the others, LR pixels down and right."""

    bands: tuple[int, ...]
    shift: Point


@dataclass(frozen=True)
class Displacement:
    """A field over the LR-HSI's grid, None for none, and groups of bands that are displaced besides."""

    field: DisplacementField | None = None
    groups: tuple[BandShift, ...] = ()

    def by_group(self, bands: int, rows: Doubles, cols: Doubles) -> list[tuple[NDArray[np.intp], Doubles]]:
        """The bands that lie alike, and their displacements (2, ...) of LR pixels at these places."""
        common = np.zeros((2, *rows.shape)) if self.field is None else self.field.at(rows, cols)
        shifts = {band: group.shift for group in self.groups for band in group.bands}
        alike: dict[Point, list[int]] = {}
        for band in range(bands):
            alike.setdefault(shifts.get(band, (0.0, 0.0)), []).append(band)
        return [
            (np.array(group, np.intp), common + np.reshape(shift, (2, *[1] * rows.ndim)))
            for shift, group in alike.items()
        ]


@dataclass(frozen=True)
class FoundField:
    """A displacement field with the standard errors (2, n) of its coefficients (jackknife over parts).

    `unexplained` and `of_shift`: the share of the MSI, on parts held out, that the LR-HSI leaves unexplained under
    the field and under the best shift alone.
    """

    field: DisplacementField
    standard_errors: Doubles
    unexplained: float
    of_shift: float


@dataclass(frozen=True)
class PlacedBlock:
    """A block of a pair and the LR row and column of the scene at which it begins."""

    pair: PairBlock
    row: int = 0
    col: int = 0


def estimate_field(
    blocks: Sequence[PlacedBlock], shape: tuple[int, int], psf: Psf, start: Point = (0.0, 0.0)
) -> FoundField | None:
    """Find the field of a scene of `shape` LR pixels on blocks of it, beginning from a shift.

    Of a shift, an affine field and a quadratic one the simplest is taken that none of the others outdoes on parts
    held out. None with too few LR pixels.
    """
    seen = [view for view in (_View.of(block, shape, psf, start) for block in blocks) if view is not None]
    if sum(view.pixels for view in seen) < _LEAST_PIXELS:
        return None
    most = TERMS[-1]
    around = np.zeros((2, most))
    around[:, 0] = start
    normal, coefficients = _descend(seen, DisplacementField(around, shape), range(2 * most))
    return _simplest([_limited(normal, coefficients, terms, shape) for terms in TERMS])


def estimate_group_shift(
    blocks: Sequence[PlacedBlock], field: DisplacementField, psf: Psf
) -> tuple[Point, Point] | None:
    """Find the shift, and its standard errors, of bands that share a field with others; the blocks hold them alone.

    None with too few LR pixels.
    """
    middle = float(field.coefficients[0, 0]), float(field.coefficients[1, 0])
    views = [_View.of(block, field.shape, psf, middle) for block in blocks]
    seen = [view for view in views if view is not None]
    if sum(view.pixels for view in seen) < _LEAST_PIXELS:
        return None
    free = [0, field.coefficients.shape[1]]
    normal, coefficients = _descend(seen, field, free)
    each = np.eye(len(normal.constant), dtype=bool)
    beside = np.stack([_least(*normal.without(part), free, None)[free] for part in each])
    errors = np.sqrt((len(each) - 1) * beside.var(axis=0))
    found = coefficients[:, 0] - middle + normal.least(free)[free]
    return (float(found[0]), float(found[1])), (float(errors[0]), float(errors[1]))


def estimate_shift_finely(block: PairBlock, psf: Psf, start: Point) -> FoundField | None:
    """Find the shift of a block alone, beginning near it."""
    view = _View.of(PlacedBlock(block), block.valid.shape, psf, start)
    if view is None or view.pixels < _LEAST_PIXELS:
        return None
    near = DisplacementField(np.array([[start[0]], [start[1]]], np.float64), block.valid.shape)
    normal, coefficients = _descend([view], near, range(2))
    return _limited(normal, coefficients, 1, near.shape).found


@dataclass(frozen=True)
class _View:
    """A block as the least squares see it: its pixels that count, what they explain, the parts they lie in."""

    finer: FinerMsi
    rows: Doubles
    cols: Doubles
    origin: tuple[int, int]
    directions: Floats
    part: NDArray[np.intp]

    @classmethod
    def of(cls, block: PlacedBlock, shape: tuple[int, int], psf: Psf, start: Point) -> _View | None:
        """The view of a block; None where it has too few pixels to tell anything."""
        components = all_components(block.pair.hsi, block.pair.valid)
        if components is None or not len(components):
            return None
        finer = FinerMsi.of_block(block.pair, psf)
        height, width = block.pair.valid.shape
        rows, cols = np.mgrid[:height, :width].astype(np.float64)
        kept = block.pair.valid.copy()
        for down, right in product((-1, 0, 1), repeat=2):
            kept &= finer.sees(rows + start[0] + down, cols + start[1] + right)
        if kept.sum() < 2 * (len(components) + 1):
            return None
        part = (rows * _PARTS // height) * _PARTS + cols * _PARTS // width
        return cls(
            finer,
            rows[kept],
            cols[kept],
            (block.row, block.col),
            orthonormal(components[:, kept]),
            part[kept].astype(np.intp),
        )

    @property
    def pixels(self) -> int:
        return len(self.rows)

    def unexplained(self, values: Doubles) -> Doubles:
        """What the LR-HSI's components leave of values (..., N)."""
        centred = values - values.mean(axis=-1, keepdims=True)
        return np.asarray(centred - (centred @ self.directions) @ self.directions.T)


@dataclass(frozen=True)
class _Normal:
    """The unexplained as a quadratic of a change x of coefficients, by part: c + 2 b x + x N x, summed."""

    matrix: Doubles
    vector: Doubles
    constant: Doubles

    @classmethod
    def of(cls, views: Sequence[_View], field: DisplacementField) -> _Normal:
        parts = [cls._of_view(view, field) for view in views]
        matrix, vector, constant = (np.concatenate(which) for which in zip(*parts, strict=True))
        return cls(matrix, vector, constant)

    @staticmethod
    def _of_view(view: _View, field: DisplacementField) -> tuple[Doubles, Doubles, Doubles]:
        places = view.rows + view.origin[0], view.cols + view.origin[1]
        down, right = field.at(*places)
        rows, cols = view.rows + down, view.cols + right
        msi = view.finer.at(rows, cols)
        slopes = (
            view.finer.at(rows + _STEP, cols) - view.finer.at(rows - _STEP, cols),
            view.finer.at(rows, cols + _STEP) - view.finer.at(rows, cols - _STEP),
        )
        spread = np.linalg.norm(msi - msi.mean(axis=1, keepdims=True), axis=1)[:, None]
        unit = np.where(spread > 0, 1 / np.maximum(spread, 1e-30), 0.0)
        rest = view.unexplained(msi * unit)
        terms = _terms(*places, field.shape)[: field.coefficients.shape[1]]
        by_term = np.stack(
            [view.unexplained(slope * unit / (2 * _STEP) * term) for slope in slopes for term in terms]
        )
        shares = len(msi)
        parts = [view.part == part for part in np.unique(view.part)]
        return (
            np.stack(
                [np.einsum("amx,bmx->ab", by_term[..., p], by_term[..., p], optimize=True) for p in parts]
            )
            / shares,
            np.stack([np.einsum("amx,mx->a", by_term[..., p], rest[:, p]) for p in parts]) / shares,
            np.array([np.square(rest[:, p]).sum() for p in parts]) / shares,
        )

    def least(self, free: Sequence[int] | range, fixed: Doubles | None = None) -> Doubles:
        """The change under which the unexplained is least, with the coefficients that are not `free` as `fixed`."""
        return _least(self.matrix.sum(axis=0), self.vector.sum(axis=0), free, fixed)

    def without(self, parts: Sequence[int] | Mask) -> tuple[Doubles, Doubles]:
        """Matrix and vector summed over all parts but these."""
        return (
            self.matrix.sum(axis=0) - self.matrix[parts].sum(axis=0),
            self.vector.sum(axis=0) - self.vector[parts].sum(axis=0),
        )

    def value(self, change: Doubles, parts: Mask) -> float:
        """The unexplained of some parts under a change."""
        quadratic = change @ self.matrix[parts].sum(axis=0) @ change
        return float(self.constant[parts].sum() + 2 * self.vector[parts].sum(axis=0) @ change + quadratic)


def _descend(
    views: Sequence[_View], start: DisplacementField, free: Sequence[int] | range
) -> tuple[_Normal, Doubles]:
    """The quadratic form around coefficients (2, n) so near to the least that it tells the rest, and these."""
    coefficients = start.coefficients
    normal = _Normal.of(views, start)
    for _ in range(_ROUNDS):
        change = normal.least(free).reshape(coefficients.shape)
        if np.abs(change).max() < _SMALL:
            break
        coefficients = coefficients + change
        normal = _Normal.of(views, DisplacementField(coefficients, start.shape))
    return normal, coefficients


@dataclass(frozen=True)
class _Limited:
    """The best field of so many terms, and what it leaves unexplained of each fold when that is held out."""

    found: FoundField
    held_out: Doubles


def _limited(normal: _Normal, around: Doubles, terms: int, shape: tuple[int, int]) -> _Limited:
    """Fit a field of some `terms` by the quadratic form around coefficients (2, n) of as many or more."""
    most = around.shape[1]
    free = [axis * most + term for axis in (0, 1) for term in range(terms)]
    fixed = -around.ravel()
    folds = [np.arange(len(normal.constant)) % _PARTS**2 % _FOLDS == fold for fold in range(_FOLDS)]
    held_out = np.array(
        [normal.value(_least(*normal.without(fold), free, fixed), fold) for fold in folds if fold.any()]
    )
    each = np.eye(len(normal.constant), dtype=bool)
    beside = np.stack([_least(*normal.without(part), free, fixed) for part in each])
    errors = np.sqrt((len(each) - 1) * beside.var(axis=0)).reshape(2, most)[:, :terms]
    found = (around.ravel() + normal.least(free, fixed)).reshape(2, most)[:, :terms]
    blocks = max(1, round(len(each) / _PARTS**2))
    share = float(held_out.sum()) / blocks
    return _Limited(FoundField(DisplacementField(found, shape), errors, share, share), held_out)


def _simplest(limited: Sequence[_Limited]) -> FoundField:
    """The first that none of those after it outdoes."""
    shift = limited[0].found.unexplained
    kept = limited[0]
    for other in limited[1:]:
        gain = kept.held_out - other.held_out
        noise = 2 * float(gain.std(ddof=1)) * np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        moved = other.found.field.over() - kept.found.field.over()
        worth = float(np.sqrt(np.square(moved).mean())) > _LEAST_MOVE
        told = other.found.unexplained < _TOLD
        if worth and told and gain.sum() > max(noise, _LEAST_GAIN * float(kept.held_out.sum())):
            kept = other
    found = kept.found
    return FoundField(found.field, found.standard_errors, found.unexplained, shift)


def _least(matrix: Doubles, vector: Doubles, free: Sequence[int] | range, fixed: Doubles | None) -> Doubles:
    change = np.zeros(len(vector)) if fixed is None else fixed.copy()
    free = list(free)
    change[free] = 0
    stiff = _STIFFNESS * np.trace(matrix) / len(matrix) * np.eye(len(free))
    change[free] = -np.linalg.solve(matrix[np.ix_(free, free)] + stiff, (vector + matrix @ change)[free])
    return change


def _terms(rows: Doubles, cols: Doubles, shape: tuple[int, int]) -> Doubles:
    v, u = 2 * (rows + 0.5) / shape[0] - 1, 2 * (cols + 0.5) / shape[1] - 1
    return np.stack([np.ones_like(v), v, u, v * v, v * u, u * u])
