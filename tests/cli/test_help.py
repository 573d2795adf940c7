"""Help on the command line: options by panels of the same names everywhere, readable at 80 columns."""

from __future__ import annotations

import re

import pytest

from emrdiff_cli.cli.app import commands
from emrdiff_cli.cli.panels import PANELS
from tests.support.front_door import Run

COMMANDS = sorted(commands().commands)
FEW = 8
SHARED = {"--register", "--shift", "--mask", "--overwrite", "--json", "--quiet", "--device"}


@pytest.mark.parametrize("columns", [80, 120])
def test_many_options_stand_in_panels(emrdiff: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    panels_of: dict[str, set[str]] = {}
    for command in COMMANDS:
        said = emrdiff(command, "--help").out
        panels = dict(re.findall(r"^╭─ (.*?) ─*╮$(.*?)^╰", said, re.MULTILINE | re.DOTALL))
        panels.pop("Arguments", None)
        options = {
            name: re.findall(r"^│[ *]+(--[a-z-]+)", text, re.MULTILINE) for name, text in panels.items()
        }
        # A type says less than a name of the value; an option's own name is never cut.
        assert not re.search(r"…|<bool>|<int|<str>|<float", "".join(panels.values())), command
        if sum(map(len, options.values())) <= FEW:
            assert list(panels) == ["Options"], command
            continue
        assert list(panels) == [panel for panel in PANELS if panel in panels], command
        for panel, names in options.items():
            for name in SHARED & set(names):
                panels_of.setdefault(name, set()).add(panel)
    assert set(panels_of) == SHARED
    assert all(len(panels) == 1 for panels in panels_of.values())
