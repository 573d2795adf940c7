"""Use case: rasters -> samples, from an archive of HR-HSI or from one pair without ground truth."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.conditioning import calibrate
from emrdiff_cli.core.diffusion.supervision import (
    SupervisedPair,
    TrainingSample,
    at_lr,
    fitted_filter,
    make_sample,
    refined,
    rescaled,
    residual_gain,
)
from emrdiff_cli.core.sensor.changes import find_changes
from emrdiff_cli.core.sensor.degradation import Protocol, Psf, simulate_pair
from emrdiff_cli.core.sensor.fill import FillSurvey, ProbableFill, probable_fill
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.holes import fill_invalid
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, observe_msi
from emrdiff_cli.core.sensor.srf import SpectralResponse
from emrdiff_cli.core.tiling import tile_windows
from emrdiff_cli.errors import InputError
from emrdiff_cli.pair.geometry import on_grid_of
from emrdiff_cli.pair.modes import AskedGeometry
from emrdiff_cli.pair.pair import PairReader, open_pair
from emrdiff_cli.pair.registration import register
from emrdiff_cli.raster.fill_warnings import raster_fill_warnings
from emrdiff_cli.raster.reading import open_raster, read_info
from emrdiff_cli.raster_info import Bands, RasterInfo
from emrdiff_cli.simulation import response_matrix

_log = logging.getLogger(__name__)

Field = NDArray[np.float32]

LONGEST_SIDE = 512  # larger scenes are cut, so that samples stay in memory and their statistics local
_AUTO = AskedGeometry()
_LEAST_RATIO = 2.0  # by which a pair is degraded where its own ratio leaves too few pixels
_PHASES = (0.0, 0.5)  # shifts of the simulated LR grid against the pair's, in its pixels


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Pairs to learn from and pairs held out, and what the model's configuration takes from their rasters.

    `calibration`: the scenes at LR on which an archive's basis and scales are found; `described`: the pairs in
    words; `notes`: what a user has to know of them; `archive`: they are of many scenes, not of one pair; `uncut`:
    each pair is a whole raster's. `geometry`: how the one pair lies and is seen, in words.
    """

    calibration: Sequence[LrScene]
    learned: Sequence[SupervisedPair]
    held_out: Sequence[SupervisedPair]
    hsi: RasterInfo
    msi_centres_nm: tuple[float, ...]
    msi_bands: int
    ratio: float
    peak: float
    described: str
    notes: tuple[str, ...] = ()
    geometry: tuple[str, ...] = ()
    archive: bool = False
    uncut: bool = False


def read_archive(
    folder: Path,
    ratio: int,
    response: SpectralResponse,
    validation: float,
    protocol: Protocol = "wald",
    progress: Callable[[float, float], None] | None = None,
) -> Examples:
    """Simulate a pair from each HR-HSI of a folder; the last scenes by name (at least one) are held out.

    Raises InputError with fewer than two rasters, or rasters that do not have the same bands.
    """
    paths = archive_rasters(folder)
    if len(paths) < 2:
        raise InputError(f"{folder}: an archive needs two HR-HSI rasters or more, here are {len(paths)}")
    first = read_info(paths[0])
    held_out = min(max(1, round(validation * len(paths))), len(paths) - 1)
    pairs: list[list[SupervisedPair]] = []
    for number, path in enumerate(paths, 1):
        pairs.append(list(simulated_pairs(path, first, ratio, response, protocol)))
        if progress is not None:
            progress(number, len(paths))
    learned = [pair for scene in pairs[:-held_out] for pair in scene]
    kept = [pair for scene in pairs[-held_out:] for pair in scene]
    learned, kept = ([pair for pair in part if pair.scored.any()] for part in (learned, kept))
    if not learned or not kept:
        raise InputError(f"{folder}: no valid pixel in the scenes to learn from, or in those held out")
    return Examples(
        calibration=[at_lr(pair)[0] for pair in learned],
        learned=learned,
        held_out=kept,
        hsi=first,
        msi_centres_nm=response.centres_nm(),
        msi_bands=len(response.names),
        ratio=float(ratio),
        peak=_peak(first, kept),
        described="scenes",
        archive=True,
        uncut=all(len(scene) == 1 for scene in pairs),
    )


