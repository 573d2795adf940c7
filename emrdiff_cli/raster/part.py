"""A raster under way: files beside the target that take its place in one step, or leave no trace."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from emrdiff_cli.errors import WriteError
from emrdiff_cli.raster.envi import header_paths
from emrdiff_cli.raster.files import WrittenFiles, refuse_lost
from emrdiff_cli.runtime.atomic import check_target, part_of, sync


class PartFile:
    """The part of a raster's file, with `.hdr` added for its header where it is to have one.

    `drafted`: rows are to go into another file, `draft`, from which the part is then made.

    Raises OutputExistsError if a file would be replaced or removed and `overwrite` is False, UsageError if it
    is another raster's, WriteError if it is no regular file, or its folder is missing or cannot be written to;
    all at once, before any work.
    """

    def __init__(self, files: WrittenFiles, overwrite: bool, drafted: bool = False) -> None:
        self.target = check_target(files.data, overwrite)
        self.header_target = None if files.header is None else check_target(files.header, overwrite)
        refuse_lost(files, overwrite)
        self._stale = files.stale
        self.path = part_of(self.target)
        self.header = header_paths(self.path)[1]
        self.draft = self.path.with_name(self.path.name + ".draft") if drafted else self.path

    def commit(self) -> None:
        """Put the part in the target's place, the header last. Raises WriteError."""
        try:
            sync(self.path)
            if self.header_target is None:
                self.path.replace(self.target)
            else:
                sync(self.header)
                self._replace_both(self.header_target)
            for path in self._stale:
                path.unlink(missing_ok=True)
            sync(self.target.parent)
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
