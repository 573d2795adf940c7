"""From a pair to what the network sees: everything scene-wide once, then tile by tile.

The chain's channels are the HSI's (bands, or subspace coefficients) and the pseudo-MSI's, brought to
comparable size by a shift and a scale each. The state is kept relative to the end point and in units of the
residual, in which the chain's end is zero and the network's output is of unit size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.degradation import degradation_taps
from emrdiff_cli.core.edges import edge_weights, sobel_magnitude
from emrdiff_cli.core.end_point import (
    RIDGES,
    WINDOW_SIGMAS,
    EndPointFields,
    EndPointTile,
    LocalWindow,
    Method,
    back_projected,
    evaluate_tile,
    local_detail,
    local_regression,
    regress,
)
from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.resampling import Taps, apply_taps, cubic_upsampler
from emrdiff_cli.core.subspace import Basis, find_basis, identity_basis
from emrdiff_cli.scene import Window

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_COVERED = 0.999  # share of an LR pixel's PSF that must lie on valid pixels
_WHOLE = 0.85  # share of the PSF, on each axis, that lies on the MSI when the LR pixel does
_WINDOW_CHANNELS = 12  # leading components on which the local window is chosen


class Strip(NamedTuple):
    """Rows `top`.. of the MSI without holes, `values` (m, n, W), and where they are `valid` (n, W)."""

    top: int
    values: Field
    valid: NDArray[np.bool_]


Strips = Callable[[], Iterator[Strip]]


@dataclass(frozen=True)
class Resampling:
    """The maps between a scene's grids: LR -> HR (`up`) and HR -> LR (`down`), rows and columns."""

    up: tuple[Taps, Taps]
    down: tuple[Taps, Taps]

    def up_part(self, window: Window) -> tuple[Taps, Taps]:
        """LR -> HR for a window of the HR grid."""
        rows, cols = self.up
        return rows.part(window.row, window.row + window.height), cols.part(
            window.col, window.col + window.width
        )


@dataclass(frozen=True)
class LrScene:
    """A pair at LR: `hsi` (B, h, w) without holes, `msi` = Z down (m, h, w), and where both are `valid`."""

    hsi: Field
    msi: Field
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Observation:
    """One streaming pass over the MSI: Z down (m, h, w), the LR pixels wholly on valid MSI, min and max of M."""

    msi_at_lr: Field
    covered: NDArray[np.bool_]
    edge_range: tuple[float, float]


@dataclass(frozen=True)
class SceneEndPoint:
    """A scene's end point: the spectral basis, its fields, the LR-HSI outside the basis, the window chosen."""

    basis: Basis
    fields: EndPointFields
    outside: Field | None
    window: LocalWindow | None


@dataclass(frozen=True)
class Channels:
    """Shift and scale of each channel of a scene, its residual's unit and the pseudo-MSI's map.

    Chain channels are (value - shift) / scale for the HSI's k, then the MSI's m; the pseudo-MSI is
    `pseudo_map` (m, k) x coefficients + `pseudo_offset` (m,), in the MSI's place.
    """

    hsi_shift: Field
    hsi_scale: Field
    msi_shift: Field
    msi_scale: Field
    pseudo_map: Field
    pseudo_offset: Field
    unit: Field
    unexplained_rms: Field


@dataclass(frozen=True)
class Calibration:
    """Basis and channels: found on an archive and kept with the weights, or on the scene itself."""

    basis: Basis
    channels: Channels


@dataclass(frozen=True)
class TileInputs:
    """What the sampler needs of a tile; arrays are (channels, H, W) float32.

    `a_0` is the chain's end in channel units, `guidance` what the guidance branch sees, `edges` W (1, H, W).
    """

    a_0: Field
    guidance: Field
    edges: Field
    end_point: EndPointTile


