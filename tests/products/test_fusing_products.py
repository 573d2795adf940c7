"""An EnMAP folder and a Sentinel-2 SAFE through the commands, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from tests.support.front_door import Run
from tests.support.products import write_enmap, write_sentinel2
from tests.support.rasters import NORTH_UP
from tests.support.scenes import textured

WAVELENGTHS = (492, 561, 664, 740.5, 832, 905, 911.5, 1350)
SWIR, EMPTY = (6, 8), 8
RATIO = 3  # 10 m within 30 m
UNDER = (0, 1, 2, 4)  # EnMAP's bands at the centres of B2, B3, B4, B8
HOLE = (5, 7)


@pytest.fixture(scope="module")
def truth() -> NDArray[np.floating[Any]]:
    return textured(8, 60, 72, seed=3)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory, truth: NDArray[np.floating[Any]]) -> tuple[Path, Path]:
    """Both on the same ground, the SAFE with a margin of 6 pixels up and left."""
    folder = tmp_path_factory.mktemp("products")
    lr = truth.reshape(8, 20, RATIO, 24, RATIO).mean(axis=(2, 4))
    stored = np.round(lr * 1e4).astype(np.int16)
    stored[EMPTY - 1] = -32768
    stored[:, HOLE[0], HOLE[1]] = -32768
    enmap = write_enmap(folder / "enmap", stored, WAVELENGTHS, swir=SWIR, empty=[EMPTY])
    fine = NORTH_UP @ Affine.scale(1 / RATIO)
    msi = np.pad(truth[list(UNDER)], ((0, 0), (6, 0), (6, 0)), mode="edge")
    digital = np.round(msi * 1e4).astype(np.uint16) + 1000
    safe = write_sentinel2(
        folder / "S2.SAFE", digital, offsets=(-1000,) * 4, transform=fine @ Affine.translation(-6, -6)
    )
    return enmap.parent, safe.parent


def _names_the_bands_of_20_m(told: dict[str, Any], safe: Path, enmap: Path) -> None:
    assert told["coverage_by"] == "srf Sentinel-2 L2A"
    (note,) = [line for line in told["notes"] if "--bands all" in line]
    assert note.startswith(
        "1 of the 3 bands whose detail is extrapolated lie under B5, B6, B7, B8A, B11, B12"
    )
    assert f"`emrdiff convert {safe} msi.tif --bands all --extent {enmap}" in note


@pytest.mark.slow
def test_a_pair_of_products_through_the_commands(
    emrdiff: Run, products: tuple[Path, Path], truth: NDArray[np.floating[Any]], tmp_path: Path
) -> None:
    """Values tell the place: the fused bands under the MSI's are the truth, pixel by pixel."""
    enmap, safe = products
    told = json.loads(emrdiff("check", enmap, safe, "--json").out)
    assert (told["usable"], told["ratio"]) == (True, [3, 3])
    _names_the_bands_of_20_m(told, safe, enmap)
    (tmp_path / "pairs.csv").write_text(f"lr_hsi,hr_msi,output\n{enmap},{safe},out.tif\n")
    manifest = ("fuse", "--manifest", tmp_path / "pairs.csv", "--method", "kriging", "--register", "off")
    ended = emrdiff(*manifest)
    assert ended.code == 0, ended.err
    assert f"emrdiff convert {safe} msi.tif --bands all" in ended.out
    with rasterio.open(tmp_path / "out.tif") as fused:
        values = fused.read()
        assert fused.transform.almost_equals(NORTH_UP @ Affine.scale(1 / RATIO))
        assert (fused.dtypes[0], fused.scales[0], fused.nodata) == ("int16", 0.0001, -32768)
        bands = [fused.tags(i) for i in fused.indexes]
        assert fused.tags()["acquisition_time"] == "2024-06-15T10:11:12.500000Z"
        assert fused.tags()["emrdiff_hr_msi"].startswith("S2B_MSIL2A_20240615T101031_")
    assert [float(band["wavelength"]) for band in bands] == list(WAVELENGTHS)
    assert [float(band["fwhm"]) for band in bands] == [5 + i / 10 for i in range(1, 9)]
    assert [band["bbl"] for band in bands] == ["1"] * 7 + ["0"]
    assert [band["detector"] == "SWIR" for band in bands] == [i in SWIR for i in range(1, 9)]
    hole = np.zeros(values.shape[1:], bool)
    hole[HOLE[0] * RATIO : (HOLE[0] + 1) * RATIO, HOLE[1] * RATIO : (HOLE[1] + 1) * RATIO] = True
    assert (values[:7] == -32768).all(axis=0)[hole].all()
    assert (values[EMPTY - 1] == -32768).all()
    valid = (values[:7] != -32768).all(axis=0)
    assert (valid | ndimage.binary_dilation(hole, iterations=RATIO)).all()
    for band in UNDER:
        found, wanted = values[band][valid] * 1e-4, truth[band][valid]
        assert np.corrcoef(found, wanted)[0, 1] > 0.95, band
    again = emrdiff(*manifest, "--skip-done")
    assert "skip" in (again.out + again.err).lower(), again
    ended = emrdiff("evaluate", tmp_path / "out.tif", "--lr-hsi", enmap, "--hr-msi", safe, "--json", "-q")
    assert ended.code == 0, ended.err
    assert emrdiff("quicklook", safe, tmp_path / "msi.png").code == 0
