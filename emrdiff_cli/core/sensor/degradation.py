"""How a fine image becomes a coarse one: the protocols under which pairs are simulated.

`wald`: Gaussian PSF with FWHM = r pixels to +-3 sigma, area-centred decimation (the default).
`nssr`: r x r Gaussian, sigma 2, circular, decimated from pixel r//2 - 1 (DHIF-Net, DSPNet, MoG-DCN).
`emrdiff`: 3 x 3 Gaussian, sigma 2, then antialiased bicubic resize by 1/r (EMR-Diff).
`mtf`: as `wald`, with the PSF's gain at the LR Nyquist frequency given (0.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import LargeArrays, let_go
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import (
    Taps,
    antialiased_cubic_downsampler,
    apply_taps,
    chain,
    fixed_kernel,
    gaussian_downsampler,
    symmetric_downsampler,
)
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA

Protocol = Literal["wald", "nssr", "emrdiff", "mtf"]
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
NYQUIST_GAIN = 0.3
COVERED = 0.999  # share of an LR pixel's PSF that must lie on valid pixels

_WHOLE = 0.85  # share of the PSF, on each axis, that lies on the HR image when the LR pixel does
_KERNEL_SIGMA = 2.0
_EDGE = 1e-9  # HR pixels: rounding of distances


@dataclass(frozen=True)
class AxisPsf:
    """A PSF along one axis, symmetric, in HR pixels: a Gaussian cut off at 3 sigma, and a correction of it.

    The correction is linear between nodes `step_px` apart, from the centre on, and 0 one step beyond the last;
    empty for none. The kernel is normalised where it is applied.
    """

    sigma_px: float
    correction: tuple[float, ...] = ()
    step_px: float = 1.0

    @classmethod
    def of_fwhm(cls, fwhm_px: float) -> AxisPsf:
        """A Gaussian by its full width at half maximum."""
        return cls(fwhm_px / FWHM_PER_SIGMA)

    def scaled(self, factor: float) -> AxisPsf:
        """The same PSF, so many times as wide."""
        return AxisPsf(self.sigma_px * factor, self.correction, self.step_px * factor)

    @property
    def fwhm_px(self) -> float:
        """The Gaussian's full width at half maximum."""
        return self.sigma_px * FWHM_PER_SIGMA

    @property
    def reach_px(self) -> float:
        """The distance beyond which it is 0."""
        return max(3 * self.sigma_px, self.step_px * len(self.correction))

    def kernel(self, distance: Floats) -> Floats:
        """Its values, 1 at the centre of the Gaussian, at distances in HR pixels."""
        away = np.abs(distance)
        values = np.where(away <= 3 * self.sigma_px + _EDGE, np.exp(-0.5 * (away / self.sigma_px) ** 2), 0.0)
        for node, height in enumerate(self.correction):
            values = values + height * np.maximum(0.0, 1 - np.abs(away / self.step_px - node))
        return np.asarray(values)

    def down(self, placement: AxisPlacement, n_lr: int, n_hr: int) -> Taps:
        """HR -> LR along the axis, sampled at the centre of each LR pixel, edges reflected."""
        if not self.correction:
            return gaussian_downsampler(placement, n_lr, n_hr, self.sigma_px)
        return symmetric_downsampler(placement, n_lr, n_hr, self.kernel, self.reach_px)


@dataclass(frozen=True)
class Psf:
    """How LR pixels see the HR grid: as a protocol has it, or through a PSF of their own along rows and columns.

    `axes` are those; None for the protocol's, which goes with the ratio. By default FWHM = the ratio on each axis.
    """

    protocol: Protocol = "wald"
    axes: tuple[AxisPsf, AxisPsf] | None = None

    @classmethod
    def of_fwhm(cls, rows_px: float, cols_px: float) -> Psf:
        """Gaussians by their full widths at half maximum along rows and columns, in HR pixels."""
        return cls(axes=(AxisPsf.of_fwhm(rows_px), AxisPsf.of_fwhm(cols_px)))

    def scaled(self, rows: float, cols: float) -> Psf:
        """The same PSF, so many times as wide along rows and columns; one that goes with the ratio as it is."""
        if self.axes is None:
            return self
        return Psf(self.protocol, (self.axes[0].scaled(rows), self.axes[1].scaled(cols)))

    def resolved(self, rows: AxisPlacement, cols: AxisPlacement) -> Psf:
        """The same PSF, for grids of these ratios, with axes of its own: it no longer goes with the ratio."""
        if self.axes is not None:
            return self
        sigmas = (psf_sigma(self.protocol, axis.ratio) for axis in (rows, cols))
        by_rows, by_cols = (AxisPsf(sigma) for sigma in sigmas)
        return Psf(self.protocol, (by_rows, by_cols))

    def down(
        self, rows: AxisPlacement, cols: AxisPlacement, lr: tuple[int, int], hr: tuple[int, int]
    ) -> tuple[Taps, Taps]:
        """HR -> LR along rows and columns between grids of these sizes (rows, columns)."""
        axes = tuple(zip((rows, cols), lr, hr, strict=True))
        if self.axes is None:
            by_rows, by_cols = (degradation_taps(self.protocol, *axis) for axis in axes)
        else:
            by_rows, by_cols = (psf.down(*axis) for axis, psf in zip(axes, self.axes, strict=True))
        return by_rows, by_cols


