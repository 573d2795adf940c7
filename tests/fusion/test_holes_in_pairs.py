"""Holes of either raster, however they are declared: nothing of what lies in them, or far from them, matters."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.prepared_scene import PreparedScene, prepare_scene
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.raster.reading import ignoring_missing_georeference
from tests.support.pairs import BANDS, FINE, see, write_pair
from tests.support.rasters import NORTH_UP, UTM33, write_tif
from tests.support.samplers import Fake, fuse_and_read, of_position, settings
from tests.support.scenes import NODATA, read, textured, write_cube

HOLE = np.s_[20:23, 31:40]
LR_HOLE = (5, 8)
ON_LR = np.s_[20:24, 32:36]
WAYS: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in ("bicubic", "glp", "glp-local", "kriging")},
    "sampler": {"sampler": Fake(settings(), of_position)},
}


def declared(path: Path, values: NDArray[np.uint8], hole: Any, by: str, **options: Any) -> Path:
    """A raster of bytes with a hole (rows, columns), declared by nodata in one band, by a mask or by alpha."""
    mask = np.full(values.shape[1:], 255, np.uint8)
    mask[hole] = 0
    if by == "nodata":
        marked = values.copy()
        marked[1][hole] = 0
        return write_tif(path, marked, nodata=0, **options)
    if by == "alpha":
        count, height, width = values.shape
        profile: dict[str, Any] = {"height": height, "width": width, "dtype": "uint8", "crs": UTM33}
        profile |= {"count": count + 1, "photometric": "MINISBLACK"}
        with rasterio.open(path, "w", driver="GTiff", **profile, **options) as out:
            out.colorinterp = (
                [ColorInterp.gray] + [ColorInterp.undefined] * (len(values) - 1) + [ColorInterp.alpha]
            )
            out.write(np.concatenate([values, mask[None]]))
        return path
    write_tif(path, values, **options)
    with rasterio.open(path, "r+") as out, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=by == "inner mask"):
        out.write_mask(mask)
    return path


def rms(errors: NDArray[Any]) -> float:
    squares: NDArray[np.float64] = np.square(errors, dtype=np.float64)
    return float(np.sqrt(np.nanmean(squares)))


def as_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(180 * values), 1, 255).astype(np.uint8)


HOLES = [
    # However it is declared, the reader makes one mask of it, before any method sees it.
    *product(WAYS, ["LR-HSI", "HR-MSI"], ["inner mask"]),
    *product(["glp"], ["LR-HSI", "HR-MSI"], ["outer mask", "alpha"]),
    # Nodata in one band of the LR-HSI is no hole: the pixel is fused in the others.
    *product(["glp", "kriging"], ["HR-MSI"], ["nodata"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "which", "by"), HOLES)
def test_what_lies_in_a_hole_is_of_no_consequence(tmp_path: Path, way: str, by: str, which: str) -> None:
    lr, msi = write_pair(tmp_path, 48, 48, count=None)
    missing = np.zeros((48, 48), bool)
    missing[ON_LR if which == "LR-HSI" else HOLE] = True
    outputs = []
    for garbage in (1, 255):
        values = as_bytes(read(lr if which == "LR-HSI" else msi))
        hole = np.s_[5:6, 8:9] if which == "LR-HSI" else HOLE
        values[:, *hole] = garbage
        transform = NORTH_UP if which == "LR-HSI" else FINE
        path = declared(tmp_path / f"holed {garbage}.tif", values, hole, by, transform=transform)
        pair = (path, msi) if which == "LR-HSI" else (lr, path)
        outputs.append(fuse_and_read(tmp_path, pair, dtype="float32", **WAYS[way]))
    assert (np.isnan(outputs[0]) == missing).all()
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize("way", WAYS)
def test_bands_that_an_lr_pixel_lacks_are_nodata_there_and_the_others_are_fused(
    tmp_path: Path, way: str
) -> None:
    """A dead value, and a detector that ends earlier: against the same pair without holes."""
    pair = write_pair(tmp_path, count=None)
    whole = fuse_and_read(tmp_path, pair, **WAYS[way])
    values = read(pair[0])
    values[(3, *LR_HOLE)] = np.nan
    values[5:, :, :4] = np.nan
    holed = write_cube(tmp_path / "holed.tif", values, count=None)
    fused = fuse_and_read(tmp_path, (holed, pair[1]), **WAYS[way])
    missing = np.zeros((BANDS, 64, 72), bool)
    missing[3, *ON_LR] = missing[5:, :, :16] = True
    assert (np.isnan(fused) == missing).all()
    truth = textured(BANDS, 64, 72)
    if way == "sampler":  # adds what is no truth
        return
    for where in (np.s_[:5, :, :16], np.s_[:, :, 16:]):
        with_holes, without = rms(fused[where] - truth[where]), rms(whole[where] - truth[where])
        assert with_holes < 1.03 * without


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "side", "reach", "beyond"),
    [("bicubic", 160, 2, 0), ("glp", 160, 3, 2e-4), ("glp-local", 160, 5, 3e-4), ("kriging", 104, 5, 1e-3)],
)
def test_beyond_its_reach_a_hole_is_felt_by_the_scenes_statistics_alone(
    tmp_path: Path, method: str, side: int, reach: int, beyond: float
) -> None:
    """Of 0.1 to 0.8; `reach` in LR pixels, the longest way along either axis."""
    whole = fuse_and_read(tmp_path, write_pair(tmp_path, side, side, count=None), method=method)
    middle = np.arange(side) - side // 2
    far = np.maximum(*np.abs(np.meshgrid(middle - 1.5, middle - 1.5))) - 2 >= 4 * reach
    assert far.mean() > 0.6
    hole = (slice(side // 2, side // 2 + 4),) * 2
    holes: tuple[dict[str, Any], ...] = {"lr_holes": [(side // 8, side // 8)]}, {"msi_holes": np.s_[:, *hole]}
    for holed in holes:
        pair = write_pair(tmp_path, side, side, count=None, **holed)
        change = np.abs(fuse_and_read(tmp_path, pair, method=method) - whole).max(axis=0)
        assert change[far].max() <= beyond
        if method != "bicubic" or "lr_holes" in holed:
            assert np.nanmax(change[~far]) > 1e-3


@pytest.mark.parametrize(("method", "reach"), [("glp", 2), ("glp-local", 5), ("kriging", 5)])
def test_holes_shift_no_statistics(tmp_path: Path, method: str, reach: int) -> None:
    """Where the HSI is linear in the MSI any part of the scene tells the whole map, so holes change nothing."""
    msi = see(textured(BANDS, 64, 72))
    mix = np.random.default_rng(1).uniform(-1, 1, (BANDS, len(msi)))
    truth = 2 + np.tensordot(mix, msi, axes=1)
    lr, _ = write_pair(tmp_path, count=None)
    with rasterio.open(lr) as source:
        grid = source.transform
    fine = write_cube(tmp_path / "msi.tif", msi, transform=FINE, count=None)
    with open_pair(lr, fine) as pair:
        rows, cols = pair.resampling.down
    coarse = apply_taps(truth, rows, cols)
    outputs = []
    for holes in (np.s_[:0, :0], np.s_[:5, 3:6]):
        coarse[:, *holes] = np.nan
        path = write_cube(tmp_path / "lr.tif", coarse, transform=grid, count=None)
        outputs.append(fuse_and_read(tmp_path, (path, fine), method=method))
    missing, far = np.zeros((64, 72), bool), np.ones((64, 72), bool)
    missing[:20, 12:24] = True
    far[: 20 + 4 * reach, max(0, 12 - 4 * reach) : 24 + 4 * reach] = False
    assert (np.isnan(outputs[1]) == missing).all()
    np.testing.assert_allclose(outputs[1][:, far], outputs[0][:, far], atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_nodata_is_where_either_has_none_to_give(tmp_path: Path, way: str) -> None:
    pair = write_pair(tmp_path, lr_holes=[LR_HOLE], msi_holes=np.s_[2, 40:45, 50:60])
    fuse_and_read(tmp_path, pair, **WAYS[way])
    with ignoring_missing_georeference(), rasterio.open(tmp_path / "fused.tif") as dataset:
        stored, nodata = dataset.read(), dataset.nodata
    missing = np.zeros((64, 72), bool)
    missing[ON_LR] = missing[40:45, 50:60] = True
    assert nodata == NODATA
    assert ((stored == nodata) == missing).all()


def test_missing_bands_go_with_the_scene_to_a_journal_and_to_workers(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    values = read(lr)
    values[5:, :, :4] = np.nan
    with open_pair(write_cube(tmp_path / "holed.tif", values, count=None), msi) as pair:
        scene = prepare_scene(pair, "glp", Fake(settings(), of_position))
        again = PreparedScene.from_arrays(pair, scene.arrays())
    np.testing.assert_array_equal(again.missing.sets, scene.missing.sets)
    np.testing.assert_array_equal(again.missing.at, scene.missing.at)
    assert scene.missing.share == 4 / 18
    assert again.notes == scene.notes


def test_pixels_that_lack_some_bands_are_said(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    said = []
    for holes, msi_holes in (
        (np.s_[:, :4, :9], np.s_[:, :8, :9]),
        (np.s_[5:, :4, :9], np.s_[1, :8, :9]),
    ):
        holed, holed_msi = read(lr), read(msi)
        holed[holes], holed_msi[msi_holes] = np.nan, np.nan
        pair = (
            write_cube(tmp_path / "holed.tif", holed, count=None),
            write_cube(tmp_path / "holed msi.tif", holed_msi, transform=FINE, count=None),
        )
        done = fuse(*pair, tmp_path / "fused.tif", "glp", None, FusionOptions(overwrite=True, register="off"))
        said.append([note for note in done.notes if "some bands alone" in note])
    assert not said[0]
    assert said[1][0].startswith("12.50% of the LR pixels")
    assert "nodata in the others (of bands 6-8)" in said[1][0]
    assert said[1][1].startswith("1.56% of the HR-MSI's pixels")
    assert len(said[1]) == 2


def test_more_sets_of_missing_bands_than_can_be_told_apart_are_holes_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emrdiff_cli.core.sensor.missing_bands._MOST_SETS", 1)
    lr, msi = write_pair(tmp_path, count=None)
    values = read(lr)
    values[2, 3:5, 3] = values[(4, *LR_HOLE)] = np.nan
    path = write_cube(tmp_path / "holed.tif", values, count=None)
    fused = fuse_and_read(tmp_path, (path, msi))
    missing = np.zeros((BANDS, 64, 72), bool)
    missing[2, 12:20, 12:16] = missing[:, *ON_LR] = True
    assert (np.isnan(fused) == missing).all()
