"""Scenes made of a real scene's spectra, of which the MSI leaves more than one to choose."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Cube = NDArray[np.float32]
Made = Literal["metamers", "edges"]

SIDE = 96
_FINER = 4  # times finer than HR pixels are fields drawn, so that their borders are mixed
_CANDIDATES = 400  # spectra
_DARKEST = 0.05  # of a material's MSI, in units of the brightest's
_LEAST = 1e-3  # of a spectrum
_FIELDS, _MATERIALS = 60, 5
_PAIR_SIGMA, _METAMER_SIGMA = 10.0, 4.0  # HR pixels: of what the MSI sees, and of what it does not
_SHADING, _SHADING_SIGMA = 0.15, 2.0
_NOISE = 0.005  # of each band's mean


def made_scene(kind: Made, library: Cube, response: Doubles, rng: np.random.Generator) -> Cube:
    """A scene (B, SIDE, SIDE) of the spectra of a `library` (B, H, W), seen by an MSI's `response` (m, B).

    `metamers`: fields of materials that come in twos of one MSI colour, finer than LR pixels; `edges`: fields of
    materials of several colours, borders mixed. Brightness varies within a field, and all have noise.
    """
    if kind == "metamers":
        shares, spectra = _fields_of_metamers(rng), _metamers(library, response, rng)
    else:
        shares, spectra = _polygons(rng), _different(library, response, rng)
    shading = 1 + _SHADING * _unit(ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), _SHADING_SIGMA))
    scene = np.tensordot(spectra.T, shares * np.maximum(shading, 0.2), axes=1)
    noise = _NOISE * scene.mean(axis=(1, 2), keepdims=True) * rng.standard_normal(scene.shape)
    return np.asarray(np.maximum(scene + noise, 0), np.float32)


def _metamers(library: Cube, response: Doubles, rng: np.random.Generator) -> Doubles:
    """Spectra (4, B): the second of the MSI colour of the first, the fourth of that of the third."""
    found = _candidates(library, response, rng)
    seen = found @ response.T
    inverse = np.linalg.pinv(response)
    spectra: list[Doubles] = []
    for first in rng.permutation(len(found))[:2]:
        scaled = found * (seen[first].mean() / seen.mean(axis=1))[:, None]
        apart = np.linalg.norm(scaled - found[first], axis=1)
        far = np.argsort(apart)[-len(found) // 10 :]
        other = scaled[rng.choice(far)]
        other = other - inverse @ (response @ (other - found[first]))
        spectra += [found[first], np.maximum(other, _LEAST)]
    return np.stack(spectra)


def _different(library: Cube, response: Doubles, rng: np.random.Generator) -> Doubles:
    """Spectra (n, B), each the farthest in colour and shape from those before it, but for a draw."""
    found = _candidates(library, response, rng)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    chosen = [int(rng.integers(len(found)))]
    while len(chosen) < _MATERIALS:
        nearest = (unit @ unit[chosen].T).max(axis=1)
        chosen.append(int(rng.choice(np.argsort(nearest)[: len(found) // 10])))
    return found[chosen]


def _candidates(library: Cube, response: Doubles, rng: np.random.Generator) -> Doubles:
    """Spectra (n, B) of the library that the MSI sees."""
    flat = library.reshape(len(library), -1).T.astype(np.float64)
    flat = flat[rng.permutation(len(flat))[:_CANDIDATES]]
    brightness = (flat @ response.T).mean(axis=1)
    return np.asarray(flat[brightness > _DARKEST * brightness.max()])


def _fields_of_metamers(rng: np.random.Generator) -> Doubles:
    pair, own = (_halves(sigma, rng) for sigma in (_PAIR_SIGMA, _METAMER_SIGMA))
    layers = [pair & own, pair & ~own, ~pair & own, ~pair & ~own]
    return _averaged(np.stack(layers))


def _halves(sigma: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    side = SIDE * _FINER
    field = ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma * _FINER)
    return np.asarray(field > np.median(field))


def _polygons(rng: np.random.Generator) -> Doubles:
    side = SIDE * _FINER
    places = rng.uniform(0, side, (_FIELDS, 2))
    material = rng.integers(_MATERIALS, size=_FIELDS)
    pixels = np.argwhere(np.ones((side, side), bool))
    nearest = cKDTree(places).query(pixels)[1].reshape(side, side)
    return _averaged(material[nearest] == np.arange(_MATERIALS)[:, None, None])


def _averaged(layers: NDArray[np.bool_]) -> Doubles:
    """Shares (n, SIDE, SIDE) of layers that are finer."""
    return np.asarray(layers.reshape(len(layers), SIDE, _FINER, SIDE, _FINER).mean(axis=(2, 4)))


def _unit(field: Floats) -> Doubles:
    return np.asarray((field - field.mean()) / field.std())
