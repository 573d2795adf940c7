"""What is handed out: a wheel with the whole package, and a source distribution that makes the same wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import rasterio

from tests.support.front_door import succeed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data"
SOURCES = (".ci", "emrdiff_cli", "models", "sample_data", "tests")
# Where each folder of the tree lies in the wheel.
INSTALLED = {"emrdiff_cli": "emrdiff_cli", "models": "emrdiff_cli/_models"}


def run(*command: object, **options: Any) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def built(kind: str, tree: Path, folder: Path) -> Path:
    """The distribution that the build backend makes of a tree; its hook is what pip and build call."""
    hook = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    run("-c", hook, folder, cwd=tree)
    return next(folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind]))


def files(tree: Path, folder: str) -> set[str]:
    """Paths of a folder's files from the folder, but for what Python leaves there."""
    paths = (path.relative_to(tree / folder) for path in (tree / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def without_installation(folder: Path, *first: Path) -> dict[str, Any]:
    """How to `run` with -S in a folder, where paths come first and what emrdiff needs is found by its path.

    Without `site` no editable installation leads to the source tree.
    """
    packages = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    path = os.pathsep.join([*map(str, first), *packages])
    return {"cwd": folder, "env": {**os.environ, "PYTHONPATH": path}}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in: a build leaves folders behind, and takes what an earlier one left."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built("sdist", tree, folder)) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tree, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_the_models_whole(wheel: Path) -> None:
    expected = {f"{INSTALLED[name]}/{path}" for name in INSTALLED for path in files(ROOT, name)}
    inside = members(wheel)
    licences = {name.partition("/licenses/")[2] for name in inside if "/licenses/" in name}
    assert licences == {"LICENSE", "emrdiff_cli/srf_tables/LICENSE"}
    assert {name for name in inside if ".dist-info/" not in name} == expected - licences
    with zipfile.ZipFile(wheel) as archive:
        contents = [entry.CRC for entry in archive.infolist() if entry.file_size]
    assert len(contents) == len(set(contents))
    assert "emrdiff_cli/_models/chikusei-x8/model.safetensors" in expected


def test_the_source_distribution_holds_the_tests_and_the_sample(sdist: Path) -> None:
    at_the_top = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"}
    assert at_the_top <= {path.name for path in sdist.iterdir()}
    for folder in SOURCES:
        assert files(sdist, folder) == files(ROOT, folder)


def test_the_source_distribution_makes_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    assert members(built("wheel", sdist, tmp_path)) == members(wheel)


def test_the_installed_wheel_fuses_the_sample_to_the_bytes_of_this_tree(wheel: Path, tmp_path: Path) -> None:
    target, fused = tmp_path / "installed", tmp_path / "fused.tif"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel)
    alone = without_installation(tmp_path, target)
    lr_hsi, hr_msi = SAMPLE / "lr_hsi.hdr", SAMPLE / "hr_msi.tif"
    run("-S", "-m", "emrdiff_cli", "fuse", lr_hsi, hr_msi, fused, "-q", **alone)
    # Another process draws the same noise; what it is worth against the truth test_sample.py holds.
    succeed("fuse", lr_hsi, hr_msi, tmp_path / "here.tif", "-q")
    assert (tmp_path / "here.tif").read_bytes() == fused.read_bytes()
    run(
        "-S",
        "-m",
        "emrdiff_cli",
        "evaluate",
        fused,
        SAMPLE / "hr_hsi.tif",
        "--metrics",
        "psnr_db",
        "-q",
        **alone,
    )
    with rasterio.open(fused) as dataset:
        assert dataset.tags()["emrdiff_model"] == "chikusei-x8"
    where = "import emrdiff_cli; print(emrdiff_cli.__file__)"
    assert PurePosixPath(run("-S", "-c", where, **alone).strip()).is_relative_to(target)


def test_a_source_tree_that_comes_first_has_its_models(tree: Path) -> None:
    assert "chikusei-x8" in run("-S", "-m", "emrdiff_cli", "models", **without_installation(tree))
