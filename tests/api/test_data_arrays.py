"""DataArrays, as rioxarray opens rasters: the same numbers as of the files, places and wavelengths kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli import check, degrade, evaluate, fuse, psnr, simulate
from emrdiff_cli.errors import EmrdiffError, GridError, InputError, UsageError
from tests.support.pairs import displaced
from tests.support.rasters import NORTH_UP
from tests.support.scenes import read, textured, write_cube

# The test extra brings both.
xr: Any = pytest.importorskip("xarray")
rioxarray: Any = pytest.importorskip("rioxarray")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Counts with their scale in a CRS, displaced, with holes."""
    return displaced(tmp_path, side=64, holes=True)


def opened(path: Path, **options: Any) -> Any:
    """The raster with the wavelengths that rioxarray reads of ENVI alone, in micrometres."""
    cube = rioxarray.open_rasterio(path, **options).load()
    with rasterio.open(path) as dataset:
        lengths = [float(dataset.tags(band)["wavelength"]) / 1000 for band in dataset.indexes]
    return cube.assign_coords(wavelength=("band", lengths, {"units": "um"}))


def test_data_arrays_are_fused_as_their_files_are(files: tuple[Path, Path], tmp_path: Path) -> None:
    lr, msi = (opened(path, masked=masked) for path, masked in zip(files, (False, True), strict=True))
    kept = lr.copy(deep=True)
    lr = lr.transpose("y", "x", "band").assign_coords(time=np.datetime64("2020-05-01", "ns"))
    part = (383547.37, 5818002.35, 383772.37, 5818227.35)
    by_file = fuse(*files, tmp_path / "out.tif", method="glp", dtype="float32", bounds=part)
    done = fuse(lr, msi, method="glp", changed=True, bounds=part)
    cube = done.cube
    with rasterio.open(by_file.cube) as written:
        stored = written.read(masked=True).filled(np.nan)
        transform, crs = written.transform, written.crs
    assert cube.dims == ("y", "x", "band")
    np.testing.assert_array_equal(cube.transpose("band", "y", "x").to_numpy(), stored)
    assert (cube.rio.transform(), cube.rio.crs) == (transform, crs)
    assert np.isnan(cube.rio.nodata)
    # Over the part of the MSI that it covers the coordinates are the same numbers.
    assert done.window == by_file.window == (10, 10, 30, 30)
    assert (cube - msi.isel(band=0, drop=True)).shape == cube.shape
    np.testing.assert_array_equal(cube.x, msi.x[done.window.cols])
    np.testing.assert_array_equal(cube.wavelength, lr.wavelength)
    assert cube.wavelength.attrs == {"units": "um"}
    assert (cube.time, cube.attrs["scale_factor"]) == (lr.time, 1e-4)
    assert done.changed is not None
    np.testing.assert_array_equal(done.changed.x, lr.x)
    assert psnr(done, opened(by_file.cube)) > 200
    assert evaluate(cube, lr_hsi=lr, hr_msi=msi).shift_lr_px == done.report.shift_lr_px != (0, 0)
    assert check(lr, msi).to_json()["shift"] == check(*files).to_json()["shift"]
    xr.testing.assert_identical(lr.drop_vars("time").transpose(*kept.dims), kept)


def test_grids_are_those_of_the_coordinates(tmp_path: Path) -> None:
    """A part that was cut out states the whole's transform; rows may run upwards; names may be others."""
    truth = textured(8, 64, 64)
    path = write_cube(tmp_path / "cube.tif", truth, count=None)
    whole = opened(path)
    part = degrade(whole.isel(y=slice(8, 40), x=slice(4, 44)), ratio=4)
    expected = degrade(truth[:, 8:40, 4:44], ratio=4)
    np.testing.assert_array_equal(part, expected)
    assert part.rio.transform() == NORTH_UP @ Affine.translation(4, 8) @ Affine.scale(4)
    np.testing.assert_allclose(part.x, whole.x[4:44].to_numpy().reshape(10, 4).mean(axis=1), rtol=1e-12)
    pair = simulate(whole, ratio=4, srf=np.eye(8)[::3] + np.eye(8, k=1)[::3])
    assert pair.hr_msi.dims == ("band", "y", "x")
    assert pair.hr_msi.wavelength.to_numpy() == pytest.approx([440.5, 560.5, 680.5])
    np.testing.assert_array_equal(pair.hr_msi.x, whole.x)
    usual = fuse(pair.lr_hsi, pair.hr_msi, method="glp").cube
    upward = fuse(
        pair.lr_hsi.isel(y=slice(None, None, -1)), pair.hr_msi.isel(y=slice(None, None, -1)), method="glp"
    )
    np.testing.assert_allclose(upward.cube.sel(y=usual.y), usual, atol=2e-5)
    renamed = pair.lr_hsi.rename(band="wl", y="latitude", x="longitude")
    assert fuse(renamed, pair.hr_msi, method="glp").cube.dims == ("wl", "latitude", "longitude")
    single = [
        cube.assign_coords(x=cube.x.astype("f4"), y=cube.y.astype("f4"))
        for cube in (pair.lr_hsi, pair.hr_msi)
    ]
    np.testing.assert_allclose(fuse(single[0], single[1], method="glp").cube, usual, atol=0.03)
    bare = [cube.drop_vars(("x", "y", "spatial_ref")) for cube in (pair.lr_hsi, pair.hr_msi)]
    for cube in bare:
        cube.attrs.pop("_FillValue", None)
    np.testing.assert_allclose(fuse(*bare, ratio=4, method="glp").cube, usual, atol=2e-5)


