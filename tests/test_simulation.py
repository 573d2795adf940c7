"""Simulated pairs: values by protocol, ground coordinates, holes, noise, recipe; and where responses come from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import Protocol, degradation_taps
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.sensor.srf import srf_matrix
from emrdiff_cli.errors import GridError, InputError, OutputExistsError, UsageError, WriteError
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import Bands
from emrdiff_cli.responses import built_in, own_response, read_response
from tests.support.products import write_sentinel2
from tests.support.rasters import NORTH_UP, pixels, write_tif
from tests.support.scenes import COUNT, read, simulate, textured, wavelengths, write_cube, write_srf


def direct(
    cube: NDArray[np.float32], folder: Path, protocol: Protocol, ratio: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The pair by the core's functions on the whole cube."""
    place = AxisPlacement(float(ratio), 0.0)
    down = [degradation_taps(protocol, place, n // ratio, n) for n in cube.shape[1:]]
    matrix = srf_matrix(read_response(str(folder / "srf.csv")), wavelengths(len(cube)))
    return apply_taps(cube, *down), np.tensordot(matrix, cube, axes=1)


@pytest.mark.parametrize("protocol", ["wald", "nssr", "emrdiff", "mtf"])
def test_pair_is_what_the_protocol_says_though_it_is_made_in_strips(
    tmp_path: Path, protocol: Protocol
) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 264, 24))
    lr, msi, _ = simulate(tmp_path, cube, protocol=protocol)
    expected_lr, expected_msi = direct(read(cube), tmp_path, protocol, 4)
    np.testing.assert_allclose(read(lr), expected_lr, atol=0.51 * COUNT)
    np.testing.assert_allclose(read(msi), expected_msi, atol=0.51 * COUNT)


@pytest.mark.parametrize("protocol", ["wald", "nssr", "emrdiff", "mtf"])
@pytest.mark.parametrize("ratio", [3, 4, 5])
def test_every_pixel_lies_where_its_transform_says(tmp_path: Path, protocol: Protocol, ratio: int) -> None:
    """The scene's value is its ground coordinate, so that of each LR pixel is its centre's."""
    rows, cols = np.mgrid[: 10 * ratio, : 9 * ratio] + 0.5
    ground = np.stack([rows, cols, rows + cols, cols - rows] * 2) * 0.01
    cube = write_cube(tmp_path / "cube.tif", ground, count=None)
    lr, msi, _ = simulate(tmp_path, cube, ratio, protocol=protocol)
    for path, margin in ((lr, 3), (msi, 0)):
        info, values = read_info(path), read(path)
        to_scene = ~NORTH_UP @ info.grid.transform
        at_rows, at_cols = np.mgrid[: info.grid.height, : info.grid.width] + 0.5
        x, y = to_scene @ (at_cols, at_rows)
        inner = np.s_[margin : info.grid.height - margin, margin : info.grid.width - margin]
        if path == lr:
            np.testing.assert_allclose(values[0][inner], 0.01 * y[inner], atol=1e-4)
            np.testing.assert_allclose(values[1][inner], 0.01 * x[inner], atol=1e-4)
        else:
            assert (x == at_cols).all()
            assert (y == at_rows).all()
    assert read_info(lr).grid.crs_wkt == read_info(cube).grid.crs_wkt


def test_what_is_known_of_the_bands_is_kept(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24))
    lr, msi, recipe = simulate(tmp_path, cube)
    source, made = read_info(cube), read_info(lr)
    assert made.bands == source.bands
    assert (made.dtype, made.nodata, made.scale) == (source.dtype, source.nodata, source.scale)
    response = read_response(str(tmp_path / "srf.csv"))
    seen = read_info(msi).bands
    assert seen.names == recipe.msi_bands == ("M1", "M2", "M3")
    assert seen.wavelengths_nm == pytest.approx(response.centres_nm())
    assert seen.fwhm_nm == pytest.approx(response.fwhm_nm())


