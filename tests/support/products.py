"""Products as the agencies ship them, made small: their files' names, places and units, with invented values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from numpy.typing import NDArray

from tests.support.rasters import NORTH_UP, UTM33, write_tif

# Number, name, resolution in m and centre in nm of Sentinel-2's bands; those of 10 m first.
_S2_BANDS = (
    *((1, "B2", 10, 490), (2, "B3", 10, 560), (3, "B4", 10, 665), (7, "B8", 10, 833)),
    *((4, "B5", 20, 704), (5, "B6", 20, 740), (6, "B7", 20, 783), (8, "B8A", 20, 865)),
    *((11, "B11", 20, 1610), (12, "B12", 20, 2190), (0, "B1", 60, 443), (9, "B9", 60, 945)),
    (10, "B10", 60, 1375),
)
ENMAP_SCENE = "ENMAP01-____{level}-DT0000004711_20240615T101112Z_003_V010400_20240617T080910Z"

EMPTY: Mapping[str, NDArray[Any]] = {}
SCENE_CLASSES = (
    *("NODATA", "SATURATED_DEFECTIVE", "CAST_SHADOW", "CLOUD_SHADOW", "VEGETATION", "NOT_VEGETATED", "WATER"),
    *("UNCLASSIFIED", "CLOUD_MEDIUM_PROBA", "CLOUD_HIGH_PROBA", "THIN_CIRRUS", "SNOW_ICE"),
)


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
    masks: Mapping[str, NDArray[Any]] = EMPTY,
) -> Path:
    """An EnMAP product; `swir` and `empty` number bands from 1, `masks` by the names of their QL_QUALITY files.

    Returns the metadata file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = ENMAP_SCENE.format(level=level)
    count, rows, cols = values.shape
    gains = gains or [0.0001] * count
    offsets = offsets or [0] * count
    image = f"{scene}-SPECTRAL_IMAGE.TIF"
    write_tif(folder / image, values, transform=transform, crs=crs)
    for name, mask in masks.items():
        write_tif(folder / f"{scene}-QL_QUALITY_{name}.TIF", mask[None], transform=transform, crs=crs)
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


