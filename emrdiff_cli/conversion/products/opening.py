"""A recognised product, opened by the reader of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from emrdiff_cli.conversion.datasets import GENERIC
from emrdiff_cli.conversion.image import (
    ConversionOptions,
    Image,
    given_bands,
    known_bands,
    refuse_mask,
    refuse_matlab_options,
)
from emrdiff_cli.conversion.products import aviris, emit, neon, prisma, tanager
from emrdiff_cli.conversion.products.emit_mask import open_mask
from emrdiff_cli.conversion.products.prisma_mask import PrismaMask
from emrdiff_cli.errors import UsageError
from emrdiff_cli.products.mask_classes import AskedMask, plain_classes
from emrdiff_cli.raster.containers import Container, Kind
from emrdiff_cli.raster.hdf5 import Hdf5File, open_hdf5

_READERS: Mapping[Kind, Callable[[Hdf5File, Container], Image]] = {
    "prisma": prisma.read_cube,
    "emit": emit.read,
    "aviris": aviris.read,
    "neon": neon.read,
    "tanager": tanager.read,
}


def _masked_emit(file: Hdf5File, container: Container, classes: AskedMask, stack: ExitStack) -> Image:
    mask = stack.enter_context(open_mask(file, emit.cube_of(file, container).shape[:2], classes))
    return emit.read(file, container, mask)


def _masked_prisma(file: Hdf5File, container: Container, classes: AskedMask, _: ExitStack) -> Image:
    return prisma.read_cube(file, container, PrismaMask(file, container, classes))


_MASKED: Mapping[Kind, Callable[[Hdf5File, Container, AskedMask, ExitStack], Image]] = {
    "emit": _masked_emit,
    "prisma": _masked_prisma,
}
"""Readers of the products that have masks; the stack closes what holds these."""


@contextmanager
def open_product(source: Path, container: Container, options: ConversionOptions) -> Iterator[Image]:
    """Open a product as an image. Raises UsageError for options of other formats, InputError as its reader."""
    refuse_matlab_options(source, options)
    if options.dataset not in ("auto", "generic"):
        raise UsageError(f"--dataset {options.dataset}: {source} is {container.name}: leave the option out")
    if options.pan and container.kind != "prisma":
        raise UsageError(f"--pan is for PRISMA: {source} is {container.name}")
    given = given_bands(options)
    if container.kind not in _MASKED:
        refuse_mask(source, container.name, options)
    if options.mask and options.pan:
        raise UsageError("--mask is for PRISMA's cube: not with --pan")
    with open_hdf5(source) as file, ExitStack() as stack:
        if options.mask:
            image = _MASKED[container.kind](file, container, plain_classes(options.mask), stack)
        else:
            image = (prisma.read_pan if options.pan else _READERS[container.kind])(file, container)
        if given is not None:
            own = image.info.bands
            bands = replace(known_bands(source, own.count, GENERIC, given), good=own.good, names=own.names)
            image = replace(image, info=replace(image.info, bands=bands))
        yield image
