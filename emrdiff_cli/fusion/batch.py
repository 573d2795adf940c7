"""Use case: a list of scenes -> a fused raster and a line of status for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emrdiff_cli.errors import failure_of
from emrdiff_cli.fusion.fusing import FusionReport
from emrdiff_cli.fusion.job import (
    FusionJob,
    choose_model,
    is_done,
    refuse_existing,
    run_job,
    to_be_done,
)
from emrdiff_cli.fusion.manifest import ListedJob
from emrdiff_cli.fusion.run import Progress as SceneProgress
from emrdiff_cli.runtime.interruption import deferred, safe_point

if TYPE_CHECKING:
    from emrdiff_cli.fusion.cluster import Workers

_log = logging.getLogger(__name__)

Outcome = Literal["done", "skipped", "failed", "interrupted"]
Progress = Callable[[float, float, str], None]
WriteReport = Callable[[FusionJob, FusionReport], Path | None]


@dataclass(frozen=True)
class Status:
    """Outcome of a scene; `report` holds the fusion's report where it is done."""

    line: int
    output: str
    status: Outcome
    seconds: float
    error: str | None = None
    exit_code: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Everything on one level, for JSON."""
        own = asdict(self)
        return own | {key: value for key, value in own.pop("report").items() if key not in own}


@deferred()
def fuse_archive(
    jobs: Sequence[ListedJob],
    emit: Callable[[Status], None],
    *,
    keep_going: bool = False,
    skip_done: bool = False,
    progress: Progress | None = None,
    workers: Workers | None = None,
    write_report: WriteReport = lambda job, result: None,
) -> int:
    """Fuse one scene after the other and emit each one's status; the exit code is the failures' own, or 1.

    Without `keep_going` the first failure is the last scene. With `skip_done` an output that records this
    very run (`is_done`) is left as it is. A scene that is interrupted is emitted as such before the exception
    goes on. `workers` are as in `run_job`. `write_report` writes the page that a job asks for, if it does.
    """
    codes: set[int] = set()
    for number, listed in enumerate(jobs):
        safe_point()

        def report(
            done: float,
            total: float,
            note: str = "",
            /,
            number: int = number,
            name: str = listed.job.output.name,
        ) -> None:
            if progress is not None:
                told = f"{name}: {note}" if note else name
                progress(number + min(done / total if total else 0.0, 0.99), len(jobs), told)

        report(0, 1)
        status = _fuse_listed(listed, emit, skip_done, report, workers, write_report)
        codes |= {status.exit_code} - {0}
        if codes and not keep_going:
            break
    else:
        if progress is not None:
            progress(len(jobs), len(jobs), "")
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _fuse_listed(
    listed: ListedJob,
    emit: Callable[[Status], None],
    skip_done: bool,
    progress: SceneProgress,
    workers: Workers | None,
    write_report: WriteReport,
) -> Status:
    started = time.monotonic()

    def say(outcome: Outcome, error: str | None = None, code: int = 0, **report: Any) -> Status:
        seconds = round(time.monotonic() - started, 3)
        status = Status(
            line=listed.line,
            output=str(listed.job.output),
            status=outcome,
            seconds=seconds,
            error=error,
            exit_code=code,
            report=report,
        )
        emit(status)
        return status

    try:
        report = _fuse_unless_done(listed.job, skip_done, progress, workers, write_report)
    except Exception as error:  # noqa: BLE001 (a fault of the program: of this scene alone, and said as such)
        _log.debug("%s", listed.job.output, exc_info=True)
        return say("failed", *failure_of(error, "give --max-memory, or a smaller --tile or --bounds"))
    except BaseException as error:
        say("interrupted", "interrupted", 130 if isinstance(error, KeyboardInterrupt) else 143)
        raise
    return say("skipped") if report is None else say("done", **report)


def _fuse_unless_done(
    job: FusionJob,
    skip_done: bool,
    progress: SceneProgress,
    workers: Workers | None,
    write_report: WriteReport,
) -> dict[str, Any] | None:
    """The fusion's report as a record, with the page written that was asked for; None where it was done."""
    if not skip_done:
        refuse_existing(job)
    chosen = choose_model(job)
    if skip_done and is_done(job, chosen):
        return None
    if skip_done:
        job = to_be_done(job, chosen)
    result = run_job(job, chosen, progress, workers)
    page = write_report(job, result)
    record = result.record()
    record["warnings"] = [*(() if chosen is None else chosen.concerns), *record["warnings"]]
    return record if page is None else record | {"page": str(page)}
