"""Reflectance spectra of the scene's materials on the sensor's bands.

The measured and PROSAIL spectra come from earthlib (400-2400 nm in steps of 10 nm or more). What the
library lacks is modelled here: water, plastic film, solar panels, glazing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

BANDS = 128
WAVELENGTHS_NM: tuple[float, ...] = tuple(np.round(np.linspace(363.0, 1018.0, BANDS), 2).tolist())
FWHM_NM = 5.2

_FINE_NM = np.arange(345.0, 1041.0)
# How many types of each material the region has; the last five are modelled here, the plants by PROSAIL.
_TYPES = {
    "soil": 6, "dirt": 1, "sand": 2, "gravel": 3, "road": 3, "parking_lot": 2, "asphalt": 2, "sidewalk": 2,
    "driveway": 3, "bridge": 2, "comp_shingle": 5, "concrete_tile": 2, "tile": 2, "metal": 4, "paint": 4,
    "white_paint": 2, "litter": 2, "npv": 2, "bark": 2, "crop": 9, "tree": 5, "grass": 4,
    "water": 3, "film": 3, "black_film": 1, "panel": 2, "coating": 12,
}  # fmt: skip
_PLANTS = ("crop", "tree", "grass")
# Spread of the random curves that tell types, and the spectra of one type, apart.
_TYPE_SPREAD, _MEMBER_SPREAD = 0.12, 0.012

# Absorption of pure water, 1/m, after Pope & Fry (1997) and Kou et al. (1993), rounded.
_WATER = {
    340: 0.010, 380: 0.011, 420: 0.005, 460: 0.010, 500: 0.020, 540: 0.047, 580: 0.090, 600: 0.22, 620: 0.28,
    660: 0.41, 680: 0.47, 700: 0.62, 720: 1.2, 740: 2.4, 760: 2.6, 800: 2.1, 820: 2.5, 840: 3.5, 860: 4.6,
    880: 5.6, 900: 6.8, 920: 9.5, 940: 20.0, 960: 42.0, 980: 45.0, 1000: 36.0, 1040: 17.0,
}  # fmt: skip


# Spread of the plants' red-edge shift (nm) and of the exponents of slope, leaf water and violet.
_LEAF_TRAITS = np.array([9.0, 0.12, 0.1, 0.4])


@dataclass(frozen=True)
class SpectralBank:
    """All spectra, (spectra, bands) reflectance 0-1, and the rows of each material's types, typical one first."""

    spectra: NDArray[np.float32]
    types: dict[str, tuple[Indices, ...]]

    def pick(self, rng: np.random.Generator, material: str) -> int:
        """Row of a random spectrum of the material."""
        return int(rng.choice(self.family(rng, material)))

    def family(self, rng: np.random.Generator, material: str) -> Indices:
        """Rows of a random type of the material."""
        types = self.types[material]
        return types[int(rng.integers(len(types)))]


@cache
def spectral_bank() -> SpectralBank:
    """The region's spectra, made once. Raises ImportError, naming the extra, without earthlib."""
    parts = {name: _to_bands(nm, values) for name, (nm, values) in _measured().items()}
    parts |= {name: _to_bands(_FINE_NM, values) for name, values in _modelled().items()}
    parts |= _canopies(parts.pop("canopy"))
    # The Kanto plain's volcanic ash soils and loams are dark.
    parts["soil"] = parts["soil"][parts["soil"][:, _band(650)] < 0.2]
    parts["white_paint"] = parts["paint"][(parts["paint"][:, _band(460)] > 0.27)]
    spectra: list[Floats] = []
    types: dict[str, tuple[Indices, ...]] = {}
    for seed, (name, count) in enumerate(_TYPES.items()):
        groups = _typed(parts[name], count, np.random.default_rng(seed), name in _PLANTS)
        starts = np.cumsum([sum(map(len, spectra)), *map(len, groups)])
        types[name] = tuple(np.arange(a, b) for a, b in pairwise(starts))
        spectra += groups
    # Rounded, so that the order in which BLAS adds up does not show.
    return SpectralBank(np.round(np.concatenate(spectra), 6).astype(np.float32), types)


def skylight_share() -> NDArray[np.float32]:
    """Skylight's share of the irradiance in each band: what is left of a surface's reflectance in shadow."""
    nm = np.asarray(WAVELENGTHS_NM)
    return (0.045 + 0.15 * (nm / 500.0) ** -2.6).astype(np.float32)


