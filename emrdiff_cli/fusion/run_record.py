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


def run_record(
    lr_hsi: Path,
    hr_msi: Path,
    output: Path,
    method: object,
    options: FusionOptions,
    tiles: tuple[int, int] | None,
) -> str:
    """Hash the stamps of the inputs' files, the method with what decides its draw, and the deciding options.

    By what they mean, not how they are spelt: a response's file by what it holds, the output's type by its name
    where it is the LR-HSI's, size and overlap of a model's `tiles` as they come out; None for no tiles. No pixel is
    read, so that asking for an archive's state is quick: one that was touched since is another.
    Raises InputError where an input is not there.
    """
    kept = deciding(options, output) | {
        "dtype": options.dtype or read_info(lr_hsi).dtype,
        "srf": _content(options.srf),
        "tile": tiles,
        "overlap": None,
        "creation_options": {key.upper(): value for key, value in options.creation_options.items()},
    }
    facts = [stamps(lr_hsi), stamps(hr_msi), method, kept]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def holds_run(output: Path, record: str) -> bool:
    """Whether the output can be opened and was made by the run of this record."""
    try:
        return read_info(output).tags.get(RUN_TAG) == record
    except InputError:
        return False


def _content(srf: str | None) -> str | None:
    """Hash of a response's file, or the name of one that is known; None for none."""
    try:
        return None if srf is None else file_sha256(Path(srf))
    except InputError:
        return srf
