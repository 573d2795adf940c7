"""A scene's spectra live in a few dimensions: the orthonormal basis found in the LR-HSI alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import let_go, one_by_one
from emrdiff_cli.errors import InputError

Floats = NDArray[np.floating[Any]]

BANDS_AT_ONCE = 24
"""A group of bands that BLAS sums as it does in all of them: a multiple of so many is rounded alike."""
_PIXELS_AT_ONCE = 1 << 13  # that are held in double precision


@dataclass(frozen=True)
class Basis:
    """Spectra = mean + vectors x coefficients: `mean` (B,), `vectors` (B, k) orthonormal.

    The identity basis (mean 0, vectors I) keeps the bands as they are, one of a permutation in another order.
    """

    mean: NDArray[np.float32]
    vectors: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(B,) True for the bands that the basis tells anything of."""
        return np.asarray(self.vectors.any(axis=1))

    @property
    def is_identity(self) -> bool:
        """True for the full basis, in which coefficients are the bands themselves, in their order."""
        return self.is_full and bool(self.vectors.diagonal().all())

    @property
    def is_full(self) -> bool:
        """True where coefficients are the bands, in whatever order: nothing lies outside."""
        return bool(self.vectors.shape[0] == self.vectors.shape[1])

    def project(self, spectra: Floats) -> NDArray[np.float32]:
        """(B, ...) -> (k, ...): coefficients of the spectra."""
        if self.is_identity:
            return np.asarray(spectra, dtype=np.float32)
        flat = spectra.reshape(len(spectra), -1)
        coefficients = np.empty((self.vectors.shape[1], flat.shape[1]), np.float32)
        for part in _parts(flat.shape[1]):
            coefficients[:, part] = self.vectors.T @ (flat[:, part] - self.mean[:, None])
            let_go(spectra)
        return coefficients.reshape(-1, *spectra.shape[1:])

    def expand(self, coefficients: Floats, bands: slice = slice(None)) -> NDArray[np.float32]:
        """(k, ...) -> (B, ...): spectra of the coefficients, or neighbouring `bands` of them."""
        if self.is_identity:
            return np.asarray(coefficients[bands], dtype=np.float32)
        flat = coefficients.reshape(len(coefficients), -1).astype(np.float32, copy=False)
        spectra: NDArray[np.float32] = self.vectors[bands] @ flat
        spectra += self.mean[bands, None]
        return spectra.reshape(-1, *coefficients.shape[1:])


def identity_basis(bands: int) -> Basis:
    """The basis that keeps all bands (k = B, the paper's)."""
    return Basis(np.zeros(bands, np.float32), np.eye(bands, dtype=np.float32))


def find_basis(pixels: Floats, size: int, used: NDArray[np.bool_] | None = None) -> Basis:
    """The `size` leading principal directions of pixels (B, n), each with the sign that makes its sum positive.

    With `used` (B,) those of the bands used alone; mean and vectors are 0 in the others, which lie outside.
    Raises InputError when there are fewer pixels than directions.
    """
    return find_image_basis(pixels[:, None], np.ones((1, pixels.shape[1]), bool), size, used)


def find_image_basis(
    image: Floats, valid: NDArray[np.bool_], size: int, used: NDArray[np.bool_] | None = None
) -> Basis:
    """`find_basis` of the `valid` (h, w) pixels of an image (B, h, w), of which no copy is made."""
    chosen = np.arange(len(image)) if used is None else np.flatnonzero(used)
    bands, count = len(chosen), int(valid.sum())
    if size > min(bands, count - 1):
        raise InputError(
            f"a subspace of {size} dimensions needs more than {size} valid LR pixels and at least "
            f"{size} bands; this LR-HSI has {count} and {bands}"
        )
    rows, cols = np.nonzero(valid)

    def pixels() -> Iterator[Floats]:
        for part in _parts(count):
            yield np.stack([band[rows[part], cols[part]] for band in one_by_one(image)])[chosen]

    mean = sum(part.sum(axis=1, dtype=np.float64) for part in pixels()) / count
    scatter = np.zeros((bands, bands))
    for part in pixels():
        centred = part - mean[:, None]
        scatter += centred @ centred.T
    _, vectors = np.linalg.eigh(scatter)
    leading = vectors[:, ::-1][:, :size]
    signs = np.where(leading.sum(axis=0) < 0, -1.0, 1.0)
    found = Basis(mean.astype(np.float32), (leading * signs).astype(np.float32))
    return found if used is None or used.all() else _embedded(found, used)


def _parts(count: int) -> Iterator[slice]:
    """So many pixels, by parts."""
    for start in range(0, count, _PIXELS_AT_ONCE):
        yield slice(start, start + _PIXELS_AT_ONCE)


def _embedded(basis: Basis, used: NDArray[np.bool_]) -> Basis:
    mean = np.zeros(len(used), np.float32)
    vectors = np.zeros((len(used), basis.vectors.shape[1]), np.float32)
    mean[used], vectors[used] = basis.mean, basis.vectors
    return Basis(mean, vectors)
