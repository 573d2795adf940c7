"""Matlab's files of both kinds: odd classes, chunks and sizes beside or in place of an image; and damaged ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import rasterio

from emrdiff_cli.raster.reading import ignoring_missing_georeference
from tests.benchmarks.strangers.damage import cut, flipped
from tests.benchmarks.strangers.door import Door
from tests.benchmarks.strangers.envi import numbered
from tests.support.mat_files import begin_as_matlab

_DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
_CLASSES = {"float64": "double", "float32": "single"}


def cases(chance: Random, emrdiff: Door) -> Iterator[str]:
    """Make a .mat file and convert it; faults."""
    shape = (chance.randint(1, 5), chance.randint(1, 6), chance.randint(1, 6))
    cube = numbered(*shape, chance.choice(_DTYPES)).transpose(1, 2, 0)
    write, beside = chance.choice(((_write_5, _others_5), (_write_73, _others_73)))
    others = beside(chance) if chance.random() < 0.6 else {}
    whole = chance.random() < 0.4
    write(chance, {"cube": cube, **others}, whole)
    if not whole and chance.random() < 0.7:
        path = Path("x.mat")
        content = path.read_bytes()
        head = chance.choice((None, 1024, 4096))
        path.write_bytes(cut(chance, content) if chance.random() < 0.2 else flipped(chance, content, 8, head))
    asked = [["--variable", "cube"], []][chance.random() < 0.2 and not others]
    output = chance.choice(("out.tif", "out.bsq"))
    axis = ["--band-axis", "3"] if whole or chance.random() < 0.5 else []
    ended = emrdiff("convert", "x.mat", output, "-q", *asked, *axis)
    if ended.code:
        if whole and "cannot hold dtype" not in ended.err:
            yield f"a sound file is not converted: {ended.err.strip()}"
        if Path(output).exists():
            yield "an output of a command that failed"
        return
    with ignoring_missing_georeference(), rasterio.open(output) as dataset:
        written = dataset.read()
        if not dataset.transform.is_identity or dataset.crs:
            yield f"placed at {dataset.transform}, which no .mat file says"
    if whole and not np.array_equal(written, cube.transpose(2, 0, 1)):
        yield f"pixels changed place or value: {written.shape} {written.ravel()[:8]}"


def _write_5(chance: Random, arrays: dict[str, Any], _whole: bool) -> None:
    from scipy.io import savemat

    savemat("x.mat", arrays, do_compression=chance.random() < 0.5)


def _others_5(chance: Random) -> dict[str, Any]:
    from scipy.sparse import csc_matrix

    cells = np.empty((2, 2), object)
    cells[:] = [["a", np.ones(3)], [np.zeros((2, 2, 2)), {"b": 1}]]
    known: dict[str, Any] = {
        "cells": cells,
        "struct": {"a": np.ones((2, 3, 4)), "b": {"c": "text"}},
        "text": "wavelengths in nm",
        "sparse": csc_matrix(np.eye(3)),
        "complex": np.ones((2, 2, 2)) * 1j,
        "empty": np.zeros((0, 3, 4)),
        "flat": np.ones((3, 4)),
        "deep": np.ones((2, 2, 2, 2)),
        "truth": np.ones((2, 3), bool),
        "wavelengths": np.array([chance.choice((400.0, -1.0, np.nan, 1e308)), 500.0]),
        "lambda": "text",
        "bands": cells,
    }
    return {name: known[name] for name in chance.sample(list(known), chance.randint(1, 4))}


def _write_73(chance: Random, arrays: dict[str, Any], whole: bool) -> None:
    import h5py

    with h5py.File("x.mat", "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if name != "cube":
                array(file, name)
                continue
            stored = array.T
            chunks = tuple(chance.randint(1, length) for length in stored.shape)
            packed: dict[str, Any] = {} if chance.random() < 0.3 else {"chunks": chunks}
            if packed and chance.random() < 0.5:
                packed["compression"] = "gzip"
            if packed and chance.random() < 0.3:
                packed = {**packed, "shuffle": True, "fletcher32": True}
            kind = stored.dtype.newbyteorder(chance.choice("<>"))
            cube = file.create_dataset(name, data=stored.astype(kind), **packed)
            if chance.random() < 0.8:
                cube.attrs["MATLAB_class"] = np.bytes_(_CLASSES.get(array.dtype.name, array.dtype.name))
        if not whole and chance.random() < 0.6:
            _claim(chance, file)
    begin_as_matlab(Path("x.mat"))


def _claim(chance: Random, file: Any) -> None:
    """Put an image of a huge size, never written, in place of the cube, or one of an odd make."""
    import h5py

    del file["cube"]
    huge = tuple(chance.choice((1, 3, 1000, 10**5, 2**31, 2**40)) for _ in range(3))
    chunks = chance.choice(((1, 1, 1), (2, 3, 1), tuple(min(length, 100) for length in huge)))
    match chance.randrange(5):
        case 0 | 1:
            total = huge[0] * huge[1] * huge[2]
            if total < 2**60:
                kept = tuple(min(a, b) for a, b in zip(chunks, huge, strict=True))
                file.create_dataset(
                    "cube", huge, "u1", chunks=kept, compression=chance.choice((None, "gzip"))
                )
        case 2:
            file["cube"] = h5py.ExternalLink("/dev/zero", "/x")
        case 3:
            kind = chance.choice((h5py.string_dtype(), h5py.vlen_dtype("f4"), np.dtype("f2"), np.dtype("S5")))
            file.create_dataset("cube", (2, 3, 4), kind)
        case _:
            cube = file.create_dataset("cube", (2, 3, 4), "f8", maxshape=(None, None, None))
            cube.attrs["MATLAB_class"] = chance.choice(
                (b"cell", b"\xff", 5, np.ones((9, 9)), b"function_handle")
            )


def _others_73(chance: Random) -> dict[str, Any]:
    import h5py

    def group(file: Any, name: str) -> None:
        file.create_group(name).create_dataset("a", data=np.ones((2, 3, 4)))

    def references(file: Any, name: str) -> None:
        file.create_dataset(name, data=np.array([[file.ref]], h5py.ref_dtype))

    def circle(file: Any, name: str) -> None:
        file[name] = h5py.SoftLink("/" + name)

    def listed(file: Any, name: str) -> None:
        file.create_dataset(name, data=np.array([chance.choice((400.0, -1.0, np.nan, 1e308)), 500.0]))

    def text(file: Any, name: str) -> None:
        file.create_dataset(name, data=np.array([[104], [105]], "u2")).attrs["MATLAB_class"] = b"char"

    def complex_(file: Any, name: str) -> None:
        file.create_dataset(name, data=np.zeros((2, 2, 2), [("real", "f8"), ("imag", "f8")]))

    known = {"struct": group, "refs": references, "circle": circle, "text": text, "complex": complex_}
    known |= {"wavelengths": listed, "lambda": text, "bands": group, "wl": references}
    return {name: known[name] for name in chance.sample(list(known), chance.randint(1, 4))}
