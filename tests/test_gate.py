"""The gate: format, lint and types, for people and CI alike."""

import subprocess
import sys

import pytest

from tests.support.places import ROOT

CHECKS = [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy", "--strict"]]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=" ".join)
def test_the_tree_passes(check: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *check], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
