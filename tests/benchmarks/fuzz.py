"""Thousands of files as others make them, whole and damaged, through the front door: what goes wrong, case by case.

python -m tests.benchmarks.fuzz [--count 10000] [--seed 0] [--kinds envi,tiff] [--minutes M] [--journal FILE]

A case is known by its number: `--first N --count 1` runs it alone, and `--keep FOLDER` leaves the files of those
that fail. With --journal a run that was stopped goes on. Exit code 1 where anything was found.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.strangers.worker import KINDS

_SECONDS_A_CASE = 60.0


class Span(NamedTuple):
    """Numbers of cases from `start` on, before `stop`."""

    start: int
    stop: int


def main() -> None:
    """Run the cases; faults as they come, then a table."""
    given = _arguments()
    deadline = time.monotonic() + 60 * given.minutes
    done: list[dict[str, Any]] = []
    if given.journal is not None and given.journal.exists():
        done = [json.loads(line) for line in given.journal.read_text().splitlines()]
    cases = Span(given.first + len(done), given.first + given.count)
    while cases.start < cases.stop and time.monotonic() < deadline:
        for outcome in _run(cases, given, deadline):
            done.append(outcome)
            _tell(outcome, given.journal)
            cases = Span(outcome["ended"] + 1, cases.stop)
    _table(done)
    if cases.start < cases.stop:
        sys.stdout.write(f"stopped before case {cases.start}\n")
    sys.exit(1 if any(outcome["faults"] for outcome in done) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--keep", type=Path)
    return parser.parse_args()


def _run(cases: Span, given: argparse.Namespace, deadline: float) -> Any:
    """Outcomes from a worker until it is done, dies or has hung; the last is then a fault of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.strangers.worker"]
    command += [str(given.seed), str(cases.start), str(cases.stop), given.kinds]
    command += [] if given.keep is None else [str(given.keep)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=os.environ
    ) as worker:
        begun: dict[str, Any] | None = None
        for line in _lines(worker):
            told = json.loads(line)
            begun = told if "begins" in told else None
            if "ended" in told:
                yield told
            if time.monotonic() > deadline:
                worker.kill()
                return
        try:
            code, hung = worker.wait(10), False
        except subprocess.TimeoutExpired:
            worker.kill()
            code, hung = worker.wait(), True
    if begun is not None:
        fault = f"ran longer than {_SECONDS_A_CASE:.0f} s" if hung else f"the process died ({code})"
        yield {"ended": begun["begins"], "kind": begun["kind"], "faults": [fault], "seconds": 0.0}
    elif code:
        raise SystemExit(f"the worker could not begin ({code})")


def _lines(worker: subprocess.Popen[bytes]) -> Any:
    """Lines as they come; an end where none comes in time."""
    assert worker.stdout is not None
    held = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(worker.stdout, selectors.EVENT_READ)
        while waiting.select(_SECONDS_A_CASE) and (read := os.read(worker.stdout.fileno(), 2**16)):
            *lines, held = (held + read).split(b"\n")
            yield from lines


def _tell(outcome: dict[str, Any], journal: Path | None) -> None:
    if journal is not None:
        with journal.open("a") as file:
            file.write(json.dumps(outcome) + "\n")
    for fault in outcome["faults"]:
        sys.stdout.write(f"{outcome['ended']} {outcome['kind']}: {fault}\n")
    sys.stdout.flush()


def _table(done: list[dict[str, Any]]) -> None:
    ran, failed, seconds = Counter[str](), Counter[str](), Counter[str]()
    for outcome in done:
        ran[outcome["kind"]] += 1
        failed[outcome["kind"]] += bool(outcome["faults"])
        seconds[outcome["kind"]] += outcome["seconds"]
    sys.stdout.write("| kind | cases | with faults | s |\n| --- | --- | --- | --- |\n")
    for kind in sorted(ran):
        sys.stdout.write(f"| {kind} | {ran[kind]} | {failed[kind]} | {seconds[kind]:.0f} |\n")
    sys.stdout.write(f"| all | {ran.total()} | {failed.total()} | {sum(seconds.values()):.0f} |\n")


if __name__ == "__main__":
    main()
