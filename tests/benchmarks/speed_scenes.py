"""Pairs of any size for timings: a true EnMAP scene's ground, mirrored over and over under a varying light.

Written by strips: nothing here holds a scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_dead_bands
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA, gaussian_response, srf_matrix

SENTINEL_2_NM = (492.7, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 1613.7, 2202.4)
SENTINEL_2_FWHM_NM = (65.0, 35.0, 30.0, 14.0, 14.0, 19.0, 105.0, 21.0, 90.0, 174.0)
FOUR_BANDS = (0, 1, 2, 6)

_GROUND = (32, 96, 128, 64)  # of the EnMAP scene, without holes: column, row, width, height
_LIGHT = 0.2  # how much the light varies, so that no two copies of the ground are alike,
_LIGHT_PX = (97.0, 131.0)  # in waves of these lengths, down and across
_NOISE = 0.004  # of the mean, on both rasters
_STRIP = 32  # LR rows
_SAMPLE, _SAMPLE_RATIO = Path(__file__).parents[2] / "sample_data", 8
_ORIGIN = Affine(30.0, 0, 368000.0, 0, -30.0, 5_810_000.0)

Field = NDArray[np.float32]


class MirroredGround:
    """An HR-HSI of any size: `bands` spectra of the EnMAP scene under `data`, its ground repeated by reflection."""

    def __init__(self, data: Path, bands: int, seed: int = 0) -> None:
        with rasterio.open(data / "enmap_potsdam" / "enmap_potsdam_30m.tif") as source:
            ground = source.read(window=GdalWindow(*_GROUND)).astype(np.float32)
            dead = (ground == source.nodata).any(axis=(1, 2))
            found = [source.tags(band) for band in source.indexes]
        nm = np.array([float(tags["wavelength"]) for tags in found])
        chosen = np.unique(np.linspace(0, len(nm) - 1, bands).round().astype(int))
        self.wavelengths_nm = nm[chosen]
        self.fwhm_nm = np.array([float(found[band]["fwhm"]) for band in chosen])
        self._ground = fill_dead_bands(ground, dead, nm.tolist())[chosen]
        self._seed = seed

    def rows(self, top: int, bottom: int, width: int) -> Field:
        """Rows top..bottom-1 (B, n, width); those beyond the upper edge are reflected too."""
        height, across = self._ground.shape[1:]
        down = _mirrored(np.arange(top, bottom), height)
        right = _mirrored(np.arange(width), across)
        light = 1 + _LIGHT * np.sin(np.arange(top, bottom) / _LIGHT_PX[0])[:, None] * np.sin(
            np.arange(width) / _LIGHT_PX[1]
        )
        return np.asarray(self._ground[:, down][:, :, right] * light.astype(np.float32))

    def noisy(self, values: Field, top: int, kind: int) -> NDArray[np.int16]:
        """Values as a sensor stores them; the noise is a function of seed, kind and first row."""
        rng = np.random.default_rng((self._seed, kind, top))
        level = _NOISE * float(self._ground.mean())
        noise = rng.standard_normal(values.shape, np.float32) * np.float32(level)
        return np.rint(values + noise).astype(np.int16)


def _mirrored(place: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    folded = place % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def make_pair(
    folder: Path,
    data: Path,
    lr_size: tuple[int, int],
    ratio: int,
    bands: int = 224,
    msi_bands: tuple[int, ...] = tuple(range(len(SENTINEL_2_NM))),
) -> tuple[Path, Path]:
    """Write an LR-HSI of `lr_size` and its HR-MSI; what is there already is kept."""
    name = f"{lr_size[0]}x{lr_size[1]}x{bands}-by-{ratio}-{len(msi_bands)}.tif"
    lr_path, msi_path = folder / f"lr-{name}", folder / f"msi-{name}"
    if lr_path.exists() and msi_path.exists():
        return lr_path, msi_path
    folder.mkdir(parents=True, exist_ok=True)
    ground = MirroredGround(data, bands)
    centres, fwhm = (tuple(part[band] for band in msi_bands) for part in (SENTINEL_2_NM, SENTINEL_2_FWHM_NM))
    response = srf_matrix(gaussian_response(centres, fwhm), ground.wavelengths_nm.tolist()).astype(np.float32)
    fine_grid = _ORIGIN @ Affine.scale(1 / ratio)
    fine_size = lr_size[0] * ratio, lr_size[1] * ratio
    with (
        _created(lr_path, ground.wavelengths_nm, ground.fwhm_nm, lr_size, _ORIGIN) as lr,
        _created(msi_path, np.array(centres), np.array(fwhm), fine_size, fine_grid) as msi,
    ):
        for top, values in _lr_strips(ground, lr_size, ratio):
            lr.write(ground.noisy(values, top, 0), window=GdalWindow(0, top, *values.shape[:0:-1]))
        for top in range(0, fine_size[0], _STRIP * ratio):
            bottom = min(top + _STRIP * ratio, fine_size[0])
            values = np.tensordot(response, ground.rows(top, bottom, fine_size[1]), axes=1)
            msi.write(ground.noisy(values, top, 1), window=GdalWindow(0, top, *values.shape[:0:-1]))
    return lr_path, msi_path


def mirrored_sample(folder: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """Write the sample, repeated by reflection, on `size` MSI pixels; what is there already is kept."""
    paths = folder / f"lr-sample-{size[0]}x{size[1]}.tif", folder / f"msi-sample-{size[0]}x{size[1]}.tif"
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        for source, path, ratio in zip(("lr_hsi.bsq", "hr_msi.tif"), paths, (_SAMPLE_RATIO, 1), strict=True):
            _mirror(_SAMPLE / source, path, (size[0] // ratio, size[1] // ratio))
    return paths


def _mirror(source: Path, target: Path, size: tuple[int, int]) -> None:
    with rasterio.open(source) as whole:
        rows, cols = (
            _mirrored(np.arange(wanted), had) for wanted, had in zip(size, whole.shape, strict=True)
        )
        profile = {key: whole.profile[key] for key in ("crs", "transform", "dtype", "nodata", "count")}
        with rasterio.open(
            target, "w", driver="GTiff", interleave="band", height=size[0], width=size[1], **profile
        ) as made:
            made.write(whole.read()[:, rows][:, :, cols])
            # An ENVI header says the scale in a field of its own.
            factor = whole.tags(ns="ENVI").get("reflectance_scale_factor")
            made.scales = whole.scales if factor is None else (1 / float(factor),) * whole.count
            for band in whole.indexes:
                made.update_tags(band, **whole.tags(band))


def _lr_strips(ground: MirroredGround, size: tuple[int, int], ratio: int) -> Iterator[tuple[int, Field]]:
    """The LR-HSI by rows: Gaussians of FWHM = ratio at the middle of each LR pixel."""
    sigma, width = ratio / FWHM_PER_SIGMA, size[1] * ratio
    cols = gaussian_downsampler(AxisPlacement(ratio, 0.0), size[1], width, sigma)
    reach = -(-3 * ratio // 2)
    for top in range(0, size[0], _STRIP):
        count = min(_STRIP, size[0] - top)
        first = top * ratio - reach
        rows = gaussian_downsampler(
            AxisPlacement(ratio, float(reach)), count, count * ratio + 2 * reach, sigma
        )
        yield (
            top,
            np.asarray(apply_taps(ground.rows(first, first + rows.n_in, width), rows, cols), np.float32),
        )


def _created(
    path: Path, nm: NDArray[np.float64], fwhm: NDArray[np.float64], size: tuple[int, int], grid: Affine
) -> Any:
    dataset = rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs="EPSG:32633",
        transform=grid,
        count=len(nm),
        height=size[0],
        width=size[1],
        dtype="int16",
        nodata=-32768,
        interleave="band",
        BIGTIFF="IF_SAFER",
    )
    for band, (centre, wide) in enumerate(zip(nm, fwhm, strict=True), 1):
        dataset.update_tags(band, wavelength=f"{centre:.2f}", wavelength_units="nm", fwhm=f"{wide:.2f}")
    return dataset
