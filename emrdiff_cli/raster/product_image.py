"""An image file of a product, opened by the driver that the product names, no other, and looked over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rasterio

from emrdiff_cli.products.product import Driver
from emrdiff_cli.raster.sizes import check_geotiff, check_jpeg2000


def open_image(image: Path, driver: Driver) -> Any:
    """A dataset of rasterio. Raises InputError where it is cut short, and what rasterio raises."""
    if driver == "JP2OpenJPEG":
        check_jpeg2000(image)
    dataset = rasterio.open(image.absolute(), driver=driver, sharing=False)
    try:
        if driver == "GTiff":
            check_geotiff(image, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset
