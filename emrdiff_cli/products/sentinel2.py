"""Sentinel-2 of levels L1C and L2A: a SAFE folder, `MTD_MSIL*.xml` with one JPEG 2000 image a band below it.

The bands of 10 m, B2, B3, B4 and B8, are the product's raster, those of 20 and 60 m are read on their own grids;
reflectance = (stored value + offset) / quantification.
Places as in the Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), version 15.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.mask_classes import MaskClass
from emrdiff_cli.products.metadata_xml import number_at, read_xml, text_at, whole_number_at
from emrdiff_cli.products.product import BandResponse, Layer, Product, ProductGrid
from emrdiff_cli.raster_info import Bands

_METADATA = re.compile(r"MTD_MSI(L\d\w)\.xml", re.IGNORECASE)
_IMAGE = re.compile(
    r"(?:L2A_)?T\d\d[A-Z]{3}_\d{8}T\d{6}_(?:B\d[\dA]|TCI|SCL)(?:_[126]0m)?\.jp2", re.IGNORECASE
)
_PLACE = re.compile(r"GRANULE/[\w-]+/IMG_DATA/(?:R\d\dm/)?[\w-]+?")
_SCENE_MAP = re.compile(r"GRANULE/[\w-]+/IMG_DATA/R20m/[\w-]+_SCL_20m")
_RESOLUTION = 10.0  # m
_CIRRUS = "B10"  # sees the air, not the ground; of L1C alone
_FOLDERS_UP = 6  # from an image to its product
_INFO = "{*}General_Info/Product_Info"
_IMAGES = "{*}General_Info/Product_Image_Characteristics"
_SCENE_CLASS = "SCENE_CLASSIFICATION"
_SCENE_CLASSES = {
    "cloud": ("SC_CLOUD_MEDIUM_PROBA", "SC_CLOUD_HIGH_PROBA"),
    "cirrus": ("SC_THIN_CIRRUS",),
    "shadow": ("SC_CLOUD_SHADOW",),
    "snow": ("SC_SNOW_ICE",),
    "water": ("SC_WATER",),
}
_CLASSIFIED = {"cloud": 1, "cirrus": 2, "snow": 3}  # bands of MSK_CLASSI_B00: opaque clouds, cirrus, snow
_RASTER_MASKS_FROM = 4.0  # processing baseline; before, they are polygons in GML


@dataclass(frozen=True)
class _Level:
    name: str
    quantification: str
    offset: str


_LEVELS = {
    "L1C": _Level("Level-1C", "QUANTIFICATION_VALUE", "Radiometric_Offset_List/RADIO_ADD_OFFSET"),
    "L2A": _Level(
        "Level-2A",
        "QUANTIFICATION_VALUES_LIST/BOA_QUANTIFICATION_VALUE",
        "BOA_ADD_OFFSET_VALUES_LIST/BOA_ADD_OFFSET",
    ),
}


def metadata_of(path: Path) -> Path | None:
    """The product's metadata file of itself, `manifest.safe` or a tile's `MTD_TL.xml`; None for any other file.

    Raises InputError for the image of one band, which lies in a product: that is the raster.
    """
    if _METADATA.fullmatch(path.name):
        return path
    if path.name.lower() == "manifest.safe":
        return next(iter(metadata_in(path.parent)), None)
    tile = path.name.lower() == "mtd_tl.xml"
    if not tile and not _IMAGE.fullmatch(path.name):
        return None
    found = [each for folder in path.absolute().parents[:_FOLDERS_UP] for each in metadata_in(folder)]
    if found and not tile:
        raise InputError(f"{path}: is one band of a Sentinel-2 product: name its folder, {found[0].parent}")
    return found[0] if found else None


def metadata_in(folder: Path) -> list[Path]:
    """The metadata files of Sentinel-2 products in a folder: of SAFE, one."""
    return sorted(path for path in folder.glob("MTD_MSI*.[xX][mM][lL]") if _METADATA.fullmatch(path.name))


def grids(metadata: Path) -> tuple[ProductGrid, ...]:
    """The grids of 10, 20 and 60 m that a metadata file describes bands of. Raises InputError as `read`."""
    level, root = _root(metadata)
    on: dict[float, list[str]] = {}
    for band in _described(root, metadata):
        on.setdefault(number_at(band, "RESOLUTION", metadata), []).append(band.get("physicalBand") or "")
    asked = (_CIRRUS,) if level == "L1C" else ()
    return tuple(
        ProductGrid(
            metres,
            tuple(name for name in names if name != _CIRRUS),
            tuple(name for name in asked if name in names),
        )
        for metres, names in sorted(on.items())
    )


def read(metadata: Path, chosen: tuple[str, ...] | None = None) -> Product:
    """The product of a metadata file: its bands of 10 m, or those of the chosen names, all of one grid.

    Raises InputError: of another level, damaged, an image missing.
    """
    level, root = _root(metadata)
    described = _described(root, metadata)
    bands = _bands(described, chosen, metadata)
    metres = number_at(bands[0], "RESOLUTION", metadata)
    numbers = [band.get("bandId") or "" for band in bands]
    names = [band.get("physicalBand") or "" for band in bands]
    quantification = number_at(root, f"{_IMAGES}/{_LEVELS[level].quantification}", metadata)
    if quantification <= 0:
        raise InputError(f"{metadata}: has a quantification of {quantification:g}: get the product again")
    offsets = _offsets(root, _LEVELS[level].offset, metadata)
    if offsets and any(number not in offsets for number in numbers):
        raise InputError(f"{metadata}: has no offset of one of {', '.join(names)}: get the product again")
    baseline = text_at(root, f"{_INFO}/PROCESSING_BASELINE", metadata)
    return Product(
        name=f"Sentinel-2 {level}",
        path=metadata,
        metadata=metadata,
        driver="JP2OpenJPEG",
        layers=tuple(Layer(_image(root, name, metres, metadata)) for name in names),
        bands=Bands(
            count=len(bands),
            wavelengths_nm=tuple(number_at(band, "Wavelength/CENTRAL", metadata) for band in bands),
            fwhm_nm=tuple(_fwhm(band, metadata) for band in bands),
            names=tuple(names),
        ),
        nodata=_special_values(root, metadata),
        scales=(1 / quantification,) * len(bands),
        offsets=tuple(offsets.get(number, 0.0) / quantification for number in numbers),
        tags={
            "acquisition_time": text_at(root, f"{_INFO}/PRODUCT_START_TIME", metadata),
            "sensor_type": f"{text_at(root, f'{_INFO}/Datatake/SPACECRAFT_NAME', metadata)} MSI",
            "processing_level": level,
            "processing_baseline": baseline,
            "product_id": text_at(root, f"{_INFO}/PRODUCT_URI", metadata).removesuffix(".SAFE"),
        },
        masks=_scene_classes(root, metadata) if level == "L2A" else _classified(root, metadata),
        no_masks="its metadata name no scene classification"
        if level == "L2A"
        else f"those of processing baseline {baseline} are no rasters, from {_RASTER_MASKS_FROM:05.2f} on they are",
        responses=tuple(_response(band, metadata) for band in described),
    )


def _root(metadata: Path) -> tuple[str, Element]:
    """The level of a metadata file, and its root. Raises InputError as `read`."""
    stated = _METADATA.fullmatch(metadata.name)
    level = stated[1].upper() if stated else ""
    if level not in _LEVELS:
        raise InputError(f"{metadata}: is of level {level}, in sensor geometry: get the scene as L1C or L2A")
    return level, read_xml(metadata, f"{_LEVELS[level].name}_User_Product")


def _described(root: Element, path: Path) -> list[Element]:
    """What the metadata tell of each band, by wavelength."""
    listed = root.findall(f"{_IMAGES}/Spectral_Information_List/Spectral_Information")
    return sorted(listed, key=lambda band: number_at(band, "Wavelength/CENTRAL", path))


def _bands(described: list[Element], names: tuple[str, ...] | None, path: Path) -> list[Element]:
    """The bands of these names, or those of 10 m, by wavelength."""
    if names is not None:
        return [band for band in described if band.get("physicalBand") in names]
    fine = [band for band in described if number_at(band, "RESOLUTION", path) == _RESOLUTION]
    if not fine:
        raise InputError(f"{path}: describes no band of 10 m: get the product again")
    return fine


def _response(band: Element, path: Path) -> BandResponse:
    step, values = _sampled(band, path)
    start = number_at(band, "Wavelength/MIN", path)
    return BandResponse(band.get("physicalBand") or "", start, step, tuple(values.tolist()))


def _fwhm(band: Element, path: Path) -> float:
    """Width in nm between the outermost places at half of the maximum of the response that the metadata hold."""
    step, response = _sampled(band, path)
    half = response.max() / 2
    above = np.flatnonzero(response >= half)
    first, last = int(above[0]), int(above[-1])
    left = first - _part(response[first - 1], response[first], half) if first else float(first)
    right = (
        last + _part(response[last + 1], response[last], half) if last + 1 < len(response) else float(last)
    )
    return round(step * (right - left), 3)


def _sampled(band: Element, path: Path) -> tuple[float, NDArray[np.float64]]:
    """The step in nm of a band's response, and its values."""
    step = number_at(band, "Spectral_Response/STEP", path)
    try:
        response = np.array(text_at(band, "Spectral_Response/VALUES", path).split(), float)
    except ValueError:
        response = np.zeros(1)
    if step <= 0 or len(response) < 3 or not np.isfinite(response).all() or response.max() <= 0:
        raise InputError(f"{path}: has no response of band {band.get('physicalBand')}: get the product again")
    return step, np.maximum(response, 0.0)