def test_a_remainder_is_cropped_at_the_lower_and_right_edges(tmp_path: Path) -> None:
    whole = textured(8, 27, 31)
    lr, msi, _ = simulate(tmp_path, write_cube(tmp_path / "cube.tif", whole))
    assert (read(lr).shape, read(msi).shape) == ((8, 6, 7), (3, 24, 28))
    assert read_info(msi).grid.transform == NORTH_UP
    expected = direct(np.rint(whole[:, :24, :28] / COUNT).astype(np.float32) * COUNT, tmp_path, "wald", 4)[0]
    np.testing.assert_allclose(read(lr), expected, atol=0.51 * COUNT)


def test_envi_output(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24))
    lr, _, _ = simulate(tmp_path, cube)
    envi, _, _ = simulate(tmp_path, cube, lr_driver="ENVI", overwrite=True)
    assert envi.name == "lr_hsi.bsq"
    np.testing.assert_array_equal(read(envi), read(lr))
    assert read_info(envi).bands == read_info(lr).bands


def test_lr_pixels_that_see_a_hole_are_nodata_and_no_others(tmp_path: Path) -> None:
    holed = textured(8, 40, 40)
    holed[2, 17, 22] = np.nan
    lr, msi, _ = simulate(tmp_path, write_cube(tmp_path / "cube.tif", holed))
    plain, _ = direct(textured(8, 40, 40), tmp_path, "wald", 4)
    missing = np.isnan(read(lr))
    # A PSF of 3 sigma = 5.1 pixels around block centres 4 apart reaches three blocks each way at most.
    assert missing[:, 4, 5].all()
    assert (missing.all(axis=0) == missing.any(axis=0)).all()
    assert 4 <= missing[0].sum() <= 9
    assert not missing[:, :2].any()
    assert not missing[:, 7:].any()
    np.testing.assert_allclose(read(lr)[~missing], plain[~missing], atol=1.01 * COUNT)
    np.testing.assert_array_equal(np.argwhere(np.isnan(read(msi)[0])), [[17, 22]])


def test_a_band_missing_in_part_of_the_scene_is_nodata_there(tmp_path: Path) -> None:
    """However the scene is read: the part spans more than any strip."""
    holed = textured(8, 320, 16)
    holed[3, :160] = np.nan
    lr, msi, _ = simulate(tmp_path, write_cube(tmp_path / "cube.tif", holed))
    missing = np.isnan(read(lr))
    assert missing[:, :39].all()
    assert not missing[:, 43:].any()
    np.testing.assert_array_equal(np.isnan(read(msi)).any(axis=(0, 2)), np.arange(320) < 160)


def test_a_dead_band_stays_dead_and_harms_nothing(tmp_path: Path) -> None:
    dead = textured(8, 40, 40)
    dead[0] = np.nan
    lr, _, _ = simulate(tmp_path, write_cube(tmp_path / "cube.tif", dead))
    missing = np.isnan(read(lr))
    assert missing[0].all()
    assert not missing[1:].any()


def test_bands_marked_bad_have_no_say_in_the_msi(tmp_path: Path) -> None:
    cube = textured(8, 24, 24)
    plain = write_cube(tmp_path / "plain.tif", cube)
    cube[3] = 1.0
    marked = write_cube(tmp_path / "marked.tif", cube)
    with rasterio.open(marked, "r+") as dataset:
        for band in range(1, 9):
            dataset.update_tags(band, bbl=str(int(band != 4)))
    _, msi, _ = simulate(tmp_path, marked)
    response = read_response(str(tmp_path / "srf.csv"))
    good = [i for i in range(8) if i != 3]
    matrix = srf_matrix(response, [wavelengths(8)[i] for i in good])
    np.testing.assert_allclose(read(msi), np.tensordot(matrix, read(plain)[good], axes=1), atol=0.51 * COUNT)


