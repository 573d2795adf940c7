"""What a command run through the front door comes to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def front_door(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """What runs `emrdiff` with its arguments: exit code, stdout and stderr."""
    from emrdiff_cli.cli.app import main

    def command(*args: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["emrdiff", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return command
