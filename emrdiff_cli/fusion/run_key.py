"""Key of a fusion's pixels, by name of what they depend on: runs of the same key have the same tile rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from emrdiff_cli.fusion.journal import Key
from emrdiff_cli.fusion.options import OPTIONS, FusionOptions, deciding
from emrdiff_cli.fusion.prepared_scene import Sampler
from emrdiff_cli.fusion.tile_rows import tile_size
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.pair.spectral_coverage import ResponseChoice
from emrdiff_cli.raster.identity import stamps
from emrdiff_cli.version import __version__

_FORMAT = 3  # of the journal


def run_key(
    pair: PairReader, output: Path, sampler: Sampler, choice: ResponseChoice, options: FusionOptions
) -> Key:
    """Names as a user knows them, and values or hashes; the inputs by name, size and time of change.

    No input is read: one that was touched since is another. Raises InputError where one is gone.
    """
    size, overlap = tile_size(sampler.config, options)
    values = deciding(options, output) | {
        "tile": size,
        "overlap": overlap,
        "dtype": options.dtype or pair.lr_info.dtype,
        "srf": _response(choice),
    }
    del values["effort"]  # leaves nothing to choose where a sampler runs
    return {
        "LR-HSI": _text(stamps(pair.lr_info.path)),
        "HR-MSI": _text(stamps(pair.msi_info.path)),
        "model's configuration": _hash(asdict(sampler.config)),
        "version": f"{__version__}, journal {_FORMAT}",
        **sampler.identity,
        **{OPTIONS[name].flag: _text(value) for name, value in values.items()},
    }


def _text(value: object) -> str:
    """A value as a user writes it."""
    if isinstance(value, dict):
        return _text([f"{key}={part}" for key, part in sorted(value.items())])
    if isinstance(value, tuple | list):
        return " ".join(map(_text, value))
    return "none" if value is None else str(value)


def _response(choice: ResponseChoice) -> str:
    if choice.response is None:
        return choice.kind
    table = choice.response
    arrays = hashlib.blake2b(digest_size=16)
    for name, values in sorted(vars(table).items()):
        arrays.update(f"{name} {values!r}".encode() if isinstance(values, tuple) else values.tobytes())
    return f"{choice.name} {arrays.hexdigest()}"


def _hash(values: object) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()
