"""What an output says of the run that made it, so that it is known for done: a hash in one of its tags."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.fusion_options import FusionOptions
from emrdiff_cli.raster.files import files_of
from emrdiff_cli.raster.reading import read_info

RUN_TAG = "emrdiff_run"

Stamp = tuple[str, int, int]
"""A file's name, size and time of change."""

# None of these changes a pixel.
_PASSING = ("batch_size", "overwrite", "provenance", "resume", "max_memory")


def run_record(lr_hsi: Path, hr_msi: Path, method: object, options: FusionOptions) -> str:
    """Hash names, sizes and times of change of the inputs' files, the method and the options.

    No input is read, so that asking for an archive's state is quick: a copy that keeps the times of change
    is the same input, one that does not is another. Raises InputError where an input is not there.
    """
    kept = {key: value for key, value in asdict(options).items() if key not in _PASSING}
    facts = [stamps(lr_hsi), stamps(hr_msi), method, kept, _content(options.srf)]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def holds_run(output: Path, record: str) -> bool:
    """Whether the output can be opened and was made by the run of this record."""
    try:
        return read_info(output).tags.get(RUN_TAG) == record
    except InputError:
        return False


def stamps(raster: Path) -> list[Stamp]:
    """Of a raster's files. Raises InputError where it is not there."""
    try:
        states = [(path.name, path.stat()) for path in files_of(raster)]
    except OSError as error:
        raise InputError(f"{raster}: cannot be read: {error.strerror}") from error
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _content(srf: str | None) -> str | None:
    """Hash of a response's file; None for none, or a name."""
    try:
        return None if srf is None else hashlib.sha256(Path(srf).read_bytes()).hexdigest()
    except OSError:
        return None
