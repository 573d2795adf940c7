"""Classical fusion on a small scene: far better than upsampling, and exact where theory says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.degradation import degradation_taps, simulate_pair
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import Resampling
from emrdiff_cli.core.sensor.resampling import apply_taps, cubic_upsampler
from tests.benchmarks.baselines import cnmf, hysure, sfim_hs

Image = NDArray[np.float32]
Fuse = Callable[[Image, Image], Image]
BANDS, HEIGHT, WIDTH, RATIO = 20, 48, 40, 4
MATERIALS = 7


def grids() -> Resampling:
    place = AxisPlacement(float(RATIO), 0.0)
    sizes = [(side // RATIO, side) for side in (HEIGHT, WIDTH)]
    return Resampling(
        up=(cubic_upsampler(place, *sizes[0]), cubic_upsampler(place, *sizes[1])),
        down=(degradation_taps("wald", place, *sizes[0]), degradation_taps("wald", place, *sizes[1])),
    )


def response() -> NDArray[np.float64]:
    """Four overlapping MSI bands over the range of the HSI, each row summing to one."""
    centres = np.linspace(2, BANDS - 3, 4)
    rows = np.exp(-0.5 * ((np.arange(BANDS) - centres[:, None]) / 2.5) ** 2)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def mixed_scene(seed: int = 0) -> Image:
    """More materials than MSI bands, mixed smoothly, with a field and a road of single ones, in 0..1000."""
    rng = np.random.default_rng(seed)
    spectra = ndimage.gaussian_filter1d(rng.uniform(0, 1, (BANDS, MATERIALS)), 1.5, axis=0)
    spectra = (spectra - spectra.min()) / np.ptp(spectra)
    weights = np.exp(30 * ndimage.gaussian_filter(rng.normal(size=(MATERIALS, HEIGHT, WIDTH)), (0, 5, 5)))
    weights /= weights.sum(axis=0)
    for place, material in ((np.s_[10:25, 5:17], 1), (np.s_[:, 29:31], 2)):
        weights[:, *place] = np.eye(MATERIALS)[material][:, None, None]
    return np.asarray(1000 * np.tensordot(spectra, weights, axes=1), np.float32)


MAPS, SRF = grids(), response()
METHODS: dict[str, Fuse] = {
    "sfim": lambda hsi, msi: sfim_hs(hsi, msi, MAPS),
    "cnmf": lambda hsi, msi: cnmf(hsi, msi, SRF, MAPS, endmembers=MATERIALS),
    "hysure": lambda hsi, msi: hysure(hsi, msi, SRF, MAPS, subspace=MATERIALS),
}
every_method = pytest.mark.parametrize("fuse", METHODS.values(), ids=METHODS)


def psnr(fused: Image, truth: Image) -> float:
    error = np.square(fused - truth, dtype=np.float64).mean(axis=(1, 2))
    return float(np.mean(10 * np.log10(truth.max() ** 2 / error)))


@pytest.mark.parametrize(("method", "margin_db"), [("sfim", 7.0), ("cnmf", 9.0), ("hysure", 10.0)])
def test_beats_upsampling(method: str, margin_db: float) -> None:
    truth = mixed_scene()
    hsi, msi = simulate_pair(truth, SRF, MAPS.down)
    upsampled = apply_taps(hsi, *MAPS.up)
    assert psnr(METHODS[method](hsi, msi), truth) > psnr(upsampled, truth) + margin_db


@every_method
def test_a_constant_scene_stays_as_it_is(fuse: Fuse) -> None:
    spectrum = np.linspace(100, 900, BANDS, dtype=np.float32)
    truth = np.broadcast_to(spectrum[:, None, None], (BANDS, HEIGHT, WIDTH))
    np.testing.assert_allclose(fuse(*simulate_pair(truth, SRF, MAPS.down)), truth, rtol=1e-4)


@every_method
def test_the_unit_does_not_matter(fuse: Fuse) -> None:
    hsi, msi = simulate_pair(mixed_scene(), SRF, MAPS.down)
    small = fuse(hsi / np.float32(1024), msi / np.float32(1024))
    assert small.shape == (BANDS, HEIGHT, WIDTH)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small * 1024, fuse(hsi, msi), atol=0.1)


@every_method
def test_a_dark_scene_stays_dark(fuse: Fuse) -> None:
    dark = np.zeros((BANDS, HEIGHT, WIDTH), np.float32)
    np.testing.assert_allclose(fuse(*simulate_pair(dark, SRF, MAPS.down)), 0, atol=1e-6)


def test_sfim_is_exact_where_the_bands_are_combinations_of_the_msi() -> None:
    msi = np.tensordot(SRF, mixed_scene(), axes=1)
    truth = np.tensordot(np.random.default_rng(1).uniform(0.1, 1, (BANDS, 4)), msi, axes=1)
    fused = sfim_hs(apply_taps(truth, *MAPS.down), msi, MAPS)
    np.testing.assert_allclose(fused, truth, rtol=1e-4)


def test_cnmf_is_never_negative_even_where_noise_is() -> None:
    hsi, msi = simulate_pair(mixed_scene(), SRF, MAPS.down)
    noisy = hsi + np.random.default_rng(2).normal(0, 100, hsi.shape).astype(np.float32)
    assert noisy.min() < 0
    fused = cnmf(noisy, msi, SRF, MAPS, endmembers=30, outer=2)
    assert np.isfinite(fused).all()
    assert fused.min() >= 0


def test_hysure_agrees_with_both_images_where_they_weigh_more_than_smoothness() -> None:
    hsi, msi = simulate_pair(mixed_scene(), SRF, MAPS.down)
    fused = hysure(hsi, msi, SRF, MAPS, subspace=MATERIALS, smoothness=1e-7, penalty=1e-4)
    np.testing.assert_allclose(apply_taps(fused, *MAPS.down), hsi, atol=2)
    np.testing.assert_allclose(np.tensordot(SRF, fused, axes=1), msi, atol=2)
