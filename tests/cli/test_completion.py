"""What a shell completes, and the nearest name where one is mistyped."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.front_door import Run
from tests.support.rasters import pixels, write_tif

SHELLS = ("bash", "zsh", "fish")


def completed(emrdiff: Run, monkeypatch: pytest.MonkeyPatch, shell: str, *words: str) -> list[str]:
    """The values that a shell is told, the last word being the one that is typed."""
    line = " ".join(["emrdiff", *words])
    with monkeypatch.context() as asked:
        asked.setattr(
            sys.modules["__main__"], "__package__", None
        )  # the program is `emrdiff`, not `python -m`
        asked.setenv("_EMRDIFF_COMPLETE", f"complete_{shell}")
        asked.setenv("COMP_WORDS", line)
        asked.setenv("COMP_CWORD", str(len(words)))
        asked.setenv("_TYPER_COMPLETE_ARGS", line)
        asked.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        told = emrdiff().out
    if shell == "zsh":  # _arguments '*: :(("value":"help"\n...))', or _files
        return re.findall(r'^(?:_arguments \S+ \S*\(\()?"([^"]*)"', told, re.MULTILINE)
    return [value.split("\t")[0] for value in told.split("\n") if value]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("fu",), ["fuse"]),
        (("fuse", "--method", "k"), ["kriging"]),
        (("fuse", "--mask", "cloud,ci"), ["cloud,cirrus"]),
        (("check", "--srf", "sentinel"), ["sentinel-2a", "sentinel-2b", "sentinel-2c"]),
        (("fuse", "--model", "ch"), ["chikusei-x8"]),
        (("guide", "ver"), ["verdict"]),
        (("fuse", "--srf", "my.csv"), []),  # the shell goes on with files
    ],
)
def test_values_are_completed(
    emrdiff: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], found: list[str]
) -> None:
    for shell in SHELLS:
        assert completed(emrdiff, monkeypatch, shell, *words) == found, shell


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("fuse", "a", "b", "c", "--method", "krigging"), "did you mean kriging?"),
        (("fuse", "a", "b", "c", "-f", "gtif"), "did you mean GTiff?"),
        (("fuse", "a", "b", "c", "--metod", "kriging"), "--method"),
        (("fus", "a", "b", "c"), "Did you mean 'fuse'?"),
        (("fuse", "a", "b", "c", "--mask", "clod"), "did you mean cloud?"),
        (("models", "chikusei"), "did you mean chikusei-x8?"),
        (("evaluate", "a", "b", "--metrics", "psn"), "did you mean psnr_db?"),
    ],
)
def test_the_nearest_name_is_said(emrdiff: Run, arguments: tuple[str, ...], near: str) -> None:
    ended = emrdiff(*arguments)
    assert ended.code in (2, 3)
    assert near in re.sub(r"[│\s]+", " ", ended.err)


def test_a_name_that_is_near_none_has_no_suggestion(emrdiff: Run) -> None:
    assert "did you mean" not in emrdiff("fuse", "a", "b", "c", "--method", "zzz").err


def test_the_nearest_response_is_said(emrdiff: Run, tmp_path: Path) -> None:
    cube = write_tif(tmp_path / "cube.tif", pixels(4, 8, 8))
    ended = emrdiff("simulate", cube, tmp_path / "pair", "--ratio", 2, "--srf", "sentinal-2a:B2,B3")
    assert ended.code == 2
    assert ended.err.endswith(": did you mean sentinel-2a?\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--scene", "lr.tif", "-o", "model"), "--scene: takes 2 values, and -o is an option: give"),
        (
            ("fuse", "a", "b", "c", "--report", "--overwrite"),
            "--report: takes a value, and --overwrite is an",
        ),
        (("fuse", "a", "b", "c", "--co", "BIGTIFF=YES", "--srf", "-q"), "or --srf=-q if that is meant"),
        (("convert", "a", "b", "--crs", "--no-overviews"), "--crs: takes a value, and --no-overviews is"),
    ],
)
def test_an_option_is_not_taken_for_the_value_of_another(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = emrdiff(*arguments)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended
    assert said in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_value_spelt_like_an_option_can_be_given(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its option in one word; numbers below zero are values anyway."""
    monkeypatch.chdir(tmp_path)
    assert "a.tif: no such file" in emrdiff("fuse", "a.tif", "b.tif", "c.tif", "--report=--overwrite").err
    assert "a.tif: no such file" in emrdiff("fuse", "a.tif", "b.tif", "c.tif", "--shift", "-1,-2").err