def write_sentinel2(
    folder: Path,
    values: NDArray[Any],
    *,
    level: str = "L2A",
    quantification: float = 10000,
    offsets: Sequence[float] = (-1000, -900, -1000, -1000),
    coarse: Mapping[str, NDArray[Any]] | None = None,
    transform: Affine = NORTH_UP,
    crs: str = UTM33,
    baseline: str = "05.10",
    mask: NDArray[Any] | None = None,
) -> Path:
    """A SAFE folder with the four bands of 10 m; returns its metadata file.

    Others are named, and are there where `coarse` has them, (rows, columns) of 20 and 60 m by name; their offset is
    the first one. `mask`: the scene classification (rows, columns) at half the resolution, or for L1C the three
    bands at a sixth.
    """
    taken = "20240615T101031"
    granule = f"GRANULE/{level}_T33UUU_A012345_{taken}/IMG_DATA"
    at = {"L1C": "", "L2A": "R10m/"}[level], {"L1C": "", "L2A": "_10m"}[level]
    names = [f"{granule}/{at[0]}T33UUU_{taken}_{band}{at[1]}" for band in ("B02", "B03", "B04", "B08")]
    for name, band in zip(names, values, strict=True):
        _write_jp2(folder / f"{name}.jp2", band[None], transform, crs)
    scene_map = f"{granule}/R20m/T33UUU_{taken}_SCL_20m"
    if mask is not None and level == "L2A":
        _write_jp2(folder / f"{scene_map}.jp2", mask[None], transform @ Affine.scale(2), crs)
    elif mask is not None:
        classified = folder / Path(granule).parent / "QI_DATA" / "MSK_CLASSI_B00.jp2"
        _write_jp2(classified, mask, transform @ Affine.scale(6), crs)
    names += [scene_map] if level == "L2A" else []
    bands = [band for band in _S2_BANDS if band[1] != "B10" or level == "L1C"]
    for _, short, metres, _ in bands[4:]:
        place = (f"R{metres}m/", f"_{metres}m") if level == "L2A" else ("", "")
        names.append(f"{granule}/{place[0]}T33UUU_{taken}_B{short[1:]:0>2}{place[1]}")
        if short in (coarse or {}):
            wider = transform @ Affine.scale(metres / 10)
            _write_jp2(folder / f"{names[-1]}.jp2", (coarse or {})[short][None], wider, crs)
    spectra = "".join(
        f'<Spectral_Information bandId="{i}" physicalBand="{name}"><RESOLUTION>{metres}</RESOLUTION><Wavelength>'
        f'<MIN unit="nm">{nm - 20}</MIN><MAX unit="nm">{nm + 20}</MAX><CENTRAL unit="nm">{nm}</CENTRAL>'
        "</Wavelength>"
        '<Spectral_Response><STEP unit="nm">1</STEP><VALUES>'
        + " ".join(str(round(max(0.0, 1 - abs(at) / 20), 3)) for at in range(-20, 21))
        + "</VALUES></Spectral_Response></Spectral_Information>"
        for i, name, metres, nm in bands
    )
    told = {
        "L1C": ("1C", "Radiometric_Offset_List", "RADIO_ADD_OFFSET"),
        "L2A": ("2A", "", "BOA_ADD_OFFSET"),
    }[level]
    listed = "".join(
        f'<{told[2]} band_id="{i}">{offset:g}</{told[2]}>'
        for i, offset in zip(
            (band[0] for band in bands), [*offsets, *[offsets[0]] * 9] if offsets else (), strict=False
        )
    )
    outer = told[1] or "BOA_ADD_OFFSET_VALUES_LIST"
    value = f'QUANTIFICATION_VALUE unit="none">{quantification}</'
    scale = {
        "L1C": f"<{value}QUANTIFICATION_VALUE>",
        "L2A": f"<QUANTIFICATION_VALUES_LIST><BOA_{value}BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>",
    }[level]
    root = f"n1:Level-{told[0]}_User_Product"
    metadata = folder / f"MTD_MSI{level}.xml"
    metadata.write_text(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        f'<{root} xmlns:n1="https://psd-15.sentinel2.eo.esa.int/PSD/User_Product_Level-{told[0]}.xsd">'
        "<n1:General_Info><Product_Info><PRODUCT_START_TIME>2024-06-15T10:10:31.024Z</PRODUCT_START_TIME>"
        f"<PRODUCT_URI>S2B_MSI{level}_{taken}_N0510_R022_T33UUU_20240615T123456.SAFE</PRODUCT_URI>"
        f"<PROCESSING_LEVEL>Level-{told[0]}</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        "<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake>"
        "<Product_Organisation><Granule_List><Granule>"
        + "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in names)
        + "</Granule></Granule_List></Product_Organisation></Product_Info><Product_Image_Characteristics>"
        + "".join(
            f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT>"
            f"<SPECIAL_VALUE_INDEX>{index}</SPECIAL_VALUE_INDEX></Special_Values>"
            for text, index in (("NODATA", 0), ("SATURATED", 65535))
        )
        + scale
        + (f"<{outer}>{listed}</{outer}>" if listed else "")
        + f"<Spectral_Information_List>{spectra}</Spectral_Information_List>"
        f"{_scene_classes() if level == 'L2A' else ''}</Product_Image_Characteristics></n1:General_Info></{root}>\n"
    )
    return metadata


def _write_jp2(path: Path, values: NDArray[Any], transform: Affine, crs: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, cols = values.shape
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        count=bands,
        height=rows,
        width=cols,
        dtype=values.dtype.name,
        crs=crs,
        transform=transform,
        QUALITY="100",
        REVERSIBLE="YES",
        YCC="NO",
    ) as dataset:
        dataset.write(values)


def _scene_classes() -> str:
    listed = "".join(
        f"<Scene_Classification_ID><SCENE_CLASSIFICATION_TEXT>SC_{name}</SCENE_CLASSIFICATION_TEXT>"
        f"<SCENE_CLASSIFICATION_INDEX>{i}</SCENE_CLASSIFICATION_INDEX></Scene_Classification_ID>"
        for i, name in enumerate(SCENE_CLASSES)
    )
    return f"<Scene_Classification_List>{listed}</Scene_Classification_List>"


