"""Picture of the sample for the README: LR-HSI, fused and reference side by side as RGB, in one stretch.

emrdiff fuse sample_data/lr_hsi.hdr sample_data/hr_msi.tif fused.tif
python sample_data/make_picture.py fused.tif sample_data/sample.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from emrdiff_cli.raster.reading import ignoring_missing_georeference, open_raster

FOLDER = Path(__file__).parent
RGB_NM = (650.0, 550.0, 465.0)
ZOOM = 2
GAP = 8


def read_rgb(path: Path) -> NDArray[np.float32]:
    """The bands nearest to RGB_NM, (3, H, W), in reflectance."""
    with open_raster(path) as reader:
        wavelengths = np.array(reader.info.bands.wavelengths_nm)
        return reader.read(bands=[int(np.abs(wavelengths - nm).argmin()) for nm in RGB_NM])


def picture(fused: Path) -> NDArray[np.uint8]:
    """Three panels (3, H, W) between white gaps, stretched to the reference's 1st and 99th percentiles."""
    reference, images = read_rgb(FOLDER / "hr_hsi.tif"), [read_rgb(FOLDER / "lr_hsi.bsq"), read_rgb(fused)]
    low, high = np.percentile(reference, (1, 99), axis=(1, 2))[:, :, None, None]
    side = reference.shape[1] * ZOOM
    panels = []
    for image in (*images, reference):
        large = image.repeat(side // image.shape[1], axis=1).repeat(side // image.shape[2], axis=2)
        scaled = 255 * np.clip((large - low) / (high - low), 0, 1) ** 0.7
        panels += [scaled, np.full((3, side, GAP), 255.0)]
    return np.concatenate(panels[:-1], axis=2).round().astype(np.uint8)


def main() -> None:
    """Write the picture as PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("fused", type=Path)
    parser.add_argument("png", type=Path)
    options = parser.parse_args()
    pixels = picture(options.fused)
    profile = {"driver": "PNG", "count": 3, "height": pixels.shape[1], "width": pixels.shape[2]}
    with ignoring_missing_georeference(), rasterio.open(options.png, "w", dtype="uint8", **profile) as png:
        png.write(pixels)


if __name__ == "__main__":
    main()
