"""`emrdiff fuse` on pairs that are displaced, turned, seen through another PSF or by detectors that lie apart.

What that cost comes back, without a word about it; what lies right is left as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.fusion.fusing import FusionReport, fuse
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.pair.geometry import FIELD_TAG, GROUPS_TAG, PSF_TAG, SHIFT_TAG, PairGeometry
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.pair.registration import find_geometry
from tests.support.front_door import Run, succeed
from tests.support.geometries import Cube, Doubles, lattice, noisy, seen_at, turned, written
from tests.support.pairs import BY, FINE, displaced, see, unrelated
from tests.support.places import REAL_SCENES
from tests.support.rasters import read_back
from tests.support.samplers import Fake, Image, of_position, settings
from tests.support.scenes import textured, write_cube

SIDE, RATIO, BORDER = 128, 4, 16
BANDS, FIRST_SWIR = 30, 15  # of 1020 nm on
BERLIN9 = REAL_SCENES / "berlin9"
GRID = lattice((SIDE, SIDE), RATIO)
TRUTH = textured(BANDS, SIDE, SIDE)
MSI = np.stack([part.mean(axis=0) for part in np.array_split(TRUTH, 6)])
TURNED = turned((SIDE, SIDE), RATIO, 0.4, 1.002)
Point = tuple[float, float]


def by(shift: Point) -> Doubles:
    return np.asarray(np.zeros_like(GRID) + np.reshape(shift, (2, 1, 1)))


def seen(displacement: Doubles | None = None, fwhm: Point = (1.0, 1.0), swir: Point = (0.0, 0.0)) -> Cube:
    """The truth's LR-HSI, in which pixels lie elsewhere, those of the SWIR bands once more."""
    places = GRID if displacement is None else GRID + displacement
    near, far = TRUTH[:FIRST_SWIR], TRUTH[FIRST_SWIR:]
    return np.concatenate([seen_at(near, RATIO, places, fwhm), seen_at(far, RATIO, places + by(swir), fwhm)])


@pytest.fixture
def run(emrdiff: Run, tmp_path: Path) -> Any:
    """Fuse an LR-HSI with the MSI: the dB of the output, away from its edges, and what is said in JSON."""

    def fused(
        lr: Cube, *options: object, stated: Point = (0.0, 0.0), method: str = "glp"
    ) -> tuple[float, Any]:
        pair = written(tmp_path / "pair", lr, MSI, RATIO, stated, count=None)
        output = tmp_path / "fused.tif"
        ended = emrdiff("fuse", *pair, output, "--method", method, "--overwrite", "--json", *options)
        assert ended.code == 0, ended.err
        return decibels(output), json.loads(ended.out)

    return fused


@pytest.fixture(scope="module")
def in_register(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], float]:
    """The dB by method of the pair that lies right, fused as it lies."""

    @cache
    def fused(method: str) -> float:
        folder = tmp_path_factory.mktemp("right")
        pair = written(folder / "pair", seen(), MSI, RATIO, count=None)
        succeed("fuse", *pair, folder / "fused.tif", "--method", method, "--register", "off", "-q")
        return decibels(folder / "fused.tif")

    return fused


def decibels(output: Path) -> float:
    with rasterio.open(output) as dataset:
        values = dataset.read()
        corner = ~FINE @ (dataset.transform.c, dataset.transform.f)
    left, top = map(round, corner)
    rows, cols = values.shape[1:]
    truth = TRUTH[:, max(top, 0) : top + rows, max(left, 0) : left + cols]
    values = values[:, max(-top, 0) :, max(-left, 0) :][:, : truth.shape[1], : truth.shape[2]]
    inner = np.s_[:, BORDER:-BORDER, BORDER:-BORDER]
    return float(-10 * np.log10(np.square(values - truth)[inner].mean(axis=(1, 2))).mean())


def tags(output: Path) -> dict[str, str]:
    with rasterio.open(output) as dataset:
        return dict(dataset.tags())


