"""Sizes and checksums in a SAFE's `manifest.safe`: JPEG 2000 of flipped bytes may be decoded silently."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.metadata_xml import read_xml
from emrdiff_cli.products.product import Product
from emrdiff_cli.products.registry import recognise

WORTH_READ = 0.5
"""Share of an image that is read twice, from which on its checksum takes less than 2 % of the time to decode it."""

_NAME = "manifest.safe"
_KINDS = ("md5", "sha256", "sha512", "sha3_256")  # the first and the last are in use
_BYTES_AT_ONCE = 2**24
_WAY_OUT = f"get the product again, or take {_NAME} away if the change is meant"


class _Shipped(NamedTuple):
    """A file as it was shipped: its bytes, and the algorithm, as hashlib names it, with the checksum.

    None and "" where they are not stated.
    """

    size: int | None
    kind: str
    checksum: str


def refuse_other_sizes(product: Product, masked: Iterable[str] = ()) -> None:
    """Raise InputError where an image, or a mask of these classes, has not as many bytes as the manifest says.

    Silent where there is no manifest, or none of the file in it: SAFE alone has one.
    """
    shipped = _shipped(product)
    for file in (*product.images, *{product.masks[name].path for name in masked}):
        _refuse_other_size(file, shipped.get(file.resolve()))


def refuse_spoilt(path: Path, *, masks: bool) -> None:
    """Raise InputError where the path is a product's and an image of it is not as shipped, by the checksum.

    With `masks` these too. Raises as `recognise`; silent where `refuse_other_sizes` is.
    """
    product = recognise(path)
    if product is not None:
        refuse_spoilt_images(product, masks=masks)


def refuse_spoilt_images(product: Product, *, masks: bool) -> None:
    """The same of a product that was read."""
    shipped = _shipped(product)
    of_masks = {mask.path for mask in product.masks.values() if mask.path.is_file()} if masks else ()
    for file in (*product.images, *sorted(of_masks)):
        known = shipped.get(file.resolve())
        _refuse_other_size(file, known)
        if known is not None and known.kind and _checksum(file, known.kind) != known.checksum:
            raise InputError(f"{file}: is not as it was shipped, by the checksum in {_NAME}: {_WAY_OUT}")


def _refuse_other_size(file: Path, known: _Shipped | None) -> None:
    wanted = None if known is None or not file.is_file() else known.size
    if wanted is not None and (size := file.stat().st_size) != wanted:
        raise InputError(
            f"{file}: has {size} bytes, {wanted} by {_NAME}: it is cut short or changed: {_WAY_OUT}"
        )


def _shipped(product: Product) -> Mapping[Path, _Shipped]:
    """What the manifest says of the files that it lists; nothing without one."""
    manifest = product.metadata.parent / _NAME
    if not manifest.is_file() or not manifest.stat().st_size:
        return {}
    return dict(_listed(manifest))


def _listed(manifest: Path) -> Iterator[tuple[Path, _Shipped]]:
    for stream in read_xml(manifest).iter("byteStream"):
        place, stated = stream.find("fileLocation"), stream.find("checksum")
        if place is None:
            continue
        size, kind, checksum = stream.get("size") or "", "", ""
        if stated is not None and stated.text:
            kind = re.sub(r"[^a-z0-9]+", "_", (stated.get("checksumName") or "").lower())
            checksum = stated.text.strip().lower()
        yield (
            (manifest.parent / (place.get("href") or "")).resolve(),
            _Shipped(
                int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
                kind if kind in _KINDS else "",
                checksum,
            ),
        )


def _checksum(image: Path, kind: str) -> str:
    found = hashlib.new(kind, usedforsecurity=False)
    try:
        with image.open("rb") as file:
            while part := file.read(_BYTES_AT_ONCE):
                found.update(part)
    except OSError as error:
        raise InputError(f"{image}: cannot be read: {error.strerror}") from error
    return found.hexdigest()
