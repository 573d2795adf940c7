"""EnMAP as it is downloaded: what its metadata say reaches the reader, and a wrong one is refused in one line."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pytest

from emrdiff_cli.errors import InputError
from emrdiff_cli.products import enmap
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster_info import Window
from tests.support.front_door import Run, error_lines
from tests.support.places import REAL_SCENES
from tests.support.products import ENMAP_SCENE, replaced, write_enmap
from tests.support.rasters import NORTH_UP, pixels, write_tif

WAVELENGTHS = (480.5, 890.25, 905.0, 911.5, 1340.75)
SWIR = (3, 5)
TRUE = REAL_SCENES / "products"


def test_what_the_metadata_say_is_read_from_image_metadata_and_folder(tmp_path: Path) -> None:
    values = pixels(5, 6, 7)
    values[:, 0, 0] = -32768
    metadata = write_enmap(tmp_path / "zip" / "scene", values, WAVELENGTHS, swir=SWIR, empty=[5])
    image = next(metadata.parent.glob("*.TIF"))
    for given in (image, metadata, metadata.parent, tmp_path / "zip"):
        with open_raster(given) as reader:
            info = reader.info
            assert (info.path, info.driver, info.dtype) == (image, "EnMAP L2A", "int16")
            assert info.bands.wavelengths_nm == WAVELENGTHS
            assert info.bands.fwhm_nm == (5.1, 5.2, 5.3, 5.4, 5.5)
            assert info.bands.good == (True, True, True, True, False)
            assert (info.scale, info.offset, info.nodata) == (0.0001, 0, -32768)
            assert info.band_tags["detector"] == ("VNIR", "VNIR", "SWIR", "VNIR", "SWIR")
            assert info.tags["acquisition_time"] == "2024-06-15T10:11:12.500000Z"
            assert info.grid.transform == NORTH_UP
            np.testing.assert_array_equal(reader.read_stored(), values)
            part = reader.read(Window(0, 0, 3, 2), bands=[3, 0])
        expected = values[[3, 0], :3, :2] * 1e-4
        expected[:, 0, 0] = np.nan
        np.testing.assert_allclose(part, expected, rtol=1e-6)
        assert set(files_of(given)) == {image, metadata}


def test_radiance_of_bands_with_a_gain_each_is_physical(tmp_path: Path) -> None:
    values = pixels(3, 4, 5, "uint16")
    values[1, 2, 3] = 0
    gains, offsets = (2e-4, 3e-4, 5e-5), (0.04, 0.01, -0.0005)
    metadata = write_enmap(
        tmp_path, values, WAVELENGTHS[:3], level="L1C", gains=gains, offsets=offsets, background=0
    )
    with open_raster(metadata) as reader:
        assert (reader.info.dtype, reader.info.scale, reader.info.offset) == ("float32", 1, 0)
        assert reader.info.bands.units == ("W/m^2/sr/nm",) * 3
        found = reader.read(bands=[2, 1])
    expected = np.array([values[band] * gains[band] + offsets[band] for band in (2, 1)])
    expected[1, 2, 3] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_info_names_the_product(emrdiff: Run, tmp_path: Path) -> None:
    metadata = write_enmap(tmp_path, pixels(5, 6, 7), WAVELENGTHS, empty=[2])
    ended = emrdiff("info", tmp_path, "--json")
    told = json.loads(ended.out)
    assert (told["driver"], told["bad_bands"], told["scale"]) == ("EnMAP L2A", [2], 0.0001)
    assert told["wavelengths_nm"] == list(WAVELENGTHS)
    assert told["tags"]["product_id"] == metadata.name.removesuffix("-METADATA.XML")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"<level>L2A<": "<level>L1B<"}, "L1B, in sensor geometry"),
        ({"T101112Z_003": "T101112Z_004"}, "metadata of another scene"),
        ({"<rows>6<": "<rows>60<"}, "says 5 of 60 x 7: one is of another scene, or cut"),
        ({"<channels>5<": "<channels>4<"}, "describes 5 bands for 4 channels"),
        ({"<FWHMOfBand>5.3<": "<FWHMOfBand>wide<"}, "'wide' as FWHMOfBand, which is no number"),
        ({"<backgroundValue>-32768</backgroundValue>": ""}, "has no specific/backgroundValue"),
        ({"level_X": "level_Y"}, "holds 'level_Y'"),
        ({"</product>": ""}, "is no XML, or is cut short"),
        ({'"UTF-8"?>': '"UTF-8"?><!DOCTYPE l [<!ENTITY a "b">]>'}, "declares a document type or entities"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_metadata_are_refused_in_one_line(
    emrdiff: Run, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    metadata = write_enmap(tmp_path, pixels(5, 6, 7), WAVELENGTHS)
    replaced(metadata, changes)
    for given in (tmp_path, metadata, next(tmp_path.glob("*.TIF"))):
        ended = emrdiff("info", given)
        assert ended.code == 3
        assert len(error_lines(ended)) == 1
        assert said in ended.err, ended.err


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    metadata = write_enmap(tmp_path / "a", pixels(5, 6, 7), WAVELENGTHS)
    image = next(metadata.parent.glob("*.TIF"))
    other = image.rename(tmp_path / image.name)
    with pytest.raises(InputError, match=r"no ENMAP.*SPECTRAL_IMAGE\.TIF beside it"):
        read_info(metadata)
    with pytest.raises(InputError, match=r"without ENMAP.*METADATA\.XML beside it"):
        read_info(other)
    _cut(other)
    other.rename(image)
    with pytest.raises(InputError, match="cut short"):
        read_info(metadata)


def test_a_folder_of_several_products_names_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_enmap(tmp_path / name, pixels(5, 6, 7), WAVELENGTHS)
    with pytest.raises(InputError, match=r"holds 2 products: name one, by a/ENMAP.*, b/ENMAP"):
        read_info(tmp_path)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scene.ZIP", "w") as packed:
        packed.writestr("a", "b")
    with pytest.raises(InputError, match="is an archive: unpack it"):
        read_info(tmp_path / "scene.ZIP")


def test_only_a_geotiff_is_opened_as_the_image(tmp_path: Path) -> None:
    """Another format under the image's name is not read by the driver that knows it."""
    metadata = write_enmap(tmp_path, pixels(5, 6, 7), WAVELENGTHS)
    image = next(tmp_path.glob("*.TIF"))
    plain = write_tif(tmp_path / "plain.tif", pixels(5, 6, 7))
    image.write_text(
        '<VRTDataset rasterXSize="7" rasterYSize="6">'
        + "".join(
            f'<VRTRasterBand dataType="Int16" band="{band}"><SimpleSource><SourceFilename>{plain}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
            for band in range(1, 6)
        )
        + "</VRTDataset>"
    )
    with pytest.raises(InputError, match="cannot be opened as EnMAP L2A"):
        read_info(metadata)


