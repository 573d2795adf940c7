"""An output under way: files beside the target that take its place in one step, or leave no trace."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from emrdiff_cli.errors import OutputExistsError, WriteError
from emrdiff_cli.raster.envi import header_paths

_SIDECARS = (".aux.xml", ".ovr", ".msk")


class PartFile:
    """The part file `.name.part-<pid>` of a target, with `.hdr` added for its header if `header` is given.

    `drafted`: rows are to go into another file, `draft`, from which the part is then made.

    Raises OutputExistsError if the target is there and `overwrite` is False, WriteError if its folder
    is missing or cannot be written to; both at once, before any work.
    """

    def __init__(self, target: Path, header: Path | None, overwrite: bool, drafted: bool = False) -> None:
        self.target = target
        self.header_target = header
        self.path = target.with_name(f".{target.name}.part-{os.getpid()}")
        self.header = header_paths(self.path)[1]
        self.draft = self.path.with_name(self.path.name + ".draft") if drafted else self.path
        try:
            self._refuse_existing(overwrite)
            self.draft.touch()
            self.draft.unlink()
        except FileNotFoundError as error:
            raise WriteError(f"{self.target.parent}: no such folder: make it first") from error
        except OSError as error:
            raise WriteError(f"{self.target}: cannot be written: {error.strerror}") from error

    def _refuse_existing(self, overwrite: bool) -> None:
        if self.target.is_dir():
            raise WriteError(f"{self.target}: is a folder: name a file in it")
        for path in (self.target, self.header_target):
            if path is not None and path.exists() and not overwrite:
                raise OutputExistsError(f"{path}: is there already: give --overwrite to replace it")

    def commit(self) -> None:
        """Put the part in the target's place, the header last. Raises WriteError."""
        try:
            _sync(self.path)
            if self.header_target is None:
                self.path.replace(self.target)
            else:
                _sync(self.header)
                self._replace_both(self.header_target)
            self._drop_stale()
            _sync(self.target.parent)
        except OSError as error:
            raise WriteError(f"{self.target}: cannot be put in place: {error.strerror}") from error

    def _replace_both(self, header: Path) -> None:
        """Put data and header in place; where the header cannot be, the data that was there is put back."""
        old, fresh = self.path.with_name(self.path.name + ".old"), not self.target.exists()
        with suppress(OSError):  # there may be none to keep, or no links on the file system
            old.hardlink_to(self.target)
        try:
            self.path.replace(self.target)
            self.header.replace(header)
        except BaseException:
            with suppress(OSError):
                if fresh:
                    self.target.unlink(missing_ok=True)
                else:
                    old.replace(self.target)
            raise
        finally:
            with suppress(OSError):
                old.unlink(missing_ok=True)

    def _drop_stale(self) -> None:
        """Remove what belonged to the file that was there: it would shadow the new one's metadata."""
        for suffix in _SIDECARS:
            self.target.with_name(self.target.name + suffix).unlink(missing_ok=True)
        if self.header_target is not None:
            for other in header_paths(self.target):
                if other != self.header_target:
                    other.unlink(missing_ok=True)

    def drop_sidecar(self) -> None:
        """Remove the `.aux.xml` that GDAL leaves beside a part."""
        self.path.with_name(self.path.name + ".aux.xml").unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove whatever is left of the part."""
        with suppress(OSError):
            self.drop_sidecar()
            self.header.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            if self.draft != self.path:
                self._discard_drafts()

    def _discard_drafts(self) -> None:
        """Remove the draft and what GDAL may have left of its own, such as overviews on their way."""
        for path in self.target.parent.iterdir():
            if path.name.startswith(self.path.name + "."):
                path.unlink(missing_ok=True)


def sweep_parts(target: Path) -> None:
    """Remove the parts of a target whose processes are gone, as a kill leaves them."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.part-(\d+)(\..*)?")
    with suppress(OSError):
        for path in list(target.parent.iterdir()):
            found = pattern.fullmatch(path.name)
            if found is not None and not _runs(int(found[1])):
                path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
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


def write_whole(target: Path, content: bytes, overwrite: bool) -> None:
    """Write a file that is no raster, in one step. Raises as `PartFile` does, and WriteError."""
    part = PartFile(target, None, overwrite)
    try:
        part.path.write_bytes(content)
        part.commit()
    except OSError as error:
        raise WriteError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        part.discard()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
