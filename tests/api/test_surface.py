"""The package's public names: what they take, their examples, and what their import brings along."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import emrdiff_cli
from emrdiff_cli.fusion.options import OPTIONS

MODULES = ("checking", "fusion", "scores", "simulation")


def test_the_names_are_listed_and_there() -> None:
    assert dir(emrdiff_cli) == sorted(emrdiff_cli.__all__)
    for name in emrdiff_cli.__all__:
        assert getattr(emrdiff_cli, name).__doc__
    with pytest.raises(AttributeError, match="fuze"):
        _ = emrdiff_cli.fuze


def test_the_keywords_are_the_flags() -> None:
    known = inspect.signature(emrdiff_cli.fuse).parameters
    flags = [option.flag.removeprefix("--").replace("-", "_") for option in OPTIONS.values()]
    assert [flag for flag in flags if flag not in known] == []


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true(name: str) -> None:
    failed, tried = doctest.testmod(import_module(f"emrdiff_cli.api.{name}"))
    assert tried > 2
    assert not failed


@pytest.mark.slow
def test_kriging_brings_neither_torch_nor_xarray() -> None:
    lines = [
        "import sys, numpy as np, emrdiff_cli",
        "msi = np.random.default_rng(0).random((2, 24, 24))",
        "lr = np.repeat(msi, 2, axis=0).reshape(4, 6, 4, 6, 4).mean(axis=(2, 4))",
        "assert emrdiff_cli.krige(lr, msi, ratio=4).shape == (4, 24, 24)",
        "print([name for name in ('torch', 'xarray', 'typer') if name in sys.modules])",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
