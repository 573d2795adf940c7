"""Pairs whose bands stand in another order than a model's: found by wavelength and put back, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.core.evidence.verdict import Candidate
from emrdiff_cli.errors import ModelError
from emrdiff_cli.fusion.fusing import FusionOptions, FusionReport, fuse
from emrdiff_cli.raster.reading import read_info
from tests.support.pairs import write_pair
from tests.support.samplers import Fake, Image, archive_fake, settings
from tests.support.scenes import read, wavelengths

DESCENDING, INTERLEAVED = [7, 6, 5, 4, 3, 2, 1, 0], [0, 4, 1, 5, 2, 6, 3, 7]
Pair = tuple[Path, Path]


def of_guidance(tile: TileInputs, _corner: tuple[int, int]) -> Image:
    """An estimate in which every channel counts in its own way."""
    k, g = np.ogrid[: len(tile.a_0), : len(tile.guidance)]
    mixed = np.tensordot(0.1 * np.sin(3.0 * k + 1.7 * g), tile.guidance, axes=1)
    return np.asarray(mixed + 0.2 * tile.a_0, np.float32)


def reordered(path: Path, order: list[int], tagged: bool = True) -> Path:
    """The same raster with its bands, and what is known of each, in another order."""
    with rasterio.open(path) as source:
        values, profile, scales = source.read(), source.profile, source.scales
        tags = [source.tags(band) for band in source.indexes]
    target = path.with_name(f"other-{path.name}")
    with rasterio.open(target, "w", **profile) as dataset:
        dataset.write(values[order])
        dataset.scales = scales
        for band, at in enumerate(order, 1):
            dataset.update_tags(band, **(tags[at] if tagged else {}))
    return target


def model(pair: Pair, calibration: str, **changes: object) -> Fake:
    """A sampler of the pair's own bands, with a calibration of its own or the scene's."""
    known = {"hsi_centres_nm": tuple(wavelengths(8)), "msi_centres_nm": tuple(wavelengths(3)), **changes}
    if calibration == "archive":
        return replace(archive_fake(pair, **known), estimate=of_guidance)
    return Fake(settings(**known), of_guidance)


def fused(folder: Path, pair: Pair, sampler: Fake) -> tuple[Image, FusionReport]:
    options = FusionOptions(overwrite=True, register="off")
    report = fuse(*pair, folder / "fused.tif", "glp", sampler, options)
    return read(folder / "fused.tif"), report


@pytest.mark.parametrize("order", [DESCENDING, INTERLEAVED])
@pytest.mark.parametrize("subspace", [4, 0])
@pytest.mark.parametrize("calibration", ["archive", "scene"])
def test_a_cube_in_another_order_is_fused_as_in_the_model_s(
    tmp_path: Path, calibration: str, subspace: int, order: list[int]
) -> None:
    lr, msi = write_pair(tmp_path, 32, 36, count=None)
    sampler = model((lr, msi), calibration, subspace=subspace)
    usual, plain = fused(tmp_path, (lr, msi), sampler)
    other, report = fused(tmp_path, (reordered(lr, order), msi), sampler)
    np.testing.assert_allclose(other, usual[order], atol=2e-5)
    assert read_info(tmp_path / "fused.tif").bands.wavelengths_nm == tuple(wavelengths(8)[i] for i in order)
    assert not any("another order" in note for note in plain.notes)
    assert "LR-HSI's bands stand in another order" in report.notes[0]


@pytest.mark.parametrize("subspace", [4, 0])
@pytest.mark.parametrize("calibration", ["archive", "scene"])
def test_an_msi_in_another_order_is_put_in_the_model_s(
    tmp_path: Path, calibration: str, subspace: int
) -> None:
    lr, msi = write_pair(tmp_path, 32, 36, count=None)
    sampler = model((lr, msi), calibration, subspace=subspace)
    usual, _ = fused(tmp_path, (lr, msi), sampler)
    other, report = fused(tmp_path, (lr, reordered(msi, [2, 0, 1])), sampler)
    np.testing.assert_allclose(other, usual, atol=2e-5)
    assert "HR-MSI's bands stand in another order" in report.notes[0]
    unknown, _ = fused(tmp_path, (lr, reordered(msi, [2, 0, 1], tagged=False)), sampler)
    assert np.abs(unknown - usual).max() > 1e-3


def test_an_msi_without_wavelengths_is_told_by_what_it_responds_to(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    centres = tuple(np.mean(part) for part in np.array_split(wavelengths(8), 3))
    sampler = model((lr, msi), "archive", msi_centres_nm=centres)
    as_the_model = fused(tmp_path, (lr, reordered(msi, [0, 1, 2], tagged=False)), sampler)[1]
    assert not any("order" in said for said in as_the_model.warnings)
    turned = fused(tmp_path, (lr, reordered(msi, [2, 1, 0], tagged=False)), sampler)[1]
    (said,) = (said for said in turned.warnings if "order" in said)
    assert "HR-MSI's bands seem to stand in another order than the model's" in said
    assert said.endswith("or its bands in the order 3, 2, 1")


@pytest.mark.parametrize("named", [False, True])
def test_a_model_chosen_for_an_msi_in_another_order_is_not_used_unless_named(
    tmp_path: Path, named: bool
) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    centres = tuple(np.mean(part) for part in np.array_split(wavelengths(8), 3))
    pair = lr, reordered(msi, [2, 1, 0], tagged=False)
    sampler = model(pair, "archive", msi_centres_nm=centres)
    output, options = tmp_path / "fused.tif", FusionOptions(register="off")

    def run() -> FusionReport:
        return fuse(*pair, output, "glp", sampler, options, model=Candidate("of its bands", 0.2, named=named))

    if named:
        assert any("another order" in said for said in run().warnings)
        return
    with pytest.raises(ModelError, match="bands in the order 3, 2, 1"):
        run()
    assert not output.exists()
    assert [path.name for path in tmp_path.iterdir() if "fused" in path.name] == []


def test_bands_at_other_wavelengths_are_refused(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 32, 36, count=None)
    others = {"hsi_centres_nm": tuple(nm + 25 for nm in wavelengths(8))}
    with pytest.raises(ModelError, match=r"lr\.tif: its bands are not at the model's wavelengths"):
        fused(tmp_path, (lr, msi), model((lr, msi), "archive", **others))
    fused(tmp_path, (lr, msi), model((lr, msi), "scene", **others))


def test_a_model_that_keeps_no_wavelengths_takes_bands_that_ascend(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 32, 36, count=None)
    sampler = model((lr, msi), "archive", hsi_centres_nm=())
    fused(tmp_path, (lr, msi), sampler)
    with pytest.raises(ModelError, match="do not ascend"):
        fused(tmp_path, (reordered(lr, DESCENDING), msi), sampler)
