"""What `torchrun` tells a process that it started, and how such a one ends: known without torch."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn


def processes() -> int:
    """How many processes `torchrun` started for this command; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def end_at_once(code: int) -> NoReturn:
    """End this process with that exit code, what was printed said: all that it held must be closed.

    The threads of a process group outlive it where an error left it unclosed, and abort a process whose
    interpreter they find being taken down; torchrun then ends the others.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