def write_manifest(folder: Path, kind: str = "md5", named: str = "MD5") -> None:
    """The `manifest.safe` of a SAFE whose images are as they are now."""
    streams = "".join(
        f'<dataObject><byteStream size="{image.stat().st_size}">'
        f'<fileLocation locatorType="URL" href="./{image.relative_to(folder)}"/>'
        f'<checksum checksumName="{named}">{hashlib.new(kind, image.read_bytes()).hexdigest().upper()}</checksum>'
        "</byteStream></dataObject>"
        for image in sorted(folder.rglob("*.jp2"))
    )
    (folder / "manifest.safe").write_text(
        '<?xml version="1.0"?><xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
        f"<dataObjectSection>{streams}</dataObjectSection></xfdu:XFDU>"
    )


def write_landsat(
    folder: Path,
    values: NDArray[Any],
    *,
    level: str = "L2SP",
    form: str = "txt",
    pan: NDArray[Any] | None = None,
    transform: Affine = NORTH_UP,
    crs: str = UTM33,
    quality: NDArray[Any] | None = None,
) -> Path:
    """A folder of Landsat 8, bands 1 to 7 of 30 m; returns its metadata file, of that form.

    The first pixel of `pan`, half as wide, has its centre on that of the others.
    """
    scene = f"LC08_{level}_193024_20240615_20240620_02_T1"
    infix = "SR_" if level.startswith("L2") else ""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"FILE_NAME_BAND_{i}": f"{scene}_{infix}B{i}.TIF" for i in range(1, len(values) + 1)}
    for name, band in zip(names.values(), values, strict=True):
        write_tif(folder / name, band[None], transform=transform, crs=crs)
    names["FILE_NAME_QUALITY_L1_PIXEL"] = f"{scene}_QA_PIXEL.TIF"
    if quality is not None:
        write_tif(folder / f"{scene}_QA_PIXEL.TIF", quality[None], transform=transform, crs=crs)
    sizes: dict[str, str] = {}
    if pan is not None:
        names["FILE_NAME_BAND_8"] = f"{scene}_B8.TIF"
        finer = transform @ Affine.scale(0.5) @ Affine.translation(0.5, 0.5)
        write_tif(folder / names["FILE_NAME_BAND_8"], pan[None], transform=finer, crs=crs)
        sizes = {"PANCHROMATIC_LINES": str(pan.shape[0]), "PANCHROMATIC_SAMPLES": str(pan.shape[1])}
    bands = range(1, len(values) + (1 if pan is None else 2))
    mult, add = (2.75e-05, -0.2) if infix else (2e-05, -0.1)
    scaling = {f"REFLECTANCE_MULT_BAND_{i}": f"{mult:.4E}" for i in bands}
    scaling |= {f"REFLECTANCE_ADD_BAND_{i}": f"{add:.6f}" for i in bands}
    groups = {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": scene,
            "PROCESSING_LEVEL": level,
            "COLLECTION_NUMBER": "02",
            **names,
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_8",
            "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2024-06-15",
            "SCENE_CENTER_TIME": "10:02:03.4560000Z",
            "SUN_ELEVATION": "30.0",
        },
        "PROJECTION_ATTRIBUTES": {
            "REFLECTIVE_LINES": str(values.shape[1]),
            "REFLECTIVE_SAMPLES": str(values.shape[2]),
            **sizes,
        },
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" if infix else "LEVEL1_RADIOMETRIC_RESCALING"): scaling,
    }
    metadata = folder / f"{scene}_MTL.{form}"
    root = "LANDSAT_METADATA_FILE"
    if form == "json":
        metadata.write_text(json.dumps({root: groups}))
    elif form == "xml":
        inner = "".join(
            f"<{name}>{''.join(f'<{key}>{value}</{key}>' for key, value in group.items())}</{name}>"
            for name, group in groups.items()
        )
        metadata.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>\n')
    else:
        lines = [f"GROUP = {root}"]
        for name, group in groups.items():
            pairs = [
                f'    {key} = "{value}"' if not _plain(value) else f"    {key} = {value}"
                for key, value in group.items()
            ]
            lines += [f"  GROUP = {name}", *pairs, f"  END_GROUP = {name}"]
        metadata.write_text("\n".join([*lines, f"END_GROUP = {root}", "END", ""]))
    return metadata


def _plain(text: str) -> bool:
    """Whether a text is a number or a date, which have no quotes."""
    return text.replace("-", "").replace(".", "").replace("E", "").isdigit()


def replaced(path: Path, changes: Mapping[str, str]) -> None:
    """Change a metadata file's text; each old one must be in it."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
