"""Products' own masks: clouds and the like as holes, on request, wherever a product is read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.errors import EmrdiffError, UsageError
from emrdiff_cli.products.mask_classes import parse_mask
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import ignoring_missing_georeference, open_raster, read_info
from emrdiff_cli.raster_info import Window
from tests.support.front_door import Run, error_lines
from tests.support.hyperspectral_products import write_desis
from tests.support.products import (
    ENMAP_SCENE,
    replaced,
    write_enmap,
    write_landsat,
    write_sentinel2,
)
from tests.support.rasters import NORTH_UP, pixels, write_tif

Bools = NDArray[np.bool_]

WAVELENGTHS = (492, 561, 664, 740.5, 832)
PARTS = ("CLOUD", "CIRRUS", "HAZE", "CLOUDSHADOW", "SNOW", "CLASSES")


def holes(product: Path, *mask: str, window: Window | None = None) -> Bools:
    """Where all bands are invalid; none is where only some are. What is stored says the same."""
    with open_raster(product, mask=mask) as reader:
        values, stored = reader.read(window), reader.valid(reader.read_stored(window))
    np.testing.assert_array_equal(np.isfinite(values), stored)
    invalid = np.isnan(values)
    np.testing.assert_array_equal(invalid.all(axis=0), invalid.any(axis=0))
    return np.asarray(invalid.all(axis=0))


def test_enmaps_masks_are_files_of_flags_beside_the_image(tmp_path: Path) -> None:
    rows, cols = np.mgrid[:9, :11]
    flags = np.where((rows * 11 + cols) % 7 == 0, 1, 0).astype("uint8")
    masks = {name: np.roll(flags, i, axis=1) for i, name in enumerate(PARTS)}
    masks["CIRRUS"] = ((rows + 3 * cols) % 4).astype("uint8")  # thin, medium and thick are cirrus
    masks["CLASSES"] = np.where(masks["CLASSES"] == 1, 2, (rows + cols) % 2 * 2 + 1).astype("uint8")
    masks["SNOW"][0, 0] = 255
    metadata = write_enmap(tmp_path, pixels(5, 9, 11), WAVELENGTHS, masks=masks)
    assert read_info(tmp_path).mask_classes == ("cloud", "cirrus", "haze", "shadow", "snow", "water")
    assert len(files_of(metadata)) == 2 + len(PARTS)
    assert not holes(metadata).any()
    for name, part in zip(
        ("cloud", "haze", "shadow", "snow"), ("CLOUD", "HAZE", "CLOUDSHADOW", "SNOW"), strict=True
    ):
        np.testing.assert_array_equal(holes(metadata, name), masks[part] == 1)
    np.testing.assert_array_equal(holes(metadata, "cirrus"), masks["CIRRUS"] > 0)
    np.testing.assert_array_equal(holes(metadata, "water"), masks["CLASSES"] == 2)
    both = (masks["CLOUD"] == 1) | (masks["CLOUDSHADOW"] == 1)
    np.testing.assert_array_equal(
        holes(metadata, "cloud", "shadow", window=Window(2, 3, 5, 6)), both[2:7, 3:9]
    )
    with open_raster(metadata, mask=("cloud", "cirrus")) as reader:
        assert reader.mask_shares() == {"cloud": 15 / 99, "cirrus": (masks["CIRRUS"] > 0).mean()}
        assert reader.info.tags["masked_classes"] == "cloud,cirrus"


def test_radiance_of_bands_with_a_gain_each_has_holes_too(tmp_path: Path) -> None:
    cloud = np.zeros((6, 7), "uint8")
    cloud[1, 2:5] = 1
    gains = (0.001, 0.002, 0.003, 0.004, 0.005)
    masks = {"CLOUD": cloud}
    metadata = write_enmap(tmp_path, pixels(5, 6, 7), WAVELENGTHS, level="L1C", gains=gains, masks=masks)
    np.testing.assert_array_equal(holes(metadata, "cloud"), cloud == 1)


@pytest.mark.parametrize(("level", "ratio"), [("L2A", 2), ("L1C", 6)])
def test_a_coarser_mask_of_sentinel_2_lies_pixel_by_pixel(tmp_path: Path, level: str, ratio: int) -> None:
    """A mask's pixel lies on whole pixels of 10 m, in windows that begin anywhere and at an odd size's edge."""
    height, width = 31, 41
    shape = -(-height // ratio), -(-width // ratio)
    random = np.random.default_rng(4)
    if level == "L2A":
        mask = random.integers(0, 12, shape).astype("uint8")
        values = {"cloud": (8, 9), "cirrus": (10,), "shadow": (3,), "snow": (11,), "water": (6,)}
        coarse = {name: np.isin(mask, listed) for name, listed in values.items()}
    else:
        mask = random.integers(0, 2, (3, *shape)).astype("uint8")
        coarse = {name: mask[i] == 1 for i, name in enumerate(("cloud", "cirrus", "snow"))}
    metadata = write_sentinel2(tmp_path, pixels(4, height, width, "uint16") + 1000, level=level, mask=mask)
    assert read_info(metadata).mask_classes == tuple(coarse)
    at = np.arange(height)[:, None] // ratio, np.arange(width) // ratio
    for name, found in coarse.items():
        np.testing.assert_array_equal(holes(metadata, name), found[at])
    for window in (Window(5, 3, 1, 1), Window(7, 11, 13, 8), Window(28, 38, 3, 3)):
        expected = (coarse["cloud"] | coarse["snow"])[at][window.rows, window.cols]
        np.testing.assert_array_equal(holes(metadata, "cloud", "snow", window=window), expected)


def test_desis_classes_lie_in_bands_of_its_quality_layers(tmp_path: Path) -> None:
    """Haze and clouds over land and over water have a band each; of aerosol and water vapour 1 is an amount."""
    quality = np.zeros((10, 4, 5), "uint8")
    for band in range(10):
        quality[band].flat[band] = 1
    quality[8:] += 1
    metadata = write_desis(tmp_path, pixels(4, 4, 5), WAVELENGTHS[:4], quality=quality)
    places = {"cloud": (5, 6), "haze": (3, 4), "shadow": (0,), "snow": (2,), "water": (7,)}
    assert read_info(tmp_path).mask_classes == tuple(places)
    for name, found in places.items():
        np.testing.assert_array_equal(np.flatnonzero(holes(metadata, name)), found)
    with open_raster(metadata, mask=("cloud", "water")) as reader:
        assert reader.mask_shares() == {"cloud": 2 / 20, "water": 1 / 20}
    assert len(files_of(metadata)) == 4
    toa = write_desis(tmp_path / "l1c", pixels(4, 4, 5), WAVELENGTHS[:4], level="L1C", quality=quality)
    with pytest.raises(UsageError, match="DESIS L1C, has none: those of level L2A alone are known"):
        open_raster(toa, mask=("cloud",))


def test_landsats_masks_are_bits(tmp_path: Path) -> None:
    quality = np.left_shift(1, np.arange(16).reshape(4, 4)).astype("uint16")
    metadata = write_landsat(tmp_path, pixels(7, 4, 4, "uint16"), quality=quality)
    bits = {"cloud": 3, "dilated-cloud": 1, "cirrus": 2, "shadow": 4, "snow": 5, "water": 7}
    assert read_info(tmp_path).mask_classes == tuple(bits)
    for name, bit in bits.items():
        np.testing.assert_array_equal(np.flatnonzero(holes(metadata, name)), [bit])
    replaced(metadata, {"LANDSAT_8": "LANDSAT_7"})
    with pytest.raises(
        UsageError, match=r"--mask cirrus: .*, Landsat 7 L2SP, has masks of cloud, dilated-cloud, sh"
    ):
        open_raster(metadata, mask=("cirrus",))


def test_a_mask_lies_under_landsats_panchromatic_band(tmp_path: Path, emrdiff: Run) -> None:
    """It begins half a pixel inside of those of 30 m: every second lies on two of these, and either hides it."""
    cloud = np.random.default_rng(3).integers(0, 3, (6, 7)) == 0
    write_landsat(
        tmp_path / "l",
        pixels(7, 6, 7, "uint16") + 9000,
        level="L1TP",
        pan=pixels(1, 11, 13, "uint16")[0] + 9000,
        quality=np.where(cloud, 8, 1 << 6).astype("uint16"),
    )
    ended = emrdiff(
        *("convert", tmp_path / "l", tmp_path / "o.tif", "--resolution", "15", "--bands", "B8"),
        *("--mask", "cloud"),
    )
    assert ended.code == 0, ended.err
    quarters = cloud.repeat(4, axis=0).repeat(4, axis=1)[1:-1, 1:-1]  # of 7.5 m, from the PAN's corner on
    expected = quarters.reshape(11, 2, 13, 2).any(axis=(1, 3))
    with rasterio.open(tmp_path / "o.tif") as written:
        np.testing.assert_array_equal(written.read(1) == written.nodata, expected)


def _enmap(folder: Path, cloud: NDArray[Any] | None = None, **place: Any) -> Path:
    masks = {"CLOUD": np.zeros((6, 7), "uint8") if cloud is None else cloud}
    return write_enmap(folder, pixels(5, 6, 7), WAVELENGTHS, masks=masks, **place)


def _mask_elsewhere(folder: Path) -> Path:
    moved = NORTH_UP @ Affine.translation(1, 0)
    metadata = _enmap(folder)
    write_tif(
        folder / f"{ENMAP_SCENE.format(level='L2A')}-QL_QUALITY_CLOUD.TIF", pixels(1, 6, 7), transform=moved
    )
    return metadata


def _scene_map_cut(folder: Path) -> Path:
    metadata = write_sentinel2(folder, pixels(4, 30, 40, "uint16"), mask=np.zeros((15, 20), "uint8"))
    image = next(folder.rglob("*SCL_20m.jp2"))
    image.write_bytes(image.read_bytes()[:-20])
    return metadata


@pytest.mark.parametrize(
    ("made", "mask", "said"),
    [
        (
            lambda to: _enmap(to),
            "snow",
            r"its mask of snow, ENMAP01.*-QL_QUALITY_SNOW\.TIF, is not there: unpack",
        ),
        (lambda to: _enmap(to, np.full((6, 7), 7, "uint8")), "cloud", "CLOUD.TIF: holds 7, which no class"),
        (_mask_elsewhere, "cloud", r"CLOUD\.TIF: does not lie on the pixels of the image that it masks"),
        (_scene_map_cut, "cloud", "SCL_20m.jp2"),
        (
            lambda to: _enmap(to),
            "dilated-cloud",
            "EnMAP L2A, has masks of cloud, cirrus, haze, shadow, snow, water",
        ),
        (
            lambda to: write_sentinel2(to, pixels(4, 9, 8, "uint16"), level="L1C", baseline="02.09"),
            "cloud",
            r"Sentinel-2 L1C, has none: those of processing baseline 02\.09 are no rasters, from 04\.00 on",
        ),
        (
            lambda to: write_tif(to / "a.tif", pixels(5, 6, 7)),
            "cloud",
            r"a\.tif is no product that has masks",
        ),
    ],
)
def test_what_cannot_be_masked_is_told_in_one_line(tmp_path: Path, made: Any, mask: str, said: str) -> None:
    product = made(tmp_path)
    with pytest.raises(EmrdiffError, match=said), open_raster(product, mask=(mask,)) as reader:
        reader.read()
    assert read_info(product).bands.count > 3  # as long as no mask is asked for, none is looked at


def test_classes_are_asked_of_both_or_of_one() -> None:
    assert parse_mask("msi:snow cloud,CLOUD,lr:cloud") == ("cloud", "msi:snow")
    for text in ("", "clouds", "hr:cloud"):
        with pytest.raises(ValueError, match="some of cloud, dilated-cloud, cirrus"):
            parse_mask(text)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, Bools, Bools]:
    """A small EnMAP and its SAFE, the shadow of the one and the clouds of the other, on the SAFE's pixels."""
    rng = np.random.default_rng(1)
    truth = np.cumsum(np.cumsum(rng.normal(size=(5, 30, 36)), axis=1), axis=2)
    truth = 0.1 + 0.3 * (truth - truth.min()) / np.ptp(truth)
    shadow, scene_map = np.zeros((10, 12), "uint8"), np.full((15, 18), 4, "uint8")
    shadow[2, 3], scene_map[7:9, 10:13] = 1, 9
    lr = truth.reshape(5, 10, 3, 12, 3).mean(axis=(2, 4))
    clear = np.zeros_like(shadow)
    masks = {"CLOUD": clear, "CLOUDSHADOW": shadow, "SNOW": clear}
    write_enmap(tmp_path / "enmap", np.round(lr * 1e4).astype("int16"), WAVELENGTHS, masks=masks)
    digital = np.round(truth[[0, 1, 2, 4]] * 1e4).astype("uint16") + 1000
    fine = NORTH_UP @ Affine.scale(1 / 3)
    write_sentinel2(tmp_path / "S2.SAFE", digital, offsets=(-1000,) * 4, transform=fine, mask=scene_map)
    return (
        *(tmp_path / "enmap", tmp_path / "S2.SAFE"),
        *(np.kron(shadow, np.ones((3, 3))) > 0, np.kron(scene_map == 9, np.ones((2, 2))) > 0),
    )


