"""The walls: imports run one way, each library stays in its place, and the light commands stay light."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

import emrdiff_cli
from tests.support.rasters import NORTH_UP, pixels, write_tif

ROOT = Path(emrdiff_cli.__file__).parent
TESTS = Path(__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))

# From the bottom up. A room may import from itself and from the ranks below it; a wing of one rank knows no other.
RANKS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "methods", "raster_info", "arrays", "version"}),
    frozenset({"config", "guide", "runtime", "core"}),
    frozenset({"core.sensor", "zoo", "products"}),
    frozenset({"core.metrics", "core.methods", "raster", "responses"}),
    frozenset({"core.diffusion", "core.evidence", "pair", "tiles", "report", "simulation"}),
    frozenset({"checkpoint"}),
    frozenset({"fusion"}),
    frozenset({"evaluation", "training", "conversion"}),
    frozenset({"api", "cli"}),
    frozenset({"__init__", "__main__"}),
)
# Where what ARCHITECTURE.md names may lie: a file of `fusion` goes by its own name on the road.
PLACES = (ROOT, ROOT.parent, ROOT / "fusion")
TORCH_PARTS = {
    "core.network",
    "core.convolution",
    "core.tile_network",
    "core.device_memory",
    "core.methods.device_evaluator",
    *(f"core.diffusion.{name}" for name in ("emr_diff", "noise", "chain", "learning", "muon", "supervision")),
}


def room(module: str) -> str:
    """The room of `emrdiff_cli.<module>`, dots between the parts: a wing, one of the core's, or a module."""
    parts = module.split(".")
    if parts[0] == "core":
        return ".".join(parts[:2]) if (ROOT / "core" / parts[1 % len(parts)]).is_dir() else "core"
    return parts[0]


def rank(module: str) -> int:
    return next(i for i, rooms in enumerate(RANKS) if room(module) in rooms)


@cache
def imports(path: Path) -> frozenset[str]:
    """Names imported anywhere in a file, in functions and under TYPE_CHECKING too."""
    return frozenset(imported(path))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            modules = [alias.name for alias in node.names if is_module(module, alias.name)]
            yield from (f"{module}.{name}" for name in modules)
            if len(modules) < len(node.names):
                yield module


def is_module(package: str, name: str) -> bool:
    place = ROOT.parent.joinpath(*package.split("."))
    return (place / f"{name}.py").exists() or (place / name / "__init__.py").exists()


def own_imports(module: Path) -> set[str]:
    package = "emrdiff_cli"
    return {
        "__init__" if name == package else name.removeprefix(f"{package}.")
        for name in imports((ROOT / module).with_suffix(".py"))
        if name.split(".")[0] == package
    }


def outside_imports(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports((ROOT / module).with_suffix(".py"))} - {"emrdiff_cli"}


def dotted(module: Path) -> str:
    return ".".join(module.parts).removesuffix(".__init__")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_arrows_run_one_way(module: Path) -> None:
    own = dotted(module)
    upward = {
        name
        for name in own_imports(module)
        if room(name) != room(own) and rank(name) >= rank(own) and not name == room(name) == "core"
    }
    assert upward == set()


def test_wings_stand_beside_few_single_modules() -> None:
    assert len([module for module in MODULES if len(module.parts) == 1]) <= 12


