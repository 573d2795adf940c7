"""EMIT's own masks: the MASK file beside a scene, on the ground by the scene's lookup table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.conversion.convert import ConversionOptions, convert
from emrdiff_cli.conversion.products.emit_mask import open_mask
from emrdiff_cli.errors import EmrdiffError
from emrdiff_cli.raster.hdf5 import open_hdf5
from tests.support.containers import (
    EMIT_FLAGS,
    emit_cube,
    write_emit,
    write_emit_mask,
    write_neon,
)
from tests.support.front_door import Run
from tests.support.places import REAL_SCENES
from tests.support.rasters import pixels, write_tif

SCENE = "001_20220827T060753_2223904_013.nc"
TRUE = REAL_SCENES / "products" / "EMIT_L2A_MASK_001_20220827T060753_9999999_999.nc"
SWATH = (70, 90)


def table() -> tuple[Any, Any]:
    """Ground of 75 x 95 pixels that sees the swath mirrored, each of its pixels once, and nothing at the margin."""
    glt_x, glt_y = np.zeros((75, 95), "int32"), np.zeros((75, 95), "int32")
    glt_y[2:72, 3:93] = np.arange(70, 0, -1)[:, None]
    glt_x[2:72, 3:93] = np.arange(90, 0, -1)
    return glt_x, glt_y


def flags() -> Any:
    mask = np.random.default_rng(2).integers(0, 2, (*SWATH, len(EMIT_FLAGS)))
    mask[0, 0] = -9999
    mask[..., EMIT_FLAGS.index("AOD550")] *= 5
    return mask


def test_flags_become_nodata_where_the_table_puts_them(tmp_path: Path, emrdiff: Run) -> None:
    source = write_emit(tmp_path / f"EMIT_L2A_RFL_{SCENE}", *table(), height=SWATH[0], width=SWATH[1])
    mask = flags()
    write_emit_mask(tmp_path / f"EMIT_L2A_MASK_{SCENE}", mask)
    ended = emrdiff("convert", source, tmp_path / "out.tif", "--mask", "water,dilated-cloud")
    assert ended.code == 0, ended.err
    hidden = (mask[..., 2] == 1) | (mask[..., 4] == 1)
    expected = np.full((5, 75, 95), -9999, "float32")
    values = np.where(hidden[..., None], -9999, emit_cube(*SWATH, 5))
    expected[:, 2:72, 3:93] = values[::-1, ::-1].transpose(2, 0, 1)
    with rasterio.open(tmp_path / "out.tif") as written:
        np.testing.assert_array_equal(written.read(), expected)
        assert written.tags()["masked_classes"] == "dilated-cloud,water"
    share = (mask[..., 2] == 1).sum() / (75 * 95)
    assert f"masked by EMIT_L2A_MASK_{SCENE}: dilated-cloud" in ended.err
    assert f"water {share:.2%}" in ended.err
    # Of a cut, the share is that of the cut.
    with rasterio.open(tmp_path / "out.tif") as written:
        place, crs = written.transform @ Affine.translation(12, 9), str(written.crs)
    of = write_tif(tmp_path / "of.tif", pixels(1, 20, 30), transform=place, crs=crs)
    ended = emrdiff(
        *("convert", source, tmp_path / "cut.tif", "--mask", "water,dilated-cloud", "--extent", of)
    )
    assert ended.code == 0, ended.err
    with rasterio.open(tmp_path / "cut.tif") as cut:
        np.testing.assert_array_equal(cut.read(), expected[:, 5:33, 8:46])
    share = (mask[::-1, ::-1, 2][3:31, 5:43] == 1).mean()
    assert f"water {share:.2%}" in ended.err


def _strange(folder: Path) -> None:
    mask = flags()
    mask[5, 6, 0] = 3
    write_emit_mask(folder / f"EMIT_L2A_MASK_{SCENE}", mask)


@pytest.mark.parametrize(
    ("beside", "mask", "said"),
    [
        (lambda folder: None, "cloud", f"its mask, EMIT_L2A_MASK_{SCENE}, is not beside it: put it there"),
        (
            lambda folder: write_emit_mask(
                folder / f"EMIT_L2A_MASK_{SCENE}", flags(), "2022-08-27T06:08:05+0000"
            ),
            "cloud",
            "is not the mask of EMIT_L2A_RFL.* of another scene",
        ),
        (
            lambda folder: write_emit_mask(folder / f"EMIT_L2A_MASK_{SCENE}", flags()),
            "snow",
            "--mask snow: .*, EMIT L2A MASK, has masks of cloud, dilated-cloud, cirrus, water",
        ),
        (_strange, "cloud", "holds flags that are neither 0 nor 1"),
    ],
)
def test_what_cannot_be_masked_is_told_in_one_line(tmp_path: Path, beside: Any, mask: str, said: str) -> None:
    source = write_emit(tmp_path / f"EMIT_L2A_RFL_{SCENE}", *table(), height=SWATH[0], width=SWATH[1])
    beside(tmp_path)
    with pytest.raises(EmrdiffError, match=said):
        convert(source, tmp_path / "out.tif", ConversionOptions(mask=(mask,)))
    assert not (tmp_path / "out.tif").exists()


def test_products_without_masks_say_so(tmp_path: Path) -> None:
    neon = write_neon(tmp_path / "n.h5")
    with pytest.raises(EmrdiffError, match=r"--mask: .*NEON.* has no masks of these classes"):
        convert(neon, tmp_path / "out.tif", ConversionOptions(mask=("cloud",)))


@pytest.mark.skipif(not TRUE.exists(), reason="needs the products' metadata beside the repository")
def test_a_true_mask_has_the_flags(tmp_path: Path) -> None:
    """The cube is made; the mask beside it is a true one, in which nothing but the aggregate is flagged."""
    shutil.copy(TRUE, tmp_path / f"EMIT_L2A_MASK_{SCENE}")
    with h5py.File(TRUE) as true, h5py.File(tmp_path / f"EMIT_L2A_RFL_{SCENE}", "w") as cube:
        for name in ("time_coverage_start", "flight_line"):
            cube.attrs[name] = true.attrs[name]
    asked = ("cloud", "dilated-cloud", "cirrus", "water")
    with open_hdf5(tmp_path / f"EMIT_L2A_RFL_{SCENE}") as cube, open_mask(cube, (200, 200), asked) as mask:
        rows, cols = np.mgrid[1:201, 1:201]
        assert not mask.hidden(rows, cols).any()
        assert mask.counts == dict.fromkeys(asked, 0)
