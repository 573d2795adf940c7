"""Taps against GDAL, MATLAB's imresize and numpy's paddings, and their properties for any ratio and offset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import (
    Taps,
    antialiased_cubic_downsampler,
    apply_taps,
    chain,
    cubic_upsampler,
    fixed_kernel,
    gaussian_downsampler,
)
from tests.support.imresize import imresize_weights

RNG = np.random.default_rng(0)
RATIOS = st.floats(1.5, 20)
OFFSETS = st.floats(-30, 30)


def upsampler(ratio: float, offset: float, n_lr: int = 12) -> Taps:
    """The HR pixels are those whose centre lies on one of the LR pixels."""
    return cubic_upsampler(AxisPlacement(ratio, offset), n_lr, max(1, int(offset + ratio * n_lr)))


def downsamplers(ratio: float, offset: float, n_lr: int = 12) -> list[Taps]:
    place, n_hr = AxisPlacement(ratio, offset), max(1, int(offset + ratio * n_lr))
    return [
        gaussian_downsampler(place, n_lr, n_hr, ratio / 2.355),
        antialiased_cubic_downsampler(place, n_lr, n_hr),
    ]


def dense(taps: Taps) -> NDArray[np.float64]:
    return taps.matrix(0, taps.n_in)


@pytest.mark.parametrize(("ratio", "row", "col"), [(4.0, 0.0, 0.0), (3.0, 2.0, -1.0), (8.33, 0.4, -3.7)])
def test_cubic_is_gdals(ratio: float, row: float, col: float) -> None:
    lr = RNG.random((1, 15, 16)).astype(np.float32)
    hr = np.zeros((1, int(15 * ratio), int(16 * ratio)), np.float32)
    north_up = Affine(1, 0, 4e5, 0, -1, 4e6)
    reproject(
        lr,
        hr,
        src_transform=north_up @ Affine.translation(col, row) @ Affine.scale(ratio),
        dst_transform=north_up,
        src_crs=rasterio.CRS.from_epsg(32654),
        dst_crs=rasterio.CRS.from_epsg(32654),
        resampling=Resampling.cubic,
    )
    rows = cubic_upsampler(AxisPlacement(ratio, row), 15, hr.shape[1])
    cols = cubic_upsampler(AxisPlacement(ratio, col), 16, hr.shape[2])
    ours = apply_taps(lr, rows, cols)
    margin = int(3 * ratio) + 4
    inner = np.s_[:, margin:-margin, margin:-margin]
    np.testing.assert_allclose(ours[inner], hr[inner], atol=2e-5)


@pytest.mark.parametrize("x", [0.0, 0.3, 0.5, 0.9])
def test_cubic_weights_are_keys_with_a_of_minus_half(x: float) -> None:
    # The centre of HR pixel 0 lies x LR pixels beyond the centre of LR pixel 3.
    taps = cubic_upsampler(AxisPlacement(4.0, 0.5 - 4 * (3.5 + x)), 8, 1)
    a, d = -0.5, np.array([1 + x, x, 1 - x, 2 - x])
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    expected = np.zeros(8)
    expected[2:6] = np.where(d <= 1, near, far)
    np.testing.assert_allclose(dense(taps)[0], expected, atol=1e-12)


def test_ratio_one_is_the_identity() -> None:
    np.testing.assert_allclose(dense(cubic_upsampler(AxisPlacement(1.0, 0.0), 9, 9)), np.eye(9), atol=1e-12)
    np.testing.assert_allclose(
        dense(cubic_upsampler(AxisPlacement(1.0, -2.0), 9, 7)), np.eye(9)[2:], atol=1e-12
    )


@pytest.mark.parametrize(("n_in", "ratio"), [(24, 2.0), (40, 8.0), (30, 3.0), (16, 8.0)])
def test_antialiased_cubic_is_matlabs_imresize(n_in: int, ratio: float) -> None:
    n_out = round(n_in / ratio)
    taps = antialiased_cubic_downsampler(AxisPlacement(ratio, 0.0), n_out, n_in)
    np.testing.assert_allclose(dense(taps), imresize_weights(n_in, ratio, n_out), atol=1e-12)


def test_halving_has_the_known_weights() -> None:
    taps = antialiased_cubic_downsampler(AxisPlacement(2.0, 0.0), 8, 16)
    half = [-0.01171875, -0.03515625, 0.11328125, 0.43359375]
    np.testing.assert_allclose(dense(taps)[4, 5:13], [*half, *reversed(half)])


@pytest.mark.parametrize(
    ("edge", "mode"), [("reflect", "symmetric"), ("circular", "wrap"), ("replicate", "edge")]
)
def test_edge_rules_are_numpys(edge: Any, mode: Any) -> None:
    signal, kernel, reach = RNG.random(7), np.array([0.1, 0.2, 0.4, 0.2, 0.1]), 2
    taps = fixed_kernel(kernel, np.arange(7) - reach, 7, edge)
    extended = np.pad(signal, reach, mode=mode)
    expected = [kernel @ extended[i : i + 5] for i in range(7)]
    np.testing.assert_allclose(dense(taps) @ signal, expected)
    np.testing.assert_allclose(taps.inside, [0.7, 0.9, 1, 1, 1, 0.9, 0.7])


@given(RATIOS, OFFSETS)
@settings(deadline=None, max_examples=60)
def test_constants_stay_constant(ratio: float, offset: float) -> None:
    for taps in (upsampler(ratio, offset), *downsamplers(ratio, offset)):
        np.testing.assert_allclose(dense(taps).sum(axis=1), 1, atol=1e-9)
        assert (taps.inside > -0.2).all()
        assert (taps.inside < 1.2).all()
        assert taps.indices.min() >= 0
        assert taps.indices.max() < taps.n_in


@given(RATIOS, OFFSETS)
@settings(deadline=None, max_examples=60)
def test_a_ramp_is_reproduced_in_the_interior(ratio: float, offset: float) -> None:
    """Up and down, a value that is the HR coordinate stays the HR coordinate of the pixel it ends on."""
    up = upsampler(ratio, offset, 12)
    lr_at = offset + ratio * (np.arange(12) + 0.5)
    hr_at = np.arange(up.n_out) + 0.5
    inner = (hr_at > lr_at[2]) & (hr_at < lr_at[-3])
    np.testing.assert_allclose((dense(up) @ lr_at)[inner], hr_at[inner], atol=1e-6)
    # A kernel that is cut off and sampled at whole pixels is not quite symmetric.
    for down, bias in zip(downsamplers(ratio, offset, 12), (0.03, 0.03), strict=True):
        whole = (lr_at > 2.5 * ratio) & (lr_at < down.n_in - 2.5 * ratio)
        np.testing.assert_allclose(
            (dense(down) @ (np.arange(down.n_in) + 0.5))[whole], lr_at[whole], atol=bias
        )


@given(st.integers(2, 12), st.integers(-20, 20))
@settings(deadline=None, max_examples=30)
def test_a_ramp_goes_down_exactly_at_whole_ratios(ratio: int, offset: int) -> None:
    for down in downsamplers(ratio, offset, 12):
        at = offset + ratio * (np.arange(12) + 0.5)
        whole = (at > 2.5 * ratio) & (at < down.n_in - 2.5 * ratio)
        np.testing.assert_allclose((dense(down) @ (np.arange(down.n_in) + 0.5))[whole], at[whole], atol=1e-9)


@given(RATIOS, OFFSETS, st.data())
@settings(deadline=None, max_examples=30)
def test_a_part_is_the_part_of_the_whole(ratio: float, offset: float, data: st.DataObject) -> None:
    rows, cols = upsampler(ratio, offset), upsampler(ratio, 0.3)
    image = np.random.default_rng(1).normal(size=(2, rows.n_in, cols.n_in))
    whole = apply_taps(image, rows, cols)
    start = data.draw(st.integers(0, rows.n_out - 1))
    stop = data.draw(st.integers(start + 1, rows.n_out))
    part = apply_taps(image, rows.part(start, stop), cols.part(1, 9))
    np.testing.assert_allclose(part, whole[:, start:stop, 1:9], atol=1e-12)


@given(RATIOS, OFFSETS, st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_strips_of_the_input_add_up(ratio: float, offset: float, size: int) -> None:
    for taps in downsamplers(ratio, offset):
        strips = [taps.matrix(top, min(top + size, taps.n_in)) for top in range(0, taps.n_in, size)]
        np.testing.assert_array_equal(np.concatenate(strips, axis=1), dense(taps))


def test_outputs_that_use_nothing_of_a_strip_get_nothing_of_it() -> None:
    """Also between outputs that do, as where a map lies far off the image and is folded back at its edges."""
    folded = np.array([[0, 1], *[[30, 31]] * 70, [0, 1]])
    taps = Taps(40, folded, np.full(folded.shape, 0.5), np.ones(len(folded)))
    image = np.random.default_rng(0).random((2, 40, 3))
    parts = (taps.along_rows(image[:, top : top + 8], top) for top in range(0, 40, 8))
    np.testing.assert_allclose(sum(parts), np.einsum("oi,bic->boc", dense(taps), image))


def test_inside_tells_how_much_of_a_pixel_lies_on_the_input() -> None:
    taps = gaussian_downsampler(AxisPlacement(4.0, -4.0), 6, 16, 4 / 2.355)
    assert taps.inside[0] < 0.15
    assert taps.inside[1] > 0.85
    np.testing.assert_allclose(taps.inside[2:4], 1)
    np.testing.assert_allclose(taps.inside, taps.inside[::-1])


def test_chain_is_one_map_after_the_other() -> None:
    first = fixed_kernel(np.array([1.0, 2.0, 1.0]), np.arange(16) - 1, 16, "reflect")
    second = gaussian_downsampler(AxisPlacement(4.0, 0.0), 4, 16, 1.7)
    np.testing.assert_allclose(dense(chain(first, second)), dense(second) @ dense(first), atol=1e-12)


def wide_maps() -> list[tuple[str, Taps]]:
    """Up and down along an axis of many more inputs than an output is made of."""
    place = AxisPlacement(3.0, -0.4)
    down = gaussian_downsampler(place, 500, 1500, 1.2)
    return [("up", cubic_upsampler(AxisPlacement(3.0, 1.4), 700, 2101)), ("down", down)]


@pytest.mark.parametrize(("name", "taps"), wide_maps())
def test_a_wide_axis_is_mapped_as_a_dense_matrix_would(name: str, taps: Taps) -> None:
    rows, along = upsampler(2.0, 0.0, 5), dense(taps)
    kinds: list[tuple[type[np.floating[Any]], float]] = [(np.float32, 2e-6), (np.float64, 1e-12)]
    for dtype, error in kinds:
        image = RNG.random((2, 5, taps.n_in)).astype(dtype)
        for result in (
            apply_taps(image, rows, taps),
            apply_taps(image.swapaxes(1, 2), taps, rows).swapaxes(1, 2),
        ):
            assert result.dtype == dtype
            np.testing.assert_allclose(result, dense(rows) @ (image @ along.T), atol=error)


@pytest.mark.parametrize(("name", "taps"), wide_maps())
def test_a_part_of_a_wide_axis_is_the_wholes_up_to_rounding(name: str, taps: Taps) -> None:
    image = RNG.random((3, taps.n_in, taps.n_in)).astype(np.float32)
    whole = apply_taps(image, taps, taps)
    for start, stop in ((0, 40), (117, 300), (taps.n_out - 9, taps.n_out)):
        part = apply_taps(image, taps.part(start, stop), taps.part(60, 101))
        np.testing.assert_allclose(part, whole[:, start:stop, 60:101], rtol=0, atol=3e-7)


def test_a_chain_names_each_input_once() -> None:
    """Up and down again is a map from LR to LR with the few taps that both kernels reach."""
    place = AxisPlacement(4.0, 0.0)
    up, down = cubic_upsampler(place, 30, 120), gaussian_downsampler(place, 30, 120, 1.7)
    assert chain(up, down).indices.shape[1] <= 8
    np.testing.assert_allclose(dense(chain(up, down)), dense(down) @ dense(up), atol=1e-12)
    circular = fixed_kernel(np.array([1.0, 2.0, 1.0]), np.arange(120) - 1, 120, "circular")
    np.testing.assert_allclose(dense(chain(up, circular)), dense(circular) @ dense(up), atol=1e-12)


def test_images_keep_their_precision_and_are_not_changed() -> None:
    taps = upsampler(2.5, 0.3)
    kinds: list[type[np.floating[Any]]] = [np.float32, np.float64]
    for dtype in kinds:
        image = RNG.random((2, 3, 12, 12)).astype(dtype)
        before = image.copy()
        result = apply_taps(image, taps, taps)
        assert result.dtype == dtype
        assert result.shape == (2, 3, taps.n_out, taps.n_out)
        np.testing.assert_array_equal(image, before)
