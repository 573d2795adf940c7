"""Pictures as PNG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from emrdiff_cli.raster.reading import ignoring_missing_georeference


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode RGB or RGBA, (3 or 4, rows, columns), as the bytes of a PNG file."""
    count, height, width = pixels.shape
    profile = {"driver": "PNG", "count": count, "height": height, "width": width, "dtype": "uint8"}
    with ignoring_missing_georeference(), MemoryFile() as file:
        with file.open(**profile, ZLEVEL=9) as dataset:
            dataset.write(pixels)
        return bytes(file.read())
