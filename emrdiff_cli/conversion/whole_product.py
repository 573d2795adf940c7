"""Products with bands on several grids as one raster: Sentinel-2 of 10, 20 and 60 m, Landsat of 15 and 30 m."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.conversion.image import ConversionOptions, Image
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.sharpening import sharpened
from emrdiff_cli.products.manifest import refuse_spoilt_images
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import plain_classes
from emrdiff_cli.products.product import ProductGrid
from emrdiff_cli.products.registry import read_bands
from emrdiff_cli.raster.quality_mask import mask_note
from emrdiff_cli.raster.reading import RasterReader, bounded_cache, open_product
from emrdiff_cli.raster_info import Bands, RasterInfo, Window

Field = NDArray[np.float32]

RESOLUTION_TAG = "native_resolution_m"

_ALL = {"all": 30.0, "all60": math.inf}  # m: bands as coarse as that
_STORED_BYTES = 2  # of uint16, as these products are stored
_ROWS = 64  # handed on at a time


class _Choice(NamedTuple):
    """A grid, and those of its bands that are wanted, by name."""

    grid: ProductGrid
    names: tuple[str, ...]


@contextmanager
def open_whole(source: Path, grids: Sequence[ProductGrid], options: ConversionOptions) -> Iterator[Image]:
    """Open a product's bands of all grids that are asked for, on one of them, by wavelength.

    The bands of that grid are as they are stored; coarser ones are kriged from these. Raises UsageError for a
    resolution or a band that the product has not, InputError as `open_raster`.
    """
    fine, *coarse = _chosen(source, grids, options)
    classes = plain_classes(options.mask)
    choose_masks(classes, [source])
    products = [read_bands(source, names) for names in (fine.grid.bands, *(each.names for each in coarse))]
    if options.extent is None:
        for product in products if coarse else [read_bands(source, fine.names)]:
            refuse_spoilt_images(product, masks=bool(classes))
    with ExitStack() as stack:
        # A mask lies on the fine grid, and what has no fine pixels comes out as a hole in the other bands too.
        readers = [
            stack.enter_context(open_product(product, mask=() if i else classes))
            for i, product in enumerate(products)
        ]
        msi, *lrs = readers
        stack.enter_context(bounded_cache(_cache_megabytes(readers)))
        own = [i for i, name in enumerate(msi.info.bands.names or ()) if name in fine.names]
        notes: list[str] = []
        order, bands = _by_wavelength([msi.info.bands.take(own), *(lr.info.bands for lr in lrs)])
        resolutions = [f"{choice.grid.metres:g}" for choice in (fine, *coarse) for _ in choice.names]
        info = replace(
            _stored_as([msi.info, *(lr.info for lr in lrs)]),
            bands=bands,
            band_tags={RESOLUTION_TAG: tuple(resolutions[i] for i in order)},
        )
        part = partial(_rows, msi, own, lrs, order, notes) if lrs else partial(_stored_rows, msi, own)
        whole = Window(0, 0, info.grid.height, info.grid.width)
        yield Image(
            info,
            partial(part, whole),
            "generic",
            [source, *chain.from_iterable(product.files for product in products)],
            notes=notes,
            part=part,
            snap=math.lcm(*(round(choice.grid.metres / fine.grid.metres) for choice in coarse)),
            physical=bool(lrs),
            counted=bool(classes),
            told=partial(masked, msi),
        )


def _cache_megabytes(readers: Sequence[RasterReader]) -> int:
    """What holds a row of blocks of all bands: of JPEG 2000 they are high, and slow to decode again."""
    row = sum(
        reader.block_shape[0] * reader.info.grid.width * reader.info.bands.count * _STORED_BYTES
        for reader in readers
    )
    return max(64, -(-row // 2**20))


def masked(reader: RasterReader, window: Window | None = None) -> tuple[str, ...]:
    """What of a raster, or of a window of it, its own masks hide, in words."""
    return tuple(mask_note(reader.info, reader.mask_shares(window)) for _ in reader.given_mask[:1])


def _chosen(source: Path, grids: Sequence[ProductGrid], options: ConversionOptions) -> list[_Choice]:
    """The grid that is written, then the coarser ones with bands that are wanted."""
    known = ", ".join(f"{grid.metres:g}" for grid in grids)
    metres = options.resolution or next((g.metres for g in grids if len(g.bands) > 1), grids[0].metres)
    on = [grid for grid in grids if grid.metres >= metres]
    if not on or on[0].metres != metres:
        raise UsageError(f"--resolution {metres:g}: {source.name} has bands of {known} m: give one of these")
    found = [_Choice(grid, _wanted(grid, on[0], options.bands)) for grid in on]
    if options.bands is not None and options.bands not in _ALL:
        missing = set(_named(options.bands)) - {name for choice in found for name in choice.names}
        if missing:
            listed = ", ".join(name for grid in on for name in (*grid.bands, *grid.on_request))
            raise UsageError(
                f"--bands {options.bands}: no {', '.join(sorted(missing))}: at {metres:g} m or coarser "
                f"{source.name} has {listed}; give names of these, `all` or `all60`"
            )
    return [found[0], *(choice for choice in found[1:] if choice.names)]


def _wanted(grid: ProductGrid, fine: ProductGrid, asked: str | None) -> tuple[str, ...]:
    """The bands of a grid that are asked for; where none are, those of the fine one, of a PAN's the coarser too."""
    if asked is not None and asked not in _ALL:
        return tuple(name for name in (*grid.bands, *grid.on_request) if name in _named(asked))
    if grid is fine:
        return grid.bands
    coarsest = _ALL.get(asked or "all") if asked or len(fine.bands) == 1 else 0.0
    return grid.bands if grid.metres <= (coarsest or 0.0) else ()