CASES: dict[str, Any] = {
    "turned": ({"displacement": TURNED}, (0.0, 0.0), FIELD_TAG),
    "turned and shifted": ({"displacement": TURNED + by((0.4, -0.3))}, (0.4, -0.3), FIELD_TAG),
    "shifted": ({"displacement": by((0.6, -0.3))}, (0.6, -0.3), SHIFT_TAG),
    "detectors apart": ({"swir": (0.4, 0.0)}, (0.0, 0.0), GROUPS_TAG),
    "detectors apart and shifted": (
        {"displacement": by((0.3, 0.5)), "swir": (-0.2, 0.35)},
        (0.3, 0.5),
        GROUPS_TAG,
    ),
    "narrow": ({"fwhm": (0.8, 0.8)}, (0.0, 0.0), PSF_TAG),
    "wide": ({"fwhm": (1.4, 1.4)}, (0.0, 0.0), PSF_TAG),
    "oblong": ({"fwhm": (0.9, 1.3)}, (0.0, 0.0), PSF_TAG),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_geometry_cost_comes_back(
    run: Any, in_register: Callable[[str], float], tmp_path: Path, case: str
) -> None:
    how, shift, tag = CASES[case]
    right, lr = in_register("glp"), seen(**how)
    wrong, _ = run(lr, "--register", "off")
    back, said = run(lr)
    assert right - wrong > 3
    assert back - wrong > 0.85 * (right - wrong)
    assert said["shift_lr_px"] == pytest.approx(shift, abs=0.03)
    fwhm = [RATIO * width for width in how.get("fwhm", (1.0, 1.0))]
    assert said["psf_fwhm_px"] == pytest.approx(fwhm, rel=0.03)
    recorded = PairGeometry.from_tags(tags(tmp_path / "fused.tif"))
    assert tag in tags(tmp_path / "fused.tif")
    assert recorded.move == pytest.approx(said["shift_lr_px"])
    assert bool(recorded.field) == (tag == FIELD_TAG)
    assert [group.shift for group in recorded.groups] == [
        pytest.approx(how["swir"], abs=0.03) for _ in range(tag == GROUPS_TAG)
    ]


@pytest.mark.parametrize("method", ["glp", pytest.param("kriging", marks=pytest.mark.slow)])
def test_all_that_a_geometry_may_cost_comes_back_at_once(
    run: Any, in_register: Callable[[str], float], tmp_path: Path, method: str
) -> None:
    """Left out, any one of them would cost the 3 dB that it costs alone."""
    lr = seen(TURNED + by((0.3, -0.4)), (0.9, 1.3), (-0.2, 0.35))
    back, said = run(lr, method=method)
    assert back == pytest.approx(in_register(method), abs=0.3)
    assert said["shift_lr_px"] == pytest.approx((0.3, -0.4), abs=0.03)
    assert said["psf_fwhm_px"] == pytest.approx([3.6, 5.2], rel=0.03)
    recorded = PairGeometry.from_tags(tags(tmp_path / "fused.tif"))
    assert recorded.field
    assert [group.shift for group in recorded.groups] == [pytest.approx((-0.2, 0.35), abs=0.03)]


def test_what_a_detector_does_not_see_is_not_taken_for_a_field(tmp_path: Path) -> None:
    near = textured(8, SIDE, SIDE)
    # What the other detector sees has the same borders a little farther from the middle, as shadows may.
    stretched = seen_at(near, 1, 0.99 * (lattice((SIDE, SIDE), 1) - SIDE / 2) + SIDE / 2, (0.5, 0.5))
    parts = near, 0.8 * stretched + 0.2 * textured(8, SIDE, SIDE, 1)
    lr = np.concatenate([seen_at(parts[0], RATIO, GRID), seen_at(parts[1], RATIO, GRID + by((0.24, -0.32)))])
    msi = np.concatenate([part.reshape(2, 4, SIDE, SIDE).mean(axis=1) for part in parts])
    pair = written(tmp_path / "pair", lr, msi, RATIO, count=None, spectral=False)
    with rasterio.open(pair[0], "r+") as dataset:
        for band in range(1, 17):
            centre = 400 + 80 * (band - 1) if band > 8 else 400 + 70 * (band - 1)
            dataset.update_tags(band, wavelength=str(centre), wavelength_units="Nanometers")
    with open_pair(*pair) as opened:
        used = find_geometry(opened).used
    assert not used.field
    assert [group.shift for group in used.groups] == [pytest.approx((0.24, -0.32), abs=0.02)]


def test_a_pair_that_lies_far_off_is_put_right(run: Any, in_register: Callable[[str], float]) -> None:
    right = in_register("glp")
    back, said = run(seen(), stated=(12.3, -7.6))
    assert said["shift_lr_px"] == pytest.approx((-12.3, 7.6), abs=0.03)
    assert back == pytest.approx(right, abs=1.0)


@pytest.mark.parametrize(
    ("method", "side"), [("glp", 160), pytest.param("kriging", 96, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_an_exact_pair_is_fused_as_it_lies(
    emrdiff: Run, tmp_path: Path, method: str, side: int, noise: float
) -> None:
    pair = displaced(tmp_path, (0.0, 0.0), side=side)
    if noise:
        truth = textured(8, side, side)
        lr = seen_at(truth, RATIO, lattice((side, side), RATIO))
        pair = written(tmp_path, noisy(lr, noise), see(truth), RATIO)
    plain, left = tmp_path / "plain.tif", tmp_path / "left.tif"
    for output, register in ((plain, "off"), (left, "auto")):
        ended = emrdiff("fuse", *pair, output, "--method", method, "--register", register, "-q")
        assert ended == (0, "", "")
    np.testing.assert_array_equal(read_back(plain), read_back(left))
    recorded = PairGeometry.from_tags(tags(left))
    assert recorded == PairGeometry(
        move_errors=recorded.move_errors, fwhm_errors=recorded.fwhm_errors, known=True
    )


def ramp() -> tuple[Cube, Cube]:
    rows, cols = np.mgrid[:SIDE, :SIDE] / SIDE
    truth = np.stack(
        [0.2 + a * rows + b * cols for a, b in ((0.3, 0.1), (0.1, 0.3), (0.2, -0.1), (0.1, 0.2))]
    )
    lr = truth.reshape(4, SIDE // RATIO, RATIO, SIDE // RATIO, RATIO).mean(axis=(2, 4))
    return np.asarray(lr, np.float32), np.asarray(truth[:2], np.float32)


@pytest.mark.parametrize("ground", ["ramp", "other", "noise"])
def test_ground_that_does_not_tell_is_left_as_it_lies(emrdiff: Run, tmp_path: Path, ground: str) -> None:
    if ground == "ramp":
        pair = written(tmp_path, *ramp(), RATIO)
    else:
        lr, _ = displaced(tmp_path, (0.0, 0.0))
        pair = lr, unrelated(tmp_path)
    if ground == "noise":
        noise = np.random.default_rng(0).uniform(0.1, 0.5, (8, SIDE // RATIO, SIDE // RATIO))
        pair = write_cube(tmp_path / "lr.tif", noise), pair[1]
    ended = emrdiff("fuse", *pair, tmp_path / "fused.tif", "--method", "glp", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["shift_lr_px"] == [0, 0]
    assert not {FIELD_TAG, GROUPS_TAG} & set(tags(tmp_path / "fused.tif"))


# Given


def test_what_is_given_is_used_and_said(run: Any, tmp_path: Path) -> None:
    lr = seen(by((0.6, -0.3)), (0.9, 1.3))
    found, _ = run(lr)
    given, said = run(lr, "--shift", "0.6,-0.3", "--psf-fwhm", "3.6,5.2")
    assert given == pytest.approx(found, abs=0.3)
    assert (said["shift_lr_px"], said["psf_fwhm_px"]) == ([0.6, -0.3], pytest.approx([3.6, 5.2]))
    assert said["notes"][:2] == [
        "the LR-HSI was moved by 0.60 down and 0.30 left (LR pixels), as given",
        "PSF as given: FWHM 3.6 x 5.2 MSI pixels (rows x columns)",
    ]
    assert tags(tmp_path / "fused.tif")[SHIFT_TAG] == "0.6000,-0.3000"


def test_one_width_is_that_of_both_axes_and_the_rest_is_found(run: Any) -> None:
    _, said = run(seen(by((0.6, -0.3)), (1.2, 1.2)), "--psf-fwhm", "4.8")
    assert said["psf_fwhm_px"] == pytest.approx([4.8, 4.8])
    assert said["shift_lr_px"] == pytest.approx((0.6, -0.3), abs=0.03)
    _, said = run(seen(by((0.6, -0.3)), (1.2, 1.2)), "--shift", "0.6,-0.3")
    assert said["psf_fwhm_px"] == pytest.approx([4.8, 4.8], rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        ("--shift", "1"),
        ("--shift", "1,two"),
        ("--shift", "1,2,3"),
        ("--shift", "nan,0"),
        ("--psf-fwhm", "0"),
        ("--psf-fwhm", "-1,3"),
        ("--psf-fwhm", "inf"),
        ("--psf-fwhm", "1,2,3"),
        ("--register", "sideways"),
    ],
)
def test_wrong_values_are_refused(emrdiff: Run, tmp_path: Path, options: tuple[str, str]) -> None:
    pair = displaced(tmp_path)
    ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp", *options)
    assert ended.code == 2
    assert options[0] in ended.err
    assert not (tmp_path / "out.tif").exists()


def test_a_manifest_gives_each_pair_its_own(emrdiff: Run, tmp_path: Path) -> None:
    displaced(tmp_path)
    lines = [
        "lr_hsi,hr_msi,output,register,shift,psf_fwhm",
        "lr.tif,msi.tif,found.tif,,,",
        "lr.tif,msi.tif,left.tif,off,,",
        f'lr.tif,msi.tif,given.tif,,{-BY[0]} {-BY[1]},"3.5,4.5"',
    ]
    (tmp_path / "pairs.csv").write_text("\n".join([*lines, ""]))
    ended = emrdiff("fuse", "--method", "glp", "--manifest", tmp_path / "pairs.csv", "-q")
    assert ended.code == 0, ended.err
    found, left, given = (tags(tmp_path / f"{name}.tif") for name in ("found", "left", "given"))
    assert PairGeometry.from_tags(found).move == pytest.approx((-BY[0], -BY[1]), abs=0.02)
    assert SHIFT_TAG not in left
    psf = PairGeometry.from_tags(given).psf
    assert given[SHIFT_TAG] == f"{-BY[0]:.4f},{-BY[1]:.4f}"
    assert psf is not None
    assert psf.axes is not None
    assert [axis.fwhm_px for axis in psf.axes] == pytest.approx([3.5, 4.5])


@pytest.mark.slow
def test_a_run_that_goes_on_keeps_the_geometry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, output = displaced(tmp_path), tmp_path / "out.tif"

    def go(sampler: Fake, *, resume: bool = False) -> FusionReport:
        options = FusionOptions(tile=64, overlap=4, batch_size=2, overwrite=True, resume=resume)
        return fuse(*pair, output, "glp", sampler, options)

    def interrupted(tile: TileInputs, corner: tuple[int, int]) -> Image:
        if corner[0] >= 60:
            raise KeyboardInterrupt
        return of_position(tile, corner)

    first = go(Fake(settings(), of_position))
    whole = output.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        go(Fake(settings(), interrupted))
    monkeypatch.setattr("emrdiff_cli.fusion.run.register", lambda *_: pytest.fail("sought again"))
    again = go(Fake(settings(), of_position), resume=True)
    assert again.shift_lr_px == first.shift_lr_px != (0, 0)
    assert set(first.notes) <= set(again.notes)
    assert output.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.skipif(not BERLIN9.exists(), reason="needs the nine-metre pair of Berlin")
@pytest.mark.parametrize("bands", [111, 244])
def test_berlin_with_nothing_but_the_paths(emrdiff: Run, tmp_path: Path, bands: int) -> None:
    output = tmp_path / "fused.tif"
    pair = BERLIN9 / f"lr_{bands}b_30m.tif", BERLIN9 / "msi_4b_9m.tif"
    ended = emrdiff("fuse", *pair, output, "--method", "kriging", "--json")
    assert ended.code == 0, ended.err
    notes = " ".join(json.loads(ended.out)["notes"])
    assert "was moved by" in notes
    assert "PSF found on the pair is used" in notes
    if bands == 111:
        assert peak_by_band(output, BERLIN9 / "ref_111b_9m.tif") > 34.5


def peak_by_band(output: Path, reference: Path) -> float:
    """PSNR with each band's peak on the ground that both cover, in dB."""
    with rasterio.open(output) as fused, rasterio.open(reference) as truth:
        left, top = map(round, ~truth.transform @ (fused.transform.c, fused.transform.f))
        ours, theirs = fused.read().astype(np.float64), truth.read().astype(np.float64)
    theirs = theirs[:, max(top, 0) : top + ours.shape[1], max(left, 0) : left + ours.shape[2]]
    ours = ours[:, max(-top, 0) :, max(-left, 0) :][:, : theirs.shape[1], : theirs.shape[2]]
    peaks = theirs.max(axis=(1, 2))
    return float(np.mean(10 * np.log10(peaks**2 / np.square(ours - theirs).mean(axis=(1, 2)))))
