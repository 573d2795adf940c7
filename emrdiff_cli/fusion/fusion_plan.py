"""What a fusion would do, told before it does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.errors import WriteError
from emrdiff_cli.fusion.evaluator_choice import choose_evaluator
from emrdiff_cli.fusion.fusing import end_point_of, opened, refuse_inputs
from emrdiff_cli.fusion.memory import (
    choose_batch_size,
    estimate_memory,
    free_memory,
    scratch_bytes,
    uncompressed_bytes,
)
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.fusion.output import output_area, output_spec
from emrdiff_cli.fusion.tile_rows import tile_size, tiling_over
from emrdiff_cli.fusion.trial import TimeEstimate
from emrdiff_cli.methods import MethodChoice
from emrdiff_cli.pair.mask_notes import planned_mask_notes
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.pair.spectral_coverage import choose_response
from emrdiff_cli.raster.creation_options import refuse_unknown_options
from emrdiff_cli.raster_info import RasterInfo, Window
from emrdiff_cli.runtime.threads import thread_count

_GEOMETRY = {
    "auto": "displacement and PSF are looked for on the pair, and used where significant",
    "shift": "the displacement is looked for on the pair",
    "full": "displacement and PSF are looked for on the pair, and used as found",
    "off": "as the pair lies",
}


@dataclass(frozen=True)
class FusionPlan:
    """Plan of a fusion. `hr_window`: the part of the MSI's raster that is written, in its pixels.

    `lr_hsi`, `hr_msi`: what is read. `geometry`, `method_by`: what decides. `least_memory_bytes`: the peak with as
    many tiles at a time as were asked for, else one; `peak_memory_bytes` with as many as would be, `batch_size`.
    `scratch_bytes`: in files beside the output meanwhile. `model`: its name. `time`: of processors alone, None
    where nothing was tried. `evaluated_on`: the device of kriging's evaluation.
    """

    output: str
    lr_hsi: dict[str, Any]
    hr_msi: dict[str, Any]
    geometry: str
    method: str
    bands: int
    height: int
    width: int
    ratio: float
    hr_window: Window
    tiles: int
    tile: tuple[int, int] | None
    batch_size: int
    driver: str
    dtype: str
    notes: tuple[str, ...]
    uncompressed_bytes: int
    least_memory_bytes: int
    peak_memory_bytes: int
    free_memory_bytes: int | None
    scratch_bytes: int
    method_by: str = ""
    model: str | None = None
    time: TimeEstimate | None = None
    evaluated_on: str = "cpu"

    def record(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        return asdict(self) | {"hr_window": self.hr_window._asdict(), "notes": list(self.notes)}


def plan(
    lr_path: Path | str,
    msi_path: Path | str,
    output: Path | str,
    config: ModelConfig | None,
    method: MethodChoice,
    options: FusionOptions,
    estimate: Callable[[PairReader, Window, int], TimeEstimate | None] | None = None,
) -> FusionPlan:
    """Plan what `fuse` would do; `config`: of the sampler's model.

    No pixel is read but by `estimate`, which takes the pair, the area and the number of tiles.

    Raises EmrdiffError's children, as `fuse` does before any work.
    """
    lr_path, msi_path, output = Path(lr_path), Path(msi_path), Path(output)
    end_point_of(method, config)
    if not output.absolute().parent.is_dir():
        raise WriteError(f"{output}: the folder is not there: make it first")
    with opened(lr_path, msi_path, options) as pair:
        refuse_inputs(pair, output, options)
        choose_response(options.srf, pair.lr_info, pair.msi_info)
        spec = output_spec(pair, output, method, options)
        refuse_unknown_options(spec)
        area = output_area(pair, options)
        tiling = None if config is None else tiling_over(area, pair, config, options)
        end = method if config is None else config.end_point
        evaluator = choose_evaluator(options.device, end, pair, with_model=config is not None)
        memory = estimate_memory(pair, spec, method, config, tiling, options, evaluator)
        threads = thread_count(options.num_threads)
        batch_size = choose_batch_size(memory, options.batch_size, options.max_memory, threads)
        tiles = 0 if tiling is None else len(tiling.tiles)
        time_needed = None if estimate is None else estimate(pair, area, tiles)
        origin = pair.alignment.hr_window
    return FusionPlan(
        output=str(output),
        lr_hsi=_described(pair.lr_info),
        hr_msi=_described(pair.msi_info),
        geometry=planned_geometry(options),
        method=method,
        bands=spec.bands.count,
        height=area.height,
        width=area.width,
        ratio=round(pair.alignment.ratio, 6),
        hr_window=area._replace(row=area.row + origin.row, col=area.col + origin.col),
        tiles=tiles,
        tile=None if config is None else tile_size(config, options),
        batch_size=batch_size,
        driver=spec.driver,
        dtype=spec.dtype,
        notes=(*pair.notes, *planned_mask_notes(pair)),
        uncompressed_bytes=uncompressed_bytes(spec),
        least_memory_bytes=round(memory.of(options.batch_size or 1)),
        peak_memory_bytes=round(memory.of(batch_size)),
        free_memory_bytes=free_memory(),
        scratch_bytes=scratch_bytes(pair, method, config),
        time=time_needed,
        evaluated_on=evaluator.device,
    )


def _described(info: RasterInfo) -> dict[str, Any]:
    grid = info.grid
    size = {"bands": info.bands.count, "height": grid.height, "width": grid.width}
    return {"path": str(info.path), **size, "dtype": info.dtype}


def planned_geometry(options: FusionOptions) -> str:
    """What decides on the geometry."""
    given = [
        f"{flag} {','.join(f'{number:g}' for number in value)}"
        for flag, value in (("--shift", options.shift), ("--psf-fwhm", options.psf_fwhm))
        if value is not None
    ]
    if len(given) == 2:
        return f"as given, {' '.join(given)}"
    return f"{_GEOMETRY[options.register]}{f'; as given {given[0]}' if given else ''}"
