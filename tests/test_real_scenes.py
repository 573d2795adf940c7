"""Real scenes beside the project through check, train, fuse and evaluate, without a file touched by hand.

They need the folder that shared/data/README.md beside the project describes, and skip without it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import spectral
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.cli.app import main
from tests.support.places import REAL_SCENES

pytestmark = pytest.mark.slow

LR_BERLIN, MSI_BERLIN = (
    REAL_SCENES / "berlin" / name for name in ("enmap_sim_30m_244b.hdr", "hymap_4band_3p6m.hdr")
)
POTSDAM = REAL_SCENES / "enmap_potsdam" / "enmap_potsdam_30m.tif"
NEON = REAL_SCENES / "neon"
BAD = range(129, 135)  # bands of the Potsdam mosaic in water vapour, 0-based
SHORT = ("--iterations", 2, "--patch", 32, "--set", "width=8", "--set", "levels=2", "--set", "subspace=4")

Run = Callable[..., tuple[str, str]]


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (REAL_SCENES / folder).exists(), reason=f"needs the scenes of {folder}")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed; returns what it said on stdout and stderr."""

    def command(*args: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["emrdiff", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert not ended.value.code, err
        return out, err

    return command


def facts(run: Run, *args: object) -> dict[str, Any]:
    out, _ = run(*args, "--json", "-q")
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def listed(dataset: Any, key: str) -> list[float]:
    """A list as GDAL's users read it, from the ENVI domain."""
    return [float(value) for value in dataset.tags(ns="ENVI")[key].strip("{}").split(",")]


def check_place(output: Path, msi: Path) -> None:
    """The output lies on whole pixels of the MSI, inside it."""
    with rasterio.open(output) as fused, rasterio.open(msi) as fine:
        assert fused.crs == fine.crs
        shift = ~fine.transform @ fused.transform
        origin = np.array([shift.c, shift.f])
        np.testing.assert_allclose(origin, origin.round(), atol=1e-6)
        assert shift.almost_equals(Affine.translation(*origin), precision=1e-9)
        assert origin.min() > -1e-6
        assert origin[0] + fused.width < fine.width + 1e-6
        assert origin[1] + fused.height < fine.height + 1e-6


@needs("berlin")
def test_berlin(run: Run, tmp_path: Path) -> None:
    """Ratio 8.33, ENVI in and out; a part is fused, from an end point that takes little time."""
    pair = LR_BERLIN, MSI_BERLIN.with_suffix(".bsq")
    found = facts(run, "check", *pair)
    assert (found["usable"], found["ratio"]) == (True, [8.3333, 8.3333])
    as_it_lies = ("--register", "off", "-q")
    run("train", "--scene", *pair, "-o", tmp_path / "model", *SHORT, "--set", "end_point=glp", *as_it_lies)
    part = ("--bounds", 383900, 5817000, 384200, 5817300, "--json", *as_it_lies)
    for name in ("fused.bsq", "fused.tif"):
        run("fuse", *pair, tmp_path / name, "--model", tmp_path / "model", *part)
        check_place(tmp_path / name, pair[1])
    source, header = spectral.envi.open(str(pair[0])), spectral.envi.open(str(tmp_path / "fused.hdr"))
    assert header.bands.centers == pytest.approx(np.multiply(source.bands.centers, 1000), rel=1e-9)
    assert header.bands.bandwidths == pytest.approx(np.multiply(source.bands.bandwidths, 1000), rel=1e-9)
    assert header.metadata["wavelength units"] == "Nanometers"
    assert [name.strip() for name in header.metadata["band names"]] == source.metadata["band names"]
    with rasterio.open(tmp_path / "fused.bsq") as envi, rasterio.open(tmp_path / "fused.tif") as tif:
        values = envi.read()
        np.testing.assert_array_equal(values, tif.read())
        np.testing.assert_array_equal(values, np.moveaxis(header.load(scale=False), 2, 0))
        assert envi.dtypes[0] == tif.dtypes[0] == "int16"
        assert envi.nodata == tif.nodata == -99
        assert listed(tif, "wavelength") == pytest.approx(header.bands.centers)
        assert listed(tif, "fwhm") == pytest.approx(header.bands.bandwidths)
    scores = facts(run, "evaluate", tmp_path / "fused.bsq", "--lr-hsi", pair[0], "--hr-msi", pair[1])
    assert scores["spectral_sam_deg"] < 2
    rehearsed = facts(run, "evaluate", "--lr-hsi", pair[0], "--hr-msi", pair[1], "--wald", "--method", "glp")
    assert rehearsed["psnr_db"] > rehearsed["baseline"]["psnr_db"] + 5


@needs("enmap_potsdam")
def test_enmap_potsdam(run: Run, tmp_path: Path) -> None:
    """A mosaic with holes, bad bands and values below 0, through a Sentinel-2 MSI at ratio 3."""
    run("simulate", POTSDAM, tmp_path / "pair", "--ratio", 3, "--srf", "sentinel-2a", "-q")
    pair = tmp_path / "pair" / "lr_hsi.tif", tmp_path / "pair" / "hr_msi.tif"
    found = facts(run, "check", *pair)
    assert (found["usable"], found["lr_hsi"]["bad_bands"]) == (True, [band + 1 for band in BAD])
    run("train", "--scene", *pair, "-o", tmp_path / "model", *SHORT, "--register", "off", "-q")
    run("fuse", *pair, tmp_path / "fused.tif", "--model", tmp_path / "model", "-q")
    check_place(tmp_path / "fused.tif", POTSDAM)
    with rasterio.open(POTSDAM) as source, rasterio.open(tmp_path / "fused.tif") as fused:
        truth, values = source.read()[:, :, : fused.width], fused.read()
        assert (fused.dtypes[0], fused.nodata) == ("int16", source.nodata)
        for key in ("wavelength", "fwhm", "bbl"):
            assert listed(fused, key) == pytest.approx(listed(source, key), rel=1e-9)
            assert float(fused.tags(7)[key]) == pytest.approx(float(source.tags(7)[key]), rel=1e-9)
        assert [i for i, good in enumerate(listed(fused, "bbl")) if not good] == list(BAD)
    check_holes(truth, values, -32768)
    scores = facts(run, "evaluate", tmp_path / "fused.tif", POTSDAM, "--baseline", pair[0])
    assert scores["psnr_db"] > scores["baseline"]["psnr_db"] + 5
    assert set(range(1, 225)) - set(scores["bands"]) == {band + 1 for band in BAD}


def check_holes(truth: NDArray[np.int16], values: NDArray[np.int16], nodata: int) -> None:
    """Holes stay, grown to whole LR pixels and no more; values stay in the truth's range."""
    good = [band for band in range(len(truth)) if band not in BAD]
    hole, lost = (truth[good] == nodata).any(axis=0), (values[good] == nodata).all(axis=0)
    assert lost[hole].all()
    rows, cols = (side // 3 for side in hole.shape)
    whole = ~hole[: 3 * rows, : 3 * cols].reshape(rows, 3, cols, 3).any(axis=(1, 3))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(whole, 1, mode="edge"), (3, 3))
    inner = np.asarray(around.all(axis=(2, 3)))
    assert not lost[: 3 * rows, : 3 * cols][inner.repeat(3, axis=0).repeat(3, axis=1)].any()
    kept = values[good][:, ~lost]
    assert kept.min() > truth[good][:, ~hole].min() - 2000
    assert kept.max() < truth[good][:, ~hole].max() + 2000


@needs("neon")
def test_neon(run: Run, tmp_path: Path) -> None:
    """Ratio 10 with 20 x 20 LR pixels and no wavelengths."""
    pair = NEON / "OSBS_1_HSI.tif", NEON / "OSBS_1_RGB.tif"
    assert facts(run, "check", *pair)["usable"]
    _, said = run("train", "--scene", *pair, "-o", tmp_path / "model", *SHORT)
    assert "too few to be degraded by 10 once more: degraded by 2" in said
    part = ("--bounds", 404023, 3284951, 404033, 3284961)
    _, said = run("fuse", *pair, tmp_path / "fused.tif", "--model", tmp_path / "model", *part)
    assert "was made for" not in said
    check_place(tmp_path / "fused.tif", pair[1])
    with rasterio.open(tmp_path / "fused.tif") as fused:
        assert (fused.count, fused.dtypes[0], fused.nodata) == (369, "int16", -32768)
        assert "wavelength" not in fused.tags(1)
        assert (fused.read() != fused.nodata).all()
    run("fuse", *pair, tmp_path / "whole.tif", "--method", "glp", "-q")
    scores = facts(run, "evaluate", tmp_path / "whole.tif", "--lr-hsi", pair[0], "--hr-msi", pair[1])
    assert scores["spectral_sam_deg"] < 3


@needs("neon")
@pytest.mark.parametrize("plot", ["MLBS_10", "OSBS_10"])
def test_the_other_neon_plots(run: Run, tmp_path: Path, plot: str) -> None:
    pair = NEON / f"{plot}_HSI.tif", NEON / f"{plot}_RGB.tif"
    assert facts(run, "check", *pair)["usable"]
    run("fuse", *pair, tmp_path / "fused.tif", "--method", "glp", "--register", "off", "-q")
    check_place(tmp_path / "fused.tif", pair[1])
    with rasterio.open(tmp_path / "fused.tif") as fused, rasterio.open(pair[0]) as lr:
        means = fused.read().reshape(369, 20, 10, 20, 10).mean(axis=(2, 4))
        relative = np.abs(means - lr.read()).mean() / lr.read().mean()
    assert relative < 0.2
