"""The checksums in a SAFE's `manifest.safe`: JPEG 2000 of flipped bytes may be decoded to other pixels silently."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.metadata_xml import read_xml
from emrdiff_cli.products.product import Product

_NAME = "manifest.safe"
_KINDS = ("md5", "sha256", "sha512", "sha3_256")  # the first and the last are in use
_BYTES_AT_ONCE = 2**24


def refuse_spoilt_images(product: Product) -> None:
    """Raise InputError where an image that is read is not the one that was shipped, by the manifest's checksum.

    Silent where there is no manifest, or none of the image in it: SAFE alone has one.
    """
    manifest = product.metadata.parent / _NAME
    if not manifest.is_file() or not manifest.stat().st_size:
        return
    stated = dict(_checksums(manifest))
    for image in product.images:
        kind, wanted = stated.get(image.resolve(), ("", ""))
        if kind and _checksum(image, kind) != wanted:
            raise InputError(
                f"{image}: is not as it was shipped, by the checksum in {_NAME}: get the product again"
            )


def _checksums(manifest: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Files that a manifest lists, with the algorithm, as hashlib names it, and the checksum in hexadecimal."""
    for stream in read_xml(manifest).iter("byteStream"):
        place, checksum = stream.find("fileLocation"), stream.find("checksum")
        if place is None or checksum is None or not checksum.text:
            continue
        kind = re.sub(r"[^a-z0-9]+", "_", (checksum.get("checksumName") or "").lower())
        if kind in _KINDS:
            yield (
                (manifest.parent / (place.get("href") or "")).resolve(),
                (kind, checksum.text.strip().lower()),
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