def test_noise_has_its_ratio_and_its_seed(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 160, 160), count=None)
    plain_lr, plain_msi, _ = simulate(tmp_path, cube)
    clean = {"lr": read(plain_lr), "msi": read(plain_msi)}

    def noisy(seed: int) -> dict[str, NDArray[np.float32]]:
        lr, msi, _ = simulate(tmp_path, cube, noise_db=20.0, seed=seed, overwrite=True)
        return {"lr": read(lr), "msi": read(msi)}

    one, same, other = noisy(1), noisy(1), noisy(2)
    for name in ("lr", "msi"):
        signal = np.sqrt(np.square(clean[name]).mean(axis=(1, 2)))
        noise = (one[name] - clean[name]).std(axis=(1, 2))
        np.testing.assert_allclose(20 * np.log10(signal / noise), 20, atol=0.6)
        np.testing.assert_array_equal(one[name], same[name])
        assert (one[name] != other[name]).mean() > 0.99


def test_recipe_tells_how_the_pair_was_made(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24))
    _, _, recipe = simulate(tmp_path, cube, protocol="wald", noise_db=35.0, seed=4)
    written = json.loads((tmp_path / "pair" / "recipe.json").read_text())
    stated = {"source": "cube.tif", "ratio": 4, "protocol": "wald", "noise_db": 35, "seed": 4}
    assert stated.items() <= written.items()
    assert written["psf_sigma_px"] == pytest.approx(4 / 2.355)
    assert (written["boundary"][:7], written["sampling_offset_px"]) == ("reflect", 0)
    assert written["msi_bands"] == ["M1", "M2", "M3"]
    assert re.fullmatch("[0-9a-f]{64}", written["srf_sha256"])
    write_srf(tmp_path / "srf.csv", count=2)
    assert simulate(tmp_path, cube, overwrite=True)[2].srf_sha256 != recipe.srf_sha256


def test_a_pair_that_is_there_stays(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24))
    lr, _, _ = simulate(tmp_path, cube)
    before = lr.read_bytes()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        simulate(tmp_path, cube, ratio=2)
    assert lr.read_bytes() == before
    simulate(tmp_path, cube, ratio=2, overwrite=True)
    assert read(lr).shape == (8, 12, 12)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"ratio": 30}, GridError, "less than one LR pixel"),
        ({"ratio": 1}, GridError, "2 or more"),
    ],
)
def test_ratios_that_do_not_fit(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24))
    with pytest.raises(error, match=said):
        simulate(tmp_path, cube, **options)
    assert not (tmp_path / "pair").exists()


def test_a_cube_without_wavelengths_cannot_be_seen_through_a_response(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24), spectral=False)
    with pytest.raises(InputError, match="no wavelengths"):
        simulate(tmp_path, cube)
    assert not (tmp_path / "pair").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "cube.tif", textured(8, 24, 24))
    (tmp_path / "pair").write_text("a file in the folder's place")
    with pytest.raises(WriteError, match="cannot be made"):
        simulate(tmp_path, cube)


def test_built_in_responses_are_whole() -> None:
    assert {"sentinel-2a", "sentinel-2b"} <= set(built_in())
    for name in built_in():
        response = read_response(name)
        assert response.values.shape == (len(response.names), len(response.wavelengths_nm))
        assert (response.values.max(axis=1) > 0).all()
        assert all(350 < centre < 2500 for centre in response.centres_nm())
        matrix = srf_matrix(response, np.arange(350, 2500, 2.0).tolist())
        np.testing.assert_allclose(matrix.sum(axis=1), 1)


