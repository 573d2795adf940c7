"""Grids of any ratio, offset and overlap: where the output lies, what it holds there, and how far holes reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emrdiff_cli.errors import InputError
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from tests.support.rasters import NORTH_UP, UTM33, write_tif

Cube = NDArray[np.floating[Any]]

METHODS: tuple[str, ...] = ("bicubic", "glp")
SNAP = 0.011  # HR pixels by which an offset is rounded to a whole pixel
REPLACE = FusionOptions(overwrite=True, register="off")
KERNEL = 2.0  # LR pixels that the cubic kernel reaches from a pixel's centre
PSF = 3 / 2.3548  # LR pixels that the assumed PSF reaches from a pixel's centre
WHOLE = 1.0  # LR pixels: what of one is felt is felt in all of it, where values are lifted
usual = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True)
class Axis:
    """One axis in LR pixels from the LR raster's first edge: where the MSI begins, its pixels' size and number."""

    lr: int
    start: float
    pixel: float
    hr: int

    def centres(self) -> NDArray[np.floating[Any]]:
        """Of the MSI's pixels."""
        return self.start + self.pixel * (np.arange(self.hr) + 0.5)

    def common(self, slack: float) -> NDArray[np.int64]:
        """The MSI's pixels whose centre lies on the LR raster grown by `slack` MSI pixels."""
        at, by = self.centres(), slack * self.pixel
        return np.flatnonzero((at > -by) & (at < self.lr + by))

    def whole(self) -> int:
        """LR pixels that lie wholly on the MSI."""
        first, last = max(0.0, self.start), min(float(self.lr), self.start + self.pixel * self.hr)
        return max(0, math.floor(last + 1e-9) - math.ceil(first - 1e-9))


@dataclass(frozen=True)
class Layout:
    """A pair's two axes (rows, columns), and which rasters are stored south-up."""

    rows: Axis
    cols: Axis
    lr_flipped: bool
    msi_flipped: bool

    def lr_transform(self) -> Affine:
        return flipped(NORTH_UP, self.rows.lr) if self.lr_flipped else NORTH_UP

    def msi_transform(self) -> Affine:
        placed = NORTH_UP @ Affine(self.cols.pixel, 0, self.cols.start, 0, self.rows.pixel, self.rows.start)
        return flipped(placed, self.rows.hr) if self.msi_flipped else placed


def flipped(transform: Affine, rows: int) -> Affine:
    return transform @ Affine.translation(0, rows) @ Affine.scale(1, -1)


@st.composite
def axes(draw: st.DrawFn, ratio: float, fewest: int) -> Axis:
    lr = draw(st.integers(fewest, 9))
    start = draw(st.floats(-3, lr - 1) | st.sampled_from([-1.0, 0.0, 0.5, 1 / ratio]))
    return Axis(lr, start, 1 / ratio, draw(st.integers(1, math.ceil(10 * ratio))))


@st.composite
def layouts(draw: st.DrawFn, fewest: int = 1) -> Layout:
    ratio = draw(st.floats(1.5, 20) | st.integers(2, 20).map(float))
    aspect = draw(st.just(1.0) | st.floats(1.0, 1.2))
    rows, cols = draw(axes(ratio, fewest)), draw(axes(min(20.0, ratio * aspect), fewest))
    return Layout(rows, cols, draw(st.booleans()), draw(st.booleans()))


def ramp(transform: Affine, height: int, width: int, bands: int) -> Cube:
    """Values linear in the ground coordinates of the pixels' centres, counted in LR pixels."""
    rows, cols = np.mgrid[:height, :width] + 0.5
    x, y = ~NORTH_UP @ transform @ (cols, rows)
    return np.stack([1 + x + (band + 1) * y for band in range(bands)])


def write_ramps(folder: Path, layout: Layout) -> tuple[Path, Path]:
    rows, cols = layout.rows, layout.cols
    rasters = {
        "lr.tif": (layout.lr_transform(), rows.lr, cols.lr, 2),
        "msi.tif": (layout.msi_transform(), rows.hr, cols.hr, 1),
    }
    for name, (transform, *shape) in rasters.items():
        values = ramp(transform, *shape).astype(np.float32)
        write_tif(folder / name, values, transform=transform, nodata=np.nan)
    return folder / "lr.tif", folder / "msi.tif"


