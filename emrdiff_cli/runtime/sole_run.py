"""One run at a time on a target: a lock beside it, and what killed runs have left of their parts."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emrdiff_cli.errors import UsageError, WriteError
from emrdiff_cli.runtime.atomic import runs, sweep_parts, target_of

_LOCK = re.compile(rb"(process \d+\n)?")
_LONGEST = 100  # bytes, more than any lock has


@contextmanager
def sole_run(target: Path) -> Iterator[None]:
    """Hold the target's lock, and remove the parts that killed runs have left.

    The lock is the kernel's: it ends with the process, however that ends. Raises UsageError where another
    run holds it, WriteError where it cannot be made, or something else has its name.
    """
    target = target_of(target)
    path = target.with_name(f".{target.name}.lock")
    try:
        descriptor = _lock(path)
    except BlockingIOError as error:
        raise UsageError(
            f"{target}: is being written by another run ({_holder(path)}): wait for it, or name another output"
        ) from error
    except OSError as error:
        raise WriteError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        sweep_parts(target)
        _sweep_locks(target.parent)
        yield
    finally:
        # Removed while it is held: whoever waits for this very file finds it gone, and makes another.
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep_locks(folder: Path) -> None:
    """Remove the locks that killed runs on other outputs have left: of processes that are gone, held by none."""
    with suppress(OSError):
        for path in list(folder.glob(".*.lock")):
            with suppress(OSError):
                _remove_left(path)


def _remove_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.pread(descriptor, _LONGEST, 0) if regular else b""
        if text and _LOCK.fullmatch(text) and not runs(int(text.split()[1])):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                path.unlink()
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Open and lock the file; again where it was removed between the two."""
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                with suppress(OSError):  # a courtesy: it says who holds the lock
                    os.truncate(descriptor, 0)
                    os.write(descriptor, f"process {os.getpid()}\n".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open the file without following a link; raises WriteError where it is none that a run has left."""
    refusal = WriteError(f"{path}: is no lock of a run: remove it, or name another output")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise refusal from error
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and _LOCK.fullmatch(os.pread(descriptor, _LONGEST, 0)):
        return descriptor
    os.close(descriptor)
    raise refusal


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip() or "its process is unknown"
    except (OSError, ValueError):
        return "its process is unknown"
