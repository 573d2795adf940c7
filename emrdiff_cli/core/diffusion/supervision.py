"""Training samples from an HR-HSI and its simulated pair, and their fusion for validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig, TrainConfig
from emrdiff_cli.core.diffusion.conditioning import (
    Calibration,
    Channels,
    TileInputs,
    calibrate,
    chain_target,
    hsi_correction,
    tile_inputs,
)
from emrdiff_cli.core.diffusion.detail_filter import DetailSample, FilterInputs, fit_detail_filter
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.core.diffusion.learning import TrainingScene, channel_weights
from emrdiff_cli.core.diffusion.noise import edge_noise
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.scene_end_point import SceneEndPoint, choose_basis, find_end_point, own_basis
from emrdiff_cli.core.metrics.decibels import psnr_db
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strip, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.tiling import tile_windows
from emrdiff_cli.methods import METHODS, EndPoint
from emrdiff_cli.raster_info import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class SupervisedPair:
    """An HR-HSI (B, H, W) with its `valid` pixels, filled elsewhere, and the pair made from it.

    Only the pixels `scored` are learned from and tested on, and only the `good` bands (B,; None: all are): the
    others are interpolated between them in both HSIs.
    """

    hr_hsi: Field
    valid: NDArray[np.bool_]
    lr_hsi: Field
    hr_msi: Field
    resampling: Resampling
    scored: NDArray[np.bool_]
    good: NDArray[np.bool_] | None = None

    def strips(self) -> Iterator[Strip]:
        """Its MSI, in one strip."""
        yield Strip(0, self.hr_msi, self.valid)


@dataclass(frozen=True)
class TrainingSample:
    """A pair as the network sees it, whole, with the truth it is to find; `edge_range` is the MSI's."""

    pair: SupervisedPair
    end: SceneEndPoint
    channels: Channels
    inputs: TileInputs
    target: Field
    edge_range: tuple[float, float]


def at_lr(pair: SupervisedPair) -> tuple[LrScene, tuple[float, float]]:
    """The pair at LR, and the extremes of the MSI's edge magnitude."""
    seen = observe_msi(pair.strips, pair.resampling.down)
    return LrScene(pair.lr_hsi, seen.msi_at_lr, seen.covered), seen.edge_range


def make_sample(
    config: ModelConfig, pair: SupervisedPair, calibration: Calibration | None = None
) -> TrainingSample:
    """Fit everything scene-wide on the pair and work out the chain's ends over the whole scene.

    Without a calibration the scene is its own.
    """
    scene, edge_range = at_lr(pair)
    calibration = calibration or calibrate(config, [scene], pair.good)
    end = find_end_point(
        scene, pair.strips, pair.resampling, config.end_point, calibration.basis, agreeing=False
    )
    return _sample(config, pair, end, calibration.channels, edge_range)


def fitted_filter(config: ModelConfig, samples: Iterable[TrainingSample]) -> Field:
    """The configuration's detail filter that fits what the end points of the samples leave, one by one."""

    def detail(sample: TrainingSample) -> DetailSample:
        pair, tile = sample.pair, sample.inputs.end_point
        residual = sample.end.basis.project(pair.hr_hsi) - tile.values
        seen = FilterInputs.of(tile, pair.hr_msi, sample.end.msi, pair.resampling.up)
        return DetailSample(seen, residual, pair.scored)

    return fit_detail_filter(map(detail, samples), config.detail_filter, config.lateral_colour)


def refined(config: ModelConfig, sample: TrainingSample, detail_filter: Field) -> TrainingSample:
    """The sample with its end point refined by the filter."""
    channels = replace(sample.channels, detail_filter=detail_filter)
    return _sample(config, sample.pair, sample.end, channels, sample.edge_range)


def residual_gain(samples: Sequence[TrainingSample]) -> tuple[float, ...]:
    """Each channel's rms of the target over the samples: what the unit found at LR has to be multiplied by."""
    squares = [np.square(sample.target[:, sample.pair.scored]).mean(axis=1) for sample in samples]
    return tuple(float(v) for v in np.sqrt(np.mean(squares, axis=0)))


def rescaled(sample: TrainingSample, gain: Sequence[float]) -> TrainingSample:
    """The sample with its units multiplied by `gain`."""
    factor = np.asarray(gain, np.float32)
    channels = replace(sample.channels, unit=sample.channels.unit * factor)
    return replace(sample, channels=channels, target=sample.target / factor[:, None, None])


def training_scene(
    model: ModelConfig, config: TrainConfig, sample: TrainingSample, device: torch.device
) -> TrainingScene:
    """The sample as tensors on the device."""
    k = model.hsi_channels
    amplitude = sample.channels.unit.copy()
    amplitude[:k] *= sample.channels.hsi_scale
    fields = (
        sample.target,
        sample.inputs.a_0,
        sample.inputs.guidance,
        sample.inputs.edges,
        sample.pair.scored[None].astype(np.float32),
    )
    tensors = [torch.from_numpy(np.ascontiguousarray(field)).to(device) for field in fields]
    sizes = np.sqrt(np.square(sample.target[:, sample.pair.scored]).mean(axis=1))
    own = torch.from_numpy(np.maximum(sizes, 1e-3) ** -config.scene_power)
    weights = (channel_weights(torch.from_numpy(amplitude), k, config) * own).to(device)
    target, a_0, guidance, edges, valid = tensors
    return TrainingScene(target, a_0, guidance, edges, valid, weights)


