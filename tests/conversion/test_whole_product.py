"""Products with bands on several grids as one MSI: every band at its place, coarse ones true to their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform as warp_transform

from emrdiff_cli.conversion.convert import ConversionOptions, convert
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from emrdiff_cli.errors import GridError, InputError, UsageError
from emrdiff_cli.fusion import sharpening
from emrdiff_cli.products.registry import read_bands
from emrdiff_cli.raster.reading import open_product, open_raster
from emrdiff_cli.raster_info import RasterInfo, Window
from tests.support.front_door import Run, error_lines
from tests.support.products import write_landsat, write_sentinel2
from tests.support.rasters import NORTH_UP, UTM33, pixels, write_tif
from tests.support.scenes import textured

FINE = NORTH_UP @ Affine.scale(1 / 3)  # 10 m
COARSE = {"B5": 2, "B6": 2, "B7": 2, "B8A": 2, "B11": 2, "B12": 2, "B1": 6, "B9": 6, "B10": 6}
ALL = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")


def coarser(values: NDArray[Any], ratio: int) -> NDArray[np.float64]:
    """An image (rows, columns) as pixels `ratio` times as wide see it: through a Gaussian of that FWHM."""
    rows, cols = (
        gaussian_downsampler(AxisPlacement(ratio, 0), size // ratio, size, ratio / FWHM_PER_SIGMA)
        for size in values.shape
    )
    return np.asarray(apply_taps(values[None].astype(np.float64), rows, cols)[0], np.float64)


def scene(height: int = 96, width: int = 84) -> tuple[NDArray[np.uint16], dict[str, NDArray[np.uint16]]]:
    """Counts of the bands of 10 m, and of the others, at 10 m too, by name."""
    truth = 2000 + 6000 * textured(4 + len(COARSE), height, width)
    stored = np.rint(truth).astype(np.uint16)
    return stored[:4], dict(zip(COARSE, stored[4:], strict=True))


def write_safe(folder: Path, level: str = "L2A", height: int = 96, width: int = 84) -> Path:
    """A whole SAFE folder of `scene`, area-averaged to each band's own pixels."""
    fine, others = scene(height, width)
    coarse = {
        name: np.rint(coarser(band, COARSE[name])).astype(np.uint16)
        for name, band in others.items()
        if name != "B10" or level == "L1C"
    }
    safe = folder / "S2.SAFE"
    return write_sentinel2(
        safe, fine, level=level, offsets=(-1000,) * 4, coarse=coarse, transform=FINE
    ).parent


def opened(source: Path, **options: Any) -> tuple[RasterInfo, NDArray[np.float32]]:
    output = source.parent / "msi.tif"
    convert(source, output, ConversionOptions(overwrite=True, **options))
    with open_raster(output) as reader:
        return reader.info, reader.read()


def test_all_bands_are_on_the_fine_grid_and_true_to_their_own_pixels(tmp_path: Path) -> None:
    safe = write_safe(tmp_path)
    fine, others = scene()
    info, values = opened(safe, bands="all60")
    names = ("B1", *ALL[:8], "B9", *ALL[8:])
    assert info.bands.names == names
    assert (info.dtype, info.nodata, info.scale, info.offset) == ("uint16", 0, 0.0001, -0.1)
    assert info.grid.transform == FINE
    assert list(info.bands.wavelengths_nm or ()) == sorted(info.bands.wavelengths_nm or ())
    assert (info.bands.fwhm_nm or ())[0] == 20
    assert info.tags["acquisition_time"].startswith("2024-06-15T10:10:31")
    assert info.band_tags["native_resolution_m"] == (
        *("60", "10", "10", "10", "20", "20", "20", "10", "20", "60", "20", "20"),
    )
    for band, truth in zip(("B2", "B3", "B4", "B8"), fine, strict=True):
        found = values[names.index(band)]
        np.testing.assert_allclose(found, (truth - 1000.0) / 1e4, atol=1e-6)
    for band, ratio in COARSE.items():
        if band == "B10":
            continue
        found, truth = values[names.index(band)].astype(float), (others[band] - 1000.0) / 1e4
        seen = coarser(truth, ratio)
        off = np.abs(coarser(found, ratio) - seen)[1:-1, 1:-1]
        assert off.max() < 0.06 * seen.std(), band
        nearest = np.repeat(np.repeat(seen, ratio, axis=0), ratio, axis=1)
        # The detail that is brought in is the ground's: nearer to the truth than the coarse pixels.
        assert np.square(found - truth).mean() < 0.1 * np.square(nearest - truth).mean(), band


