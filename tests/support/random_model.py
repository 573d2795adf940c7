"""A model that was never trained, for tests that need weights but no quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from emrdiff_cli.checkpoint import save_model
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.zoo import WEIGHTS
from tests.support.scenes import wavelengths


def save_random_model(folder: Path, **changes: Any) -> Path:
    """A model that was never trained, with heads that add something of the noise's size."""
    settings: dict[str, Any] = {"msi_bands": 3, "hsi_bands": 8, "ratio": 4, "subspace": 4, "levels": 2}
    settings |= {"calibration": "scene", "gates": "tile", "width": 4, "tile": 32, "noise": "gaussian"}
    settings |= {"hsi_range_nm": (wavelengths(8)[0], wavelengths(8)[-1])}
    torch.manual_seed(0)
    model = EMRDiff(ModelConfig(**settings | changes))
    for head in model.network.heads:
        torch.nn.init.normal_(head.get_parameter("weight"), std=0.2)
    folder.mkdir()
    save_model(model, folder / WEIGHTS)
    return folder