def fuse_sample(
    model: EMRDiff, sample: TrainingSample, seed: int = 0, steps: int | None = None, tile: int | None = None
) -> list[Field]:
    """The fused scene (B, H, W) as it stands after each step of the sampler, first step first.

    Tiles of side `tile`, by default the model's, without overlap, as in training.
    """
    height, width = sample.target.shape[1:]
    stride = model.config.stride
    full_height, full_width = -(-height // stride) * stride, -(-width // stride) * stride
    padding = ((0, 0), (0, full_height - height), (0, full_width - width))
    a_0, guidance, edges = (
        np.pad(image, padding, mode="edge")
        for image in (sample.inputs.a_0, sample.inputs.guidance, sample.inputs.edges)
    )
    estimates: dict[int, Field] = {}
    for window in tile_windows(full_height, full_width, tile or model.config.tile, 0, stride):
        cuts = [np.ascontiguousarray(image[:, window.rows, window.cols]) for image in (a_0, guidance, edges)]
        for t, values in _tile_estimates(model, cuts, window, seed, steps).items():
            estimates.setdefault(t, np.zeros_like(a_0))[:, window.rows, window.cols] = values
    return [
        _reconstruct(model.config, sample, estimates[t][:, :height, :width])
        for t in sorted(estimates, reverse=True)
    ]


def end_point_image(sample: TrainingSample) -> Field:
    """The end point itself (B, H, W), with the archive's detail filter where there is one."""
    return _expanded(sample, sample.inputs.end_point.refined)


def fused_without_model(pair: SupervisedPair, method: EndPoint, covariance: Covariance = USUAL) -> Field:
    """The pair fused (B, H, W) by a method alone, in its own subspace; `covariance` is a kriging's."""
    scene, _ = at_lr(pair)
    basis = own_basis(scene) if METHODS[method].subspace else choose_basis(scene, 0)
    end = find_end_point(scene, pair.strips, pair.resampling, method, basis, covariance)
    return end.bands(pair.hr_msi, *pair.resampling.up)


def mean_psnr(fused: Floats, sample: TrainingSample, peak: float) -> float:
    """PSNR in dB: mean over the good bands of 10 log10(peak^2 / MSE) over the scored pixels."""
    scored, good = sample.pair.scored, sample.pair.good
    error = np.square(fused[:, scored] - sample.pair.hr_hsi[:, scored], dtype=np.float64)
    if good is not None:
        error = error[good]
    return float(psnr_db(peak, np.maximum(error.mean(axis=1), 1e-30)).mean())


def mean_sam_deg(fused: Floats, sample: TrainingSample) -> float:
    """Mean spectral angle in degrees over the scored pixels without a spectrum of zeros, in the good bands."""
    scored, good = sample.pair.scored, sample.pair.good
    found, truth = (image[:, scored].astype(np.float64) for image in (fused, sample.pair.hr_hsi))
    if good is not None:
        found, truth = found[good], truth[good]
    lengths = np.sqrt(np.square(truth).sum(axis=0) * np.square(found).sum(axis=0))
    seen = lengths > 0
    cosine = (truth * found).sum(axis=0)[seen] / lengths[seen]
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def _sample(
    config: ModelConfig,
    pair: SupervisedPair,
    end: SceneEndPoint,
    channels: Channels,
    edge_range: tuple[float, float],
) -> TrainingSample:
    around = np.pad(pair.hr_msi, ((0, 0), (1, 1), (1, 1)), mode="edge")
    inputs = tile_inputs(config, end, channels, edge_range, around, pair.resampling.up)
    target = chain_target(config, channels, end.basis.project(pair.hr_hsi), inputs.a_0)
    return TrainingSample(pair, end, channels, inputs, target, edge_range)


def _tile_estimates(
    model: EMRDiff, cuts: Sequence[Field], window: Window, seed: int, steps: int | None
) -> dict[int, Field]:
    """The estimate (C, H, W) after each step of a tile's a_0, guidance and edges."""
    device = next(model.parameters()).device
    a_0, guidance, edges = (torch.from_numpy(cut).to(device)[None] for cut in cuts)
    noise = edge_noise(seed, a_0.shape, [(window.row, window.col)], edges)
    estimates: dict[int, Field] = {}

    def watch(t: int, estimate: torch.Tensor) -> None:
        estimates[t] = estimate[0].float().cpu().numpy()

    with torch.inference_mode():
        model.sample(a_0, guidance, noise, steps, watch)
    return estimates


def _reconstruct(config: ModelConfig, sample: TrainingSample, estimate: Floats) -> Field:
    correction = hsi_correction(config, sample.channels, estimate, sample.inputs.end_point)
    return _expanded(sample, sample.inputs.end_point.values + correction)


def _expanded(sample: TrainingSample, coefficients: Field) -> Field:
    image = sample.end.basis.expand(coefficients)
    if sample.end.outside is None:
        return image
    return image + apply_taps(sample.end.outside, *sample.pair.resampling.up).astype(np.float32)
