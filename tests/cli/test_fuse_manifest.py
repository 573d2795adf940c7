"""`emrdiff fuse --manifest` through the front door: statuses, exit codes, what is done twice and what is not."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from emrdiff_cli.fusion import batch, job
from tests.support.front_door import Ended, Run
from tests.support.pairs import write_pair
from tests.support.random_model import save_random_model
from tests.support.rasters import read_back

HEADER = "lr_hsi,hr_msi,output"


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "fuse", "--method", "glp", "--manifest")


def scene(folder: Path, number: int = 0, **options: Any) -> Path:
    (folder / f"s{number}").mkdir(parents=True)
    write_pair(folder / f"s{number}", 32, 32, seed=number, **options)
    return folder / f"s{number}"


def manifest(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def row(number: int) -> str:
    return f"s{number}/lr.tif,s{number}/msi.tif,s{number}/out.tif"


def archive(folder: Path, count: int) -> Path:
    for number in range(count):
        scene(folder, number)
    return manifest(folder, [row(number) for number in range(count)])


def statuses(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.out.splitlines()]


def outcomes(ended: Ended) -> list[str]:
    return [status["status"] for status in statuses(ended)]


def outputs_of(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


def outputs(folder: Path) -> dict[str, tuple[int, int]]:
    """Which outputs there are, by scene, and which files they are."""
    return {path.parent.name: outputs_of(path) for path in folder.glob("*/out.tif")}


@pytest.mark.slow
def test_of_40_scenes_5_are_bad_and_a_second_run_does_nothing(run: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 40)
    (tmp_path / "s2/msi.tif").unlink()
    (tmp_path / "s10/msi.tif").write_bytes((tmp_path / "s10/msi.tif").read_bytes()[:500])
    (tmp_path / "s18/lr.tif").write_bytes(b"")
    (tmp_path / "s26/lr.tif").write_text("<VRTDataset/>")
    shutil.copy(tmp_path / "s34/lr.tif", tmp_path / "s34/msi.tif")
    bad = {2: "no such file", 10: "cannot be opened", 18: "is empty", 26: "convert it", 34: "not finer"}

    first = run(listed, "--keep-going", "--skip-done")
    lines = statuses(first)
    assert (first.code, [line["line"] for line in lines]) == (3, [*range(2, 42)])
    for number, line in enumerate(lines):
        assert line["output"] == str(tmp_path / f"s{number}/out.tif")
        if number in bad:
            assert (line["status"], line["exit_code"]) == ("failed", 3)
            assert bad[number] in line["error"]
            assert "\n" not in line["error"]
        else:
            assert (line["status"], line["error"], line["exit_code"]) == ("done", None, 0)
            assert (line["method"], line["bands"], line["height"]) == ("glp", 8, 32)
    errors = [line for line in first.err.splitlines() if line.startswith("Error: ")]
    assert [f"line {number + 2}: " in line for number, line in zip(bad, errors, strict=True)] == [True] * 5
    assert "35 done, 5 failed, of 40 scenes" in first.err
    written = outputs(tmp_path)
    assert len(written) == 35

    second = run(listed, "--keep-going", "--skip-done", "-q")
    assert second.code == 3
    assert Counter(outcomes(second)) == {"skipped": 35, "failed": 5}
    assert outputs(tmp_path) == written


def test_all_done_is_success(run: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 2)
    first = run(listed, "-q")
    assert (first.code, outcomes(first), first.err) == (0, ["done", "done"], "")
    second = run(listed, "--skip-done", "-q")
    assert (second.code, outcomes(second), second.err) == (0, ["skipped", "skipped"], "")


def test_the_first_failure_ends_it_with_its_code(run: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 3)
    (tmp_path / "s1/lr.tif").unlink()
    ended = run(listed)
    assert (ended.code, outcomes(ended)) == (3, ["done", "failed"])
    assert "1 done, 1 failed, 1 not begun, of 3 scenes" in ended.err
    assert set(outputs(tmp_path)) == {"s0"}


def test_failures_of_several_kinds_exit_with_1(run: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 3)
    (tmp_path / "s0/lr.tif").unlink()
    (tmp_path / "s1/out.tif").write_text("somebody's")
    ended = run(listed, "-k")
    assert (ended.code, outcomes(ended)) == (1, ["failed", "failed", "done"])
    assert [line["exit_code"] for line in statuses(ended)] == [3, 2, 0]
    assert (tmp_path / "s1/out.tif").read_text() == "somebody's"


def test_columns_are_options_and_empty_cells_the_command_lines(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        scene(tmp_path / "deep", number)
    header = f"\ufeff{HEADER},method,dtype,format,co,batch-size,srf"
    (tmp_path / "deep/srf.csv").write_text(
        "wavelength_nm,a,b,c\n"
        + "".join(f"{w},{w < 450:d},{450 <= w < 490:d},1\n" for w in range(400, 520, 5))
    )
    rows = [
        "s0/lr.tif,s0/msi.tif,s0/out.tif,,,,,,",
        '"s1/lr.tif", s1/msi.tif ,s1/out.dat,bicubic,float32,ENVI,,2,srf.csv',
        "",
        "s2/lr.tif,s2/msi.tif,s2/out.tif,glp-local,,,COMPRESS=NONE TILED=NO",
    ]
    manifest(tmp_path / "deep", rows, header)
    monkeypatch.chdir(tmp_path)
    ended = run("deep/pairs.csv", "--dtype", "int32", "-q")
    assert (ended.code, ended.err) == (0, "")
    found = [(line["line"], line["method"], line["coverage_by"]) for line in statuses(ended)]
    assert found == [
        (2, "glp", "wavelengths"),
        (3, "bicubic", "srf srf.csv"),
        (5, "glp-local", "wavelengths"),
    ]
    with rasterio.open("deep/s0/out.tif") as one, rasterio.open("deep/s2/out.tif") as three:
        assert (one.dtypes[0], one.profile["compress"], three.dtypes[0]) == ("int32", "zstd", "int32")
        assert "compress" not in three.profile
        assert not three.profile["tiled"]
    with rasterio.open("deep/s1/out.dat") as two:
        assert (two.driver, two.dtypes[0]) == ("ENVI", "float32")
    again = run("deep/pairs.csv", "--dtype", "int32", "--skip-done", "-q")
    assert outcomes(again) == ["skipped"] * 3


UNUSABLE: dict[str, tuple[str, list[str], str, str]] = {
    "an unknown column": (
        f"{HEADER},colour",
        [row(0) + ",red"],
        "line 1: unknown column 'colour'",
        "give any of",
    ),
    "a missing column": (
        "lr_hsi,output",
        ["s0/lr.tif,s0/out.tif"],
        "line 1: lacks the column hr_msi",
        "needed",
    ),
    "one option twice": (
        f"{HEADER},co,creation-option",
        [row(0)],
        "creation_option is there twice",
        "leave one",
    ),
    "an empty cell": (HEADER, [row(0), "s1/lr.tif,,s1/out.tif"], "line 3: hr_msi is empty", "fill it in"),
    "a number that is none": (
        f"{HEADER},tile",
        [row(0) + ",-4"],
        "line 2: tile = -4: must be",
        "whole number",
    ),
    "a choice that is none": (
        f"{HEADER},method",
        [row(0) + ",magic"],
        "method = magic: must be",
        "glp-local",
    ),
    "a type that is none": (f"{HEADER},dtype", [row(0) + ",int7"], "line 2: --dtype int7: must be", "int16"),
    "three bounds": (
        f"{HEADER},bounds",
        [row(0) + ",1 2 3"],
        "bounds = 1 2 3: must be",
        "left bottom right top",
    ),
    "a doubt": (f"{HEADER},overwrite", [row(0) + ",perhaps"], "overwrite = perhaps: must be", "yes or no"),
    "a size that is none": (f"{HEADER},max-memory", [row(0) + ",much"], "--max-memory much: must be", "2GB"),
    "a model for a method": (f"{HEADER},model", [row(0) + ",m"], "line 2: --model is for", "needs none"),
    "an output twice": (
        HEADER,
        [row(0), "s1/lr.tif,s1/msi.tif,s1/../s0/out.tif"],
        "line 3",
        "output of line 2",
    ),
    "a header twice": (
        HEADER,
        ["s0/lr.tif,s0/msi.tif,x.dat", "s1/lr.tif,s1/msi.tif,x.img"],
        "line 3",
        "output of line 2",
    ),
    "a file beside the output twice": (
        f"{HEADER},uncertainty",
        [row(0) + ",u.tif", row(1) + ",u.tif"],
        "line 3",
        "u.tif is the output of line 2",
    ),
    "an output that is an input": (
        HEADER,
        [row(0), "s1/lr.tif,s1/msi.tif,s0/msi.tif"],
        "line 3",
        "is an input of line 2",
    ),
    "a header as output": (HEADER, ["s0/lr.tif,s0/msi.tif,x.hdr"], "line 2: ", "x.bsq"),
}


@pytest.mark.parametrize(("header", "rows", "said", "remedy"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_manifest_is_refused_whole_with_its_line(
    run: Run, tmp_path: Path, header: str, rows: list[str], said: str, remedy: str
) -> None:
    archive(tmp_path, 2)
    ended = run(manifest(tmp_path, rows, header), "--keep-going")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended
    assert ended.err.startswith(f"Error: {tmp_path / 'pairs.csv'}: ")
    assert said in ended.err
    assert remedy in ended.err
    assert outputs(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lr.tif", "msi.tif", "out.tif"), "not with --manifest"),
        (("--dry-run",), "not with --manifest"),
        (("--num-parts", 2), "give both or neither"),
        (("--num-parts", 2, "--part-id", 2), "must be 0 to 1"),
        (("--report", "page"), "as a column"),
    ],
)
def test_options_that_do_not_go_together(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = run(archive(tmp_path, 1), *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert outputs(tmp_path) == {}


def test_without_a_manifest_its_options_are_refused(emrdiff: Run, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, 32, 32)
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp", "--keep-going")
    assert (ended.code, "are for --manifest" in ended.err) == (2, True)
    ended = emrdiff("fuse", *pair)
    assert (ended.code, "give LR_HSI, HR_MSI and OUTPUT" in ended.err) == (2, True)


def test_an_output_of_other_inputs_or_options_is_not_done(run: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 1)
    assert run(listed).code == 0
    assert outcomes(run(listed, "--skip-done")) == ["skipped"]
    other = run(listed, "--skip-done", "--dtype", "float32")
    assert (other.code, outcomes(other)) == (2, ["failed"])
    assert "does not record that it was made from these inputs" in other.err
    assert "--overwrite" in other.err

    shutil.rmtree(tmp_path / "new", ignore_errors=True)
    fresh = scene(tmp_path / "new", 7)
    shutil.copy(fresh / "msi.tif", tmp_path / "s0/msi.tif")
    changed = run(listed, "--skip-done")
    assert (changed.code, outcomes(changed)) == (2, ["failed"])
    before = read_back(tmp_path / "s0/out.tif")
    assert outcomes(run(listed, "--skip-done", "--overwrite")) == ["done"]
    assert (read_back(tmp_path / "s0/out.tif") != before).any()
    assert outcomes(run(listed, "--skip-done", "--overwrite")) == ["skipped"]


def test_what_was_asked_counts_not_how_it_was_spelt(
    emrdiff: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = write_pair(tmp_path, 32, 32)
    (tmp_path / "srf.csv").write_text("wavelength_nm,a,b,c\n400,1,0,0\n500,0,1,0\n600,0,0,1\n900,0,0,0\n")
    ask = partial(emrdiff, "fuse", *pair, tmp_path / "o.tif", "--method", "glp", "--json", "--skip-done")
    assert ask("--srf", tmp_path / "srf.csv", "--co", "COMPRESS=DEFLATE").code == 0
    before = outputs_of(tmp_path / "o.tif")
    monkeypatch.chdir(tmp_path)
    for words in (
        ("--srf", "srf.csv", "--co", "compress=DEFLATE"),
        ("--srf", "./srf.csv", "--co", "COMPRESS=DEFLATE", "--dtype", "int16", "--seed", 3),
    ):
        assert json.loads(ask(*words).out)["status"] == "skipped"
    report = ask("--srf", "srf.csv", "--co", "COMPRESS=DEFLATE", "--report", "page")
    assert (report.code, (tmp_path / "page" / "report.html").exists()) == (0, True), report.err
    assert outputs_of(tmp_path / "o.tif") != before
    assert ask("--srf", "srf.csv", "--co", "COMPRESS=LZW").code == 2
    (tmp_path / "srf.csv").write_text("wavelength_nm,a,b,c\n400,1,0,0\n500,0,1,0\n600,0,0,1\n901,0,0,0\n")
    assert ask("--srf", "srf.csv", "--co", "COMPRESS=DEFLATE").code == 2


def test_a_fault_of_the_program_stops_no_other_scene(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = archive(tmp_path, 3)
    real = job.run_job

    def failing(asked: Any, *rest: Any) -> Any:
        if asked.output.parent.name == "s1":
            raise ZeroDivisionError("of a kind")
        return real(asked, *rest)

    monkeypatch.setattr(batch, "run_job", failing)
    ended = run(listed, "--keep-going")
    assert (ended.code, outcomes(ended)) == (1, ["done", "failed", "done"])
    assert "a fault of emrdiff itself" in statuses(ended)[1]["error"]
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("damage", [b"", b"II*\0", None])
def test_an_output_that_is_there_but_damaged_is_not_done(
    run: Run, tmp_path: Path, damage: bytes | None
) -> None:
    listed = archive(tmp_path, 1)
    assert run(listed).code == 0
    output = tmp_path / "s0/out.tif"
    whole = output.read_bytes()
    output.write_bytes(whole[:-100] if damage is None else damage)
    assert outcomes(run(listed, "--skip-done")) == ["failed"]
    assert outcomes(run(listed, "--skip-done", "--overwrite")) == ["done"]
    assert read_back(output).any()


def test_one_scene_skips_what_a_manifest_did_and_the_reverse(run: Run, emrdiff: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 2)
    assert run(listed, "--num-parts", 2, "--part-id", 0).code == 0
    one = (
        "fuse",
        tmp_path / "s0/lr.tif",
        tmp_path / "s0/msi.tif",
        tmp_path / "s0/out.tif",
        "--method",
        "glp",
    )
    ended = emrdiff(*one, "--skip-done", "--json")
    assert (ended.code, json.loads(ended.out)["status"]) == (0, "skipped")
    assert emrdiff(*one, "--skip-done", "-q").code == 0
    foreign = emrdiff(*one, "--skip-done", "--bounds", 383472.37, 5818200, 383552, 5818302.35)
    assert (foreign.code, "--overwrite" in foreign.err) == (2, True)
    two = (
        "fuse",
        tmp_path / "s1/lr.tif",
        tmp_path / "s1/msi.tif",
        tmp_path / "s1/out.tif",
        "--method",
        "glp",
    )
    assert emrdiff(*two, "--skip-done", "-q").code == 0
    assert outcomes(run(listed, "--skip-done")) == ["skipped", "skipped"]


def test_parts_are_disjoint_and_together_all(run: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 5)
    seen: list[int] = []
    for number in range(3):
        ended = run(listed, "--num-parts", 3, "--part-id", number)
        assert ended.code == 0
        seen += [status["line"] for status in statuses(ended)]
    assert sorted(seen) == [2, 3, 4, 5, 6]
    assert len(outputs(tmp_path)) == 5
    none = run(listed, "--num-parts", 9, "--part-id", 8)
    assert (none.code, none.out) == (0, "")


def test_models_are_found_from_the_manifests_folder_and_draws_told_apart(
    emrdiff: Run, tmp_path: Path
) -> None:
    model = save_random_model(tmp_path / "random")
    for number in range(2):
        scene(tmp_path, number)
    rows = [f"{row(0)},random,3", f"{row(1)},,"]
    listed = manifest(tmp_path, rows, f"{HEADER},model,seed")
    command = ("fuse", "--manifest", listed, "--model", model, "-q")
    ended = emrdiff(*command)
    assert (ended.code, ended.err) == (0, "")
    tags = []
    for number in range(2):
        with rasterio.open(tmp_path / f"s{number}/out.tif") as fused:
            tags.append((fused.tags()["emrdiff_model"], fused.tags()["emrdiff_seed"]))
    assert tags == [("random", "3"), ("random", "0")]
    assert outcomes(emrdiff(*command, "--skip-done")) == ["skipped", "skipped"]
    assert outcomes(emrdiff(*command, "--skip-done", "--seed", 1, "-k")) == ["skipped", "failed"]
    shutil.rmtree(model)
    save_random_model(model, kappa=0.7)
    assert outcomes(emrdiff(*command, "--skip-done", "-k")) == ["failed", "failed"]


def started(arguments: list[object], **streams: Any) -> subprocess.Popen[str]:
    code = f"import sys; sys.argv = {['emrdiff', *map(str, arguments)]!r}"
    lines = f"{code}\nfrom emrdiff_cli.cli.app import main\nmain()"
    return subprocess.Popen([sys.executable, "-c", lines], text=True, **streams)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_whole_outputs_and_says_where_it_was(tmp_path: Path, number: int, code: int) -> None:
    listed = archive(tmp_path, 1)
    # 300 times the same pair: there is always a next one.
    rows = [f"s0/lr.tif,s0/msi.tif,out{i}.tif" for i in range(300)]
    manifest(tmp_path, rows)
    command = ["fuse", "--method", "glp", "--manifest", listed]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.15)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    lines = [json.loads(line) for line in [first, *out.splitlines()]]
    assert process.returncode == code
    assert "Traceback" not in err
    done = {Path(line["output"]).name for line in lines if line["status"] == "done"}
    # One may just have been put in place, and not yet have been said.
    assert (
        done <= {path.name for path in tmp_path.glob("out*")} <= {Path(line["output"]).name for line in lines}
    )
    assert 0 < len(done) < 300
    assert all(read_back(tmp_path / name).any() for name in done)
    assert not list(tmp_path.glob(".*"))
    # Between two scenes there is none to be interrupted.
    assert {line["status"] for line in lines[:-1]} <= {"done"}
    assert lines[-1]["status"] in ("done", "interrupted")
    assert lines[-1]["exit_code"] in (0, code)
    assert f"{300 - len(lines)} not begun, of 300 scenes" in err


@pytest.mark.slow
def test_lines_go_to_stdout_while_a_bar_is_on_the_terminal(tmp_path: Path) -> None:
    listed = archive(tmp_path, 2)
    terminal, end = pty.openpty()
    command = ["fuse", "--method", "glp", "--manifest", listed]
    with started(command, stdout=subprocess.PIPE, stderr=end) as process:
        os.close(end)
        out, _ = process.communicate(timeout=60)
    shown = os.read(terminal, 10**5).decode()
    os.close(terminal)
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["done", "done"]
    assert "fuse" in shown
    assert '"status"' not in shown


def test_values_are_those_of_single_runs(run: Run, emrdiff: Run, tmp_path: Path) -> None:
    listed = archive(tmp_path, 2)
    assert run(listed).code == 0
    for number in range(2):
        folder = tmp_path / f"s{number}"
        single = tmp_path / f"single{number}.tif"
        assert emrdiff("fuse", folder / "lr.tif", folder / "msi.tif", single, "--method", "glp").code == 0
        np.testing.assert_array_equal(read_back(folder / "out.tif"), read_back(single))