def _named(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _by_wavelength(groups: Sequence[Bands]) -> tuple[list[int], Bands]:
    """Positions of the bands of all groups in the order of their wavelengths, and these bands."""
    joined = Bands(
        count=sum(group.count for group in groups),
        wavelengths_nm=tuple(nm for group in groups for nm in group.wavelengths_nm or ()),
        fwhm_nm=tuple(nm for group in groups for nm in group.fwhm_nm or ()),
        names=tuple(name for group in groups for name in group.names or ()),
    )
    order = np.argsort(joined.wavelengths_nm or (), kind="stable").tolist()
    return order, joined.take(order)


def _stored_as(infos: Sequence[RasterInfo]) -> RasterInfo:
    """The first of the rasters; its values float32 where they are not all stored alike."""
    first = infos[0]
    ways = {(info.dtype, info.scale, info.offset, info.nodata) for info in infos}
    if len(ways) == 1:
        return first
    return replace(first, dtype="float32", scale=1.0, offset=0.0, nodata=math.nan)


def _stored_rows(msi: RasterReader, own: Sequence[int], window: Window) -> Iterator[NDArray[Any]]:
    for rows in _windows(window):
        yield msi.read_stored(rows, own)


def _rows(
    msi: RasterReader,
    own: Sequence[int],
    lrs: Sequence[RasterReader],
    order: Sequence[int],
    notes: list[str],
    window: Window,
) -> Iterator[Field]:
    """Physical values of all bands on a window of the fine grid, by strips of rows."""

    def note(what: str) -> None:
        if what not in notes:
            notes.append(what)

    coarse = [_Rows(sharpened(lr, msi, window, note)) for lr in lrs]
    for rows in _windows(window):
        parts = [msi.read(rows, own)] if own else []
        parts += [each.take(rows.height) for each in coarse]
        yield np.concatenate(parts)[list(order)]


def _windows(window: Window) -> Iterator[Window]:
    for top in range(window.row, window.rows.stop, _ROWS):
        yield window._replace(row=top, height=min(_ROWS, window.rows.stop - top))


class _Rows:
    """Rows that come in pieces, handed on in others."""

    def __init__(self, pieces: Iterator[Field]) -> None:
        self._pieces = pieces
        self._held: Field | None = None

    def take(self, count: int) -> Field:
        """The next rows (B, count, W)."""
        held = [] if self._held is None else [self._held]
        while sum(piece.shape[1] for piece in held) < count:
            held.append(next(self._pieces))
        rows = np.concatenate(held, axis=1)
        self._held = rows[:, count:]
        return rows[:, :count]