def _part(below: float, above: float, half: float) -> float:
    """The part of a step, from the sample `above` on, at which the line to the one `below` is at half."""
    return float((above - half) / (above - below))


def _offsets(root: Element, place: str, path: Path) -> Mapping[str, float]:
    """Offsets by the bands' numbers; none before processing baseline 04.00."""
    return {
        each.get("band_id") or "": number_at(each, ".", path) for each in root.findall(f"{_IMAGES}/{place}")
    }


def _special_values(root: Element, path: Path) -> tuple[float, ...]:
    """The values of no data and of saturation, in this order."""
    told = {
        text_at(each, "SPECIAL_VALUE_TEXT", path): number_at(each, "SPECIAL_VALUE_INDEX", path)
        for each in root.findall(f"{_IMAGES}/Special_Values")
    }
    if "NODATA" not in told:
        raise InputError(f"{path}: names no value of NODATA: get the product again")
    return tuple(told[name] for name in ("NODATA", "SATURATED") if name in told and math.isfinite(told[name]))


def _scene_classes(root: Element, path: Path) -> dict[str, MaskClass]:
    """The classes of L2A's scene classification at 20 m, by the values that the metadata list."""
    names = _named(root, _SCENE_MAP, path)
    listed = root.findall(f"{_IMAGES}/Scene_Classification_List/Scene_Classification_ID")
    told = {
        text_at(each, f"{_SCENE_CLASS}_TEXT", path): whole_number_at(each, f"{_SCENE_CLASS}_INDEX", path)
        for each in listed
    }
    if len(names) != 1:
        return {}
    image, known = path.parent.joinpath(*names[0].split("/")).with_suffix(".jp2"), tuple(told.values())
    return {
        name: MaskClass(image, tuple(told[each] for each in classes), known=known)
        for name, classes in _SCENE_CLASSES.items()
        if all(each in told for each in classes)
    }


