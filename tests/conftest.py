"""Before anything imports numpy or torch: one thread a process, bytecode kept, and hypothesis without chance."""

import os

import pytest
from hypothesis import settings

from tests.support.front_door import Run, front_door

# Test files run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Each process that a test starts would compile the package anew, a quarter of a second for `fuse`.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What chance finds must not break a run that has nothing to do with it; look for more with `random`.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture
def emrdiff(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `emrdiff` with these arguments: its exit code, stdout and stderr."""
    return front_door(monkeypatch, capfd)
