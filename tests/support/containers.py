"""Products in HDF5 of the structure that the agencies ship, made small, without the package.

Stored values are functions of band, row and column, as those of `rasters.pixels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tests.support.rasters import pixels

# Descending, as PRISMA has them; 0 where a band is not used. VNIR and SWIR overlap.
PRISMA_VNIR = np.array([0, 0, 972.6, 961.9, 700.1, 550.9, 406.99], "float32")
PRISMA_SWIR = np.array([2497.1, 1600.5, 968.8, 943.4, 0], "float32")
PRISMA_CENTRE = (547467.5, 5953052.5)  # of the first pixel


def write_prisma(
    path: Path,
    *,
    level: str = "2D",
    height: int = 8,
    width: int = 7,
    pan: int = 6,
    corners_at_edges: bool = False,
    geolocation: bool = True,
    scene: NDArray[np.floating[Any]] | None = None,
    masks: Mapping[str, NDArray[Any]] | None = None,
) -> Path:
    """PRISMA of any level: rows x bands x columns, corners at the outer pixels' centres as shipped.

    `scene` (9, pan x height, pan x width): reflectance, by wavelength, that it shows; the PAN sees the first five.
    `masks`: L1's own, by name.
    """
    with h5py.File(path, "w") as file:
        for name, lengths in (("Vnir", PRISMA_VNIR), ("Swir", PRISMA_SWIR)):
            file.attrs[f"List_Cw_{name}"] = lengths
            file.attrs[f"List_Fwhm_{name}"] = np.where(lengths > 0, lengths / 100, 0).astype("float32")
            file.attrs[f"List_Cw_{name}_Flags"] = (lengths > 0).astype("int32")
            hco = file.require_group(f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields")
            cube = prisma_dn(name, len(lengths), height, width)
            if scene is not None:
                cube = _cube_of(scene, name, pan)
            hco.create_dataset(f"{name.upper()}_Cube", data=cube, chunks=(2, 3, width), compression="gzip")
            errors = np.zeros(cube.shape, "uint8")
            errors[2, :, 3] = 1  # a pixel of no worth, in all bands
            errors[4, -2, 1] = 3  # and one saturated in one
            kind = "SAT" if level == "1" else "L2"
            hco.create_dataset(f"{name.upper()}_PIXEL_{kind}_ERR_MATRIX", data=errors)
        for name, ends in (("Vnir", (0.0, 1.5)), ("Swir", (-0.1, 0.9)), ("Pan", (0.0, 2.0))):
            file.attrs[f"L2Scale{name}Min"], file.attrs[f"L2Scale{name}Max"] = map(np.float32, ends)
            file.attrs[f"ScaleFactor_{name}"], file.attrs[f"Offset_{name}"] = np.float32(100), np.float32(0)
        file.attrs["Product_StartTime"] = np.bytes_("2024-04-02T10:28:37.932000")
        pco = file.require_group(f"HDFEOS/SWATHS/PRS_L{level}_PCO/Data Fields")
        fine = prisma_pan_dn(height * pan, width * pan)
        if scene is not None:
            fine = np.round(scene[:5].mean(axis=0) / 2 * 65535).astype(np.uint16)
        pco.create_dataset("Cube", data=fine)
        empty = np.where(fine == 0, 4, 0).astype("uint8")
        pco.create_dataset("PIXEL_SAT_ERR_MATRIX" if level == "1" else "PIXEL_L2_ERR_MATRIX", data=empty)
        if masks:
            for name, values in masks.items():
                file[f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields/{name}"] = values
        if level == "2D":
            _place_prisma(file, height, width, corners_at_edges, geolocation)
    return path


def _cube_of(scene: NDArray[np.floating[Any]], detector: str, pan: int) -> NDArray[np.uint16]:
    """Stored values, rows x bands x columns, of the means of pan x pan pixels of a scene; 0 in unused bands."""
    lengths, (low, high) = {"Vnir": (PRISMA_VNIR, (0.0, 1.5)), "Swir": (PRISMA_SWIR, (-0.1, 0.9))}[detector]
    every = np.sort(np.concatenate([PRISMA_VNIR, PRISMA_SWIR]))
    bands, rows, cols = scene.shape
    means = scene.reshape(bands, rows // pan, pan, cols // pan, pan).mean(axis=(2, 4))
    of_band = np.searchsorted(every[every > 0], lengths)
    stored = (means[of_band] - low) / (high - low) * 65535
    stored[lengths == 0] = 0
    return np.asarray(np.round(stored).transpose(1, 0, 2), np.uint16)


def prisma_dn(detector: str, bands: int, height: int, width: int) -> NDArray[np.uint16]:
    """Stored values, rows x bands x columns; the last row lies outside the swath."""
    scale = np.uint16(100 + 7 * (detector == "Swir"))
    dn = pixels(bands, height, width, "uint16").transpose(1, 0, 2) * scale
    dn[-1] = 0
    return np.asarray(dn, np.uint16)


def prisma_reflectance(height: int = 8, width: int = 7) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Used wavelengths, ascending, and reflectances, worked out band by band; NaN: nothing there."""
    bands = []
    for name, lengths, low, high in (("Vnir", PRISMA_VNIR, 0.0, 1.5), ("Swir", PRISMA_SWIR, -0.1, 0.9)):
        dn = prisma_dn(name, len(lengths), height, width)
        for index, length in enumerate(lengths):
            if length > 0:
                values = low + dn[:, index].astype(float) * (high - low) / 65535
                values[dn[:, index] == 0] = np.nan
                values[2, 3] = np.nan
                if index == len(lengths) - 2:
                    values[4, 1] = np.nan
                bands.append((float(length), values))
    bands.sort(key=lambda band: band[0])
    return np.array([length for length, _ in bands]), np.array([values for _, values in bands])


