"""How a scene is fused: what `emrdiff fuse` was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.spec import RASTER_DTYPES, Driver


@dataclass(frozen=True)
class FusionOptions:
    """How a scene is cut and what is written; `tile_size` says what `tile` 0 and `overlap` None stand for.

    `batch_size` None: as many tiles at a time as the memory holds, 4 at most. `bounds`: left, bottom, right,
    top in the MSI's CRS of the part that is written; None: all. `coregister`: move the LR-HSI's grid by the
    displacement that the pair itself tells; without, warn of a large one. `srf`: the MSI's response, as
    `choose_response` takes it. `resume`: go on with the unfinished run of the same output, if there is one.
    `max_memory`: bytes that the process may hold, by `estimate_memory`.
    """

    tile: int = 0
    overlap: int | None = None
    batch_size: int | None = None
    driver: Driver = "GTiff"
    dtype: str | None = None
    overwrite: bool = False
    bounds: tuple[float, float, float, float] | None = None
    coregister: bool = False
    srf: str | None = None
    creation_options: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    resume: bool = False
    max_memory: int | None = None

    def __post_init__(self) -> None:
        if self.tile < 0 or (self.batch_size is not None and self.batch_size < 1):
            raise UsageError(f"tile = {self.tile} and batch size = {self.batch_size} must be positive")
        if self.dtype is not None and self.dtype not in RASTER_DTYPES:
            raise UsageError(f"dtype {self.dtype!r}: must be one of {', '.join(RASTER_DTYPES)}")
