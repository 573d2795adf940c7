"""Units and tags of bands from file to file: carried by tiles and back, by fusion, and by formats."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from emrdiff_cli.raster.reading import read_info
from tests.support.front_door import Run
from tests.support.pairs import write_pair

UNIT = "W/m2/sr/um"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A pair whose LR-HSI has units, a tag on all bands, one on a single band, and statistics."""
    lr, msi = write_pair(tmp_path)
    with rasterio.open(lr, "r+") as dataset:
        dataset.units = [UNIT] * 7 + [""]
        for band in dataset.indexes:
            told = {"detector": f"D{band}", "STATISTICS_MEAN": "9", "emrdiff_detail": "covered"}
            dataset.update_tags(band, **told, **({"Note": "noisy, hot"} if band == 3 else {}))
    return lr, msi


def tags(path: Path) -> list[dict[str, str]]:
    with rasterio.open(path) as dataset:
        return [dataset.tags(band) for band in dataset.indexes]


def test_tiles_and_back_keep_them_exactly(emrdiff: Run, tmp_path: Path, pair: tuple[Path, Path]) -> None:
    (tmp_path / "tiles").mkdir()
    assert emrdiff("tile", pair[0], tmp_path / "tiles", "--size", 8, "--overlap", 2, "-q").code == 0
    assert emrdiff("stitch", tmp_path / "tiles", tmp_path / "whole.tif", "-q").code == 0
    before, after = read_info(pair[0]), read_info(tmp_path / "whole.tif")
    assert (after.bands, after.band_tags) == (before.bands, before.band_tags)
    assert before.bands.units == (*[UNIT] * 7, "")
    assert before.band_tags["Note"] == ("", "", "noisy, hot", *[""] * 5)
    assert [known.get("Note") for known in tags(tmp_path / "whole.tif")] == [
        None,
        None,
        "noisy, hot",
        *[None] * 5,
    ]
    assert all(
        float(known["STATISTICS_MEAN"]) != 9 for known in tags(tmp_path / "whole.tif")
    )  # the stale one


@pytest.mark.parametrize("name", ["fused.tif", "fused.bsq"])
def test_fusion_carries_them(emrdiff: Run, tmp_path: Path, pair: tuple[Path, Path], name: str) -> None:
    output = tmp_path / name
    assert emrdiff("fuse", *pair, output, "--method", "glp", "--register", "off", "-q").code == 0
    info = read_info(output)
    assert info.bands.units == (*[UNIT] * 7, "")
    if output.suffix == ".tif":
        assert info.band_tags["detector"] == tuple(f"D{band}" for band in range(1, 9))
        assert set(info.band_tags) == {"detector", "Note", "emrdiff_detail"}
    else:
        assert info.tags["detector"] == "{D1, D2, D3, D4, D5, D6, D7, D8}"


def test_a_cog_keeps_them(emrdiff: Run, tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert emrdiff("convert", pair[0], tmp_path / "cog.tif", "-f", "COG", "-q").code == 0
    before, after = read_info(pair[0]), read_info(tmp_path / "cog.tif")
    assert (after.bands, after.band_tags) == (before.bands, before.band_tags)
