"""Task of a dask worker in a fusion: a tile row of a scene, read through handles of its own.

Nothing in here needs dask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import Alignment
from emrdiff_cli.errors import EmrdiffError, InputError
from emrdiff_cli.fusion.prepared_scene import PreparedScene, Sampler
from emrdiff_cli.fusion.tile_rows import TileRow, Tiling, sample_rows
from emrdiff_cli.pair.pair import SrcNodata, open_pair
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.identity import Stamp, stamps
from emrdiff_cli.version import __version__

Field = NDArray[np.float32]
MakeSampler = Callable[[int], Sampler]
"""Makes the sampler of a worker; its number tells the workers of a machine apart."""


@dataclass(frozen=True)
class SceneTask:
    """Common inputs of a scene's tile rows: sent to a worker once, so of LR size at most.

    The inputs are named by absolute paths, and known by names, sizes and times of change.
    """

    version: str
    lr_hsi: Path
    hr_msi: Path
    stamps: tuple[tuple[Stamp, ...], tuple[Stamp, ...]]
    src_nodata: SrcNodata
    mask: AskedMask
    alignment: Alignment
    arrays: Mapping[str, NDArray[Any]]
    tiling: Tiling
    batch_size: int
    make_sampler: MakeSampler

    def refuse_other(self) -> None:
        """Raise EmrdiffError where this machine has another emrdiff, InputError where it has other inputs."""
        if self.version != __version__:
            raise EmrdiffError(
                f"emrdiff {__version__} is not {self.version}, which asked: install the same on all machines"
            )
        for path, known in zip((self.lr_hsi, self.hr_msi), self.stamps, strict=True):
            if stamps(path) != known:
                raise InputError(
                    f"{path}: differs in size or time of change from the one that was planned with: workers "
                    "read the inputs themselves, from the same path"
                )


def task_of(scene: PreparedScene, tiling: Tiling, batch_size: int, make_sampler: MakeSampler) -> SceneTask:
    """Pack a scene for the workers. Raises InputError where an input is gone."""
    lr_hsi, hr_msi = (info.path.absolute() for info in (scene.pair.lr_info, scene.pair.msi_info))
    # `outside` has all bands, and is added by the writer.
    arrays = {name: values for name, values in scene.arrays().items() if name != "end.outside"}
    known = stamps(lr_hsi), stamps(hr_msi)
    place = scene.pair.alignment
    return SceneTask(
        version=__version__,
        lr_hsi=lr_hsi,
        hr_msi=hr_msi,
        stamps=known,
        src_nodata=scene.pair.src_nodata,
        mask=scene.pair.mask,
        alignment=place,
        arrays=arrays,
        tiling=tiling,
        batch_size=batch_size,
        make_sampler=make_sampler,
    )


def sample_row(task: SceneTask, row: TileRow, number: int) -> tuple[Field, float]:
    """A blended tile row, as `sample_rows` gives it, and the seconds that the sampler took.

    Raises EmrdiffError's children.
    """
    task.refuse_other()
    seconds = 0.0

    def watch(_tiles: int, taken: float) -> None:
        nonlocal seconds
        seconds += taken

    with open_pair(task.lr_hsi, task.hr_msi, src_nodata=task.src_nodata, mask=task.mask) as pair:
        scene = PreparedScene.from_arrays(pair.placed(task.alignment), task.arrays)
        sampler = task.make_sampler(number)
        (values,) = sample_rows(sampler, scene, task.tiling, [row], task.batch_size, watch)
    return values, seconds
