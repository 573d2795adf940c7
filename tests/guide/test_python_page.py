"""The guide's notebook: its blocks one after the other, each printing what the page says."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from emrdiff_cli.guide import read_page
from tests.support.places import SAMPLE

# The test extra brings it; matplotlib is the benchmark extra's.
pytest.importorskip("rioxarray")
PICTURE = "import matplotlib.pyplot"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib")
def test_the_notebook_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sample_data").symlink_to(SAMPLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = re.findall(r"^```python\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", read_page("python"), re.M | re.S)
    assert [bool(said) for _, said in cells] == [PICTURE not in cell for cell, _ in cells]
    names: dict[str, Any] = {}
    for cell, said in cells:
        if PICTURE not in cell or find_spec("matplotlib"):
            exec(compile(cell, "guide/python.md", "exec"), names)
        assert capsys.readouterr() == (said, "")
    made = {path.name for path in tmp_path.iterdir()} - {"sample_data", "python.png"}
    assert made == {"fused.tif"}


def test_the_picture_is_small() -> None:
    assert 10_000 < (SAMPLE / "python.png").stat().st_size < 100_000