def test_a_pair_is_fused_without_what_either_masks(
    emrdiff: Run, pair: tuple[Path, Path, Bools, Bools], tmp_path: Path
) -> None:
    enmap, safe, shadow, cloud = pair
    (tmp_path / "pairs.csv").write_text(f'lr_hsi,hr_msi,output,mask\n{enmap},{safe},out.tif,"cloud,shadow"\n')
    fixed = ("--method", "glp", "--register", "off")
    dry = ("--dry-run", "--no-trial", "--json", "--mask", "cloud")
    planned = json.loads(emrdiff("fuse", enmap, safe, tmp_path / "o.tif", *fixed, *dry).out)
    assert "to be masked: lr:cloud, msi:cloud" in planned["notes"]
    ended = emrdiff("fuse", "--manifest", tmp_path / "pairs.csv", *fixed)
    assert ended.code == 0, ended.err
    told = json.loads(ended.out.splitlines()[0])
    assert told["masked_shares"] == [
        {"cloud": 0, "shadow": 1 / 120},
        {"cloud": pytest.approx(cloud.mean()), "shadow": 0},
    ]
    assert any("(Sentinel-2 L2A): cloud 2.22%, shadow 0.00% of the ground" in note for note in told["notes"])
    with rasterio.open(tmp_path / "out.tif") as fused:
        np.testing.assert_array_equal((fused.read() == -32768).all(axis=0), shadow | cloud)
        assert fused.tags()["emrdiff_mask"] == "lr:cloud,lr:shadow,msi:cloud,msi:shadow"
    one = ("fuse", enmap, safe, tmp_path / "out.tif", *fixed, "--skip-done", "--mask")
    assert "is done already" in emrdiff(*one, "shadow,cloud").err
    assert "does not record that it was made from these" in emrdiff(*one, "lr:cloud,msi:cloud").err
    os.utime(next(safe.rglob("*SCL*.jp2")), (1, 1))
    assert "does not record that it was made from these" in emrdiff(*one, "shadow,cloud").err
    ended = emrdiff("evaluate", tmp_path / "out.tif", "--lr-hsi", enmap, "--hr-msi", safe, "--json")
    assert json.loads(ended.out)["hr_pixels"] == (~(shadow | cloud)).sum()
    assert "cloud 2.22%" in ended.err
    emrdiff("convert", safe, tmp_path / "msi.tif", "--mask", "cloud")
    ended = emrdiff(
        "evaluate", tmp_path / "out.tif", "--lr-hsi", enmap, "--hr-msi", tmp_path / "msi.tif", "--json"
    )
    assert json.loads(ended.out)["hr_pixels"] == (~(shadow | cloud)).sum()
    assert "recorded as masked, without a mask here: msi:cloud, msi:shadow" in ended.err
    told = json.loads(emrdiff("check", enmap, safe, "--json", "-q", "--mask", "lr:shadow,msi:cloud").out)
    assert told["lr_hsi"]["masked_shares"] == {"shadow": 1 / 120}
    assert told["hr_msi"]["nodata_share"] == pytest.approx(cloud.mean())


