"""Hyperspectral products as they are shipped, made small, with invented values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from tests.support.rasters import NORTH_UP, UTM33, write_tif

DESIS_SCENE = "DESIS-HSI-{level}-DT1203190212_025-20191203T021128-V0210"
AVIRIS_LINE = "f080611t01p00r07rdn_c"
HYPERION_SCENE = "EO1H1930242010024110KF"
HYPERION_BANDS = (*range(8, 58), *range(77, 225))


def write_desis(
    folder: Path,
    values: NDArray[Any],
    wavelengths: Sequence[float],
    *,
    level: str = "L2A",
    gains: Sequence[float] = (),
    offsets: Sequence[float] = (),
    quality: NDArray[Any] | None = None,
    transform: Affine = NORTH_UP,
    crs: str = UTM33,
) -> Path:
    """A DESIS product: image, header and metadata, the FWHM 3.5 nm; returns the metadata file.

    `quality`: the ten bands of QL_QUALITY-2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = DESIS_SCENE.format(level=level)
    count, rows, cols = values.shape
    gains, offsets = gains or [0.0001] * count, offsets or [0.0] * count
    write_tif(folder / f"{scene}-SPECTRAL_IMAGE.tif", values, transform=transform, crs=crs)
    if quality is not None:
        write_tif(folder / f"{scene}-QL_QUALITY-2.tif", quality, transform=transform, crs=crs)
    lists = {
        "wavelength": wavelengths,
        "fwhm": [3.5] * count,
        "data gain values": gains,
        "data offset values": offsets,
    }
    (folder / f"{scene}-SPECTRAL_IMAGE.hdr").write_text(
        f"ENVI\nsamples = {cols}\nlines = {rows}\nbands = {count}\ndata type = 2\ninterleave = bip\n"
        "data ignore value = -32768\nwavelength units = nanometers\n"
        + "".join(f"{key} = {{{', '.join(map(str, numbers))}}}\n" for key, numbers in lists.items())
    )
    bands = "".join(
        f"<band><bandNumber>{i}</bandNumber><wavelengthCenterOfBand>{nm}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><gainOfBand>{gain}</gainOfBand>"
        f"<offsetOfBand>{offset}</offsetOfBand></band>"
        for i, (nm, gain, offset) in enumerate(zip(wavelengths, gains, offsets, strict=True), 1)
    )
    metadata = folder / f"{scene}-METADATA.xml"
    metadata.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<hsi_doc>'
        f"<metadata><name>{metadata.name}</name></metadata>"
        "<base><temporalCoverage><startTime>2019-12-03T02:11:28.000000Z</startTime></temporalCoverage></base>"
        f"<specific><bandCharacterisation>{bands}</bandCharacterisation><interiorOrientation><band>"
        "<bandNumber>1</bandNumber></band></interiorOrientation></specific></hsi_doc>\n"
    )
    return metadata


def write_hyperion(
    folder: Path,
    values: NDArray[Any],
    *,
    level: str = "L1T",
    transform: Affine = NORTH_UP,
    crs: str = UTM33,
) -> Path:
    """A folder of Hyperion's bands, those of `HYPERION_BANDS` and three empty ones; returns its metadata file."""
    folder.mkdir(parents=True, exist_ok=True)
    _, rows, cols = values.shape
    profile = {"driver": "GTiff", "count": 1, "height": rows, "width": cols, "dtype": "int16"}
    names = {band: f"{HYPERION_SCENE}_B{band:03d}_{level}.TIF" for band in range(1, 243)}
    empty = np.zeros((rows, cols), "int16")
    images = dict(zip(HYPERION_BANDS, values, strict=True)) | {1: empty, 60: empty, 242: empty}
    for band, image in images.items():
        with rasterio.open(folder / names[band], "w", **profile, crs=crs, transform=transform) as dataset:
            dataset.write(image, 1)
    product = {
        "PRODUCT_TYPE": f'"{level}"',
        "SPACECRAFT_ID": '"EO1"',
        "SENSOR_ID": '"HYPERION"',
        "ACQUISITION_DATE": "2010-01-24",
        "START_TIME": '"2010 024 00:29:12"',
        "PRODUCT_SAMPLES": str(cols),
        "PRODUCT_LINES": str(rows),
        **{f"BAND{band}_FILE_NAME": f'"{name}"' for band, name in names.items()},
    }
    scaling = {"SCALING_FACTOR_VNIR": "40", "SCALING_FACTOR_SWIR": "80"}
    lines = ["GROUP = L1_METADATA_FILE"]
    for group, pairs in (("PRODUCT_METADATA", product), ("RADIANCE_SCALING", scaling)):
        lines += [f"  GROUP = {group}", *(f"    {key} = {value}" for key, value in pairs.items())]
        lines += [f"  END_GROUP = {group}"]
    metadata = folder / f"{HYPERION_SCENE}_MTL_{level}.TXT"
    metadata.write_text("\n".join([*lines, "END_GROUP = L1_METADATA_FILE", "END", ""]))
    return metadata


