"""The displacement of each block of a scene by itself: what a field over the scene is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.displacement import DisplacementField, PlacedBlock, estimate_shift_finely
from emrdiff_cli.pair.blocks import even_blocks, good_bands
from emrdiff_cli.pair.coregistration import well_explained
from emrdiff_cli.pair.geometry import Point
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.pair.registration import FoundGeometry

_REACH = 1.0  # LR pixels by which a block may lie off the others: least squares tell no more


@dataclass(frozen=True)
class BlockDisplacement:
    """The whole displacement of a block, LR pixels down and right, with its standard errors.

    `centre` (row, column) and `size` (rows, columns) are in pixels of the LR-HSI's grid; `centre_hr` is where that
    lies on the MSI's, in its pixels, once the block is moved. `unexplained`: the share of the MSI, on parts of the
    block held out, that the LR-HSI leaves unexplained there.
    """

    centre: Point
    size: tuple[int, int]
    centre_hr: Point
    shift: Point
    standard_errors: Point
    unexplained: float


def find_block_displacements(pair: PairReader, known: FoundGeometry) -> tuple[BlockDisplacement, ...]:
    """Find the displacement of blocks all over a pair, each by itself, beginning from the geometry that is used.

    By the first detector's bands, where others lie apart. Blocks that do not tell, with few valid pixels or too
    far off the others, are left out. Raises InputError as PairReader.
    """
    used, psf = known.used, known.located.best_psf
    placed = used.applied(pair)
    field = None if placed.displacement is None else placed.displacement.field
    bands = np.array(known.groups[0].bands, np.intp) if used.groups else good_bands(pair)
    found = (_displacement(block, placed, used.move, field, psf) for block in even_blocks(placed, bands))
    return tuple(block for block in found if block is not None)


def _displacement(
    block: PlacedBlock, placed: PairReader, move: Point, field: DisplacementField | None, psf: Psf
) -> BlockDisplacement | None:
    height, width = block.pair.valid.shape
    centre = block.row + (height - 1) / 2, block.col + (width - 1) / 2
    near = (0.0, 0.0) if field is None else _at(field, centre)
    finely = estimate_shift_finely(well_explained(block.pair, near, psf), psf, near)
    if finely is None:
        return None
    down, right = (float(value) for value in finely.field.coefficients[:, 0])
    if max(abs(down - near[0]), abs(right - near[1])) > _REACH:
        return None
    errors = finely.standard_errors[:, 0]
    return BlockDisplacement(
        centre=centre,
        size=(height, width),
        centre_hr=_on_msi(placed, (centre[0] + 0.5 + down, centre[1] + 0.5 + right)),
        shift=(move[0] + down, move[1] + right),
        standard_errors=(float(errors[0]), float(errors[1])),
        unexplained=finely.unexplained,
    )


def _at(field: DisplacementField, place: Point) -> Point:
    down, right = field.at(np.array(place[0]), np.array(place[1]))
    return float(down), float(right)


def _on_msi(pair: PairReader, corner: Point) -> Point:
    """The MSI's pixel at a place given in LR pixels from the outer corner of the LR-HSI's grid."""
    place = pair.alignment
    origin, lr = place.hr_window, place.lr_window
    return (
        origin.row + place.rows.offset + place.rows.ratio * (corner[0] - lr.row) - 0.5,
        origin.col + place.cols.offset + place.cols.ratio * (corner[1] - lr.col) - 0.5,
    )
