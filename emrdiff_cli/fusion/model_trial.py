"""A model tried on a tile or two before it works on a scene: whether the scene is like those that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.correction_size import CorrectionSize
from emrdiff_cli.core.evidence.verdict import Candidate
from emrdiff_cli.errors import UnfitModelError
from emrdiff_cli.fusion.prepared_scene import PreparedScene, Sampler
from emrdiff_cli.fusion.run import FusionRun
from emrdiff_cli.fusion.tile_rows import Tiling, corrected_tile
from emrdiff_cli.methods import FAVOURITE
from emrdiff_cli.raster_info import Window

Field = NDArray[np.float32]

_FEW = 4  # tiles, of which one tells enough; of more of them two
_EDGE = 4  # of the overlap: so much of it at a tile's edge, where the network sees little, does not count


def tried_on(
    run: FusionRun, sampler: Sampler | None, model: Candidate | None
) -> tuple[Candidate | None, list[str]]:
    """Try a model on the pair of a run: what is known of it with that, and warnings of one that was asked for.

    None that nothing is known of is tried, nor one whose run is resumed: it was. Raises UnfitModelError for one
    that nobody named, where the scene is foreign to it.
    """
    if model is None or sampler is None or run.plan.tiling is None or run.kept:
        return model, []
    size = correction_on(run.scene, sampler, run.plan.tiling)
    known = replace(model, correction=size)
    if size is None or not size.is_foreign:
        return known, []
    said = (
        f"it was made for scenes unlike this one: it would change the values by {size.whole:.1f} times what the "
        f"MSI leaves of the LR-HSI, along the median direction of spectra by {size.along:.1f} times"
    )
    if not model.named:
        raise UnfitModelError(said)
    return known, [f"the model may do worse than --method {FAVOURITE}: {said}"]


def correction_on(scene: PreparedScene, sampler: Sampler, tiling: Tiling) -> CorrectionSize | None:
    """The size of the model's correction of a scene, on some tiles of it; None where no valid pixel is on them."""
    corrections = [_corrections(scene, sampler, tiling, tile) for tile in _tiles(scene, tiling)]
    seen = scene.ground.compared & ~scene.ground.changed
    if not sum(part.shape[1] for part in corrections) or not seen.any():
        return None
    return CorrectionSize.of(np.concatenate(corrections, axis=1), scene.end.unexplained[:, seen])


def _tiles(scene: PreparedScene, tiling: Tiling) -> Iterator[Window]:
    """The tiles nearest to places along the scene's diagonal, of those whose middle is valid."""
    shares = (1 / 2,) if len(tiling.tiles) <= _FEW else (1 / 3, 2 / 3)
    rows, cols = scene.pair.nearest_lr

    def is_valid(tile: Window) -> bool:
        row, col = tile.row + tile.height // 2, tile.col + tile.width // 2
        return bool(scene.lr_valid[rows[min(row, len(rows) - 1)], cols[min(col, len(cols) - 1)]])

    among = [tile for tile in tiling.tiles if is_valid(tile)] or tiling.tiles
    found = (
        min(
            among,
            key=lambda tile: (
                abs(tile.row + tile.height / 2 - share * scene.height)
                + abs(tile.col + tile.width / 2 - share * scene.width)
            ),
        )
        for share in shares
    )
    yield from dict.fromkeys(found)


def _corrections(scene: PreparedScene, sampler: Sampler, tiling: Tiling, tile: Window) -> Field:
    """The corrections (k, N) of a tile's valid pixels, without its edge."""
    correction = corrected_tile(sampler, scene, tile)
    edge = tiling.overlap // _EDGE
    height, width = min(tile.height, scene.height - tile.row), min(tile.width, scene.width - tile.col)
    inner = Window(tile.row + edge, tile.col + edge, height - 2 * edge, width - 2 * edge)
    if min(inner.height, inner.width) < 1:
        edge, inner = 0, Window(tile.row, tile.col, height, width)
    rows, cols = scene.pair.nearest_lr
    _, valid = scene.pair.read_msi(inner)
    valid &= scene.lr_valid[rows[inner.rows]][:, cols[inner.cols]]
    own = correction[:, edge : edge + inner.height, edge : edge + inner.width]
    return np.asarray(own[:, valid])