def test_the_bands_of_10_m_alone_are_a_copy(tmp_path: Path) -> None:
    safe = write_safe(tmp_path)
    fine, others = scene()
    info, values = opened(safe, resolution=10)
    assert info.bands.names == ("B2", "B3", "B4", "B8")
    np.testing.assert_allclose(values, (fine - 1000.0) / 1e4, atol=1e-6)
    info, values = opened(safe, resolution=20)
    assert (info.bands.names, info.grid.transform) == (
        ("B5", "B6", "B7", "B8A", "B11", "B12"),
        FINE @ Affine.scale(2),
    )
    np.testing.assert_allclose(values[4], np.rint(coarser(others["B11"], 2)) / 1e4 - 0.1, atol=1e-6)


def test_cirrus_is_named_or_left_out(tmp_path: Path) -> None:
    safe = write_safe(tmp_path, "L1C", height=48, width=48)
    assert opened(safe, bands="all")[0].bands.names == ALL
    assert opened(safe, bands="B3,B10,B11")[0].bands.names == ("B3", "B10", "B11")
    with pytest.raises(UsageError, match=r"no B10: at 10 m or coarser S2\.SAFE has B2, B3, B4, B8, B5"):
        opened(write_safe(tmp_path / "other", height=48, width=48), bands="B2,B10")


def test_an_extent_is_the_other_rasters_ground_and_a_margin(tmp_path: Path) -> None:
    """Of any CRS; what is cut is the whole's, its edges are those of pixels of 60 m where such are asked for."""
    safe = write_safe(tmp_path, height=120, width=108)
    lies = NORTH_UP @ Affine.translation(9.4, 11.2)
    lr = write_tif(tmp_path / "lr.tif", pixels(3, 6, 5), transform=lies, crs=UTM33)
    info, values = opened(safe, bands="B2,B11,B9", extent=lr)
    assert info.grid.transform == FINE @ Affine.translation(
        12, 18
    )  # 4 pixels of 30 m before, snapped to 60 m
    assert values.shape == (3, 48, 48)
    fine, others = scene(120, 108)
    window = np.s_[18:66, 12:60]
    np.testing.assert_allclose(values[0], (fine[0][window] - 1000.0) / 1e4, atol=1e-6)
    for band, name in zip(values[[2, 1]], ("B11", "B9"), strict=True):
        truth = (others[name][window] - 1000.0) / 1e4
        assert np.square(band - truth).mean() < 0.1 * truth.var()
    x, y = warp_transform(UTM33, "EPSG:4326", *[[at] for at in lies @ (0.0, 0.0)])
    degrees = Affine(4e-4, 0, x[0], 0, -2.7e-4, y[0])
    write_tif(lr, pixels(3, 6, 5), transform=degrees, crs="EPSG:4326")
    lonlat, values = opened(safe, extent=lr)
    col, row = (round(at) for at in ~FINE @ (lonlat.grid.transform @ (0, 0)))
    np.testing.assert_array_equal(
        values, opened(safe)[1][:, row : row + values.shape[1], col : col + values.shape[2]]
    )
    corners = warp_transform(
        "EPSG:4326",
        UTM33,
        *zip(*(degrees @ at for at in ((-4, -4), (9, -4), (-4, 10), (9, 10))), strict=True),
    )
    for at in zip(*corners, strict=True):
        at_col, at_row = ~lonlat.grid.transform @ at
        assert -1e-6 <= at_col <= values.shape[2]
        assert -1e-6 <= at_row <= values.shape[1]


