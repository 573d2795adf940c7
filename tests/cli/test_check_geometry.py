"""`emrdiff check` on displacements that vary over the scene or between detectors, and its picture of them."""

from __future__ import annotations

import json
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from tests.support.front_door import Run
from tests.support.pairs import FINE, RATIO, displaced, see, unrelated, write_pair
from tests.support.rasters import read_back
from tests.support.scenes import read, textured, write_cube

SIDE = 64  # LR pixels
BANDS, SWIR = 24, slice(15, 24)  # from 1020 nm on
APART = (0.4, -0.25)
TURNED, STRETCHED = 0.5, 1.003  # degrees counterclockwise, times along the rows
SHIFT = (0.2, -0.1)


@pytest.fixture
def run(emrdiff: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "240")
    return partial(emrdiff, "check")


def turned(rows: Any, cols: Any) -> tuple[Any, Any]:
    """Where LR pixels that are turned and stretched around the middle, and shifted, really lie."""
    middle, angle = (SIDE - 1) / 2, np.radians(TURNED)
    down, right = STRETCHED * (rows - middle), cols - middle
    return (
        middle + SHIFT[0] + np.cos(angle) * down - np.sin(angle) * right,
        middle + SHIFT[1] + np.sin(angle) * down + np.cos(angle) * right,
    )


@cache
def truth_and_blurred() -> tuple[Any, Any]:
    """The ground at HR, and as the LR-HSI's PSF blurs it."""
    truth = textured(BANDS, SIDE * RATIO, SIDE * RATIO)
    return truth, ndimage.gaussian_filter(truth, (0, RATIO / 2.3548, RATIO / 2.3548))


@cache
def seen(places: Any, apart: tuple[float, float]) -> Any:
    """The LR-HSI of `pair_of`."""
    _, blurred = truth_and_blurred()
    rows, cols = np.mgrid[:SIDE, :SIDE].astype(float)
    lr = np.empty((BANDS, SIDE, SIDE))
    for band, image in enumerate(blurred):
        by = apart if band >= SWIR.start else (0.0, 0.0)
        down, right = (rows, cols) if places is None else places(rows, cols)
        at = [(place + shift + 0.5) * RATIO - 0.5 for place, shift in zip((down, right), by, strict=True)]
        lr[band] = ndimage.map_coordinates(image, at, order=3, mode="nearest")
    return lr


def pair_of(folder: Path, places: Any = None, apart: tuple[float, float] = (0.0, 0.0)) -> tuple[Path, Path]:
    """A pair in which LR pixels lie at `places`, those of the SWIR bands `apart` from the others."""
    msi = see(truth_and_blurred()[0])
    lr = write_cube(folder / "lr.tif", seen(places, apart))
    return lr, write_cube(folder / "msi.tif", msi, transform=FINE)


def test_a_turned_and_stretched_scene(run: Run, tmp_path: Path) -> None:
    pair = pair_of(tmp_path, turned)
    facts = json.loads(run(*pair, "--json", "-q").out)
    field = facts["field"]
    assert field["rotation_degrees"] == pytest.approx(TURNED, abs=0.02)
    assert field["scale"] == pytest.approx([STRETCHED, 1.0], abs=5e-4)
    assert field["shear"] == pytest.approx(0, abs=5e-4)
    assert field["corners_lr_px"] == pytest.approx(SIDE / 2 * 2**0.5 * np.radians(TURNED), abs=0.1)
    assert field["unexplained_after"] < 0.8 * field["unexplained_before"]
    assert facts["shift"]["used_lr_px"] == pytest.approx(SHIFT, abs=0.02)
    text = run(*pair).out
    assert "degrees counterclockwise" in text
    assert "rotation +0.5" in text
    # Each block lies where the field says.
    assert len(facts["blocks"]) == 16
    for block in facts["blocks"]:
        row, col = block["centre_lr_px"]
        to = turned(row, col)
        found = block["rows_lr_px"], block["cols_lr_px"]
        assert found == pytest.approx((to[0] - row, to[1] - col), abs=0.06)
        assert max(block["standard_error_lr_px"]) < 0.05
        at = [(place + 0.5) * RATIO - 0.5 for place in to]
        assert block["centre_hr_px"] == pytest.approx(at, abs=0.06 * RATIO)


def test_detectors_that_lie_apart(run: Run, tmp_path: Path) -> None:
    pair = pair_of(tmp_path, apart=APART)
    facts = json.loads(run(*pair, "--json", "-q").out)
    (group,) = facts["groups"]
    assert (group["name"], group["against"], group["elsewhere"]) == ("SWIR", "VNIR", True)
    assert group["bands"] == list(range(16, 25))
    assert (group["rows_lr_px"], group["cols_lr_px"]) == pytest.approx(APART, abs=0.03)
    assert max(group["standard_error_lr_px"]) < 0.03
    assert facts["field"] is None
    for block in facts["blocks"]:
        assert (block["rows_lr_px"], block["cols_lr_px"]) == pytest.approx((0, 0), abs=0.05)
    text = run(*pair).out
    assert "SWIR bands" in text
    assert "; left by fuse" in text
    assert "16-24: 0." in text
    assert "would put them on the VNIR bands (LR pixels); undone by fuse" in text


def test_detectors_that_lie_alike(run: Run, tmp_path: Path) -> None:
    pair = pair_of(tmp_path)
    facts = json.loads(run(*pair, "--json", "-q").out)
    assert [group["elsewhere"] for group in facts["groups"]] == [False]
    assert facts["field"] is None
    assert "not significant" in run(*pair).out