def test_a_part_of_a_turned_raster_lies_where_its_pixels_do(tmp_path: Path) -> None:
    """The transform that a part states is the whole's; the centres of its pixels tell."""
    turned = NORTH_UP @ Affine.rotation(30)
    whole = opened(write_cube(tmp_path / "cube.tif", textured(4, 24, 24), transform=turned, count=None))
    part = degrade(whole.isel(y=slice(8, 24), x=slice(4, 20)), ratio=4)
    assert part.rio.transform().almost_equals(turned @ Affine.translation(4, 8) @ Affine.scale(4), 1e-6)
    with pytest.raises(InputError, match="take whole, even parts"):
        degrade(whole.isel(x=slice(None, None, 2)), ratio=4)


CUBE = xr.DataArray(
    np.full((4, 6, 6), 0.3), dims=("band", "y", "x"), coords={"x": np.arange(6), "y": np.arange(6)}
)


@pytest.mark.parametrize(
    ("cube", "kind", "said"),
    [
        (CUBE.rename(x="east"), InputError, "lr_hsi: its dimensions are band, y, east"),
        (CUBE.expand_dims("time"), InputError, "has time, band besides y and x"),
        (CUBE.isel(x=[0, 1, 2, 4]), InputError, "coordinates x are not evenly spaced"),
        (CUBE.assign_attrs(scale_factor=1e-4), InputError, "was applied already; drop the attribute"),
        (CUBE.assign_attrs(scale_factor=(0.1, 0.2)), InputError, "different scale_factor"),
        (CUBE.assign_attrs(add_offset="much"), InputError, "add_offset is 'much', no number"),
        (CUBE.assign_coords(x=list("abcdef")), InputError, "coordinates x are no numbers"),
        (CUBE.rio.write_crs(32633), GridError, r"hr_msi has no CRS but lr_hsi has: .*hr_msi\.rio\.write_crs"),
        (CUBE.to_dataset(name="lr"), UsageError, "is an xarray Dataset"),
    ],
)
def test_what_cannot_be_is_one_line_of_the_family(cube: Any, kind: type[EmrdiffError], said: str) -> None:
    with pytest.raises(kind, match=said):
        fuse(cube, CUBE)
    with pytest.raises(UsageError, match="by their coordinates where they lie"):
        fuse(CUBE, CUBE, ratio=2)


def test_without_rioxarray_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rioxarray", None)
    monkeypatch.delitem(sys.modules, "rioxarray.exceptions")
    with pytest.raises(UsageError, match=r"pip install 'emrdiff\[xarray\]'"):
        degrade(CUBE, ratio=2)


def test_an_image_that_was_opened_with_its_scale_is_the_same(files: tuple[Path, Path]) -> None:
    """Physical values, of which the scale is in the encoding; an ENVI header's factor counts as well."""
    stored, physical = (opened(files[0], mask_and_scale=scaled) for scaled in (False, True))
    assert psnr(stored, physical) > 100
    factor = physical.copy(data=physical * 5000).assign_attrs(reflectance_scale_factor="5000")
    assert psnr(factor, physical) > 100
    np.testing.assert_allclose(degrade(physical, ratio=2), degrade(stored, ratio=2) * 1e-4, atol=1e-6)
    assert read(files[0]).shape == stored.shape