def fused(pair: tuple[Path, Path], method: str) -> tuple[Cube, Affine]:
    """Values, NaN where nodata, and the transform of the reopened output."""
    output = pair[0].parent / "out.tif"
    fuse(*pair, output, method, None, REPLACE)
    with rasterio.open(output) as dataset:
        assert dataset.crs.to_string() == UTM33
        assert np.isnan(dataset.nodata)
        return dataset.read().astype(np.float64), dataset.transform


def origin(layout: Layout, transform: Affine) -> tuple[int, int]:
    """First row and column of an output on the MSI, which must be whole to 1e-6 pixels, at the MSI's pixel size."""
    on_msi = ~layout.msi_transform() @ transform
    np.testing.assert_allclose(
        [on_msi.a, on_msi.b, on_msi.d, on_msi.e], [1, 0, 0, 1], rtol=0, atol=1e-9 * max(layout.rows.hr, 1000)
    )
    row, col = round(on_msi.f), round(on_msi.c)
    np.testing.assert_allclose([on_msi.f, on_msi.c], [row, col], rtol=0, atol=1e-6)
    return row, col


def check_extent(axis: Axis, first: int, length: int, backwards: bool) -> NDArray[np.int64]:
    """The output covers the common ground and nothing else; returns its MSI pixels from the north or west."""
    kept = np.arange(first, first + length)
    if backwards:
        kept = axis.hr - 1 - kept
    assert set(axis.common(-SNAP)) <= set(kept)
    assert set(kept) <= set(axis.common(SNAP))
    return kept


@pytest.mark.parametrize("method", METHODS)
@usual
@given(layout=layouts())
def test_an_output_lies_on_the_msis_pixels_over_the_common_ground(
    tmp_path: Path, method: str, layout: Layout
) -> None:
    pair = write_ramps(tmp_path, layout)
    try:
        values, transform = fused(pair, method)
    except InputError:
        # One MSI band needs four LR pixels; of those at the MSI's edges too little of the PSF may be seen.
        assert min(layout.rows.whole(), layout.cols.whole()) < 4
        return
    row, col = origin(layout, transform)
    rows = check_extent(layout.rows, row, values.shape[1], layout.msi_flipped)
    cols = check_extent(layout.cols, col, values.shape[2], backwards=False)
    assert np.isfinite(values).all()
    if method == "bicubic":
        at = layout.rows.centres()[rows], layout.cols.centres()[cols]
        inner = [
            (centres > KERNEL) & (centres < axis.lr - KERNEL)
            for centres, axis in zip(at, (layout.rows, layout.cols), strict=True)
        ]
        truth = ramp(transform, values.shape[1], values.shape[2], 2)
        error = np.abs(values - truth)[:, inner[0]][:, :, inner[1]]
        # In the last band a shift by one HR pixel is 2 of these down and 1 to the right.
        assert not error.size or error.max() < 3 * SNAP * max(layout.rows.pixel, layout.cols.pixel) + 1e-4


def test_the_shift_of_a_fraction_of_a_pixel_would_be_seen(tmp_path: Path) -> None:
    """What the property tolerates is less than a twentieth of an HR pixel."""
    axis = Axis(9, -0.37, 1 / 4.3, 45)
    pair = write_ramps(tmp_path, Layout(axis, axis, False, False))
    values, transform = fused(pair, "bicubic")
    moved = transform @ Affine.translation(0.05, 0)
    inner = slice(12, -12)
    error = np.abs(values - ramp(moved, values.shape[1], values.shape[2], 2))[:, inner, inner]
    assert error.max() > 3 * SNAP / 4.3 + 1e-4


# Holes


def textured_pair(folder: Path, ratio: float, side: int = 14) -> tuple[Cube, Cube, Affine]:
    rng = np.random.default_rng(7)
    fine = round(side * ratio)
    lr = rng.uniform(0.1, 0.9, (3, side, side)).astype(np.float32)
    msi = rng.uniform(0.1, 0.9, (1, fine, fine)).astype(np.float32)
    return lr, msi, NORTH_UP @ Affine.scale(1 / ratio)


def write_masked(path: Path, values: Cube, holes: NDArray[np.bool_], transform: Affine = NORTH_UP) -> Path:
    """Holes are in the dataset's mask, so that the file holds what it holds beneath them."""
    write_tif(path, values, transform=transform)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.where(holes, 0, 255).astype(np.uint8))
    return path


def block(shape: tuple[int, ...], row: int, col: int, side: int) -> NDArray[np.bool_]:
    hole = np.zeros(shape, bool)
    hole[row : row + side, col : col + side] = True
    return hole


