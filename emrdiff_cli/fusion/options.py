"""How a scene is fused: the options of `emrdiff fuse`, each with all that is known of it.

An option is a field with its `option`; the manifest's columns, the key of a run and the record of an output
follow from that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from emrdiff_cli.config import MOST_STEPS
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion import option_cells
from emrdiff_cli.fusion.precision import AskedPrecision
from emrdiff_cli.methods import AUTO, METHODS, Effort, MethodChoice
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.acquisition import parse_span
from emrdiff_cli.raster.qgis_style import style_path
from emrdiff_cli.raster.spec import RASTER_DTYPES, Driver, driver_of
from emrdiff_cli.raster.stac_item import AUTO_TIME, item_path

_MOST_SAMPLES = 999
_OPTION = "option"  # key of a field's metadata


@dataclass(frozen=True)
class Option:
    """An option of the command `fuse`.

    `flag`: as the command line has it. `cell`: reads it from a manifest, where its column bears one of
    `columns`, the first of which is its proper name. `decides`: another value makes another output, so that
    neither an unfinished run is resumed with it nor a finished one taken for done.
    """

    flag: str
    cell: option_cells.Cell
    columns: tuple[str, ...]
    decides: bool


def option(flag: str, cell: option_cells.Cell, *columns: str, decides: bool = False) -> Mapping[str, Option]:
    """Metadata of an option's field; without `columns` the column is named as the flag."""
    own = flag.removeprefix("--").replace("-", "_")
    return {_OPTION: Option(flag, cell, columns or (own,), decides)}


def uncertainty_files(path: Path) -> tuple[Path, Path]:
    """The raster of all bands' uncertainty, and beside it that of their mean."""
    return path, path.with_name(f"{path.stem}_mean.tif")


