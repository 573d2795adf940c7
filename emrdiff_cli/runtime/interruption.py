"""SIGINT and SIGTERM at the right moment: put off while files are under way, raised where nothing is half done.

Python raises a signal's exception between any two instructions, in the middle of a clean-up too, or in a
callback of GDAL that cannot pass it on. So whoever writes holds signals off, and lets them through at safe
points, of which there is one every few seconds.
"""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Timer, current_thread, main_thread
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN_S = 0.02


@dataclass
class _Deferral:
    """State of a process's signals between `deferred`'s beginning and end.

    `usual`: the handlers put aside. `came`: the signal that waits. `raised`: it waits no longer.
    """

    usual: dict[int, Callable[[int, FrameType | None], Any]] = field(default_factory=dict)
    came: int | None = None
    raised: bool = False
    urgent: bool = False

    def note(self, number: int, frame: FrameType | None) -> None:
        if self.raised:
            return  # on the way out already
        second = self.came is not None
        self.came = number
        if self.urgent or second:
            self.usual[number](number, frame)

    def deliver(self) -> None:
        number, self.came = self.came, None
        if number is not None:
            self.raised = True
            self.usual[number](number, None)


# Signals are the process's: so is this.
_current: list[_Deferral] = []


@contextmanager
def deferred() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the next `safe_point`, or to the end of this block.

    A second one does not wait; when one has been raised, others are ignored until the end. A signal that the
    process ignores stays ignored. Within another such block, or outside the main thread, nothing changes.
    """
    if current_thread() is not main_thread() or _current:
        yield
        return
    deferral = _Deferral()
    for name in _SIGNALS:
        handler = signal.getsignal(name)
        if callable(handler):
            deferral.usual[name] = handler
    try:
        _current.append(deferral)
        for number in deferral.usual:
            signal.signal(number, deferral.note)
        yield
    finally:
        for number, handler in deferral.usual.items():
            signal.signal(number, handler)
        _current.clear()
        deferral.deliver()


def safe_point() -> None:
    """Raise what a signal that was put off would have raised."""
    if _current and current_thread() is main_thread():
        _current[0].deliver()


@contextmanager
def at_once() -> Iterator[None]:
    """Put nothing off in this block: for long work that leaves nothing behind."""
    if not _current or current_thread() is not main_thread():
        yield
        return
    deferral = _current[0]
    deferral.deliver()
    deferral.urgent = True
    try:
        yield
    except Exception:
        raise
    except BaseException:
        deferral.came, deferral.raised = None, deferral.came is not None
        raise
    finally:
        deferral.urgent = False
    # Where the exception could not be passed on.
    deferral.deliver()


@contextmanager
def raised_again(signals: Mapping[type[BaseException], int]) -> Iterator[None]:
    """Have a signal whose exception was raised in a callback, of an import too, that drops it come once more.

    `signals`: by the exceptions that their handlers raise.
    """
    usual = sys.unraisablehook

    def hear(args: sys.UnraisableHookArgs) -> None:
        number = signals.get(args.exc_type)
        if number is None:
            usual(args)
            return
        again = Timer(_AGAIN_S, interrupt_main, (number,))
        again.daemon = True
        again.start()

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = usual
