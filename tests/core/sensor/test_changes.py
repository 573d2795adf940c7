"""Changed ground found where it was put, and nowhere in pairs that agree, however noisy or out of register."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.changes import Changes, find_changes
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.scenes import textured

Image = NDArray[np.float32]
BANDS, SIDE, RATIO = 12, 160, 4
PLACE = np.s_[10:18, 20:28]  # LR pixels


def degrade(image: Image, width: float = 1.0, shift: float = 0.0) -> Image:
    place = AxisPlacement(RATIO, shift * RATIO)
    taps = gaussian_downsampler(place, SIDE // RATIO, SIDE, width * RATIO / FWHM_PER_SIGMA)
    return apply_taps(image, taps, taps)


def see(cube: Image) -> Image:
    return np.stack([part.mean(axis=0) for part in np.array_split(cube, 3)])


def lr_scene(msi: Image | None = None, noise: float = 0.0, width: float = 1.0, shift: float = 0.0) -> LrScene:
    truth = textured(BANDS, SIDE, SIDE)
    hsi = degrade(truth)
    hsi += noise * np.random.default_rng(1).normal(size=hsi.shape).astype(np.float32)
    seen = degrade(see(truth) if msi is None else msi, width, shift)
    return LrScene(hsi, seen, np.ones(hsi.shape[1:], bool))


def spoilt(kind: str) -> Image:
    msi = see(textured(BANDS, SIDE, SIDE))
    place = (slice(None), *(slice(axis.start * RATIO, axis.stop * RATIO) for axis in PLACE))
    other = {
        "cloud": 0.3 * msi + 0.6,
        "shadow": 0.5 * msi,
        "another date": msi[:, ::-1, ::-1],
        "haze": 1.08 * msi,
    }[kind]
    msi[place] = other[place]
    return msi


@pytest.mark.parametrize("kind", ["cloud", "shadow", "another date", "haze"])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_changed_ground_is_found_and_nothing_else(kind: str, noise: float) -> None:
    found = find_changes(lr_scene(spoilt(kind), noise))
    assert isinstance(found, Changes)
    place = np.zeros_like(found.changed)
    place[PLACE] = True
    around = np.zeros_like(place)
    around[9:19, 19:29] = True
    assert found.changed[place].mean() > 0.8
    assert not found.changed[~around].any()
    assert (found.near >= ndimage.binary_dilation(found.changed, np.ones((3, 3)))).all()


def test_the_msi_is_put_as_the_lr_hsi_says_it_would_be() -> None:
    scene, clean = lr_scene(spoilt("cloud")), lr_scene()
    found = find_changes(scene)
    assert found is not None
    put = found.applied(scene)
    apart = [np.abs(seen - clean.msi)[:, found.changed].mean() for seen in (scene.msi, put.msi)]
    assert apart[1] < 0.1 * apart[0]
    beside = found.near & ~found.changed
    apart = [np.abs(seen - clean.msi)[:, beside].max() for seen in (scene.msi, put.msi)]
    assert apart[1] < 0.1 * apart[0]
    assert (put.valid == ~found.changed).all()


@pytest.mark.parametrize("fault", [{}, {"noise": 0.02}, {"width": 0.8}, {"width": 1.3}, {"shift": 0.3}])
def test_nothing_changed_in_a_pair_that_agrees(fault: dict[str, float]) -> None:
    assert find_changes(lr_scene(**fault)) is None  # type: ignore[arg-type]


def test_bright_points_seen_through_another_psf_are_no_change() -> None:
    truth = textured(BANDS, SIDE, SIDE)
    for row, col in np.random.default_rng(2).integers(10, SIDE - 10, (12, 2)):
        truth[:, row : row + 2, col : col + 2] *= 4
    hsi = degrade(truth)
    assert find_changes(LrScene(hsi, degrade(see(truth), width=0.6), np.ones(hsi.shape[1:], bool))) is None


def test_the_lr_hsi_may_be_what_is_clouded() -> None:
    scene = lr_scene()
    scene.hsi[(slice(None), *PLACE)] = 0.8
    found = find_changes(scene)
    assert found is not None
    assert found.changed[PLACE].mean() > 0.8


def test_too_few_pixels_contradict_nobody() -> None:
    scene = lr_scene(spoilt("cloud"))
    few = LrScene(scene.hsi[:, 8:17, 18:28], scene.msi[:, 8:17, 18:28], scene.valid[8:17, 18:28])
    assert few.valid.sum() < 96
    assert find_changes(few) is None
