"""Specification of a raster to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.metadata import fits_dtype
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo

Driver = Literal["GTiff", "ENVI", "COG"]

RASTER_DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)

_OTHER_KINDS = {
    *(".png", ".jpg", ".jpeg", ".jp2", ".gif", ".pdf", ".html", ".txt", ".csv", ".json", ".geojson", ".xml"),
    *(".mat", ".h5", ".hdf", ".hdf5", ".he5", ".nc", ".npy", ".npz", ".zarr", ".vrt", ".zip", ".gz"),
}

_MOST_TIFF_BANDS = 65535

_DTYPES = {
    "GTiff": RASTER_DTYPES,
    "COG": RASTER_DTYPES,
    "ENVI": ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"),
}


@dataclass(frozen=True)
class RasterSpec:
    """Grid, bands and storage of an output: stored value = (physical value - `offset`) / `scale`.

    `nodata` is a stored value. `scale_recorded` writes a scale of 1 down too. `band_tags` have a value for each
    band, "" for none, `creation_options` are GDAL's, and win over the defaults. Raises UsageError where the format
    cannot hold what is asked.
    """

    grid: Grid
    bands: Bands
    dtype: str
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    scale_recorded: bool = False
    driver: Driver = "GTiff"
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overviews: bool | None = None

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES[self.driver]:
            known = ", ".join(_DTYPES[self.driver])
            raise UsageError(f"{self.driver} cannot hold dtype {self.dtype}: choose one of {known}")
        if self.nodata is not None and not fits_dtype(self.nodata, self.dtype):
            raise UsageError(
                f"nodata {self.nodata:g} is no {self.dtype} value: choose another nodata or dtype"
            )
        if not np.isfinite([self.scale, self.offset]).all() or self.scale == 0:
            raise UsageError(f"scale {self.scale} and offset {self.offset} must be finite, the scale not 0")
        if self.driver != "ENVI" and self.bands.count > _MOST_TIFF_BANDS:
            raise UsageError(
                f"a GeoTIFF holds {_MOST_TIFF_BANDS} bands at most, not {self.bands.count}: write ENVI (-f ENVI)"
            )
        if self.driver == "ENVI" and self.overviews:
            raise UsageError("--overviews: an ENVI file holds none: write a GeoTIFF (-f GTiff or -f COG)")
        if self.wide_integers and self.overviews:
            raise UsageError(
                f"--overviews: {self.dtype} values have none: write another type, or leave it out"
            )
        lies = self.grid.transform
        if self.driver == "ENVI" and (lies.b != 0 or lies.d != 0 or lies.a < 0):
            raise UsageError(
                "ENVI cannot hold a rotated, sheared or mirrored grid: write a GeoTIFF (-f GTiff)"
            )

    @property
    def wide_integers(self) -> bool:
        """Whether values are integers of 64 bits: of those with nodata GDAL 3.10 makes overviews without end."""
        return self.dtype in ("int64", "uint64")

    @property
    def undeclared_nan(self) -> bool:
        """Whether NaN may be among the values that no nodata value declares."""
        return self.nodata is None and np.dtype(self.dtype).kind == "f"

    @classmethod
    def like(cls, info: RasterInfo, **changes: Any) -> Self:
        """Describe a raster like an existing one, in its format, except for `changes`."""
        same: dict[str, Any] = {
            "grid": info.grid,
            "bands": info.bands,
            "dtype": info.dtype,
            "nodata": info.nodata,
            "scale": info.scale,
            "offset": info.offset,
            "scale_recorded": info.scale_recorded,
            "driver": info.driver,
            "tags": info.tags,
            "band_tags": info.band_tags,
        }
        return cls(**(same | changes))


def driver_of(output: Path) -> Driver:
    """The format that an output's name asks for. Raises UsageError for a header's or another kind of file's."""
    suffix = output.suffix.lower()
    if suffix == ".hdr":
        raise UsageError(
            f"{output}: name the data file, e.g. {output.with_suffix('.bsq').name}; its header goes beside it"
        )
    if suffix in _OTHER_KINDS:
        raise UsageError(
            f"{output}: is no raster's name: GeoTIFF ({output.stem}.tif) and ENVI ({output.stem}.bsq) can be "
            "written"
        )
    return "ENVI" if suffix in (".bsq", ".bil", ".bip", ".dat", ".img") else "GTiff"
