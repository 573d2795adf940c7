"""What is said of the package in more than one place says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from emrdiff_cli.version import __version__

ROOT = Path(__file__).parents[1]
TOML = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = TOML["project"]
RECIPE = (ROOT / ".ci" / "conda" / "recipe.yaml").read_text()


def test_citation_and_recipe_are_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    for text in (citation, RECIPE):
        assert re.findall(r"^ *version: ([\d.]+)$", text, re.MULTILINE) == [__version__]


def test_the_recipe_needs_what_the_package_needs() -> None:
    """conda-forge calls torch's CPU build pytorch-cpu."""
    run = RECIPE.partition("  run:\n")[2].partition("\n\n")[0]
    needed = {line.strip().removeprefix("- ").replace(" ", "") for line in run.splitlines()}
    declared = {name.replace("torch", "pytorch-cpu") for name in PROJECT["dependencies"]}
    assert needed == {*declared, f"python{PROJECT['requires-python']}"}


def test_the_container_takes_a_torch_that_is_let_in() -> None:
    container = (ROOT / ".ci" / "Containerfile").read_text()
    version = re.findall(r"torch==(\d+)\.(\d+)", container)
    allowed = next(text for text in PROJECT["dependencies"] if text.startswith("torch"))
    low, high = (tuple(map(int, part)) for part in re.findall(r"(\d+)\.(\d+)", allowed))
    assert [low <= tuple(map(int, found)) < high for found in version] == [True]


def test_every_folder_of_the_package_is_listed() -> None:
    """One that is not is left out by a build, or put in with a warning that a later one will not."""
    paths = [path.relative_to(ROOT) for path in (ROOT / "emrdiff_cli").rglob("*") if path.is_file()]
    folders = {".".join(path.parent.parts) for path in paths if "__pycache__" not in path.parts}
    assert folders == set(TOML["tool"]["setuptools"]["packages"]) - {"emrdiff_cli._models"}
