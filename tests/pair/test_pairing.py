"""A pair's maps between its grids: through which PSF, and that it stays with the pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from emrdiff_cli.core.sensor.degradation import AxisPsf, Psf
from emrdiff_cli.pair.pair import PairReader, open_pair
from tests.support.pairs import write_pair
from tests.support.rasters import NORTH_UP, pixels, write_tif


def test_a_psf_stays_with_its_pair(tmp_path: Path) -> None:
    lr = write_tif(tmp_path / "lr.tif", pixels(6, 10, 12))
    msi = write_tif(tmp_path / "msi.tif", pixels(3, 40, 48), transform=NORTH_UP @ Affine.scale(1 / 4))
    with open_pair(lr, msi) as assumed:
        found = PairReader(
            assumed._lr, assumed._msi, assumed.alignment, psf=Psf(axes=(AxisPsf(1.2), AxisPsf(3.0)))
        )
        for pair in (found, found.rescaled(2.0), found.placed(found.alignment), found.with_msi(assumed._msi)):
            rows, cols = pair.resampling.down
            assert cols.indices.shape[1] > rows.indices.shape[1]
        moved = found.moved((0.25, 0.0))
        assert moved.psf == found.psf
        assert np.ptp(assumed.resampling.down[0].matrix(0, 40) @ np.ones(40)) < 1e-12


def test_crss_of_the_same_numbers_give_the_same_pair(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    with open_pair(lr, msi) as pair:
        values, plain = pair.read_lr(), pair.alignment
    with rasterio.open(lr, "r+") as dataset:
        dataset.crs = rasterio.CRS.from_epsg(25833)
    with open_pair(lr, msi) as pair:
        assert pair.alignment == plain
        assert np.array_equal(pair.read_lr(), values)
        assert any("ETRS89 / UTM zone 33N" in note and "nothing is warped" in note for note in pair.notes)
