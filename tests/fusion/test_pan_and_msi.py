"""A PAN and an MSI of a resolution between: the MSI is brought to the PAN first, by the same command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from tests.support.front_door import succeed
from tests.support.rasters import NORTH_UP
from tests.support.scenes import read, textured, wavelengths, write_cube

SIDE, BANDS, COARSER, RATIO = 96, 8, 2, 6


def means(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    bands, height, width = image.shape
    cut = image.reshape(bands, height // factor, factor, width // factor, factor)
    return np.asarray(cut.mean(axis=(2, 4)), np.float32)


@pytest.mark.slow
def test_two_commands_bring_a_cube_to_the_pan_by_an_msi_between(tmp_path: Path) -> None:
    """They come nearer to the truth than the PAN alone."""
    truth = textured(BANDS, SIDE, SIDE, seed=4)
    msi = np.stack([truth[:3].mean(axis=0), truth[3:6].mean(axis=0), truth[6:].mean(axis=0)])
    made = {"pan": (msi[:2].mean(axis=0, keepdims=True), 1), "msi": (means(msi, COARSER), COARSER)}
    for name, (image, factor) in (made | {"hsi": (means(truth, RATIO), RATIO)}).items():
        grid = NORTH_UP @ Affine.scale(factor)
        write_cube(tmp_path / f"{name}.tif", image, transform=grid, count=None, spectral=name == "hsi")
    hsi, between, pan, sharp = (tmp_path / f"{name}.tif" for name in ("hsi", "msi", "pan", "sharp"))
    both, alone = tmp_path / "both.tif", tmp_path / "alone.tif"
    for pair in ((between, pan, sharp), (hsi, sharp, both), (hsi, pan, alone)):
        succeed("fuse", *pair, "--method", "kriging", "--register", "off", "-q")
    inner = np.s_[:, RATIO:-RATIO, RATIO:-RATIO]
    error = {path: np.square(read(path) - truth)[inner].mean() for path in (both, alone)}
    assert error[both] < 0.7 * error[alone]
    told = succeed("info", both, "--json")
    assert str(wavelengths(BANDS)[-1]) in told