def observe_msi(strips: Strips, down: tuple[Taps, Taps]) -> Observation:
    """Degrade the MSI and its mask to the LR grid and find the extremes of its edge magnitude, in one pass."""
    edges = _EdgeRange()
    rows, cols = down
    covered = np.zeros((1, rows.n_out, cols.n_out), np.float32)
    parts: list[Floats] = []
    for strip in strips():
        parts.append(_degrade_strip(strip.values, strip.top, rows, cols))
        covered += _degrade_strip(strip.valid[None].astype(np.float32), strip.top, rows, cols)
        edges.update(strip.values)
    whole = (rows.inside > _WHOLE)[:, None] & (cols.inside > _WHOLE)
    return Observation(
        np.sum(parts, axis=0, dtype=np.float32), whole & (covered[0] > _COVERED), edges.finish()
    )


def find_end_point(
    scene: LrScene,
    strips: Strips,
    resampling: Resampling,
    method: Method,
    basis: Basis,
) -> SceneEndPoint:
    """Fit the end point on the LR pixels, in the coefficients of a basis."""
    lr = basis.project(scene.hsi)
    outside = None if basis.is_identity else scene.hsi - basis.expand(lr)
    fields = regress(lr, scene.msi, scene.valid, method)
    if method != "glp-local":
        return SceneEndPoint(basis, fields, outside, None)
    window = choose_window(replace(scene, hsi=_leading(lr, scene.valid)))
    fields = _with_local_map(fields, scene, window, strips, resampling)
    return SceneEndPoint(basis, fields, outside, window)


def choose_window(scene: LrScene) -> LocalWindow | None:
    """The window that does best in Wald's test on the pair itself; None where none gains over the scene's map.

    Both are degraded once more, by 2 instead of the ratio so that pixels enough are left, fused, and compared
    with the LR-HSI; pixels count where they are valid.
    """
    height, width = scene.valid.shape
    halves = AxisPlacement(2.0, 0.0)
    rows, cols = ((math.ceil(side / 2), side) for side in (height, width))
    resampling = Resampling(
        up=(cubic_upsampler(halves, *rows), cubic_upsampler(halves, *cols)),
        down=(degradation_taps("wald", halves, *rows), degradation_taps("wald", halves, *cols)),
    )

    def strips() -> Iterator[Strip]:
        yield Strip(0, scene.msi, scene.valid)

    seen = observe_msi(strips, resampling.down)
    if seen.covered.sum() < 4 * (len(scene.msi) + 1):
        return None
    lower = LrScene(apply_taps(scene.hsi, *resampling.down), seen.msi_at_lr, seen.covered)
    fields = regress(lower.hsi, lower.msi, lower.valid, "glp-local")

    def error(window: LocalWindow | None) -> float:
        fitted = _with_local_map(fields, lower, window, strips, resampling)
        fused = evaluate_tile(fitted, scene.msi, *resampling.up).values
        return float(np.square((fused - scene.hsi)[:, scene.valid], dtype=np.float64).sum())

    candidates = [None, *(LocalWindow(sigma, ridge) for sigma in WINDOW_SIGMAS for ridge in RIDGES)]
    return min(candidates, key=error)


def _with_local_map(
    fields: EndPointFields,
    scene: LrScene,
    window: LocalWindow | None,
    strips: Strips,
    resampling: Resampling,
) -> EndPointFields:
    """The fields with the window's local slopes (none: zero) and back-projection."""
    if window is None:
        slopes = np.zeros((*fields.slopes.shape, *scene.valid.shape), np.float32)
        injected: Floats = np.zeros_like(fields.base)
    else:
        slopes = local_regression(fields.unexplained, scene.msi, scene.valid, window)
        injected = _degrade_local_detail(replace(fields, local_slopes=slopes), strips, resampling)
    return back_projected(fields, slopes, injected, resampling.up, resampling.down, scene.valid)


def choose_basis(scene: LrScene, subspace: int) -> Basis:
    """The leading directions of the LR-HSI's valid pixels; `subspace` 0 keeps all bands."""
    if not subspace:
        return identity_basis(len(scene.hsi))
    return find_basis(scene.hsi[:, scene.valid], subspace)


def calibrate(config: ModelConfig, scenes: Sequence[LrScene]) -> Calibration:
    """Find the basis and each channel's shift, scale and residual unit on the LR pixels of the scenes."""
    pooled = LrScene(
        np.concatenate([scene.hsi[:, scene.valid] for scene in scenes], axis=1)[:, None],
        np.concatenate([scene.msi[:, scene.valid] for scene in scenes], axis=1)[:, None],
        np.ones((1, sum(int(scene.valid.sum()) for scene in scenes)), bool),
    )
    basis = choose_basis(pooled, config.subspace)
    return Calibration(basis, _describe_channels(config, pooled, basis))


def _describe_channels(config: ModelConfig, scene: LrScene, basis: Basis) -> Channels:
    coefficients = basis.project(scene.hsi)
    unexplained = regress(coefficients, scene.msi, scene.valid, "glp").unexplained[:, scene.valid]
    lr, msi = coefficients[:, scene.valid], scene.msi[:, scene.valid]
    pseudo_map, pseudo_offset = _pseudo_msi(config, scene, basis)
    if config.units == "range":
        hsi_shift, hsi_scale = np.zeros(len(lr)), np.full(len(lr), np.abs(lr).max())
        msi_shift, msi_scale = np.zeros(len(msi)), np.full(len(msi), np.abs(msi).max())
        unit = np.ones(config.channels)
        match = (msi_scale / hsi_scale[0]).astype(np.float32)
        pseudo_map, pseudo_offset = pseudo_map * match[:, None], pseudo_offset * match
    else:
        hsi_shift, hsi_scale = lr.mean(axis=1), lr.std(axis=1)
        msi_shift, msi_scale = msi.mean(axis=1), msi.std(axis=1)
        seen = pseudo_map @ lr + pseudo_offset[:, None]
        match = msi_scale / np.maximum(seen.std(axis=1), 1e-12)
        pseudo_offset = (pseudo_offset - seen.mean(axis=1)) * match + msi_shift
        pseudo_map = pseudo_map * match[:, None]
        gap = pseudo_map @ lr + pseudo_offset[:, None] - msi
        rms = np.concatenate([_rms(unexplained) / _floor(hsi_scale), _rms(gap) / _floor(msi_scale)])
        gain = np.asarray(config.residual_gain or np.ones(len(rms)))
        unit = np.maximum(rms[: config.channels], 1e-3) * gain[: config.channels]
    return Channels(
        *(
            np.asarray(v, np.float32)
            for v in (
                hsi_shift,
                _floor(hsi_scale),
                msi_shift,
                _floor(msi_scale),
                pseudo_map,
                pseudo_offset,
                unit,
                _floor(_rms(unexplained)),
            )
        )
    )


def _pseudo_msi(config: ModelConfig, scene: LrScene, basis: Basis) -> tuple[Field, Field]:
    """P_3 as a map (m, k) and an offset (m,) of the coefficients: `first`, `last`, `even`ly spaced or `srf` bands.

    `srf` is the combination of the HSI's channels that comes closest to the MSI at LR.
    """
    bands, m = len(scene.hsi), config.msi_bands
    if config.pseudo_msi == "srf":
        lr = basis.project(scene.hsi)[:, scene.valid]
        design = np.vstack([lr, np.ones(lr.shape[1])]).T
        solution, *_ = np.linalg.lstsq(design, scene.msi[:, scene.valid].T, rcond=None)
        return solution[:-1].T.astype(np.float32), solution[-1].astype(np.float32)
    picked = {
        "first": np.arange(m) % bands,
        "last": np.arange(bands - m, bands) % bands,
        "even": np.linspace(0, bands - 1, m).round().astype(int),
    }[config.pseudo_msi]
    return basis.vectors[picked], basis.mean[picked]


def tile_inputs(
    config: ModelConfig,
    end: SceneEndPoint,
    channels: Channels,
    edge_range: tuple[float, float],
    hr_msi: Floats,
    up: tuple[Taps, Taps],
) -> TileInputs:
    """Assemble a tile from the MSI around it: `hr_msi` (m, H + 2, W + 2) carries one pixel on each side.

    At the scene's edges that pixel is the edge's own, replicated.
    """
    z = hr_msi[:, 1:-1, 1:-1]
    tile = evaluate_tile(end.fields, z, *up)
    hsi = _normal(tile.values, channels.hsi_shift, channels.hsi_scale)
    msi = _normal(z, channels.msi_shift, channels.msi_scale)
    extras = {
        "unexplained": lambda: _normal(
            apply_taps(end.fields.unexplained, *up), np.float32(0), channels.unexplained_rms
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
    """What the chain's estimate (C, H, W) adds to the end point's coefficients (k, H, W)."""
    k = config.hsi_channels
    scale = channels.hsi_scale[:, None, None]
    if config.residual == "none":
        return np.asarray(
            estimate[:k] * scale + channels.hsi_shift[:, None, None] - tile.values, dtype=np.float32
        )
    return np.asarray(estimate[:k] * channels.unit[:k, None, None] * scale, dtype=np.float32)


def _degrade_strip(values: Floats, top: int, rows: Taps, cols: Taps) -> Floats:
    """The share of HR rows top.. in the degraded image (.., n_lr, w_lr)."""
    row_matrix = rows.matrix(top, top + values.shape[-2]).astype(values.dtype)
    col_matrix = cols.matrix(0, cols.n_in).astype(values.dtype)
    return np.asarray(row_matrix @ (values @ col_matrix.T))


def _degrade_local_detail(fields: EndPointFields, strips: Strips, resampling: Resampling) -> Floats:
    total = np.zeros_like(fields.base)
    for top, values, _ in strips():
        up = resampling.up_part(Window(top, 0, values.shape[1], values.shape[2]))
        detail = values - apply_taps(fields.msi, *up)
        total += _degrade_strip(local_detail(fields, detail, *up), top, *resampling.down)
    return total


class _EdgeRange:
    """Extremes of the edge magnitude over strips that follow each other; the scene's edges replicated."""

    def __init__(self) -> None:
        self._carried: Field | None = None
        self._low, self._high = np.inf, -np.inf

    def update(self, values: Field) -> None:
        p = np.pad(values.mean(axis=0), ((0, 0), (1, 1)), mode="edge")
        rows = np.concatenate([p[:1] if self._carried is None else self._carried, p])
        self._carried = rows[-2:]
        if len(rows) > 2:
            self._note(rows)

    def finish(self) -> tuple[float, float]:
        if self._carried is not None:
            self._note(np.concatenate([self._carried, self._carried[-1:]]))
        return self._low, self._high

    def _note(self, rows: Field) -> None:
        magnitude = sobel_magnitude(rows[None])
        self._low = min(self._low, float(magnitude.min()))
        self._high = max(self._high, float(magnitude.max()))


def _leading(lr: Field, valid: NDArray[np.bool_]) -> Field:
    """An LR image's leading components, on which the window is chosen."""
    size = min(_WINDOW_CHANNELS, len(lr), int(valid.sum()) - 1)
    if size == len(lr):
        return lr
    return find_basis(lr[:, valid], size).project(lr)


def _normal(values: Floats, shift: Floats | np.float32, scale: Floats) -> Field:
    shift = np.broadcast_to(shift, scale.shape)[:, None, None]
    return np.asarray((values - shift) / scale[:, None, None], dtype=np.float32)


def _rms(values: Floats) -> Floats:
    return np.asarray(np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=1)))


def _floor(scale: Floats) -> Floats:
    """Scales of constant channels become 1, so that nothing is divided by zero."""
    return np.where(scale > 1e-12, scale, 1.0)
