"""What `fuse --dry-run` says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from emrdiff_cli.cli.progress import duration

if TYPE_CHECKING:
    from emrdiff_cli.fusion.fusion_plan import FusionPlan
    from emrdiff_cli.fusion.trial import TimeEstimate


def print_plan(plan: FusionPlan, as_json: bool) -> None:
    """Print a plan, as one JSON object or as text."""
    if as_json:
        typer.echo(json.dumps(plan.record()))
        return
    for name, text in _lines(plan):
        typer.echo(f"{name:<9} {text}")
    for note in plan.notes:
        typer.echo(f"Note: {note}")


def _lines(plan: FusionPlan) -> Iterator[tuple[str, str]]:
    from emrdiff_cli.fusion.memory import readable

    yield "LR-HSI", _raster(plan.lr_hsi)
    yield "HR-MSI", f"{_raster(plan.hr_msi)}, ratio {plan.ratio:.4g}"
    yield "Geometry", plan.geometry
    name = plan.method if plan.model is None else f"{plan.method} with model {plan.model}"
    yield "Method", f"{name}: {plan.method_by}"
    if plan.evaluated_on != "cpu":
        yield "Device", f"{plan.evaluated_on} evaluates kriging; the time is reckoned as if processors did"
    if plan.tile is not None:
        side, overlap = plan.tile
        yield (
            "Tiles",
            f"{plan.tiles} of {side} x {side} pixels, overlapping by {overlap}, {plan.batch_size} at a time",
        )
    yield (
        "Output",
        f"{plan.output}: {plan.bands} bands of {plan.height} x {plan.width} pixels, {plan.dtype}, {plan.driver}, "
        f"{readable(plan.uncompressed_bytes)} before compression",
    )
    free = "" if plan.free_memory_bytes is None else f"; {readable(plan.free_memory_bytes)} are free"
    yield "Memory", f"about {readable(plan.peak_memory_bytes)} at the peak{free}"
    yield "Disk", f"up to {readable(plan.scratch_bytes)} in files beside the output while it is made"
    yield "Time", "not tried" if plan.time is None else _time(plan.time)


def _raster(info: dict[str, Any]) -> str:
    return (
        f"{info['path']}: {info['bands']} bands of {info['height']} x {info['width']} pixels, {info['dtype']}"
    )


def _time(time: TimeEstimate) -> str:
    steps = ", ".join(f"{name} {duration(seconds)}" for name, seconds in time.steps.items() if seconds >= 1)
    height, width = time.trial_lr_pixels
    told = f" ({steps})" if steps else ""
    about = "about " if time.seconds >= 1 else ""
    trial = f"by a trial of {duration(time.trial_seconds)} on {height} x {width} LR pixels"
    without = f", without the work of {' and '.join(time.without)}" if time.without else ""
    return f"{about}{duration(time.seconds)}{without}{told}, {trial}"