def test_an_extent_elsewhere_or_without_a_place(tmp_path: Path) -> None:
    safe = write_safe(tmp_path)
    far = write_tif(
        tmp_path / "far.tif", pixels(1, 4, 4), transform=FINE @ Affine.translation(900, 0), crs=UTM33
    )
    with pytest.raises(GridError, match=r"far\.tif: has no ground in common"):
        opened(safe, extent=far)
    with pytest.raises(GridError, match=r"nowhere\.tif has no georeference"):
        opened(safe, extent=write_tif(tmp_path / "nowhere.tif", pixels(1, 4, 4), crs=None))
    with pytest.raises(UsageError, match="cuts by the input's own georeference"):
        opened(safe, extent=far, crs="EPSG:32633")


def test_an_extent_of_a_raster_cuts_it(tmp_path: Path) -> None:
    values = pixels(2, 40, 50)
    write_tif(tmp_path / "a.tif", values, transform=NORTH_UP, crs=UTM33)
    write_tif(
        tmp_path / "of.tif", pixels(1, 4, 6), transform=NORTH_UP @ Affine.translation(20, 10), crs=UTM33
    )
    convert(tmp_path / "a.tif", tmp_path / "b.tif", ConversionOptions(extent=tmp_path / "of.tif"))
    with open_raster(tmp_path / "b.tif") as reader:
        assert reader.info.grid.transform == NORTH_UP @ Affine.translation(16, 6)
        np.testing.assert_array_equal(reader.read_stored(), values[:, 6:18, 16:30])


def test_parts_of_a_scene_pass_into_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of each part are the truth's; and parts that know no more than their number meet without a step."""
    safe = write_safe(tmp_path, height=198, width=24)
    _, others = scene(198, 24)
    area, said = Window(2, 4, 196, 20), list[str]()
    with (
        open_product(read_bands(safe, ("B2", "B3", "B4", "B8"))) as msi,
        open_product(read_bands(safe, ("B5", "B11"))) as lr,
    ):
        values = np.concatenate(list(sharpening.sharpened(lr, msi, area, said.append, 1)), axis=1)
        tops: list[int] = []

        def numbered(_: object, part: Window, __: object) -> Iterator[NDArray[np.float32]]:
            tops.append(part.row)
            for top in range(0, part.height, 7):
                yield np.full((1, min(7, part.height - top), 20), len(tops) - 1, np.float32)

        monkeypatch.setattr(sharpening, "_fused", numbered)
        steps = np.concatenate(list(sharpening.sharpened(lr, msi, area, said.append, 1)), axis=1)[0, :, 0]
    assert (said, len(tops), tops[0]) == ([], 2, 2)
    for band, name in zip(values, ("B5", "B11"), strict=True):
        truth = (others[name][area.rows, area.cols] - 1000.0) / 1e4
        assert (np.square(band - truth).mean(axis=1) < 0.25 * truth.var()).all()
        assert np.square(band - truth).mean() < 0.05 * truth.var()
    assert (len(steps), steps[0], steps[-1]) == (196, 0, 1)
    assert 0 <= np.diff(steps).min() <= np.diff(steps).max() < 0.03


