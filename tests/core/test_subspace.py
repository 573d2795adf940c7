"""The spectral basis: orthonormal, found as an SVD finds it, exact on spectra that lie in it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.subspace import find_basis, identity_basis
from emrdiff_cli.errors import InputError

RNG = np.random.default_rng(0)


def spectra(bands: int, rank: int, count: int) -> NDArray[np.float32]:
    """Spectra that lie in `rank` dimensions about a mean."""
    directions = RNG.normal(size=(bands, rank)) * np.arange(rank, 0, -1)
    return (2 + directions @ RNG.normal(size=(rank, count))).astype(np.float32)


def test_basis_is_the_svds() -> None:
    pixels = spectra(20, 6, 300)
    basis = find_basis(pixels, 4)
    left, *_ = np.linalg.svd(pixels.astype(np.float64) - pixels.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(basis.mean, pixels.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(np.abs((left[:, :4] * basis.vectors).sum(axis=0)), 1, atol=1e-4)
    assert (basis.vectors.sum(axis=0) >= 0).all()


@pytest.mark.parametrize("shape", [(300,), (15, 20)])
def test_spectra_of_the_subspace_come_back(shape: tuple[int, ...]) -> None:
    pixels = spectra(20, 4, 300)
    basis = find_basis(pixels, 4)
    image = pixels.reshape(20, *shape)
    coefficients = basis.project(image)
    assert coefficients.shape == (4, *shape)
    np.testing.assert_allclose(basis.expand(coefficients), image, atol=1e-3)
    np.testing.assert_allclose(basis.project(basis.expand(coefficients)), coefficients, atol=1e-3)


def test_more_dimensions_lose_less() -> None:
    pixels = spectra(20, 12, 500)
    lost = []
    for size in (1, 4, 8, 12):
        basis = find_basis(pixels, size)
        lost.append(np.abs(basis.expand(basis.project(pixels)) - pixels).mean())
    assert sorted(lost, reverse=True) == lost
    assert lost[-1] < 1e-4


def test_signs_do_not_depend_on_the_order_of_the_pixels() -> None:
    pixels = spectra(10, 5, 200)
    shuffled = find_basis(pixels[:, RNG.permutation(200)], 3)
    np.testing.assert_allclose(shuffled.vectors, find_basis(pixels, 3).vectors, atol=1e-4)


def test_identity_keeps_the_bands() -> None:
    basis = identity_basis(7)
    image = RNG.normal(size=(7, 3, 4)).astype(np.float32)
    assert basis.is_identity
    np.testing.assert_array_equal(basis.project(image), image)
    np.testing.assert_array_equal(basis.expand(image), image)


@pytest.mark.parametrize(("bands", "count", "size"), [(10, 5, 5), (3, 100, 4), (10, 0, 1)])
def test_too_few_pixels_or_bands(bands: int, count: int, size: int) -> None:
    with pytest.raises(InputError, match=f"a subspace of {size} dimensions"):
        find_basis(np.ones((bands, count)), size)


def test_bands_that_are_not_used_lie_outside() -> None:
    pixels = spectra(10, 5, 200)
    used = np.arange(10) % 4 > 0
    basis, alone = find_basis(pixels, 3, used), find_basis(pixels[used], 3)
    np.testing.assert_array_equal(basis.known, used)
    np.testing.assert_array_equal(basis.vectors[used], alone.vectors)
    np.testing.assert_allclose(basis.project(pixels), alone.project(pixels[used]), atol=1e-4)
    assert (basis.expand(basis.project(pixels))[~used] == 0).all()
    assert identity_basis(4).known.all()
