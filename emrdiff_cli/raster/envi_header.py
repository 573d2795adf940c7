"""A form of an ENVI header that GDAL understands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emrdiff_cli.products.metadata_envi import plain_content

_BESIDE = (".aux.xml", ".msk")


@contextmanager
def as_gdal_reads(data: Path, header: Path | None) -> Iterator[Path]:
    """The path to open a data file by: its own, or a link beside a plain copy of its header, gone at the end.

    GDAL takes comment lines for entries of lists, and no header in UTF-16 or with a byte order mark for one. Nor
    does it know a key with two blanks, `rotation = 30` or a number in braces.
    """
    if header is None or (content := plain_content(header)) == header.read_bytes():
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="emrdiff-") as folder:
        link = Path(folder) / "data.bsq"
        link.symlink_to(data.absolute())
        link.with_suffix(".hdr").write_bytes(content)
        for suffix in _BESIDE:
            beside = data.with_name(data.name + suffix)
            if beside.is_file():
                link.with_name(link.name + suffix).symlink_to(beside.absolute())
        yield link
