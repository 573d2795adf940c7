"""A pixel-wise network from the MSI's bands to spectra, fitted on the pair's LR pixels alone: it knows no PSF."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Cube = NDArray[np.float32]

_WIDTH = 104  # of two hidden layers: 33 k parameters for 4 MSI and 207 HSI bands
_STEPS = 1000
_BATCH = 256
_RATE = 5e-3


def pixel_mlp(lr_hsi: Cube, hr_msi: Cube, response: NDArray[np.float64], seed: int = 0) -> Cube:
    """The HR-HSI (B, H, W) that the network makes of an MSI (m, H, W).

    It learns the spectra of the LR-HSI (B, h, w) from the MSI's bands as the response (m, B) sees that same
    LR-HSI, so that neither the MSI nor a PSF has a part in it.
    """
    seen = np.tensordot(response, lr_hsi, axes=1).astype(np.float32).reshape(len(response), -1)
    spectra = lr_hsi.reshape(len(lr_hsi), -1)
    (inputs, low, span), (targets, mean, spread) = _standard(seen), _standard(spectra)
    model = _fitted(inputs, targets, seed)
    pixels = (hr_msi.reshape(len(hr_msi), -1) - low) / span
    with torch.no_grad():
        values = model(torch.from_numpy(pixels.T.astype(np.float32))).numpy().T
    return np.asarray(values * spread + mean, np.float32).reshape(-1, *hr_msi.shape[1:])


def network(msi_bands: int, bands: int) -> nn.Sequential:
    """The network, not yet fitted."""
    return nn.Sequential(
        nn.Linear(msi_bands, _WIDTH),
        nn.GELU(),
        nn.Linear(_WIDTH, _WIDTH),
        nn.GELU(),
        nn.Linear(_WIDTH, bands),
    )


def _standard(values: Cube) -> tuple[torch.Tensor, Cube, Cube]:
    """Pixels (n, k) of mean 0 and spread 1, with the means and spreads (k, 1)."""
    mean, spread = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True) + 1e-9
    pixels = ((values - mean) / spread).T.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(pixels)), mean, spread


def _fitted(inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(inputs.shape[1], targets.shape[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    for _ in range(_STEPS):
        chosen = torch.randint(len(inputs), (min(_BATCH, len(inputs)),), generator=generator)
        optimiser.zero_grad()
        nn.functional.mse_loss(model(inputs[chosen]), targets[chosen]).backward()
        optimiser.step()
        schedule.step()
    return model
