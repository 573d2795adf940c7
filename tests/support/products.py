"""Products as the agencies ship them, made small: their files' names, places and units, with invented values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affine import Affine
from numpy.typing import NDArray

from tests.support.rasters import NORTH_UP, UTM33, write_tif

ENMAP_SCENE = "ENMAP01-____{level}-DT0000004711_20240615T101112Z_003_V010400_20240617T080910Z"


def write_enmap(
    folder: Path,
    values: NDArray[Any],
    wavelengths: Sequence[float],
    *,
    level: str = "L2A",
    swir: Sequence[int] = (),
    empty: Sequence[int] = (),
    gains: Sequence[float] = (),
    offsets: Sequence[float] = (),
    background: int = -32768,
    transform: Affine = NORTH_UP,
    crs: str = UTM33,
) -> Path:
    """An EnMAP product; `swir` and `empty` number bands from 1. Returns the metadata file."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = ENMAP_SCENE.format(level=level)
    count, rows, cols = values.shape
    gains = gains or [0.0001] * count
    offsets = offsets or [0] * count
    image = f"{scene}-SPECTRAL_IMAGE.TIF"
    write_tif(folder / image, values, transform=transform, crs=crs)
    vnir = [band for band in range(1, count + 1) if band not in swir]
    bands = "".join(
        f'<bandID number="{i}"><wavelengthCenterOfBand>{nm}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{5 + i / 10}</FWHMOfBand><GainOfBand>{gain}</GainOfBand><OffsetOfBand>{offset}</OffsetOfBand>"
        "</bandID>"
        for i, (nm, gain, offset) in enumerate(zip(wavelengths, gains, offsets, strict=True), 1)
    )
    statistics = "".join(
        f'<bandID number="{i}"><waveLength>{nm}</waveLength><mean>{-1000000 if i in empty else 0.2}</mean>'
        f"<stdDeviation>{-1000000 if i in empty else 0.1}</stdDeviation></bandID>"
        for i, nm in enumerate(wavelengths, 1)
    )
    channels = "".join(
        f"<{name}ProductQuality><numChannelsExpected>{len(numbers)}</numChannelsExpected>"
        f"<expectedChannelsList>{','.join(map(str, numbers))}</expectedChannelsList></{name}ProductQuality>"
        for name, numbers in (("vnir", vnir), ("swir", swir))
    )
    metadata = folder / f"{scene}-METADATA.XML"
    metadata.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<metadata><schema><processingLevel>{level}</processingLevel></schema><name>{metadata.name}</name></metadata>"
        "<base><temporalCoverage><startTime>2024-06-15T10:11:12.500000Z</startTime>"
        "<stopTime>2024-06-15T10:11:17.000000Z</stopTime></temporalCoverage>"
        f"<format>ENMAP_{level}</format><level>{level}</level></base>"
        f"<specific>{channels}<backgroundValue>{background}</backgroundValue>"
        f"<bandCharacterisation>{bands}</bandCharacterisation></specific>"
        f"<product><image><merge><channels>{count}</channels><name>{image}</name>"
        f"<dimension><columns>{cols}</columns><rows>{rows}</rows></dimension></merge></image>"
        f"<bandStatistics>{statistics}</bandStatistics></product></level_X>\n"
    )
    return metadata


def replaced(path: Path, changes: Mapping[str, str]) -> None:
    """Change a metadata file's text; each old one must be in it."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
