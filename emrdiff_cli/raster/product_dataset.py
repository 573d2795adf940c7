"""A product's image files as one dataset, with the metadata of the product in place of the files' own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.manifest import refuse_other_sizes
from emrdiff_cli.products.product import Product
from emrdiff_cli.raster.georeference import georeference
from emrdiff_cli.raster.metadata import envi_lists
from emrdiff_cli.raster.product_image import open_image
from emrdiff_cli.raster.quality_mask import QualityMask
from emrdiff_cli.raster_info import Window


class ProductDataset:
    """The bands of a product as `RasterReader` reads those of a file: what it asks a dataset of rasterio for.

    Bands of different scales are given as physical values, float32, NaN where invalid. Pixels of the `masked`
    classes, which the product has, are invalid too. Raises InputError where the images or masks are not what the
    metadata say, and what rasterio raises where they cannot be opened.
    """

    def __init__(self, product: Product, masked: Sequence[str] = ()) -> None:
        self.product = product
        self._layers = [(layer.path, layer.band) for layer in product.layers]
        refuse_other_sizes(product, masked)
        with ExitStack() as stack:
            self._open = {
                image: stack.enter_context(open_image(image, product.driver)) for image in product.images
            }
            _refuse_others(product, self._open)
            first = self._open[product.images[0]]
            self.mask = QualityMask(product, masked, first) if masked else None
            """The masks that are applied; None: none."""
            self._close = stack.pop_all()
        self.height, self.width = first.height, first.width
        self.transform, self.crs = _place(product.images[0], first)
        self.gcps, self.rpcs = first.gcps, first.rpcs
        self.driver = product.name
        self.count = len(self._layers)
        self.indexes = tuple(range(1, self.count + 1))
        self._physical = len(set(product.scales)) > 1 or len(set(product.offsets)) > 1
        self.dtypes = ("float32",) * self.count if self._physical else self._of_bands("dtypes")
        self.scales = (1.0,) * self.count if self._physical else product.scales
        self.offsets = (0.0,) * self.count if self._physical else product.offsets
        self.nodatavals = ((np.nan if self._physical else product.nodata[0]),) * self.count
        self.block_shapes = self._of_bands("block_shapes")
        self.mask_flag_enums = self._of_bands("mask_flag_enums")
        self.colorinterp = (ColorInterp.gray,) * self.count
        self.descriptions = product.bands.names or (None,) * self.count
        self.units = product.bands.units or (None,) * self.count

    def _of_bands(self, name: str) -> tuple[Any, ...]:
        return tuple(getattr(self._open[image], name)[band - 1] for image, band in self._layers)

    def tags(self, bidx: int = 0, ns: str | None = None) -> dict[str, str]:
        """The scene's pairs, those of a band from 1, or in the domain of ENVI the lists of all bands."""
        if ns is not None:
            return envi_lists(self.product.bands) if ns == "ENVI" and not bidx else {}
        if not bidx:
            return dict(self.product.tags)
        pairs = {key: values[bidx - 1] for key, values in self.product.band_tags.items()}
        return {key: value for key, value in pairs.items() if value}

    def read(self, indexes: Sequence[int], window: Any) -> NDArray[Any]:
        """Stored values, physical ones where the bands' scales differ, (bands, rows, columns).

        Whatever is invalid has the declared nodata, so that it is so in copies of the stored values too.
        """
        stored = self._read("read", indexes, window)
        declared, *further = self.product.nodata
        hidden = self._hidden(window)
        if not self._physical:
            if further:
                stored[np.isin(stored, further)] = declared
            if hidden is not None:
                stored[:, hidden] = declared
            return stored
        values = np.empty(stored.shape, np.float32)
        for band, index, into in zip(stored, indexes, values, strict=True):
            scale, offset = self.product.scales[index - 1], self.product.offsets[index - 1]
            into[:] = np.multiply(band, scale, dtype=np.float64) + offset
            into[np.isin(band, self.product.nodata)] = np.nan
        if hidden is not None:
            values[:, hidden] = np.nan
        return values

    def _hidden(self, window: Any) -> NDArray[np.bool_] | None:
        if self.mask is None:
            return None
        places = (window.row_off, window.col_off, window.height, window.width)
        return self.mask.hidden(Window(*map(int, places)))

    def read_masks(self, indexes: Sequence[int], window: Any) -> NDArray[Any]:
        """The files' own masks, 0 where invalid, (bands, rows, columns)."""
        return self._read("read_masks", indexes, window)

    def _read(self, method: str, indexes: Sequence[int], window: Any) -> NDArray[Any]:
        wanted = [self._layers[index - 1] for index in indexes]
        # Of its own threads, those that cannot decode a tile of JPEG 2000 leave it 0 and say so nowhere.
        with rasterio.Env(GDAL_NUM_THREADS=1):
            parts = [
                getattr(self._open[image], method)(indexes=[band for _, band in of_one], window=window)
                for image, of_one in groupby(wanted, key=lambda layer: layer[0])
            ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Close the files."""
        self._close.close()
        if self.mask is not None:
            self.mask.close()


def _place(image: Path, dataset: Any) -> tuple[Affine, CRS | None]:
    """The transform and the CRS of an image; of ENVI put right where GDAL misreads its header."""
    if dataset.driver != "ENVI":
        return dataset.transform, dataset.crs
    transform, wkt = georeference(image, dataset)
    return transform, None if wkt is None else CRS.from_wkt(wkt)


def _refuse_others(product: Product, opened: dict[Path, Any]) -> None:
    """Raise InputError where images do not have the bands, the size or the grid that the product has."""
    first = opened[product.images[0]]
    for image, dataset in opened.items():
        bands = sum(layer.path == image for layer in product.layers)
        size = product.size or (first.height, first.width)
        if (dataset.count, dataset.height, dataset.width) != (bands, *size):
            raise InputError(
                f"{image}: has {dataset.count} bands of {dataset.height} x {dataset.width} pixels, "
                f"{product.metadata.name} says {bands} of {size[0]} x {size[1]}: one is of another scene, or cut: "
                "get the product again, or give what was made of it another name"
            )
        same = (dataset.transform, dataset.crs, dataset.dtypes[0])
        if same != (first.transform, first.crs, first.dtypes[0]):
            raise InputError(
                f"{image}: lies on another grid, or is of another type, than {product.images[0].name}: get the "
                "product again"
            )
