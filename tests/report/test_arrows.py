"""Arrows on pictures: where they begin and end, what they leave alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.raster_info import Window
from emrdiff_cli.report.arrows import Arrow, draw_arrows
from emrdiff_cli.report.displacement_picture import LocalDisplacement, draw_displacements
from tests.support.rasters import read_back, write_tif

COLOUR = (200, 100, 50)
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)


def of_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.asarray((picture[:3] == np.reshape(colour, (3, 1, 1))).all(axis=0))


def clear(height: int = 40, width: int = 60) -> np.ndarray:
    return np.zeros((4, height, width), np.uint8)


def test_an_arrow_runs_from_its_place_to_its_tip() -> None:
    before = clear()
    drawn = draw_arrows(before, [Arrow(10, 5, 0, 30)], COLOUR, 3)
    assert not before.any()
    ink = of_colour(drawn, COLOUR)
    assert ink[10, 5:36].all()
    rows, cols = np.nonzero(ink)
    assert (cols.min(), cols.max()) == (pytest.approx(5, abs=1), pytest.approx(35, abs=1))
    np.testing.assert_array_equal(ink[:10][::-1], ink[11:21])
    assert np.ptp(rows[cols < 15]) == 2
    assert np.ptp(rows[cols > 25]) > 6
    assert (drawn[3][ink] == 255).all()
    assert not drawn[:, 25:].any()


def test_arrows_turn_with_their_direction() -> None:
    right = of_colour(draw_arrows(clear(50, 50), [Arrow(24, 24, 0, 15)], COLOUR, 2), COLOUR)
    up = of_colour(draw_arrows(clear(50, 50), [Arrow(25, 24, -15, 0)], COLOUR, 2), COLOUR)
    np.testing.assert_array_equal(np.rot90(right), up)


def test_what_lies_outside_is_cut_off_and_nothing_is_a_dot() -> None:
    assert not draw_arrows(clear(), [Arrow(-50, -50, 5, 5)], COLOUR, 3).any()
    assert of_colour(draw_arrows(clear(), [Arrow(38, 30, 30, 0)], COLOUR, 3), COLOUR)[38:, 30].all()
    dot = of_colour(draw_arrows(clear(), [Arrow(20, 30, 0, 0)], COLOUR, 3), COLOUR)
    assert dot[20, 30]
    assert dot.sum() < 10


def test_the_longest_arrow_goes_half_the_way_to_the_next_block(tmp_path: Path) -> None:
    """On a window alone: of two blocks 40 pixels apart one is moved by 0.2 LR pixels down, one by 0.1 right."""
    msi = write_tif(tmp_path / "msi.tif", np.full((3, 80, 80), 7, np.int16))
    blocks = [LocalDisplacement(40, 20, 0.2, 0.0), LocalDisplacement(40, 60, 0.0, 0.1)]
    draw_displacements(msi, Window(10, 0, 60, 80), 4.0, blocks, tmp_path / "arrows.png")
    zoom, whole = 1024 // 80, read_back(tmp_path / "arrows.png")
    row, left, right = (round((place + 0.5) * zoom - 0.5) for place in (30, 20, 60))
    reach = 20 * zoom
    orange, blue = (of_colour(whole[:, : 60 * zoom], colour) for colour in (ORANGE, BLUE))
    assert np.nonzero(orange)[0].max() == pytest.approx(row + reach, abs=4)
    assert np.nonzero(orange)[1].max() == pytest.approx(right + reach / 2, abs=4)
    # They differ from their mean by (0.1, -0.05) and the opposite.
    assert np.nonzero(blue[row + 5 :])[1].min() == pytest.approx(left - reach / 5**0.5, abs=5)
    assert np.nonzero(blue)[0].min() == pytest.approx(row - 2 * reach / 5**0.5, abs=5)
    # The scale says 0.2 LR pixels: as long as the longest arrow.
    bar = np.asarray(of_colour(whole, ORANGE)[60 * zoom :].any(axis=0))[8:]
    assert bar.argmin() == pytest.approx(reach, abs=8)
