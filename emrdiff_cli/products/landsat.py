"""Landsat Collection 2, levels 1 and 2: a folder of one-band GeoTIFFs with `*_MTL.xml`, `.json` or `.txt`.

The reflective bands of 30 m that every instrument has, and of level 1 the panchromatic one of 15 m on a grid of its
own; reflectance = stored value x mult + add, at level 1 over the sine of the sun's elevation (USGS, Landsat 8-9
Collection 2 Level 2 Science Product Guide, LSDS-1619; Data Users Handbook, LSDS-1574). Wavelengths, which the
metadata do not tell, are the USGS's band designations.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.mask_classes import MaskClass
from emrdiff_cli.products.metadata_odl import Groups as _Groups
from emrdiff_cli.products.metadata_odl import metadata_text, read_odl
from emrdiff_cli.products.metadata_odl import number_of as _number
from emrdiff_cli.products.metadata_odl import text_of as _text
from emrdiff_cli.products.metadata_xml import read_xml
from emrdiff_cli.products.product import Layer, Product, ProductGrid
from emrdiff_cli.raster_info import Bands

_FILE = re.compile(r"(?P<scene>L[COTE]\d\d_L[12]\w\w_.+)_MTL\.(?P<kind>xml|json|txt)", re.IGNORECASE)
_KINDS = ("xml", "json", "txt")  # of several that say the same, the first is read
_ROOT = "LANDSAT_METADATA_FILE"
_IMAGE = re.compile(r"[\w-]+\.TIFF?", re.IGNORECASE)

_OLI = {
    1: (430, 450),
    2: (450, 510),
    3: (530, 590),
    4: (640, 670),
    5: (850, 880),
    6: (1570, 1650),
    7: (2110, 2290),
}
_ETM = {1: (450, 520), 2: (520, 600), 3: (630, 690), 4: (770, 900), 5: (1550, 1750), 7: (2090, 2350)}
_TM = {1: (450, 520), 2: (520, 600), 3: (630, 690), 4: (760, 900), 5: (1550, 1750), 7: (2080, 2350)}
_EDGES_NM = {
    **dict.fromkeys(("LANDSAT_8", "LANDSAT_9"), _OLI),
    "LANDSAT_7": _ETM,
    **dict.fromkeys(("LANDSAT_4", "LANDSAT_5"), _TM),
}
_PAN = 8
_PAN_EDGES_NM = {"LANDSAT_8": (500, 680), "LANDSAT_9": (500, 680), "LANDSAT_7": (520, 900)}
_FILL = 0.0
_QUALITY = "FILE_NAME_QUALITY_L1_PIXEL"
_BITS = {"cloud": 3, "dilated-cloud": 1, "cirrus": 2, "shadow": 4, "snow": 5, "water": 7}
_WITHOUT_CIRRUS = (_TM, _ETM)  # have no band for it: the bit is unused


def metadata_of(path: Path) -> Path | None:
    """The metadata file that is read of a scene, of any of its forms; None for any other file, a band's too."""
    found = _FILE.fullmatch(path.name)
    if found is None:
        return None
    forms = {
        each["kind"].lower(): entry for entry, each in _forms(path.parent) if each["scene"] == found["scene"]
    }
    return next(forms[kind] for kind in _KINDS if kind in forms)


def metadata_in(folder: Path) -> list[Path]:
    """The metadata file of each scene in a folder."""
    return sorted({each for entry, _ in _forms(folder) if (each := metadata_of(entry)) is not None})