def _classified(root: Element, path: Path) -> dict[str, MaskClass]:
    """The classes of L1C's mask at 60 m, a band each."""
    names = _named(root, re.compile(_PLACE.pattern), path)
    if number_at(root, f"{_INFO}/PROCESSING_BASELINE", path) < _RASTER_MASKS_FROM or not names:
        return {}
    granule = path.parent.joinpath(*names[0].split("/")[:2])
    image = granule / "QI_DATA" / "MSK_CLASSI_B00.jp2"
    return {name: MaskClass(image, (1,), bands=(band,), known=(0, 1)) for name, band in _CLASSIFIED.items()}


def _named(root: Element, wanted: re.Pattern[str], path: Path) -> list[str]:
    """The images that the metadata name and a pattern describes."""
    listed = [text_at(each, ".", path) for each in root.iterfind(f"{_INFO}/Product_Organisation//IMAGE_FILE")]
    return [name for name in listed if wanted.fullmatch(name)]


def _image(root: Element, band: str, metres: float, path: Path) -> Path:
    """The image of a band at its own resolution that the metadata name, inside the product's folder."""
    names = _named(root, re.compile(rf"{_PLACE.pattern}_B0?{band[1:]}(?:_{metres:.0f}m)?"), path)
    if len(names) != 1:
        raise InputError(
            f"{path}: names {len(names)} images of band {band} at {metres:.0f} m, one is needed: get the product "
            "as one tile"
        )
    image = path.parent.joinpath(*names[0].split("/")).with_suffix(".jp2")
    if not image.is_file():
        raise InputError(
            f"{path}: the image of band {band}, {names[0]}.jp2, is not below it: unpack the whole product, or put "
            "the metadata of this scene there"
        )
    return image