def test_the_map_shows_the_house_as_it_is() -> None:
    told = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", told, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(RANKS), 0, -1))
    assert [frozenset(re.findall(r"`([^`]+)`", rooms)) for _, rooms in reversed(rows)] == list(RANKS)
    named = re.findall(r"`([\w/]+\.(?:py|md)|[\w/]+/)`", told)
    assert len(named) > 20
    assert [name for name in named if not any((place / name).exists() for place in PLACES)] == []


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph = {dotted(module): own_imports(module) for module in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for target in graph.get(name, set()):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_core_knows_neither_files_nor_commands() -> None:
    for module in MODULES:
        if module.parts[0] == "core":
            assert own_imports(module) <= {
                *(dotted(m) for m in MODULES if m.parts[0] == "core"),
                *("core", "raster_info", "config", "methods", "errors"),
            }
            forbidden = {
                "rasterio",
                "spectral",
                "typer",
                "rich",
                "safetensors",
                "pathlib",
                "os",
                "subprocess",
            }
            assert not outside_imports(module) & forbidden, module


def test_rasters_know_no_network() -> None:
    for module in MODULES:
        if module.parts[0] == "raster":
            assert not own_imports(module) & TORCH_PARTS, module
            assert "torch" not in outside_imports(module), module


def test_the_parts_of_the_core_with_torch_are_those_named_here() -> None:
    core = [m for m in MODULES if m.parts[0] == "core"]
    assert {dotted(m) for m in core if "torch" in outside_imports(m)} == TORCH_PARTS


@pytest.mark.parametrize(
    ("libraries", "place"),
    [
        ({"typer", "rich", "click"}, "cli"),
        ({"rasterio"}, "raster"),
        ({"xarray", "rioxarray"}, "api"),
        ({"spectral", "skimage"}, "tests"),
    ],
)
def test_each_library_has_its_place(libraries: set[str], place: str) -> None:
    elsewhere = {
        m for m in MODULES if m.parts[0] not in (place, "__main__") and libraries & outside_imports(m)
    }
    assert elsewhere == set()


def test_rooms_of_tests_are_rooms_of_the_package() -> None:
    rooms = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")} - {Path("benchmarks")}
    assert {room for room in rooms if not (ROOT / room).is_dir()} == set()


def test_no_test_imports_another() -> None:
    """What two of them need lies in tests/support."""
    modules = {path: imports(path) for path in TESTS.rglob("*.py")}
    assert {
        (path.name, name)
        for path, names in modules.items()
        for name in names
        if any(part.startswith("test_") for part in name.split("."))
    } == set()


def first_to_load_torch(*commands: Sequence[object]) -> list[str]:
    """Run commands in a process of their own, where each must succeed, up to the one that loads torch."""
    lines = [
        "import sys",
        "from emrdiff_cli.cli.app import main",
        f"for words in {[['emrdiff', *map(str, words)] for words in commands]!r}:",
        "    sys.argv = words",
        "    try:",
        "        main()",
        "    except SystemExit as ended:",
        "        assert not ended.code, (words, ended.code)",
        "    if 'torch' in sys.modules:",
        "        sys.exit(f'loads torch: {words[1:]}')",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60
    )
    found = re.findall(r"^loads torch: (.*)$", ended.stderr, re.MULTILINE)
    assert found or ended.returncode == 0, ended.stderr
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    lr = write_tif(folder / "lr.tif", pixels(6, 10, 12))
    fine = NORTH_UP @ Affine.scale(1 / 4)
    return lr, write_tif(folder / "msi.tif", pixels(3, 40, 48), transform=fine)


def test_light_commands_and_methods_never_load_torch(pair: tuple[Path, Path], tmp_path: Path) -> None:
    dry, output = tmp_path / "dry.tif", tmp_path / "out.tif"
    by_glp = ("--method", "glp", "-q")
    commands: list[Sequence[object]] = [("--help",), ("guide",), ("info", pair[0])]
    commands += [("tile", pair[0], tmp_path / "tiles", "--size", 8, "--overlap", 2, "-q")]
    commands += [("fuse", *pair, dry, *by_glp, "--dry-run"), ("fuse", *pair, output, *by_glp)]
    assert first_to_load_torch(*commands) == []
    assert (dry.exists(), output.exists()) == (False, True)


def test_choosing_a_model_never_loads_torch(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """A weights file of another tool's making, with a configuration and no weights at all."""
    from safetensors.numpy import save_file

    folder = tmp_path / "model"
    folder.mkdir()
    config = {"msi_bands": 3, "hsi_bands": 6, "ratio": 4.0, "subspace": 3, "levels": 2}
    save_file(
        {"none": np.zeros(1)}, folder / "model.safetensors", metadata={"emrdiff_config": json.dumps(config)}
    )
    dry = ("fuse", *pair, tmp_path / "out.tif", "--model", folder, "--dry-run", "--no-trial")
    assert first_to_load_torch(dry, ("models", folder)) == []
