"""The front door, for all commands."""

from __future__ import annotations

import pytest
from front_door import Run, front_door


@pytest.fixture
def emrdiff(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `emrdiff` with these arguments: its exit code, stdout and stderr."""
    return front_door(monkeypatch, capfd)