def _forms(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    found = [(entry, _FILE.fullmatch(entry.name)) for entry in sorted(folder.iterdir())]
    return [(entry, match) for entry, match in found if match is not None]


def grids(metadata: Path) -> tuple[ProductGrid, ...]:
    """The grid of 30 m, before it that of the panchromatic band where there is one. Raises InputError as `read`."""
    groups = _groups(metadata)
    craft = _text(groups, "IMAGE_ATTRIBUTES", "SPACECRAFT_ID", metadata)
    pan = craft in _PAN_EDGES_NM and f"FILE_NAME_BAND_{_PAN}" in groups.get("PRODUCT_CONTENTS", {})
    multispectral = ProductGrid(30.0, tuple(f"B{band}" for band in _EDGES_NM.get(craft, {})))
    return (ProductGrid(15.0, (f"B{_PAN}",)), multispectral) if pan else (multispectral,)


def read(metadata: Path, names: tuple[str, ...] | None = None) -> Product:
    """The product of a metadata file: its bands of 30 m, or those of these names, all of one grid.

    Raises InputError: another collection or level, damaged, a band missing.
    """
    groups = _groups(metadata)
    contents = "PRODUCT_CONTENTS"
    level = _text(groups, contents, "PROCESSING_LEVEL", metadata)
    _refuse_unknown(_text(groups, contents, "COLLECTION_NUMBER", metadata), level, metadata)
    craft = _text(groups, "IMAGE_ATTRIBUTES", "SPACECRAFT_ID", metadata)
    edges = _EDGES_NM.get(craft)
    if edges is None:
        raise InputError(f"{metadata}: is of {craft[:20]}: products of Landsat 4, 5, 7, 8 and 9 are known")
    if names is not None:
        every = edges | ({_PAN: _PAN_EDGES_NM[craft]} if craft in _PAN_EDGES_NM else {})
        edges = {band: span for band, span in every.items() if f"B{band}" in names}
    surface = level.startswith("L2")
    scaling = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" if surface else "LEVEL1_RADIOMETRIC_RESCALING"
    sun = 1.0 if surface else _sine_of_elevation(groups, metadata)
    factors, terms = (
        tuple(_number(groups, scaling, f"REFLECTANCE_{name}_BAND_{band}", metadata) / sun for band in edges)
        for name in ("MULT", "ADD")
    )
    if any(factor <= 0 for factor in factors):
        raise InputError(f"{metadata}: has a REFLECTANCE_MULT that is not positive: get the product again")
    date, time = (
        _text(groups, "IMAGE_ATTRIBUTES", key, metadata) for key in ("DATE_ACQUIRED", "SCENE_CENTER_TIME")
    )
    return Product(
        name=f"Landsat {craft[-1]} {level}",
        path=metadata,
        metadata=metadata,
        driver="GTiff",
        layers=tuple(Layer(_image(groups, band, metadata)) for band in edges),
        bands=Bands(
            count=len(edges),
            wavelengths_nm=tuple((low + high) / 2 for low, high in edges.values()),
            fwhm_nm=tuple(float(high - low) for low, high in edges.values()),
            names=tuple(f"B{band}" for band in edges),
        ),
        nodata=(_FILL,),
        scales=factors,
        offsets=terms,
        size=_size(groups, "PANCHROMATIC" if _PAN in edges else "REFLECTIVE", metadata),
        tags={
            "acquisition_time": f"{date}T{time}",
            "sensor_type": f"Landsat {craft[-1]} {_text(groups, 'IMAGE_ATTRIBUTES', 'SENSOR_ID', metadata)}",
            "processing_level": level,
            "product_id": _text(groups, contents, "LANDSAT_PRODUCT_ID", metadata),
        },
        masks=_masks(groups, edges, metadata),
        no_masks=f"its metadata name no {_QUALITY}",
    )


def _masks(groups: _Groups, edges: Mapping[int, tuple[int, int]], path: Path) -> dict[str, MaskClass]:
    """The classes in the bits of QA_PIXEL."""
    name = groups.get("PRODUCT_CONTENTS", {}).get(_QUALITY, "")
    if not _IMAGE.fullmatch(name):
        return {}
    return {
        each: MaskClass(path.parent / name, bits=1 << bit)
        for each, bit in _BITS.items()
        if each != "cirrus" or edges not in _WITHOUT_CIRRUS
    }


def _refuse_unknown(collection: str, level: str, path: Path) -> None:
    if collection.lstrip("0") != "2":
        raise InputError(f"{path}: is of collection {collection[:20]}: get the scene from Collection 2")
    if not re.fullmatch(r"L2S[PR]|L1(TP|GT|GS)", level):
        raise InputError(
            f"{path}: is of level {level[:20]}, without surface reflectance: get it as L2SP or L2SR"
        )


def _sine_of_elevation(groups: _Groups, path: Path) -> float:
    elevation = _number(groups, "IMAGE_ATTRIBUTES", "SUN_ELEVATION", path)
    if not 0 < elevation <= 90:
        raise InputError(f"{path}: was taken with the sun at {elevation:g} degrees: it has no reflectance")
    return math.sin(math.radians(elevation))


def _size(groups: _Groups, which: str, path: Path) -> tuple[int, int]:
    lines, samples = (
        _number(groups, "PROJECTION_ATTRIBUTES", f"{which}_{name}", path) for name in ("LINES", "SAMPLES")
    )
    return int(lines), int(samples)


def _image(groups: _Groups, band: int, path: Path) -> Path:
    name = _text(groups, "PRODUCT_CONTENTS", f"FILE_NAME_BAND_{band}", path)
    image = path.parent / name
    if not _IMAGE.fullmatch(name) or not image.is_file():
        raise InputError(
            f"{path}: the image of band {band}, {name[:100]}, is not beside it: unpack the whole product, or put "
            "the metadata of this scene there"
        )
    return image


def _groups(path: Path) -> _Groups:
    """The values of a metadata file, whatever its form, by group and key."""
    kind = path.suffix.lower()
    if kind == ".xml":
        return _of_elements(read_xml(path, _ROOT))
    if kind == ".txt":
        return read_odl(path, _ROOT, "Landsat")
    try:
        return _of_json(json.loads(metadata_text(path)))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: holds no metadata of Landsat, or is cut short: get the product again"
        ) from error


def _of_elements(root: Element) -> _Groups:
    return {group.tag: {each.tag: (each.text or "").strip() for each in group} for group in root}


def _of_json(found: Any) -> _Groups:
    root = found.get(_ROOT) if isinstance(found, dict) else None
    if not isinstance(root, dict) or not all(isinstance(group, dict) for group in root.values()):
        raise ValueError(_ROOT)
    return {name: {key: str(value) for key, value in group.items()} for name, group in root.items()}