WALD_PSF = Psf()


class DegradedImage:
    """An HR image as LR pixels see it, summed up over strips of rows, and their share of valid HR pixels.

    `total` (bands, h, w) is the sum over the valid pixels, `share` (masks, h, w) the weight that lies on them:
    one mask for all bands, or one each. Summed in `dtype`; nothing in it is of the HR image's size. `large`: where
    the total is put, in single precision.
    """

    def __init__(
        self,
        bands: int,
        down: tuple[Taps, Taps],
        dtype: type[np.floating[Any]] = np.float32,
        masks: int = 1,
        large: LargeArrays | None = None,
    ) -> None:
        self._rows, self._cols = rows, cols = down
        shape = (bands, rows.n_out, cols.n_out)
        self.total: Floats = np.zeros(shape, dtype) if large is None else large.zeros(shape)
        self.share = np.zeros((masks, rows.n_out, cols.n_out), dtype)

    def add(self, top: int, values: Floats, valid: Mask) -> None:
        """Add HR rows top.. (bands, n, W), valid where `valid`, (n, W) for all bands or (bands, n, W), is."""
        first, stop = self._rows.reached(top, top + values.shape[-2])
        rows = self._rows.part(first, stop)
        masks = valid.reshape(-1, *values.shape[-2:]).astype(self.share.dtype)
        for image, onto in ((np.where(valid, values, 0), self.total), (masks, self.share)):
            if stop > first:
                onto[:, first:stop] += rows.along_rows(self._cols.along_cols(image, 0), top)
        let_go(self.total)

    def mean(self, least: float = COVERED) -> Floats:
        """Means (bands, h, w) of the valid pixels that LR pixels see; too near 0 below a share of `least`."""
        return np.asarray(self.total / np.maximum(self.share, least))

    def whole(self) -> Mask:
        """(h, w): LR pixels that lie on the HR image and, in each mask, wholly on valid pixels of it."""
        return on_image((self._rows, self._cols)) & (self.share > COVERED).all(axis=0)

    def masked_mean(self) -> Floats:
        """The means (bands, h, w); NaN where an LR pixel is not `whole`."""
        return np.where(self.whole(), self.mean(), np.nan)


def on_image(down: tuple[Taps, Taps]) -> Mask:
    """(h, w): LR pixels that lie on the HR image, with all but the fringe of their PSF."""
    rows, cols = down
    return np.asarray((rows.inside > _WHOLE)[:, None] & (cols.inside > _WHOLE))


def psf_sigma(protocol: Protocol, ratio: float, nyquist_gain: float = NYQUIST_GAIN) -> float:
    """Standard deviation of the protocol's Gaussian in HR pixels."""
    if protocol == "wald":
        return ratio / FWHM_PER_SIGMA
    if protocol == "mtf":
        return ratio * math.sqrt(-2 * math.log(nyquist_gain)) / math.pi
    return _KERNEL_SIGMA


def degradation_taps(protocol: Protocol, placement: AxisPlacement, n_lr: int, n_hr: int) -> Taps:
    """One axis of the degradation HR -> LR; `nssr` needs an integer ratio and grids with a common corner."""
    if protocol in ("wald", "mtf"):
        return gaussian_downsampler(placement, n_lr, n_hr, psf_sigma(protocol, placement.ratio))
    if protocol == "emrdiff":
        resize = antialiased_cubic_downsampler(placement, n_lr, n_hr)
        blur = fixed_kernel(_gaussian_kernel(3), np.arange(n_hr) - 1, n_hr, "reflect")
        return chain(blur, resize)
    r = round(placement.ratio)
    if not math.isclose(placement.ratio, r) or placement.offset:
        raise ValueError("the nssr protocol needs an integer ratio and a common corner")
    firsts = np.arange(n_lr) * r + (r // 2 - 1) - (r - 1 - r // 2)
    return fixed_kernel(_gaussian_kernel(r), firsts, n_hr, "circular")


def simulate_pair(
    hr_hsi: Floats, srf: Floats, down: tuple[Taps, Taps]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """LR-HSI (B, h, w) and HR-MSI (m, H, W) of an HR-HSI (B, H, W) under an SRF matrix (m, B)."""
    lr_hsi = apply_taps(hr_hsi, *down).astype(np.float32)
    return lr_hsi, np.tensordot(srf, hr_hsi, axes=1).astype(np.float32)


def sampling_offset(protocol: Protocol, ratio: int) -> float:
    """HR pixels from a block's centre to where the protocol samples it (0, or -1 for `nssr` at odd ratios)."""
    return -1.0 if protocol == "nssr" and ratio % 2 else 0.0


def _gaussian_kernel(size: int) -> NDArray[np.float64]:
    distance = np.arange(size) - (size - 1) / 2
    kernel: NDArray[np.float64] = np.exp(-0.5 * (distance / _KERNEL_SIGMA) ** 2)
    return kernel
