"""Sentinel-2 as it is downloaded: a SAFE folder of JPEG 2000 images as one raster of four bands."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pytest

from emrdiff_cli.errors import InputError
from emrdiff_cli.products import sentinel2
from emrdiff_cli.products.manifest import refuse_spoilt
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster_info import Window
from tests.support.front_door import Run, error_lines
from tests.support.places import REAL_SCENES
from tests.support.products import replaced, write_manifest, write_sentinel2
from tests.support.rasters import NORTH_UP, pixels, write_tif

TRUE = REAL_SCENES / "products"
SAME = (-1000,) * 4


def images(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jp2"))


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_bands_of_10_m_are_one_raster(tmp_path: Path, level: str) -> None:
    values = pixels(4, 30, 41, "uint16") + 1500
    values[2, 7, 9], values[1, 8, 9] = 0, 65535
    metadata = write_sentinel2(tmp_path / "unpacked" / "S2.SAFE", values, level=level, offsets=SAME)
    (metadata.parent / "manifest.safe").touch()
    for given in (metadata, metadata.parent, tmp_path / "unpacked", metadata.parent / "manifest.safe"):
        with open_raster(given) as reader:
            info = reader.info
            assert (info.path, info.driver, info.dtype) == (metadata, f"Sentinel-2 {level}", "uint16")
            assert info.bands.names == ("B2", "B3", "B4", "B8")
            assert info.bands.wavelengths_nm == (490, 560, 665, 833)
            assert info.bands.fwhm_nm == (20,) * 4  # triangles of 40 nm
            assert (info.scale, info.offset, info.nodata) == (0.0001, -0.1, 0)
            assert info.grid.transform == NORTH_UP
            assert info.tags["sensor_type"] == "Sentinel-2B MSI"
            np.testing.assert_array_equal(reader.read_stored(), np.where(values == 65535, 0, values))
            found = reader.read(Window(5, 6, 4, 5), bands=[2, 1])
        expected = (values[[2, 1], 5:9, 6:11] - 1000) / 1e4
        expected[0, 2, 3] = expected[1, 3, 3] = np.nan
        np.testing.assert_allclose(found, expected, atol=1e-7)
        assert files_of(given) == (*images(metadata.parent), metadata)


def test_offsets_of_each_band_and_none(tmp_path: Path) -> None:
    values = pixels(4, 9, 8, "uint16") + 1500
    values[3, 2, 1] = 65535
    with open_raster(write_sentinel2(tmp_path / "a", values)) as reader:
        assert (reader.info.dtype, reader.info.scale) == ("float32", 1)
        expected = (values - np.reshape([1000, 900, 1000, 1000], (4, 1, 1))) / 1e4
        expected[3, 2, 1] = np.nan
        np.testing.assert_allclose(reader.read(), expected, atol=1e-7)
    with open_raster(write_sentinel2(tmp_path / "b", values, offsets=())) as reader:
        assert (reader.info.scale, reader.info.offset) == (0.0001, 0)


def test_saturated_pixels_are_holes_in_a_copy_too(emrdiff: Run, tmp_path: Path) -> None:
    values = pixels(4, 9, 8, "uint16") + 1500
    values[3, 2, 1] = 65535
    metadata = write_sentinel2(tmp_path / "S2.SAFE", values, offsets=SAME)
    assert emrdiff("convert", metadata.parent, tmp_path / "msi.tif").code == 0
    with open_raster(tmp_path / "msi.tif") as reader:
        assert reader.info.bands.names == ("B2", "B3", "B4", "B8")
        found = reader.read()
    expected = (values - 1000) / 1e4
    expected[3, 2, 1] = np.nan
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _cut(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-40])


def _other_grid(image: Path) -> None:
    other = write_sentinel2(image.parents[5] / "other", pixels(4, 31, 40, "uint16"))
    shutil.copy(images(other.parent)[0], image)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "the image of band B3, GRANULE"),
        (_cut, "the JPEG 2000 file is cut short"),
        (lambda image: image.write_bytes(b""), "the JPEG 2000 file is cut short"),
        (lambda image: write_tif(image, pixels(1, 30, 40)), "the JPEG 2000 file is cut short or damaged"),
        (_other_grid, "has 1 bands of 31 x 40 pixels"),
    ],
    ids=["missing", "cut", "empty", "another format", "another scene"],
)
def test_an_image_that_is_not_the_products_is_named(
    emrdiff: Run, tmp_path: Path, spoil: object, said: str
) -> None:
    metadata = write_sentinel2(tmp_path / "S2.SAFE", pixels(4, 30, 40, "uint16"))
    assert callable(spoil)
    spoil(images(tmp_path)[1])
    ended = emrdiff("info", metadata.parent)
    assert (ended.code, len(error_lines(ended))) == (3, 1)
    assert said in ended.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Level-2A_User": "Level-1C_User"}, "'Level-1C_User_Product' where"),
        ({'band_id="7"': 'band_id="6"'}, "no offset of one of B2, B3, B4, B8"),
        ({"<RESOLUTION>10<": "<RESOLUTION>20<"}, "no band of 10 m"),
        ({"GRANULE/": "../GRANULE/"}, "names 0 images of band B2 at 10 m"),
        ({">10000<": ">0<"}, "a quantification of 0"),
        ({">NODATA<": ">NONE<"}, "no value of NODATA"),
        ({"<VALUES>0.0": "<VALUES>none"}, "no response of band B2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_metadata_are_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    metadata = write_sentinel2(tmp_path, pixels(4, 9, 8, "uint16"))
    replaced(metadata, changes)
    with pytest.raises(InputError, match=said):
        read_info(tmp_path)


def test_one_bands_image_names_the_product(tmp_path: Path) -> None:
    metadata = write_sentinel2(tmp_path / "S2.SAFE", pixels(4, 9, 8, "uint16"))
    with pytest.raises(InputError, match=r"one band of a Sentinel-2 product: name its folder, .*S2\.SAFE"):
        read_info(images(tmp_path)[0])
    tile = metadata.parent / "GRANULE" / "L2A_T33UUU_A012345_20240615T101031" / "MTD_TL.xml"
    tile.touch()
    assert read_info(tile).path == metadata


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_true_metadata(tmp_path: Path, level: str) -> None:
    """The image files that the metadata name are there, and empty."""
    true = TRUE / f"S2C_MTD_MSI{level}.xml"
    if not true.exists():
        pytest.skip(f"needs {true}")
    metadata = Path(shutil.copy(true, tmp_path / f"MTD_MSI{level}.xml"))
    for name in parse(true).iter("IMAGE_FILE"):
        image = tmp_path / f"{name.text}.jp2"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    product = sentinel2.read(metadata)
    assert product.bands.names == ("B2", "B3", "B4", "B8")
    assert product.bands.wavelengths_nm == (489, 560.6, 666.5, 834.6)
    assert product.bands.fwhm_nm == pytest.approx((65.3, 35.4, 30.4, 95.8), abs=0.1)
    assert (set(product.scales), set(product.offsets)) == ({0.0001}, {-0.1})
    assert product.nodata == (0, 65535)
    assert product.tags["sensor_type"] == "Sentinel-2C MSI"
    masks = {name: mask.values for name, mask in product.masks.items()}
    if level == "L2A":
        assert masks == {"cloud": (8, 9), "cirrus": (10,), "shadow": (3,), "snow": (11,), "water": (6,)}
        assert product.masks_there == tuple(masks)
    else:
        assert masks == dict.fromkeys(("cloud", "cirrus", "snow"), (1,))
    ending = "_10m" if level == "L2A" else ""
    assert [image.stem[23:] for image in product.images] == [
        f"B{n}{ending}" for n in ("02", "03", "04", "08")
    ]


def _flipped(image: Path) -> None:
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 4
    image.write_bytes(content)


@pytest.mark.parametrize(("kind", "named"), [("md5", "MD5"), ("sha3_256", "SHA3-256")])
def test_what_reads_a_whole_safe_holds_its_images_against_the_manifests_checksums(
    emrdiff: Run, tmp_path: Path, kind: str, named: str
) -> None:
    """A flipped byte of the code stream is other pixels, which nothing else tells; a cut is read as it is."""
    folder = write_sentinel2(tmp_path / "S2.SAFE", pixels(4, 30, 42, "uint16") + 1500, offsets=SAME).parent
    write_manifest(folder, kind, named)
    lr = write_tif(tmp_path / "lr.tif", pixels(6, 10, 14), transform=NORTH_UP @ NORTH_UP.scale(3))
    part = write_tif(tmp_path / "part.tif", pixels(6, 4, 14), transform=NORTH_UP @ NORTH_UP.scale(3))
    assert "checksum" not in emrdiff("check", lr, folder).err
    image = images(folder)[2]
    _flipped(image)
    lengths = tmp_path / "nm.csv"
    lengths.write_text("490\n560\n665\n842\n")
    fast = ("--method", "bicubic", "--register", "off", "--no-physical")
    for line in (
        ("check", lr, folder),
        ("convert", folder, tmp_path / "msi.tif"),
        ("convert", folder, tmp_path / "msi.tif", "--wavelengths", lengths),
        ("fuse", lr, folder, tmp_path / "out.tif", *fast),
    ):
        ended = emrdiff(*line)
        assert (ended.code, len(error_lines(ended))) == (3, 1), line
        assert f"{image}: is not as it was shipped, by the checksum in manifest.safe: get the p" in ended.err
    assert emrdiff("fuse", part, folder, tmp_path / "out.tif", *fast).code == 0
    assert emrdiff("convert", folder, tmp_path / "b2.tif", "--bands", "B2").code == 0


def test_an_image_of_another_size_than_the_manifests_is_refused_by_every_command(
    emrdiff: Run, tmp_path: Path
) -> None:
    """Its boxes are whole, which is all that is asked of one without a manifest."""
    folder = write_sentinel2(tmp_path / "S2.SAFE", pixels(4, 30, 42, "uint16") + 1500, offsets=SAME).parent
    write_manifest(folder)
    lr = write_tif(tmp_path / "lr.tif", pixels(6, 10, 14), transform=NORTH_UP @ NORTH_UP.scale(3))
    image = images(folder)[1]
    image.write_bytes(image.read_bytes() + b"\0\0\0\x08free")
    size = image.stat().st_size
    for line in (
        ("info", folder),
        ("check", lr, folder),
        ("convert", folder, tmp_path / "msi.tif"),
        ("fuse", lr, folder, tmp_path / "out.tif"),
        ("quicklook", folder, tmp_path / "q.png"),
        ("tile", folder, tmp_path / "tiles"),
    ):
        ended = emrdiff(*line)
        assert (ended.code, len(error_lines(ended))) == (3, 1), line
        assert f"{image}: has {size} bytes, {size - 8} by manifest.safe: it is cut short or chan" in ended.err
    (folder / "manifest.safe").unlink()
    assert emrdiff("info", folder).code == 0


def test_a_mask_is_held_against_the_manifest_where_it_is_asked_for(tmp_path: Path) -> None:
    mask = np.zeros((15, 21), "uint8")
    folder = write_sentinel2(tmp_path / "S2.SAFE", pixels(4, 30, 42, "uint16") + 1500, mask=mask).parent
    write_manifest(folder)
    image = next(folder.rglob("*_SCL_20m.jp2"))
    shipped = image.read_bytes()
    _flipped(image)
    refuse_spoilt(folder, masks=False)
    with pytest.raises(InputError, match=r"SCL_20m.jp2: is not as it was shipped"):
        refuse_spoilt(folder, masks=True)
    image.write_bytes(shipped + b"\0\0\0\x08free")
    open_raster(folder).close()
    with pytest.raises(InputError, match=r"SCL_20m.jp2: has .* bytes, .* by manifest.safe"):
        open_raster(folder, mask=("cloud",))