def test_one_raster_through_the_other_commands(
    emrdiff: Run, pair: tuple[Path, Path, Bools, Bools], tmp_path: Path
) -> None:
    enmap, safe, shadow, cloud = pair
    assert "cloud, cirrus, shadow, snow, water (on request: --mask)" in emrdiff("info", safe).out
    ended = emrdiff("convert", safe, tmp_path / "msi.tif", "--mask", "cloud,snow", "--json")
    assert json.loads(ended.out)["masked_pixels"] == cloud.sum()
    assert "(Sentinel-2 L2A): cloud 2.22%, snow 0.00%" in ended.err
    emrdiff("tile", safe, tmp_path / "tiles", "--size", 64, "--mask", "cloud")
    emrdiff("convert", safe, tmp_path / "whole.tif")
    for made in (tmp_path / "msi.tif", next((tmp_path / "tiles").glob("*.tif"))):
        with rasterio.open(made) as written, rasterio.open(tmp_path / "whole.tif") as whole:
            np.testing.assert_array_equal(written.read(), np.where(cloud, 0, whole.read()))
            assert written.tags()["masked_classes"].startswith("cloud")
    both = ("--register", "off", "--size", 60, "--overlap", 6, "--mask", "lr:shadow,msi:cloud")
    assert emrdiff("tile", safe, enmap, tmp_path / "of_pair", *both).code == 0
    for made, holes_there in zip(
        sorted((tmp_path / "of_pair").glob("*.tif")), (shadow[::3, ::3], cloud), strict=True
    ):
        with rasterio.open(made) as written:
            np.testing.assert_array_equal((written.read() == written.nodata).all(axis=0), holes_there)
    emrdiff("quicklook", safe, tmp_path / "q.png", "--size", 36, "--mask", "cloud")
    with ignoring_missing_georeference(), rasterio.open(tmp_path / "q.png") as drawn:
        np.testing.assert_array_equal(drawn.read(4)[:30, :36] == 0, cloud)
    scored = json.loads(
        emrdiff(
            "evaluate", tmp_path / "whole.tif", safe, "--metrics", "rmse", "--json", "--mask", "cloud"
        ).out
    )
    assert (scored["valid_pixels"], scored["mask"]) == ((~cloud).sum(), ["cloud"])


def test_a_mask_for_nothing_is_an_error(
    emrdiff: Run, pair: tuple[Path, Path, Bools, Bools], tmp_path: Path
) -> None:
    enmap, safe, _, _ = pair
    plain = tmp_path / "plain.tif"
    assert emrdiff("convert", safe, plain).code == 0
    fuse = ("fuse", enmap, plain, tmp_path / "out.tif", "--dry-run", "--mask")
    assert emrdiff(*fuse, "shadow").code == 0  # of the EnMAP alone, the other has no masks
    for mask, said in (
        ("msi:cloud", r"--mask msi:cloud: .*plain.tif is no product that has masks of its own"),
        ("dilated-cloud", "of the other raster alone ask it by msi:dilated-cloud"),
        ("fog", "--mask fog: must be some of cloud, dilated-cloud"),
    ):
        ended = emrdiff(*fuse, mask)
        assert ended.code == 2
        (line,) = error_lines(ended)
        assert re.search(said, line), line
