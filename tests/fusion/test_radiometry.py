"""Units and scales of the inputs: found and matched, restored in the output, never assumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import InputError
from emrdiff_cli.evaluation.no_reference import check_consistency
from emrdiff_cli.fusion.fusing import FusionOptions, FusionReport, fuse
from emrdiff_cli.raster.reading import read_info
from tests.support.pairs import FINE, write_pair
from tests.support.rasters import read_back, write_tif
from tests.support.samplers import Fake, archive_fake, fuse_and_read, settings
from tests.support.scenes import COUNT, read, write_cube

Image = NDArray[np.float32]


def of_everything(tile: TileInputs, _corner: tuple[int, int]) -> Image:
    """An estimate that depends on all that a network sees."""
    seen = np.tanh(tile.guidance.mean(axis=0) + tile.edges[0])
    return np.asarray(np.tanh(tile.a_0) * seen, np.float32)


def write_msi(path: Path, values: NDArray[Any], **options: Any) -> Path:
    return write_cube(path, values, **{"transform": FINE, "count": None, **options})


def fused_report(pair: tuple[Path, Path], output: Path, sampler: Fake) -> FusionReport:
    return fuse(*pair, output, "glp", sampler, FusionOptions(overwrite=True))


WAYS: dict[str, dict[str, Any]] = {
    "glp": {"method": "glp"},
    "glp-local": {"method": "glp-local"},
    "kriging": {"method": "kriging"},
    "scene's calibration": {"sampler": Fake(settings(), of_everything)},
    "scene's, all bands": {"sampler": Fake(settings(subspace=0, pseudo_msi="srf"), of_everything)},
}


# What is calibrated on the scene


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_affine_change_of_the_msi_changes_nothing(tmp_path: Path, way: str) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    expected = fuse_and_read(tmp_path, (lr, msi), **WAYS[way])
    for factor, offset in ((16, 0), (16, 3), (1e4, -1000), (0.01, 2)):
        changed = write_msi(tmp_path / "changed.tif", (read(msi) * factor + offset).astype(np.float32))
        # Kriging, which samplers begin at, goes by the root of a band: of another shape above another zero.
        tolerance = 5e-4 if way.startswith("glp") or not offset else 5e-3
        fused = fuse_and_read(tmp_path, (lr, changed), **WAYS[way])
        np.testing.assert_allclose(fused, expected, atol=tolerance, err_msg=f"{factor}, {offset}")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_msi_of_bytes_is_that_of_floats_in_other_units(tmp_path: Path, way: str) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    bytes_ = np.clip(np.rint(200 * read(msi)), 0, 255).astype(np.uint8)
    one = write_tif(tmp_path / "bytes.tif", bytes_, transform=FINE)
    other = write_msi(tmp_path / "floats.tif", 16 * bytes_.astype(np.float32))
    np.testing.assert_allclose(
        fuse_and_read(tmp_path, (lr, one), **WAYS[way]),
        fuse_and_read(tmp_path, (lr, other), **WAYS[way]),
        atol=1e-5,
    )


def test_counts_with_a_recorded_scale_are_reflectance(tmp_path: Path) -> None:
    """The same ground as int16 counts of 1e-4 and as float32 reflectance, in either raster."""
    (tmp_path / "counts").mkdir()
    counts, floats = write_pair(tmp_path / "counts"), write_pair(tmp_path, count=None)
    expected = fuse_and_read(tmp_path, floats)
    for pair in (counts, (counts[0], floats[1]), (floats[0], counts[1])):
        np.testing.assert_allclose(fuse_and_read(tmp_path, pair), expected, atol=3 * COUNT)
    info = read_info(counts[0])
    assert info.scale == pytest.approx(COUNT)
    assert info.dtype == "int16"


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_the_output_is_rounded_once_in_the_types_units(tmp_path: Path, dtype: str) -> None:
    pair = write_pair(tmp_path)
    fuse_and_read(tmp_path, pair, dtype=dtype)
    stored = read_back(tmp_path / "fused.tif")
    fuse_and_read(tmp_path, pair, dtype="float64")
    exact = read_back(tmp_path / "fused.tif")
    assert exact.mean() == pytest.approx(0.3 / COUNT, rel=0.3)
    assert np.abs(stored - exact).max() <= (0.5 if dtype.startswith("int") else 0) + 1e-3


# What is calibrated on an archive


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"subspace": 0}], ids=str)
@pytest.mark.parametrize("spectral", [True, False])
def test_an_msi_on_another_scale_than_the_archives_is_matched(
    tmp_path: Path, changes: dict[str, Any], spectral: bool
) -> None:
    lr, msi = write_pair(tmp_path, count=None, spectral=spectral)
    sampler = replace(archive_fake((lr, msi), **changes), estimate=of_everything)
    expected = fuse_and_read(tmp_path, (lr, msi), sampler)
    for factor in (16, 1e4, 0.004):
        other = write_msi(tmp_path / "other.tif", read(msi) * np.float32(factor), spectral=spectral)
        report = fused_report((lr, other), tmp_path / "fused.tif", sampler)
        # The factor is found within a tenth, so what the network sees is off by as much at most.
        assert np.abs(read(tmp_path / "fused.tif") - expected).mean() < 0.02, factor
        with rasterio.open(tmp_path / "fused.tif") as dataset:
            applied = float(dataset.tags()["emrdiff_msi_scale"])
        assert applied * factor == pytest.approx(1, rel=0.1)
        assert any(f"multiplied by {applied:g}" in note for note in report.notes)


@pytest.mark.parametrize("factor", [0.8, 1, 1.25])
def test_an_msi_near_the_archives_scale_is_left_alone(tmp_path: Path, factor: float) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    sampler = archive_fake((lr, msi))
    near = write_msi(tmp_path / "near.tif", read(msi) * np.float32(factor))
    report = fused_report((lr, near), tmp_path / "fused.tif", sampler)
    with rasterio.open(tmp_path / "fused.tif") as dataset:
        assert "emrdiff_msi_scale" not in dataset.tags()
    assert not any("multiplied" in note for note in report.notes)


def test_a_dark_scene_is_no_other_scale(tmp_path: Path) -> None:
    """Both are half as bright as the archive: the relation is what counts."""
    lr, msi = write_pair(tmp_path, count=None)
    sampler = archive_fake((lr, msi))
    dark = write_cube(tmp_path / "dark.tif", read(lr) / 2, count=None)
    report = fused_report(
        (dark, write_msi(tmp_path / "dim.tif", read(msi) / 2)), tmp_path / "fused.tif", sampler
    )
    assert not any("multiplied" in note for note in report.notes)


def test_an_msi_of_nothing_is_still_refused(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    sampler = archive_fake((lr, msi))
    with pytest.raises(InputError, match=r"zero.tif: every band is of one value alone"):
        fuse_and_read(tmp_path, (lr, write_msi(tmp_path / "zero.tif", 0 * read(msi))), sampler)


def test_an_offset_of_all_msi_bands_is_taken_off_and_recorded(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    sampler = replace(archive_fake((lr, msi)), estimate=of_everything)
    plain = fused_report((lr, msi), tmp_path / "plain.tif", sampler)
    assert not any("offset" in note for note in plain.notes)
    above = write_msi(tmp_path / "above.tif", (read(msi) + 0.3).astype(np.float32))
    done = fused_report((lr, above), tmp_path / "fused.tif", sampler)
    tags = read_info(tmp_path / "fused.tif").tags
    assert float(tags["emrdiff_msi_offset"]) == pytest.approx(0.3, rel=0.1)
    assert "emrdiff_msi_scale" not in tags
    assert any("taken off the HR-MSI" in note for note in done.notes)
    off = read(tmp_path / "fused.tif") - read(tmp_path / "plain.tif")
    assert np.abs(off).max() < 0.02
    told = check_consistency(tmp_path / "fused.tif", lr, above)
    assert told.overall["srf_rmse"] == pytest.approx(
        check_consistency(tmp_path / "plain.tif", lr, msi).overall["srf_rmse"], abs=0.01
    )
    assert any("taken off the HR-MSI" in note for note in told.notes)