def read_scene(lr_path: Path, msi_path: Path, validation: float, geometry: AskedGeometry = _AUTO) -> Examples:
    """Wald's protocol on the pair itself: the LR-HSI is the truth, both inputs degraded by their ratio.

    The pair is put right first, as `geometry` asks, and both are degraded by its PSF, as wide against their pixels
    as it is against the MSI's. By 2 where the ratio would leave too few pixels. The last rows are held out. The
    simulated LR grid is laid at four phases, each a sample. Raises InputError when the pair is too small to be
    degraded once more.
    """
    with open_pair(lr_path, msi_path) as stated:
        found = register(stated, *geometry)
        pair = found.applied(stated)
        known = pair.lr_info.bands
        values, survey = pair.read_lr(), FillSurvey(pair.alignment.hr_window.height)
        _warn_of_fill(pair.lr_info, probable_fill(values[_good_bands(pair.lr_info)]))
        filled, lr_valid, unusable = fill_invalid(values, known.bad, known.wavelengths_nm)
        seen = observe_msi(lambda: survey.watch(pair.strips()), pair.resampling.down)
        _warn_of_fill(pair.msi_info, survey.result())
        filled, lr_valid = on_grid_of(pair, filled, lr_valid, seen.msi_at_lr)
        ratio, place = pair.alignment.ratio, pair.alignment
        rows, cols, notes = _degraded_by(pair)
        psf = pair.psf.scaled(rows / place.rows.ratio, cols / place.cols.ratio)
        lr_info, msi_info = pair.lr_info, pair.msi_info
    whole, changed = _unchanged(LrScene(filled, seen.msi_at_lr, lr_valid & seen.covered), ~unusable)
    valid = whole.valid
    pairs = [
        _degraded_pair(filled, whole.msi, valid, AxisPlacement(rows, down), AxisPlacement(cols, right), psf)
        for down in (phase * rows for phase in _PHASES)
        for right in (phase * cols for phase in _PHASES)
    ]
    usable = np.flatnonzero(valid.any(axis=1))
    if usable.size < 2:
        raise InputError(
            f"{lr_path.name}: has no two rows with valid pixels on the MSI: there is nothing to learn"
        )
    last = usable[-max(1, round(validation * usable.size))] if validation else len(valid)
    taught, tested = np.zeros_like(valid), np.zeros_like(valid)
    taught[:last], tested[last:] = valid[:last], valid[last:]
    centres = msi_info.bands.wavelengths_nm or ()
    learned = [replace(p, scored=taught, good=~unusable) for p in pairs]
    kept = [replace(learned[0], scored=tested if validation else valid)]
    return Examples(
        # The pair's own spectra are known wherever the model is used, so its basis is found on all of them.
        calibration=[whole],
        learned=learned,
        held_out=kept,
        hsi=lr_info,
        msi_centres_nm=centres,
        msi_bands=msi_info.bands.count,
        ratio=ratio,
        peak=_peak(lr_info, kept),
        described="phases of a pair" + (f" (degraded by {rows:g})" if notes else ""),
        notes=(*notes, *found.notes, *changed, *found.warnings),
        geometry=found.notes or ("as it lies, through a PSF of FWHM = the ratio",),
    )


def _unchanged(scene: LrScene, usable: NDArray[np.bool_]) -> tuple[LrScene, tuple[str, ...]]:
    """The scene without the pixels that the rest of the pair contradicts, and a note on them.

    Where they lie the MSI is what the rest expects it to be, so that pixels degraded beside them are not spoilt.
    """
    changes = find_changes(replace(scene, hsi=scene.hsi[usable]))
    if changes is None:
        return scene, ()
    share = changes.changed.sum() / max(1, scene.valid.sum())
    note = f"{share:.2%} of the LR pixels contradict the rest of the pair: nothing is learned from them"
    return replace(changes.applied(scene), changed=None), (note,)


def _degraded_by(pair: PairReader) -> tuple[float, float, tuple[str, ...]]:
    """The ratio to degrade a pair by along rows and columns, and a note on it."""
    place, ratio, bands = pair.alignment, pair.alignment.ratio, pair.msi_info.bands.count
    height, width = place.lr_window.height, place.lr_window.width
    for rows, cols in ((place.rows.ratio, place.cols.ratio), (_LEAST_RATIO, _LEAST_RATIO)):
        if int(height / rows) * int(width / cols) >= 2 * (bands + 1):
            break
    else:
        raise InputError(
            f"{pair.lr_info.path.name}: {height} x {width} pixels are too few to be degraded by {ratio:.3g} or "
            f"{_LEAST_RATIO:g} once more: train on an archive (`--archive`), or fuse with `--method kriging`"
        )
    if rows == place.rows.ratio:
        return rows, cols, ()
    note = (
        f"{pair.lr_info.path.name}: {height} x {width} pixels are too few to be degraded by {ratio:.3g} once "
        f"more: degraded by {rows:g}, so the model learns of less detail than it will have to add"
    )
    return rows, cols, (note,)