def test_holes_and_empty_ground(tmp_path: Path) -> None:
    fine, others = scene()
    coarse = {name: np.rint(coarser(others[name], 2)).astype(np.uint16) for name in ("B5", "B11")}
    coarse["B11"][20, 12] = 0
    fine[1, 50, 40] = 65535
    for band in (*fine, *coarse.values()):
        band[: 36 * len(band) // 96] = 0
    clouds = np.full((48, 42), 4, np.uint8)
    clouds[40, 30] = 9
    safe = write_sentinel2(
        tmp_path / "S2.SAFE", fine, offsets=(-1000,) * 4, coarse=coarse, transform=FINE, mask=clouds
    )
    info, found = opened(safe.parent, bands="B3,B4,B5,B11")
    assert info.bands.names == ("B3", "B4", "B5", "B11")
    b3, b4, b5, b11 = np.isnan(found)
    assert all(holes[:36].all() for holes in (b3, b4, b5, b11))
    assert np.argwhere(b3[36:]).tolist() == np.argwhere(b5[36:]).tolist() == [[14, 40]]
    assert not b4[36:].any()
    assert np.argwhere(b11[36:]).tolist() == [[4, 24], [4, 25], [5, 24], [5, 25], [14, 40]]
    info, found = opened(safe.parent, bands="B4,B5", mask=("cloud",))
    assert info.tags["masked_classes"] == "cloud"
    assert np.isnan(found[:, 80:82, 60:62]).all()
    assert np.isnan(found[:, 36:]).sum(axis=(1, 2)).tolist() == [4, 5]


def test_ground_without_anything_to_learn_from_stays_as_it_is(tmp_path: Path) -> None:
    fine, coarse = np.full((4, 24, 24), 3000, np.uint16), pixels(1, 12, 12, "uint16") + 3000
    safe = write_sentinel2(tmp_path / "S2.SAFE", fine, coarse={"B5": coarse[0]}, transform=FINE).parent
    done = convert(safe, tmp_path / "msi.tif", ConversionOptions(bands="B5"))
    assert done.notes == ("rows 1 to 24 have too little in them to bring coarser bands out finer",)
    with open_raster(tmp_path / "msi.tif") as reader:
        np.testing.assert_allclose(
            reader.read()[0], np.kron((coarse[0] - 1000) / 1e4, np.ones((2, 2))), atol=1e-6
        )


def test_the_front_door(emrdiff: Run, tmp_path: Path) -> None:
    safe = write_safe(tmp_path)
    write_tif(tmp_path / "plain.tif", pixels(2, 8, 8), transform=NORTH_UP, crs=UTM33)
    for arguments, said in (
        ((safe, "--resolution", 30), "S2.SAFE has bands of 10, 20, 60 m"),
        ((safe, "--bands", "B2,nir"), "no nir"),
        ((safe, "--bands", "all", "--wavelengths", "400:1000:5"), "not with --wavelengths"),
        ((tmp_path / "plain.tif", "--bands", "all"), "are for Sentinel-2 and Landsat"),
    ):
        ended = emrdiff("convert", *arguments, tmp_path / "out.tif")
        assert (ended.code, len(error_lines(ended))) == (2, 1)
        assert said in ended.err
    next(safe.rglob("*_B11_20m.jp2")).unlink()
    with pytest.raises(InputError, match="the image of band B11"):
        opened(safe, bands="all")
    assert opened(safe)[0].bands.count == 4


def test_a_landsats_bands_come_to_its_panchromatic_grid(tmp_path: Path) -> None:
    """The panchromatic pixels' centres begin on those of 30 m, as they do in the products."""
    truth = 8000 + 20000 * textured(8, 98, 94)
    coarse = np.stack([coarser(band, 2) for band in truth[:7]])[:, :-1, :-1]
    pan = truth[7, 1:-2, 1:-2]
    folder = tmp_path / "landsat"
    metadata = write_landsat(
        folder, np.rint(coarse).astype(np.uint16), level="L1TP", pan=np.rint(pan).astype(np.uint16)
    )
    info, values = opened(folder, resolution=15)
    assert metadata.is_file()
    assert info.bands.names == ("B1", "B2", "B3", "B8", "B4", "B5", "B6", "B7")
    assert (info.grid.height, info.grid.width) == pan.shape
    np.testing.assert_allclose(values[3], (np.rint(pan) * 2e-5 - 0.1) / 0.5, rtol=1e-5)
    expected = (truth[4, 1:-2, 1:-2] * 2e-5 - 0.1) / 0.5
    assert np.corrcoef(values[5][4:-4, 4:-4].ravel(), expected[4:-4, 4:-4].ravel())[0, 1] > 0.9
    assert opened(folder)[0].bands.names == ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
