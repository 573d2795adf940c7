"""What a product is once its metadata are read: files of bands, and all that is known of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emrdiff_cli.products.mask_classes import MaskClass
from emrdiff_cli.raster_info import Bands

Driver = Literal["GTiff", "JP2OpenJPEG", "ENVI"]


@dataclass(frozen=True)
class Layer:
    """One band of an image file, counted from 1."""

    path: Path
    band: int = 1


@dataclass(frozen=True)
class BandResponse:
    """A band's spectral response: `values` from `start_nm` on, `step_nm` apart."""

    name: str
    start_nm: float
    step_nm: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class ProductGrid:
    """One of the grids that a product has bands on: its pixels' size on the ground, and its bands' names.

    Bands in `on_request` are on it as well, and are meant only where they are named.
    """

    metres: float
    bands: tuple[str, ...]
    on_request: tuple[str, ...] = ()


@dataclass(frozen=True)
class Product:
    """An image of bands that lie on one grid; physical value = stored value x scale + offset, by band.

    `name` is the mission's and level's, `path` a file from which the same product is recognised, `files` those
    that decide what is read: the images, the metadata, and `beside`, what these are read with. Of `nodata` the
    first is the declared one, the others make pixels invalid as well. `size`: rows and columns by the metadata;
    None where they tell none. `tags` are the scene's, `band_tags` the bands', as those of `RasterInfo`. `masks`:
    its own, by class, in files that may be missing; where it has none, `no_masks` says why. `responses` are those
    that the metadata tell, of bands on other grids as well.
    """

    name: str
    path: Path
    metadata: Path
    driver: Driver
    layers: tuple[Layer, ...]
    bands: Bands
    nodata: tuple[float, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    size: tuple[int, int] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, MaskClass] = field(default_factory=dict)
    no_masks: str = "none of this kind of product are known here"
    responses: tuple[BandResponse, ...] = ()
    beside: tuple[Path, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """The image files, each once."""
        return tuple(dict.fromkeys(layer.path for layer in self.layers))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that decide what is read: the images, the masks that are there, then all metadata."""
        masks = {mask.path for mask in self.masks.values()}
        return (*self.images, *sorted(path for path in masks if path.is_file()), self.metadata, *self.beside)

    @property
    def masks_there(self) -> tuple[str, ...]:
        """Classes whose mask's file is there."""
        return tuple(name for name, mask in self.masks.items() if mask.path.is_file())
