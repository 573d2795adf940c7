"""CSV lists of pairs, wavelengths and responses, and TOML configurations, as people and spreadsheets write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from emrdiff_cli.config import ModelConfig, TrainConfig, build_config, read_toml
from emrdiff_cli.errors import EmrdiffError
from tests.benchmarks.strangers.damage import AWKWARD, damaged
from tests.benchmarks.strangers.door import Door
from tests.benchmarks.strangers.envi import numbered
from tests.benchmarks.strangers.oracles import Truth, record_faults
from tests.support.rasters import write_tif

_CELLS = (
    *AWKWARD,
    *(
        "x.tif",
        "y.tif",
        "out.tif",
        "a" * 200_000,
        '"',
        "a,b",
        "kriging",
        "glp",
        "auto",
        "1,2",
        "2;3",
        "EPSG:4326",
    ),
    *("0,0,1,1", "True", "TILED=YES", "estimate", "metadata", "/dev/zero", ".", "..", "x.tif/"),
)
_COLUMNS = (
    *(
        "method",
        "tile",
        "bounds",
        "co",
        "srf",
        "model",
        "seed",
        "steps",
        "register",
        "shift",
        "psf_fwhm",
        "dtype",
    ),
    *("nodata", "src_nodata", "band", "Method", " tile", "", "lr_hsi", "report", "overwrite"),
)
_CONSUMERS = {
    "pairs": (("lr_hsi", "hr_msi", "output"), ("fuse", "--manifest", "x.csv", "--dry-run")),
    "scores": (("fused", "reference"), ("evaluate", "--manifest", "x.csv")),
}


def lists(chance: Random, emrdiff: Door) -> Iterator[str]:
    """Make a CSV and hand it to what reads such; faults."""
    write_tif(Path("x.tif"), numbered(4, 6, 6, "int16"))
    kind = chance.choice(("pairs", "scores", "centres", "centres", "response"))
    if kind == "centres":
        yield from _centres(chance, emrdiff)
        return
    if kind == "response":
        rows = [["wavelength_nm", *(f"b{i}" for i in range(3))]]
        rows += [[str(nm), *(f"{chance.random():.3f}" for _ in range(3))] for nm in range(400, 800, 50)]
        _save(chance, _spoilt(chance, rows))
        emrdiff("simulate", "x.tif", "made", "--ratio", "2", "--srf", "x.csv", "-q")
        return
    needed, command = _CONSUMERS[kind]
    columns = [*needed, *chance.sample(_COLUMNS, chance.randint(0, 3))]
    rows = [columns]
    for _ in range(chance.randint(0, 3)):
        rows.append(
            [
                *(["x.tif"] * (len(needed) - 1)),
                "out.tif",
                *(chance.choice(_CELLS) for _ in columns[len(needed) :]),
            ]
        )
    _save(chance, _spoilt(chance, rows))
    emrdiff(*command)
    if kind == "pairs" and Path("out.tif").exists():
        yield "a dry run wrote its output"


def _centres(chance: Random, emrdiff: Door) -> Iterator[str]:
    centres = sorted({round(chance.uniform(380, 2500), 1) for _ in range(4)})
    if len(centres) < 4:
        return
    rows = [[str(centre)] for centre in centres]
    if chance.random() < 0.3:
        rows = [[*row, "10"] for row in rows]
    whole = chance.random() < 0.5
    _save(chance, rows if whole else _spoilt(chance, rows), whole)
    ended = emrdiff("convert", "x.tif", "out.tif", "--wavelengths", "x.csv", "-q")
    found = None if ended.code else emrdiff.record("out.tif")
    if whole and found is None:
        yield f"a sound list is refused: {ended.err.strip()}"
    yield from record_faults(found, Truth(wavelengths=centres if whole else None))


def _spoilt(chance: Random, rows: list[list[str]]) -> list[list[str]]:
    """Other cells here and there, rows doubled or lost, cells too many or too few."""
    rows = [list(row) for row in rows]
    for _ in range(chance.randint(0, 3)):
        row = chance.choice(rows)
        match chance.randrange(5):
            case 0 | 1:
                if row:
                    row[chance.randrange(len(row))] = chance.choice(_CELLS)
            case 2:
                row.append(chance.choice(_CELLS))
            case 3:
                row[-1:] = []
            case _:
                rows.append(list(row))
    return rows


def _save(chance: Random, rows: list[list[str]], whole: bool = False) -> None:
    text = io.StringIO(newline="")
    separator = "," if whole else chance.choice((",", ",", ",", ";", "\t"))
    csv.writer(text, lineterminator=chance.choice(("\n", "\r\n")), delimiter=separator).writerows(rows)
    content = text.getvalue().encode(chance.choice(("utf-8", "utf-8", "utf-8-sig")))
    if not whole and chance.random() < 0.2:
        content = text.getvalue().encode("utf-16")
    Path("x.csv").write_bytes(content if whole or chance.random() < 0.6 else damaged(chance, content))


_VALUES = (
    *("0", "-1", "1", "2", "3", "1e9", "1_000_000_000", "9" * 30, "nan", "inf", "-inf", "1e308", "1e-320"),
    *('""', '"kriging"', '"x"', "true", "false", "[]", "[1]", "[1.0, 2.0]", "[[1]]", "{}", "{a = 1}"),
    *(
        '["unexplained"]',
        "1979-05-27",
        "07:32:00",
        "0x10",
        "'\\'",
        '"""\n"""',
        "[" * 200 + "]" * 200,
        "[" * 5000,
    ),
    *("[" + "1," * 5000 + "]", "{a=" * 400 + "1" + "}" * 400),
)


def configurations(chance: Random, emrdiff: Door) -> Iterator[str]:
    """Make a TOML configuration, hand it to `train`, and make configurations of it; faults."""
    lines = []
    for name, of in (("model", ModelConfig), ("train", TrainConfig)):
        lines.append(chance.choice((f"[{name}]", f"[{name}]", f"[{name}]", f"[[{name}]]", f"[{name}.x]", "")))
        keys = [*of.__dataclass_fields__, "", "x", "é"]
        for key in chance.sample(keys, chance.randint(0, 3)):
            lines.append(f"{key} = {chance.choice(_VALUES)}")
    content = "\n".join(lines).encode()
    Path("x.toml").write_bytes(content if chance.random() < 0.7 else damaged(chance, content))
    Path("archive").mkdir()
    emrdiff(
        "train",
        "--archive",
        "archive",
        "--ratio",
        "4",
        "--srf",
        "sentinel-2a",
        "--config",
        "x.toml",
        "-o",
        "m",
    )
    if Path("m").exists():
        yield "a model from no scene"
    try:
        model, train = read_toml(Path("x.toml"))
        facts: dict[str, Any] = {"msi_bands": 3, "ratio": 4.0, "hsi_bands": 20}
        build_config(ModelConfig, facts | model)
        made = build_config(TrainConfig, train)
        if not all(np.isfinite(v) for v in vars(made).values() if isinstance(v, float)):
            yield f"a configuration of no numbers: {made}"
    except EmrdiffError as error:
        if len(str(error).splitlines()) != 1:
            yield f"not one line: {error}"
