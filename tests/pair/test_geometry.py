"""The geometry of a pair, written down and read back: in tags, in records, on the pair's grids."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emrdiff_cli.core.sensor.degradation import AxisPsf, Psf
from emrdiff_cli.core.sensor.displacement import BandShift
from emrdiff_cli.errors import InputError
from emrdiff_cli.pair.geometry import (
    FIELD_TAG,
    GROUPS_TAG,
    PSF_ERROR_TAG,
    PSF_TAG,
    SHIFT_ERROR_TAG,
    SHIFT_TAG,
    PairGeometry,
)
from emrdiff_cli.pair.pair import open_pair
from tests.support.pairs import displaced

SHAPED = Psf(axes=(AxisPsf(1.7, (0.1, -0.05, 0.0), 0.5), AxisPsf(1.9)))
FIELD = ((0.25, 0.04, -0.1), (-1.5, 0.1, 0.04))
GROUPS = (BandShift((4, 5, 7), (0.4, -0.1)), BandShift((0,), (0.0, 0.3)))
MOVE = (0.25, -1.5)
MOVE_ERRORS = (0.005, 0.25)
GEOMETRIES = {
    "as it lies": PairGeometry(known=True),
    "moved": PairGeometry(move=MOVE, known=True),
    "seen": PairGeometry(move=MOVE, psf=SHAPED, known=True),
    "field": PairGeometry(move=MOVE, field=FIELD, known=True),
    "detectors": PairGeometry(move=MOVE, groups=GROUPS, known=True),
    "with errors": PairGeometry(move=MOVE, move_errors=(0.01, 0.02), fwhm_errors=(0.0, 0.5), known=True),
    "all": PairGeometry(
        move=MOVE, psf=SHAPED, field=FIELD, groups=GROUPS, move_errors=MOVE_ERRORS, known=True
    ),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_tags_are_read_back(name: str) -> None:
    geometry = GEOMETRIES[name]
    assert all(isinstance(value, str) for value in geometry.tags.values())
    assert PairGeometry.from_tags(geometry.tags) == geometry


@pytest.mark.parametrize("name", GEOMETRIES)
def test_records_are_read_back_from_json(name: str) -> None:
    geometry = GEOMETRIES[name]
    said = replace(geometry, notes=("moved",), warnings=("look",))
    assert PairGeometry.from_record(json.loads(json.dumps(said.record()))) == said


def test_what_was_not_looked_for_is_not_recorded() -> None:
    assert PairGeometry().tags == {}
    assert PairGeometry.from_tags({"other": "tag"}) == PairGeometry()


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (SHIFT_TAG, ""),
        (SHIFT_TAG, "1.0"),
        (SHIFT_TAG, "1.0,two"),
        (SHIFT_TAG, "nan,0"),
        (SHIFT_ERROR_TAG, "0.1"),
        (SHIFT_ERROR_TAG, "-0.1,0"),
        (PSF_ERROR_TAG, "0.1,inf"),
        (PSF_TAG, "no json"),
        (PSF_TAG, "[]"),
        (PSF_TAG, '[{"sigma_px": 1.7}]'),
        (PSF_TAG, json.dumps([{"sigma_px": 0, "correction": [], "step_px": 1}] * 2)),
        (PSF_TAG, json.dumps([{"sigma_px": 1, "correction": [], "step_px": -1}] * 2)),
        (PSF_TAG, json.dumps([{"sigma_px": 1, "correction": 5, "step_px": 1}] * 2)),
        (PSF_TAG, json.dumps([{"sigma_px": 1, "correction": [math.nan], "step_px": 1}] * 2)),
        (FIELD_TAG, "[[1, 2"),
        (FIELD_TAG, '[["a"]]'),
        (FIELD_TAG, "5"),
        (FIELD_TAG, "[[0.1]]"),
        (FIELD_TAG, "[[0.1, 0.2], [0.1]]"),
        (FIELD_TAG, "[[0.1, 0.2], [0.1, 0.2]]"),
        (FIELD_TAG, "[[NaN], [0.1]]"),
        (GROUPS_TAG, '[{"bands": [1]}]'),
        (GROUPS_TAG, '[{"bands": ["x"], "shift": [0, 1]}]'),
        (GROUPS_TAG, '[{"bands": [1], "shift": [0]}]'),
        (GROUPS_TAG, '[{"bands": [1], "shift": [0, Infinity]}]'),
        (GROUPS_TAG, '[{"bands": [-1], "shift": [0, 1]}]'),
    ],
)
def test_damaged_tags_are_refused(tag: str, value: str) -> None:
    with pytest.raises(InputError, match="is damaged"):
        PairGeometry.from_tags(GEOMETRIES["all"].tags | {tag: value})


def test_a_pair_is_put_where_its_geometry_says(tmp_path: Path) -> None:
    """The move is undone on the grid; what the field and the detectors differ by is left to resampling."""
    with open_pair(*displaced(tmp_path)) as pair:
        placed = GEOMETRIES["all"].applied(pair)
        assert placed.alignment == pair.moved(MOVE).alignment
        assert placed.psf == SHAPED
        assert placed.displacement is not None
        assert placed.displacement.groups == GROUPS
        assert placed.displacement.field is not None
        middle = np.array([19.5])
        np.testing.assert_allclose(placed.displacement.field.at(middle, middle), 0, atol=1e-12)
        assert PairGeometry().applied(pair).displacement is None