@dataclass(frozen=True)
class FusionOptions:
    """How a scene is cut and what is written; `tile_size` says what `tile` 0 and `overlap` None stand for.

    `batch_size` None: as many tiles at a time as the memory holds, 4 or one a thread at most. `num_threads`: of the
    CPU; None: as `thread_count`. `device`: that kriging is evaluated on, as `choose_evaluator` takes it. `bounds`:
    left, bottom, right, top in the MSI's CRS of the part that is written; None: all. `register`, `shift` and
    `psf_fwhm`: the pair's
    geometry, as `pair.registration.register` takes them. `effort`: how much of the pair is looked at where the
    method is left to it. `src_nodata` and `mask`: as `open_pair` takes them. `srf`: the MSI's response, as
    `choose_response` takes it. `clip`: a `dtype` may cut values off. `physical`: values that cannot be are
    corrected. `changed`: where the mask of changed ground is written as well, `uncertainty`: where the standard
    deviations are, `samples_dir`: the folder of so many `samples`, drawn by `seed`. `stac`: a STAC item is, of this
    time, as `check_item` takes it, `qml`: a style for QGIS. `resume`: go on with the
    unfinished run of the same output, if there is one. `max_memory`: bytes that the process may hold, by
    `estimate_memory`. `driver` None: as the output's name asks for; `overviews` as `RasterSpec` has them.
    `provenance`: tags of the output, on which nothing else depends. Raises UsageError.
    """

    bounds: tuple[float, float, float, float] | None = field(
        default=None,
        metadata=option("--bounds", option_cells.numbers("left", "bottom", "right", "top"), decides=True),
    )
    register: Register = field(
        default="auto",
        metadata=option("--register", option_cells.one_of(get_args(Register)), decides=True),
    )
    shift: tuple[float, float] | None = field(
        default=None, metadata=option("--shift", option_cells.numbers("down", "right"), decides=True)
    )
    psf_fwhm: tuple[float, float] | None = field(
        default=None, metadata=option("--psf-fwhm", option_cells.one_or_two, decides=True)
    )
    src_nodata: tuple[float | None, float | None] | None = field(
        default=None, metadata=option("--src-nodata", option_cells.nodata, decides=True)
    )
    mask: AskedMask = field(default=(), metadata=option("--mask", option_cells.mask, decides=True))
    effort: Effort = field(
        default="normal", metadata=option("--effort", option_cells.one_of(get_args(Effort)), decides=True)
    )
    srf: str | None = field(default=None, metadata=option("--srf", option_cells.response, decides=True))
    tile: int = field(default=0, metadata=option("--tile", option_cells.at_least(0), decides=True))
    overlap: int | None = field(
        default=None, metadata=option("--overlap", option_cells.at_least(0), decides=True)
    )
    batch_size: int | None = field(default=None, metadata=option("--batch-size", option_cells.at_least(1)))
    num_threads: int | None = field(default=None, metadata=option("--num-threads", option_cells.at_least(1)))
    device: str = field(default="cpu", metadata=option("--device", option_cells.words))
    max_memory: int | None = field(default=None, metadata=option("--max-memory", option_cells.size))
    driver: Driver | None = field(
        default=None,
        metadata=option("--format", option_cells.one_of(get_args(Driver)), "format", "of", decides=True),
    )
    dtype: str | None = field(default=None, metadata=option("--dtype", option_cells.words, decides=True))
    creation_options: dict[str, str] = field(
        default_factory=dict,
        metadata=option("--co", option_cells.pairs, "creation_option", "co", decides=True),
    )
    overviews: bool | None = field(
        default=None, metadata=option("--overviews", option_cells.truth, decides=True)
    )
    clip: bool = field(default=False, metadata=option("--clip", option_cells.truth))
    physical: bool = field(default=True, metadata=option("--physical", option_cells.truth, decides=True))
    overwrite: bool = field(default=False, metadata=option("--overwrite", option_cells.truth))
    changed: Path | None = field(default=None, metadata=option("--changed", option_cells.below))
    uncertainty: Path | None = field(default=None, metadata=option("--uncertainty", option_cells.below))
    samples: int = field(default=0, metadata=option("--samples", option_cells.at_least(0)))
    samples_dir: Path | None = field(default=None, metadata=option("--samples-dir", option_cells.below))
    stac: str | None = field(default=None, metadata=option("--stac", option_cells.words))
    qml: bool = field(default=False, metadata=option("--qml", option_cells.truth))
    seed: int = field(default=0, metadata=option("--seed", option_cells.whole))
    resume: bool = field(default=False, metadata=option("--resume", option_cells.truth))
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bounds is not None and not all(map(math.isfinite, self.bounds)):
            raise UsageError(f"--bounds {self.bounds}: must be four finite numbers, LEFT BOTTOM RIGHT TOP")
        if self.tile < 0:
            raise UsageError(f"--tile {self.tile}: must be 0 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: must be 1 or more")
        if (self.samples > 0) != (self.samples_dir is not None):
            raise UsageError("--samples N and --samples-dir DIR: give both or neither")
        if not 0 <= self.samples <= _MOST_SAMPLES:
            raise UsageError(f"--samples {self.samples}: must be {_MOST_SAMPLES} or fewer")
        if self.shift is not None and not all(map(math.isfinite, self.shift)):
            raise UsageError(f"--shift {self.shift}: must be two finite numbers, LR pixels down and right")
        if self.psf_fwhm is not None and not all(0 < width < math.inf for width in self.psf_fwhm):
            raise UsageError(
                f"--psf-fwhm {self.psf_fwhm}: must be positive, MSI pixels along rows and columns"
            )
        self._check_output()

    def _check_output(self) -> None:
        if self.stac is not None and self.stac != AUTO_TIME:
            parse_span(self.stac)
        if self.dtype is not None and self.dtype not in RASTER_DTYPES:
            raise UsageError(f"--dtype {self.dtype}: must be one of {', '.join(RASTER_DTYPES)}")

    @property
    def tells_errors(self) -> bool:
        """Whether uncertainty or draws are asked for, which kriging alone has."""
        return self.uncertainty is not None or self.samples > 0

    def side_files(self, output: Path) -> tuple[Path, ...]:
        """The files that are written beside the output."""
        places = () if self.changed is None else (self.changed,)
        told = () if self.uncertainty is None else uncertainty_files(self.uncertainty)
        item = () if self.stac is None else (item_path(output),)
        style = (style_path(output),) if self.qml else ()
        return (*places, *told, *item, *style, *self.draw_files(output))

    def draw_files(self, output: Path) -> tuple[Path, ...]:
        """The files of the draws."""
        if self.samples_dir is None:
            return ()
        names = (f"{output.stem}_sample_{number:02}.tif" for number in range(1, self.samples + 1))
        return tuple(self.samples_dir / name for name in names)

    def driver_for(self, output: Path) -> Driver:
        """The format of an output. Raises UsageError where its name is of another kind of file."""
        return self.driver or driver_of(output)


@dataclass(frozen=True)
class FusionSettings(FusionOptions):
    """The options of the command: how a scene is fused, and by which sampler, whose identity holds what decides.

    `model`: a name or folder, None for the shipped one that fits. `steps` None: the model's. `report`: folder
    of a page about the fusion. `device`: the network's too. `precision`: of the network, `auto` by measurement.
    """

    method: MethodChoice = field(
        default=AUTO, metadata=option("--method", option_cells.one_of((AUTO, *METHODS)))
    )
    model: str | None = field(default=None, metadata=option("--model", option_cells.model))
    steps: int | None = field(default=None, metadata=option("--steps", option_cells.at_least(1)))
    device: str = field(default="auto", metadata=FusionOptions.__dataclass_fields__["device"].metadata)
    precision: AskedPrecision = field(
        default="auto", metadata=option("--precision", option_cells.one_of(get_args(AskedPrecision)))
    )
    report: Path | None = field(default=None, metadata=option("--report", option_cells.below))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"--steps {self.steps}: must be 1 to {MOST_STEPS}")


OPTIONS: Mapping[str, Option] = {
    known.name: known.metadata[_OPTION] for known in fields(FusionSettings) if _OPTION in known.metadata
}
"""The command's options by the names of their fields."""


def deciding(options: FusionOptions, output: Path) -> dict[str, Any]:
    """Options that decide the output, by the names of the fields; the sampler is known by its own identity."""
    names = [known.name for known in fields(FusionOptions)]
    values = {name: getattr(options, name) for name in names if name in OPTIONS and OPTIONS[name].decides}
    return values | {"driver": options.driver_for(output)}