def _measured() -> dict[str, tuple[Floats, Floats]]:
    """Wavelengths in nm and spectra of each class of the library."""
    try:
        import earthlib
    except ImportError as error:
        raise ImportError("earthlib holds the scene's spectra: pip install '.[sample]'") from error
    library = earthlib.full_library
    nm = np.round(np.asarray(library.sensor.band_centers, dtype=np.float64) * 1000.0)
    spectra = np.asarray(library.data, dtype=np.float64)[:, nm <= _FINE_NM[-1] + 10]
    labels = library.metadata["LEVEL_3"].to_numpy()
    # A handful of spectra hold zeros or jumps from the field spectrometer's detector change.
    sound = (spectra.min(axis=1) > 0.005) & (np.abs(np.diff(spectra, axis=1)).max(axis=1) < 0.12)
    classes = {*_TYPES, "canopy"} & set(labels)
    return {name: (nm[: spectra.shape[1]], spectra[(labels == name) & sound]) for name in sorted(classes)}


def _to_bands(nm: Floats, spectra: Floats) -> Floats:
    """Spectra seen through Gaussian bands; below the first wavelength they go on with its logarithmic slope."""
    fine = PchipInterpolator(nm, spectra, axis=1)(np.clip(_FINE_NM, nm[0], nm[-1]))
    slope = np.log(fine[:, nm[0] + 30 == _FINE_NM] / fine[:, nm[0] == _FINE_NM]) / 30.0
    below = np.minimum(_FINE_NM - nm[0], 0.0)
    fine = fine * np.exp(np.clip(slope, 0.0, 0.012) * below)
    offset = (_FINE_NM[None] - np.asarray(WAVELENGTHS_NM)[:, None]) / (FWHM_NM / 2.355)
    response = np.exp(-0.5 * offset**2)
    bands: Floats = fine @ (response / response.sum(axis=1, keepdims=True)).T
    return bands


def _modelled() -> dict[str, Floats]:
    """Materials that the library lacks, on the fine wavelengths."""
    return {
        "water": _water(),
        "film": _plastic_film(),
        "black_film": _black_film(),
        "panel": _solar_panel(),
        "coating": _coatings(),
    }


def _water() -> Floats:
    """Inland water: 0.153 bb / (a + bb) + glint, for 24 loads of algae, sediment and dissolved matter."""
    rng = np.random.default_rng(7)
    pure = np.interp(_FINE_NM, list(_WATER), list(_WATER.values()))
    spectra = []
    for _ in range(24):
        algae, sediment, humic = rng.uniform((2.0, 4.0, 0.3), (40.0, 35.0, 1.8))
        pigments = np.exp(-0.5 * ((_FINE_NM - 440) / 28) ** 2) + 0.55 * np.exp(
            -0.5 * ((_FINE_NM - 674) / 12) ** 2
        )
        absorbed = pure + 0.035 * algae * pigments + humic * np.exp(-0.015 * (_FINE_NM - 440))
        absorbed = absorbed + 0.03 * sediment * np.exp(-0.011 * (_FINE_NM - 440))
        scattered = 0.013 * sediment * (550.0 / _FINE_NM) ** 0.8 + 0.002 * algae
        spectra.append(0.153 * scattered / (absorbed + scattered) + rng.uniform(0.004, 0.016))
    return np.stack(spectra)


def _plastic_film() -> Floats:
    """Greenhouse film: a milky plateau with ultraviolet cut-off and the polymer's C-H bands at 740 and 930 nm."""
    rng = np.random.default_rng(8)
    level, edge, depth, tint = rng.uniform((0.22, 372, 0.02, -0.12), (0.62, 398, 0.09, 0.06), (24, 4)).T[
        ..., None
    ]
    cut = 1.0 / (1.0 + np.exp(-(_FINE_NM - edge) / 9.0))
    bonds = np.exp(-0.5 * ((_FINE_NM - 931) / 11) ** 2) + 0.3 * np.exp(-0.5 * ((_FINE_NM - 762) / 9) ** 2)
    film: Floats = level * (0.25 + 0.75 * cut) * (1.0 + tint * (_FINE_NM - 690) / 330) * (1.0 - depth * bonds)
    return film


def _black_film() -> Floats:
    """Black mulch: flat and dark."""
    level = np.linspace(0.035, 0.075, 6)[:, None]
    return level * (1.0 + 0.1 * (_FINE_NM - 690) / 330)


