"""Files written in one step: whole and on disk under their names, or not at all.

What is under way lies beside its target as `.NAME.part-<process>`. Only a regular file, or the one that a link
points to, is ever replaced.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emrdiff_cli.errors import OutputExistsError, WriteError


def target_of(path: Path) -> Path:
    """The file that an output's name stands for: the name itself or, of a link, what that points to.

    It may not be there yet. Raises WriteError for a folder, a device, a pipe, a socket, a link to nothing or to
    an open descriptor, and where the name cannot be looked up.
    """
    with failing_as_write_error(path):
        linked = path.is_symlink()
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            if linked:
                raise WriteError(f"{path}: is a link to nothing: remove it, or name a file") from error
            return path
        if stat.S_ISDIR(mode):
            raise WriteError(f"{path}: is a folder: name a file in it")
        if not stat.S_ISREG(mode) or _of_a_descriptor(path):
            raise WriteError(f"{path}: is a device, a pipe or a socket: name a file")
        return Path(os.path.realpath(path)) if linked else path


def _of_a_descriptor(path: Path) -> bool:
    """Whether a link leads through the descriptors of a process, as `/dev/stdout` does."""
    while path.is_symlink():
        if Path(os.path.realpath(path.parent)).parts[:2] == ("/", "proc"):
            return True
        path = path.parent / path.readlink()
    return False


def check_target(path: Path, overwrite: bool) -> Path:
    """The file that is to be written, as `target_of` gives it; refused before any work if it cannot be.

    Raises as `target_of` does, OutputExistsError where it is there and `overwrite` is False, WriteError where
    its folder is missing or cannot be written to.
    """
    target = target_of(path)
    refuse_existing(path, overwrite)
    part = part_of(target)
    with failing_as_write_error(path):
        try:
            part.touch()
        except FileNotFoundError as error:
            raise WriteError(f"{target.parent}: no such folder: make it first") from error
        part.unlink()
    return target


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise OutputExistsError where a file is there, or a link, and `overwrite` is False."""
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(f"{path}: is there already: give --overwrite to replace it")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a part to fill, which takes the path's place on a clean exit and else leaves no trace.

    Raises as `target_of` does, and WriteError for any OSError on the way.
    """
    target = target_of(path)
    part = part_of(target)
    with failing_as_write_error(path):
        try:
            yield part
            sync(part)
            part.replace(target)
            sync(target.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or replace it, in one step. Raises WriteError as `replacing` does."""
    with replacing(path) as part:
        part.write_bytes(content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if need be. Raises WriteError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be made: {error.strerror}") from error


def part_of(target: Path) -> Path:
    """The name of this process's part of a target."""
    return target.with_name(f".{target.name}.part-{os.getpid()}")


def sweep_parts(target: Path) -> None:
    """Remove the parts of a target whose processes are gone, as a kill leaves them."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.part-(\d+)(\..*)?")
    with suppress(OSError):
        for path in list(target.parent.iterdir()):
            found = pattern.fullmatch(path.name)
            if found is not None and not runs(int(found[1])):
                path.unlink(missing_ok=True)


def runs(process: int) -> bool:
    """Whether another process of this number runs; a part of this one's own number is an earlier one's."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sync(path: Path) -> None:
    """Have what a file or a folder holds on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def failing_as_write_error(path: Path) -> Iterator[None]:
    """Raise an OSError as WriteError, which names the path."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
