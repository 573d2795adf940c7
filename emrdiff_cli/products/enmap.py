"""EnMAP of levels L1C and L2A: `*-SPECTRAL_IMAGE.TIF` beside `*-METADATA.XML`.

Bands are sorted by wavelength, so that those of the two detectors alternate at 900-1000 nm. Names as in the EnMAP
HSI Product Specification (EN-PCV-ICD-2009-2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.mask_classes import MaskClass
from emrdiff_cli.products.metadata_xml import number_at, read_xml, text_at, whole_number_at
from emrdiff_cli.products.product import Layer, Product
from emrdiff_cli.raster_info import Bands

_FILE = re.compile(r"(?P<scene>.+)-(?P<part>METADATA\.XML|SPECTRAL_IMAGE(?:_\w+)?\.TIFF?)", re.IGNORECASE)
_OWN_PREFIX = re.compile(r"ENMAP\d\d-", re.IGNORECASE)
_LEVELS = {"L1C": "W/m^2/sr/nm", "L2A": ""}  # and the units of their values
_NO_STATISTICS = -1e5  # the mean of a band in which no pixel is valid is -1000000
_MOST_BANDS = 1000
_NO_CLASS = 255  # what some readers take for the background of a mask
_MASKS = {  # the file's part of the name, the values of the class and those of all others
    "cloud": ("CLOUD", (1,), (0,)),
    "cirrus": ("CIRRUS", (1, 2, 3), (0,)),  # thin, medium, thick
    "haze": ("HAZE", (1,), (0,)),
    "shadow": ("CLOUDSHADOW", (1,), (0,)),
    "snow": ("SNOW", (1,), (0,)),
    "water": ("CLASSES", (2,), (0, 1, 3)),  # no class, land, background
}


def metadata_of(path: Path) -> Path | None:
    """The metadata file of a scene's spectral image, or itself; None for any other file."""
    found = _FILE.fullmatch(path.name)
    if found is None:
        return None
    if found["part"].upper() == "METADATA.XML":
        return path if _OWN_PREFIX.match(path.name) else None
    beside = _beside(path, found["scene"], r"-METADATA\.XML")
    if beside is None and _OWN_PREFIX.match(path.name):
        raise InputError(
            f"{path}: is of an EnMAP product, without {found['scene']}-METADATA.XML beside it, which has its "
            "wavelengths and scale: put it there, or give the raster another name"
        )
    return beside


def metadata_in(folder: Path) -> list[Path]:
    """All metadata files of EnMAP in a folder."""
    return sorted(
        path for path in folder.iterdir() if _OWN_PREFIX.match(path.name) and metadata_of(path) == path
    )


def read(metadata: Path) -> Product:
    """The product of a metadata file. Raises InputError: of another level, damaged, of another scene, no image."""
    state = metadata.stat()
    told = _told(metadata, (state.st_ino, state.st_size, state.st_mtime_ns))
    scene = metadata.name[: -len("-METADATA.XML")]
    if scene.upper() != told.scene.upper():
        raise InputError(
            f"{metadata}: is the metadata of another scene, {told.scene}: put this one's own there"
        )
    image = _beside(metadata, scene, r"-SPECTRAL_IMAGE(?:_COG)?\.TIFF?")
    if image is None:
        raise InputError(f"{metadata}: has no {scene}-SPECTRAL_IMAGE.TIF beside it, the pixels: put it there")
    return Product(
        name=f"EnMAP {told.level}",
        path=image,
        metadata=metadata,
        driver="GTiff",
        layers=tuple(Layer(image, band + 1) for band in range(told.bands.count)),
        bands=told.bands,
        nodata=(told.background,),
        scales=told.gains,
        offsets=told.offsets,
        size=told.size,
        tags={
            "acquisition_time": told.acquired,
            "sensor_type": "EnMAP HSI",
            "processing_level": told.level,
            "product_id": told.scene,
        },
        band_tags={"detector": told.detectors},
        masks={name: _mask(metadata, scene, *known) for name, known in _MASKS.items()},
    )