def prisma_pan_dn(height: int, width: int) -> NDArray[np.uint16]:
    dn = pixels(1, height, width, "uint16")[0] * np.uint16(50)
    dn[-6:] = 0
    return np.asarray(dn, np.uint16)


def _place_prisma(
    file: h5py.File, height: int, width: int, corners_at_edges: bool, geolocation: bool
) -> None:
    from pyproj import Transformer

    x, y = PRISMA_CENTRE
    out = 15.0 if corners_at_edges else 0.0
    right, bottom = x + 30 * (width - 1), y - 30 * (height - 1)
    file.attrs["Epsg_Code"] = np.int64(32632)
    file.attrs["Product_ULcorner_easting"], file.attrs["Product_ULcorner_northing"] = x - out, y + out
    file.attrs["Product_LRcorner_easting"], file.attrs["Product_LRcorner_northing"] = (
        right + out,
        bottom - out,
    )
    if geolocation:
        cols, rows = np.meshgrid(x + 30 * np.arange(width), y - 30 * np.arange(height))
        longitude, latitude = Transformer.from_crs(32632, 4326, always_xy=True).transform(cols, rows)
        fields = file.require_group("HDFEOS/SWATHS/PRS_L2D_HCO/Geolocation Fields")
        fields["Latitude"], fields["Longitude"] = latitude.astype("float32"), longitude.astype("float32")


def emit_cube(height: int, width: int, bands: int) -> NDArray[np.float32]:
    """Values, downtrack x crosstrack x bands."""
    return np.asarray(pixels(bands, height, width, "float32").transpose(1, 2, 0) / 200, "float32")


def write_emit(
    path: Path,
    glt_x: NDArray[np.int32],
    glt_y: NDArray[np.int32],
    *,
    height: int,
    width: int,
    geotransform: Any = (61.64, 0.000542, 0.0, 36.39, 0.0, -0.000542),
    spatial_ref: str = 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]',
    cube: str = "reflectance",
) -> Path:
    """EMIT with its lookup table; the third of its five bands is not good."""
    with h5py.File(path, "w") as file:
        file.attrs["time_coverage_start"] = np.bytes_("2022-08-27T06:07:53+0000")
        file.attrs["title"] = np.bytes_("EMIT L2A Estimated Surface Reflectance 60 m V001")
        file.attrs["geotransform"], file.attrs["spatial_ref"] = geotransform, np.bytes_(spatial_ref)
        values = file.create_dataset(
            cube, data=emit_cube(height, width, 5), chunks=(4, 5, 5), compression="gzip"
        )
        values.attrs["_FillValue"] = np.array([-9999], "float32")
        for name, table in (("glt_x", glt_x), ("glt_y", glt_y)):
            file.create_dataset(f"location/{name}", data=table.astype("int32"), compression="gzip")
        parameters = file.create_group("sensor_band_parameters")
        parameters["wavelengths"] = np.array([381.0, 700.5, 1400.2, 1650.4, 2492.9], "float32")
        parameters["wavelengths"].attrs["units"] = np.bytes_("nm")
        parameters["fwhm"] = np.array([8.4, 8.5, 8.6, 8.7, 8.8], "float32")
        parameters["good_wavelengths"] = np.array([1, 1, 0, 1, 1], "float32")
    return path


EMIT_FLAGS = ("Cloud flag", "Cirrus flag", "Water flag", "Spacecraft Flag", "Dilated Cloud Flag", "AOD550")