def at_lr(ratio: float, count: int) -> NDArray[np.floating[Any]]:
    """Centres of HR pixels in LR pixels."""
    return (np.arange(count) + 0.5) / ratio


def near(ratio: float, count: int, row: float, col: float, reach: float) -> NDArray[np.bool_]:
    """HR pixels within `reach` LR pixels, on both axes, of a point in LR pixels."""
    centres = at_lr(ratio, count)
    close = np.abs(centres - row) <= reach, np.abs(centres - col) <= reach
    return np.asarray(close[0][:, None] & close[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bicubic", "glp", "glp-local", "kriging"])
@settings(usual, max_examples=5)
@given(
    ratio=st.floats(1.5, 6) | st.integers(2, 6).map(float),
    garbage=st.sampled_from([0.0, -9999.0, 3e4, 1e30]),
    row=st.integers(0, 12),
    col=st.integers(0, 12),
)
def test_nothing_depends_on_what_a_hole_holds(
    tmp_path: Path, method: str, ratio: float, garbage: float, row: int, col: int
) -> None:
    lr, msi, fine = textured_pair(tmp_path, ratio)
    lr_hole = block(lr.shape[1:], row, col, 2)
    msi_hole = block(msi.shape[1:], round(col * ratio), round(row * ratio), 2)
    outputs = []
    for value in (0.5, garbage):
        pair = (
            write_masked(tmp_path / "lr.tif", np.where(lr_hole, np.float32(value), lr), lr_hole),
            write_masked(tmp_path / "msi.tif", np.where(msi_hole, np.float32(value), msi), msi_hole, fine),
        )
        outputs.append(fused(pair, method)[0])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    centres = np.minimum(at_lr(ratio, msi.shape[1]).astype(int), lr.shape[1] - 1)
    assert (np.isnan(outputs[0]) == (lr_hole[centres][:, centres] | msi_hole)).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@settings(usual, max_examples=6)
@given(ratio=st.floats(1.5, 6) | st.integers(2, 6).map(float), row=st.integers(0, 13), col=st.integers(0, 13))
def test_a_hole_of_the_lr_hsi_is_felt_within_the_kernel_alone(
    tmp_path: Path, method: str, ratio: float, row: int, col: int
) -> None:
    lr, msi, fine = textured_pair(tmp_path, ratio)
    # A hole of the MSI keeps the LR pixel out of the statistics with and without its own hole.
    top, left = (min(int((at + 0.5) * ratio), msi.shape[1] - 1) for at in (row, col))
    msi_path = write_masked(tmp_path / "msi.tif", msi, block(msi.shape[1:], top, left, 1), fine)
    outputs = []
    for side in (0, 1):
        lr_path = write_masked(tmp_path / "lr.tif", lr, block(lr.shape[1:], row, col, side))
        outputs.append(fused((lr_path, msi_path), method)[0])
    changed = (np.nan_to_num(outputs[0]) != np.nan_to_num(outputs[1])).any(axis=0)
    assert changed.any()
    assert not (changed & ~near(ratio, msi.shape[1], row + 0.5, col + 0.5, KERNEL + WHOLE + 1e-6)).any()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@settings(usual, max_examples=6)
@given(
    ratio=st.floats(1.5, 6) | st.integers(2, 6).map(float),
    row=st.floats(2.5, 11.49),
    col=st.floats(2.5, 11.49),
)
def test_a_hole_of_the_msi_is_felt_within_psf_and_kernel_alone(
    tmp_path: Path, method: str, ratio: float, row: float, col: float
) -> None:
    lr, msi, fine = textured_pair(tmp_path, ratio)
    # Holes of the LR-HSI keep all LR pixels that see the MSI's hole out of the statistics, with it and without.
    lr_hole = block(lr.shape[1:], int(row) - 2, int(col) - 2, 5)
    lr_path = write_masked(tmp_path / "lr.tif", lr, lr_hole)
    top, left = int(row * ratio), int(col * ratio)
    outputs = []
    for side in (0, 1):
        hole = block(msi.shape[1:], top, left, side)
        outputs.append(fused((lr_path, write_masked(tmp_path / "msi.tif", msi, hole, fine)), method)[0])
    changed = (np.nan_to_num(outputs[0]) != np.nan_to_num(outputs[1])).any(axis=0)
    reach = WHOLE + (0.0 if method == "bicubic" else KERNEL + PSF)
    point = (top + 0.5) / ratio, (left + 0.5) / ratio
    assert not (changed & ~near(ratio, msi.shape[1], *point, reach + 1e-3)).any()