def _mask(
    metadata: Path, scene: str, part: str, values: tuple[int, ...], others: tuple[int, ...]
) -> MaskClass:
    found = _beside(metadata, scene, rf"-QL_QUALITY_{part}(?:_COG)?\.TIFF?")
    missing = metadata.with_name(f"{scene}-QL_QUALITY_{part}.TIF")
    return MaskClass(found or missing, values, known=(*values, *others, _NO_CLASS))


def _beside(path: Path, scene: str, ending: str) -> Path | None:
    wanted = re.compile(re.escape(scene) + ending, re.IGNORECASE)
    return next((entry for entry in sorted(path.parent.iterdir()) if wanted.fullmatch(entry.name)), None)


@dataclass(frozen=True)
class _Told:
    """What a metadata file tells; `size` in rows and columns."""

    level: str
    scene: str
    acquired: str
    background: float
    size: tuple[int, int]
    bands: Bands
    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    detectors: tuple[str, ...]


@lru_cache(maxsize=16)
def _told(path: Path, _state: tuple[int, int, int]) -> _Told:
    root = read_xml(path, "level_X")
    level = text_at(root, "base/level", path)
    if level not in _LEVELS:
        raise InputError(
            f"{path}: is of level {level[:20]}, in sensor geometry and without a georeference: get the scene as "
            "L1C or L2A, which are orthorectified"
        )
    bands = root.findall("specific/bandCharacterisation/bandID")
    _refuse_misnumbered(bands, root, path)
    image = "product/image/merge"
    return _Told(
        level=level,
        scene=re.sub(r"-METADATA\.XML$", "", text_at(root, "metadata/name", path), flags=re.IGNORECASE),
        acquired=text_at(root, "base/temporalCoverage/startTime", path),
        background=number_at(root, "specific/backgroundValue", path),
        size=(
            whole_number_at(root, f"{image}/dimension/rows", path),
            whole_number_at(root, f"{image}/dimension/columns", path),
        ),
        bands=_bands(bands, root, level, path),
        gains=_each(bands, "GainOfBand", path),
        offsets=_each(bands, "OffsetOfBand", path),
        detectors=_detectors(root, len(bands)),
    )


def _refuse_misnumbered(bands: Sequence[Element], root: Element, path: Path) -> None:
    numbers = [band.get("number") for band in bands]
    channels = whole_number_at(root, "product/image/merge/channels", path)
    if not 0 < channels <= _MOST_BANDS or numbers != [str(i + 1) for i in range(channels)]:
        raise InputError(
            f"{path}: describes {len(bands)} bands for {channels} channels: get the product again"
        )


def _each(bands: Sequence[Element], place: str, path: Path) -> tuple[float, ...]:
    return tuple(number_at(band, place, path) for band in bands)


def _bands(bands: Sequence[Element], root: Element, level: str, path: Path) -> Bands:
    unit = _LEVELS[level]
    empty = _empty_bands(root, path)
    return Bands(
        count=len(bands),
        wavelengths_nm=_each(bands, "wavelengthCenterOfBand", path),
        fwhm_nm=_each(bands, "FWHMOfBand", path),
        good=tuple(str(i + 1) not in empty for i in range(len(bands))),
        units=(unit,) * len(bands) if unit else None,
    )


def _empty_bands(root: Element, path: Path) -> set[str | None]:
    """Numbers of the bands in which the product's statistics found no valid pixel."""
    statistics = root.findall("product/bandStatistics/bandID")
    return {band.get("number") for band in statistics if number_at(band, "mean", path) <= _NO_STATISTICS}


def _detectors(root: Element, count: int) -> tuple[str, ...]:
    """The detector of each band, VNIR or SWIR; "" of one that no list of channels names."""
    detectors = [""] * count
    for name in ("vnir", "swir"):
        listed = root.findtext(f"specific/{name}ProductQuality/expectedChannelsList") or ""
        for text in listed.split(","):
            number = text.strip()
            if number.isascii() and number.isdigit() and len(number) < 6 and 1 <= int(number) <= count:
                detectors[int(number) - 1] = name.upper()
    return tuple(detectors)
