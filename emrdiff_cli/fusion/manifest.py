"""Scenes to fuse, listed in a CSV: the files, and any option of `fuse` by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.fusion.job import FusionJob
from emrdiff_cli.fusion.options import OPTIONS, FusionSettings
from emrdiff_cli.methods import AUTO, METHODS
from emrdiff_cli.raster.envi import find_data
from emrdiff_cli.report.page import report_file
from emrdiff_cli.runtime.manifest import Row, read_rows

_FILES = ("lr_hsi", "hr_msi", "output")
_SETTINGS = {known.columns[0]: name for name, known in OPTIONS.items()}  # by column
_SPELLINGS = {other: known.columns[0] for known in OPTIONS.values() for other in known.columns[1:]}


@dataclass(frozen=True)
class ListedJob:
    """A job with the manifest's line that asks for it."""

    line: int
    job: FusionJob


def read_jobs(path: Path, settings: FusionSettings) -> list[ListedJob]:
    """Read the columns lr_hsi, hr_msi, output and any option; an empty cell leaves what `settings` say.

    Paths count from the manifest's folder. Raises InputError where it is no CSV with rows, UsageError with the
    line for anything else: an unknown column, a cell that is missing or no such value, an output that is
    another row's or an input.
    """
    columns, rows = read_rows(path)
    _check_columns(path, columns)
    jobs = [_listed(path, row, settings) for row in rows]
    _refuse_shared_outputs(path, jobs)
    return jobs


def part_of(jobs: Sequence[ListedJob], count: int, number: int) -> list[ListedJob]:
    """Every `count`-th job from `number` (from 0) on: the parts are disjoint, and together all."""
    if not 0 <= number < count:
        raise UsageError(f"--part-id {number} of --num-parts {count}: must be 0 to {count - 1}")
    return list(jobs[number::count])


def _key(column: str) -> str:
    name = column.removeprefix("--").replace("-", "_")
    return _SPELLINGS.get(name, name)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    keys = [_key(column) for column in columns]
    known = (*_FILES, *_SETTINGS)
    for column, key in zip(columns, keys, strict=True):
        if key not in known:
            raise UsageError(f"{path}: line 1: unknown column {column!r}: give any of {', '.join(known)}")
        if keys.count(key) > 1:
            raise UsageError(f"{path}: line 1: the column {key} is there twice: leave one")
    lacking = [name for name in _FILES if name not in keys]
    if lacking:
        raise UsageError(
            f"{path}: line 1: lacks the column {lacking[0]}: lr_hsi, hr_msi and output are needed"
        )


def _listed(path: Path, row: Row, settings: FusionSettings) -> ListedJob:
    cells = {_key(column): text for column, text in row.cells.items() if text}
    where = f"{path}: line {row.line}"
    for name in _FILES:
        if name not in cells:
            raise UsageError(f"{where}: {name} is empty: fill it in")
        if "\0" in cells[name]:
            raise UsageError(f"{where}: {name} holds a NUL, which no path can: correct it")
    given = {key: text for key, text in cells.items() if key not in _FILES}
    try:
        changes = dict(_parsed(given, path.parent))
        method = changes.get("method", AUTO)
        if method != AUTO and not METHODS[method].needs_model and "model" not in changes:
            changes["model"] = None
        lr_hsi, hr_msi, output = (path.parent / cells[name] for name in _FILES)
        return ListedJob(row.line, FusionJob(lr_hsi, hr_msi, output, replace(settings, **changes)))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _parsed(cells: Mapping[str, str], folder: Path) -> Iterator[tuple[str, Any]]:
    for column, text in cells.items():
        name = _SETTINGS[column]
        try:
            yield name, OPTIONS[name].cell(text, folder)
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(f"{column} = {text}: must be {error}") from error


def _refuse_shared_outputs(path: Path, jobs: Sequence[ListedJob]) -> None:
    inputs = {place: listed.line for listed in jobs for place in _input_places(listed.job)}
    taken: dict[Path, int] = {}
    for listed in jobs:
        output = listed.job.output
        for place in _output_places(listed.job):
            where = f"{path}: line {listed.line}: {output if place == output.resolve() else place}"
            if place in inputs:
                raise UsageError(f"{where} is an input of line {inputs[place]}: give the output another name")
            if place in taken:
                raise UsageError(f"{where} is the output of line {taken[place]} too: give it another name")
            taken[place] = listed.line


def _input_places(job: FusionJob) -> Iterator[Path]:
    for raster in (job.lr_hsi, job.hr_msi):
        yield raster.resolve()
        if raster.suffix.lower() == ".hdr":
            with suppress(InputError, OSError):
                yield find_data(raster).resolve()


def _output_places(job: FusionJob) -> Iterator[Path]:
    yield job.output.resolve()
    if job.settings.driver_for(job.output) == "ENVI":
        yield job.output.with_suffix(".hdr").resolve()
    for path in job.settings.side_files(job.output):
        yield path.resolve()
    if job.settings.report is not None:
        yield report_file(job.settings.report).resolve()
