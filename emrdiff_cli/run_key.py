"""What a fusion's pixels depend on, by name: two runs of the same key have the same tile rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from emrdiff_cli import __version__
from emrdiff_cli.fusion_options import FusionOptions
from emrdiff_cli.input_files import content_hash
from emrdiff_cli.journal import Key
from emrdiff_cli.pairing import PairReader
from emrdiff_cli.prepared_scene import Sampler
from emrdiff_cli.spectral_coverage import ResponseChoice
from emrdiff_cli.tile_rows import tile_size

_FORMAT = 1  # of the journal
_MODEL = "emrdiff_model"  # begins the tags that name the weights
_OPTIONS = {"emrdiff_seed": "--seed", "emrdiff_steps": "--steps"}


def run_key(pair: PairReader, sampler: Sampler, choice: ResponseChoice, options: FusionOptions) -> Key:
    """Names as a user knows them, and values or hashes. Reads both inputs whole, as streams."""
    size, overlap = tile_size(sampler.config, options)
    own = {name: options.provenance.get(tag, "") for tag, name in _OPTIONS.items()}
    weights = {tag: value for tag, value in options.provenance.items() if tag.startswith(_MODEL)}
    return {
        "LR-HSI": content_hash(pair.lr_info),
        "HR-MSI": content_hash(pair.msi_info),
        "model": _hash([asdict(sampler.config), weights]),
        "version": f"{__version__}, journal {_FORMAT}",
        **own,
        "--tile": str(size),
        "--overlap": str(overlap),
        "--bounds": "" if options.bounds is None else " ".join(map(repr, options.bounds)),
        "--coregister": str(options.coregister),
        "--srf": _response(choice),
        "--dtype": options.dtype or pair.lr_info.dtype,
        "--format": options.driver,
        "--co": " ".join(f"{key}={value}" for key, value in sorted(options.creation_options.items())),
    }


def _response(choice: ResponseChoice) -> str:
    if choice.response is None:
        return choice.kind
    table = choice.response
    arrays = hashlib.blake2b(digest_size=16)
    for name, values in sorted(vars(table).items()):
        arrays.update(f"{name} {values!r}".encode() if isinstance(values, tuple) else values.tobytes())
    return f"{choice.name} {arrays.hexdigest()}"


def _hash(values: object) -> str:
    return hashlib.blake2b(
        json.dumps(values, sort_keys=True, default=str).encode(), digest_size=16
    ).hexdigest()
