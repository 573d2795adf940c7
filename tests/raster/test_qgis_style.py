"""Styles for QGIS beside rasters: which bands, from where to where, of physical values as QGIS has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring

from emrdiff_cli.raster.spec import Driver, RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from tests.support.front_door import Run
from tests.support.rasters import NORTH_UP

CENTRES = (443.25, 559.0, 652.3, 864.0)


def made(path: Path, centres: tuple[float, ...] | None = CENTRES, driver: Driver = "GTiff") -> Path:
    spec = RasterSpec(Grid(40, 30, NORTH_UP), Bands(4, centres), "int16", -1, scale=1e-4, driver=driver)
    with VerifiedWriter(path, spec) as writer:
        writer.append_stored(np.random.default_rng(0).gamma(2, 300, (4, 40, 30)).astype(np.int16))
    return path


@pytest.mark.parametrize("kind", ["GTiff", "COG"])
def test_true_colours_two_deviations_from_the_mean(emrdiff: Run, tmp_path: Path, kind: str) -> None:
    source = made(tmp_path / "a.tif")
    assert emrdiff("convert", source, tmp_path / "b.tif", "-f", kind, "--qml").code == 0
    shown = fromstring((tmp_path / "b.qml").read_text()).find("pipe/rasterrenderer")
    assert [shown.get(f"{colour}Band") for colour in ("red", "green", "blue")] == ["3", "2", "1"]
    values = np.random.default_rng(0).gamma(2, 300, (4, 40, 30)).astype(np.int16)[2]
    low, high = (float(shown.find(f"redContrastEnhancement/{end}Value").text) for end in ("min", "max"))
    assert low == pytest.approx(1e-4 * max(values.min(), values.mean() - 2 * values.std()))
    assert high == pytest.approx(1e-4 * (values.mean() + 2 * values.std()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.qml", "b.tif"]


def test_what_has_no_colours_or_statistics_is_refused_first(emrdiff: Run, tmp_path: Path) -> None:
    plain, coloured = made(tmp_path / "a.tif", None), made(tmp_path / "c.tif")
    assert "no bands near 650" in emrdiff("convert", plain, tmp_path / "b.tif", "--qml").err
    assert "no statistics" in emrdiff("convert", coloured, tmp_path / "b.bsq", "--qml").err
    (tmp_path / "b.qml").write_text("mine")
    assert "--overwrite" in emrdiff("convert", coloured, tmp_path / "b.tif", "--qml").err
    assert (tmp_path / "b.qml").read_text() == "mine"
    assert not list(tmp_path.glob("b.[tbh]*"))
    again = emrdiff("convert", coloured, tmp_path / "b.tif", "--qml", "--overwrite")
    assert again.code == 0
    written = (tmp_path / "b.qml").read_text()
    assert written != "mine"
    assert "style" not in again.err
    left = emrdiff("convert", coloured, tmp_path / "b.tif", "--overwrite")
    assert "b.qml: a style for what b.tif was before" in left.err
    assert (tmp_path / "b.qml").read_text() == written
