"""What a command is started in: its standard streams, its signals and its names, put right before anything runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from emrdiff_cli.errors import UsageError


def hold_descriptors() -> None:
    """Put the null device in place of standard streams that are closed: else a raster would get their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def take_interrupts() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, where the program's start left it to end the process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_unspeakable(arguments: Sequence[str]) -> None:
    """Raise UsageError for a name that is not UTF-8, which GDAL's bindings cannot open."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{argument!a}: is not UTF-8, as names must be here: rename it") from error
