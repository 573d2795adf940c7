"""DESIS of levels L1C and L2A: `DESIS-HSI-*-SPECTRAL_IMAGE.tif` and `.hdr` beside `*-METADATA.xml`.

The metadata have the centre, FWHM, gain and offset of each band; the header the size and the value of no data; of
L2A `*-QL_QUALITY-2.tif` has the classes of pixels.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.mask_classes import MaskClass
from emrdiff_cli.products.metadata_envi import entries
from emrdiff_cli.products.metadata_xml import number_at, read_xml, text_at, whole_number_at
from emrdiff_cli.products.product import Layer, Product
from emrdiff_cli.raster_info import Bands

_FILE = re.compile(
    r"(?P<scene>DESIS-HSI-(?P<level>L\d\w)-.+)-(?P<part>METADATA\.xml|SPECTRAL_IMAGE\.(?:tiff?|hdr))",
    re.IGNORECASE,
)
_LEVELS = ("L1C", "L2A")
_FILL = -32768.0
# Bands of QL_QUALITY-2, 1 where a pixel is so: shadow, land, snow, haze over land and water, cloud over land and
# water, water, then depth of aerosol and column of water vapour.
_QUALITY_LAYERS = {"cloud": (6, 7), "haze": (4, 5), "shadow": (1,), "snow": (3,), "water": (8,)}


def metadata_of(path: Path) -> Path | None:
    """The metadata file of a spectral image or its header, or itself; None where it is not there, or for others.

    An image without it is a GeoTIFF with a header that has the wavelengths.
    """
    found = _FILE.fullmatch(path.name)
    return None if found is None else _beside(path, found["scene"], r"-METADATA\.xml")


def metadata_in(folder: Path) -> list[Path]:
    """All metadata files of DESIS in a folder."""
    return sorted(path for path in folder.iterdir() if _is_metadata(path))


def _is_metadata(path: Path) -> bool:
    found = _FILE.fullmatch(path.name)
    return found is not None and found["part"].lower() == "metadata.xml"


def read(metadata: Path) -> Product:
    """The product of a metadata file. Raises InputError: of another level, damaged, of another scene, no image."""
    stated = _FILE.fullmatch(metadata.name)
    scene, level = (stated["scene"], stated["level"].upper()) if stated else ("", "")
    if level not in _LEVELS:
        raise InputError(f"{metadata}: is of level {level}, in sensor geometry: get the scene as L1C or L2A")
    root = read_xml(metadata)
    own = re.sub(r"-METADATA\.xml$", "", root.findtext("metadata/name") or scene, flags=re.IGNORECASE)
    if own.upper() != scene.upper():
        raise InputError(
            f"{metadata}: is the metadata of another scene, {own[:100]}: put this one's own there"
        )
    image = _beside(metadata, scene, r"-SPECTRAL_IMAGE\.tiff?")
    if image is None:
        raise InputError(f"{metadata}: has no {scene}-SPECTRAL_IMAGE.tif beside it, the pixels: put it there")
    bands = _listed(root, metadata)
    header = _beside(metadata, scene, r"-SPECTRAL_IMAGE\.hdr")
    size, fill = (None, _FILL) if header is None else _of_header(header, len(bands))
    return Product(
        name=f"DESIS {level}",
        path=image,
        metadata=metadata,
        driver="GTiff",
        layers=tuple(Layer(image, band + 1) for band in range(len(bands))),
        bands=Bands(
            count=len(bands),
            wavelengths_nm=_each(bands, "wavelengthCenterOfBand", metadata),
            fwhm_nm=_each(bands, "wavelengthWidthOfBand", metadata),
        ),
        nodata=(fill,),
        scales=_each(bands, "gainOfBand", metadata),
        offsets=_each(bands, "offsetOfBand", metadata),
        size=size,
        tags={
            "acquisition_time": text_at(root, "base/temporalCoverage/startTime", metadata),
            "sensor_type": "DESIS",
            "processing_level": level,
            "product_id": scene,
        },
        beside=() if header is None else (header,),
        masks=_masks(metadata, scene) if level == "L2A" else {},
        no_masks="those of level L2A alone are known",
    )


def _masks(metadata: Path, scene: str) -> dict[str, MaskClass]:
    """The classes of the quality layers, where the file of these is there, or would be."""
    expected = metadata.with_name(f"{scene}-QL_QUALITY-2.tif")
    layers = _beside(metadata, scene, r"-QL_QUALITY-2\.tiff?") or expected
    return {name: MaskClass(layers, (1,), bands=bands) for name, bands in _QUALITY_LAYERS.items()}


def _beside(path: Path, scene: str, ending: str) -> Path | None:
    wanted = re.compile(re.escape(scene) + ending, re.IGNORECASE)
    return next((entry for entry in sorted(path.parent.iterdir()) if wanted.fullmatch(entry.name)), None)


def _listed(root: Element, path: Path) -> list[Element]:
    """The descriptions of the bands, in the image's order."""
    bands = root.findall("specific/bandCharacterisation/band")
    numbers = [whole_number_at(band, "bandNumber", path) for band in bands]
    if not bands or numbers != list(range(1, len(bands) + 1)):
        raise InputError(f"{path}: does not describe bands 1, 2 and so on: get the product again")
    return bands


def _each(bands: list[Element], place: str, path: Path) -> tuple[float, ...]:
    return tuple(number_at(band, place, path) for band in bands)


def _of_header(header: Path, bands: int) -> tuple[tuple[int, int] | None, float]:
    """Rows and columns, and the value of no data, as the header states them for this count of bands."""
    found = entries(header)
    try:
        fill = float(found.get("data_ignore_value", _FILL))
        if "samples" not in found:
            return None, fill
        size = int(found["lines"]), int(found["samples"])
        other = int(found["bands"]) != bands
    except (ValueError, KeyError) as error:
        raise InputError(f"{header}: states no size: get the product again") from error
    if other:
        raise InputError(
            f"{header}: states {found['bands']} bands, the metadata {bands}: get the product again"
        )
    return size, fill
