"""The products that are opened as they are shipped, told by their files' names and then by their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from emrdiff_cli.errors import InputError
from emrdiff_cli.products import aviris_classic, desis, enmap, hyperion, landsat, sentinel2
from emrdiff_cli.products.product import Product, ProductGrid

_KINDS: tuple[ModuleType, ...] = (desis, enmap, sentinel2, landsat, hyperion, aviris_classic)
"""Each has `metadata_of(file)`, the metadata of the product that a file is the image or the metadata of, by its
name; `metadata_in(folder)`, all that lie in a folder; and `read(metadata)`, the product. The first two give
nothing where it is not their kind of product; EnMAP's, which know images under other names, come after DESIS'. A
kind with bands on several grids has `grids(metadata)` too, and reads bands of one of them by
`read(metadata, names)`."""
_MOST_ENTRIES = 1000  # of a folder: unpacked products have some dozens


def recognise(path: Path) -> Product | None:
    """The product that a path names: an image, its metadata, its folder, or the folder that it was unpacked to.

    None where it is none. Raises InputError where it is one that cannot be used: of a wrong level, with files
    missing, cut short or of another scene, or where a folder holds several.
    """
    found = _found(path)
    return None if found is None else _read(*found)


def grids_of(path: Path) -> tuple[ProductGrid, ...]:
    """The grids, finest first, that the product of a path has bands on; none where it has one, or is no product.

    Raises InputError as `recognise`.
    """
    found = _found(path)
    if found is None or not hasattr(found[0], "grids"):
        return ()
    grids: tuple[ProductGrid, ...] = found[0].grids(found[1])
    return grids


def read_bands(path: Path, names: Sequence[str]) -> Product:
    """The bands of these names, all on one of `grids_of` a path, as a product. Raises InputError as `recognise`."""
    found = _found(path)
    if found is None or not hasattr(found[0], "grids"):
        raise ValueError(f"{path} has no grids")
    product: Product = found[0].read(found[1], tuple(names))
    return product


def _found(path: Path) -> tuple[ModuleType, Path] | None:
    try:
        if path.is_dir():
            return _in_folder(path)
        return _of_file(path) if path.is_file() else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _of_file(path: Path) -> tuple[ModuleType, Path] | None:
    for kind in _KINDS:
        metadata = kind.metadata_of(path)
        if metadata is not None:
            return kind, metadata
    return None


def _in_folder(folder: Path) -> tuple[ModuleType, Path] | None:
    """The one product in a folder, or in the folders in it."""
    found = list(_all_in(folder))
    if not found:
        found = [each for below in _folders(folder) for each in _all_in(below)]
    if len(found) > 1:
        names = ", ".join(str(metadata.relative_to(folder)) for _, metadata in found[:3])
        more = "" if len(found) <= 3 else f" and {len(found) - 3} more"
        raise InputError(f"{folder}: holds {len(found)} products: name one, by {names}{more}")
    return found[0] if found else None


def _all_in(folder: Path) -> Iterator[tuple[ModuleType, Path]]:
    for kind in _KINDS:
        yield from ((kind, metadata) for metadata in kind.metadata_in(folder))


def _folders(folder: Path) -> list[Path]:
    below = [entry for _, entry in zip(range(_MOST_ENTRIES), folder.iterdir(), strict=False)]
    return sorted(entry for entry in below if entry.is_dir())


def _read(kind: ModuleType, metadata: Path) -> Product:
    product: Product = kind.read(metadata)
    return product
