"""A raster in memory, as it is laid down in a file and read back: what is handed in takes the road of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.raster.metadata import fits_dtype
from emrdiff_cli.raster.nodata import is_nodata
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid

PLAIN = {"COMPRESS": "NONE"}
"""Creation options of rasters that are read once, and then gone."""


@dataclass(frozen=True)
class Image:
    """Stored values (bands, rows, columns) and their description: physical value = stored x `scale` + `offset`.

    `nodata` is a stored value; in floats NaN is a hole as well.
    """

    values: NDArray[Any]
    grid: Grid
    bands: Bands
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)

    def as_float32(self) -> Image:
        """The same image in float32, in which holes are NaN."""
        values = self.values.astype(np.float32)
        if self.nodata is not None and fits_dtype(self.nodata, self.values.dtype.name):
            values[is_nodata(self.values, self.nodata)] = np.nan
        return Image(values, self.grid, self.bands, float("nan"), self.scale, self.offset, self.tags)

    def write(self, path: Path) -> None:
        """Write a GeoTIFF. Raises WriteError, UsageError as `VerifiedWriter` does."""
        spec = RasterSpec(
            grid=self.grid,
            bands=self.bands,
            dtype=self.values.dtype.name,
            nodata=self.nodata,
            scale=self.scale,
            offset=self.offset,
            scale_recorded=(self.scale, self.offset) != (1.0, 0.0),
            tags=self.tags,
            creation_options=PLAIN,
            overviews=False,
        )
        with VerifiedWriter(path, spec) as writer:
            writer.append_stored(self.values)


def read_image(path: Path) -> Image:
    """Read a raster as stored in float32, NaN in its holes."""
    with open_raster(path) as reader:
        info, stored = reader.info, reader.read_stored()
        values = stored.astype(np.float32)
        values[~reader.valid(stored)] = np.nan
    return Image(values, info.grid, info.bands, float("nan"), info.scale, info.offset, info.tags)
