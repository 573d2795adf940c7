"""Use case: displacements of the blocks of a pair -> arrows over a composite of its MSI, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.files import refuse_inputs_as_outputs
from emrdiff_cli.raster.png import encode_png
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster_info import Window
from emrdiff_cli.report.arrows import Arrow, Colour, draw_arrows
from emrdiff_cli.report.colour import composite, percentile_limits
from emrdiff_cli.report.composite import Box, choose_bands, picture_shape, read_box
from emrdiff_cli.report.quicklook import bar_of
from emrdiff_cli.report.scale_bar import footer, scale_bar
from emrdiff_cli.runtime.atomic import check_target, write_whole

Pixels = NDArray[np.uint8]

_SIZE = 1024  # longer side of the picture in pixels, at most
_WHOLE: Colour = (230, 159, 0)  # orange and
_REST: Colour = (86, 180, 233)  # sky blue of Okabe and Ito's palette
_LONGEST = 0.5  # of the distance between blocks that the longest arrow takes
_ONE_BLOCK = 0.25  # of the picture's shorter side that it takes where there is one block
_WIDTH = 300  # picture pixels a pixel of an arrow's width,
_BOLD = 1.8  # times that of those underneath, which show beside one that covers them


class LocalDisplacement(NamedTuple):
    """A displacement, LR pixels down and right, of the LR-HSI around a place on the MSI (row, column; pixels)."""

    row: float
    col: float
    down: float
    right: float


def check_picture(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise what drawing a picture into this file would, before the work that it takes.

    UsageError (no name of a PNG, an input), OutputExistsError, WriteError.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(f"{output}: a picture is a PNG: give it a name that ends in .png")
    refuse_inputs_as_outputs([output], inputs)
    check_target(output, overwrite)


def draw_displacements(
    msi: Path, window: Window, ratio: float, blocks: Sequence[LocalDisplacement], output: Path
) -> None:
    """Draw the displacements of blocks over a window of the MSI into a PNG, or replace it.

    Orange arrows are the whole displacement of each block, blue ones what it differs from the mean of all by; each
    is so exaggerated that the longest arrow ends where its block does, and has a scale in LR pixels (`ratio` MSI
    pixels) under the picture. Raises InputError, WriteError.
    """
    with open_raster(msi) as reader:
        chosen = choose_bands(reader)
        shape = picture_shape(window.height, window.width, _SIZE)
        box = Box(window.row, window.col, window.height, window.width)
        values = read_box(reader, chosen.bands, box, shape)
        ground = reader.info.grid.crop(window)
    zoom = shape[1] / window.width
    picture = composite(values, percentile_limits(values))
    strips = [_strip(footer(shape[1], bar_of(ground, shape[1]), chosen.legend))]
    places = [
        ((b.row - window.row + 0.5) * zoom - 0.5, (b.col - window.col + 0.5) * zoom - 0.5) for b in blocks
    ]
    width = max(2.5, max(shape) / _WIDTH)
    for kind, (name, colour, shifts) in enumerate(_kinds(blocks)):
        scale = _scale(places, shifts, shape)
        arrows = [Arrow(*place, *(scale * by)) for place, by in zip(places, shifts, strict=True)]
        picture = draw_arrows(picture, arrows, colour, width if kind else _BOLD * width)
        bar = scale_bar(shape[1], 1 / scale, "LR px")
        strips.append(_strip(footer(shape[1], bar, f"{name} x {scale / (ratio * zoom):.3g}"), colour))
    write_whole(output, encode_png(np.concatenate([picture, *strips], axis=1)))


def _kinds(blocks: Sequence[LocalDisplacement]) -> list[tuple[str, Colour, NDArray[np.float64]]]:
    """The kinds of arrows: their name, colour, and the displacements (N, 2); none that are nothing all over."""
    whole = np.array([(block.down, block.right) for block in blocks], np.float64).reshape(-1, 2)
    kinds = [("displacement", _WHOLE, whole)]
    if len(blocks) > 1:
        kinds.append(("from their mean", _REST, whole - whole.mean(axis=0)))
    return [kind for kind in kinds if np.any(kind[2])]


def _scale(
    places: Sequence[tuple[float, float]], shifts: NDArray[np.float64], shape: tuple[int, int]
) -> float:
    """Picture pixels an LR pixel of displacement is drawn as."""
    at = np.array(places)
    apart = np.hypot(*(at[:, None] - at).T)[~np.eye(len(at), dtype=bool)]
    room = _LONGEST * float(apart.min()) if len(at) > 1 else _ONE_BLOCK * min(shape)
    return room / float(np.hypot(*shifts.T).max())


def _strip(grey: Pixels, colour: Colour = (0, 0, 0)) -> Pixels:
    """A strip under the picture, dark ink on light paper, in colour and opaque."""
    ink = (255 - grey) / 255.0
    channels = [np.rint(255 + ink * (value - 255)).astype(np.uint8) for value in colour]
    return np.stack([*channels, np.full_like(grey, 255)])
