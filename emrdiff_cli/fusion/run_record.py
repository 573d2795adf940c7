"""Record of the run that made an output, so that it is known for done: a hash in one of its tags."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.fusion.options import FusionOptions, deciding
from emrdiff_cli.raster.identity import file_sha256, stamps
from emrdiff_cli.raster.reading import read_info

RUN_TAG = "emrdiff_run"


def run_record(lr_hsi: Path, hr_msi: Path, output: Path, method: object, options: FusionOptions) -> str:
    """Hash the stamps of the inputs' files, the method with what decides its draw, and the deciding options.

    No input is read, so that asking for an archive's state is quick: one that was touched since is another.
    Raises InputError where an input is not there.
    """
    kept = deciding(options, output)
    facts = [stamps(lr_hsi), stamps(hr_msi), method, kept, _content(options.srf)]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def holds_run(output: Path, record: str) -> bool:
    """Whether the output can be opened and was made by the run of this record."""
    try:
        return read_info(output).tags.get(RUN_TAG) == record
    except InputError:
        return False


def _content(srf: str | None) -> str | None:
    """Hash of a response's file; None for none, or a name."""
    try:
        return None if srf is None else file_sha256(Path(srf))
    except InputError:
        return None
