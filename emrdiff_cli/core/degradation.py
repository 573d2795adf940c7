"""How a fine image becomes a coarse one: the protocols under which pairs are simulated.

`wald`: Gaussian PSF with FWHM = r pixels to +-3 sigma, area-centred decimation (the default).
`nssr`: r x r Gaussian, sigma 2, circular, decimated from pixel r//2 - 1 (DHIF-Net, DSPNet, MoG-DCN).
`emrdiff`: 3 x 3 Gaussian, sigma 2, then antialiased bicubic resize by 1/r (EMR-Diff).
`mtf`: as `wald`, with the PSF's gain at the LR Nyquist frequency given (0.3).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.resampling import (
    Taps,
    antialiased_cubic_downsampler,
    apply_taps,
    chain,
    fixed_kernel,
    gaussian_downsampler,
)
from emrdiff_cli.core.srf import FWHM_PER_SIGMA

Protocol = Literal["wald", "nssr", "emrdiff", "mtf"]
Floats = NDArray[np.floating[Any]]
NYQUIST_GAIN = 0.3
_KERNEL_SIGMA = 2.0


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
