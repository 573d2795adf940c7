"""Pages of the guide, run: their blocks of `sh` by bash, with `emrdiff` in this process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.front_door import Ended, Run

# `emrdiff` hands its arguments over and waits for what came of them; `unzip` is not on every machine.
_PREAMBLE = r"""
emrdiff() {
    printf '%s\0' "$#" "$PWD" "$@" >&"$EMRDIFF_ASKED"
    IFS= read -r code <&"$EMRDIFF_ANSWERED"
    cat "$EMRDIFF_SAID"
    return "$code"
}
unzip() { "$EMRDIFF_PYTHON" -m zipfile -e "$1" .; }
"""


def blocks(page: str, language: str = r"\w*") -> list[str]:
    """The code blocks of a page, of a language or of any."""
    return re.findall(rf"^```(?:{language})\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def command_lines(page: str) -> list[str]:
    """Calls of `emrdiff` in a page's blocks, continued lines joined, without comments and redirections."""
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(blocks(page)))
    found = re.findall(r"(?:^|[;|&'(]) *(emrdiff [^#\n]*)", joined, re.MULTILINE)
    return [re.split(r" (?:>|\|\||\||&&)|'$", line, maxsplit=1)[0].strip() for line in found]


def run_page(page: str, folder: Path, emrdiff: Run, monkeypatch: pytest.MonkeyPatch) -> list[Ended]:
    """Run a page's blocks of `sh` in a folder, as one script; what each `emrdiff` came to. None may fail."""
    asking, asked = os.pipe()
    answered, answering = os.pipe()
    said = folder / ".said"
    names = {"ASKED": asked, "ANSWERED": answered, "SAID": said, "PYTHON": sys.executable}
    environment = os.environ | {f"EMRDIFF_{name}": str(value) for name, value in names.items()}
    script = _PREAMBLE + "\n".join(blocks(page, "sh"))
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        pass_fds=(asked, answered),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as shell:
        os.close(asked)
        os.close(answered)
        ended = []
        for where, arguments in _requests(asking):
            monkeypatch.chdir(where)
            ended.append(emrdiff(*arguments))
            said.write_text(ended[-1].out)
            os.write(answering, b"%d\n" % ended[-1].code)
        os.close(asking)
        os.close(answering)
        _, errors = shell.communicate()
    said.unlink(missing_ok=True)
    assert shell.returncode == 0, [errors.decode(), *(run.err for run in ended[-1:])]
    return ended


def _requests(source: int) -> Iterator[tuple[str, list[str]]]:
    """Folder and arguments of each call, until the shell is gone."""
    parts: list[str] = []
    rest = b""
    while read := os.read(source, 65536):
        *whole, rest = (rest + read).split(b"\0")
        parts += [os.fsdecode(part) for part in whole]
        while parts and len(parts) >= 2 + int(parts[0]):
            count = int(parts[0])
            yield parts[1], parts[2 : 2 + count]
            parts = parts[2 + count :]
