"""Where `fuse` spends its processor time: the parts of one run, by thread and exclusive of each other.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.fuse_parts LR_HSI HR_MSI OUTPUT [options of fuse] [--rounds 3]

A part is what certain functions do, less what those of another part do within them. Time is the thread's own: what
else the machine does tells against none. Wall time is that of the whole process, and of it that in which no thread
reads, writes or runs the network. Of several rounds, each a process of its own, the one that took least is printed.
Start with one thread: what a library's own threads do is counted under "all else".
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from itertools import pairwise
from typing import Any

ROUNDS = 3
IMPORTS = "imports"
OUTSIDE = ("reading", "network", "writing")  # what a fusion cannot do without
_ALL, _WALL, _BUSY = "all", "wall", "busy"  # beside the parts: of the process, and in the parts `OUTSIDE`
_PACKAGE = "emrdiff_cli."
_TORCH_PARTS = ("fusion.sampler", "checkpoint", "core.methods.device_evaluator")
# Functions by part, each where it is called from.
PARTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "reading": (
        ("raster.reading", "open_raster"),
        ("raster.reading", "RasterReader.read"),
        ("raster.reading", "RasterReader.read_stored"),
        ("pair.pair", "open_raster"),
    ),
    "network": (("fusion.sampler", "ModelSampler._run"),),
    "writing": (
        ("raster.writing", "VerifiedWriter.__enter__"),
        ("raster.writing", "VerifiedWriter.convert"),
        ("raster.writing", "VerifiedWriter.append_stored"),
        ("raster.writing", "VerifiedWriter._finish"),
        ("fusion.journal", "Journal.begin"),
        ("fusion.journal", "Journal.keep"),
    ),
    "model loaded": (("checkpoint", "load_model"), ("fusion.sampler", "ModelSampler.__init__")),
    "precision measured": (("fusion.job", "measured_precision"),),
    "geometry": (("fusion.run", "register"),),
    "model tried": (("fusion.fusing", "tried_on"),),
    "choice of the method": (("fusion.run", "verdict_on"),),
    "scene prepared": (("fusion.run", "prepare_scene"), ("fusion.run", "observe_scene")),
    "tiles prepared": (("fusion.tile_rows", "_Preparation.__call__"),),
    "expansion to all bands": (("fusion.run", "_stored_rows"),),
    "kriging's blocks": (("core.methods.kriged_detail", "krige"),),
    "evaluation at HR pixels": tuple(
        (f"core.methods.{module}", f"{kind}.{name}")
        for module, kind in (("evaluator", "OnProcessor"), ("device_evaluator", "OnDevice"))
        for name in ("tile", "detail", "features_seen")
    ),
}


class _Clock(threading.local):
    """A thread's stack of parts, and when the uppermost was last charged."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.since = 0.0


_clock = _Clock()
_lock = threading.Lock()
_spent: dict[str, float] = {}


def _charge() -> None:
    now = time.thread_time()
    if _clock.stack:
        with _lock:
            _spent[_clock.stack[-1]] = _spent.get(_clock.stack[-1], 0.0) + now - _clock.since
    _clock.since = now


class _Busy:
    """The wall time in which some thread is within one of the parts `OUTSIDE`."""

    def __init__(self) -> None:
        self.seconds, self._inside, self._since = 0.0, 0, 0.0

    def enter(self) -> None:
        with _lock:
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += 1

    def leave(self) -> None:
        with _lock:
            self._inside -= 1
            if not self._inside:
                self.seconds += time.perf_counter() - self._since


_busy = _Busy()


def _counted(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(work)
    def counted(*arguments: Any, **named: Any) -> Any:
        _charge()
        _clock.stack.append(part)
        if part in OUTSIDE:
            _busy.enter()
        try:
            return work(*arguments, **named)
        finally:
            if part in OUTSIDE:
                _busy.leave()
            _charge()
            _clock.stack.pop()

    return counted


def _inherited(submit: Callable[..., Any]) -> Callable[..., Any]:
    """What a part hands to another thread is its own."""

    @wraps(submit)
    def handed(pool: Any, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        part = _clock.stack[-1] if _clock.stack else None
        return submit(pool, work if part is None else _counted(part, work), *arguments, **named)

    return handed


def _count(part: str, module: str, name: str) -> None:
    owner: Any = importlib.import_module(_PACKAGE + module)
    *outer, last = name.split(".")
    for attribute in outer:
        owner = getattr(owner, attribute)
    setattr(owner, last, _counted(part, getattr(owner, last)))


def run(arguments: Sequence[str]) -> dict[str, float]:
    """Seconds of each part of `emrdiff fuse` in this process, which only a fresh one tells."""
    # What loads a module that is not loaded yet, whoever asks.
    machinery: Any = importlib.import_module("_frozen_importlib")
    machinery._find_and_load = _counted(IMPORTS, machinery._find_and_load)
    ThreadPoolExecutor.submit = _inherited(ThreadPoolExecutor.submit)  # type: ignore[method-assign]
    from emrdiff_cli.runtime.collector import loading, set_aside

    with loading():
        from emrdiff_cli.cli.app import app
    set_aside()  # as the command does

    asked = dict(pairwise(arguments))
    with_torch = "--model" in asked or asked.get("--device", "cpu") != "cpu"
    for part, functions in PARTS.items():
        for module, name in functions:
            if with_torch or module not in _TORCH_PARTS:
                _count(part, module, name)
    app(["fuse", *arguments, "--overwrite", "--quiet"], standalone_mode=False)
    return _spent | {_ALL: time.process_time(), _BUSY: _busy.seconds}


def _round(command: Sequence[str]) -> dict[str, float]:
    """The parts of a process of its own, and its wall time."""
    started = time.perf_counter()
    spent: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    return spent | {_WALL: time.perf_counter() - started}


def table(spent: Mapping[str, float]) -> str:
    """The parts as Markdown, greatest first."""
    parts = {name: seconds for name, seconds in spent.items() if name not in (_ALL, _BUSY, _WALL)}
    parts["all else"] = spent[_ALL] - sum(parts.values())
    rows = sorted(parts.items(), key=lambda row: -row[1])
    lines = ["| part | processor (s) |", "| --- | --- |"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in rows]
    outside = spent[_ALL] - sum(parts.get(name, 0.0) for name in OUTSIDE)
    lines += [
        f"| **in all** | {spent[_ALL]:.2f} |",
        f"| **outside {', '.join(OUTSIDE[:-1])} and {OUTSIDE[-1]}** | {outside:.2f} |",
        f"| **wall time, in all** | {spent[_WALL]:.2f} |",
        f"| **wall time, outside of these** | {spent[_WALL] - spent[_BUSY]:.2f} |",
    ]
    if network := parts.get("network"):
        lines.append(f"| **times the network's** | {spent[_ALL] / network:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run `fuse` in processes of their own, and print the parts of the one that took least."""
    arguments = sys.argv[1:]
    if "--once" in arguments:
        arguments.remove("--once")
        sys.stdout.write(json.dumps(run(arguments)) + "\n")
        gc.freeze()  # as the command ends
        return
    rounds = ROUNDS
    if "--rounds" in arguments:
        at = arguments.index("--rounds")
        rounds = int(arguments[at + 1])
        del arguments[at : at + 2]
    command = [sys.executable, "-m", "tests.benchmarks.fuse_parts", *arguments, "--once"]
    found = [_round(command) for _ in range(rounds)]
    sys.stdout.write(table(min(found, key=lambda spent: spent[_ALL])))


if __name__ == "__main__":
    main()
