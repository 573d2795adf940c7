"""A product's own masks on the grid of its images, by windows; a coarser one has each of its pixels on several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.product import Product
from emrdiff_cli.raster.product_image import open_image
from emrdiff_cli.raster_info import RasterInfo, Window

Mask = NDArray[np.bool_]

_NEAR = 1e-3  # image pixels that a mask's corner may lie off: the rounding of coordinates
_PIXELS_AT_ONCE = 2**24


class QualityMask:
    """Some classes of a product's masks, over an open image of it.

    Raises InputError where a mask's file is missing, lies otherwise, or (when it is read) holds values that its
    format does not name; and what rasterio raises where it cannot be opened.
    """

    def __init__(self, product: Product, classes: Sequence[str], image: Any) -> None:
        self._masks = {name: product.masks[name] for name in classes}
        self._size = image.height, image.width
        for name, mask in self._masks.items():
            if not mask.path.is_file():
                raise InputError(
                    f"{product.path}: its mask of {name}, {mask.path.name}, is not there: unpack the whole "
                    f"product, or leave {name} out of --mask"
                )
        with ExitStack() as stack:
            self._open = {
                path: stack.enter_context(open_image(path, product.driver))
                for path in {mask.path for mask in self._masks.values()}
            }
            self._place = {path: _place(path, mask, image) for path, mask in self._open.items()}
            for name, mask in self._masks.items():
                for band in mask.bands:
                    _refuse_no_band(name, mask.path, band, self._open[mask.path])
            self._close = stack.pop_all()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are masked."""
        return tuple(self._masks)

    def read(self, window: Window) -> dict[str, Mask]:
        """Where each class is, (rows, columns) of a window of the image."""
        stored: dict[tuple[Path, int], NDArray[Any]] = {}
        found = {}
        for name, mask in self._masks.items():
            place = self._place[mask.path]
            layers = [(mask.path, band) for band in mask.bands]
            stored |= {each: self._stored(*each, window) for each in layers if each not in stored}
            coarse: Mask = reduce(np.logical_or, (mask.found(stored[each]) for each in layers))
            for axis, along in enumerate((window.rows, window.cols)):
                first, last = place.under(along, self._open[mask.path].shape[axis])
                origin = first[0]
                fine = coarse.take(first - origin, axis=axis)
                # A pixel of the image that lies on two of the mask is hidden by either.
                coarse = fine | coarse.take(last - origin, axis=axis) if place.shift else fine
            found[name] = coarse
        return found

    def hidden(self, window: Window) -> Mask:
        """Where any of the classes is, (rows, columns) of a window of the image."""
        return reduce(np.logical_or, self.read(window).values())

    def shares(self, area: Window) -> dict[str, float]:
        """The share of an area of the image that each class takes."""
        step = max(1, _PIXELS_AT_ONCE // area.width)
        counts = dict.fromkeys(self._masks, 0)
        for top in range(area.row, area.rows.stop, step):
            strip = Window(top, area.col, min(step, area.rows.stop - top), area.width)
            for name, mask in self.read(strip).items():
                counts[name] += int(mask.sum())
        return {name: count / (area.height * area.width) for name, count in counts.items()}

    def _stored(self, path: Path, band: int, window: Window) -> NDArray[Any]:
        """The mask's own pixels that lie under a window of the image."""
        (top, bottom), (left, right) = (
            (int(first[0]), int(last[-1]) + 1)
            for first, last in map(
                self._place[path].under, (window.rows, window.cols), self._open[path].shape
            )
        )
        place = GdalWindow(left, top, right - left, bottom - top)
        # As `ProductDataset` reads: of its own threads, those that cannot decode say so nowhere.
        with rasterio.Env(GDAL_NUM_THREADS=1):
            values: NDArray[Any] = self._open[path].read(band, window=place)
        return values

    def close(self) -> None:
        """Close the files."""
        self._close.close()


def mask_note(info: RasterInfo, shares: Mapping[str, float]) -> str:
    """The classes that a product's own masks hide, and their shares, in words."""
    classes = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    return f"masked in {info.tags.get('product_id', info.path.name)} ({info.driver}): {classes}"


class _Place(NamedTuple):
    """How a mask lies on its image: whole pixels of the image along each of its own, `shift` of one before them."""

    ratio: int
    shift: float

    def under(self, along: slice, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The first and the last pixel, of a mask of this size, under each of some pixels of the image."""
        edges = (np.arange(along.start, along.stop + 1) + self.shift) / self.ratio
        first, last = np.floor(edges[:-1]), np.ceil(edges[1:]) - 1
        return first.astype(np.intp), np.minimum(last, size - 1).astype(np.intp)


def _place(path: Path, mask: Any, image: Any) -> _Place:
    """How a mask lies on the image. Raises InputError where it is by no whole pixels, or elsewhere.

    Landsat's PAN begins half a pixel inside of the bands of 30 m, and of their mask.
    """
    between = ~image.transform @ mask.transform
    ratio = max(1, round(between.a))
    covered = [
        0 <= ratio * theirs - ours < ratio
        for theirs, ours in ((mask.height, image.height), (mask.width, image.width))
    ]
    shift = 0.5 if ratio > 1 and abs(between.c + 0.5) < _NEAR else 0.0
    expected = (ratio, 0, -shift, 0, ratio, -shift)
    if (
        mask.crs != image.crs
        or not np.allclose(between[:6], expected, rtol=0, atol=_NEAR)
        or not all(covered)
    ):
        raise InputError(
            f"{path}: does not lie on the pixels of the image that it masks: one is of another scene, or cut: get "
            "the product again"
        )
    return _Place(int(ratio), shift)


def _refuse_no_band(name: str, path: Path, band: int, mask: Any) -> None:
    if mask.count < band or mask.dtypes[band - 1] not in ("uint8", "uint16"):
        raise InputError(
            f"{path}: has no band {band} of whole numbers, the mask of {name}: get the product again"
        )