def _solar_panel() -> Floats:
    """Silicon cells behind glass: dark, with a blue rise and the silicon band edge beyond 980 nm."""
    level, blue = np.meshgrid(np.linspace(0.035, 0.06, 3), np.linspace(0.01, 0.05, 3))
    rise = np.exp(-0.5 * ((_FINE_NM - 445) / 45) ** 2)
    edge = 1.0 / (1.0 + np.exp(-(_FINE_NM - 1045) / 16))
    panel: Floats = level.reshape(-1, 1) + blue.reshape(-1, 1) * rise + 0.16 * edge
    return panel


def _coatings() -> Floats:
    """Roof, car and tarpaulin coatings: white or grey filler under pigments with absorption edges and bands."""
    rng = np.random.default_rng(9)
    spectra = []
    for _ in range(240):
        coating = rng.uniform(0.12, 0.75) / (1.0 + np.exp(-(_FINE_NM - rng.uniform(370, 410)) / 10.0))
        for centre, width, depth in rng.uniform((400, 20, 0.05), (1010, 90, 0.75), (rng.integers(1, 5), 3)):
            coating = coating * (1.0 - depth * np.exp(-0.5 * ((_FINE_NM - centre) / width) ** 2))
        for edge, width, depth in rng.uniform((440, 8, 0.2), (860, 30, 0.85), (rng.integers(0, 3), 3)):
            coating = coating * (1.0 - depth / (1.0 + np.exp((_FINE_NM - edge) / width)))
        spectra.append(coating + 0.02)
    return np.stack(spectra)


def _typed(spectra: Floats, count: int, rng: np.random.Generator, plants: bool) -> list[Floats]:
    """The material's types: spectra far from one another, each with its nearest neighbours and its own traits."""
    shapes = np.log(np.maximum(spectra, 0.005))
    chosen = [int(rng.integers(len(spectra)))]
    nearest = np.full(len(spectra), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, np.abs(shapes - shapes[chosen[-1]]).mean(axis=1))
        # Not the farthest: that would collect the library's oddities.
        chosen.append(int(np.argsort(nearest, kind="stable")[int(0.85 * (len(nearest) - 1))]))
    size = int(np.clip(len(spectra) // count, 1, 24))
    groups = []
    for centre in chosen:
        distance = np.abs(shapes - shapes[centre]).mean(axis=1)
        group = spectra[np.argsort(distance, kind="stable")[:size]]
        group = _with_leaf_traits(group, rng) if plants else group
        groups.append(group * _curves(rng, 1, _TYPE_SPREAD) * _curves(rng, len(group), _MEMBER_SPREAD))
    return groups


def _with_leaf_traits(canopy: Floats, rng: np.random.Generator) -> Floats:
    """A species: the red edge moved, and the infrared slope, leaf water and violet reflectance changed."""
    nm = np.asarray(WAVELENGTHS_NM)
    shift, slope, damp, violet = rng.standard_normal(4).clip(-1.8, 1.8) * _LEAF_TRAITS
    moved = nm - shift * np.exp(-0.5 * ((nm - 715) / 32) ** 2)
    warped = np.stack([np.interp(moved, nm, spectrum) for spectrum in canopy])
    exponent = violet * np.maximum(440 - nm, 0) / 80 + slope / (1.0 + np.exp(-(nm - 915) / 14))
    traits: Floats = warped * np.exp(exponent - damp * np.exp(-0.5 * ((nm - 972) / 22) ** 2))
    return traits


def _curves(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """Smooth random curves about 1, `spread` strong, correlated over 45 nm: (count, bands).

    They stand for the species, pigments, minerals and weathering that the library's samples lack.
    """
    nm = np.asarray(WAVELENGTHS_NM)
    covariance = np.exp(-0.5 * ((nm[:, None] - nm) / 45.0) ** 2) + 1e-6 * np.eye(BANDS)
    draws = rng.standard_normal((count, BANDS)) @ np.linalg.cholesky(covariance).T
    curves: Floats = np.exp(spread * draws.clip(-2.5, 2.5))
    return curves


def _canopies(canopy: Floats) -> dict[str, Floats]:
    """Canopies by use: crops dense and bright, trees darker, grass sparse or pale."""
    green, red, near = (canopy[:, _band(nm)] for nm in (550, 670, 850))
    ndvi = (near - red) / (near + red)
    return {
        "crop": canopy[(ndvi > 0.8) & (near > 0.33)],
        "tree": canopy[(ndvi > 0.82) & (green < 0.085)],
        "grass": canopy[(ndvi > 0.6) & (ndvi < 0.9)],
    }


def _band(nm: float) -> int:
    return int(np.argmin(np.abs(np.asarray(WAVELENGTHS_NM) - nm)))
