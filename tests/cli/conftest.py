"""The front door, for all commands."""

from __future__ import annotations

import sys

import pytest
from front_door import Ended, Run

from emrdiff_cli.cli.app import main


@pytest.fixture
def emrdiff(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `emrdiff` with these arguments: its exit code, stdout and stderr."""

    def command(*args: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["emrdiff", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return command
