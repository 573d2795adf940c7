"""`emrdiff fuse --manifest`: a line of status a scene on stdout, errors and a count on stderr."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import UsageError

if TYPE_CHECKING:
    from emrdiff_cli.fusion.batch import Status
    from emrdiff_cli.fusion.cluster import ClusterOptions
    from emrdiff_cli.fusion.options import FusionSettings

_ORDER = ("done", "skipped", "failed", "interrupted")


@dataclass(frozen=True)
class ArchiveOptions:
    """How a manifest is gone through; the parts are as `part_of` takes them, None for all."""

    keep_going: bool
    skip_done: bool
    num_parts: int | None
    part_id: int | None


def fuse_listed(
    manifest: Path, settings: FusionSettings, options: ArchiveOptions, cluster: ClusterOptions, quiet: bool
) -> None:
    """Fuse a manifest's scenes; raises typer.Exit with the failures' exit code."""
    from emrdiff_cli.evaluation.fusion_page import write_job_report
    from emrdiff_cli.fusion.batch import fuse_archive
    from emrdiff_cli.fusion.cluster import workers_of
    from emrdiff_cli.fusion.manifest import part_of, read_jobs

    if settings.report is not None:
        raise UsageError("--report: is one scene's: give it as a column of the manifest")
    if (options.num_parts is None) != (options.part_id is None):
        raise UsageError("--num-parts and --part-id: give both or neither")
    jobs = read_jobs(manifest, settings)
    if options.num_parts is not None and options.part_id is not None:
        jobs = part_of(jobs, options.num_parts, options.part_id)
    counts: Counter[str] = Counter()

    def emit(status: Status) -> None:
        counts[status.status] += 1
        typer.echo(json.dumps(status.record(), allow_nan=False))
        if status.exit_code:
            typer.echo(f"Error: {manifest}: line {status.line}: {status.error}", err=True)

    try:
        with workers_of(cluster, settings.device) as workers, progress("fuse", quiet) as shown:
            code = fuse_archive(
                jobs,
                emit,
                keep_going=options.keep_going,
                skip_done=options.skip_done,
                progress=shown,
                workers=workers,
                write_report=write_job_report,
            )
    finally:
        _summarise(counts, len(jobs), quiet)
    if code:
        raise typer.Exit(code)


def _summarise(counts: Counter[str], every: int, quiet: bool) -> None:
    left = every - counts.total()
    parts = [f"{counts[name]} {name}" for name in _ORDER if counts[name] or name == "done"]
    rest = [f"{left} not begun"] if left else []
    if not quiet:
        typer.echo(f"{', '.join([*parts, *rest])}, of {every} scenes", err=True)