def write_emit_mask(path: Path, mask: NDArray[Any], start: str = "2022-08-27T06:07:53+0000") -> Path:
    """EMIT's L2A MASK, downtrack x crosstrack x the bands of `EMIT_FLAGS`."""
    with h5py.File(path, "w") as file:
        file.attrs["time_coverage_start"] = np.bytes_(start)
        file["mask"] = mask.astype("float32")
        file["mask"].attrs["_FillValue"] = np.array([-9999], "float32")
        file.create_dataset("sensor_band_parameters/mask_bands", data=EMIT_FLAGS, dtype=h5py.string_dtype())
    return path


def write_aviris(
    path: Path, *, height: int = 6, width: int = 5, geotransform: bool = True, moved: float = 0.0
) -> Path:
    """AVIRIS-3 or AVIRIS-5 orthorectified: wavelength x northing x easting."""
    from pyproj import CRS

    with h5py.File(path, "w") as file:
        cube = pixels(4, height, width, "float32") / np.float32(300)
        cube[:, 0, 0] = -9999
        file["reflectance/reflectance"] = cube
        file["reflectance/reflectance"].attrs["_FillValue"] = np.array([-9999], "float32")
        file["reflectance/wavelength"] = np.array([400.5, 900.25, 1600.5, 2400.0], "float32")
        file["reflectance/fwhm"] = np.array([7.5, 7.6, 7.7, 7.8], "float32")
        file["easting"] = 550000 + moved + 2 + 4.0 * np.arange(width)
        file["northing"] = 3790000 - 2 - 4.0 * np.arange(height)
        file["transverse_mercator"] = np.bytes_("")
        file["transverse_mercator"].attrs["crs_wkt"] = CRS.from_epsg(32611).to_wkt()
        if geotransform:
            file["transverse_mercator"].attrs["GeoTransform"] = "550000 4 0 3790000 0 -4"
    return path


def write_neon(path: Path, site: str = "SERC", *, height: int = 6, width: int = 4) -> Path:
    """NEON AOP: scaled int16, rows x columns x bands."""
    with h5py.File(path, "w") as file:
        root = file.create_group(f"{site}/Reflectance")
        cube = pixels(5, height, width, "int16").transpose(1, 2, 0) * np.int16(20)
        cube[0, 0] = -9999
        data = root.create_dataset("Reflectance_Data", data=cube, chunks=(2, 2, 5), compression="gzip")
        data.attrs["Scale_Factor"], data.attrs["Data_Ignore_Value"] = np.float64(10000), np.float64(-9999)
        root.attrs["Band_Window_1_Nanometers"] = np.array([1340, 1445])
        spectral = root.create_group("Metadata/Spectral_Data")
        spectral["Wavelength"] = np.array([381.5, 700.0, 1400.0, 1600.5, 2510.0], "float32")
        spectral["Wavelength"].attrs["Units"] = "nanometers"
        spectral["FWHM"] = np.array([5.8, 5.9, 6.0, 6.1, 6.2], "float32")
        system = root.create_group("Metadata/Coordinate_System")
        info = "UTM,  1.000,  1.000,  368000.00,  4307000.0,  1.0000000,  1.0000000,  18,  North,"
        system["Map_Info"] = f"{info}  WGS-84,  units=Meters, 0"
        system["EPSG Code"] = "32618"
    return path


def write_tanager(
    path: Path,
    *,
    height: int = 6,
    width: int = 5,
    layout: str = "GRIDS",
    cube: str = "surface_reflectance",
) -> Path:
    """Tanager: bands x rows x columns, corners in the structure's text."""
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/{layout}/HYP/Data Fields")
        file[f"HDFEOS/{layout}/HYP"].attrs["epsg_code"] = np.int32(32611)
        data = fields.create_dataset(cube, data=pixels(4, height, width, "float32") / np.float32(300))
        data.attrs["wavelengths"] = np.array([400.5, 900.25, 1400.5, 2400.0], "float32")
        data.attrs["fwhm"] = np.array([5.5, 5.6, 5.7, 5.8], "float32")
        data.attrs["good_wavelengths"] = np.array([1, 1, 0, 1], "uint8")
        data.attrs["_FillValue"] = np.float32(-9999)
        empty = np.zeros((height, width), "uint8")
        empty[5, 0] = 1
        fields["nodata_pixels"] = empty
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(
            f'GROUP=GridStructure\n\tGROUP=GRID_1\n\t\tGridName="HYP"\n\t\tXDim={width}\n\t\tYDim={height}\n'
            "\t\tUpperLeftPointMtrs=(300000.000000,4000000.000000)\n"
            f"\t\tLowerRightMtrs=({300000 + 30 * width}.000000,{4000000 - 30 * height}.000000)\n"
            "\t\tProjection=HE5_GCTP_UTM\n"
        )
    return path
