"""Use case: HR-HSI -> LR-HSI + HR-MSI, by a stated protocol (Wald's)."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import (
    COVERED,
    DegradedImage,
    Protocol,
    Psf,
    psf_sigma,
    sampling_offset,
)
from emrdiff_cli.core.sensor.fill import FillSurvey
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import Taps
from emrdiff_cli.core.sensor.srf import SpectralResponse, srf_matrix
from emrdiff_cli.errors import GridError, InputError, UsageError
from emrdiff_cli.raster.files import files_written, refuse_inputs_as_outputs
from emrdiff_cli.raster.fill_warnings import raster_fill_warnings
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster.spec import Driver, driver_of
from emrdiff_cli.raster.tags import carried_band_tags, carried_tags, scene_tags
from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo, Window
from emrdiff_cli.responses import read_response
from emrdiff_cli.runtime.atomic import check_target, make_folder, write_whole
from emrdiff_cli.version import __version__

_log = logging.getLogger(__name__)

RECIPE = "recipe.json"

Field = NDArray[np.float32]

_STRIP_ROWS = 128


@dataclass(frozen=True)
class Recipe:
    """Recipe of a simulated pair, written beside it as JSON."""

    version: str
    source: str
    ratio: int
    protocol: Protocol
    psf_sigma_px: float
    boundary: str
    sampling_offset_px: float
    srf: str
    srf_sha256: str
    msi_bands: tuple[str, ...]
    noise_db: float | None
    seed: int
    lr_hsi: str
    hr_msi: str


def simulate_raster(
    hr_hsi: Path | str,
    out_dir: Path | str,
    ratio: int,
    srf: str,
    *,
    protocol: Protocol = "wald",
    noise_db: float | None = None,
    seed: int = 0,
    lr_driver: Driver = "GTiff",
    overwrite: bool = False,
    progress: Callable[[float, float], None] | None = None,
) -> Recipe:
    """Write `lr_hsi`, `hr_msi.tif` and `recipe.json` into `out_dir`.

    `noise_db`: white Gaussian noise at this signal-to-noise ratio (of each band's rms) on both. The HR-HSI
    is cropped at the lower and right edges to whole LR pixels. Raises EmrdiffError's children.
    """
    hr_hsi, out_dir = Path(hr_hsi), Path(out_dir)
    if seed < 0 or not (noise_db is None or math.isfinite(noise_db)):
        raise UsageError(f"seed = {seed} must be 0 or more and noise_db = {noise_db} finite")
    response = read_response(srf)
    with open_raster(hr_hsi) as reader, ExitStack() as outputs:
        info = _cropped(reader.info, ratio)
        matrix = response_matrix(response, info)
        down = _down(Psf(protocol), ratio, info.grid)
        lr_path = out_dir / ("lr_hsi.bsq" if lr_driver == "ENVI" else "lr_hsi.tif")
        recipe = Recipe(
            version=__version__,
            source=hr_hsi.name,
            ratio=ratio,
            protocol=protocol,
            psf_sigma_px=psf_sigma(protocol, ratio),
            boundary="circular" if protocol == "nssr" else "reflected",
            sampling_offset_px=sampling_offset(protocol, ratio),
            srf=Path(srf).name,
            srf_sha256=hashlib.sha256(response.values.tobytes()).hexdigest(),
            msi_bands=response.names,
            noise_db=noise_db,
            seed=seed,
            lr_hsi=lr_path.name,
            hr_msi="hr_msi.tif",
        )
        msi_path = out_dir / recipe.hr_msi
        written = (*files_written(lr_path, lr_driver, {}), *files_written(msi_path, "GTiff", {}))
        refuse_inputs_as_outputs([*written, out_dir / RECIPE], [hr_hsi, Path(srf)])
        make_folder(out_dir)
        check_target(out_dir / RECIPE, overwrite)
        lr = outputs.enter_context(
            VerifiedWriter(lr_path, _lr_spec(info, ratio, recipe.sampling_offset_px, lr_driver), overwrite)
        )
        msi = outputs.enter_context(VerifiedWriter(msi_path, _msi_spec(info, response), overwrite))
        noise = _Noise(noise_db, seed, None if noise_db is None else _msi_rms(reader, info, matrix))
        seen, fill = (
            DegradedImage(info.bands.count, down, masks=info.bands.count),
            FillSurvey(info.grid.height),
        )
        good = [band for band in range(info.bands.count) if band not in info.bands.bad]
        for top, values in _strips(reader, info):
            fill.update(values[good])
            seen.add(top, values, _valid(values))
            msi.append(noise.on_msi(_respond(matrix, values)))
            if progress is not None:
                progress(top + values.shape[1], info.grid.height)
        lr.append(noise.on_lr(_lr_hsi(seen, info.bands.bad)))
    for line in raster_fill_warnings(info, fill.result()):
        _log.warning("%s", line)
    write_whole(out_dir / RECIPE, (json.dumps(asdict(recipe), indent=2) + "\n").encode())
    return recipe


def degrade_raster(
    hr_hsi: Path | str,
    output: Path | str,
    ratio: int,
    *,
    protocol: Protocol = "wald",
    psf_fwhm: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image as pixels `ratio` times as large see it, as the LR-HSI of `simulate_raster`, without noise.

    `psf_fwhm`: of a Gaussian along rows and columns, in pixels of the image, in the place of the protocol's PSF.
    Raises EmrdiffError's children.
    """
    hr_hsi, output = Path(hr_hsi), Path(output)
    driver = driver_of(output)
    refuse_inputs_as_outputs([*files_written(output, driver, {})], [hr_hsi])
    with open_raster(hr_hsi) as reader:
        info = _cropped(reader.info, ratio)
        psf = Psf(protocol) if psf_fwhm is None else Psf.of_fwhm(*psf_fwhm)
        offset = sampling_offset(protocol, ratio) if psf_fwhm is None else 0.0
        seen = DegradedImage(info.bands.count, _down(psf, ratio, info.grid), masks=info.bands.count)
        with VerifiedWriter(output, _lr_spec(info, ratio, offset, driver), overwrite) as lr:
            for top, values in _strips(reader, info):
                seen.add(top, values, _valid(values))
            lr.append(_lr_hsi(seen, info.bands.bad))


def _valid(values: Field) -> NDArray[np.bool_]:
    """Valid values (B, n, W); (1, n, W) where all are: one plane then stands for the masks of all bands."""
    finite = np.isfinite(values)
    return finite[:1] if finite.all() else finite


def _lr_hsi(seen: DegradedImage, bad: Sequence[int]) -> Field:
    """The LR-HSI; NaN in LR pixels that are not wholly on valid ground in a band, in all of its bands.

    A band without any valid ground is NaN as a whole; it holds no other band up, nor does one marked bad.
    """
    missing = seen.share < COVERED
    # What little weight still fell on holes is shared out among the valid pixels.
    values = np.asarray(seen.mean(), np.float32)
    counted = np.asarray(~missing.all(axis=(1, 2)))
    counted[list(bad)] = False
    values[:, missing[counted].any(axis=0)] = np.nan
    values[missing] = np.nan
    return values


class _Noise:
    """White Gaussian noise at a signal-to-noise ratio, or none."""

    def __init__(self, snr_db: float | None, seed: int, msi_rms: NDArray[np.float64] | None) -> None:
        self._share = None if snr_db is None else 10 ** (-snr_db / 20)
        self._msi_rms = msi_rms
        self._lr_draws, self._msi_draws = (np.random.default_rng([seed, stream]) for stream in (0, 1))

    def on_lr(self, values: Field) -> Field:
        if self._share is None:
            return values
        rms = np.sqrt(np.nanmean(np.square(values, dtype=np.float64), axis=(1, 2)))
        return self._added(values, rms, self._lr_draws)

    def on_msi(self, values: Field) -> Field:
        return values if self._msi_rms is None else self._added(values, self._msi_rms, self._msi_draws)

    def _added(self, values: Field, rms: NDArray[np.float64], draws: np.random.Generator) -> Field:
        drawn = draws.standard_normal(values.shape, dtype=np.float32)
        return np.asarray(values + (self._share or 0.0) * rms[:, None, None] * drawn, np.float32)


def _strips(reader: RasterReader, info: RasterInfo) -> Iterator[tuple[int, Field]]:
    for top in range(0, info.grid.height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, info.grid.height - top)
        yield top, reader.read(Window(top, 0, rows, info.grid.width))


def _respond(matrix: NDArray[np.float64], values: Field) -> Field:
    """The MSI of a strip; only bands that carry weight can make a pixel invalid."""
    used = (matrix > 0).any(axis=0)
    return np.tensordot(matrix[:, used].astype(np.float32), values[used], axes=1)


def _msi_rms(reader: RasterReader, info: RasterInfo, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    squares, count = np.zeros(len(matrix)), np.zeros(len(matrix))
    for _, values in _strips(reader, info):
        msi = _respond(matrix, values)
        squares += np.nansum(np.square(msi, dtype=np.float64), axis=(1, 2))
        count += np.isfinite(msi).sum(axis=(1, 2))
    return np.sqrt(squares / np.maximum(count, 1))


def _cropped(info: RasterInfo, ratio: int) -> RasterInfo:
    if ratio < 2:
        raise GridError(f"ratio = {ratio}: must be 2 or more")
    height, width = (side // ratio * ratio for side in (info.grid.height, info.grid.width))
    if not height or not width:
        raise GridError(
            f"{info.path}: {info.grid.height} x {info.grid.width} pixels are less than one LR pixel at "
            f"ratio {ratio}: give a smaller ratio"
        )
    return replace(info, grid=info.grid.crop(Window(0, 0, height, width)))


def response_matrix(response: SpectralResponse, info: RasterInfo) -> NDArray[np.float64]:
    """The SRF on the HSI's bands, those marked bad left out."""
    if info.bands.wavelengths_nm is None:
        raise InputError(
            f"{info.path}: has no wavelengths, which --srf needs: write them as band tags "
            "`wavelength` and `wavelength_units`, or as `wavelength` in the ENVI header"
        )
    good = [i for i in range(info.bands.count) if info.bands.good is None or info.bands.good[i]]
    matrix = np.zeros((len(response.names), info.bands.count))
    matrix[:, good] = srf_matrix(response, [info.bands.wavelengths_nm[i] for i in good])
    return matrix


def _down(psf: Psf, ratio: int, grid: Grid) -> tuple[Taps, Taps]:
    if psf.protocol not in get_args(Protocol):
        raise UsageError(f"protocol = {psf.protocol}: must be one of {', '.join(get_args(Protocol))}")
    placement = AxisPlacement(float(ratio), 0.0)
    lr = grid.height // ratio, grid.width // ratio
    return psf.down(placement, placement, lr, (grid.height, grid.width))


def _lr_spec(info: RasterInfo, ratio: int, shift: float, driver: Driver) -> RasterSpec:
    moved = info.grid.transform @ Affine.translation(shift, shift) @ Affine.scale(ratio)
    grid = Grid(info.grid.height // ratio, info.grid.width // ratio, moved, info.grid.crs_wkt)
    return RasterSpec.like(
        info,
        grid=grid,
        driver=driver,
        tags=carried_tags(info.tags),
        band_tags=carried_band_tags(info.band_tags),
    )


def _msi_spec(info: RasterInfo, response: SpectralResponse) -> RasterSpec:
    # A band that is sampled once, or tells but one sample above half of its maximum, has no width to be written.
    widths = response.fwhm_nm()
    known = widths if min(widths) > 0 else None
    bands = Bands(len(response.names), response.centres_nm(), known, names=response.names)
    return RasterSpec.like(info, bands=bands, driver="GTiff", tags=scene_tags(info.tags), band_tags={})