# ESA's central wavelengths of the 13 bands of each unit: Sentinel-2 Products Specification, and S2C's own metadata.
_CENTRES = {
    "sentinel-2a": (
        442.7,
        492.4,
        559.8,
        664.6,
        704.1,
        740.5,
        782.8,
        832.8,
        864.7,
        945.1,
        1373.5,
        1613.7,
        2202.4,
    ),
    "sentinel-2b": (
        442.2,
        492.1,
        559.0,
        664.9,
        703.8,
        739.1,
        779.7,
        832.9,
        864.0,
        943.2,
        1376.9,
        1610.4,
        2185.7,
    ),
    "sentinel-2c": (
        444.2,
        489.0,
        560.6,
        666.5,
        707.1,
        741.1,
        784.7,
        834.6,
        865.6,
        947.2,
        1372.2,
        1612.0,
        2191.3,
    ),
}


@pytest.mark.parametrize("unit", _CENTRES)
def test_sentinel_2_has_all_bands_and_means_those_of_10_m(unit: str) -> None:
    every = read_response(f"{unit}:all")
    np.testing.assert_allclose(every.centres_nm(), _CENTRES[unit], atol=3.5)
    assert read_response(unit).names == ("B2", "B3", "B4", "B8")
    picked = read_response(f"{unit}:B11,B02")
    assert picked.names == ("B11", "B2")
    np.testing.assert_allclose(picked.centres_nm(), [every.centres_nm()[i] for i in (11, 1)], atol=0.01)
    named = Bands(3, names=("B03", "B8A", "B12"))
    assert read_response(unit, named).names == ("B3", "B8A", "B12")
    assert read_response(unit, Bands(4, names=("a", "b", "c", "d"))).names == ("B2", "B3", "B4", "B8")
    with pytest.raises(UsageError, match="has no band B13: its bands are B1, B2"):
        read_response(f"{unit}:B13")


def test_a_products_own_response(tmp_path: Path) -> None:
    """Triangles of 40 nm about the bands' centres; between the bands nothing is seen."""
    safe = write_sentinel2(tmp_path / "S2.SAFE", pixels(4, 9, 8, "uint16")).parent
    own = own_response(safe)
    assert own is not None
    assert own.names == read_response(str(safe)).names == ("B2", "B3", "B4", "B8")
    np.testing.assert_allclose(own.centres_nm(), (490, 560, 665, 833), atol=0.01)
    b2 = np.interp([480, 490, 500, 520, 530], own.wavelengths_nm, own.values[0])
    np.testing.assert_allclose(b2, [0.5, 1, 0.5, 0, 0], atol=1e-6)
    assert read_response(f"{safe}:B5,B11").names == ("B5", "B11")
    assert len(read_response(f"{safe}:all").names) == 12
    assert own_response(write_tif(tmp_path / "a.tif", pixels(1, 4, 4))) is None
    (tmp_path / "srf.csv").write_text("wavelength_nm,A\n400,1\n500,1\n")
    with pytest.raises(UsageError, match="not of a CSV"):
        read_response(f"{tmp_path / 'srf.csv'}:A")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "header"),
        (["# nothing else"], "header"),
        (["wavelength_nm,A"], "header"),
        (["nm,A", "400,1", "500,1"], "header"),
        (["wavelength_nm", "400", "500"], "header"),
        (["wavelength_nm,A", "400,1", "500,high"], "numbers"),
        (["wavelength_nm,A", "400,1", "500,nan"], "finite"),
        (["wavelength_nm,A,B", "400,1,1", "500,1"], "number"),
        (["wavelength_nm,A", "500,1", "400,1"], "ascend"),
        (["wavelength_nm,A", "400,1", "500,-1"], "0 or more"),
    ],
)
def test_csv_that_is_no_response(tmp_path: Path, lines: Sequence[str], said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=said):
        read_response(str(path))


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"wavelength_nm,\xe9\n400,1\n500,1\n")
    with pytest.raises(InputError, match=r"a\.csv"):
        read_response(str(path))


def test_a_response_that_is_neither_named_nor_there() -> None:
    with pytest.raises(UsageError, match="sentinel-2a"):
        read_response("sentinel-9")
