"""An image file of a product, opened by the driver that the product names, no other, and looked over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rasterio

from emrdiff_cli.products.product import Driver
from emrdiff_cli.raster.envi import check_text, find_header
from emrdiff_cli.raster.envi_header import as_gdal_reads
from emrdiff_cli.raster.sizes import check_envi, check_geotiff, check_jpeg2000


def open_image(image: Path, driver: Driver) -> Any:
    """A dataset of rasterio. Raises InputError where it is cut short, and what rasterio raises."""
    if driver == "JP2OpenJPEG":
        check_jpeg2000(image)
    header = None
    if driver == "ENVI":
        check_text(image)
        header = find_header(image)
    with as_gdal_reads(image, header) as source:
        dataset = rasterio.open(source.absolute(), driver=driver, sharing=False)
    try:
        if driver == "GTiff":
            check_geotiff(image, dataset)
        elif driver == "ENVI":
            check_envi(image, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset
