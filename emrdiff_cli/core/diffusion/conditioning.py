"""Inputs of the network from a pair: everything scene-wide once, then tile by tile.

The chain's channels are the HSI's (bands, or subspace coefficients) and the pseudo-MSI's, brought to
comparable size by a shift and a scale each. The state is kept relative to the end point and in units of the
residual, in which the chain's end is zero and the network's output is of unit size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.detail_filter import FilterInputs, apply_detail_filter
from emrdiff_cli.core.methods.detail_injection import EndPointTile
from emrdiff_cli.core.methods.end_point import regress
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.core.methods.least_squares import fit_linear
from emrdiff_cli.core.methods.scene_end_point import SceneEndPoint, choose_basis
from emrdiff_cli.core.sensor.edges import edge_weights, sobel_magnitude
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from emrdiff_cli.core.subspace import Basis

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_PEAK_TO_MEAN = 5.0  # in units of the range only the peak is kept; scenes' means lie some way below it


@dataclass(frozen=True)
class Channels:
    """Shift and scale of each channel of a scene, its residual's unit and the pseudo-MSI's map.

    Chain channels are (value - shift) / scale for the HSI's k, then the MSI's m; the pseudo-MSI is
    `pseudo_map` (m, k) x coefficients + `pseudo_offset` (m,), in the MSI's place. `detail_filter` (k, 1 + m, n)
    is an archive's (core.diffusion.detail_filter); None: the end point stays as it is. `msi_order` (m,): positions
    in a scene's MSI of the channels' m; None: they are in its order.
    """

    hsi_shift: Field
    hsi_scale: Field
    msi_shift: Field
    msi_scale: Field
    pseudo_map: Field
    pseudo_offset: Field
    unit: Field
    unexplained_rms: Field
    detail_filter: Field | None = None
    msi_order: NDArray[np.intp] | None = None

    def ordered(self, msi: Floats) -> Floats:
        """A scene's MSI (m, ...) in the order of the channels."""
        return msi if self.msi_order is None else msi[self.msi_order]


@dataclass(frozen=True)
class Calibration:
    """Basis and channels: found on an archive and kept with the weights, or on the scene itself."""

    basis: Basis
    channels: Channels


@dataclass(frozen=True)
class TileInputs:
    """Inputs of the sampler for a tile; arrays are (channels, H, W) float32.

    `a_0` is the chain's end in channel units, `guidance` what the guidance branch sees, `edges` W (1, H, W).
    """

    a_0: Field
    guidance: Field
    edges: Field
    end_point: EndPointTile


def calibrate(
    config: ModelConfig, scenes: Sequence[LrScene], used: NDArray[np.bool_] | None = None
) -> Calibration:
    """Find the basis and each channel's shift, scale and residual unit on the LR pixels of the scenes.

    Bands that are not `used` (B,; None: all are) have no part in a subspace.
    """
    pooled = LrScene(
        np.concatenate([scene.hsi[:, scene.valid] for scene in scenes], axis=1)[:, None],
        np.concatenate([scene.msi[:, scene.valid] for scene in scenes], axis=1)[:, None],
        np.ones((1, sum(int(scene.valid.sum()) for scene in scenes)), bool),
    )
    basis = choose_basis(pooled, config.subspace, used)
    return Calibration(basis, _describe_channels(config, pooled, basis))


def usual_levels(calibration: Calibration) -> tuple[float, float]:
    """Mean absolute value of the HSI and of the MSI where a calibration was found, to tell other units by."""
    channels = calibration.channels
    spectrum = calibration.basis.expand(channels.hsi_shift)
    hsi = np.abs(spectrum[calibration.basis.known]).mean() or channels.hsi_scale.mean() / _PEAK_TO_MEAN
    msi = np.abs(channels.msi_shift).mean() or channels.msi_scale.mean() / _PEAK_TO_MEAN
    return float(hsi), float(msi)


def _describe_channels(config: ModelConfig, scene: LrScene, basis: Basis) -> Channels:
    coefficients = basis.project(scene.hsi)
    unexplained = regress(replace(scene, hsi=coefficients)).unexplained[:, scene.valid]
    lr, msi = coefficients[:, scene.valid], scene.msi[:, scene.valid]
    scales = _range_scales if config.units == "range" else _standard_scales
    hsi_shift, hsi_scale, msi_shift, msi_scale = scales(lr, msi)
    pseudo_map, pseudo_offset = _pseudo_msi(config, scene, basis)
    seen = pseudo_map @ lr + pseudo_offset[:, None]
    # The pseudo-MSI in the MSI's units: scaled as the HSI's range is, or to the MSI's mean and spread.
    match = msi_scale / (hsi_scale[0] if config.units == "range" else _floor(seen.std(axis=1)))
    centre = np.zeros(len(msi)) if config.units == "range" else seen.mean(axis=1)
    pseudo_map = pseudo_map * match[:, None]
    pseudo_offset = (pseudo_offset - centre) * match + msi_shift
    gap = pseudo_map @ lr + pseudo_offset[:, None] - msi
    rms = np.concatenate([_rms(unexplained) / hsi_scale, _rms(gap) / msi_scale])[: config.channels]
    gain = np.asarray(config.residual_gain or np.ones(config.channels))
    unit = np.ones(config.channels) if config.units == "range" else np.maximum(rms, 1e-3) * gain
    floats = (
        *(hsi_shift, hsi_scale, msi_shift, msi_scale, pseudo_map, pseudo_offset, unit),
        _floor(_rms(unexplained)),
    )
    arrays: list[Any] = [np.asarray(array, np.float32) for array in floats]
    return Channels(*arrays)


def _range_scales(lr: Floats, msi: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Shift and scale that bring the HSI as a whole, and the MSI, into [-1, 1]: the paper's scaling."""
    hsi_scale, msi_scale = (_floor(np.full(len(x), np.abs(x).max())) for x in (lr, msi))
    return np.zeros(len(lr)), hsi_scale, np.zeros(len(msi)), msi_scale


def _standard_scales(lr: Floats, msi: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Shift and scale that bring each channel to mean 0 and variance 1."""
    return lr.mean(axis=1), _floor(lr.std(axis=1)), msi.mean(axis=1), _floor(msi.std(axis=1))


def _pseudo_msi(config: ModelConfig, scene: LrScene, basis: Basis) -> tuple[Field, Field]:
    """P_3 as a map (m, k) and an offset (m,) of the coefficients: `first`, `last`, `even`ly spaced or `srf` bands.

    `srf` is the combination of the HSI's channels that comes closest to the MSI at LR.
    """
    known, m = np.flatnonzero(basis.known), config.msi_bands
    if config.pseudo_msi == "srf":
        return fit_linear(basis.project(scene.hsi)[:, scene.valid], scene.msi[:, scene.valid])
    bands = len(known)
    picked = known[
        {
            "first": np.arange(m) % bands,
            "last": np.arange(bands - m, bands) % bands,
            "even": np.linspace(0, bands - 1, m).round().astype(int),
        }[config.pseudo_msi]
    ]
    return basis.vectors[picked], basis.mean[picked]


def tile_inputs(
    config: ModelConfig,
    end: SceneEndPoint,
    channels: Channels,
    edge_range: tuple[float, float],
    hr_msi: Floats,
    up: tuple[Taps, Taps],
    evaluator: Evaluator = ON_PROCESSOR,
) -> TileInputs:
    """Assemble a tile from the MSI around it: `hr_msi` (m, H + 2, W + 2) carries one pixel on each side.

    At the scene's edges that pixel is the edge's own, replicated. `evaluator`: who works out the end point.
    """
    z = hr_msi[:, 1:-1, 1:-1]
    tile = evaluator.tile(end.fitted, z, *up)
    if channels.detail_filter is not None:
        inputs = FilterInputs.of(tile, z, end.msi, up)
        inputs = replace(inputs, msi=channels.ordered(inputs.msi))
        tile = replace(tile, refinement=apply_detail_filter(channels.detail_filter, inputs))
    hsi = _normal(tile.refined, channels.hsi_shift, channels.hsi_scale)
    msi = _normal(channels.ordered(z), channels.msi_shift, channels.msi_scale)
    extras = {
        "unexplained": lambda: _normal(
            apply_taps(end.unexplained, *up), np.float32(0), channels.unexplained_rms
        ),
        "local-detail": lambda: _normal(tile.local_detail, np.float32(0), channels.unexplained_rms),
    }
    seen = [hsi, msi, *(extras[name]() for name in config.guidance_extras)]
    edges = (
        edge_weights(sobel_magnitude(hr_msi), *edge_range)
        if config.noise == "edge"
        else np.ones(z.shape[1:], np.float32)
    )
    a_0 = np.concatenate([hsi, msi])[: config.channels]
    return TileInputs(a_0, np.concatenate(seen), edges[None], tile)


def chain_target(config: ModelConfig, channels: Channels, coefficients: Floats, a_0: Floats) -> Field:
    """X'_0 of known coefficients (k, H, W), in the chain's own units relative to its end: what is learned."""
    hsi = _normal(coefficients, channels.hsi_shift, channels.hsi_scale)
    pseudo = np.tensordot(channels.pseudo_map, coefficients, axes=1) + channels.pseudo_offset[:, None, None]
    msi = _normal(pseudo, channels.msi_shift, channels.msi_scale)
    x_0 = np.concatenate([hsi, msi])[: config.channels]
    if config.residual == "none":
        return x_0
    return ((x_0 - a_0) / channels.unit[:, None, None]).astype(np.float32)


def hsi_correction(config: ModelConfig, channels: Channels, estimate: Floats, tile: EndPointTile) -> Field:
    """Correction by the chain's estimate (C, H, W) of the end point's coefficients (k, H, W)."""
    k = config.hsi_channels
    scale = channels.hsi_scale[:, None, None]
    if config.residual == "none":
        return np.asarray(
            estimate[:k] * scale + channels.hsi_shift[:, None, None] - tile.values, dtype=np.float32
        )
    refinement = 0 if tile.refinement is None else tile.refinement
    return np.asarray(estimate[:k] * channels.unit[:k, None, None] * scale + refinement, dtype=np.float32)


def _normal(values: Floats, shift: Floats | np.float32, scale: Floats) -> Field:
    shift = np.broadcast_to(shift, scale.shape)[:, None, None]
    return np.asarray((values - shift) / scale[:, None, None], dtype=np.float32)


def _rms(values: Floats) -> Floats:
    return np.asarray(np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=1)))


def _floor(scale: Floats) -> Floats:
    """Scales of constant channels become 1, so that nothing is divided by zero."""
    return np.where(scale > 1e-12, scale, 1.0)