def test_a_pair_that_does_not_tell_has_no_local_displacements(run: Run, tmp_path: Path) -> None:
    lr, _ = write_pair(tmp_path, 160, 160)
    facts = json.loads(run(lr, unrelated(tmp_path), "--json", "-q").out)
    assert (facts["field"], facts["groups"], facts["blocks"]) == (None, [], [])


def test_it_says_what_fusing_does(run: Run, emrdiff: Run, tmp_path: Path) -> None:
    """The geometry of `check` is the one that `fuse` records, and says what it was worth."""
    pair = pair_of(tmp_path, turned)
    facts = json.loads(run(*pair, "--json", "-q").out)
    fused = json.loads(emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp", "--json").out)
    assert fused["shift_lr_px"] == pytest.approx(facts["shift"]["used_lr_px"])
    moved, *_, varies = fused["notes"]
    assert moved.startswith(
        "the LR-HSI was moved by 0.20 down and 0.10 left (LR pixels) onto the MSI, its mean"
    )
    field = facts["field"]
    for said in (
        f"rotation {field['rotation_degrees']:.3f} degrees counterclockwise",
        f"up to {field['corners_lr_px']:.2f} LR pixels",
        f"leaves {field['unexplained_after']:.2%} of the MSI unexplained",
        f"all over {field['unexplained_before']:.2%}",
    ):
        assert said in varies


def test_a_note_names_the_move_of_each_detector_as_it_was_made(emrdiff: Run, tmp_path: Path) -> None:
    """The VNIR bands lie right: there is no word of the displacement that all bands together seem to have."""
    pair = pair_of(tmp_path, apart=APART)
    fused = json.loads(emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp", "--json").out)
    assert fused["shift_lr_px"] == pytest.approx((0, 0), abs=0.02)
    (note,) = [note for note in fused["notes"] if "SWIR" in note]
    moved = r"the SWIR bands \(bands 16-24\) were moved by 0\.\d\d down and 0\.2\d left \(LR pixels\) besides"
    assert re.fullmatch(moved + ", onto the VNIR bands", note)
    assert not [note for note in fused["notes"] if "0.1" in note and "the LR-HSI was moved" in note]


def test_a_displacement_that_is_not_sure_is_left_and_said(run: Run, emrdiff: Run, tmp_path: Path) -> None:
    """Under so much noise the pair hints at where it lies; neither a shift nor a field is made of that."""
    lr, msi = displaced(tmp_path)
    clean = read(msi)
    write_cube(
        msi, clean + 8 * clean.std() * np.random.default_rng(0).normal(size=clean.shape), transform=FINE
    )
    facts = json.loads(run(lr, msi, "--json", "-q").out)
    assert 0 < facts["shift"]["confidence"] < 0.5
    assert (facts["shift"]["used_lr_px"], facts["field"]) == ([0, 0], None)
    assert "only if it is told `--register full`" in facts["warnings"][0]
    assert "left by fuse" in run(lr, msi).out
    fused = json.loads(emrdiff("fuse", lr, msi, tmp_path / "out.tif", "--method", "glp", "--json").out)
    assert fused["shift_lr_px"] == [0, 0]


def test_a_picture_has_an_arrow_at_each_block(run: Run, tmp_path: Path) -> None:
    """Both kinds begin where the block lies; the blue ones, of what differs from the mean, are drawn last."""
    output = tmp_path / "arrows.png"
    ended = run(*pair_of(tmp_path, turned), "--picture", output, "--json", "-q")
    assert ended.code == 0, ended.err
    picture = read_back(output)
    zoom = 1024 // (SIDE * RATIO)
    assert picture.shape[0] == 4
    assert picture.shape[1] > picture.shape[2] == 1024
    for block in json.loads(ended.out)["blocks"]:
        row, col = (round((place + 0.5) * zoom - 0.5) for place in block["centre_hr_px"])
        assert picture[:, row, col].tolist() == [86, 180, 233, 255]
    assert (picture[:3, :1024] == np.reshape([230, 159, 0], (3, 1, 1))).all(axis=0).sum() > 16 * 100


def test_a_picture_is_no_input_and_replaces_nothing_unasked(run: Run, tmp_path: Path) -> None:
    lr, msi = pair_of(tmp_path)
    there = tmp_path / "there.png"
    there.write_bytes(b"mine")
    named = tmp_path / "linked.png"
    named.symlink_to(msi)
    for output, more, said in (
        (there, (), "--overwrite"),
        (named, ("--overwrite",), "is an input"),
        (tmp_path / "arrows.jpg", (), ".png"),
    ):
        ended = run(lr, msi, "--picture", output, *more)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert said in ended.err
    assert there.read_bytes() == b"mine"
    assert run(lr, msi, "--picture", there, "--overwrite", "-q").code == 0
    assert there.read_bytes().startswith(b"\x89PNG")


def test_no_picture_where_no_block_tells(run: Run, tmp_path: Path) -> None:
    lr, _ = write_pair(tmp_path, 160, 160)
    ended = run(lr, unrelated(tmp_path), "--picture", tmp_path / "arrows.png", "-q")
    assert ended.code == 3
    assert "Warning" in ended.out
    assert "arrows.png was not drawn" in ended.out
    assert not (tmp_path / "arrows.png").exists()
