"""JSON among the tags of an ENVI raster, whose header knows braces as the ends of a value alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from emrdiff_cli.raster.envi import clean_value, whole_value
from tests.support.front_door import Run
from tests.support.rasters import write_tif

RECORDS = [
    {"sentence": 'said "so", of {two}', "rows": [{"a": 1.5, "b": None}, {}], "µ": "\\u007b"},
    [{"sigma_px": 3.6, "correction": []}, {"sigma_px": 3.7, "correction": []}],
    {"flat": 1},
]


@pytest.mark.parametrize("record", RECORDS)
def test_it_comes_back_whole_and_has_no_brace_in_the_header(record: object) -> None:
    text = json.dumps(record)
    stored = clean_value(text)
    assert not {"{", "}", "\n"} & set(stored)
    assert whole_value(stored) == text


@pytest.mark.parametrize("text", ['"quoted"', '"', "{a, b}", "[1, 2]", "plain", '"[1, 2]"'])
def test_what_is_no_json_with_braces_is_what_it_was(text: str) -> None:
    assert whole_value(text) == text
    assert clean_value(text) == text


def test_it_goes_to_envi_and_back(emrdiff: Run, tmp_path: Path) -> None:
    tags = {f"record_{i}": json.dumps(record) for i, record in enumerate(RECORDS)}
    with rasterio.open(write_tif(tmp_path / "in.tif", np.ones((2, 8, 8), "uint8")), "r+") as dataset:
        dataset.update_tags(**tags)
    for source, target in (("in.tif", "out.bsq"), ("out.bsq", "back.tif")):
        ended = emrdiff("convert", tmp_path / source, tmp_path / target, "-q")
        assert ended.code == 0, ended.err
    with rasterio.open(tmp_path / "back.tif") as dataset:
        assert tags.items() <= dataset.tags().items()
