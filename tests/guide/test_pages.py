"""The guide's pages: their commands run as they stand, on made products under the names that they say."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio

from emrdiff_cli.guide import PAGES, SECTIONS, read_page, title_of
from tests.support import downloads
from tests.support.front_door import Ended, Run
from tests.support.page_runs import blocks, command_lines, run_page
from tests.support.places import ROOT

GUIDE = ROOT / "emrdiff_cli" / "guide"
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Fused from, its bands' wavelengths, type and pixel size.
EXPECTED: dict[str, tuple[Callable[[Path], None], tuple[float, ...], str, float]] = {
    "enmap-sentinel2": (
        downloads.enmap_sentinel2,
        downloads.ENMAP_NM,
        "int16",
        10,
    ),
    "prisma-pan": (
        downloads.prisma_pan,
        (406.99, 550.9, 700.1, 943.4, 961.9, 968.8, 972.6, 1600.5, 2497.1),
        "float32",
        5,
    ),
    "emit-sentinel2": (downloads.emit_sentinel2, (492, 560, 665, 833, 1380), "float32", 10),
    "drone": (downloads.drone, (450, 500, 550, 600, 650, 700, 750, 800), "int16", 0.2),
}


@pytest.fixture
def run(emrdiff: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], list[Ended]]:
    return lambda page: run_page(read_page(page), tmp_path, emrdiff, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", EXPECTED)
def test_a_page_leads_from_its_downloads_to_a_map(
    page: str, run: Callable[[str], list[Ended]], tmp_path: Path
) -> None:
    make, wavelengths, dtype, metres = EXPECTED[page]
    make(tmp_path)
    ended = run(page)
    assert "ready to be fused" in "".join(each.out for each in ended)
    assert "fused by " in "".join(each.err for each in ended)
    with rasterio.open(tmp_path / "fused.tif") as fused:
        assert fused.dtypes[0] == dtype
        assert fused.transform.a == -fused.transform.e == metres
        found = [float(fused.tags(band)["wavelength"]) for band in fused.indexes]
        masked = fused.tags().get("emrdiff_mask")
        holes = fused.read_masks(1) == 0
    assert found == pytest.approx(wavelengths, abs=0.01)
    assert bool(masked) == (page == "enmap-sentinel2")
    assert not masked or holes[6:12, 15:24].all()
    with rasterio.open(tmp_path / ("covered.tif" if masked else "fused.tif")) as fused:
        covered = [fused.tags(band)["emrdiff_detail"] == "covered" for band in fused.indexes]
    assert not masked or [downloads.ENMAP_NM[i] for i, seen in enumerate(covered) if not seen] == [
        905,
        911.5,
        1350,
    ]
    scores: dict[str, Any] = json.loads((tmp_path / "scores.json").read_text())
    assert scores["spectral_sam_deg"] < 1
    assert (tmp_path / "fused.png").stat().st_size > 1000


def test_the_readme_is_short_and_has_the_command_of_the_tests() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert len([line for line in lines if re.match(r"pip install -e .*pytest", line)]) == 1


@pytest.mark.slow
def test_the_job_of_the_archive_goes_on_where_it_was(
    tmp_path: Path, emrdiff: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.archive_slurm(tmp_path)
    page = read_page("archive-slurm")
    job = ". fuse.sbatch"
    first, second = ("export SLURM_CPUS_PER_TASK=1 SLURM_ARRAY_TASK_ID=", f"; {job}\n")
    page = page.replace("```\nsbatch fuse.sbatch\n", f"```sh\n{first}0{second}{first}1{second}{job}\n")
    assert job in page
    run_page(page, tmp_path, emrdiff, monkeypatch)
    lines = "".join(file.read_text() for file in sorted(tmp_path.glob("*.jsonl"))).splitlines()
    states = [json.loads(line)["status"] for line in lines]
    assert states == ["done", "done", "done", "skipped"]
    with rasterio.open(tmp_path / "fused/c.tif") as fused:
        assert fused.dtypes[0] == "float32"


@pytest.mark.parametrize("page", [*PAGES, "README"])
def test_every_command_that_is_shown_can_be_typed(page: str) -> None:
    """Names, options and their values are the commands'."""
    from emrdiff_cli.cli.app import commands

    group = commands()
    for line in command_lines(README if page == "README" else read_page(page)):
        _, name, *arguments = shlex.split(re.sub(r"\$\w+|\{\}", "1", line))
        group.commands[name].make_context(name, arguments)


def test_every_page_is_listed_and_linked_and_links_lead_somewhere() -> None:
    assert sorted(PAGES) == sorted(path.stem for path in GUIDE.glob("*.md"))
    for name in PAGES:
        assert f"(emrdiff_cli/guide/{name}.md)" in README, name
        page = read_page(name)
        assert page.startswith("# ")
        assert page.endswith("\n")
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", page)
        assert [link for link in links if not (GUIDE / link).exists()] == []
    assert len(blocks(read_page("archive-slurm"), "sh")) > 1


def test_the_guide_lists_and_shows(emrdiff: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = emrdiff("guide")
    assert (listed.code, listed.err) == (0, "")
    for section, names in SECTIONS.items():
        assert section in listed.out
        assert all(f"{name} " in listed.out and title_of(read_page(name)) in listed.out for name in names)
    assert emrdiff("guide", "drone") == (0, read_page("drone"), "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = emrdiff("guide", "drone").out
    assert "\x1b[" in shown
    assert "```" not in shown
    assert "Airborne cube and drone RGB" in shown


@pytest.mark.parametrize(("name", "near"), [("enmap", "enmap-sentinel2"), ("zither", ""), ("FAQ", "faq")])
def test_a_page_that_is_none_is_one_line_with_the_nearest(emrdiff: Run, name: str, near: str) -> None:
    ended = emrdiff("guide", name)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith(f"Error: the guide has no page {name}: ")
    assert (f"did you mean {near}?" if near else "there are enmap-sentinel2, ") in line
