"""`emrdiff` run through its front door, in this process or one of its own, and what that comes to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import NamedTuple

import pytest


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def front_door(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A runner of `emrdiff` in this process, which returns its exit code, stdout and stderr."""
    from emrdiff_cli.cli.app import main

    def command(*args: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["emrdiff", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return command


def succeed(*arguments: object) -> str:
    """Run `emrdiff` in this process, where it must succeed, for fixtures of a module; returns its stdout."""
    from emrdiff_cli.cli.app import main

    said = StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(said):
        patched.setattr(sys, "argv", ["emrdiff", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, (arguments, ended.value.code)
    return said.getvalue()


def in_a_process(*arguments: object, limit: int | None = None) -> Ended:
    """Run `emrdiff` in a process of its own; `limit`: no file may grow beyond so many bytes."""
    lines = [
        "import resource, sys",
        "" if limit is None else f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))",
        f"sys.argv = {['emrdiff', *map(str, arguments)]!r}",
        "from emrdiff_cli.cli.app import main",
        "main()",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=100
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def error_lines(ended: Ended) -> Sequence[str]:
    """Lines on stderr, without libtiff's own, which nothing can keep it from writing."""
    return [line for line in ended.err.splitlines() if not line.startswith("_tiff")]