def write_aviris_ng(
    folder: Path,
    values: NDArray[Any],
    wavelengths: Sequence[float],
    *,
    rotation: float = 0.0,
    corner: tuple[float, float] = (500000.0, 5600000.0),
    pixel: float = 30.0,
    name: str = "ang20180814t223147_rfl_v2r2_img",
    extra: str = "",
) -> Path:
    """AVIRIS-NG: ENVI by lines, without suffix, turned by degrees about its corner; returns the data file."""
    folder.mkdir(parents=True, exist_ok=True)
    count, rows, cols = values.shape
    data = folder / name
    values.transpose(1, 0, 2).tofile(data)
    kind = {"float32": 4, "int16": 2}[values.dtype.name]
    place = _map_info(corner, pixel, rotation)
    data.with_name(f"{name}.hdr").write_text(
        "ENVI\ndescription = { AVIRIS-NG Measured Radiances }\n"
        f"samples = {cols}\nlines   = {rows}\nbands   = {count}\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = {kind}\ninterleave = bil\nbyte order = 0\n"
        f"{place}"
        f"wavelength units = Nanometers\nwavelength = {{ {' , '.join(map(str, wavelengths))} }}\n"
        f"fwhm = {{ {' , '.join(['5.5'] * count)} }}\ndata ignore value = -9999\n{extra}"
    )
    return data


def write_aviris_classic(
    folder: Path,
    stored: NDArray[Any],
    wavelengths: Sequence[float],
    gains: Sequence[float],
    *,
    rotation: float = 0.0,
    corner: tuple[float, float] = (500000.0, 5600000.0),
    pixel: float = 30.0,
    listed: bool = False,
) -> Path:
    """AVIRIS-Classic: big-endian ENVI of int16 by pixels, with `.gain` and `.spc`; returns the folder.

    The FWHM is 9.5 nm. `listed`: the header has the wavelengths too, in micrometres.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count, rows, cols = stored.shape
    data = folder / f"{AVIRIS_LINE}_sc01_ort_img"
    stored.transpose(1, 2, 0).astype(">i2").tofile(data)
    lists = {"wavelength": [nm / 1000 for nm in wavelengths], "fwhm": [0.0095] * count} if listed else {}
    data.with_name(f"{data.name}.hdr").write_text(
        "ENVI\ndescription = { AVIRIS orthocorrected calibrated radiance }\n"
        f"samples = {cols}\nlines   = {rows}\nbands   = {count}\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = 2\ninterleave = bip\nbyte order = 1\n{_map_info(corner, pixel, rotation)}"
        + "".join(f"  {key} = {{\n {', '.join(map(str, numbers))} }}\n" for key, numbers in lists.items())
    )
    factors = (f"{gain:12.6f}{channel:12d}\n" for channel, gain in enumerate(gains, 1))
    (folder / f"{AVIRIS_LINE}.gain").write_text("".join(factors))
    centres = (f"{nm:12.6f}{9.5:10.6f}\n" for nm in wavelengths)
    (folder / f"{AVIRIS_LINE}.spc").write_text("".join(centres))
    return folder


def _map_info(corner: tuple[float, float], pixel: float, rotation: float) -> str:
    """The entry of a header, spaced as JPL's are."""
    place = f"UTM , 1.000 , 1.000 , {corner[0]} , {corner[1]} , {pixel} , {pixel} , 33 , North , WGS-84"
    return f"map info = {{ {place} , units=Meters , rotation={rotation:.5f} }}\n"


def write_wyvern(
    folder: Path, values: NDArray[Any], wavelengths: Sequence[float], *, transform: Affine, crs: str = UTM33
) -> Path:
    """Wyvern L2A: a GeoTIFF whose bands' tags have wavelength and FWHM, scaled, 0 where there is nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "wyvern_dragonette-003_20250319T000402_d5ebab06_l2a.tiff"
    count, rows, cols = values.shape
    size = {"count": count, "height": rows, "width": cols, "dtype": values.dtype.name}
    with rasterio.open(image, "w", driver="GTiff", crs=crs, transform=transform, nodata=0, **size) as dataset:
        dataset.write(values)
        dataset.scales = (0.0001,) * count
        for i, nm in enumerate(wavelengths, 1):
            dataset.set_band_description(i, f"Band_{nm:g}")
            dataset.update_tags(i, Wavelength=str(nm), Wavelength_Units="Nanometers", FWHM="15.0")
    return image
