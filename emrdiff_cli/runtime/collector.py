"""The garbage collector and what imports make, which it would look at again and again: a sixth of their time."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 10_000  # objects between collections; Python's own are 700 to 2000
_own_process = threading.Event()  # the command's, not one of Python in which others' objects live


def set_aside() -> None:
    """In a process that is the command's own: leave what is loaded by now alone for good, and collect seldom."""
    _own_process.set()
    gc.freeze()
    gc.set_threshold(_SELDOM)


@contextmanager
def loading() -> Iterator[None]:
    """Keep the collector off an import. Where what was loaded is set aside, this is too."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _own_process.is_set():
            gc.freeze()
        if collecting:
            gc.enable()
