"""`emrdiff tile` of a pair whose LR-HSI is displaced: each tile is fused as the whole would be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.sensor.displacement import DisplacementField
from emrdiff_cli.pair.geometry import SHIFT_TAG
from emrdiff_cli.raster.tags import PAIR_TAG
from tests.support.front_door import Ended, Run
from tests.support.geometries import lattice, seen_at, turned, written
from tests.support.pairs import BANDS, SIDE, displaced, see
from tests.support.rasters import read_back
from tests.support.scenes import textured

Pair = tuple[Path, Path]


def _cut(emrdiff: Run, pair: Pair, folder: Path, *options: object) -> Ended:
    return emrdiff("tile", *pair, folder, "--size", 96, "--overlap", 32, *options)


def _fused_by_tiles(
    emrdiff: Run, pair: Pair, folder: Path, *options: object, method: str
) -> tuple[Path, list[Any]]:
    """The pair cut, its tiles fused in place of the MSI's and stitched; and what `fuse` said of each."""
    tiles, said = folder / "tiles", []
    assert _cut(emrdiff, pair, tiles, "-q", *options).code == 0
    for msi in sorted(tiles.glob("msi_*.tif")):
        fused = tiles / "fused.tif"
        lr = msi.with_name(msi.name.replace("msi", "lr"))
        ended = emrdiff("fuse", lr, msi, fused, "--method", method, "--json", "-q")
        assert ended.code == 0, ended.err
        said.append(json.loads(ended.out))
        fused.replace(msi)
    joined = folder / "joined.tif"
    ended = emrdiff("stitch", tiles, joined, "--raster", "msi", "-q")
    assert ended.code == 0, ended.err
    return joined, said


def _rms(values: Any) -> float:
    return float(np.sqrt(np.nanmean(np.square(values))))


@pytest.mark.slow
def test_tiles_of_a_displaced_pair_fused_and_joined_are_the_whole_fused(tmp_path: Path, emrdiff: Run) -> None:
    pair = displaced(tmp_path, (2.3, -1.6))
    assert emrdiff("fuse", *pair, tmp_path / "whole.tif", "--method", "kriging", "-q").code == 0
    joined, said = _fused_by_tiles(emrdiff, pair, tmp_path, method="kriging")
    with rasterio.open(joined) as ours, rasterio.open(tmp_path / "whole.tif") as theirs:
        assert (ours.transform, ours.shape) == (theirs.transform, theirs.shape)
        assert ours.tags()[SHIFT_TAG] == theirs.tags()[SHIFT_TAG]
        assert not {"emrdiff_lr_hsi", "emrdiff_run", PAIR_TAG} & set(ours.tags())
    whole = read_back(tmp_path / "whole.tif")
    shifts = {tuple(tile["shift_lr_px"]) for tile in said}
    assert len(said) == 4
    assert len(shifts) == 1
    assert all("on the whole pair: the LR-HSI was moved by 2.30 up" in tile["notes"][0] for tile in said)
    truth = textured(BANDS, SIDE, SIDE)
    of_whole, of_tiles = _rms(whole - truth), _rms(read_back(joined) - truth)
    assert of_tiles < 1.1 * of_whole
    assert _rms(read_back(joined) - whole) < 0.5 * of_whole


def test_the_geometry_may_be_given_and_tiles_of_it_leave_no_seam(tmp_path: Path, emrdiff: Run) -> None:
    """A place between two MSI pixels' centres is that of neither tile or of both, by rounding."""
    pair = displaced(tmp_path, (-1.125, 0.625))
    given = ("--shift", "1.125,-0.625", "--psf-fwhm", "4")
    joined, said = _fused_by_tiles(emrdiff, pair, tmp_path, *given, method="glp")
    assert {tuple(tile["shift_lr_px"]) for tile in said} == {(1.125, -0.625)}
    assert {tuple(tile["psf_fwhm_px"]) for tile in said} == {(4, 4)}
    assert np.isfinite(read_back(joined)).all()