def simulated_pairs(
    path: Path, like: RasterInfo, ratio: int, response: SpectralResponse, protocol: Protocol = "wald"
) -> Iterator[SupervisedPair]:
    """The pairs that an HR-HSI, cut where it is large, makes by the protocol.

    Where it records no wavelengths, those of `like` count. Raises InputError where its bands are not those
    `like` has, or it is smaller than two LR pixels.
    """
    with open_raster(path) as reader:
        info = reader.info
        if info.bands.count != like.bands.count:
            raise InputError(
                f"{path}: has {info.bands.count} bands, {like.path.name} {like.bands.count}: an archive holds "
                "scenes of one sensor"
            )
        _check_like(info, like)
        if info.bands.wavelengths_nm is None:
            info = replace(info, bands=replace(info.bands, wavelengths_nm=like.bands.wavelengths_nm))
        matrix = response_matrix(response, info)
        if min(info.grid.height, info.grid.width) < 2 * ratio:
            raise InputError(
                f"{path}: {info.grid.height} x {info.grid.width} pixels are less than two LR pixels "
                f"at ratio {ratio}"
            )
        side = max(ratio, LONGEST_SIDE // ratio * ratio)
        for window in tile_windows(info.grid.height, info.grid.width, side, 0):
            values = reader.read(window)
            _warn_of_fill(info, probable_fill(values[_good_bands(info)]))
            yield _simulate_window(values, info.bands, matrix, ratio, protocol)


def _good_bands(info: RasterInfo) -> list[int]:
    return [band for band in range(info.bands.count) if band not in info.bands.bad]


def _warn_of_fill(info: RasterInfo, found: Sequence[ProbableFill]) -> None:
    for line in raster_fill_warnings(info, found):
        _log.warning("%s", line)


def make_samples(
    examples: Examples,
    config: ModelConfig,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[list[TrainingSample], list[TrainingSample], ModelConfig]:
    """Samples to learn and samples held out, and the configuration with what they taught of its units."""
    total = len(examples.learned) + len(examples.held_out)
    shared = None
    if config.calibration == "archive":
        shared = calibrate(config, examples.calibration, _good_anywhere(examples.learned))
    samples = []
    for number, pair in enumerate((*examples.learned, *examples.held_out), 1):
        samples.append(make_sample(config, pair, shared))
        if progress is not None:
            progress(number, total)
    split = len(examples.learned)
    if config.detail_filter:
        found = fitted_filter(config, samples[:split])
        samples = [refined(config, sample, found) for sample in samples]
    if config.units == "residual" and config.residual != "none":
        gain = residual_gain(samples[:split])
        config = replace(config, residual_gain=gain)
        samples = [rescaled(sample, gain) for sample in samples]
    return samples[:split], samples[split:], config


def archive_rasters(folder: Path) -> list[Path]:
    """GeoTIFFs and ENVI headers of a folder, by name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff", ".hdr"))


def _check_like(info: RasterInfo, like: RasterInfo) -> None:
    """Raise InputError where a scene has other wavelengths or another scale than the archive's first."""
    if info.scale != like.scale or info.offset != like.offset:
        raise InputError(
            f"{info.path}: has scale {info.scale:g}, {like.path.name} {like.scale:g}: record the same one in both"
        )
    mine, theirs = info.bands.wavelengths_nm, like.bands.wavelengths_nm
    if mine is None or theirs is None:
        return
    spacing = float(np.min(np.abs(np.diff(theirs)))) if len(theirs) > 1 else 1.0
    if np.abs(np.subtract(mine, theirs)).max() > max(spacing / 2, 1.0):
        raise InputError(
            f"{info.path}: has other wavelengths than {like.path.name}: an archive holds one sensor"
        )


def _good_anywhere(pairs: Sequence[SupervisedPair]) -> NDArray[np.bool_] | None:
    """(B,) True for the bands that are good in at least one pair; None: all are in one."""
    good = [pair.good for pair in pairs if pair.good is not None]
    return np.any(good, axis=0) if len(good) == len(pairs) else None


def _simulate_window(
    values: Field, bands: Bands, matrix: NDArray[np.float64], ratio: int, protocol: Protocol
) -> SupervisedPair:
    height, width = (side // ratio * ratio for side in values.shape[1:])
    values = values[:, :height, :width]
    truth, valid, unusable = fill_invalid(values, bands.bad, bands.wavelengths_nm)
    resampling = _resampling(
        Psf(protocol), AxisPlacement(float(ratio), 0.0), AxisPlacement(float(ratio), 0.0), height, width
    )
    lr_hsi, hr_msi = simulate_pair(truth, matrix, resampling.down)
    return SupervisedPair(truth, valid, lr_hsi, hr_msi, resampling=resampling, scored=valid, good=~unusable)


def _degraded_pair(
    hsi: Field, msi: Field, valid: NDArray[np.bool_], rows: AxisPlacement, cols: AxisPlacement, psf: Psf
) -> SupervisedPair:
    """The pair at LR as an HR-HSI with its MSI; offsets begin at or below the first pixel."""
    rows, cols = (AxisPlacement(p.ratio, -p.offset) for p in (rows, cols))
    resampling = _resampling(psf, rows, cols, *valid.shape)
    down = resampling.down
    lr_hsi, _ = simulate_pair(hsi, np.zeros((1, len(hsi))), down)
    return SupervisedPair(hsi, valid, lr_hsi, msi, resampling, scored=valid)


def _resampling(psf: Psf, rows: AxisPlacement, cols: AxisPlacement, height: int, width: int) -> Resampling:
    n_rows, n_cols = (
        math.ceil((side - axis.offset) / axis.ratio - 1e-6) for side, axis in ((height, rows), (width, cols))
    )
    return Resampling.between(rows, cols, (n_rows, n_cols), (height, width), psf)


def _peak(info: RasterInfo, pairs: Sequence[SupervisedPair]) -> float:
    """1 for reflectance (recorded scale, or values up to 2), else the held-out scenes' maximum."""
    top = max(float(pair.hr_hsi.max()) for pair in pairs)
    return 1.0 if info.scale_recorded or top <= 2 else top