def test_other_files_of_a_product_are_plain_rasters(tmp_path: Path) -> None:
    write_enmap(tmp_path, pixels(5, 6, 7), WAVELENGTHS)
    look = write_tif(tmp_path / f"{ENMAP_SCENE.format(level='L2A')}-QL_QUALITY_CLOUD.TIF", pixels(1, 6, 7))
    assert read_info(look).driver == "GTiff"


@pytest.mark.parametrize("level", ["L1B", "L1C", "L2A"])
def test_true_metadata(tmp_path: Path, level: str) -> None:
    archive = TRUE / f"enmap_{level}_gtif_qualification.zip"
    if not archive.exists():
        pytest.skip(f"needs {archive}")
    with zipfile.ZipFile(archive) as packed:
        member = next(name for name in packed.namelist() if name.endswith("METADATA.XML"))
        metadata = Path(packed.extract(member, tmp_path))
    if level == "L1B":
        with pytest.raises(InputError, match="of level L1B, in sensor geometry"):
            enmap.read(metadata)
        return
    os.link(
        metadata, image := metadata.with_name(metadata.name.replace("METADATA.XML", "SPECTRAL_IMAGE.TIF"))
    )
    product = enmap.read(metadata)
    listed = {name.text for name in parse(metadata).iter("name")}
    assert {mask.path.name for mask in product.masks.values()} < listed
    wavelengths = np.array(product.bands.wavelengths_nm)
    assert product.path == image
    assert product.bands.count == len(product.layers) == 218
    assert (np.diff(wavelengths) > 0).all()
    assert (wavelengths[0], wavelengths[-1]) == (423.03, 2438.6)
    assert len(set(product.scales)) == (218 if level == "L1C" else 1)
    detectors = np.array(product.band_tags["detector"])
    assert [(detectors == name).sum() for name in ("VNIR", "SWIR")] == [88, 130]
    assert (wavelengths[detectors == "SWIR"].min(), wavelengths[detectors == "VNIR"].max()) == (
        904.78,
        985.21,
    )
    assert product.size == (1212, 1128)
    assert product.tags["acquisition_time"] == "2017-06-26T10:20:20.999936Z"
