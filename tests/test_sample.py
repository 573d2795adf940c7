"""The shipped model on the sample scene, through the front door: what the README promises."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tests.support.front_door import Run, succeed
from tests.support.page_runs import run_page
from tests.support.places import ROOT, SAMPLE

pytestmark = pytest.mark.slow

MODEL = "chikusei-x8"
PAIR = SAMPLE / "lr_hsi.hdr", SAMPLE / "hr_msi.tif"

Fuse = Callable[..., Path]


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Fuse:
    folder = tmp_path_factory.mktemp("sample")

    def run(name: str, *options: object) -> Path:
        target = folder / f"{name}.tif"
        if not target.exists():
            succeed("fuse", *PAIR, target, *options, "-q")
        return target

    return run


def scores(fused: Path, *options: object) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(
        succeed("evaluate", fused, SAMPLE / "hr_hsi.tif", "--json", "-q", *options)
    )
    return record


def stored(path: Path) -> NDArray[np.int64]:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read(), np.int64)


def test_the_model_found_for_the_sample_beats_what_needs_no_training(fuse: Fuse) -> None:
    cheap = "--metrics", "psnr_db,sam_deg"
    ours = scores(fuse("ours"), "--baseline", SAMPLE / "lr_hsi.hdr", *cheap)
    glp, local = (scores(fuse(method, "--method", method), *cheap) for method in ("glp", "glp-local"))
    assert ours["baseline"]["psnr_db"] < 30
    assert ours["psnr_db"] > ours["baseline"]["psnr_db"] + 8
    assert ours["psnr_db"] > glp["psnr_db"] + 2
    assert ours["psnr_db"] > local["psnr_db"] > glp["psnr_db"]
    assert ours["sam_deg"] < min(ours["baseline"]["sam_deg"], glp["sam_deg"], local["sam_deg"])


def test_the_output_lies_on_the_msi_and_keeps_the_hsi_bands(fuse: Fuse) -> None:
    with rasterio.open(fuse("ours")) as fused, rasterio.open(SAMPLE / "hr_hsi.tif") as reference:
        assert (fused.crs, fused.transform, fused.shape) == (
            reference.crs,
            reference.transform,
            reference.shape,
        )
        assert (fused.dtypes, fused.nodata, fused.scales) == (
            reference.dtypes,
            reference.nodata,
            reference.scales,
        )
        assert [fused.tags(b)["wavelength"] for b in fused.indexes] == [
            reference.tags(b)["wavelength"] for b in reference.indexes
        ]
        assert fused.tags()["emrdiff_model"] == MODEL


def test_tiles_agree_with_the_whole_and_show_no_seam(fuse: Fuse) -> None:
    exactly = "--precision", "fp32"
    whole, tiled = stored(fuse("whole", "--tile", 192, *exactly)), stored(fuse("tiled", *exactly))
    data_range = np.ptp(stored(SAMPLE / "hr_hsi.tif"))
    assert np.abs(tiled - whole).max() <= 1e-3 * data_range
    for axis in (1, 2):
        steps = np.abs(np.diff(tiled - whole, axis=axis)).mean(axis=(0, 3 - axis))
        scene = np.abs(np.diff(whole, axis=axis)).mean(axis=(0, 3 - axis))
        lines = np.array([63, 127])
        assert steps[lines].mean() < 0.05 * np.delete(scene, lines).mean()


def test_the_model_finds_the_sample_s_bands_in_any_order(fuse: Fuse, tmp_path: Path) -> None:
    """Descending in the LR-HSI, NIR first in the MSI, as it is by the wavelengths of both."""
    with rasterio.open(SAMPLE / "lr_hsi.bsq") as source:
        source.read()[::-1].tofile(tmp_path / "lr.bsq")
    text = PAIR[0].read_text()
    for key in ("wavelength", "fwhm"):
        (listed,) = re.findall(rf"^{key} = {{(.*)}}$", text, re.MULTILINE)
        text = text.replace(listed, ", ".join(listed.split(", ")[::-1]))
    (tmp_path / "lr.hdr").write_text(text)
    with rasterio.open(PAIR[1]) as source:
        msi, profile, scales = source.read(), source.profile, source.scales
        tags = [source.tags(band) for band in source.indexes]
    for name, known, side in (("tagged", tags[::-1], 192), ("bare", [], 96)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", **profile | {"height": side, "width": side}
        ) as dataset:
            dataset.write(msi[::-1, :side, :side])
            dataset.scales = scales
            for band, told in enumerate(known, 1):
                dataset.update_tags(band, **told)
    turned, said = tmp_path / "turned.tif", ("--precision", "fp32", "--json", "-q")
    report = json.loads(succeed("fuse", tmp_path / "lr.hdr", tmp_path / "tagged.tif", turned, *said))
    assert np.abs(stored(turned)[::-1] - stored(fuse("tiled", "--precision", "fp32"))).max() <= 1
    assert sum("another order" in note for note in report["notes"]) == 2
    bare = succeed("fuse", PAIR[0], tmp_path / "bare.tif", tmp_path / "fused.tif", *said)
    assert any(said.endswith("in the order 4, 3, 2, 1") for said in json.loads(bare)["warnings"])


def test_the_readme_s_examples_run_as_they_stand(
    fuse: Fuse, emrdiff: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sample_data").symlink_to(SAMPLE)
    shutil.copy(fuse("ours"), tmp_path / "fused.tif")
    checked, _, scored, held, drawn = run_page(
        (ROOT / "README.md").read_text(), tmp_path, emrdiff, monkeypatch
    )
    assert checked.out.endswith("ready to be fused\n")
    assert "43.5" in scored.out
    assert "HQNR" in held.out
    assert (drawn.code, (tmp_path / "fused.png").exists()) == (0, True)