def test_tiles_of_a_pair_left_as_it_lies_are_fused_so(tmp_path: Path, emrdiff: Run) -> None:
    pair = displaced(tmp_path, (0.4, -0.7))
    ended = _cut(emrdiff, pair, tmp_path / "tiles", "--register", "off")
    assert "seems displaced" in ended.err
    tile = [tmp_path / "tiles" / f"{name}_r000_c000.tif" for name in ("lr", "msi")]
    plain = emrdiff("fuse", *tile, tmp_path / "plain.tif", "--method", "glp", "--json", "-q")
    assert json.loads(plain.out)["shift_lr_px"] == [0, 0]
    found = emrdiff(
        "fuse", *tile, tmp_path / "f.tif", "--method", "glp", "--json", "-q", "--register", "full"
    )
    assert json.loads(found.out)["shift_lr_px"] == pytest.approx([-0.4, 0.7], abs=0.1)


def test_stitching_tiles_that_know_the_pair_is_the_identity(tmp_path: Path, emrdiff: Run) -> None:
    pair = displaced(tmp_path, (0.4, -0.7))
    _cut(emrdiff, pair, tmp_path / "tiles", "-q")
    assert emrdiff("stitch", tmp_path / "tiles", tmp_path / "lr2.tif", "--raster", "lr", "-q").code == 0
    with rasterio.open(tmp_path / "lr2.tif") as ours, rasterio.open(pair[0]) as theirs:
        assert ours.tags() == theirs.tags()
        covered = theirs.read()[:, -ours.height :, : ours.width]
        np.testing.assert_array_equal(ours.read(), covered)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--size", 48, "--overlap", 8), 2, "a size of at least"),
        (("--shift", "500,0"), 3, "no ground in common"),
    ],
)
def test_tiles_that_cannot_be_of_a_pair_so_displaced_are_refused(
    tmp_path: Path, emrdiff: Run, options: tuple[object, ...], code: int, said: str
) -> None:
    pair = displaced(tmp_path, (14, 0))
    ended = emrdiff("tile", *pair, tmp_path / "tiles", "--shift", "-14,0", *options)
    assert (ended.code, said in ended.err) == (code, True), ended.err


def test_a_damaged_geometry_of_a_tile_is_named(tmp_path: Path, emrdiff: Run) -> None:
    pair = displaced(tmp_path)
    for text in ("{", json.dumps({"move": [1e999, 0]}), "[" * 100_000):
        for path in pair:
            with rasterio.open(path, "r+") as dataset:
                dataset.update_tags(**{PAIR_TAG: text})
        ended = emrdiff("fuse", *pair, tmp_path / "o.tif", "--method", "glp")
        assert ended.code == 3
        assert f"its tag {PAIR_TAG} is damaged: cut the tiles again" in ended.err


def test_a_field_over_a_part_is_the_part_of_the_field() -> None:
    whole = DisplacementField(np.random.default_rng(0).normal(size=(2, 6)), (50, 70))
    part = whole.within(13, 40, (20, 11))
    np.testing.assert_allclose(part.over(), whole.over()[:, 13:33, 40:51], atol=1e-9)


@pytest.mark.slow
def test_tiles_of_a_turned_pair_are_turned_alike(tmp_path: Path, emrdiff: Run) -> None:
    truth = textured(BANDS, 320, 320)
    places = lattice((320, 320), 4) + turned((320, 320), 4, 0.6, 1.004)
    pair = written(tmp_path, seen_at(truth, 4, places), see(truth), 4)
    assert emrdiff("fuse", *pair, tmp_path / "whole.tif", "--method", "glp", "-q").code == 0
    _cut(emrdiff, pair, tmp_path / "tiles", "-q")
    tile = [tmp_path / "tiles" / f"{name}_r002_c003.tif" for name in ("lr", "msi")]
    ended = emrdiff("fuse", *tile, tmp_path / "tile.tif", "--method", "glp", "--json", "-q")
    assert "varies over the scene" in str(json.loads(ended.out)["notes"])
    whole, ours = read_back(tmp_path / "whole.tif")[:, 128:224, 192:288], read_back(tmp_path / "tile.tif")
    inside = (slice(None), slice(24, 72), slice(24, 72))
    of_whole = _rms((whole - truth[:, 128:224, 192:288])[inside])
    assert _rms((ours - whole)[inside]) < of_whole
    assert ended.code == 0
